//! The timeline as a file for `chrome://tracing` and Perfetto: the JSON array format of the Trace Event Format.

use std::fmt::Write as _;

use super::{Span, SpanKind, SpanResult, Timeline, Track};

impl Timeline {
    /// What is collected, as JSON that `ui.perfetto.dev` and `chrome://tracing` open.
    #[must_use]
    pub fn to_trace_json(&self) -> String {
        let mut events = String::from("{\"traceEvents\":[\n");
        for track in self.collected() {
            name(&mut events, &track);
            for span in &track.spans {
                event(&mut events, &track, span);
            }
        }
        // The last one has nothing to be parted from.
        events.truncate(events.trim_end_matches([',', '\n']).len());
        events.push_str("\n],\"displayTimeUnit\":\"ms\"}\n");
        events
    }
}

fn name(events: &mut String, track: &Track) {
    let (pid, text) = (track.pid, quoted(&track.name));
    for what in ["process_name", "thread_name"] {
        let _ = writeln!(
            events,
            "{{\"name\":\"{what}\",\"ph\":\"M\",\"pid\":{pid},\"tid\":{pid},\"args\":{{\"name\":{text}}}}},"
        );
    }
}

fn event(events: &mut String, track: &Track, span: &Span) {
    let (name, pid) = (quoted(&span.name), track.pid);
    let (category, begin) = (category(span.kind), microseconds(span.begin));
    let _ = write!(events, "{{\"name\":{name},\"cat\":\"{category}\",");
    let _ = match span.kind {
        SpanKind::Word => write!(events, "\"ph\":\"i\",\"s\":\"t\",\"ts\":{begin}"),
        _ => write!(events, "\"ph\":\"X\",\"ts\":{begin},\"dur\":{}", microseconds(span.end - span.begin)),
    };
    let _ = write!(events, ",\"pid\":{pid},\"tid\":{pid}");
    let result = match &span.result {
        SpanResult::Done => None,
        SpanResult::Refused(reason) => Some(("refused", reason)),
        SpanResult::Failed(error) => Some(("error", error)),
    };
    if let Some((key, text)) = result {
        let _ = write!(events, ",\"args\":{{\"{key}\":{}}}", quoted(text));
    }
    events.push_str("},\n");
}

fn category(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Work => "work",
        SpanKind::Wait => "wait",
        SpanKind::Program => "program",
        SpanKind::Word => "word",
    }
}

/// With three digits behind the point: the nanoseconds are all there.
fn microseconds(nanoseconds: u64) -> String {
    format!("{}.{:03}", nanoseconds / 1000, nanoseconds % 1000)
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Code, Error};

    #[test]
    fn the_file_is_json_with_the_names_of_the_processes_and_all_spans() {
        let timeline = Timeline::new();
        let error = Error::new(Code::System, "no \"such\" thing");
        let failed = timeline.measure("all", || {
            timeline.say("go");
            Err::<(), _>(error)
        });
        assert!(failed.is_err());
        let trace: serde_json::Value = serde_json::from_str(&timeline.to_trace_json()).unwrap();
        let events = trace["traceEvents"].as_array().unwrap();
        let kinds: Vec<_> = events.iter().map(|event| event["ph"].as_str().unwrap()).collect();
        assert_eq!((kinds, &trace["displayTimeUnit"]), (vec!["M", "M", "X", "i"], &"ms".into()));
        assert_eq!(events[0]["args"]["name"], "crun");
        assert_eq!(events[2]["args"]["error"], "no \"such\" thing");
    }

    #[test]
    fn an_empty_one_is_json_too() {
        let trace: serde_json::Value = serde_json::from_str(&Timeline::default().to_trace_json()).unwrap();
        assert_eq!(trace["traceEvents"], serde_json::json!([]));
    }

    #[test]
    fn microseconds_keep_their_fraction() {
        assert_eq!(microseconds(1_234_005), "1234.005");
    }
}
