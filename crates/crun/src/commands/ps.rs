//! `ps`: the processes of a container, by their numbers or as `ps(1)` shows them.

use std::collections::BTreeSet;
use std::process::Command;

use libcrun::{Code, Error, Result};

use super::{Context, print};
use crate::output;

/// With options behind the container, they are those of `ps(1)`, as for runc.
pub(super) fn ps(context: &Context<'_>) -> Result<i32> {
    let wants_json = context.wants_json("table")?;
    let pids: Vec<i32> = libcrun::processes(&context.root(), &context.id()?)?
        .into_iter()
        .map(|pid| pid.as_raw_nonzero().get())
        .collect();
    let options = &context.invocation.positionals[1..];
    match (wants_json, options) {
        (true, _) => print(&output::pids_json(&pids)),
        (false, []) => print(&output::pids_table(&pids)),
        (false, options) => print(&filter(&run(options)?, &pids.into_iter().collect())?),
    }
}

/// What `ps(1)` prints.
fn run(options: &[String]) -> Result<String> {
    let output = Command::new("ps")
        .args(options)
        .output()
        .map_err(|error| Error::new(Code::System, format!("run `ps`: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::new(Code::System, format!("`ps`: {}: {}", output.status, said.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The lines whose column `PID` is one of these, below the heading.
fn filter(listing: &str, pids: &BTreeSet<i32>) -> Result<String> {
    let mut lines = listing.lines();
    let heading = lines.next().unwrap_or_default();
    let column = heading
        .split_whitespace()
        .position(|name| name == "PID")
        .ok_or_else(|| Error::new(Code::System, "couldn't find PID field in ps output"))?;
    let is_one = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|text| text.parse().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    Ok(std::iter::once(heading).chain(lines.filter(is_one)).map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "\
UID          PID    PPID  C CMD
root           1       0  0 init
root         128       1  0 sh -c 180
root         180     128  0 sleep 100
";

    #[test]
    fn lines_are_chosen_by_their_pid_alone() {
        let chosen = filter(LISTING, &[180].into()).unwrap();
        assert_eq!(chosen, "UID          PID    PPID  C CMD\nroot         180     128  0 sleep 100\n");
        assert_eq!(filter(LISTING, &BTreeSet::new()).unwrap().lines().count(), 1);
    }

    #[test]
    fn without_a_column_of_pids_nothing_can_be_chosen() {
        let error = filter("COMMAND\nsh\n", &[1].into()).unwrap_err();
        assert_eq!(error.to_string(), "couldn't find PID field in ps output");
    }
}
