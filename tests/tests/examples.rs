//! The examples of the help, typed into a shell: where a container `web` runs, and in a bundle.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use cli::help;
use cli::table::COMMANDS;
use kit::bundle::Bundle;
use kit::crun::{Crun, binary, new_id, wait_for};
use kit::runtime;
use tempfile::TempDir;

/// Examples that are not typed here, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("--tty", "needs a terminal"),
    ("--console-socket", "needs who listens"),
    ("/run/user/1000", "needs that user"),
    ("/usr/share", "needs that file"),
    ("/srv/web", "needs that bundle"),
    ("/run/bundle", "needs that bundle"),
    ("events --interval", "goes on until the container ends"),
    ("run web", "the container exists already"),
    ("create ", "the container exists already"),
    ("start web", "the container is started already"),
    ("update ", "needs the controllers"),
    ("seccomp", "needs a profile"),
    ("crun plan", "needs a bundle"),
    (" check", "says what this machine lacks by its status"),
];

/// A shell in a directory with what the examples name, where `crun` is this runtime with the test's containers.
struct Shell {
    dir: TempDir,
    /// The container that is called `web` in the examples.
    id: String,
}

impl Shell {
    fn new(crun: &Crun) -> Self {
        let shell = Self { dir: tempfile::tempdir().unwrap(), id: new_id() };
        let runtime = format!("exec {} --root {}", binary().display(), crun.state_dir().display());
        shell.write("crun", &format!("#!/bin/sh\n{runtime} \"$@\"\n"));
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(shell.dir.path().join("crun"), mode).unwrap();
        shell.write("process.json", r#"{"cwd": "/", "args": ["true"], "user": {"uid": 0, "gid": 0}}"#);
        shell.write("mounts.json", r#"[{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}]"#);
        shell
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// The example with what there is here in the place of what there is elsewhere.
    fn line(&self, example: &str) -> String {
        let words = example.split(' ').map(|word| match word {
            "web" => self.id.clone(),
            "'^job-'" => format!("'^{}$'", self.id),
            "/run/job.pid" => "job.pid".to_owned(),
            "/srv" => "/".to_owned(),
            "ping" => "echo".to_owned(),
            word => word.to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// Types the example; returns what is wrong if it fails.
    fn typed(&self, example: &str) -> Option<String> {
        let line = self.line(example);
        let path = format!("{}:{}", self.dir.path().display(), std::env::var("PATH").unwrap());
        let script = format!("set -e -o pipefail; rm -f config.json; {line}");
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).current_dir(self.dir.path()).env("PATH", path).stdin(Stdio::null());
        let output = bash.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (!output.status.success()).then(|| format!("{line}: {} {said}", output.status))
    }
}

/// The examples that can be typed here: those that the container outlives, and those that it may not.
fn examples() -> (Vec<&'static str>, Vec<&'static str>) {
    let is_there = |program: &str| {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&paths).any(|dir| dir.join(program).is_file())
    };
    let can_be_typed = |line: &&str| {
        !LEFT_OUT.iter().any(|(word, _)| line.contains(word)) && (!line.contains("| jq") || is_there("jq"))
    };
    let all = COMMANDS.iter().flat_map(help::examples).filter(can_be_typed);
    all.partition(|line| !["crun kill", "crun delete"].iter().any(|end| line.starts_with(end)))
}

#[test]
fn what_can_be_typed_here_works() {
    let crun = runtime!();
    let bundle = Bundle::new().sh("while :; do sleep 0.1; done");
    let shell = Shell::new(&crun);
    let (harmless, ending) = examples();
    assert!(harmless.len() > 12 && ending.len() > 5, "{harmless:?} {ending:?}");
    let start = || {
        let args = ["run", "--detach", "--bundle", bundle.save().to_str().unwrap(), &shell.id];
        assert_eq!(crun.cmd(args).ok(), "");
    };
    let delete = || assert_eq!(crun.cmd(["delete", "--force", &shell.id]).ok(), "");
    start();
    let mut wrong: Vec<_> = harmless.iter().filter_map(|line| shell.typed(line)).collect();
    delete();
    for line in ending {
        start();
        if line == "crun delete web" {
            assert_eq!(crun.cmd(["kill", &shell.id, "KILL"]).ok(), "");
            let is_stopped = || crun.cmd(["state", &shell.id]).json()["status"] == "stopped";
            wait_for("the end of the container", || is_stopped().then_some(()));
        }
        wrong.extend(shell.typed(line));
        delete();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
