//! Seccomp: what a profile lets a container do, seen from inside, and what becomes of a profile that is none.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;

use kit::bundle::Bundle;
use kit::crun::Crun;
use kit::runtime;
use serde_json::{Value, json};

/// The calls that make a directory.
const MKDIR: [&str; 2] = ["mkdir", "mkdirat"];

/// A profile that allows everything but `names`, for which there is `action`.
fn except(names: &[&str], action: &str) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": names, "action": action}]})
}

fn calls(names: &str) -> Vec<&str> {
    names.split_whitespace().collect()
}

fn with(mut profile: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    profile.pointer_mut(parent).unwrap()[key] = value;
    profile
}

/// A bundle whose shell runs `script` under the profile.
fn confined(profile: &Value, script: &str) -> Bundle {
    Bundle::new().set("/linux/seccomp", profile.clone()).sh(script)
}

/// Twice the same: filtered right before the exec, and filtered before that.
fn both_ways(bundle: &Bundle) -> [Bundle; 2] {
    [true, false].map(|late| bundle.clone().set("/process/noNewPrivileges", json!(late)))
}

#[test]
fn a_denied_call_gets_the_error_of_the_profile() {
    let crun = runtime!();
    let not_permitted = except(&MKDIR, "SCMP_ACT_ERRNO");
    let not_supported = with(not_permitted.clone(), "/syscalls/0/errnoRet", json!(95));
    for (profile, reason) in [(not_permitted, "not permitted"), (not_supported, "not supported")] {
        for bundle in both_ways(&confined(&profile, "mkdir /dev/shm/x; echo $?")) {
            let output = crun.run(&bundle);
            assert_eq!((output.code, output.stdout.as_str()), (0, "1\n"), "{output}");
            assert!(output.stderr.contains(reason), "{output}");
        }
    }
}

#[test]
fn calls_that_no_rule_is_for_get_the_error_of_the_default() {
    let crun = runtime!();
    let start = calls("execve capset prctl getcwd faccessat2 newfstatat sendto recvfrom");
    let run = calls(
        "rt_sigprocmask rt_sigaction brk arch_prctl mprotect set_tid_address set_robust_list rseq prlimit64 \
         getrandom getuid readlink readlinkat write exit_group ioctl fcntl geteuid getpid getppid getgid \
         getegid uname mmap munmap stat open openat read close fstat setuid setgid sigaltstack",
    );
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 28,
        "syscalls": [{"names": ([start, run].concat()), "action": "SCMP_ACT_ALLOW"}],
    });
    for bundle in both_ways(&Bundle::new().set("/linux/seccomp", profile).args(["mkdir", "/dev/shm/x"])) {
        let output = crun.run(&bundle);
        assert!(output.code == 1 && output.stderr.contains("No space left on device"), "{output}");
    }
}

#[test]
fn each_action_does_what_it_is_for() {
    let crun = runtime!();
    let run = |action: &str| {
        crun.run(&Bundle::new().set("/linux/seccomp", except(&MKDIR, action)).args(["mkdir", "/dev/shm/x"]))
    };
    // 128 + SIGSYS
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        assert_eq!(run(action).code, 159, "{action}");
    }
    for action in ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"] {
        assert_eq!(run(action).ok(), "", "{action}");
    }
    // Nobody traces it.
    let traced = run("SCMP_ACT_TRACE");
    assert!(traced.code == 1 && traced.stderr.contains("Function not implemented"), "{traced}");
}

#[test]
fn a_condition_on_an_argument_decides() {
    let crun = runtime!();
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{
        "names": MKDIR, "action": "SCMP_ACT_ERRNO",
        "args": [{"index": 1, "value": 0o777, "valueTwo": 0o700, "op": "SCMP_CMP_MASKED_EQ"}],
    }]});
    let script = "mkdir -m 700 /dev/shm/a; mkdir -m 755 /dev/shm/b; ls /dev/shm";
    let output = crun.run(&confined(&profile, script).set("/process/user/umask", json!(0o77)));
    // busybox makes it with 0777 less the umask of none, and changes it afterwards.
    assert_eq!(output.stdout, "a\nb\n", "{output}");
    let output = crun.run(&confined(&with(profile, "/syscalls/0/args/0/valueTwo", json!(0o777)), script));
    assert_eq!(output.stdout, "", "{output}");
}

