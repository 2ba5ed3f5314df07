//! The payload's process: what it is given, and what it must not get.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsRawFd;

use kit::bundle::Bundle;
use kit::crun::Crun;
use kit::runtime;
use serde_json::json;

/// /proc/self/status of the payload.
fn status(crun: &Crun, bundle: Bundle) -> BTreeMap<String, String> {
    let text = crun.run(&bundle.args(["cat", "/proc/self/status"])).ok();
    text.lines()
        .filter_map(|line| line.split_once(":\t"))
        .map(|(k, v)| (k.to_owned(), v.trim().to_owned()))
        .collect()
}

#[test]
fn arguments_arrive_as_they_are() {
    let crun = runtime!();
    let bundle = Bundle::new().args(["printf", "[%s]", "a b", "", "c\"d", "é\n", "$HOME", "-x"]);
    assert_eq!(crun.run(&bundle).ok(), "[a b][][c\"d][é\n][$HOME][-x]");
}

#[test]
fn the_environment_is_the_configured_one_and_home() {
    let crun = runtime!().env("FROM_OUTSIDE", "leaked");
    let text = crun.run(&Bundle::new().env("EMPTY=").env("TWO=a=b").args(["env"])).ok();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(lines, ["EMPTY=", "HOME=/root", path, "TERM=xterm", "TWO=a=b"]);
}

#[test]
fn of_several_values_of_a_variable_the_last_one_counts() {
    let crun = runtime!();
    let env = ["PATH=/nowhere", "A=1", "PATH=/bin", "A=2"];
    let bundle = Bundle::new().set("/process/env", json!(env)).sh("env | grep -e ^A -e ^PATH | sort");
    assert_eq!(crun.run(&bundle).ok(), "A=2\nPATH=/bin\n");
    let bundle = bundle.set("/process/env", json!(["PATH=/bin", "PATH=/nowhere"]));
    crun.run(&bundle).error_with(["executable file `sh` not found in $PATH"]);
}

#[test]
fn home_is_that_of_the_user_unless_it_is_configured() {
    let crun = runtime!();
    let bundle = Bundle::new().sh("echo $HOME");
    fs::write(
        bundle.rootfs().join("etc/passwd.new"),
        "root:x:0:0::/root:/bin/sh\nu:x:1234:1::/home/u:/bin/sh\n",
    )
    .unwrap();
    fs::rename(bundle.rootfs().join("etc/passwd.new"), bundle.rootfs().join("etc/passwd")).unwrap();
    let bundle = bundle.set("/process/user", json!({"uid": 1234, "gid": 1}));
    assert_eq!(crun.run(&bundle).ok(), "/home/u\n");
    let bundle = bundle.set("/process/user", json!({"uid": 4321, "gid": 1}));
    assert_eq!(crun.run(&bundle).ok(), "/\n");
    assert_eq!(crun.run(&bundle.env("HOME=/mine")).ok(), "/mine\n");
}

#[test]
fn the_working_directory_is_the_configured_one_and_made_when_missing() {
    let crun = runtime!();
    for cwd in ["/etc", "/made/for/this"] {
        let bundle = Bundle::new().set("/process/cwd", json!(cwd)).sh("pwd -P; cd ..; pwd -P");
        let parent = std::path::Path::new(cwd).parent().unwrap().display();
        assert_eq!(crun.run(&bundle).ok(), format!("{cwd}\n{parent}\n"));
    }
}

#[test]
fn a_working_directory_only_the_user_can_enter_is_entered() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let crun = runtime!();
    let bundle = Bundle::new().set("/process/user", json!({"uid": 1000, "gid": 1000})).caps([]);
    let dir = bundle.rootfs().join("private");
    fs::create_dir(&dir).unwrap();
    chown(&dir, Some(1000), Some(1000)).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(crun.run(&bundle.set("/process/cwd", json!("/private")).args(["pwd"])).ok(), "/private\n");
}

#[test]
fn the_user_and_its_groups_are_the_configured_ones() {
    let crun = runtime!();
    let bundle =
        Bundle::new().set("/process/user", json!({"uid": 1000, "gid": 2000, "additionalGids": [7, 3000]}));
    let status = status(&crun, bundle);
    assert_eq!(status["Uid"], "1000\t1000\t1000\t1000");
    assert_eq!(status["Gid"], "2000\t2000\t2000\t2000");
    let mut groups: Vec<_> = status["Groups"].split_whitespace().collect();
    groups.sort_unstable();
    assert_eq!(groups, ["3000", "7"]);
}

#[test]
fn groups_of_the_caller_are_dropped() {
    let crun = runtime!();
    assert_eq!(status(&crun, Bundle::new())["Groups"], "");
}

