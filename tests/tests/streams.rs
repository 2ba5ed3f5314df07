//! The standard streams of a process that is not root: its own where they are files and pipes.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use kit::bundle::Bundle;
use kit::runtime;
use serde_json::{Value, json};

const SCRIPT: &str = ": >>/dev/stdout && stat -L -c '%u %g' /dev/fd/1";

fn user() -> Value {
    json!({"uid": 5, "gid": 7})
}

#[test]
fn a_process_that_is_not_root_can_open_its_streams_again() {
    let crun = runtime!();
    let bundle = Bundle::new().set("/process/user", user());
    let output = crun.run(&bundle.clone().sh(SCRIPT));
    assert_eq!(output.ok(), "5 7\n");
    let container = crun.start(&bundle.sh("exec sleep 99"));
    let output = container.cmd(["exec", "--user", "6:8", "ID", "sh", "-c", SCRIPT]);
    assert_eq!(output.ok(), "6 8\n");
}

#[test]
fn a_pipe_becomes_its_own_and_a_device_stays_the_hosts() {
    let crun = runtime!();
    let null = || {
        let meta = fs::metadata("/dev/null").unwrap();
        (meta.uid(), meta.gid())
    };
    let before = null();
    let bundle = Bundle::new()
        .set("/process/user", user())
        .sh("cd /proc/$$/fd; echo \"$(stat -L -c '%F %u %g' 0 1 2)\" >&2");
    let container = crun.container(&bundle);
    let mut command = crun.command(["run", "--bundle", bundle.save().to_str().unwrap(), container.id()]);
    let (reader, writer) = std::io::pipe().unwrap();
    let errors = tempfile::NamedTempFile::new().unwrap();
    let status = command.stdout(writer).stderr(File::create(errors.path()).unwrap()).status().unwrap();
    drop(reader);
    assert!(status.success());
    let text = fs::read_to_string(errors.path()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], format!("character special file {} {}", before.0, before.1), "{text}");
    assert_eq!(&lines[1..], ["fifo 5 7", "regular empty file 5 7"], "{text}");
    assert_eq!(null(), before);
}

#[test]
fn for_root_a_file_stays_whose_it_is() {
    let crun = runtime!();
    let output = crun
        .run(&Bundle::new().in_user_namespace().set("/process/user", user()).sh("stat -L -c '%u' /dev/fd/1"));
    // That file belongs to nobody in there, who could give it away.
    assert_eq!(output.ok(), "65534\n");
    let bundle = Bundle::new().sh("exit 0");
    let container = crun.container(&bundle);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::os::unix::fs::chown(file.path(), Some(1000), Some(1000)).unwrap();
    let mut command = crun.command(["run", "--bundle", bundle.save().to_str().unwrap(), container.id()]);
    assert!(command.stdout(File::create(file.path()).unwrap()).status().unwrap().success());
    assert_eq!(fs::metadata(file.path()).unwrap().uid(), 1000);
}