#[test]
fn the_process_is_filtered_once_and_so_is_one_that_joins() {
    let crun = runtime!();
    for bundle in both_ways(&confined(&except(&MKDIR, "SCMP_ACT_ERRNO"), "echo up; sleep 99; true")) {
        let container = crun.start(&bundle);
        container.wait_output("up");
        for process in ["1", "self"] {
            let file = format!("/proc/{process}/status");
            let status = container.cmd(["exec", "ID", "grep", "Seccomp", &file]).ok();
            assert_eq!(status, "Seccomp:\t2\nSeccomp_filters:\t1\n", "{process}");
        }
        for options in [["--no-new-privs", "--env=A=1"], ["--env=A=1", "--env=B=1"]] {
            let args = [&["exec"], options.as_slice(), &[container.id(), "mkdir", "/dev/shm/x"]].concat();
            let denied = crun.cmd(args);
            assert!(denied.code == 1 && denied.stderr.contains("not permitted"), "{denied}");
        }
    }
}

#[test]
fn a_container_without_a_profile_is_not_filtered() {
    let crun = runtime!();
    let status = crun.run(&Bundle::new().args(["grep", "Seccomp:", "/proc/self/status"])).ok();
    assert_eq!(status, "Seccomp:\t0\n");
    let container = crun.start(&Bundle::new().sh("sleep 99"));
    assert!(!crun.state_dir().join(container.id()).join("seccomp.bpf").exists());
}

#[test]
fn a_process_that_joins_gets_the_program_that_was_kept() {
    let crun = runtime!();
    let container = crun.create(&confined(&except(&MKDIR, "SCMP_ACT_ERRNO"), "sleep 99"));
    let file = crun.state_dir().join(container.id()).join("seccomp.bpf");
    let mkdir = |name: &str| container.cmd(["exec", "ID", "mkdir", &format!("/dev/shm/{name}")]);
    assert_eq!(mkdir("a").code, 1);
    let program = fs::read(&file).unwrap();
    assert!(program.len().is_multiple_of(8));
    // ret ALLOW
    fs::write(&file, [6, 0, 0, 0, 0, 0, 0xff, 0x7f]).unwrap();
    assert_eq!(mkdir("b").ok(), "");
    for (bytes, words) in [(&program[..7], "7 bytes are no program"), (&[], "0 bytes are no program")] {
        fs::write(&file, bytes).unwrap();
        mkdir("c").error_with([words]);
    }
    fs::remove_file(&file).unwrap();
    mkdir("d").error_with(["seccomp.bpf", "No such file or directory"]);
}

#[test]
fn what_it_takes_to_start_need_not_be_allowed_to_a_process_without_new_privileges() {
    let crun = runtime!();
    let on_the_way = calls(
        "capset capget setgroups setresuid setresgid getcwd chdir faccessat faccessat2 sendto sendmsg \
         recvfrom recvmsg close_range rt_sigprocmask",
    );
    let bundle =
        Bundle::new().set("/linux/seccomp", except(&on_the_way, "SCMP_ACT_KILL_PROCESS")).args(["true"]);
    let [late, early] = both_ways(&bundle);
    assert_eq!(crun.run(&late).ok(), "");
    crun.run(&early).error_with(["signal 31", "its seccomp profile forbids a call"]);
    let container = crun.create(&late);
    container.start();
    container.wait();
    // Who keeps the right to be filtered later is filtered later, too.
    assert_eq!(crun.run(&early.caps(["CAP_SYS_ADMIN"])).ok(), "");
}

#[test]
fn what_a_process_with_new_privileges_calls_after_it_is_filtered_is_what_the_documentation_lists() {
    let crun = runtime!();
    // As in docs/seccomp.md.
    let listed =
        calls("capset prctl chdir getcwd faccessat2 newfstatat sendto recvfrom read rt_sigprocmask execve");
    let program = calls(
        "brk arch_prctl mprotect set_tid_address set_robust_list rseq prlimit64 getrandom readlink readlinkat \
         exit_group getuid getgid setuid setgid",
    );
    let profile = json!({
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "syscalls": [{"names": ([listed, program].concat()), "action": "SCMP_ACT_ALLOW"}],
    });
    let bundle = Bundle::new().set("/linux/seccomp", profile).set("/process/noNewPrivileges", json!(false));
    for user in [0, 1000] {
        let bundle = bundle.clone().set("/process/user", json!({"uid": user, "gid": user})).args(["true"]);
        assert_eq!(crun.run(&bundle).ok(), "", "as user {user}");
        let container = crun.create(&bundle);
        container.start();
        container.wait();
        assert_eq!(container.stderr(), "", "as user {user}");
    }
}