#[test]
fn the_umask_is_0022_or_the_configured_one() {
    let crun = runtime!();
    assert_eq!(status(&crun, Bundle::new())["Umask"], "0022");
    assert_eq!(status(&crun, Bundle::new().set("/process/user/umask", json!(0o077)))["Umask"], "0077");
    assert_eq!(status(&crun, Bundle::new().set("/process/user/umask", json!(0)))["Umask"], "0000");
}

#[test]
fn each_capability_set_of_root_is_the_configured_one() {
    let crun = runtime!();
    let sets = json!({
        "bounding": ["CAP_CHOWN", "CAP_FOWNER", "CAP_KILL", "CAP_SETUID"],
        "permitted": ["CAP_CHOWN", "CAP_FOWNER", "CAP_KILL"],
        "effective": ["CAP_CHOWN"],
        "inheritable": ["CAP_FOWNER"],
        "ambient": ["CAP_FOWNER"],
    });
    // For root the exec computes P'(permitted) from the inheritable and bounding sets (capabilities(7)).
    let seen = status(&crun, Bundle::new().set("/process/capabilities", sets.clone()));
    assert_eq!((seen["CapBnd"].as_str(), seen["CapInh"].as_str()), ("00000000000000a9", "0000000000000008"));
    // For another user they are the ambient ones.
    let user = json!({"uid": 1000, "gid": 1000});
    let seen = status(&crun, Bundle::new().set("/process/user", user).set("/process/capabilities", sets));
    assert_eq!(seen["CapBnd"], "00000000000000a9");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(seen[set], "0000000000000008", "{set}");
    }
}

#[test]
fn nothing_is_inherited_when_the_inheritable_set_is_empty() {
    let crun = runtime!();
    let user = json!({"uid": 1000, "gid": 1000});
    let seen = status(&crun, Bundle::new().set("/process/user", user).caps(["CAP_CHOWN", "CAP_SYS_ADMIN"]));
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(seen[set], "0000000000000000", "{set}");
    }
    assert_eq!(seen["CapBnd"], "0000000000200001");
}

#[test]
fn without_capabilities_even_root_has_none() {
    let crun = runtime!();
    let seen = status(&crun, Bundle::new().unset("/process/capabilities"));
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(seen[set], "0000000000000000", "{set}");
    }
}

#[test]
fn capabilities_bite() {
    let crun = runtime!();
    let script = "touch /tmp/f && chown 5 /tmp/f && stat -c %u /tmp/f";
    let bundle = || Bundle::new().mount("/tmp", "tmpfs", "tmpfs", ["mode=1777"]).sh(script);
    assert_eq!(crun.run(&bundle().caps(["CAP_CHOWN"])).ok(), "5\n");
    assert!(crun.run(&bundle().caps(["CAP_KILL"])).stderr.contains("Operation not permitted"));
}

#[test]
fn no_new_privileges_is_set_only_when_configured() {
    let crun = runtime!();
    assert_eq!(status(&crun, Bundle::new())["NoNewPrivs"], "1");
    assert_eq!(status(&crun, Bundle::new().set("/process/noNewPrivileges", json!(false)))["NoNewPrivs"], "0");
    assert_eq!(status(&crun, Bundle::new().unset("/process/noNewPrivileges"))["NoNewPrivs"], "0");
}

#[test]
fn resource_limits_are_set() {
    let crun = runtime!();
    let limits = json!([
        {"type": "RLIMIT_NOFILE", "soft": 123, "hard": 456},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_FSIZE", "soft": 4096, "hard": 8192},
    ]);
    let text =
        crun.run(&Bundle::new().set("/process/rlimits", limits).args(["cat", "/proc/self/limits"])).ok();
    let limit = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(limit("Max open files"), "123 456");
    assert_eq!(limit("Max core file size"), "0 0");
    assert_eq!(limit("Max file size"), "4096 8192");
}

#[test]
fn the_oom_score_adjustment_is_set() {
    let crun = runtime!();
    let bundle =
        Bundle::new().set("/process/oomScoreAdj", json!(321)).args(["cat", "/proc/self/oom_score_adj"]);
    assert_eq!(crun.run(&bundle).ok(), "321\n");
}

#[test]
fn no_descriptor_of_the_caller_or_the_runtime_is_open_inside() {
    let crun = runtime!();
    let (file, dir) = (File::open("/etc/passwd").unwrap(), File::open("/").unwrap());
    for fd in [&file, &dir] {
        rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()).unwrap();
    }
    assert!(file.as_raw_fd() > 2 && dir.as_raw_fd() > 2);
    let bundle = Bundle::new().sh("ls /proc/$$/fd; true");
    assert_eq!(crun.run(&bundle).ok(), "0\n1\n2\n");
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    let count = || fs::read_dir(container.proc().join("fd")).unwrap().count();
    kit::crun::wait_for("exec", || (count() == 3).then_some(()));
    drop((file, dir));
}

