//! Many `exec` at once in one container.

#![cfg(test)]
#![forbid(unsafe_code)]

use kit::bundle::Bundle;
use kit::crun::{Crun, wait_for};
use kit::running::Running;

#[test]
fn a_hundred_processes_at_once_all_run_and_leave_nothing() {
    for (layout, crun) in Crun::on_every_layout() {
        let container = crun.start(&Bundle::new().args(["sleep", "99"]));
        let exec = |number: usize| {
            let text = number.to_string();
            crun.spawn(crun.command(container.args(["exec", "ID", "echo", &text])))
        };
        let crowd: Vec<_> = (0..100).map(exec).collect();
        for (number, output) in crowd.into_iter().map(Running::wait).enumerate() {
            assert_eq!(output.ok(), format!("{number}\n"), "{layout}");
        }
        let processes = || container.cmd(["ps", "--format", "json", "ID"]).json().as_array().unwrap().len();
        wait_for("the end of the last", || (processes() == 1).then_some(()));
    }
}

#[test]
fn a_hundred_processes_are_left_running_at_once() {
    for (layout, crun) in Crun::on_every_layout() {
        let container = crun.start(&Bundle::new().args(["sleep", "99"]));
        let exec = || crun.spawn(crun.command(container.args(["exec", "--detach", "ID", "sleep", "98"])));
        let crowd: Vec<_> = (0..100).map(|_| exec()).collect();
        for output in crowd.into_iter().map(Running::wait) {
            assert_eq!(output.ok(), "", "{layout}");
        }
        let processes = container.cmd(["ps", "--format", "json", "ID"]).json().as_array().unwrap().len();
        assert_eq!(processes, 101, "{layout}");
        container.delete();
    }
}
