//! `crun explain`: what a code of an error means, at length.

use libcrun::{Code, Error, Object, Result, explain};

use super::{Context, print};

pub(crate) fn explain(context: &Context<'_>) -> Result<i32> {
    match context.positional(0) {
        None => print(&list()),
        Some(name) => match Code::from_name(name) {
            Some(code) => print(&format!("{}\n\n{}\n", code.name(), code.explanation())),
            None => Err(unknown(name)),
        },
    }
}

/// All codes, a line each.
fn list() -> String {
    let width = Code::ALL.iter().map(|code| code.name().len()).max().unwrap_or_default();
    let line = |code: &Code| format!("{:width$}  {}\n", code.name(), code.summary());
    Code::ALL.iter().map(line).collect()
}

fn unknown(name: &str) -> Error {
    let meant = explain::similar(name, Code::ALL.iter().map(|code| code.name()));
    let hint = match meant.as_slice() {
        [] => "`crun explain` lists all codes".to_owned(),
        meant => format!("there is `{}`", meant.join("`, `")),
    };
    Error::new(Code::InvalidOption, format!("unknown error code `{name}`"))
        .about(Object::Option(name.to_owned()))
        .with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_a_line() {
        let text = list();
        assert_eq!(text.lines().count(), Code::ALL.len());
        assert!(text.starts_with("container-not-found       There is no container of that name"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 117), "{text}");
    }

    #[test]
    fn a_code_that_nobody_knows_leads_to_one_that_is_like_it() {
        assert_eq!(unknown("path-deny").hint(), Some("there is `path-denied`"));
        assert_eq!(unknown("qqqqqqq").hint(), Some("`crun explain` lists all codes"));
    }

    /// `docs/errors.md` is written from the same texts: `CRUN_GOLDEN=accept cargo test -p crun` writes it anew.
    #[test]
    fn the_documentation_says_what_the_command_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");
        let mut text = include_str!("explain.md").to_owned();
        for code in Code::ALL {
            let (name, summary) = (code.name(), code.summary());
            text += &format!("| [`{name}`](#{name}) | {summary} |\n");
        }
        for code in Code::ALL {
            text += &format!("\n## {}\n{}\n", code.name(), code.explanation());
        }
        if std::env::var_os("CRUN_GOLDEN").is_some_and(|value| value == "accept") {
            std::fs::write(path, &text).unwrap();
        }
        let there = std::fs::read_to_string(path).unwrap_or_default();
        assert!(there == text, "docs/errors.md is not of today: CRUN_GOLDEN=accept cargo test -p crun docum");
    }
}