#[test]
fn preserved_descriptors_are_open_inside_and_no_more() {
    let crun = runtime!();
    let bundle = Bundle::new().sh("ls /proc/$$/fd; cat <&4");
    let container = crun.container(&bundle);
    let args = container.args(["--root", "STATE", "run", "-b", "BUNDLE", "--preserve-fds", "2", "ID"]);
    // The shell opens 3 to 6; only 3 and 4 are to be handed on.
    let script = "state=$1; shift; echo four >$state.four; exec 3</dev/null 4<$state.four 5</dev/null 6</; exec \"$@\"";
    let mut command = std::process::Command::new("sh");
    let state = crun.state_dir();
    command.args(["-c", script, "sh"]).arg(&state).arg(kit::crun::binary());
    command.args(args.iter().map(|arg| if arg == "STATE" { state.as_os_str() } else { arg }));
    assert_eq!(crun.spawn(command).wait().ok(), "0\n1\n2\n3\n4\nfour\n");
}

#[test]
fn signals_are_neither_ignored_nor_blocked() {
    let crun = runtime!();
    let seen = status(&crun, Bundle::new());
    for set in ["SigBlk", "SigIgn", "SigCgt"] {
        // `cat` catches nothing itself.
        assert_eq!(seen[set], "0000000000000000", "{set}");
    }
    let bundle = Bundle::new().sh("yes | head -n 1; echo $?");
    assert_eq!(crun.run(&bundle).ok(), "y\n0\n");
}

#[test]
fn the_executable_is_looked_up_in_the_configured_path() {
    let crun = runtime!();
    let bundle = Bundle::new().set("/process/env", json!(["PATH=/nowhere:/opt/tools"])).args(["tool"]);
    fs::create_dir_all(bundle.rootfs().join("opt/tools")).unwrap();
    std::os::unix::fs::symlink("/bin/busybox", bundle.rootfs().join("opt/tools/tool")).unwrap();
    let output = crun.run(&bundle);
    assert_eq!((output.code, output.stderr.as_str()), (127, "tool: applet not found\n"));
}

#[test]
fn the_executable_is_looked_up_as_the_user_who_runs_it() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let crun = runtime!();
    let user = json!({"uid": 1000, "gid": 1000});
    let bundle = Bundle::new().caps([]).set("/process/user", user).args(["/private/sh", "-c", "id -u"]);
    let dir = bundle.rootfs().join("private");
    fs::create_dir(&dir).unwrap();
    std::os::unix::fs::symlink("/bin/busybox", dir.join("sh")).unwrap();
    chown(&dir, Some(1000), Some(1000)).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(crun.run(&bundle).ok(), "1000\n");
    chown(&dir, Some(0), Some(0)).unwrap();
    crun.run(&bundle).error_with(["/private/sh", "Permission denied"]);
}

#[test]
fn a_relative_executable_is_found_from_the_working_directory() {
    let crun = runtime!();
    let bundle = Bundle::new().set("/process/cwd", json!("/usr")).args(["./bin/sh", "-c", "echo found"]);
    assert_eq!(crun.run(&bundle).ok(), "found\n");
}

#[test]
fn a_script_with_an_interpreter_runs() {
    use std::os::unix::fs::PermissionsExt;
    let crun = runtime!();
    let bundle = Bundle::new().args(["/script", "argument"]);
    let script = bundle.rootfs().join("script");
    fs::write(&script, "#!/bin/sh\necho \"$0 $1\"\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(crun.run(&bundle).ok(), "/script argument\n");
}

#[test]
fn the_payload_has_a_session_keyring_of_its_own_unless_told_otherwise() {
    let crun = runtime!();
    let bundle = Bundle::new().set("/linux/maskedPaths", json!([])).args(["cat", "/proc/keys"]);
    let container = crun.container(&bundle);
    let text = container.cmd(["run", "-b", "BUNDLE", "ID"]).ok();
    assert!(text.contains(container.id()), "{text}");
    let other = crun.container(&bundle);
    let text = other.cmd(["run", "-b", "BUNDLE", "--no-new-keyring", "ID"]).ok();
    assert!(!text.contains(other.id()), "{text}");
}

#[test]
fn the_process_is_told_of_sockets_that_systemd_passes() {
    let crun = runtime!().after("exec 3</dev/null").env("LISTEN_FDS", "1");
    let bundle = Bundle::new().sh("echo $LISTEN_FDS $LISTEN_PID; ls /proc/self/fd/3");
    assert_eq!(crun.run(&bundle).ok(), "1 1\n/proc/self/fd/3\n");
    let own = bundle.env("LISTEN_PID=7").sh("echo $LISTEN_FDS $LISTEN_PID");
    assert_eq!(crun.run(&own).ok(), "1 7\n");
    assert_eq!(runtime!().run(&Bundle::new().sh("echo ${LISTEN_PID-none}")).ok(), "none\n");
}
