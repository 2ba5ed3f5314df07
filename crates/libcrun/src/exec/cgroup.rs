//! In which cgroup of the container a further process of it is put.
//!
//! The container's own takes none once the container hands controllers on to cgroups it has made itself (cgroup-v2.rst,
//! "no internal process constraint"), as systemd does; then the process joins the container's first one, which has moved
//! away too, or gets a cgroup of its own, which goes with the container's.

use cgroups::Cgroup;
use rustix::io::Errno;

use crate::container::Container;
use crate::error::{Code, Context, Error, Result, doing, words};

/// The cgroup that is made where no other takes the process.
const LAST_RESORT: &str = "crun-exec";

/// The container's cgroup, and where in it the next attempt goes.
#[derive(Debug)]
pub(crate) struct Home<'c> {
    container: &'c Container,
    cgroup: Option<Cgroup>,
    next: Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    OfFirstProcess,
    LastResort,
    Nowhere,
}

impl<'c> Home<'c> {
    pub(crate) fn new(container: &'c Container) -> Result<Self> {
        let cgroup = container.cgroup()?;
        // Elsewhere the process would be under nobody's limits.
        if let Some(gone) = cgroup.as_ref().filter(|cgroup| !cgroup.exists()) {
            let message = format!("open the container's cgroup `{}`", gone.path());
            return Err(Error::os(Code::Cgroup, message, Errno::NOENT));
        }
        Ok(Self { container, cgroup, next: Next::OfFirstProcess })
    }

    /// Whether the container is paused.
    pub(crate) fn is_frozen(&self) -> bool {
        self.cgroup.as_ref().is_some_and(Cgroup::is_frozen)
    }

    /// `wanted` are the cgroups asked for: paths below the container's cgroup, each with the v1 controllers it is about if
    /// not all, `[CONTROLLER[,CONTROLLER...]:]PATH`. What is asked for is what is done.
    pub(crate) fn choose(&mut self, wanted: &[String]) -> Result<()> {
        for text in wanted {
            select(self.cgroup.as_mut().ok_or_else(words::no_cgroup)?, text)?;
            self.next = Next::Nowhere;
        }
        Ok(())
    }

    pub(crate) fn cgroup(&self) -> Option<&Cgroup> {
        self.cgroup.as_ref()
    }

    /// Makes the process by `make`, which also puts it into the cgroup it gets.
    pub(crate) fn make<T>(&mut self, make: impl Fn(Option<&Cgroup>) -> Result<T>) -> Result<T> {
        loop {
            match make(self.cgroup.as_ref()) {
                // EOPNOTSUPP: the container has made it a threaded one, or the root of such.
                Err(error)
                    if matches!(error.errno(), Some(Errno::BUSY | Errno::OPNOTSUPP)) && self.go_on()? => {}
                made => return made,
            }
        }
    }

    /// Goes on to the next place; whether there is one.
    fn go_on(&mut self) -> Result<bool> {
        let Some(cgroup) = &mut self.cgroup else { return Ok(false) };
        if self.next == Next::OfFirstProcess {
            self.next = Next::LastResort;
            if let Some(path) = below(self.container, &cgroup.path().to_string())?
                && cgroup.open_child(&path).is_ok()
            {
                return Ok(true);
            }
        }
        let is_left = self.next == Next::LastResort && cgroup.unified_directory().is_some();
        self.next = Next::Nowhere;
        if is_left {
            cgroup.create_child(LAST_RESORT)?;
        }
        Ok(is_left)
    }
}

fn select(cgroup: &mut Cgroup, text: &str) -> Result<()> {
    let (controllers, path) = match text.split_once(':') {
        Some((controllers, path)) => (controllers.split(',').collect(), path),
        None => (Vec::new(), text),
    };
    Ok(cgroup.enter_child(&controllers, path)?)
}

/// The v2 cgroup of the container's first process, as a path below the container's, if it is there and not the same.
fn below(container: &Container, path: &str) -> Result<Option<String>> {
    let file = format!("/proc/{}/cgroup", container.status.pid);
    let text = std::fs::read_to_string(&file).context(Code::Cgroup, || doing("read", &file))?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::"));
    Ok(own.and_then(|own| own.strip_prefix(path)).filter(|rest| rest.starts_with('/')).map(str::to_owned))
}
