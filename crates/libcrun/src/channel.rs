//! The conversation between the runtime and the process it makes: both sides of it, in one place.
//!
//! ```text
//! runtime                                init
//!    │  (clone)                           │
//!    ├── Placed ────────────────────────► │  only where it has to wait for its cgroup or its id maps
//!    ├── Network (a descriptor) ────────► │  only where the runtime makes the network namespace for it
//!    │ ◄───────────── Ready or Failed ────┤  set up, program found, rights given up
//!    ├── Go ────────────────────────────► │  everything around it is done: state, cgroup, devices
//!    │ ◄──── Failed, or end of file ──────┤  the exec failed, or it happened and closed the channel
//! ```
//!
//! `run` and `exec` say Go as soon as they are done themselves, without listening for Ready first, so that init need
//! not wait for it. `create` listens first: its caller is to hear of every failure, and the pid file is only written
//! for a container that is complete. Init then waits on exec.fifo, and the channel has no other end any more.
//!
//! End of file on either side means that the other is gone: before Go init ends itself then, so that a runtime that was
//! killed leaves no half-made container behind; the runtime looks at how init ended. A failure travels as what was
//! being done, to which entry of the plan, and the kernel's reason; words are made of it by the runtime
//! ([`crate::report`]).

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg, socketpair,
};
use rustix::process::Pid;

/// What the runtime says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToInit {
    /// The process is in its cgroup and its ids are mapped.
    Placed,
    /// Here is the network namespace.
    Network,
    /// Everything around the process is done: execute the program, or wait for the start of a created container.
    Go,
}

/// What init says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FromInit {
    /// Nothing is left to do but to execute the program.
    Ready,
    /// The container's process exists; said by the process that made it in the runtime's place ([`crate::relay`]).
    Born(Pid),
    /// Something could not be done; init has ended.
    Failed(Failure),
}

/// What could not be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    /// Which entry of the list the step works on.
    pub(crate) index: u16,
    /// Which part of that entry.
    pub(crate) detail: u16,
    pub(crate) errno: Errno,
}

impl Failure {
    /// A failure at entry `index` of a list.
    pub(crate) fn new(step: Step, index: usize, errno: Errno) -> Self {
        Self { step, index: u16::try_from(index).unwrap_or(u16::MAX), detail: 0, errno }
    }

    /// The same, at part `detail` of the entry.
    pub(crate) fn concerning(self, detail: usize) -> Self {
        Self { detail: u16::try_from(detail).unwrap_or(u16::MAX), ..self }
    }
}

/// The steps of init, as far as they can fail. The order is that of [`Step::ALL`], which the wire format uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    Runtime,
    JoinNamespace,
    NewNamespaces,
    CgroupNamespace,
    MappedRoot,
    Loopback,
    HostPropagation,
    AttachRoot,
    MountSource,
    MountTarget,
    MountTargetLink,
    MountTargetKernel,
    MountLinkDiffers,
    MountCreate,
    MountOption,
    MountAttach,
    MountAttributes,
    MountIdmap,
    MountCopyUp,
    DevDirectory,
    Device,
    DeviceLink,
    WorkingDirectoryCreate,
    MaskedPath,
    ReadOnlyPath,
    ReadOnlyRoot,
    Pivot,
    Hostname,
    Domainname,
    SelfProtection,
    Rlimit,
    Bounding,
    Groups,
    UserIds,
    Capabilities,
    NoNewPrivileges,
    WorkingDirectory,
    WorkingDirectoryOutside,
    FindExecutable,
    NotExecutable,
    NotRegular,
    Exec,
}

