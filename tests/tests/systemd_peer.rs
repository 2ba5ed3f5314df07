//! A systemd that refuses, says nothing, goes away or talks nonsense: one clear error, and nothing is left.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kit::bundle::Bundle;
use kit::crun::{Crun, skipped, wait_for};
use kit::dbus_peer::{Call, JOB, Peer, Talk};
use serde_json::{Value, json};

/// Runs a test on this machine as it is, and where there is only version 2.
fn everywhere(test: impl Fn(Crun)) {
    for crun in [Crun::new(), Crun::on_v2()] {
        match crun {
            Ok(crun) => test(crun.with("--systemd-cgroup").env("CRUN_SYSTEMD_TIMEOUT", "60")),
            Err(reason) => return skipped(reason),
        }
    }
}

/// The same runtime, which does not wait for long.
fn impatient(crun: &Crun) -> Crun {
    crun.clone().env("CRUN_SYSTEMD_TIMEOUT", "0.5")
}

const UNIT: &str = "error `start` systemd unit";

/// What the runtime says when the peer `answers` the call for the unit like this.
fn error_when(crun: &Crun, answers: impl Fn(&mut Talk, &Call) + Send + Sync + 'static) -> String {
    error_of(crun, Bundle::new, answers)
}

/// The same for such a bundle.
fn error_of(
    crun: &Crun,
    bundle: impl Fn() -> Bundle,
    answers: impl Fn(&mut Talk, &Call) + Send + Sync + 'static,
) -> String {
    let peer = Peer::new(move |talk| {
        while let Some(call) = talk.hear() {
            if call.is("StartTransientUnit") {
                answers(talk, &call);
            } else {
                talk.refuse(&call, "org.freedesktop.systemd1.NoSuchUnit", "not loaded");
            }
        }
    });
    let crun = crun.clone().env("DBUS_SYSTEM_BUS_ADDRESS", &peer.address());
    let mut said = String::new();
    for command in [&["run"][..], &["run", "--detach"], &["create"]] {
        let bundle = bundle();
        let container = crun.container(&bundle);
        let args = [command, &["--bundle", bundle.save().to_str().unwrap(), container.id()]].concat();
        let output = crun.cmd(args);
        assert_ne!(output.code, 0, "{output}");
        assert_eq!(output.stderr.trim_end().lines().count(), 1, "{output}");
        said = output.stderr.replace(&format!("crun-{}.scope", container.id()), "UNIT");
        container.deleted();
    }
    said.trim_end().to_owned()
}

#[test]
fn a_refusal_is_told_in_systemds_words() {
    everywhere(|crun| {
        let said = error_when(&crun, |talk, call| {
            talk.refuse(call, "org.freedesktop.DBus.Error.AccessDenied", "Permission denied");
        });
        assert_eq!(said, format!("{UNIT} `UNIT`: Permission denied"));
    });
}

#[test]
fn a_job_that_fails_is_told_with_its_result() {
    everywhere(|crun| {
        let said = error_when(&crun, |talk, call| {
            let unit = unit_of(call);
            talk.reply(call, &[JOB]);
            talk.job_removed(&unit, "failed");
        });
        assert_eq!(said, format!("{UNIT} `UNIT`: got `failed`"));
    });
}

#[test]
fn what_the_process_could_not_do_is_told_and_not_that_it_is_gone_from_its_unit() {
    everywhere(|crun| {
        let bundle = || Bundle::new().set("/linux/sysctl", json!({"kernel.shmmax": "abc"}));
        let said = error_of(&crun, bundle, |talk, call| {
            // Until then the process has failed; what has ended is in no unit.
            std::thread::sleep(Duration::from_millis(100));
            talk.reply(call, &[JOB]);
            talk.job_removed(&unit_of(call), "done");
        });
        assert_eq!(said, "set the sysctl `kernel.shmmax` to `abc`: Invalid argument");
    });
}

fn unit_of(call: &Call) -> String {
    let start = call.text.find("crun-t").expect("the unit's name");
    let end = start + call.text[start..].find('\0').unwrap();
    call.text[start..end].to_owned()
}

#[test]
fn one_that_never_answers_is_not_waited_for_without_end() {
    everywhere(|crun| {
        let crun = impatient(&crun);
        let expected = format!("{UNIT} `UNIT`: no answer within 0.5 s");
        assert_eq!(error_when(&crun, |_, _| ()), expected);
        assert_eq!(error_when(&crun, |talk, call| talk.reply(call, &[JOB])), expected);
    });
}

#[test]
fn one_that_lets_nobody_in_is_not_waited_for_without_end() {
    everywhere(|crun| {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("bus");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let crun =
            impatient(&crun).env("DBUS_SYSTEM_BUS_ADDRESS", &format!("unix:path={}", socket.display()));
        let output = crun.run(&Bundle::new());
        assert!(output.stderr.contains("no answer within 0.5 s"), "{output}");
    });
}

#[test]
fn one_that_goes_away_is_an_error() {
    everywhere(|crun| {
        let said = error_when(&crun, |talk, _| talk.close());
        assert_eq!(said, format!("{UNIT} `UNIT`: the connection was closed by the other side"));
    });
}

