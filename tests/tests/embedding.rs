//! The library in a program of its own: one with several threads, which goes on when its containers have ended.

#![cfg(test)]
#![forbid(unsafe_code)]

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::Crun;
use kit::runtime;
use libcrun::{ContainerId, CreateOptions, RunMode, StateRoot};

fn state_root(crun: &Crun) -> StateRoot {
    StateRoot::new(crun.state_dir())
}

fn id(container: &Container) -> ContainerId {
    ContainerId::new(container.id()).unwrap()
}

/// This program has threads, and cannot be exchanged for a read-only view of itself.
fn options(bundle: &Bundle) -> CreateOptions {
    CreateOptions { self_protection: false, ..CreateOptions::new(bundle.save().to_path_buf()) }
}

#[test]
fn a_foreground_run_gives_back_what_it_has_changed_about_its_process() {
    let crun = runtime!();
    let state = || (rustix::process::child_subreaper(), rustix::process::dumpable_behavior());
    let before = state();
    for (program, expected) in [("/bin/true", Some(0)), ("/no/such/program", None)] {
        let bundle = Bundle::new().namespace("pid", None).args([program]);
        let container = crun.container(&bundle);
        let mode = RunMode::Foreground { keep: false };
        let status = libcrun::run(&state_root(&crun), &id(&container), &options(&bundle), mode);
        assert_eq!((status.ok(), state()), (expected, before), "{program}");
        container.deleted();
    }
}
