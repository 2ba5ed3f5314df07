//! Terminals: one for a command to be started at, and the other end of one that a container has.
//!
//! What is shown at one is read as it comes, unless the test wants to see what happens when nobody reads.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure of the kit is a failure of the test")]

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::crun::wait_for;

/// A pseudoterminal, from the side of who looks at it.
#[derive(Debug)]
pub struct Terminal {
    master: Arc<OwnedFd>,
    slave: Option<OwnedFd>,
    shown: Arc<Mutex<Vec<u8>>>,
    done: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    /// A new one of 24 lines of 80 characters.
    #[must_use]
    pub fn new() -> Self {
        Self::unread().read()
    }

    /// One that is not read until [`Self::read`].
    #[must_use]
    pub fn unread() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
        let mut terminal = Self::of(master);
        terminal.slave = Some(slave);
        terminal.resize(24, 80);
        terminal
    }

    /// That of a container, which has sent its end.
    #[must_use]
    pub fn of_container(master: OwnedFd) -> Self {
        Self::of(master).read()
    }

    fn of(master: OwnedFd) -> Self {
        Self {
            master: Arc::new(master),
            slave: None,
            shown: Arc::default(),
            done: Arc::default(),
            reader: None,
        }
    }

    /// Begins to read.
    #[must_use]
    pub fn read(mut self) -> Self {
        let (master, shown, done) =
            (Arc::clone(&self.master), Arc::clone(&self.shown), Arc::clone(&self.done));
        self.reader = Some(std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                let moment = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
                let mut awaited = [PollFd::new(&master, PollFlags::IN)];
                if poll(&mut awaited, Some(&moment)).unwrap() == 0 {
                    continue;
                }
                let mut bytes = [0; 65536];
                match rustix::io::read(&master, &mut bytes) {
                    Ok(length) if length > 0 => shown.lock().unwrap().extend_from_slice(&bytes[..length]),
                    // Nobody is at the other end, for now or for good.
                    _ => std::thread::sleep(std::time::Duration::from_millis(5)),
                }
            }
        }));
        self
    }

    /// Starts the command here, as the leader of a session whose terminal this is.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(&self, command: &Command) -> Child {
        self.start_by(["setsid", "--ctty"], command)
    }

    /// The same by another program, with the command's words behind its own.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_by<I: IntoIterator<Item: AsRef<OsStr>>>(&self, words: I, command: &Command) -> Child {
        let mut words = words.into_iter();
        let mut started = Command::new(words.next().unwrap());
        started.args(words).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            started.env(name, value.unwrap_or_default());
        }
        let end = || self.slave.as_ref().unwrap().try_clone().unwrap();
        started.stdin(end()).stdout(end()).stderr(end());
        started.spawn().unwrap_or_else(|error| panic!("cannot run {started:?}: {error}"))
    }

    /// Its other end.
    ///
    /// # Panics
    /// When it is a container's.
    #[must_use]
    pub fn other_end(&self) -> OwnedFd {
        self.slave.as_ref().unwrap().try_clone().unwrap()
    }

    /// Types.
    ///
    /// # Panics
    /// When nobody can.
    pub fn enter(&self, text: &str) {
        assert_eq!(rustix::io::write(&self.master, text.as_bytes()), Ok(text.len()));
    }

    /// What was shown so far, without the carriage returns of line ends.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).replace("\r\n", "\n")
    }

    /// Waits until this has been shown.
    pub fn wait_shown(&self, text: &str) {
        let look = || self.shown().contains(text).then_some(());
        wait_for(&format!("`{text}` at the terminal, where there is: {}", self.shown()), look);
    }

    /// How many bytes were shown, and the last of them, once all is that was written up to now. Nobody else may be writing.
    ///
    /// # Panics
    /// When it is a container's.
    #[must_use]
    pub fn settled(&self) -> (usize, Vec<u8>) {
        const LAST: &[u8] = b"\x1fthat was all\x1f";
        assert_eq!(rustix::io::write(self.slave.as_ref().unwrap(), LAST), Ok(LAST.len()));
        wait_for("all that was written", || {
            let mut shown = self.shown.lock().unwrap();
            let length = shown.strip_suffix(LAST)?.len();
            shown.truncate(length);
            Some((length, shown[length.saturating_sub(20)..].to_vec()))
        })
    }

    /// Whether something was written that nobody has read.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn has_unread(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&now)).unwrap() > 0
    }

    /// Makes it larger or smaller.
    ///
    /// # Panics
    /// Never.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).unwrap();
    }

    /// Whether it hands on every key as it is.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        let modes = tcgetattr(self.master.as_fd()).unwrap().local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Waits until it does, or does not.
    pub fn wait_raw(&self, raw: bool) {
        wait_for("the terminal's modes", || (self.is_raw() == raw).then_some(()));
    }

    /// Takes it away from those who use it.
    pub fn hang_up(self) {
        drop(self);
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
