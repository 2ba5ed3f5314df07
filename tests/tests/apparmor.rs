//! AppArmor profiles of a container's processes. Where AppArmor runs they are seen from inside; elsewhere they are refused.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, new_id, skipped};
use kit::runtime;
use serde_json::json;

const OWN: &str = "/proc/thread-self/attr/apparmor/current";

fn apparmor_runs() -> bool {
    fs::read_to_string(OWN).is_ok()
}

/// A profile that is loaded, until dropped.
struct Profile {
    name: String,
    file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Profile {
    /// Loads a profile that allows everything but to write to `/denied`.
    fn load(prefix: &str) -> Result<Self, String> {
        if !apparmor_runs() {
            return Err("AppArmor does not run here".to_owned());
        }
        let (name, dir) = (format!("{prefix}{}", new_id()), tempfile::tempdir().unwrap());
        let file = dir.path().join("profile");
        let text = format!(
            "abi <abi/4.0>,\nprofile {name} flags=(attach_disconnected,mediate_deleted) {{\n  file,\n  capability,\n  \
             network,\n  mount,\n  umount,\n  remount,\n  pivot_root,\n  ptrace,\n  signal,\n  unix,\n  mqueue,\n  \
             userns,\n  change_profile -> **,\n  audit deny /denied w,\n}}\n"
        );
        fs::write(&file, text).unwrap();
        let this = Self { name, file, _dir: dir };
        this.parser("--replace").map(|()| this)
    }

    fn parser(&self, action: &str) -> Result<(), String> {
        let output = Command::new("apparmor_parser").args([action, "--skip-cache"]).arg(&self.file).output();
        match output {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(format!("apparmor_parser: {error}")),
        }
    }

    /// What the kernel says of a process that is confined to it.
    fn enforced(&self) -> String {
        format!("{} (enforce)\n", self.name)
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = self.parser("--remove");
    }
}

/// A loaded profile; returns from the test where there can be none.
macro_rules! profile {
    ($prefix:expr) => {
        match Profile::load($prefix) {
            Ok(profile) => profile,
            Err(reason) => return skipped(reason),
        }
    };
}

fn confined(bundle: Bundle, profile: &str) -> Bundle {
    bundle.set("/process/apparmorProfile", json!(profile))
}

const SHOW: [&str; 2] = ["cat", "/proc/self/attr/current"];

#[test]
fn a_container_is_confined_to_its_profile() {
    let (crun, profile) = (runtime!(), profile!("crun-test-"));
    for no_new_privileges in [true, false] {
        let bundle = confined(Bundle::new(), &profile.name)
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .writable();
        for (rung, crun) in crun.rungs() {
            assert_eq!(crun.run(&bundle.clone().args(SHOW)).ok(), profile.enforced(), "{rung}");
        }
        let denied = crun.run(&bundle.clone().sh("echo x >/allowed && echo x >/denied"));
        assert!(denied.code != 0 && denied.stderr.contains("Permission denied"), "{denied}");
        let in_user_namespace = bundle.in_user_namespace().args(SHOW);
        assert_eq!(crun.run(&in_user_namespace).ok(), profile.enforced());
    }
}

#[test]
fn a_volume_over_proc_hides_nothing_from_the_profile() {
    let (crun, profile) = (runtime!(), profile!("crun-test-"));
    let volume = tempfile::tempdir().unwrap();
    for process in ["1", "self", "thread-self"] {
        for directory in ["attr", "attr/apparmor"] {
            fs::create_dir_all(volume.path().join(process).join(directory)).unwrap();
            fs::write(volume.path().join(process).join(directory).join("exec"), "unwritten").unwrap();
        }
    }
    let bundle = confined(Bundle::new(), &profile.name).args(["sleep", "99"]);
    for (rung, crun) in crun.mount_rungs() {
        let source = volume.path().to_str().unwrap();
        let container = crun.start(&bundle.clone().mount("/proc", "bind", source, ["bind", "rw"]));
        let seen = || fs::read_to_string(container.proc().join("attr/current")).unwrap();
        kit::crun::wait_for("the exec", || (seen() == profile.enforced()).then_some(()));
        let _ = container.cmd(["exec", "ID", "true"]).ok();
        container.delete();
        let file = volume.path().join("thread-self/attr/apparmor/exec");
        assert_eq!(fs::read_to_string(file).unwrap(), "unwritten", "{rung}");
    }
}

#[test]
fn exec_is_confined_like_the_container_or_as_it_is_told() {
    let (crun, profile, other) = (runtime!(), profile!("crun-test-"), profile!("crun-other-"));
    let container = crun.start(&confined(Bundle::new(), &profile.name).args(["sleep", "99"]));
    let exec = |options: &[&str], args: &[&str]| {
        crun.cmd([&["exec"], options, &[container.id()], args].concat()).ok()
    };
    assert_eq!(exec(&[], &SHOW), profile.enforced());
    assert_eq!(exec(&["--apparmor", &other.name], &SHOW), other.enforced());
    let process = tempfile::NamedTempFile::new().unwrap();
    let path = process.path().to_str().unwrap();
    let mut object = json!({"args": SHOW, "cwd": "/"});
    fs::write(path, object.to_string()).unwrap();
    assert_eq!(exec(&["--process", path], &[]), profile.enforced());
    object["apparmorProfile"] = json!(other.name);
    fs::write(path, object.to_string()).unwrap();
    assert_eq!(exec(&["--process", path], &[]), other.enforced());
}

/// The runtime, confined to a profile itself.
fn under(crun: &Crun, profile: &Profile) -> Crun {
    let program = kit::crun::binary();
    crun.clone().after(&format!("exec aa-exec -p {} -- {} \"$@\"", profile.name, program.display()))
}

#[test]
fn without_new_privileges_the_profile_is_stacked_on_that_of_the_runtime() {
    let (crun, inner) = (runtime!(), profile!("crun-test-"));
    // A name that begins like that of no confinement.
    for prefix in ["crun-outer-", "unconfined_"] {
        let outer = profile!(prefix);
        let crun = under(&crun, &outer);
        let bundle = confined(Bundle::new(), &inner.name).args(SHOW);
        let seen = crun.run(&bundle).ok();
        let both = [format!("{}//&{}", outer.name, inner.name), format!("{}//&{}", inner.name, outer.name)];
        assert!(both.iter().any(|both| seen == format!("{both} (enforce)\n")), "{seen}");
        let bundle = bundle.set("/process/noNewPrivileges", json!(false));
        assert_eq!(crun.run(&bundle).ok(), inner.enforced());
    }
}

#[test]
fn unconfined_is_a_profile_too() {
    let crun = runtime!();
    let bundle = confined(Bundle::new(), "unconfined");
    let shown = if apparmor_runs() { "unconfined\n" } else { "" };
    let output = crun.run(&bundle.sh("cat /proc/self/attr/current 2>/dev/null; true"));
    assert_eq!(output.ok(), shown);
    let none = confined(Bundle::new(), "").args(["true"]);
    assert_eq!(crun.run(&none).ok(), "");
}

fn refused(crun: &Crun, container: &Container, profile: &str, words: [&str; 2]) {
    let bundle = confined(Bundle::new(), profile).args(["true"]);
    crun.run(&bundle).error_with(words);
    let created = crun.container(&bundle);
    created.cmd(["create", "-b", "BUNDLE", "ID"]).error_with(words);
    created.deleted();
    container.cmd(["exec", "--apparmor", profile, "ID", "true"]).error_with(words);
}

#[test]
fn a_profile_that_cannot_confine_is_refused_with_the_remedy() {
    let crun = runtime!();
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    let words = if apparmor_runs() {
        ["process.apparmorProfile: change to the AppArmor profile `no-such`", "apparmor_parser -r FILE"]
    } else {
        ["process.apparmorProfile: `no-such`: AppArmor does not run on this host", "leave the profile out"]
    };
    refused(&crun, &container, "no-such", words);
}