impl Step {
    const ALL: [Self; 42] = [
        Self::Runtime,
        Self::JoinNamespace,
        Self::NewNamespaces,
        Self::CgroupNamespace,
        Self::MappedRoot,
        Self::Loopback,
        Self::HostPropagation,
        Self::AttachRoot,
        Self::MountSource,
        Self::MountTarget,
        Self::MountTargetLink,
        Self::MountTargetKernel,
        Self::MountLinkDiffers,
        Self::MountCreate,
        Self::MountOption,
        Self::MountAttach,
        Self::MountAttributes,
        Self::MountIdmap,
        Self::MountCopyUp,
        Self::DevDirectory,
        Self::Device,
        Self::DeviceLink,
        Self::WorkingDirectoryCreate,
        Self::MaskedPath,
        Self::ReadOnlyPath,
        Self::ReadOnlyRoot,
        Self::Pivot,
        Self::Hostname,
        Self::Domainname,
        Self::SelfProtection,
        Self::Rlimit,
        Self::Bounding,
        Self::Groups,
        Self::UserIds,
        Self::Capabilities,
        Self::NoNewPrivileges,
        Self::WorkingDirectory,
        Self::WorkingDirectoryOutside,
        Self::FindExecutable,
        Self::NotExecutable,
        Self::NotRegular,
        Self::Exec,
    ];
}

/// Names the step of a call that fails.
pub(crate) trait At<T> {
    /// For a step that works on one thing only.
    fn at(self, step: Step) -> Result<T, Failure>;
    /// For entry `index` of the list that the step works through.
    fn at_entry(self, step: Step, index: usize) -> Result<T, Failure>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, step: Step) -> Result<T, Failure> {
        self.at_entry(step, 0)
    }

    fn at_entry(self, step: Step, index: usize) -> Result<T, Failure> {
        self.map_err(|errno| Failure::new(step, index, errno))
    }
}

/// Length of a message from init: kind, step, index, detail, errno or pid.
const REPORT: usize = 10;

/// Both ends, close-on-exec: the runtime's and init's.
pub(crate) fn pair() -> Result<(RuntimeEnd, InitEnd), Errno> {
    let (runtime, init) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((RuntimeEnd(runtime), InitEnd(init)))
}

/// The runtime's end.
#[derive(Debug)]
pub(crate) struct RuntimeEnd(OwnedFd);

impl RuntimeEnd {
    /// Says something to init. That init is gone is not an error here: its last words are still to be read.
    pub(crate) fn tell(&self, message: ToInit) {
        let _ = send(&self.0, &[message as u8], SendFlags::NOSIGNAL);
    }

    /// Says something to init and hands over a descriptor with it.
    pub(crate) fn hand_over(&self, message: ToInit, descriptor: BorrowedFd<'_>) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let descriptors = [descriptor];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let _ = sendmsg(&self.0, &[IoSlice::new(&[message as u8])], &mut control, SendFlags::NOSIGNAL);
    }

    /// Waits for init's next message; `None` when it has closed its end.
    pub(crate) fn hear(&self) -> Result<Option<FromInit>, Errno> {
        let mut buffer = [0_u8; REPORT];
        let length = receive(self.0.as_fd(), &mut buffer)?;
        let [kind, step, i0, i1, d0, d1, e0, e1, e2, e3] = buffer;
        Ok(match (length, kind) {
            (0, _) => None,
            (REPORT, 1) => Some(FromInit::Failed(Failure {
                step: Step::ALL.get(usize::from(step)).copied().unwrap_or(Step::Runtime),
                index: u16::from_ne_bytes([i0, i1]),
                detail: u16::from_ne_bytes([d0, d1]),
                errno: Errno::from_raw_os_error(i32::from_ne_bytes([e0, e1, e2, e3])),
            })),
            (REPORT, 2) => Pid::from_raw(i32::from_ne_bytes([e0, e1, e2, e3])).map(FromInit::Born),
            _ => Some(FromInit::Ready),
        })
    }
}

/// Init's end.
#[derive(Debug)]
pub(crate) struct InitEnd(OwnedFd);

impl AsFd for InitEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl InitEnd {
    /// Says something to the runtime.
    pub(crate) fn tell(&self, message: FromInit) -> Result<(), Errno> {
        let mut buffer = [0_u8; REPORT];
        match message {
            FromInit::Ready => {}
            FromInit::Born(pid) => {
                buffer[0] = 2;
                buffer[6..].copy_from_slice(&pid.as_raw_nonzero().get().to_ne_bytes());
            }
            FromInit::Failed(failure) => {
                buffer[0] = 1;
                buffer[1] = failure.step as u8;
                buffer[2..4].copy_from_slice(&failure.index.to_ne_bytes());
                buffer[4..6].copy_from_slice(&failure.detail.to_ne_bytes());
                buffer[6..].copy_from_slice(&failure.errno.raw_os_error().to_ne_bytes());
            }
        }
        send(&self.0, &buffer, SendFlags::NOSIGNAL).map(drop)
    }

