//! The pages as those who read them see them: man, groff, mandoc. What is not installed is left out, with a word.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::io::Write;
use std::process::{Command, Stdio};

use super::*;

/// What a program makes of a page, and what it complains of; `None` where it is not installed.
fn made(program: &str, args: &[&str], page: &str) -> Option<(String, String)> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        eprintln!("skipped: {program} is not installed");
        return None;
    };
    // The pages are smaller than a pipe.
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let [made, said] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    Some((made, said))
}

#[test]
fn groff_has_no_warning() {
    for (name, page) in pages("2026-01-01") {
        let Some((made, said)) = made("groff", &["-man", "-ww", "-z", "-Tutf8"], &page) else { return };
        assert_eq!((made.as_str(), said.as_str()), ("", ""), "{name}");
    }
}

#[test]
fn mandoc_finds_nothing_to_mend() {
    for (name, page) in pages("2026-01-01") {
        let Some((said, error)) = made("mandoc", &["-T", "lint", "-W", "style"], &page) else { return };
        assert_eq!((said.as_str(), error.as_str()), ("", ""), "{name}");
    }
}

#[test]
fn a_page_shows_what_the_table_says() {
    let all = pages("2026-01-01");
    let page = &all.iter().find(|(name, _)| name == "crun-exec.1").unwrap().1;
    let Some((shown, _)) = made("groff", &["-man", "-Tascii", "-P-cbou"], page) else { return };
    for expected in [
        "CRUN-EXEC(1)",
        "crun-exec - exec a command in a running container",
        "crun [GLOBAL OPTION...] exec [OPTION...] CONTAINER cmd",
        "-e, --env=ENV",
        "-t, --tty[=TTY]",
        "crun exec --tty --user 1000:1000 --env TERM=xterm web sh",
        "crun(1), crun-ps(1), crun-kill(1)",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
}

#[test]
fn every_text_is_of_a_command_and_of_options_that_there_are() {
    let options = |all: &[Opt]| all.iter().map(|option| option.long).collect::<Vec<_>>();
    for text in text::COMMANDS {
        let command = cli::table::command(text.name).unwrap_or_else(|| panic!("{}", text.name));
        for (name, _) in text.options {
            assert!(options(command.options).contains(name), "{} --{name}", text.name);
        }
        assert!(text.see_also.iter().all(|name| cli::table::command(name).is_some()), "{}", text.name);
    }
    assert!(text::GLOBAL.iter().all(|(name, _)| options(GLOBAL).contains(name)));
}
