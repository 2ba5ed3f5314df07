//! What an operation did when, in both processes: the timeline of a start, for who wants to see where its time goes.
//!
//! A [`Timeline`] is handed in with the options of an operation, and collects. The default one is off: then each place
//! where something would be noted costs one look at it. The runtime notes spans ([`Timeline::measure`]); init, which may not
//! allocate, leaves marks in memory that both share ([`marks`]), of which spans are made once it has become its program or
//! has failed ([`init`]). It leaves one wherever a step of it can fail ([`crate::channel::At`]), so that there is nothing to
//! be done for another step to be seen. Times are those of the monotonic clock, in nanoseconds: timelines of several commands
//! can be laid side by side.

mod chrome;
mod init;
pub(crate) mod marks;
mod objects;
mod phase;

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, getpid};
use sys::clock::Clock;

use crate::error::{Error, Result};
pub(crate) use init::Outcome;
pub(crate) use marks::{Marks, Room};
pub(crate) use objects::{Of, of_container, of_process};

/// A timeline of one operation after the other, or none. Clones of it are the same one.
#[derive(Debug, Clone, Default)]
pub struct Timeline(Option<Arc<Mutex<Recording>>>);

/// A process, and what it did.
#[derive(Debug, Clone)]
pub struct Track {
    /// What it is called.
    pub name: String,
    /// Its pid, seen from the calling process.
    pub pid: i32,
    /// What it did, by when it began, and what lies within another after that.
    pub spans: Vec<Span>,
}

/// Something that took time.
#[derive(Debug, Clone)]
pub struct Span {
    /// What it was.
    pub name: Cow<'static, str>,
    /// What it is to be taken for.
    pub kind: SpanKind,
    /// When it began.
    pub begin: u64,
    /// When it was over.
    pub end: u64,
    /// How many others it lies within.
    pub depth: usize,
    /// What came of it.
    pub result: SpanResult,
}

/// What a span is to be taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Something was being done.
    Work,
    /// Somebody else was being waited for.
    Wait,
    /// The container's program was running.
    Program,
    /// Something was said; that takes no time.
    Word,
}

/// What came of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpanResult {
    /// It was done.
    Done,
    /// It was refused, for this reason, and another way was taken.
    Refused(String),
    /// It could not be done, and why.
    Failed(String),
}

/// What there is so far: the calling process first.
#[derive(Debug)]
struct Recording {
    tracks: Vec<Track>,
    /// How many things the calling process is in the middle of.
    open: usize,
}

/// What takes no more nanoseconds and has nothing in it is not worth a span.
const NOTHING: u64 = 500;

impl Timeline {
    /// One that collects.
    #[must_use]
    pub fn new() -> Self {
        let pid = getpid().as_raw_nonzero().get();
        let caller = Track { name: "crun".to_owned(), pid, spans: Vec::new() };
        Self(Some(Arc::new(Mutex::new(Recording { tracks: vec![caller], open: 0 }))))
    }

