//! Access to devices, by the version 1 controller or by a program attached to a version 2 cgroup.

#![cfg(test)]
#![forbid(unsafe_code)]

use kit::bundle::Bundle;
use kit::crun::Crun;
use kit::{runtime, runtime_on_v2};
use serde_json::{Value, json};

/// Device access: only the default devices, and what a rule allows.
fn device_rules(crun: &Crun) {
    let open = |rules: Value| {
        let devices = json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}]);
        let bundle = Bundle::new()
            .caps(["CAP_SYSLOG", "CAP_MKNOD", "CAP_DAC_OVERRIDE"])
            .set("/linux/devices", devices)
            .set("/linux/resources/devices", rules)
            .sh("dd if=/dev/kmsg bs=9000 count=1 >/dev/null 2>/tmp/err && echo opened || cat /tmp/err; head -c1 /dev/zero >/dev/null && echo zero")
            .mount("/tmp", "tmpfs", "tmpfs", ["mode=1777"]);
        crun.run(&bundle)
    };
    let output = open(json!([{"allow": false, "access": "rwm"}]));
    assert!(
        output.stdout.contains("Operation not permitted") && output.stdout.ends_with("zero\n"),
        "{output}"
    );
    let kmsg = json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"});
    let output = open(json!([{"allow": false, "access": "rwm"}, kmsg]));
    assert_eq!(output.stdout, "opened\nzero\n", "{output}");
    let output = open(json!([{"allow": true, "access": "rwm"}]));
    assert_eq!(output.stdout, "opened\nzero\n", "{output}");
}

#[test]
fn devices_that_are_not_allowed_cannot_be_opened() {
    device_rules(&runtime!());
}

#[test]
fn devices_that_are_not_allowed_cannot_be_opened_on_version_2() {
    device_rules(&runtime_on_v2!());
}
