//! Bad input: exit status 1, exactly one line that says what is wrong, and nothing left.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;

use kit::bundle::Bundle;
use kit::crun::Crun;
use kit::runtime;
use serde_json::{Value, json};

/// Runs and creates the bundle: both have to fail with these words, and to leave nothing.
fn refused<const N: usize>(crun: &Crun, bundle: &Bundle, words: [&str; N]) {
    crun.run(bundle).error_with(words);
    let container = crun.container(bundle);
    container.cmd(["create", "-b", "BUNDLE", "ID"]).error_with(words);
    container.deleted();
}

/// As [`refused`], for a configuration that is not what the bundle would write.
fn refused_text<const N: usize>(crun: &Crun, text: &str, words: [&str; N]) {
    let bundle = Bundle::new();
    let container = crun.container(&bundle);
    fs::write(bundle.dir().join("config.json"), text).unwrap();
    for command in ["run", "create"] {
        container.cmd([command, "-b", "BUNDLE", "ID"]).error_with(words);
    }
    container.deleted();
}

#[test]
fn a_missing_bundle() {
    let crun = runtime!();
    let container = crun.container(&Bundle::new());
    container
        .cmd(["run", "-b", "/nonexistent/bundle", "ID"])
        .error_with(["/nonexistent/bundle", "No such file or directory"]);
    container.deleted();
}

#[test]
fn a_missing_configuration() {
    let crun = runtime!();
    let bundle = Bundle::new();
    let container = crun.container(&bundle);
    fs::remove_file(bundle.dir().join("config.json")).unwrap();
    container.cmd(["run", "-b", "BUNDLE", "ID"]).error_with(["config.json", "No such file or directory"]);
    container
        .cmd(["run", "-b", "BUNDLE", "-f", "/nope.json", "ID"])
        .error_with(["/nope.json", "No such file or directory"]);
    container.deleted();
}

#[test]
fn a_configuration_that_is_no_json() {
    let crun = runtime!();
    for text in
        ["", "{", "not json", "{\"ociVersion\": \"1.0.0\",}", "[]", "null", "\"\\u0000\"", "{} trailing"]
    {
        refused_text(&crun, text, ["config.json"]);
    }
}

#[test]
fn a_value_of_the_wrong_type_is_named_by_its_path() {
    let crun = runtime!();
    let cases = [
        ("/process/args", json!("sh"), "process.args"),
        ("/process/args/0", json!(5), "process.args[0]"),
        ("/process/user/uid", json!("root"), "process.user.uid"),
        ("/process/user/uid", json!(-1), "process.user.uid"),
        ("/process/env", json!({}), "process.env"),
        ("/process/rlimits/0/hard", json!("many"), "process.rlimits[0].hard"),
        ("/root/readonly", json!("yes"), "root.readonly"),
        ("/mounts/1/options", json!("ro"), "mounts[1].options"),
        ("/linux/namespaces", json!("pid"), "linux.namespaces"),
        ("/linux/resources/devices/0/allow", json!("no"), "linux.resources.devices[0].allow"),
    ];
    for (pointer, value, path) in cases {
        refused(&crun, &Bundle::new().set(pointer, value), [path]);
    }
}

#[test]
fn a_member_that_is_required_is_named() {
    let crun = runtime!();
    let cases = [
        ("/ociVersion", "ociVersion"),
        ("/root", "root"),
        ("/linux", "linux"),
        ("/root/path", "path"),
        ("/process/cwd", "cwd"),
        ("/mounts/1/destination", "destination"),
    ];
    for (pointer, name) in cases {
        eprintln!("without {pointer}");
        refused(&crun, &Bundle::new().unset(pointer), [name]);
    }
}

#[test]
fn no_process_or_no_arguments() {
    let crun = runtime!();
    // `create` may take such a configuration: only `start` needs a process (runtime-spec config.md#process).
    crun.run(&Bundle::new().unset("/process")).error_with(["process"]);
    crun.run(&Bundle::new().set("/process/args", json!([]))).error_with(["executable path not specified"]);
    crun.run(&Bundle::new().unset("/process/args")).error_with(["executable path not specified"]);
}

#[test]
fn a_string_with_a_nul() {
    let crun = runtime!();
    refused(&crun, &Bundle::new().set("/process/args/0", json!("a\0b")), ["process.args"]);
    refused(&crun, &Bundle::new().set("/process/cwd", json!("/\0")), ["process.cwd"]);
    refused(&crun, &Bundle::new().set("/mounts/1/destination", json!("/dev\0")), ["mounts[1]"]);
}

#[test]
fn a_missing_root_filesystem() {
    let crun = runtime!();
    refused(&crun, &Bundle::new().set("/root/path", json!("nowhere")), ["nowhere"]);
    refused(&crun, &Bundle::new().set("/root/path", json!("/nowhere/at/all")), ["/nowhere/at/all"]);
}

#[test]
fn a_root_filesystem_that_is_a_file() {
    let crun = runtime!();
    refused(&crun, &Bundle::new().set("/root/path", json!("config.json")), ["config.json", "ot a directory"]);
}

#[test]
fn an_unknown_or_doubled_namespace() {
    let crun = runtime!();
    refused(
        &crun,
        &Bundle::new().set("/linux/namespaces/0/type", json!("pidx")),
        ["invalid namespace type", "pidx"],
    );
    refused(
        &crun,
        &Bundle::new().set("/linux/namespaces/0/type", json!("uts")),
        ["duplicate namespace type", "uts"],
    );
}

#[test]
fn an_unknown_capability() {
    let crun = runtime!();
    refused(
        &crun,
        &Bundle::new().set("/process/capabilities/bounding/0", json!("CAP_NONSENSE")),
        ["unknown capability", "CAP_NONSENSE"],
    );
}

#[test]
fn an_unknown_or_doubled_resource_limit() {
    let crun = runtime!();
    refused(
        &crun,
        &Bundle::new().set("/process/rlimits/0/type", json!("RLIMIT_NONSENSE")),
        ["RLIMIT_NONSENSE"],
    );
}

#[test]
fn a_bind_source_that_does_not_exist() {
    let crun = runtime!();
    refused(
        &crun,
        &Bundle::new().mount("/mnt", "bind", "/nonexistent/source", ["bind"]),
        ["/nonexistent/source", "No such file or directory"],
    );
}

#[test]
fn an_unknown_filesystem_and_a_mount_without_a_type() {
    let crun = runtime!();
    refused(&crun, &Bundle::new().mount("/mnt", "nonsensefs", "x", []), ["/mnt", "No such device"]);
    let without: Value = json!({"destination": "/mnt", "source": "x"});
    refused(
        &crun,
        &Bundle::new().edit(|config| config["mounts"].as_array_mut().unwrap().push(without)),
        ["/mnt"],
    );
}

#[test]
fn a_state_directory_that_cannot_be_used() {
    let crun = runtime!();
    let bundle = Bundle::new().args(["true"]);
    let dir = bundle.save().to_str().unwrap().to_owned();
    let id = kit::crun::new_id();
    let run = |root: &str| {
        let mut command = std::process::Command::new(kit::crun::binary());
        command.args(["--root", root, "run", "-b", &dir, &id]);
        crun.spawn(command).wait()
    };
    // A file, something below a file, and a file system nobody can write.
    for root in ["/etc/passwd", "/etc/passwd/below", "/proc/state"] {
        run(root).error_with([root]);
    }
}
