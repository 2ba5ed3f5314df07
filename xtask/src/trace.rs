//! `cargo xtask trace`: draws the picture of `docs/tracing.md` from a recorded trace.

mod chart;

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::sh::checkout as root;

const RECORDED: &str = "docs/trace.json";
const PICTURE: &str = "docs/trace.svg";

/// A process and what it did.
#[derive(Debug)]
struct Track {
    name: String,
    spans: Vec<Span>,
}

/// Something that took time, in microseconds from the beginning of the trace.
#[derive(Debug, Clone)]
struct Span {
    name: String,
    category: String,
    begin: f64,
    end: f64,
    depth: u32,
}

pub(crate) fn run(arguments: Vec<OsString>) -> Result<()> {
    let recorded = match arguments.as_slice() {
        [] => root().join(RECORDED),
        [file] => Path::new(file).to_owned(),
        _ => bail!("one FILE, made by `crun run --trace FILE`"),
    };
    let tracks = read(&recorded).with_context(|| format!("read {}", recorded.display()))?;
    let picture = root().join(PICTURE);
    fs::write(&picture, chart::render(&tracks)?).with_context(|| format!("write {}", picture.display()))?;
    println!("{}", picture.display());
    Ok(())
}

fn read(path: &Path) -> Result<Vec<Track>> {
    let trace: Value = serde_json::from_slice(&fs::read(path)?)?;
    let events = trace["traceEvents"].as_array().context("there are no traceEvents")?;
    let named = |event: &&Value| event["name"] == "process_name";
    let timed = || events.iter().filter(|event| event["ph"] != "M");
    let start = timed().filter_map(|event| event["ts"].as_f64()).fold(f64::INFINITY, f64::min);
    let track = |process: &Value| {
        let of_it = timed().filter(|event| event["pid"] == process["pid"]);
        let mut spans: Vec<_> = of_it.map(|event| span(event, start)).collect();
        nest(&mut spans);
        Track { name: text(&process["args"]["name"]), spans }
    };
    Ok(events.iter().filter(named).map(track).collect())
}

fn span(event: &Value, start: f64) -> Span {
    let begin = event["ts"].as_f64().unwrap_or(start) - start;
    let end = begin + event["dur"].as_f64().unwrap_or(0.0);
    Span { name: text(&event["name"]), category: text(&event["cat"]), begin, end, depth: 0 }
}

/// Finds out what lies within what; in the file one that lies within another stands behind it.
fn nest(spans: &mut [Span]) {
    // What a floating point number leaves out of a time.
    const ERROR: f64 = 0.01;
    let mut around: Vec<f64> = Vec::new();
    for span in spans {
        while around.last().is_some_and(|end| *end < span.begin + ERROR) {
            around.pop();
        }
        span.depth = u32::try_from(around.len()).unwrap_or(u32::MAX);
        around.push(span.end);
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