    /// Waits until the runtime says `expected`.
    ///
    /// # Errors
    /// `EPIPE` when the runtime is gone.
    pub(crate) fn expect(&self, expected: ToInit) -> Result<(), Errno> {
        let mut buffer = [0_u8; 1];
        match receive(self.0.as_fd(), &mut buffer)? {
            1 if buffer[0] == expected as u8 => Ok(()),
            1 => Err(Errno::PROTO),
            _ => Err(Errno::PIPE),
        }
    }
}

impl InitEnd {
    /// Waits until the runtime hands over a descriptor with `expected`.
    ///
    /// # Errors
    /// `EPIPE` when the runtime is gone.
    pub(crate) fn expect_descriptor(&self, expected: ToInit) -> Result<OwnedFd, Errno> {
        let mut buffer = [0_u8; 1];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let into = &mut [IoSliceMut::new(&mut buffer)];
            match recvmsg(&self.0, into, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR | Errno::CONNRESET) => {}
                other => break other?,
            }
        };
        if received.bytes == 0 {
            return Err(Errno::PIPE);
        }
        let mut descriptors = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        match descriptors.next() {
            Some(descriptor) if buffer[0] == expected as u8 => Ok(descriptor),
            _ => Err(Errno::PROTO),
        }
    }
}

fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match recv(socket, &mut *buffer, RecvFlags::empty()) {
            // ECONNRESET says, once, that the other side ended with something unread. What it said before that is
            // still to be had.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            other => return other.map(|(length, _)| length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_arrives_as_it_was_sent() {
        let (runtime, init) = pair().unwrap();
        for (index, step) in Step::ALL.into_iter().enumerate() {
            assert_eq!(step as usize, index, "{step:?} is out of order in Step::ALL");
            let failure = Failure::new(step, 777, Errno::NOSPC).concerning(888);
            init.tell(FromInit::Failed(failure)).unwrap();
            assert_eq!(runtime.hear().unwrap(), Some(FromInit::Failed(failure)));
        }
    }

    #[test]
    fn the_end_of_the_other_side_is_noticed() {
        let (runtime, init) = pair().unwrap();
        drop(init);
        assert_eq!(runtime.hear().unwrap(), None);
        let (runtime, init) = pair().unwrap();
        drop(runtime);
        assert_eq!(init.expect(ToInit::Go), Err(Errno::PIPE));
        assert_eq!(init.tell(FromInit::Ready), Err(Errno::PIPE));
    }

    #[test]
    fn last_words_are_heard_from_one_who_did_not_listen() {
        let (runtime, init) = pair().unwrap();
        runtime.tell(ToInit::Go);
        let failure = Failure::new(Step::Exec, 0, Errno::NOENT);
        init.tell(FromInit::Failed(failure)).unwrap();
        drop(init);
        assert_eq!(runtime.hear().unwrap(), Some(FromInit::Failed(failure)));
        assert_eq!(runtime.hear().unwrap(), None);
    }

    #[test]
    fn a_descriptor_arrives_with_its_message() {
        let (runtime, init) = pair().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        runtime.hand_over(ToInit::Network, writer.as_fd());
        drop(writer);
        let received = init.expect_descriptor(ToInit::Network).unwrap();
        rustix::io::write(&received, b"x").unwrap();
        assert_eq!(rustix::io::read(&reader, &mut [0_u8; 1]), Ok(1));
        drop(runtime);
        assert_eq!(init.expect_descriptor(ToInit::Network).unwrap_err(), Errno::PIPE);
    }

    #[test]
    fn messages_arrive_in_order() {
        let (runtime, init) = pair().unwrap();
        runtime.tell(ToInit::Placed);
        runtime.tell(ToInit::Go);
        assert_eq!((init.expect(ToInit::Placed), init.expect(ToInit::Go)), (Ok(()), Ok(())));
        init.tell(FromInit::Ready).unwrap();
        assert_eq!(runtime.hear().unwrap(), Some(FromInit::Ready));
    }
}