#[test]
fn a_program_that_cannot_be_executed_is_an_error_even_if_the_process_may_not_say_so() {
    let crun = runtime!();
    let profile = except(&["execve", "sendto"], "SCMP_ACT_ERRNO");
    for bundle in both_ways(&Bundle::new().set("/linux/seccomp", profile).args(["true"])) {
        crun.run(&bundle).error_with(["the container's process exited with status 1"]);
    }
}

#[test]
fn all_architectures_and_flags_can_be_named() {
    let crun = runtime!();
    let features = crun.cmd(["features"]).json();
    let seccomp = &features["linux"]["seccomp"];
    let profile = except(&MKDIR, "SCMP_ACT_ERRNO");
    for architectures in [seccomp["archs"].clone(), json!([]), json!(["SCMP_ARCH_X86", "SCMP_ARCH_X32"])] {
        let profile = with(profile.clone(), "/architectures", architectures);
        assert_eq!(
            crun.run(&confined(&profile, "mkdir /dev/shm/x 2>/dev/null || echo denied")).ok(),
            "denied\n"
        );
    }
    for flags in [seccomp["supportedFlags"].clone(), json!([])] {
        let profile = with(profile.clone(), "/flags", flags);
        assert_eq!(
            crun.run(&confined(&profile, "mkdir /dev/shm/x 2>/dev/null || echo denied")).ok(),
            "denied\n"
        );
    }
}

#[test]
fn features_tell_what_a_profile_may_say() {
    let crun = runtime!();
    let features = crun.cmd(["features"]).json();
    let seccomp = &features["linux"]["seccomp"];
    assert_eq!(seccomp["enabled"], json!(true));
    for (list, entry, count) in [
        ("actions", "SCMP_ACT_NOTIFY", 9),
        ("operators", "SCMP_CMP_MASKED_EQ", 7),
        ("knownFlags", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 4),
    ] {
        let list = seccomp[list].as_array().unwrap();
        assert!(list.len() == count && list.contains(&json!(entry)), "{list:?}");
    }
    for list in ["archs", "supportedFlags"] {
        assert!(!seccomp[list].as_array().unwrap().is_empty(), "{list}");
    }
}

/// What engines make of the profile that the containers project ships, for a container with these capabilities.
fn shipped_profile(capabilities: &[&str]) -> Option<Value> {
    let text = fs::read_to_string("/usr/share/containers/seccomp.json").ok()?;
    let mut profile: Value = serde_json::from_str(&text).unwrap();
    let has = |entry: &Value, side: &str, key: &str, fits: &dyn Fn(&[&str]) -> bool| {
        let list: Vec<&str> =
            entry[side][key].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        !list.is_empty() && fits(&list)
    };
    let fits = |entry: &Value| {
        let own = |arches: &[&str]| arches.contains(&"amd64");
        !has(entry, "includes", "arches", &|arches| !own(arches))
            && !has(entry, "excludes", "arches", &own)
            && !has(entry, "includes", "caps", &|caps| !caps.iter().all(|name| capabilities.contains(name)))
            && !has(entry, "excludes", "caps", &|caps| caps.iter().any(|name| capabilities.contains(name)))
    };
    profile["syscalls"].as_array_mut().unwrap().retain(fits);
    profile["architectures"] = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
    Some(profile)
}

