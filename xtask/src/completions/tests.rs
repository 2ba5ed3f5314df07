//! The completions in the shells they are for. A shell that is not installed is left out, with a word.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{bash, fish, zsh};

/// A directory with the scripts, and a `crun` that knows two containers, and a third one below another root.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let crun = "#!/bin/sh\necho web; echo db\n[ \"$1\" != --root ] || echo \"of-$(basename \"$2\")\"\n";
        fs::write(dir.path().join("crun"), crun).unwrap();
        fs::set_permissions(dir.path().join("crun"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(dir.path().join("some-dir")).unwrap();
        fs::write(dir.path().join("some-file"), "").unwrap();
        fs::write(dir.path().join("crun.bash"), bash::script()).unwrap();
        fs::write(dir.path().join("_crun"), zsh::script()).unwrap();
        fs::write(dir.path().join("crun.fish"), fish::script()).unwrap();
        Self(dir)
    }

    /// Runs a shell here; what it prints, a line each. `None` where the shell is not installed.
    fn shell(&self, program: &str, args: &[&str]) -> Option<Vec<String>> {
        let path = format!("{}:{}", self.0.path().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(program);
        command.args(args).current_dir(self.0.path()).env("PATH", path).env("HOME", self.0.path());
        let Ok(output) = command.stdin(Stdio::null()).output() else {
            eprintln!("skipped: {program} is not installed");
            return None;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{program} {args:?}: {} {said}", output.status);
        Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }

    /// What bash offers for the last of these words, as readline splits them.
    fn bash(&self, words: &[&str]) -> Option<Vec<String>> {
        let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
        let script = format!(
            "source ./crun.bash; compopt() {{ :; }}; COMP_WORDS=({}); COMP_CWORD={}; _crun; printf '%s\\n' \
             \"${{COMPREPLY[@]}}\"",
            quoted.join(" "),
            words.len() - 1
        );
        let mut offered = self.shell("bash", &["--norc", "-c", &script])?;
        offered.retain(|line| !line.is_empty());
        offered.sort();
        Some(offered)
    }

    /// What fish offers for the last word of the line, without what it says about it.
    fn fish(&self, line: &str) -> Option<Vec<String>> {
        let script = format!("source ./crun.fish; complete -C '{line}'");
        let offered = self.shell("fish", &["--no-config", "-c", &script])?;
        let mut offered: Vec<_> =
            offered.iter().map(|row| row.split('\t').next().unwrap_or_default().to_owned()).collect();
        offered.sort();
        Some(offered)
    }
}

/// What is typed, in words as readline splits them, and what is offered for the last: a part of it, or (with `=`) all.
const CASES: &[(&[&str], &str)] = &[
    (&["crun", "r"], "=resume run"),
    (&["crun", "--cg"], "=--cgroup-manager"),
    (&["crun", "--cgroup-manager", ""], "=cgroupfs disabled systemd"),
    (&["crun", "--log-level", "d"], "=debug"),
    (&["crun", "list", "--format", ""], "=json table"),
    (&["crun", "list", "-f", "j"], "=json"),
    (&["crun", "list", "--"], "=--format --help --quiet --usage"),
    (&["crun", "state", ""], "=db web"),
    (&["crun", "state", "w"], "=web"),
    (&["crun", "state", "web", ""], "="),
    (&["crun", "--root", "/x/here", "kill", "--all", ""], "=db of-here web"),
    (&["crun", "--debug", "kill", "web", "KI"], "=KILL"),
    (&["crun", "mounts", ""], "=add remove"),
    (&["crun", "mounts", "add", "w"], "=web"),
    (&["crun", "exec", "--env", "A=b", "w"], "=web"),
    (&["crun", "exec", "--ap"], "=--apparmor"),
    (&["crun", "exec", "web", "--ap"], "="),
    (&["crun", "help", "sp"], "=spec"),
    (&["crun", "features", ""], "="),
    (&["crun", "run", "-d", "--bundle", "some-"], "some-dir"),
    (&["crun", "run", "--pid-file", "some-"], "some-file"),
];

fn assert_offered(shell: &str, words: &[&str], offered: &[String], expected: &str) {
    let shown = offered.join(" ");
    match expected.strip_prefix('=') {
        Some(all) => assert_eq!(shown, all, "{shell} {words:?}"),
        None => assert!(shown.contains(expected), "{shell} {words:?}: {shown}"),
    }
}

#[test]
fn bash_offers_what_fits() {
    let place = Place::new();
    for (words, expected) in CASES {
        let Some(offered) = place.bash(words) else { return };
        assert_offered("bash", words, &offered, expected);
    }
}

#[test]
fn bash_knows_what_readline_does_to_an_equals_sign_and_letters_that_share_a_dash() {
    let place = Place::new();
    let cases: &[(&[&str], &str)] = &[
        (&["crun", "list", "--format", "=", "t"], "=table"),
        (&["crun", "list", "--format", "="], "=json table"),
        (&["crun", "list", "--format=t"], "=--format=table"),
        (&["crun", "exec", "--tty", "=", "f"], "=false"),
        (&["crun", "exec", "--tty", "w"], "=web"),
        (&["crun", "--root", "=", "/x/there", "state", "o"], "=of-there"),
        (&["crun", "--root=/x/there", "state", "o"], "=of-there"),
        (&["crun", "list", "-qf", "t"], "=table"),
        (&["crun", "exec", "-de", "A=b", "w"], "=web"),
        (&["crun", "exec", "-eA=b", "w"], "=web"),
        (&["crun", "state", "--", "w"], "=web"),
        (&["crun", "run", "--bundle", "some-"], "=some-dir"),
    ];
    for (words, expected) in cases {
        let Some(offered) = place.bash(words) else { return };
        assert_offered("bash", words, &offered, expected);
    }
}

#[test]
fn fish_offers_what_fits() {
    let place = Place::new();
    for (words, expected) in CASES {
        let Some(offered) = place.fish(&words.join(" ")) else { return };
        assert_offered("fish", words, &offered, expected);
    }
}

#[test]
fn zsh_completes_what_only_one_thing_fits() {
    let place = Place::new();
    let cases = [
        ("crun ev", "crun events "),
        ("crun --log-level d", "crun --log-level debug "),
        ("crun state w", "crun state web "),
        ("crun --root /x/here state o", "crun --root /x/here state of-here "),
        ("crun --root=/x/here state o", "crun --root=/x/here state of-here "),
        ("crun kill web KI", "crun kill web KILL "),
        ("crun list --form", "crun list --format="),
        ("crun list --format=j", "crun list --format=json "),
        ("crun list -f j", "crun list -f json "),
        ("crun mounts a", "crun mounts add "),
        ("crun help spe", "crun help spec "),
        ("crun exec -e A=b w", "crun exec -e A=b web "),
        ("crun exec --tty=f", "crun exec --tty=false "),
        ("crun exec web --app", "crun exec web --app"),
        ("crun run --bundle some-d", "crun run --bundle some-dir/"),
        ("crun features x", "crun features x"),
    ];
    let lines: Vec<_> = cases.iter().map(|(line, _)| *line).collect();
    let args = [&["-f", "-c", include_str!("drive.zsh"), "zsh"], lines.as_slice()].concat();
    if let Some(completed) = place.shell("zsh", &args) {
        assert_eq!(completed, cases.map(|(_, completed)| completed));
    }
}

#[test]
fn zsh_and_fish_find_no_fault_in_their_scripts() {
    let place = Place::new();
    place.shell("zsh", &["-f", "-n", "_crun"]);
    place.shell("fish", &["--no-config", "-n", "crun.fish"]);
}
