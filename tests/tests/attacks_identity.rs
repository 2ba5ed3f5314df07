//! Attacks on who a process is: ids that turn into root's, rights that come along, and a look at the runtime while it is on
//! its way in.

#![cfg(test)]
#![forbid(unsafe_code)]

use kit::bundle::Bundle;
use kit::runtime;
use serde_json::json;

#[test]
fn the_number_that_stands_for_no_id_makes_nobody_root() {
    let crun = runtime!();
    const NONE: u32 = u32::MAX;
    let reason = format!("{NONE} is nobody's id");
    for (user, path) in [
        (json!({"uid": NONE, "gid": 0}), "process.user.uid"),
        (json!({"uid": 1, "gid": NONE}), "process.user.gid"),
        (json!({"uid": 1, "gid": 1, "additionalGids": [NONE]}), "process.user.additionalGids"),
    ] {
        crun.run(&Bundle::new().set("/process/user", user).args(["id"])).error_with([path, &reason]);
    }
    let container = crun.start(&Bundle::new().args(["sleep", "99"]));
    for user in ["4294967295", "1:4294967295"] {
        container.cmd(["exec", "--user", user, "ID", "id"]).error_with(["process.user", &reason]);
    }
}
