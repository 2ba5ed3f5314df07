//! `cargo xtask completions`: what makes bash, zsh and fish complete commands, options, their values, and the containers
//! there are; written from the tables that the program itself goes by.

mod bash;
mod fish;
mod zsh;

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use cli::table::{COMMON, Command, GLOBAL, Opt};

use crate::sh;

/// Signals that a container may be sent, by the names that `kill` takes.
const SIGNALS: &[&str] = &[
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Writes them below the given directory, under the names by which the shells look for them.
pub(crate) fn run(arguments: Vec<OsString>) -> Result<()> {
    let dir = sh::destination(arguments, "completions")?;
    for (name, text) in
        [("bash/crun", bash::script()), ("zsh/_crun", zsh::script()), ("fish/crun.fish", fish::script())]
    {
        let path = dir.join(name);
        let parent = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

/// The options that may stand where the command is `command`, or before it.
fn options(command: Option<&'static Command>) -> impl Iterator<Item = &'static Opt> {
    command.map_or(GLOBAL, |command| command.options).iter().chain(&COMMON)
}

/// Whether the option may be given more than once, which its explanation says.
fn is_repeatable(option: &Opt) -> bool {
    option.help.contains("may be repeated")
}

#[cfg(test)]
mod tests;