#[test]
fn the_profile_that_engines_use_lets_ordinary_programs_run() {
    let crun = runtime!();
    let Some(profile) = shipped_profile(&["CAP_KILL", "CAP_AUDIT_WRITE", "CAP_NET_BIND_SERVICE"]) else {
        return kit::crun::skipped("no /usr/share/containers/seccomp.json (golang-github-containers-common)");
    };
    let script = "mkdir /dev/shm/x && ls / >/dev/null && ps >/dev/null && sleep 0.01 && id -u
        unshare -m true 2>/dev/null || echo no mounts";
    for user in [0, 1000] {
        for bundle in both_ways(&confined(&profile, script)) {
            let bundle = bundle.set("/process/user", json!({"uid": user, "gid": user}));
            assert_eq!(crun.run(&bundle).ok(), format!("{user}\nno mounts\n"));
            let created = crun.create(&bundle);
            created.start();
            created.wait();
            assert_eq!((created.stdout(), created.stderr()), (format!("{user}\nno mounts\n"), String::new()));
        }
    }
}

#[test]
fn a_program_can_be_given_instead_of_a_profile() {
    let crun = runtime!();
    // ld nr; jeq 83 (mkdir), 0, 1; ret ERRNO 95; ret ALLOW
    let program = "IAAAAAAAAAAVAAABUwAAAAYAAABfAAUABgAAAAAA/38=";
    let bundle = Bundle::new().sh("mkdir /dev/shm/x; sleep 99");
    let bundle = bundle.set("/annotations", json!({"run.oci.seccomp_bpf_data": program}));
    for bundle in [bundle.clone(), bundle.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_KILL"}))] {
        let container = crun.create(&bundle);
        container.start();
        kit::crun::wait_for("the denial", || container.stderr().contains("not supported").then_some(()));
        let denied = container.cmd(["exec", "ID", "mkdir", "/dev/shm/y"]);
        assert!(denied.stderr.contains("not supported"), "{denied}");
    }
}

#[test]
fn a_profile_that_is_none_is_an_error_and_leaves_nothing() {
    let crun = runtime!();
    let profile = except(&MKDIR, "SCMP_ACT_ERRNO");
    let many: Vec<Value> = (0..3000)
        .map(|number| {
            let args = json!([{"index": 0, "value": u64::MAX - number, "op": "SCMP_CMP_EQ"}]);
            json!({"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": number % 100 + 1, "args": args})
        })
        .collect();
    for (profile, words) in [
        (json!({}), "seccomp misses the default action"),
        (json!({"defaultAction": 7}), "linux.seccomp.defaultAction: invalid type"),
        (
            with(profile.clone(), "/syscalls/0/action", json!("SCMP_ACT_ASK")),
            "linux.seccomp.syscalls[0].action",
        ),
        (with(profile.clone(), "/syscalls/0/action", json!("SCMP_ACT_NOTIFY")), "needs somebody who answers"),
        (with(profile.clone(), "/syscalls", json!(many)), "4096"),
        (with(profile.clone(), "/flags", json!(["SECCOMP_FILTER_FLAG_X"])), "linux.seccomp.flags[0]"),
        (with(profile, "/architectures", json!(["SCMP_ARCH_Z80"])), "linux.seccomp.architectures[0]"),
    ] {
        crun.run(&confined(&profile, "true")).error_with([words]);
    }
}

#[test]
fn a_program_that_the_kernel_does_not_take_is_an_error_and_leaves_nothing() {
    let crun = runtime!();
    // A return that is not there to be reached: jeq 1, 255, 255
    let data = "FQD//wEAAAA=";
    for bundle in
        both_ways(&Bundle::new().set("/annotations", json!({"run.oci.seccomp_bpf_data": data})).sh("true"))
    {
        let words = ["linux.seccomp: load the filter of 1 instructions", "Invalid argument"];
        crun.run(&bundle).error_with(words);
    }
}

#[test]
fn root_of_a_user_namespace_is_filtered_as_anybody() {
    let crun = match Crun::new().and_then(Crun::as_mapped_root) {
        Ok(crun) => crun,
        Err(reason) => return kit::crun::skipped(reason),
    };
    let script = "mkdir /dev/shm/x 2>/dev/null || grep Seccomp: /proc/self/status";
    for bundle in both_ways(&confined(&except(&MKDIR, "SCMP_ACT_ERRNO"), script)) {
        let bundle = bundle.of_mapped_root().namespace("cgroup", None);
        assert_eq!(crun.run(&bundle).ok(), "Seccomp:\t2\n");
    }
}
