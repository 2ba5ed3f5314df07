//! runc and this binary under its name, asked the same: the invocations are in `runc_peer/invocations.txt`, with the
//! differences that are accepted and their reasons. Both run in a private place with pure cgroup v2, in the root filesystem
//! that has Debian's runc, one after the other over the same paths.

#![cfg(test)]
#![forbid(unsafe_code)]

#[path = "runc_peer/script.rs"]
mod script;
#[path = "runc_peer/shape.rs"]
mod shape;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use kit::bundle::Bundle;
use kit::crun::{Crun, skipped, wait_for};
use kit::rootfs::peers_root;
use kit::view::View;
use script::{Alike, Scene, Step};
use shape::Answer;

const INVOCATIONS: &str = include_str!("runc_peer/invocations.txt");
/// Where this runtime appears next to runc.
const OURS: &str = "/tmp/ours/runc";
const THEIRS: &str = "/usr/sbin/runc";

/// Both runtimes over the same state.
struct Pair {
    theirs: Crun,
    ours: Crun,
    place: std::path::PathBuf,
}

fn pair() -> Result<Pair, String> {
    let root = peers_root().ok_or("there is no root filesystem with runc")?;
    if !root.join("usr/sbin/runc").exists() {
        return Err("there is no runc in the root filesystem of the others".to_owned());
    }
    let work = Crun::place();
    let view =
        View::builder().root(root).bind(work.path(), work.path()).bind(kit::crun::binary(), OURS).enter();
    let view = Arc::new(view.map_err(|error| format!("{error:#}"))?);
    let place = work.path().to_path_buf();
    Ok(Pair { theirs: Crun::in_view(&view, THEIRS, &work), ours: Crun::in_view(&view, OURS, &work), place })
}

#[test]
fn there_are_enough_invocations_of_every_command() {
    let scenes = script::read(INVOCATIONS);
    let compared: Vec<_> = scenes.iter().flat_map(|scene| &scene.steps).filter_map(Step::compared).collect();
    assert!(compared.len() >= 120, "{}", compared.len());
    for command in [
        "checkpoint",
        "create",
        "delete",
        "events",
        "exec",
        "features",
        "kill",
        "list",
        "pause",
        "ps",
        "restore",
        "resume",
        "run",
        "spec",
        "start",
        "state",
        "update",
    ] {
        assert!(compared.iter().any(|args| args.iter().any(|arg| arg == command)), "{command}");
    }
}

#[test]
fn answers_are_those_of_runc() {
    let pair = match pair() {
        Ok(pair) => pair,
        Err(reason) => return skipped(reason),
    };
    let mut differences = Vec::new();
    for scene in script::read(INVOCATIONS) {
        let theirs = play(&scene, &pair.theirs, &pair.place);
        let ours = play(&scene, &pair.ours, &pair.place);
        for ((step, theirs), ours) in scene.steps.iter().zip(&theirs).zip(&ours) {
            differences.extend(complaint(&scene, step, theirs.as_ref(), ours.as_ref()));
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// What is wrong with the answers to one invocation.
fn complaint(scene: &Scene, step: &Step, theirs: Option<&Answer>, ours: Option<&Answer>) -> Option<String> {
    let Step::Ask { alike, args } = step else { return None };
    if *alike == Alike::Unasked {
        return None;
    }
    let (theirs, ours) = theirs.zip(ours)?;
    let found = match (theirs.code == ours.code, shape::differences(theirs, ours)) {
        (false, _) => Alike::Nothing,
        (true, None) => Alike::Everything,
        (true, Some(_)) => Alike::Code,
    };
    let what = shape::differences(theirs, ours).unwrap_or_default();
    let shown = || format!("[{}] {args:?}: {found:?}, not {alike:?}\n{what}", scene.name);
    (found != *alike).then(shown)
}

/// The answers of one runtime to all of a scene.
fn play(scene: &Scene, runtime: &Crun, place: &Path) -> Vec<Option<Answer>> {
    let dir = place.join("bundle");
    // The same paths for both, for their errors to be the same.
    let bundle = scene.changed(Bundle::new_in(place));
    fs::rename(bundle.save(), &dir).unwrap();
    for (name, mode) in [("notexec", 0o644), ("garbage", 0o755)] {
        let path = dir.join("rootfs/bin").join(name);
        fs::write(&path, "garbage").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir_all(runtime.state_dir()).unwrap();
    let change = format!("cd {}; exec \"$@\"", dir.display());
    let inside = runtime.clone().through(["sh", "-c", &change, "sh"]);
    let answers = scene.steps.iter().map(|step| perform(step, &inside, &dir)).collect();
    for id in fs::read_dir(runtime.state_dir()).unwrap().flatten() {
        drop(runtime.cmd(["delete".as_ref(), "--force".as_ref(), id.file_name().as_os_str()]));
    }
    fs::remove_dir_all(runtime.state_dir()).unwrap();
    fs::remove_dir_all(&dir).unwrap();
    answers
}

fn perform(step: &Step, runtime: &Crun, dir: &Path) -> Option<Answer> {
    match step {
        Step::Ask { args, alike } => {
            let log = dir.join("log");
            let output = runtime.cmd(args);
            let logged = fs::read_to_string(&log).unwrap_or_default();
            drop(fs::remove_file(&log));
            assert!(*alike != Alike::Unasked || output.code == 0, "{output}");
            Some(Answer::new(&output, &logged, &[&runtime.state_dir(), dir, THEIRS.as_ref(), OURS.as_ref()]))
        }
        Step::File { name, text } => {
            fs::write(dir.join(name), text).unwrap();
            None
        }
        Step::Remove { name } => {
            fs::remove_file(dir.join(name)).unwrap();
            None
        }
        Step::Wait { id, status } => {
            wait_for("the status", || {
                let state = runtime.cmd(["state", id]).stdout;
                state.contains(&format!("\"status\": \"{status}\"")).then_some(())
            });
            None
        }
    }
}
