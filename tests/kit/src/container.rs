//! A container of the runtime under test: dropping it deletes it by force, and then looks whether anything is left.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure of the kit is a failure of the test")]

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::bundle::Bundle;
use crate::crun::{Crun, new_id, wait_for};
use crate::leftovers;
use crate::running::Output;
use crate::view::View;

/// A container, or what may become one.
#[derive(Debug)]
pub struct Container {
    crun: Crun,
    id: String,
    bundle: Arc<TempDir>,
    output: Option<[PathBuf; 2]>,
    forgotten: bool,
}

impl Container {
    /// Makes a container that says `up`, takes it through all it can go through, and looks that root in it is the user
    /// `uid` outside.
    ///
    /// # Panics
    /// When anything of that is not as it should be.
    pub fn lives_through_its_whole_life(crun: &Crun, bundle: &Bundle, uid: u32) {
        let container = crun.create(bundle);
        assert_eq!(container.status(), "created");
        container.start();
        container.wait_output("up");
        assert_eq!(container.status(), "running");
        let status = fs::read_to_string(container.proc().join("status")).unwrap();
        assert!(status.contains(&format!("\nUid:\t{uid}\t{uid}\t")), "{status}");
        assert_eq!(container.cmd(["exec", "ID", "id", "-u"]).ok(), "0\n");
        assert_eq!(container.cmd(["exec", "ID", "sh", "-c", "exit 7"]).code, 7);
        container.kill("TERM");
        container.kill("KILL");
        container.wait();
        assert_eq!(container.cmd(["delete", "ID"]).ok(), "");
        container.deleted();
    }

    /// A name and a bundle; nothing exists yet.
    pub(crate) fn new(crun: &Crun, bundle: &Bundle) -> Self {
        let _ = bundle.save();
        Self { crun: crun.clone(), id: new_id(), bundle: bundle.keep(), output: None, forgotten: false }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The runtime it is of.
    #[must_use]
    pub fn crun(&self) -> &Crun {
        &self.crun
    }

    /// `crun COMMAND ARGS...`, where an argument `ID` stands for the name and `BUNDLE` for the bundle.
    pub fn cmd<const N: usize>(&self, args: [&str; N]) -> Output {
        self.crun.cmd(self.args(args))
    }

    /// The arguments with `ID` and `BUNDLE` replaced.
    #[must_use]
    pub fn args<const N: usize>(&self, args: [&str; N]) -> Vec<OsString> {
        args.iter()
            .map(|arg| match *arg {
                "ID" => self.id.clone().into(),
                "BUNDLE" => self.bundle.path().into(),
                other => other.into(),
            })
            .collect()
    }

    /// Makes the container by `create` or `run`.
    pub fn make<const N: usize>(&mut self, command: &str, options: [&str; N]) {
        let args =
            [&[command, "--bundle", self.bundle.path().to_str().unwrap()], options.as_slice(), &[&self.id]]
                .concat();
        let output = self.crun.cmd(args);
        self.output = Some(output.files().clone());
        let _ = output.ok();
    }

    /// Starts it.
    pub fn start(&self) {
        assert_eq!(self.cmd(["start", "ID"]).ok(), "");
    }

    /// What `state` tells.
    #[must_use]
    pub fn state(&self) -> Value {
        self.cmd(["state", "ID"]).json()
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().expect("a status").to_owned()
    }

    /// The pid of its init, as the runtime sees it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        let pid = self.state()["pid"].as_u64().expect("a pid");
        assert_ne!(pid, 0, "the container is not running");
        pid.try_into().unwrap()
    }

    /// Sends a signal by name.
    pub fn kill(&self, signal: &str) {
        assert_eq!(self.cmd(["kill", "ID", signal]).ok(), "");
    }

    /// Waits until it is stopped.
    pub fn wait(&self) {
        wait_for("the container to stop", || (self.status() == "stopped").then_some(()));
    }

    /// Waits until its init has become the program of that name: a `run` says "running" a moment before.
    pub fn wait_program(&self, name: &str) {
        let name = format!("{name}\n");
        wait_for("the container's program", || {
            let state = self.cmd(["state", "ID"]);
            (state.code == 0 && state.json()["pid"] != 0).then_some(())?;
            (fs::read_to_string(self.proc().join("comm")).ok()? == name).then_some(())
        });
    }

    /// Deletes it by force, and looks whether anything is left.
    pub fn delete(self) {
        drop(self);
    }

    /// What its processes wrote to standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.output.as_ref().map(|[path, _]| fs::read_to_string(path).unwrap()).unwrap_or_default()
    }

    /// What they wrote to standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.output.as_ref().map(|[_, path]| fs::read_to_string(path).unwrap()).unwrap_or_default()
    }

    /// Waits until standard output has this text.
    pub fn wait_output(&self, text: &str) {
        wait_for(&format!("the output `{text}`"), || self.stdout().contains(text).then_some(()));
    }

    /// The directory `/proc/PID` of its init, as the runtime sees it.
    #[must_use]
    pub fn proc(&self) -> PathBuf {
        let proc = match self.crun.view() {
            Some(view) => PathBuf::from(format!("/proc/{}/root/proc", view.init())),
            None => PathBuf::from("/proc"),
        };
        proc.join(self.pid().to_string())
    }

    /// The cgroups of its init, outside: the controllers of a hierarchy (none for version 2), and the directory.
    #[must_use]
    pub fn cgroups(&self) -> Vec<(String, PathBuf)> {
        leftovers::cgroups_of(&self.proc())
    }

    /// The directory in the hierarchy that has this controller.
    #[must_use]
    pub fn cgroup(&self, controller: &str) -> Option<PathBuf> {
        let in_list = |list: &str| list.split(',').any(|name| name == controller);
        let all = self.cgroups();
        let legacy = all.iter().find(|(list, _)| in_list(list));
        let unified = all.iter().find(|(list, dir)| {
            let has = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
            list.is_empty() && has.split_whitespace().any(|name| name == controller)
        });
        legacy.or(unified).map(|(_, dir)| dir.clone())
    }

    /// Asserts that there is no state, cgroup, mount or process of the container.
    pub fn assert_nothing_left(&self) {
        let init = self.crun.view().map(View::init);
        let look = || leftovers::find(&self.id, self.bundle.path(), &self.crun.state_dir(), init);
        // The kernel takes a moment to let go of a killed process.
        let deadline = Instant::now() + crate::lane::patience(Duration::from_secs(3));
        let mut left = look();
        while !left.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
            left = look();
        }
        assert!(left.is_empty(), "left behind by {}: {left:#?}", self.id);
    }

    /// For a test that has deleted it by other means: only looks whether anything is left.
    pub fn deleted(mut self) {
        self.forgotten = true;
        self.assert_nothing_left();
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.forgotten {
            return;
        }
        let deleted = self.cmd(["delete", "--force", "ID"]);
        if !std::thread::panicking() {
            assert_eq!(deleted.ok(), "", "delete --force");
            self.assert_nothing_left();
        }
    }
}
