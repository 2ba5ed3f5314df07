//! `cargo xtask demo`: from a clone to a running container with one command.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::build::{self, LINK};
use crate::sh;

/// What the container says about itself when it has a shell.
const SCRIPT: &str = r#"
echo "I am pid $$ of a container, user $(id -u), on host $(hostname)."
echo; echo "All processes I see:"; ps -o pid,ppid,comm
echo; echo "My network devices: $(ls /sys/class/net | tr '\n' ' ')"
echo; echo "My mounts:"; awk '{ printf "  %-24s %-8s %s\n", $2, $3, substr($4, 1, 60) }' /proc/self/mounts
echo; echo "My cgroup, as I see it:"; sed 's/^/  /' /proc/self/cgroup
"#;

/// Builds, makes a bundle and runs it.
pub(crate) fn run(arguments: Vec<OsString>) -> Result<()> {
    ensure!(arguments.is_empty(), "demo takes no arguments");
    let runtime = build::release("crun", "crun", LINK)?;
    let place = Place::new("demo")?;
    let (root, args) = root_and_args(&place.0)?;
    make_bundle(&runtime, &place.0, &root, &args)?;
    let id = format!("demo-{}", std::process::id());
    println!("\nThe runtime is {}; {} follows.\n", runtime.display(), id);
    let mut command = Command::new(&runtime);
    command.arg("--root").arg(place.0.join("state")).args(["run", "--bundle"]).arg(&place.0).arg(&id);
    sh::run(&mut command)?;
    println!("\nThe container is gone, and so is everything that was made for it.");
    Ok(())
}

/// A directory that is removed with the value.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new(purpose: &str) -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("crun-{purpose}-{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("xtask: cannot remove {}: {error}", self.0.display());
        }
    }
}

/// Busybox if it can be had, else the one program this project has of its own.
fn root_and_args(place: &Path) -> Result<(PathBuf, Value)> {
    match kit::rootfs::busybox_rootfs() {
        Ok(root) => Ok((root, json!(["sh", "-c", SCRIPT]))),
        Err(error) => {
            println!("No busybox here ({error:#}): the project's own test program will do.");
            let root = place.join("rootfs");
            fs::create_dir(&root)?;
            fs::copy(build::release("crun-kit", "whereami", LINK)?, root.join("whereami"))?;
            fs::set_permissions(root.join("whereami"), fs::Permissions::from_mode(0o755))?;
            // A read-only root has to have the directories that are mounted on.
            for dir in ["proc", "dev", "sys"] {
                fs::create_dir(root.join(dir))?;
            }
            Ok((root, json!(["/whereami"])))
        }
    }
}

/// The runtime's own `spec`, with the program and the root filesystem put in.
pub(crate) fn make_bundle(runtime: &Path, place: &Path, root: &Path, args: &Value) -> Result<()> {
    // An ordinary user's container has a user namespace.
    let rootless = (!kit::rootfs::is_root()).then_some("--rootless");
    sh::run(Command::new(runtime).arg("spec").args(rootless).current_dir(place))?;
    let file = place.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file)?)?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = args.clone();
    config["root"]["path"] = json!(root);
    fs::write(file, serde_json::to_vec_pretty(&config)?)?;
    Ok(())
}