    /// Whether it collects.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Does `work`, which is called `what`, and notes when, and whether it failed.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn measure<T>(&self, what: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let begun = self.begin(SpanKind::Work, what);
        let done = work();
        self.end(begun, done.as_ref().err());
        done
    }

    /// The same, where it waits for somebody.
    pub(crate) fn measure_wait<T>(&self, what: &'static str, wait: impl FnOnce() -> Result<T>) -> Result<T> {
        let begun = self.begin(SpanKind::Wait, what);
        let done = wait();
        self.end(begun, done.as_ref().err());
        done
    }

    /// The same for what is done to an object.
    pub(crate) fn measure_one<T>(
        &self,
        what: &'static str,
        object: &dyn Display,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let begun = self.begin(SpanKind::Work, what);
        if let Some((mut recording, index)) = self.recording().zip(begun) {
            recording.rename(index, format!("{what} {object}"));
        }
        let done = work();
        self.end(begun, done.as_ref().err());
        done
    }

    /// The same for what cannot fail.
    pub(crate) fn look<T>(&self, what: &'static str, work: impl FnOnce() -> T) -> T {
        let begun = self.begin(SpanKind::Work, what);
        let done = work();
        self.end(begun, None);
        done
    }

    /// Notes that something is being said.
    pub(crate) fn say(&self, what: &'static str) {
        let said = self.begin(SpanKind::Word, what);
        self.end(said, None);
    }

    fn begin(&self, kind: SpanKind, what: &'static str) -> Option<usize> {
        self.recording().and_then(|mut recording| recording.begin(kind, what))
    }

    fn end(&self, begun: Option<usize>, error: Option<&Error>) {
        if let Some(index) = begun
            && let Some(mut recording) = self.recording()
        {
            recording.end(index, error);
        }
    }

    /// Room for the marks of a process that is about to be made.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn room(&self, room: &Room<'_>) -> Result<Option<Arc<Marks>>> {
        self.0.as_ref().map(|_| Marks::new(room).map(Arc::new)).transpose()
    }

    /// Adds what a process has left marks of, up to how that ended; `of` knows what the entries of its plan are.
    pub(crate) fn add_process(
        &self,
        (name, pid): (String, Pid),
        marks: &Marks,
        outcome: &Outcome<'_>,
        of: Of<'_>,
    ) {
        if let Some(mut recording) = self.recording() {
            let spans = init::spans(&marks.read(), outcome, of);
            recording.tracks.push(Track { name, pid: pid.as_raw_nonzero().get(), spans });
        }
    }

    /// Notes that the program of the last process has ended by now.
    pub(crate) fn add_end_of_program(&self) {
        if let Some(mut recording) = self.recording() {
            recording.add_end_of_program();
        }
    }

    /// What there is so far, the calling process first.
    #[must_use]
    pub fn collected(&self) -> Vec<Track> {
        self.recording().map(|recording| recording.tracks.clone()).unwrap_or_default()
    }

    fn recording(&self) -> Option<MutexGuard<'_, Recording>> {
        // What is in there is whole whenever nobody is in the middle of a push.
        self.0.as_ref().map(|recording| recording.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Recording {
    fn begin(&mut self, kind: SpanKind, what: &'static str) -> Option<usize> {
        let caller = self.tracks.first_mut()?;
        let index = caller.spans.len();
        let (begin, depth) = (Clock::Monotonic.now(), self.open);
        self.open += 1;
        caller.spans.push(Span::new(Cow::Borrowed(what), kind, (begin, begin), depth));
        Some(index)
    }

    fn rename(&mut self, index: usize, name: String) {
        if let Some(span) = self.tracks.first_mut().and_then(|caller| caller.spans.get_mut(index)) {
            span.name = Cow::Owned(name);
        }
    }

    fn end(&mut self, index: usize, error: Option<&Error>) {
        self.open = self.open.saturating_sub(1);
        let Some(caller) = self.tracks.first_mut() else { return };
        let is_last = index + 1 == caller.spans.len();
        let Some(span) = caller.spans.get_mut(index).filter(|span| span.kind != SpanKind::Word) else {
            return;
        };
        span.end = Clock::Monotonic.now();
        if let Some(error) = error {
            span.result = SpanResult::Failed(error.to_string());
        } else if is_last && span.end - span.begin < NOTHING {
            caller.spans.pop();
        }
    }

    fn add_end_of_program(&mut self) {
        let now = Clock::Monotonic.now();
        let [_, .., process] = self.tracks.as_mut_slice() else { return };
        let begin = process.spans.last().map_or(now, |span| span.end);
        let span = Span::new(Cow::Borrowed("the program runs"), SpanKind::Program, (begin, now), 0);
        process.spans.push(span);
    }
}

impl Span {
    fn new(name: Cow<'static, str>, kind: SpanKind, (begin, end): (u64, u64), depth: usize) -> Self {
        Self { name, kind, begin, end, depth, result: SpanResult::Done }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn names(timeline: &Timeline) -> Vec<(String, usize)> {
        let tracks = timeline.collected();
        tracks[0].spans.iter().map(|span| (span.name.to_string(), span.depth)).collect()
    }

    #[test]
    fn what_lies_within_something_else_comes_after_it_and_deeper() {
        let timeline = Timeline::new();
        let pause = || std::thread::sleep(std::time::Duration::from_micros(20));
        timeline.look("all", || {
            timeline.look("first", pause);
            timeline.look("second", || {
                pause();
                timeline.look("inner", pause);
            });
            timeline.say("word");
        });
        let expected = [("all", 0), ("first", 1), ("second", 1), ("inner", 2), ("word", 1)];
        assert_eq!(names(&timeline), expected.map(|(name, depth)| (name.to_owned(), depth)));
    }

    #[test]
    fn the_error_is_noted_where_it_happened_and_around_it() {
        let timeline = Timeline::new();
        let failed = timeline.measure("all", || {
            timeline.measure("good", || {
                std::thread::sleep(std::time::Duration::from_micros(20));
                Ok(())
            })?;
            timeline.measure("bad", || Err::<(), _>(Error::new(Code::System, "no")))
        });
        assert!(failed.is_err());
        let spans = &timeline.collected()[0].spans;
        let results: Vec<_> = spans.iter().map(|span| (span.name.as_ref(), &span.result)).collect();
        let failed = SpanResult::Failed("no".to_owned());
        assert_eq!(results, [("all", &failed), ("good", &SpanResult::Done), ("bad", &failed)]);
    }

    #[test]
    fn one_that_is_off_notes_nothing() {
        let timeline = Timeline::default();
        assert_eq!(timeline.look("all", || 7), 7);
        assert!(!timeline.is_on() && timeline.collected().is_empty());
    }
}
