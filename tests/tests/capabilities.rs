//! The five capability sets of a container's processes, seen from inside (capabilities(7)).

#![cfg(test)]
#![forbid(unsafe_code)]

use kit::bundle::Bundle;
use kit::container::Container;
use kit::runtime;
use serde_json::{Value, json};

/// CapInh, CapPrm, CapEff, CapBnd and CapAmb of a process.
type Sets = [u64; 5];

const SHOW: [&str; 3] = ["grep", "Cap", "/proc/self/status"];

fn sets(text: &str) -> Sets {
    let lines = text.lines().map(|line| line.split_once(":\t").unwrap());
    let sets: Vec<_> = lines.map(|(_, mask)| u64::from_str_radix(mask, 16).unwrap()).collect();
    sets.try_into().unwrap()
}

fn in_exec(container: &Container, options: &[&str]) -> Sets {
    sets(&container.crun().cmd([&["exec"], options, &[container.id()], &SHOW].concat()).ok())
}

const CHOWN: u64 = 1;
const FOWNER: u64 = 1 << 3;
const KILL: u64 = 1 << 5;
const SETUID: u64 = 1 << 7;
const SYS_ADMIN: u64 = 1 << 21;

/// Sets that are told from each other.
fn all_different() -> Value {
    json!({
        "bounding": ["CAP_CHOWN", "CAP_FOWNER", "CAP_KILL", "CAP_SETUID"],
        "permitted": ["CAP_CHOWN", "CAP_FOWNER", "CAP_KILL"],
        "effective": ["CAP_CHOWN"],
        "inheritable": ["CAP_FOWNER"],
        "ambient": ["CAP_FOWNER"],
    })
}

/// The bundle outside of a user namespace and in one.
fn both(bundle: Bundle) -> [Bundle; 2] {
    [bundle.clone(), bundle.in_user_namespace()]
}

fn as_user(bundle: Bundle, uid: u32) -> Bundle {
    bundle.set("/process/user", json!({"uid": uid, "gid": uid}))
}

#[test]
fn each_set_of_root_follows_from_the_configured_ones() {
    let crun = runtime!();
    // The exec of root gives it what is inheritable or bounding, whatever was permitted; without new privileges only what
    // was permitted, too. It would not with one of the securebits of a caller, of which none is left.
    let bounding = CHOWN | FOWNER | KILL | SETUID;
    for (no_new_privileges, permitted) in [(false, bounding), (true, CHOWN | FOWNER | KILL)] {
        let bundle = Bundle::new()
            .set("/process/capabilities", all_different())
            .set("/process/noNewPrivileges", json!(no_new_privileges));
        for bundle in both(bundle.args(SHOW)) {
            let seen = sets(&crun.run(&bundle).ok());
            assert_eq!(seen, [FOWNER, permitted, permitted, bounding, FOWNER]);
        }
    }
}

#[test]
fn a_user_has_what_is_ambient_and_nothing_else() {
    let crun = runtime!();
    let bounding = CHOWN | FOWNER | KILL | SETUID;
    for no_new_privileges in [false, true] {
        let bundle = as_user(Bundle::new(), 1000)
            .set("/process/capabilities", all_different())
            .set("/process/noNewPrivileges", json!(no_new_privileges));
        for bundle in both(bundle.args(SHOW)) {
            let seen = sets(&crun.run(&bundle).ok());
            assert_eq!(seen, [FOWNER, FOWNER, FOWNER, bounding, FOWNER]);
        }
    }
}

#[test]
fn what_is_not_inheritable_is_not_ambient() {
    let crun = runtime!();
    let capabilities = json!({
        "bounding": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"], "ambient": ["CAP_CHOWN"],
    });
    for (uid, has) in [(0, CHOWN), (1000, 0)] {
        let bundle = as_user(Bundle::new(), uid).set("/process/capabilities", capabilities.clone());
        for bundle in both(bundle.args(SHOW)) {
            assert_eq!(sets(&crun.run(&bundle).ok()), [0, has, has, CHOWN, 0], "{uid}");
        }
    }
}

#[test]
fn without_sets_nobody_has_a_capability() {
    let crun = runtime!();
    for capabilities in [Value::Null, json!({})] {
        for uid in [0, 1000] {
            let bundle = as_user(Bundle::new(), uid).set("/process/capabilities", capabilities.clone());
            for bundle in both(bundle.args(SHOW)) {
                assert_eq!(sets(&crun.run(&bundle).ok()), [0; 5], "{uid}");
            }
        }
    }
}