#[test]
fn one_that_talks_nonsense_is_an_error() {
    everywhere(|crun| {
        let said = error_when(&crun, |talk, _| talk.say(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        assert!(said.starts_with(&format!("{UNIT} `UNIT`: the other side does not speak D-Bus")), "{said}");
    });
}

#[test]
fn where_there_is_no_bus_it_is_named() {
    everywhere(|crun| {
        let output = crun.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus").run(&Bundle::new());
        let expected = "cannot connect to systemd: `/nonexistent/bus`: No such file or directory\n";
        assert_eq!(output.stderr, expected);
    });
}

#[test]
fn what_systemd_does_not_know_is_left_out_and_remembered() {
    everywhere(|crun| {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&calls);
        let _ = error_when(&crun, move |talk, call| {
            let mut calls = heard.lock().unwrap();
            calls.push(call.text.clone());
            match ["TasksAccounting", "CPUAccounting"].into_iter().find(|name| call.text.contains(name)) {
                Some(name) => {
                    let words = format!("Cannot set property {name}, or unknown property.");
                    talk.refuse(call, "org.freedesktop.DBus.Error.PropertyReadOnly", &words);
                }
                None => talk.refuse(call, "org.freedesktop.DBus.Error.Failed", "enough"),
            }
        });
        let cache = crun.state_dir().join(".cache/systemd-missing-properties");
        let mut names: Vec<_> =
            fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["CPUAccounting", "TasksAccounting"]);
        // Three for the first container, and one for each of the next two.
        assert_eq!(calls.lock().unwrap().len(), 5);
    });
}

#[test]
fn a_property_that_was_asked_for_is_not_left_out() {
    everywhere(|crun| {
        let peer = Peer::new(|talk| {
            while let Some(call) = talk.hear() {
                let words = "Cannot set property FooBar, or unknown property.";
                talk.refuse(&call, "org.freedesktop.DBus.Error.PropertyReadOnly", words);
            }
        });
        let crun = crun.env("DBUS_SYSTEM_BUS_ADDRESS", &peer.address());
        let bundle = Bundle::new().set("/annotations/org.systemd.property.FooBar", json!("true"));
        let output = crun.run(&bundle);
        assert!(output.stderr.ends_with("it does not know the property `FooBar`\n"), "{output}");
        assert!(!crun.state_dir().join(".cache").exists());
    });
}

#[test]
fn an_annotation_that_is_no_value_is_named_with_the_position() {
    everywhere(|crun| {
        let bundle = Bundle::new().set("/annotations/org.systemd.property.CollectMode", json!("['a', 1]"));
        let output = crun.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent").run(&bundle);
        let expected = "annotations.org.systemd.property.CollectMode: invalid value `['a', 1]`: a value of another \
                        type than those before it at position 7\n";
        assert_eq!(output.stderr, expected);
    });
}

/// The remains of a failed unit are in the way of the next of that name.
#[test]
fn a_failed_unit_of_the_same_name_is_forgotten_once() {
    everywhere(|crun| {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let calls = Arc::clone(&heard);
        let peer = Peer::new(move |talk| {
            while let Some(call) = talk.hear() {
                let name = ["StartTransientUnit", "ResetFailedUnit", "StopUnit"]
                    .into_iter()
                    .find(|name| call.is(name));
                calls.lock().unwrap().push(name.unwrap_or("?"));
                match name {
                    Some("ResetFailedUnit") => talk.reply(&call, &[]),
                    _ => talk.refuse(&call, "org.freedesktop.systemd1.UnitExists", "Unit is there."),
                }
            }
        });
        let output = crun.env("DBUS_SYSTEM_BUS_ADDRESS", &peer.address()).run(&Bundle::new());
        assert!(output.stderr.ends_with("Unit is there.\n"), "{output}");
        // It is somebody else's, and not to be stopped.
        let expected = ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"];
        assert_eq!(*heard.lock().unwrap(), expected);
    });
}

/// What a later command needs to find the unit is written before systemd is asked for it.
#[test]
fn a_runtime_that_is_killed_while_it_waits_leaves_a_container_that_can_be_deleted() {
    let crun = kit::runtime!().with("--systemd-cgroup");
    let asked = Arc::new(Mutex::new(None));
    let stopped = Arc::new(Mutex::new(Vec::new()));
    let (asks, stops) = (Arc::clone(&asked), Arc::clone(&stopped));
    let peer = Peer::new(move |talk| {
        while let Some(call) = talk.hear() {
            if call.is("StartTransientUnit") {
                *asks.lock().unwrap() = Some(unit_of(&call));
            } else {
                stops.lock().unwrap().push(call.text.clone());
                talk.refuse(&call, "org.freedesktop.systemd1.NoSuchUnit", "not loaded");
            }
        }
    });
    let crun = crun.env("CRUN_SYSTEMD_TIMEOUT", "60").env("DBUS_SYSTEM_BUS_ADDRESS", &peer.address());
    let bundle = Bundle::new();
    let container = crun.container(&bundle);
    let args = container.args(["run", "--bundle", "BUNDLE", "ID"]);
    let mut running = crun.spawn(crun.command(args));
    let unit = wait_for("the call", || asked.lock().unwrap().clone());
    let status: PathBuf = crun.state_dir().join(container.id()).join("status");
    let status: Value = serde_json::from_slice(&fs::read(status).unwrap()).unwrap();
    assert_eq!((&status["scope"], &status["systemd-cgroup"]), (&json!(unit), &json!(true)));
    assert!(running.kill());
    let deleted = container.cmd(["delete", "--force", "ID"]);
    assert_eq!(deleted.code, 0, "{deleted}");
    assert!(stopped.lock().unwrap().iter().any(|call| call.contains("StopUnit") && call.contains(&unit)));
    container.deleted();
}
