//! The flame chart: a lane for each process on one axis of time, and below them a part of the last one, enlarged.
//!
//! What is too small for its name is called out: the names stand aslant beside the lane, with a line to what they are of.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::{Span, Track};

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 28.0;
/// Room for the last names aslant.
const RIGHT: f64 = 110.0;
const ROW: f64 = 22.0;
const LETTER: f64 = 6.4;
/// How far names aslant are from each other.
const APART: f64 = 17.0;
/// How they slant, in degrees, and how far a name goes to the side of its lane for each letter.
const SLANT: f64 = 38.0;
const RISE: f64 = 3.9;
/// The room between the lanes of the two processes, in which is shown what one says to the other.
const BETWEEN: f64 = 30.0;
/// The part of the process that is enlarged.
const ENLARGED: &str = "mounts";

/// Where the names are that found no room.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Above,
    Below,
}

/// A lane: the spans of a process that begin at a depth, and how time becomes length in it.
struct Lane<'a> {
    spans: Vec<&'a Span>,
    /// What lies this deep has a name in any case.
    named: u32,
    /// The outermost.
    first: u32,
    side: Side,
    colours: [&'static str; 4],
    start: f64,
    scale: f64,
}

/// Draws the chart.
pub(super) fn render(tracks: &[Track]) -> Result<String> {
    let [caller, .., process] = tracks else { anyhow::bail!("there is only one process in the trace") };
    let end = tracks.iter().flat_map(|track| &track.spans).fold(0.0, |end, span| f64::max(end, span.end));
    let scale = (WIDTH - LEFT - RIGHT) / end;
    let mut body = String::new();
    let mut y = 64.0;
    let (axis, whole) = (y - 14.0, y);
    let colours = ["#dfe8f2", "#9fbfdf", "#cfe0f0", "#e8f0f8"];
    let lane = Lane {
        spans: caller.spans.iter().collect(),
        named: 1,
        first: 0,
        side: Side::Above,
        colours,
        start: 0.0,
        scale,
    };
    title(&mut body, y + 12.0, &format!("{}: what the runtime does", caller.name));
    lane.draw(&mut body, &mut y);
    title(&mut body, y + 20.0, &format!("{}: what becomes the container's program", process.name));
    let said = y;
    y += BETWEEN;
    let colours = ["#8cc9b0", "#bfe3d3", "#def2e9", "#eef9f4"];
    let inside = Lane {
        spans: process.spans.iter().collect(),
        named: 0,
        first: 0,
        side: Side::Below,
        colours,
        start: 0.0,
        scale,
    };
    words(&mut body, &lane, said);
    inside.draw(&mut body, &mut y);
    let grid = grid(axis, whole, y, end, scale);
    y += 34.0;
    let part =
        process.spans.iter().find(|span| span.name == ENLARGED).context("there are no mounts in it")?;
    let scale = (WIDTH - LEFT - RIGHT) / (part.end - part.begin);
    let within = |span: &&Span| span.depth > 0 && span.begin >= part.begin && span.end <= part.end + 0.01;
    let spans = process.spans.iter().filter(within).collect();
    let side = Side::Above;
    let enlarged = Lane {
        spans,
        named: 1,
        first: 1,
        side,
        colours: ["#ffffff", "#bfe3d3", "#def2e9", "#eef9f4"],
        start: part.begin,
        scale,
    };
    title(&mut body, y, &format!("The {ENLARGED} of {}, enlarged ({})", process.name, duration(part)));
    y += 10.0;
    enlarged.draw(&mut body, &mut y);
    y += 12.0;
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y:.0}\" viewBox=\"0 0 {WIDTH} {y:.0}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         {}{grid}{body}</svg>\n",
        legend()
    ))
}

fn title(body: &mut String, y: f64, text: &str) {
    let _ = writeln!(
        body,
        "<text x=\"{LEFT}\" y=\"{y:.1}\" font-size=\"13\" font-weight=\"bold\" fill=\"#333333\">{}</text>",
        escape(text)
    );
}

