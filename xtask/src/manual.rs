//! `cargo xtask man`: the manual pages `crun(1)` and `crun-COMMAND(1)`, written from the tables of the command line and the
//! longer texts in [`text`], which the program itself does not carry.

mod roff;
mod text;

use std::ffi::OsString;
use std::fs;

use anyhow::{Context, Result};
use cli::help;
use cli::table::{COMMANDS, COMMON, Command, GLOBAL, Opt};

use crate::sh;
use roff::Page;

/// Writes the pages into the given directory.
pub(crate) fn run(arguments: Vec<OsString>) -> Result<()> {
    let dir = sh::destination(arguments, "man")?;
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    for (name, text) in pages(&date()) {
        let path = dir.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

/// When the sources were last changed, so that the pages of one commit are always the same.
fn date() -> String {
    let mut git = std::process::Command::new("git");
    git.args(["log", "-1", "--format=%cs"]).current_dir(sh::checkout());
    sh::read(&mut git).unwrap_or_else(|_| "2026-01-01".to_owned())
}

/// Every page: the name of its file, and its text.
fn pages(date: &str) -> Vec<(String, String)> {
    let program = [("crun.1".to_owned(), program(date))];
    let commands = COMMANDS.iter().map(|of| (format!("crun-{}.1", of.name), command(of, date)));
    program.into_iter().chain(commands).collect()
}

fn program(date: &str) -> String {
    let mut page = Page::new("crun", "run OCI containers", date);
    page.section("SYNOPSIS");
    page.synopsis("crun", "[OPTION...] COMMAND [OPTION...] [ARGUMENT...]");
    page.section("DESCRIPTION");
    page.paragraphs(text::PROGRAM);
    page.section("OPTIONS");
    page.paragraphs(text::OPTIONS);
    append_options(&mut page, GLOBAL, text::GLOBAL);
    page.section("COMMANDS");
    for command in COMMANDS {
        page.term(&format!("**crun-{}**(1)", command.name), &[command.summary]);
    }
    for (title, entries) in text::SECTIONS {
        page.section(title);
        for (term, said) in *entries {
            match *term {
                "" => page.paragraphs(&[said]),
                term => page.term(term, &[said]),
            }
        }
    }
    page.section("SEE ALSO");
    let pages = COMMANDS.iter().map(|command| format!("crun-{}", command.name));
    page.see_also(&pages.collect::<Vec<_>>());
    page.finish()
}

fn command(command: &Command, date: &str) -> String {
    let name = format!("crun-{}", command.name);
    let longer = text::COMMANDS.iter().find(|text| text.name == command.name);
    let mut page = Page::new(&name, command.summary, date);
    page.section("SYNOPSIS");
    let arguments = command.arguments.trim_start_matches("[OPTION]... ");
    page.synopsis("crun", &format!("[GLOBAL OPTION...] {} [OPTION...] {arguments}", command.name));
    page.section("DESCRIPTION");
    page.paragraphs(longer.map_or(&[], |text| text.description));
    let notes: Vec<_> =
        command.notes.split("\n\n").filter(|text| !text.trim_start_matches('\n').starts_with(' ')).collect();
    page.paragraphs(&notes);
    if longer.is_none() && notes.iter().all(|text| text.trim().is_empty()) {
        page.paragraphs(&[&help::sentence(command.summary)]);
    }
    page.section("OPTIONS");
    append_options(&mut page, command.options, longer.map_or(&[], |text| text.options));
    let examples: Vec<_> = help::examples(command).collect();
    if !examples.is_empty() {
        page.section("EXAMPLES");
        page.lines(&examples);
    }
    page.section("SEE ALSO");
    let also = longer.map_or(&[][..], |text| text.see_also);
    let also: Vec<_> = also.iter().map(|name| format!("crun-{name}")).collect();
    page.see_also(&[&["crun".to_owned()], also.as_slice()].concat());
    page.finish()
}

fn append_options(page: &mut Page, options: &[Opt], longer: &[(&str, &str)]) {
    for option in options.iter().chain(&COMMON) {
        let value = match (option.value, option.is_value_optional) {
            (None, _) => String::new(),
            (Some(value), true) => format!("[=*{value}*]"),
            (Some(value), false) => format!("=*{value}*"),
        };
        let short = option.short.map_or(String::new(), |letter| format!("**-{letter}**, "));
        let said = longer.iter().find(|(name, _)| *name == option.long).map(|(_, said)| *said);
        let help = help::sentence(option.help);
        let said: Vec<_> = [help.as_str()].into_iter().chain(said).collect();
        page.term(&format!("{short}**--{}**{value}", option.long), &said);
    }
}

#[cfg(test)]
mod tests;
