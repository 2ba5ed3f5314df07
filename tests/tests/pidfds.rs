//! Who wants a descriptor of a container's process gets it before the process runs: by the annotation of the C crun, and by
//! the option of runc.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

use kit::bundle::Bundle;
use kit::runtime;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::json;
use tempfile::TempDir;

/// A socket with somebody who listens.
fn receiver() -> (TempDir, String, UnixListener) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s").to_str().unwrap().to_owned();
    let listener = UnixListener::bind(&path).unwrap();
    (dir, path, listener)
}

/// What comes to it: the pid behind the descriptor, and the text that came along.
fn received(listener: &UnixListener) -> (String, String) {
    let (stream, _) = listener.accept().unwrap();
    let mut buffer = [0; 64];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got =
        recvmsg(&stream, &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::empty()).unwrap();
    let pidfd: OwnedFd = control
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        })
        .expect("a descriptor");
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).expect("a pidfd").trim().to_owned();
    (pid, String::from_utf8(buffer[..got.bytes].to_vec()).unwrap())
}

#[test]
fn the_annotation_and_the_option_each_get_a_descriptor_of_the_process() {
    let crun = runtime!();
    let (_one, annotated, first) = receiver();
    let (_other, given, second) = receiver();
    let bundle =
        Bundle::new().args(["sleep", "99"]).set("/annotations", json!({"run.oci.pidfd_receiver": annotated}));
    for (command, options) in [("create", &[][..]), ("run", &["--detach"])] {
        let mut container = crun.container(&bundle);
        match options {
            [] => container.make(command, ["--pidfd-socket", &given]),
            _ => container.make(command, ["--detach", "--pidfd-socket", &given]),
        }
        let pid = container.pid().to_string();
        assert_eq!(received(&first), (pid.clone(), " ".to_owned()), "{command}");
        assert_eq!(received(&second), (pid, "standard".to_owned()), "{command}");
    }
}

#[test]
fn exec_sends_that_of_its_process() {
    let crun = runtime!();
    let (_dir, path, listener) = receiver();
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let args = [
        "exec",
        "--detach",
        "--pid-file",
        file.to_str().unwrap(),
        "--pidfd-socket",
        &path,
        "ID",
        "sleep",
        "98",
    ];
    assert_eq!(container.cmd(args).ok(), "");
    assert_eq!(received(&listener), (fs::read_to_string(&file).unwrap(), "setns".to_owned()));
}

#[test]
fn a_receiver_that_is_not_there_is_named_before_there_is_a_container() {
    let crun = runtime!();
    let annotated = Bundle::new().set("/annotations", json!({"run.oci.pidfd_receiver": "/no/such/socket"}));
    let words = ["connect to the receiver of the pidfd `/no/such/socket`: No such file or directory"];
    crun.run(&annotated).error_with(words);
    crun.run_with(&Bundle::new(), ["--pidfd-socket", "/no/such/socket"]).error_with(words);
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    container.cmd(["exec", "--pidfd-socket", "/no/such/socket", "ID", "true"]).error_with(words);
}

#[test]
fn a_receiver_that_never_accepts_is_not_waited_for() {
    let crun = runtime!();
    let (_dir, path, _listener) = receiver();
    assert_eq!(crun.run_with(&Bundle::new().args(["true"]), ["--pidfd-socket", &path]).ok(), "");
}

#[test]
fn a_path_longer_than_an_address_is_reached() {
    let crun = runtime!();
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("x".repeat(100));
    fs::create_dir(&long).unwrap();
    let listener = UnixListener::bind(dir.path().join("s")).unwrap();
    fs::rename(dir.path().join("s"), long.join("s")).unwrap();
    let path = long.join("s");
    let options = ["--pidfd-socket", path.to_str().unwrap()];
    assert_eq!(crun.run_with(&Bundle::new().args(["true"]), options).ok(), "");
    assert_eq!(received(&listener).1, "standard");
}

#[test]
fn a_promised_descriptor_that_is_not_open_is_none() {
    // As with the C crun, whose callers promise up to the highest number they have.
    let crun = runtime!().after("exec 3<&- 4</etc/passwd 5<&-");
    let look = Bundle::new().sh("ls /proc/self/fd | tr '\\n' ' '");
    assert_eq!(crun.run_with(&look, ["--preserve-fds", "3"]).ok(), "0 1 2 3 4 ");
}
