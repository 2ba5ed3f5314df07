//! `cargo xtask order`: writes down which functions the commands run that engines call for every container, in the order
//! in which they are first run, for the linker to put side by side (`crates/crun/build.rs`).
//!
//! The kernel maps a program's code in pieces of 64 KiB, wherever one byte of a piece is run. With what a start needs strewn over
//! all of the binary, all of the binary becomes resident, and each piece costs a page fault. What is written is a linker
//! script with a line for each section of a function; hashes that change with each build are wildcards, so that it stays
//! good while the code moves. A line that matches nothing does nothing, and a function without a line is only where it
//! would be anyhow: it needs to be written anew only when much has changed.

mod map;
mod step;

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use kit::view::View;
use serde_json::{Value, json};

use crate::demo::{Place, make_bundle};
use crate::order::map::Map;
use crate::{build, sh};

/// The linker script, from the root of the checkout.
const SCRIPT: &str = "crates/crun/start.ld";

const HEAD: &str = "\
/*
 * The functions that a start runs, in the order in which they are first run, so that they lie side by side.
 * Written by `cargo xtask order`; used by build.rs.
 */
SECTIONS {
  .text.start : {
";
const TAIL: &str = "  }\n}\nINSERT BEFORE .text;\n";

/// Builds the binary with a map of it, runs the commands step by step, and writes the script.
pub(crate) fn run(arguments: Vec<OsString>) -> Result<()> {
    ensure!(arguments.is_empty(), "order takes no arguments");
    ensure!(kit::rootfs::is_root(), "containers are run: this must be root");
    let place = Place::new("order")?;
    let map = place.0.join("map");
    let runtime = build::with_map(&map)?;
    let map = Map::read(&fs::read_to_string(&map)?);
    make_bundles(&runtime, &place.0)?;
    let view = View::pure_v2()?;
    let mut lines = Lines::default();
    for arguments in commands(&place.0) {
        lines.add(&map, step::addresses(&runtime, view.command(&runtime).args(&arguments))?);
        println!("{:>5} functions after `crun {}`", lines.order.len(), arguments.join(" "));
    }
    drop(view);
    // With whatever cgroups the machine has.
    lines.add(&map, step::addresses(&runtime, Command::new(&runtime).args(&commands(&place.0)[0]))?);
    let script = sh::checkout().join(SCRIPT);
    fs::write(&script, lines.script()?).with_context(|| format!("cannot write {}", script.display()))?;
    println!("{} functions are in {}", lines.order.len(), script.display());
    Ok(())
}

/// The lines of the script, each once.
#[derive(Default)]
struct Lines {
    known: HashSet<String>,
    order: Vec<String>,
}

impl Lines {
    fn add(&mut self, map: &Map, addresses: Vec<u64>) {
        for line in addresses.into_iter().filter_map(|address| map.pattern_at(address)) {
            if self.known.insert(line.clone()) {
                self.order.push(line);
            }
        }
    }

    fn script(&self) -> Result<String> {
        let mut text = HEAD.to_owned();
        for line in &self.order {
            writeln!(text, "    {line}")?;
        }
        text.push_str(TAIL);
        Ok(text)
    }
}

/// A bundle whose program ends at once, and a configuration for one that is there for the other commands.
fn make_bundles(runtime: &Path, place: &Path) -> Result<()> {
    let root = kit::rootfs::busybox_rootfs()?;
    make_bundle(runtime, place, &root, &json!(["true"]))?;
    let mut config: Value = serde_json::from_slice(&fs::read(place.join("config.json"))?)?;
    let process = json!({ "cwd": "/", "args": ["true"], "user": { "uid": 0, "gid": 0 } });
    fs::write(place.join("process.json"), process.to_string())?;
    config["process"]["args"] = json!(["sleep", "600"]);
    as_engines_do(&mut config, place)?;
    Ok(fs::write(place.join("engine.json"), config.to_string())?)
}

/// What engines add to every container.
fn as_engines_do(config: &mut Value, place: &Path) -> Result<()> {
    config["process"]["oomScoreAdj"] = json!(0);
    config["annotations"] = json!({ "io.container.manager": "libpod" });
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["keyctl", "reboot"], "action": "SCMP_ACT_ERRNO" },
                     { "names": ["personality"], "action": "SCMP_ACT_ERRNO",
                       "args": [{ "index": 0, "value": 8, "op": "SCMP_CMP_EQ" }] }]
    });
    fs::write(place.join("hosts"), "")?;
    let mounts = config["mounts"].as_array_mut().context("no mounts in the configuration")?;
    mounts.push(json!({ "destination": "/etc/hosts", "type": "bind", "source": place.join("hosts"),
                        "options": ["bind", "rprivate", "ro"] }));
    mounts.push(json!({ "destination": "/run", "type": "tmpfs", "source": "tmpfs",
                        "options": ["rw", "nosuid", "nodev", "mode=755", "tmpcopyup"] }));
    Ok(())
}

/// The commands, each where those before it have been done.
fn commands(place: &Path) -> Vec<Vec<String>> {
    let place = place.display();
    let texts = [
        format!("run --bundle {place} order-run"),
        format!("create --bundle {place} --config {place}/engine.json --pid-file {place}/pid order"),
        "start order".to_owned(),
        "exec order true".to_owned(),
        format!("exec --process {place}/process.json --detach --pid-file {place}/pid order"),
        "state order".to_owned(),
        "kill order KILL".to_owned(),
        "delete --force order".to_owned(),
    ];
    let words = |text: String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    texts.map(|text| words(format!("--root {place}/state {text}"))).into()
}