#[test]
fn names_are_taken_in_any_case_and_without_the_prefix() {
    let crun = runtime!();
    let bundle = Bundle::new().caps(["chown", "cap_kill", "CAP_SYS_ADMIN"]).args(SHOW);
    let all = CHOWN | KILL | SYS_ADMIN;
    assert_eq!(sets(&crun.run(&bundle).ok()), [0, all, all, all, 0]);
}

fn with_set(set: &str, names: Value) -> Bundle {
    Bundle::new().set(&format!("/process/capabilities/{set}"), names).args(["true"])
}

#[test]
fn an_unknown_name_is_refused_in_every_set() {
    let crun = runtime!();
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
        let line = crun.run(&with_set(set, json!(["CAP_FOO"]))).error();
        assert_eq!(line, "unknown capability `CAP_FOO`", "{set}");
    }
    for name in ["CAP_FOO", "", "CAP_", "CAP_CHOWN ", "41"] {
        let line = format!("unknown capability `{name}`");
        assert_eq!(container.cmd(["exec", "--cap", name, "ID", "true"]).error(), line);
    }
}

#[test]
fn sets_that_contradict_each_other_are_refused_with_the_rule_they_break() {
    let crun = runtime!();
    for (set, words) in [
        ("effective", "process.capabilities.effective holds what is not permitted: CAP_MKNOD"),
        ("inheritable", "process.capabilities.inheritable holds what is not bounding: CAP_MKNOD"),
    ] {
        let line = crun.run(&with_set(set, json!(["CAP_MKNOD"]))).error();
        assert_eq!(line, format!("capset: {words}: Operation not permitted"));
    }
}

#[test]
fn exec_has_the_sets_of_the_container_and_never_an_inheritable_one_more() {
    let crun = runtime!();
    for bundle in both(Bundle::new().caps(["CAP_CHOWN"]).args(["sleep", "99"])) {
        let container = crun.start(&bundle);
        let (own, more) = (CHOWN, CHOWN | SYS_ADMIN);
        assert_eq!(in_exec(&container, &[]), [0, own, own, own, 0]);
        // CVE-2022-27650, CVE-2022-29162.
        assert_eq!(in_exec(&container, &["--cap", "CAP_SYS_ADMIN"]), [0, more, more, more, 0]);
        assert_eq!(in_exec(&container, &["--user", "1000", "--cap", "CAP_SYS_ADMIN"]), [0, 0, 0, more, 0]);
        assert_eq!(in_exec(&container, &["--user", "1000"]), [0, 0, 0, own, 0]);
    }
}

#[test]
fn exec_has_the_sets_of_its_process_object_exactly() {
    let crun = runtime!();
    let container = crun.start(&Bundle::new().caps(["CAP_CHOWN"]).args(["sleep", "99"]));
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let run = |user: u32, capabilities: Value| {
        let mut process = json!({"args": SHOW, "cwd": "/", "user": {"uid": user, "gid": user}});
        process["capabilities"] = capabilities;
        std::fs::write(path, process.to_string()).unwrap();
        sets(&container.cmd(["exec", "--process", path, "ID"]).ok())
    };
    let bounding = CHOWN | FOWNER | KILL | SETUID;
    assert_eq!(run(0, all_different()), [FOWNER, bounding, bounding, bounding, FOWNER]);
    assert_eq!(run(1000, all_different()), [FOWNER, FOWNER, FOWNER, bounding, FOWNER]);
    assert_eq!(run(0, json!({})), [0; 5]);
    assert_eq!(run(0, Value::Null), [0, CHOWN, CHOWN, CHOWN, 0]);
}

#[test]
fn no_new_privileges_holds_for_exec_where_it_does_for_the_container_or_is_asked_for() {
    let crun = runtime!();
    for own in [true, false] {
        let bundle = Bundle::new().set("/process/noNewPrivileges", json!(own)).args(["sleep", "99"]);
        let container = crun.start(&bundle);
        let seen = |options: &[&str]| {
            let args = ["grep", "NoNewPrivs", "/proc/self/status"];
            crun.cmd([&["exec"], options, &[container.id()], &args].concat()).ok()
        };
        assert_eq!(seen(&[]), format!("NoNewPrivs:\t{}\n", u8::from(own)));
        assert_eq!(seen(&["--no-new-privs"]), "NoNewPrivs:\t1\n");
    }
}
