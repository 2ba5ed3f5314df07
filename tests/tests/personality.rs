//! The execution domain of a container's processes.

#![cfg(test)]
#![forbid(unsafe_code)]

use kit::bundle::Bundle;
use kit::crun::Crun;
use kit::runtime;
use serde_json::{Value, json};

const SHOWN: &str = "/proc/self/personality";

fn with(personality: Value) -> Bundle {
    // The file is for those who may trace the process.
    Bundle::new().set("/linux/personality", personality).caps(["CAP_SYS_PTRACE"])
}

fn domain(crun: &Crun, bundle: Bundle) -> String {
    crun.run(&bundle.args(["cat", SHOWN])).ok()
}

#[test]
fn the_domain_is_the_configured_one() {
    let crun = runtime!();
    assert_eq!(domain(&crun, with(json!({"domain": "LINUX"}))), "00000000\n");
    assert_eq!(domain(&crun, with(json!({"domain": "LINUX32"}))), "00000008\n");
    assert_eq!(domain(&crun, with(json!({"domain": "LINUX32"})).in_user_namespace()), "00000008\n");
}

#[test]
fn a_domain_of_the_callers_stays_unless_there_is_another() {
    let crun = runtime!();
    let (own, program) = (std::fs::read_to_string(SHOWN).unwrap(), kit::crun::binary());
    assert_eq!(domain(&crun, with(Value::Null)), own);
    // The shell becomes setarch(8), which becomes the runtime.
    let crun = crun.after(&format!("exec setarch --addr-no-randomize {} \"$@\"", program.display()));
    assert_eq!(domain(&crun, with(Value::Null)), "00040000\n");
    assert_eq!(domain(&crun, with(json!({"domain": "LINUX"}))), "00000000\n");
}

#[test]
fn exec_runs_in_the_domain_of_the_container() {
    let crun = runtime!();
    let container = crun.start(&with(json!({"domain": "LINUX32"})).args(["sleep", "99"]));
    assert_eq!(container.cmd(["exec", "ID", "cat", SHOWN]).ok(), "00000008\n");
    let process = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&process, json!({"args": ["cat", SHOWN], "cwd": "/"}).to_string()).unwrap();
    let path = process.path().to_str().unwrap();
    assert_eq!(container.cmd(["exec", "--process", path, "ID"]).ok(), "00000008\n");
}

#[test]
fn flags_which_the_specification_has_none_of_change_nothing() {
    let crun = runtime!();
    assert_eq!(domain(&crun, with(json!({"domain": "LINUX", "flags": ["X"]}))), "00000000\n");
}

#[test]
fn an_unknown_domain_is_refused_by_name() {
    let crun = runtime!();
    for (personality, words) in [
        (json!({"domain": "LINUX64"}), "linux.personality.domain: `LINUX64` is none of LINUX, LINUX32"),
        (json!({"domain": ""}), "linux.personality.domain: `` is none of LINUX, LINUX32"),
        (json!({}), "missing field `domain`"),
    ] {
        let bundle = with(personality).args(["true"]);
        crun.run(&bundle).error_with([words]);
        let container = crun.container(&bundle);
        container.cmd(["create", "-b", "BUNDLE", "ID"]).error_with([words]);
        container.deleted();
    }
}
