//! What hooks are given: the state, arguments, environment, descriptors, rights and places for their output.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use kit::bundle::Bundle;
use kit::crun::Crun;
use kit::hooks::{KINDS, add, inside, live, log, logged, with_all};
use kit::{runtime, runtime_on_v2};
use serde_json::{Value, json};

/// The state that each hook has read.
fn states(crun: &Crun, bundle: Bundle) -> Vec<(String, Value)> {
    let bundle = with_all(bundle.sh("echo payload"), "echo \"$KIND $(cat)\" >>$LOG");
    live(crun, &bundle, false);
    let lines = logged(&bundle);
    lines
        .iter()
        .map(|line| {
            let (kind, state) = line.split_once(' ').unwrap();
            assert!(!state.contains(": "), "not compact: {state}");
            (kind.to_owned(), serde_json::from_str(state).unwrap())
        })
        .collect()
}

#[test]
fn each_hook_reads_the_state_with_annotations_as_they_are() {
    let crun = runtime!();
    let annotations = json!({"org.opencontainers.image.title": "a/b \"c\" ü", "io.kubernetes.cri/x": ""});
    let bundle = Bundle::new().set("/annotations", annotations.clone());
    let dir = bundle.dir().to_str().unwrap().to_owned();
    let states = states(&crun, bundle);
    let host_pid = states[0].1["pid"].as_u64().unwrap();
    assert!(host_pid > 1);
    let expected = [
        ("prestart", "creating", host_pid),
        ("createRuntime", "creating", host_pid),
        ("createContainer", "creating", 1),
        ("startContainer", "created", 1),
        ("poststart", "running", host_pid),
        ("poststop", "stopped", 0),
    ];
    assert_eq!(states.len(), expected.len());
    for ((kind, state), (name, status, pid)) in states.iter().zip(expected) {
        let found = (kind.as_str(), state["status"].as_str().unwrap(), state["pid"].as_u64().unwrap());
        assert_eq!(found, (name, status, pid));
        assert_eq!((&state["annotations"], &state["ociVersion"]), (&annotations, &json!("1.0.0")));
        assert_eq!((&state["bundle"], &state["root"]), (&json!(dir), &json!("rootfs")));
    }
}

#[test]
fn without_a_pid_namespace_of_its_own_all_see_the_same_pid() {
    let crun = runtime_on_v2!();
    let pids: Vec<_> = states(&crun, Bundle::new().namespace("pid", None))
        .iter()
        .map(|(_, state)| state["pid"].as_u64().unwrap())
        .collect();
    assert!(pids[0] > 1);
    assert_eq!(pids, [pids[0], pids[0], pids[0], pids[0], pids[0], 0]);
}

#[test]
fn hooks_have_the_standard_descriptors_only_and_no_signal_blocked_or_ignored() {
    let crun = runtime!().after("exec 7</etc/passwd 8</; trap '' USR1");
    let bundle = Bundle::new().sh("echo payload");
    let look = "echo $KIND $(ls /proc/self/fd) >>$LOG; echo $KIND $(grep -E 'SigBlk|SigIgn' /proc/self/status) >>$LOG";
    for options in [&[][..], &["--preserve-fds", "6"]] {
        let bundle = with_all(bundle.clone(), look);
        let container = crun.container(&bundle);
        let args = [&["run", "-b", bundle.save().to_str().unwrap()], options, &[container.id()]].concat();
        assert_eq!(crun.cmd(args).ok(), "payload\n");
        container.deleted();
        let lines = logged(&bundle);
        for kind in KINDS {
            // The fourth is the directory that is listed.
            assert!(lines.contains(&format!("{kind} 0 1 2 3")), "{lines:#?}");
            let masks = format!("{kind} SigBlk: 0000000000000000 SigIgn: 0000000000000000");
            assert!(lines.contains(&masks), "{lines:#?}");
        }
        fs::remove_dir_all(bundle.dir().join("log")).unwrap();
    }
}

