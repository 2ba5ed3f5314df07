//! A container from an image, as an engine makes it: an OCI image layout, its layers unpacked, an overlay of them for the
//! root filesystem, the configuration that the image's own asks for.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::Command;

use kit::bundle::Bundle;
use kit::crun::{Crun, skipped};
use kit::runtime_on_v2;
use serde_json::Value;

fn umoci(args: &[&str]) {
    let output = Command::new("umoci").args(args).output().unwrap();
    assert!(output.status.success(), "umoci {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An image of two layers below `dir`: a busybox, and a directory with a file over it.
fn make_image(dir: &Path) -> String {
    let layout = dir.join("layout").display().to_string();
    let image = format!("{layout}:v1");
    umoci(&["init", "--layout", &layout]);
    umoci(&["new", "--image", &image]);
    let busybox = kit::rootfs::busybox_rootfs().unwrap();
    umoci(&["insert", "--image", &image, busybox.to_str().unwrap(), "/"]);
    let second = dir.join("second");
    fs::create_dir(&second).unwrap();
    fs::write(second.join("greeting"), "from the second layer\n").unwrap();
    umoci(&["insert", "--image", &image, second.to_str().unwrap(), "/srv"]);
    let process = ["--config.cmd", "sh", "--config.env", "WHO=image", "--config.workingdir", "/work/made"];
    umoci(&[&["config", "--image", &image, "--config.user", "12:34"], process.as_slice()].concat());
    image
}

/// Unpacks the image's layers, each into a directory of its own, and mounts an overlay of them in the view.
fn overlay_of(crun: &Crun, dir: &Path, image: &str) -> std::path::PathBuf {
    let bundle = dir.join("unpacked");
    umoci(&["unpack", "--image", image, bundle.to_str().unwrap()]);
    // The newest layer lies on top; an engine keeps them apart.
    let (lower, top, merged) = (bundle.join("rootfs"), dir.join("top"), dir.join("merged"));
    for path in [&top, &merged] {
        fs::create_dir(path).unwrap();
    }
    fs::rename(lower.join("srv"), top.join("srv")).unwrap();
    let script = format!(
        "mount -t tmpfs tmpfs {0}; mkdir {0}/upper {0}/work {0}/merged
         mount -t overlay overlay -o lowerdir={1}:{2},upperdir={0}/upper,workdir={0}/work {0}/merged",
        merged.display(),
        top.display(),
        lower.display(),
    );
    assert!(crun.view().unwrap().command("sh").args(["-ec", &script]).status().unwrap().success());
    merged.join("merged")
}

#[test]
fn an_image_runs_over_an_overlay_of_its_layers_as_its_configuration_says() {
    let crun = runtime_on_v2!();
    if Command::new("umoci").arg("--version").output().is_err() {
        return skipped("umoci is not installed");
    }
    let dir = tempfile::tempdir().unwrap();
    let image = make_image(dir.path());
    let rootfs = overlay_of(&crun, dir.path(), &image);
    let text = fs::read_to_string(dir.path().join("unpacked/config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["process"]["terminal"] = Value::Bool(false);
    config["root"]["path"] = rootfs.to_str().unwrap().into();
    let bundle = Bundle::over(&rootfs).edit(|own| *own = config).sh(
        "cat /srv/greeting; echo $WHO; pwd; id -u; id -g; test -c /dev/null && echo devices; ls /bin | wc -l",
    );
    let said = crun.run(&bundle).ok();
    let (head, commands) = said.trim().rsplit_once('\n').unwrap();
    assert_eq!(head, "from the second layer\nimage\n/work/made\n12\n34\ndevices");
    assert!(commands.parse::<u32>().unwrap() > 100, "{said}");
    // What the start has made went to the upper layer.
    let made = format!("test -d {}/work/made", rootfs.parent().unwrap().join("upper").display());
    assert!(crun.view().unwrap().command("sh").args(["-c", &made]).status().unwrap().success());
    assert!(!dir.path().join("unpacked/rootfs/work").exists());
}
