//! `events`: what a container uses, and its processes that are killed for want of memory.

use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::time::Duration;

use libcrun::{Code, Error, Event, Result};

use super::{Context, print};
use crate::duration;
use crate::failed;
use crate::output;

pub(super) fn events(context: &Context<'_>) -> Result<i32> {
    let interval = interval(context.value("interval").unwrap_or("5s"))?;
    let (root, id) = (context.root(), context.id()?);
    if context.has("stats") {
        let statistics = libcrun::statistics(&root, &id)?;
        return print(&output::event(&id, &Event::Statistics(Box::new(statistics))));
    }
    let stdout = std::io::stdout();
    libcrun::watch(&root, &id, interval, Some(stdout.as_fd()), |event| tell(&output::event(&id, &event)))?;
    Ok(0)
}

/// Prints a line. A reader that has gone away has seen enough.
fn tell(line: &str) -> Result<ControlFlow<()>> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(failed("write to the standard output", &error)),
    }
}

fn interval(text: &str) -> Result<Duration> {
    let wrong = || {
        let message = format!("--interval: `{text}` is not a duration like `5s` or `1m30s`");
        Error::new(Code::InvalidOption, message)
    };
    match duration::parse(text).ok_or_else(wrong)? {
        Some(interval) if !interval.is_zero() => Ok(interval),
        _ => Err(Error::new(Code::InvalidOption, "duration interval must be greater than 0")),
    }
}