#[test]
fn a_hook_gets_its_arguments_and_its_environment() {
    let crun = runtime!().env("FROM_OUTSIDE", "yes");
    let bundle = log(Bundle::new().sh("echo payload").env("FROM_CONFIG=yes"));
    let write = |kind: &str| match kind {
        "startContainer" => "/log/log".to_owned(),
        _ => bundle.dir().join("log/log").display().to_string(),
    };
    // Without more words, the shell's `$0` is what it was called by. That of the image goes by it, too.
    let name = |kind: &str| if kind == "startContainer" { "ash" } else { "name" };
    let hook = |kind: &str, env: Value| {
        let script =
            format!("echo {kind} $0 ${{FROM_OUTSIDE-no}} ${{FROM_CONFIG-no}} ${{OWN-no}} >>{}", write(kind));
        let mut hook = json!({"path": "/bin/sh", "args": [name(kind), "-c", script]});
        if !env.is_null() {
            hook["env"] = env;
        }
        hook
    };
    let all = [json!(null), json!([]), json!(["OWN=1"])];
    let bundle = KINDS.iter().fold(bundle.clone(), |bundle, kind| {
        all.iter().fold(bundle, |bundle, env| add(bundle, kind, hook(kind, env.clone())))
    });
    live(&crun, &bundle, true);
    let expected: Vec<_> = KINDS
        .iter()
        .flat_map(|kind| {
            // What is in the image has nothing of the runtime's environment.
            let inherited = if *kind == "startContainer" { "no yes" } else { "yes no" };
            [format!("{inherited} no"), "no no no".to_owned(), "no no 1".to_owned()]
                .map(|rest| format!("{kind} {} {rest}", name(kind)))
        })
        .collect();
    assert_eq!(logged(&bundle), expected);
}

#[test]
fn a_start_hook_has_the_rights_of_the_program() {
    let crun = runtime!();
    let bundle = Bundle::new().sh("echo payload").set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let bundle = with_all(bundle, "true");
    fs::set_permissions(bundle.dir().join("log"), fs::Permissions::from_mode(0o777)).unwrap();
    let look = "id -u >>$LOG; grep -E 'CapEff|NoNewPrivs' /proc/self/status >>$LOG";
    let bundle = add(bundle, "startContainer", inside("startContainer", look));
    live(&crun, &bundle, false);
    assert_eq!(logged(&bundle), ["1000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"]);
}

#[test]
fn a_start_hook_is_filtered_as_the_program_is() {
    let crun = runtime!();
    let look = "grep Seccomp: /proc/self/status >>$LOG; chroot / true || echo refused >>$LOG";
    // A filter cannot look into what clone3(2) is given, so most answer that it is not there.
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["chroot"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
        ],
    });
    for no_new_privileges in [true, false] {
        let bundle = log(Bundle::new().sh("echo payload").caps(["CAP_SYS_CHROOT"]))
            .set("/linux/seccomp", filter.clone())
            .set("/process/noNewPrivileges", json!(no_new_privileges));
        let bundle = add(bundle, "startContainer", inside("startContainer", look));
        live(&crun, &bundle, false);
        assert_eq!(logged(&bundle), ["Seccomp:\t2", "refused"]);
    }
}

#[test]
fn output_goes_to_the_files_of_the_annotations() {
    let crun = runtime!();
    let bundle = with_all(Bundle::new().sh("echo payload"), "echo out $KIND; echo err $KIND >&2");
    let dir = bundle.dir().to_owned();
    fs::write(dir.join("out"), "before\n").unwrap();
    let bundle = bundle.set(
        "/annotations",
        json!({"run.oci.hooks.stdout": dir.join("out"), "run.oci.hooks.stderr": dir.join("err")}),
    );
    live(&crun, &bundle, false);
    let lines = |prefix: &str| KINDS.iter().map(|kind| format!("{prefix} {kind}\n")).collect::<String>();
    assert_eq!(fs::read_to_string(dir.join("out")).unwrap(), format!("before\n{}", lines("out")));
    assert_eq!(fs::read_to_string(dir.join("err")).unwrap(), lines("err"));
    assert_eq!(fs::metadata(dir.join("err")).unwrap().permissions().mode() & 0o7777, 0o700);
    let nowhere = bundle.set("/annotations", json!({"run.oci.hooks.stdout": "/no/such/place"}));
    crun.run(&nowhere).error_with(["open `/no/such/place` for the output of hooks: No such file"]);
}

#[test]
fn a_state_larger_than_a_pipe_is_read_or_not() {
    let crun = runtime!();
    let bundle = Bundle::new().sh("echo payload").set("/annotations", json!({"big": "x".repeat(1 << 21)}));
    for script in ["echo $(wc -c) >>$LOG", "true", "exec <&-; echo done >>$LOG"] {
        let bundle = with_all(bundle.clone(), script);
        live(&crun, &bundle, false);
        let lines = logged(&bundle);
        let is_whole = |line: &String| line.parse::<usize>().map_or(line == "done", |count| count > 1 << 21);
        assert!(lines.iter().all(is_whole), "{script}: {lines:?}");
        fs::remove_dir_all(bundle.dir().join("log")).unwrap();
    }
}