/// What the colours mean.
fn legend() -> String {
    let kinds = [
        ("#9fbfdf", "work of the runtime"),
        ("#8cc9b0", "work of init"),
        (WAIT, "waits"),
        (PROGRAM, "the program"),
    ];
    let mut legend = String::new();
    let mut x = LEFT;
    for (colour, text) in kinds {
        let _ = writeln!(
            legend,
            "<rect x=\"{x:.1}\" y=\"10\" width=\"12\" height=\"12\" fill=\"{colour}\" stroke=\"#999999\" stroke-width=\"0.5\"/>\
             <text x=\"{:.1}\" y=\"20\" fill=\"#333333\">{text}</text>",
            x + 17.0
        );
        x += 17.0 + LETTER * length(text) + 18.0;
    }
    let _ = writeln!(
        legend,
        "<path d=\"M{x:.1} 9v13\" stroke=\"{SAID}\" stroke-width=\"1.5\"/>\
         <path d=\"M{:.1} 18h6l-3 5z\" fill=\"{SAID}\"/>\
         <text x=\"{:.1}\" y=\"20\" fill=\"#333333\">the runtime says something to init</text>",
        x - 3.0,
        x + 8.0
    );
    legend
}

/// The axis of time at `y`, with lines from `top` to `bottom`.
fn grid(y: f64, top: f64, bottom: f64, end: f64, scale: f64) -> String {
    let steps = [50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0, 50_000.0];
    let step = steps.into_iter().find(|step| end / step <= 12.0).unwrap_or(100_000.0);
    let mut grid = String::new();
    let mut time = 0.0;
    while time <= end {
        let x = LEFT + time * scale;
        let _ = writeln!(
            grid,
            "<path d=\"M{x:.1} {:.1}V{bottom:.1}\" stroke=\"#e4e4e4\"/>\
             <text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" fill=\"#777777\">{:.1} ms</text>",
            top - 8.0,
            time / 1000.0
        );
        time += step;
    }
    grid
}

/// What the runtime says, as lines to the process it says it to.
fn words(body: &mut String, lane: &Lane<'_>, y: f64) {
    for word in lane.spans.iter().filter(|span| span.category == "word") {
        let x = lane.x(word.begin);
        let _ = writeln!(
            body,
            "<path d=\"M{x:.1} {y:.1}v{BETWEEN}\" stroke=\"{SAID}\" stroke-width=\"1.5\"><title>{}</title></path>\
             <path d=\"M{:.1} {:.1}h6l-3 5z\" fill=\"{SAID}\"/>",
            escape(&word.name),
            x - 3.0,
            y + BETWEEN - 5.0
        );
    }
}

const SAID: &str = "#c0392b";
const WAIT: &str = "#ededed";
const PROGRAM: &str = "#f3cf87";
const FAILED: &str = "#e08a96";

