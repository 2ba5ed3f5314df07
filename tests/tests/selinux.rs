//! SELinux labels. No machine of ours has SELinux: a place is made in which it seems to run, and the kernel's refusal shows
//! what was written where. What a policy makes of it is not tested.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;

use kit::bundle::Bundle;
use kit::crun::{Crun, skipped};
use kit::runtime;
use serde_json::{Value, json};

const LABEL: &str = "system_u:system_r:container_t:s0:c1,c2";
const FILES: &str = "system_u:object_r:container_file_t:s0:c1,c2";

fn selinux_runs() -> bool {
    fs::read_to_string("/proc/filesystems").unwrap().contains("selinuxfs")
}

/// A runtime that finds SELinux.
fn with_selinux() -> Result<(Crun, tempfile::NamedTempFile), String> {
    if selinux_runs() {
        return Err("SELinux runs here".to_owned());
    }
    let crun = Crun::on_v2()?;
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = fs::read_to_string("/proc/filesystems").unwrap() + "nodev\tselinuxfs\n";
    fs::write(&file, text).unwrap();
    let script = format!("mount --bind {} /proc/filesystems", file.path().display());
    let done = crun.view().unwrap().command("sh").args(["-ec", &script]).status().unwrap();
    assert!(done.success());
    Ok((crun, file))
}

macro_rules! with_selinux {
    () => {
        match with_selinux() {
            Ok(found) => found,
            Err(reason) => return skipped(reason),
        }
    };
}

fn labelled() -> Bundle {
    Bundle::new().set("/process/selinuxLabel", json!(LABEL)).args(["true"])
}

/// How the kernel refuses a label in one of the files of a process.
fn unwritten(file: &str) -> String {
    let hint = "(the loaded policy has no such label)";
    format!(
        "process.selinuxLabel: write `{LABEL}` to `/proc/thread-self/attr/{file}` {hint}: Invalid argument"
    )
}

#[test]
fn the_label_goes_to_the_keyring_and_to_the_program() {
    let (crun, _file) = with_selinux!();
    for (rung, crun) in crun.mount_rungs() {
        assert_eq!(crun.run(&labelled()).error(), unwritten("keycreate"), "{rung}");
        let output = crun.run_with(&labelled(), ["--no-new-keyring"]);
        assert_eq!(output.error(), unwritten("exec"), "{rung}");
    }
    assert_eq!(crun.run(&labelled().in_user_namespace()).error(), unwritten("keycreate"));
}

#[test]
fn exec_has_the_label_of_the_container_or_that_it_is_given() {
    let (crun, _file) = with_selinux!();
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    let output = container.cmd(["exec", "--process-label", LABEL, "ID", "true"]);
    assert_eq!(output.error(), unwritten("keycreate"));
    let process = tempfile::NamedTempFile::new().unwrap();
    fs::write(&process, json!({"args": ["true"], "cwd": "/", "selinuxLabel": LABEL}).to_string()).unwrap();
    let path = process.path().to_str().unwrap();
    assert_eq!(container.cmd(["exec", "--process", path, "ID"]).error(), unwritten("keycreate"));
    // As on a host where the label could be given.
    let config = crun.state_dir().join(container.id()).join("config.json");
    let mut own: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    own["process"]["selinuxLabel"] = json!(LABEL);
    fs::write(&config, own.to_string()).unwrap();
    assert_eq!(container.cmd(["exec", "ID", "true"]).error(), unwritten("keycreate"));
}

/// A bundle with one mount beside `/proc`, and a label for files.
fn with_mount(kind: &str) -> Bundle {
    Bundle::new()
        .set("/linux/mountLabel", json!(FILES))
        .edit(|config| config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] == "proc"))
        .mount("/mnt", kind, kind, [])
        .args(["true"])
}

