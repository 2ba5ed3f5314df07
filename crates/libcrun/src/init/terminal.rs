//! The terminal of a process: made in the container's devpts by descriptor, handed to the runtime, and taken for its own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    CWD, FileType, FsWord, Mode, OFlags, ResolveFlags, fchown, fstat, fstatfs, makedev, openat, openat2,
};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::ioctl_tiocsctty;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::inner::{self, Made};
use super::{Init, classic, devices, mounts};
use crate::channel::{At, Failure, InitEnd, Step};
use crate::plan::{Console, InnerPath, ProcessPlan};
use crate::prepare::terminal::{HostTerminal, clone_node};
use crate::prepare::{PreparedProcess, PreparedRoot};

const DEVPTS_MAGIC: FsWord = 0x1cd1;

/// The process' end of its terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    slave: OwnedFd,
    is_hosts: bool,
}

impl Init<'_> {
    /// Makes the terminal, now that its devpts is mounted below `root`, and shows it as the container's console.
    pub(super) fn make_terminal(&mut self, root: BorrowedFd<'_>) -> Result<(), Failure> {
        let Some(terminal) = make(root, &self.prepared.process, self.channel)? else { return Ok(()) };
        self.show_console(root, &terminal).at(Step::Console)?;
        self.terminal = Some(terminal);
        Ok(())
    }

    fn show_console(&mut self, root: BorrowedFd<'_>, terminal: &Terminal) -> Result<(), Errno> {
        let plan = self.prepared.plan;
        let console = plan.process.terminal.as_ref().map_or(Console::Untouched, |plan| plan.console);
        if console == Console::Untouched {
            return Ok(());
        }
        let mut nothing = Made::none();
        let made = if plan.rootfs.own_dev { &mut nothing } else { &mut self.made };
        let dev = devices::open_dev(root, made)?;
        let place = match console {
            Console::Made => inner::make_file(dev.as_fd(), c"console", made)?,
            _ => match find_console(dev.as_fd()) {
                Err(Errno::NOENT) => return Ok(()),
                found => found?,
            },
        };
        self.mount_console(dev.as_fd(), place.as_fd(), terminal)?;
        // CVE-2025-52565: what is there now is this terminal, or the container does not come to be.
        let (shown, slave) = (fstat(find_console(dev.as_fd())?)?, fstat(&terminal.slave)?);
        if (shown.st_dev, shown.st_ino) == (slave.st_dev, slave.st_ino) { Ok(()) } else { Err(Errno::XDEV) }
    }

    /// Mounts the terminal's node. That of one of the host's has been cloned before, or else is the one that is in sight at
    /// its path here: a descriptor from another mount namespace is of no use.
    fn mount_console(
        &self,
        dev: BorrowedFd<'_>,
        place: BorrowedFd<'_>,
        terminal: &Terminal,
    ) -> Result<(), Errno> {
        let in_sight;
        let node = match self.prepared.process.host_terminal.as_ref().filter(|_| terminal.is_hosts) {
            None => terminal.slave.as_fd(),
            Some(HostTerminal { node: Some(node), .. }) => return mounts::attach(node.as_fd(), place),
            Some(HostTerminal { path, .. }) => {
                in_sight = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
                in_sight.as_fd()
            }
        };
        match &self.prepared.root {
            PreparedRoot::Classic(_) => classic::bind_node(node, place, || find_console(dev)),
            _ => mounts::attach(clone_node(node)?.as_fd(), place),
        }
    }
}

/// What is at `/dev/console`, also if it is a link.
fn find_console(dev: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    openat(dev, c"console", OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Makes the terminal of the plan, if there is one, and hands the runtime its end.
pub(crate) fn make(
    root: BorrowedFd<'_>,
    process: &PreparedProcess<'_>,
    channel: &InitEnd,
) -> Result<Option<Terminal>, Failure> {
    let Some(plan) = &process.plan.terminal else { return Ok(None) };
    let (master, terminal) = match (open_master(root, &plan.devpts), &process.host_terminal) {
        (Err(Errno::NOENT | Errno::NOTDIR | Errno::NODEV), Some(host)) => {
            let [master, slave] = [&host.master, &host.slave].map(|end| fcntl_dupfd_cloexec(end, 3));
            (master.at(Step::Terminal)?, Terminal { slave: slave.at(Step::Terminal)?, is_hosts: true })
        }
        (master, _) => {
            let master = master.at(Step::Terminal)?;
            let slave = open_slave(master.as_fd(), process.plan).at(Step::Terminal)?;
            (master, Terminal { slave, is_hosts: false })
        }
    };
    channel.hand_over_terminal(master.as_fd()).at(Step::Runtime)?;
    Ok(Some(terminal))
}

/// A new pseudoterminal of the devpts that is mounted there. In one, this name can be nothing else, and nothing that is
/// mounted over it is opened: it may be somebody's who can mount things in the container.
fn open_master(root: BorrowedFd<'_>, devpts: &InnerPath) -> Result<OwnedFd, Errno> {
    let directory = inner::open(root, devpts)?;
    if fstatfs(&directory)?.f_type != DEVPTS_MAGIC {
        return Err(Errno::NODEV);
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    let master = match openat2(&directory, c"ptmx", flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => openat(&directory, c"ptmx", flags, Mode::empty()),
        opened => opened,
    }?;
    let (stat, of) = (fstat(&master)?, fstat(&directory)?);
    let is_master = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == makedev(5, 2)
        && stat.st_dev == of.st_dev;
    if is_master { Ok(master) } else { Err(Errno::NXIO) }
}

/// The other end, by the master's descriptor and not by its name. It belongs to the process' user.
fn open_slave(master: BorrowedFd<'_>, process: &ProcessPlan) -> Result<OwnedFd, Errno> {
    unlockpt(master)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(master, flags)?;
    match fchown(&slave, Some(process.uid), None) {
        // A devpts of the host's, whose group of terminals is not mapped in the container's user namespace. The process
        // has it open, and only cannot open it again.
        Ok(()) | Err(Errno::PERM) => Ok(slave),
        Err(errno) => Err(errno),
    }
}

/// Makes it the controlling terminal of this process, which leads a session, and its standard descriptors.
pub(crate) fn take(terminal: Option<Terminal>) -> Result<(), Failure> {
    let Some(Terminal { slave, .. }) = terminal else { return Ok(()) };
    ioctl_tiocsctty(&slave)
        .and_then(|()| dup2_stdin(&slave))
        .and_then(|()| dup2_stdout(&slave))
        .and_then(|()| dup2_stderr(&slave))
        .at(Step::ControllingTerminal)
}
