//! `--trace` and `--debug`: what a command did when, as a file that shows it, or as messages.

use std::fs::File;
use std::io::Write;

use libcrun::{Result, Span, SpanKind, SpanResult, Timeline, Track};

use crate::commands::Context;
use crate::failed;
use crate::log::{Level, without_waiting};

/// Does the `work` of a command. Where a trace or messages are asked for, it gets a timeline to fill, and they are written
/// when it is done, also when it has failed.
pub(crate) fn traced<T>(context: &Context<'_>, work: impl FnOnce(Timeline) -> Result<T>) -> Result<T> {
    let trace = Trace::begin(context)?;
    let (timeline, command) = match &trace {
        Some(trace) => (trace.timeline.clone(), trace.command),
        None => (Timeline::default(), ""),
    };
    let done = timeline.measure(command, || work(timeline.clone()));
    if let Some(trace) = trace {
        trace.finish(context);
    }
    done
}

struct Trace<'a> {
    timeline: Timeline,
    command: &'static str,
    /// Where it is written, and what that is called.
    file: Option<(File, &'a str)>,
    tells: bool,
}

impl<'a> Trace<'a> {
    /// Begins where one is asked for. That its file cannot be made is found out before anything else is.
    fn begin(context: &'a Context<'_>) -> Result<Option<Self>> {
        let tells = context.log.takes(Level::Debug);
        let Some(command) = context.invocation.command.filter(|_| tells || context.has("trace")) else {
            return Ok(None);
        };
        let open = |path: &'a str| match without_waiting().write(true).create(true).truncate(true).open(path)
        {
            Ok(file) => Ok((file, path)),
            Err(error) => Err(failed(format!("create the trace file `{path}`"), &error)),
        };
        let file = context.value("trace").map(open).transpose()?;
        Ok(Some(Self { timeline: Timeline::new(), command: command.name, file, tells }))
    }

    /// Writes what there is. A container is not taken for failed because its trace is.
    fn finish(self, context: &Context<'_>) {
        if let Some((mut file, path)) = self.file
            && let Err(error) = file.write_all(self.timeline.to_trace_json().as_bytes())
        {
            let warning = failed(format!("write the trace file `{path}`"), &error);
            context.log.write(Level::Warning, &warning.to_string());
        }
        if self.tells {
            tell(&self.timeline.collected(), context);
        }
    }
}

fn tell(tracks: &[Track], context: &Context<'_>) {
    for (number, track) in tracks.iter().enumerate() {
        // All that the caller did lies within its command.
        let depth = usize::from(number == 0);
        for span in track.spans.iter().filter(|span| is_told(span, depth)) {
            context.log.write(Level::Debug, &line(track, span));
        }
    }
}

/// Whether messages tell of it, and not only the file: of phases, which lie within no more than `depth` others, and of waits
/// and failures.
fn is_told(span: &Span, depth: usize) -> bool {
    let is_phase = span.depth <= depth && span.kind != SpanKind::Word;
    is_phase || span.kind == SpanKind::Wait || matches!(span.result, SpanResult::Failed(_))
}

fn line(track: &Track, span: &Span) -> String {
    let (indent, nanoseconds) = ("  ".repeat(span.depth), span.end - span.begin);
    let failed = if matches!(span.result, SpanResult::Failed(_)) { ", failed" } else { "" };
    let (milliseconds, fraction) = (nanoseconds / 1_000_000, nanoseconds / 1000 % 1000);
    format!("{}: {indent}{}: {milliseconds}.{fraction:03} ms{failed}", track.name, span.name)
}
