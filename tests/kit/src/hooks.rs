//! Hooks for bundles: shell scripts, of the host or of the image, that write to a log both can reach.

#![allow(clippy::unwrap_used, reason = "a failure of the kit is a failure of the test")]

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::crun::Crun;

/// The kinds, in the order in which they are run.
pub const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Makes a directory `log` beside the root filesystem, which is `/log` inside.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn log(bundle: Bundle) -> Bundle {
    let dir = bundle.dir().join("log");
    fs::create_dir_all(&dir).unwrap();
    bundle.mount("/log", "bind", dir.to_str().unwrap(), ["bind", "rw"])
}

/// Adds a hook behind those of its kind.
///
/// # Panics
/// When that is no list.
#[must_use]
pub fn add(bundle: Bundle, kind: &str, hook: Value) -> Bundle {
    bundle.edit(|config| match config["hooks"][kind].as_array_mut() {
        Some(hooks) => hooks.push(hook),
        None => config["hooks"][kind] = json!([hook]),
    })
}

fn script(kind: &str, log: &Path, bundle: &Path, script: &str) -> Value {
    let env = [
        PATH.to_owned(),
        format!("KIND={kind}"),
        format!("LOG={}", log.display()),
        format!("BUNDLE={}", bundle.display()),
    ];
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": env})
}

/// A script of the host's shell, with its kind in `$KIND`, the path of the log in `$LOG` and that of the bundle in
/// `$BUNDLE`.
#[must_use]
pub fn outside(bundle: &Bundle, kind: &str, text: &str) -> Value {
    script(kind, &bundle.dir().join("log/log"), bundle.dir(), text)
}

/// A script of the image's shell.
#[must_use]
pub fn inside(kind: &str, text: &str) -> Value {
    script(kind, Path::new("/log/log"), Path::new("/no/bundle/here"), text)
}

/// A bundle in which every kind of hook runs this script, with its kind in `$KIND` and the log in `$LOG`.
#[must_use]
pub fn with_all(bundle: Bundle, script: &str) -> Bundle {
    KINDS.iter().fold(log(bundle), |bundle, kind| {
        let hook =
            if *kind == "startContainer" { inside(kind, script) } else { outside(&bundle, kind, script) };
        add(bundle, kind, hook)
    })
}

/// The lines of the log.
#[must_use]
pub fn logged(bundle: &Bundle) -> Vec<String> {
    let text = fs::read_to_string(bundle.dir().join("log/log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Creates, starts and deletes a container, or runs it.
///
/// # Panics
/// When any of that fails, or the program does not say `payload`.
pub fn live(crun: &Crun, bundle: &Bundle, by_run: bool) {
    if by_run {
        assert_eq!(crun.run(bundle).ok(), "payload\n");
        return;
    }
    let container = crun.create(bundle);
    container.start();
    container.wait();
    assert_eq!(container.stdout(), "payload\n");
    container.delete();
}
