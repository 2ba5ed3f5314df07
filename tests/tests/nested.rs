//! A runtime inside of what is a container already.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;

use kit::bundle::Bundle;
use kit::{mountinfo, runtime_of_user};

/// The runtime makes what it mounts before the container's process exists, unless it has no right to.
#[test]
fn root_of_a_user_namespace_needs_no_mount_namespace_of_its_own() {
    let crun = runtime_of_user!().through(["unshare", "--user", "--map-root-user"]);
    let bundle = Bundle::new().of_user();
    for directory in ["tree", "tree/below"] {
        fs::create_dir(bundle.dir().join(directory)).unwrap();
    }
    let source = bundle.dir().join("tree").display().to_string();
    let bundle = bundle.mount("/run", "bind", &source, ["rbind", "rro"]);
    let script = "cat /proc/self/mountinfo; ls -d /run/below /dev/null /sys/class/net >&2; cat /proc/keys";
    let output = crun.run(&bundle.sh(script));
    assert_eq!(output.stderr, "/dev/null\n/run/below\n/sys/class/net\n", "{output}");
    let mounts = mountinfo::parse(&output.stdout);
    assert!(mountinfo::at(&mounts, "/run").has("ro"));
    assert_eq!(mountinfo::at(&mounts, "/sys").kind, "sysfs");
}