impl Lane<'_> {
    fn x(&self, time: f64) -> f64 {
        LEFT + (time - self.start) * self.scale
    }

    /// Draws the lane from `y` on, and moves that below it.
    fn draw(&self, body: &mut String, y: &mut f64) {
        let timed = || self.spans.iter().copied().filter(|span| span.category != "word");
        let deepest = timed().map(|span| span.depth).max().unwrap_or(0).min(self.first + 3);
        let called: Vec<&Span> =
            timed().filter(|span| span.depth == self.named && !self.has_room(span)).collect();
        let longest = called.iter().fold(0.0, |longest, span| f64::max(longest, length(&call(span))));
        let aside = if called.is_empty() { 8.0 } else { 30.0 + longest * RISE };
        let rows = f64::from(deepest - self.first + 1) * ROW;
        let top = if self.side == Side::Above { *y + aside } else { *y };
        for span in timed().filter(|span| span.depth <= deepest) {
            self.bar(body, span, top + f64::from(span.depth - self.first) * ROW);
        }
        let row = top + f64::from(self.named - self.first) * ROW;
        let (edge, target) = match self.side {
            Side::Above => (top, row + 3.0),
            Side::Below => (top + rows, row + ROW - 4.0),
        };
        self.call_out(body, &called, edge, target);
        *y += rows + aside;
    }

    fn has_room(&self, span: &Span) -> bool {
        (span.end - span.begin) * self.scale > LETTER * length(&span.name) + 8.0
    }

    fn bar(&self, body: &mut String, span: &Span, y: f64) {
        let (x, width) = (self.x(span.begin), ((span.end - span.begin) * self.scale).max(0.6));
        let level = usize::try_from(span.depth).unwrap_or(0).min(self.colours.len() - 1);
        let fill = match span.category.as_str() {
            "wait" => WAIT,
            "program" => PROGRAM,
            "failed" => FAILED,
            _ => self.colours.get(level).copied().unwrap_or(WAIT),
        };
        let _ = writeln!(
            body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{fill}\" stroke=\"#ffffff\" \
             stroke-width=\"0.6\"><title>{}: {}</title></rect>",
            ROW - 2.0,
            escape(&span.name),
            duration(span)
        );
        if self.has_room(span) {
            let with_time = format!("{}  {}", span.name, duration(span));
            let text = if width > LETTER * length(&with_time) + 8.0 { &with_time } else { &span.name };
            // Out of the way of the lines to what lies in it.
            let (anchor, place) = if span.depth == 0 && self.named > 0 {
                ("middle", x + width / 2.0)
            } else {
                ("start", x + 4.0)
            };
            let _ = writeln!(
                body,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"#222222\">{}</text>",
                place,
                y + 14.0,
                escape(text)
            );
        }
    }

    /// Writes the names of `spans` aslant beyond `edge`, each with a line to its place at `target`.
    fn call_out(&self, body: &mut String, spans: &[&Span], edge: f64, target: f64) {
        let centre = |span: &&Span| self.x(f64::midpoint(span.begin, span.end));
        let mut places: Vec<f64> = Vec::new();
        for span in spans {
            let after = places.last().map_or(0.0, |last| last + APART);
            places.push(centre(span).max(after));
        }
        let (sign, angle) = if self.side == Side::Above { (-1.0, -SLANT) } else { (1.0, SLANT) };
        for (span, x) in spans.iter().zip(places) {
            let (knee, end) = (edge + sign * 4.0, edge + sign * 18.0);
            let text = end + if self.side == Side::Above { -2.0 } else { 9.0 };
            let _ = writeln!(
                body,
                "<path d=\"M{:.1} {target:.1}V{knee:.1}L{x:.1} {end:.1}\" fill=\"none\" stroke=\"#8a8a8a\" \
                 stroke-width=\"0.7\"/>\
                 <text transform=\"translate({:.1},{text:.1}) rotate({angle})\" fill=\"#222222\">{}</text>",
                centre(span),
                x + 1.0,
                escape(&call(span))
            );
        }
    }
}

/// What is written of a span beside its lane.
fn call(span: &Span) -> String {
    format!("{}  {}", span.name, duration(span))
}

fn duration(span: &Span) -> String {
    match span.end - span.begin {
        short if short < 995.0 => format!("{short:.0} µs"),
        long => format!("{:.2} ms", long / 1000.0),
    }
}

fn length(text: &str) -> f64 {
    u32::try_from(text.chars().count()).map_or(0.0, f64::from)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(name: &str, begin: f64, end: f64, depth: u32) -> Span {
        Span { name: name.to_owned(), category: "work".to_owned(), begin, end, depth }
    }

    #[test]
    fn what_has_no_room_for_its_name_is_called_out_and_names_keep_apart() {
        let small = (0..5_u32).map(|number| {
            let begin = 500.0 + f64::from(number);
            span(&format!("a<{number}"), begin, begin + 1.0, 1)
        });
        let all = [span("run", 0.0, 1000.0, 0), span("long", 0.0, 500.0, 1)];
        let caller = Track { name: "crun".to_owned(), spans: all.into_iter().chain(small).collect() };
        let inside = [span("mounts", 600.0, 900.0, 0), span("mount /proc", 600.0, 900.0, 1)];
        let process = Track { name: "init (web)".to_owned(), spans: inside.to_vec() };
        let chart = render(&[caller, process]).unwrap();
        let aslant: Vec<&str> = chart.split("<text transform=\"translate(").skip(1).collect();
        assert_eq!(aslant.len(), 5, "{chart}");
        let at = |text: &&str| text.split(',').next().and_then(|x| x.parse::<f64>().ok()).unwrap();
        let places: Vec<f64> = aslant.iter().map(at).collect();
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= APART - 0.2), "{places:?}");
        assert!(chart.contains(">a&lt;4  1 µs</text>") && chart.contains(">long  500 µs</text>"), "{chart}");
    }
}