#[test]
fn filesystems_of_the_container_take_the_label_as_an_option() {
    let (crun, _file) = with_selinux!();
    for kind in ["tmpfs", "devpts"] {
        let line = crun.run(&with_mount(kind)).error();
        let refused = format!("mounts[1]: /mnt: the {kind} filesystem refuses the option `context={FILES}`");
        assert_eq!(line, format!("{refused}: Invalid argument"));
    }
    for kind in ["context", "fscontext", "defcontext", "rootcontext"] {
        let annotation = json!({"run.oci.mount_context_type": kind});
        let line = crun.run(&with_mount("tmpfs").set("/annotations", annotation)).error();
        assert!(line.contains(&format!("refuses the option `{kind}={FILES}`")), "{line}");
    }
    let unknown = with_mount("tmpfs").set("/annotations", json!({"run.oci.mount_context_type": "other"}));
    let line = "annotations.run.oci.mount_context_type: `other` is none of context, fscontext, defcontext, rootcontext";
    assert_eq!(crun.run(&unknown).error(), line);
}

#[test]
fn filesystems_of_the_kernel_and_binds_keep_their_own_labels() {
    let (crun, _file) = with_selinux!();
    for (rung, crun) in crun.mount_rungs() {
        for bundle in [
            with_mount("mqueue"),
            with_mount("cgroup"),
            with_mount("sysfs").edit(|config| {
                config["mounts"][1]["destination"] = json!("/sys");
            }),
        ] {
            assert_eq!(crun.run(&bundle).ok(), "", "{rung}");
        }
        let bind = with_mount("bind").edit(|config| config["mounts"][1]["source"] = json!("/tmp"));
        assert_eq!(crun.run(&bind).ok(), "", "{rung}");
    }
}

#[test]
fn the_root_of_mqueue_is_labelled_by_an_attribute() {
    let (crun, _file) = with_selinux!();
    let trace = tempfile::NamedTempFile::new().unwrap();
    let (path, program) = (trace.path().display(), kit::crun::binary());
    let traced = crun.after(&format!(
        "exec strace -f -A -s 100 -e trace=fsetxattr -o {path} {} \"$@\"",
        program.display()
    ));
    let output = traced.run(&with_mount("mqueue"));
    if output.stderr.contains("strace") {
        return skipped(output.stderr);
    }
    assert_eq!(output.ok(), "");
    let text = fs::read_to_string(&trace).unwrap();
    let written = format!(r#""security.selinux", "{FILES}", {}"#, FILES.len() + 1);
    assert!(text.contains(&written), "{text}");
}

#[test]
fn labels_are_refused_where_selinux_does_not_run() {
    if selinux_runs() {
        return skipped("SELinux runs here");
    }
    let crun = runtime!();
    let words = "selinux label is specified in config, but selinux is disabled or not supported";
    for (bundle, path) in [(labelled(), "process.selinuxLabel"), (with_mount("tmpfs"), "linux.mountLabel")] {
        crun.run(&bundle).error_with([path, words]);
        let container = crun.container(&bundle);
        container.cmd(["create", "-b", "BUNDLE", "ID"]).error_with([path, words]);
        container.deleted();
    }
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    container.cmd(["exec", "--process-label", LABEL, "ID", "true"]).error_with([words]);
    let empty = Bundle::new().set("/process/selinuxLabel", json!("")).set("/linux/mountLabel", json!(""));
    assert_eq!(crun.run(&empty.args(["true"])).ok(), "");
}

#[test]
fn a_volume_over_the_hosts_attributes_is_not_written() {
    let (crun, _file) = with_selinux!();
    let volume = tempfile::tempdir().unwrap();
    for file in ["exec", "keycreate"] {
        fs::write(volume.path().join(file), "unwritten").unwrap();
    }
    let bundle = labelled().mount("/proc/self/attr", "bind", volume.path().to_str().unwrap(), ["bind", "rw"]);
    for (rung, crun) in crun.mount_rungs() {
        let output = crun.run_with(&bundle, ["--no-new-keyring"]);
        assert_eq!(output.code, 1, "{rung}: {output}");
        for file in ["exec", "keycreate"] {
            assert_eq!(fs::read_to_string(volume.path().join(file)).unwrap(), "unwritten", "{rung}");
        }
    }
}
