//! The terminal of a process: which devpts it is made in, how large it is, where else it is shown.

use rustix::termios::Winsize;
use sys::mount::Propagation;

use super::{InnerPath, MountSource, ProcessPlan, RootfsPlan, UserNamespace, invalid};
use crate::error::Result;
use crate::spec::{ConsoleSize, Process, Spec};

/// A terminal that is made for the process.
#[derive(Debug)]
pub(crate) struct TerminalPlan {
    /// The directory it is made in.
    pub(crate) devpts: InnerPath,
    /// Whether it is the host's where the container has no devpts there.
    pub(crate) may_be_hosts: bool,
    /// The process' user as the host knows it; nothing where that cannot be told.
    pub(crate) owner: Option<u32>,
    /// Its size, where the configuration has one.
    pub(crate) size: Option<Winsize>,
    /// Whether it is the container's console, too.
    pub(crate) console: Console,
}

/// What becomes of `/dev/console`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Console {
    /// Nothing: the container has no mounts of its own, or the configuration has one there.
    Untouched,
    /// It shows the terminal; what it is mounted on is made.
    Made,
    /// It shows the terminal if there is something for it to be mounted on.
    Covered,
}

const DEVPTS: &str = "/dev/pts";

impl TerminalPlan {
    /// That of a process alone, if it has one.
    pub(super) fn new(process: &Process<'_>) -> Result<Option<Self>> {
        if process.terminal != Some(true) {
            return Ok(None);
        }
        Ok(Some(Self {
            devpts: InnerPath::new(DEVPTS, || DEVPTS.to_owned())?,
            may_be_hosts: false,
            owner: None,
            size: process.console_size.map_or(Ok(None), size)?,
            console: Console::Untouched,
        }))
    }

    /// Completes it by what the configuration of the container says: only one that mounts nothing there can be without a
    /// devpts.
    pub(crate) fn settle(&mut self, spec: &Spec<'_>) {
        let mut destinations = spec.mounts.iter().flatten().map(|mount| &*mount.destination);
        let is_there = |path: &str| InnerPath::new(path, String::new).is_ok_and(|path| path == self.devpts);
        self.may_be_hosts = !destinations.any(is_there);
    }
}

impl ProcessPlan {
    /// Makes a terminal of the host's the user's that the process is in its user namespace, or in the host's.
    pub(crate) fn own_terminal(&mut self, namespace: Option<&UserNamespace>) {
        let uid = self.uid.as_raw();
        if let Some(terminal) = &mut self.terminal {
            terminal.owner = namespace.map_or(Some(uid), |namespace| namespace.maps.outside_uid(uid));
        }
    }
}

/// Nothing where it has no extent: that is how an engine says that it does not know.
fn size(size: ConsoleSize) -> Result<Option<Winsize>> {
    let number = |name: &str, number: u32| {
        let wrong = || invalid(format!("process.consoleSize.{name}: `{number}` is more than 65535"));
        u16::try_from(number).map_err(|_| wrong())
    };
    let (rows, columns) = (number("height", size.height)?, number("width", size.width)?);
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok((rows > 0 || columns > 0).then_some(size))
}

impl Console {
    pub(super) fn of(rootfs: &RootfsPlan) -> Self {
        let at = |path: &str| {
            let mut mounts = rootfs.mounts.iter().rev();
            mounts.find(|mount| mount.destination.as_c_str().to_bytes() == path.as_bytes())
        };
        if !rootfs.own_mounts || at("dev/console").is_some() {
            return Self::Untouched;
        }
        match at("dev") {
            // What is mounted below a shared volume is mounted on the host, too.
            Some(dev) if dev.propagates(Propagation::Shared) => Self::Untouched,
            // Nothing is made in a directory of the host's.
            Some(dev) if matches!(dev.source, MountSource::Bind(_)) => Self::Covered,
            _ => Self::Made,
        }
    }
}
