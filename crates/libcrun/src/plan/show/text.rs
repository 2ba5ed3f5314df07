//! A description for people.

use std::fmt::{Display, Formatter, Result};

use super::{Action, Description, DetailValue, Stage};

/// The widest a line gets that can be broken.
const WIDTH: usize = 110;
/// Where what is done starts, and where a part of it does.
const COLUMN: usize = 16;
const VALUES: usize = COLUMN + 14;

impl Display for Description {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "{} from {}", self.id, self.bundle)?;
        for actions in self.actions.chunk_by(|a, b| a.stage == b.stage) {
            let stage = actions.first().map_or(Stage::Prepare, |first| first.stage);
            writeln!(f, "\n{}", title(stage))?;
            actions.iter().try_for_each(|action| write(f, action))?;
        }
        Ok(())
    }
}

fn title(stage: Stage) -> &'static str {
    match stage {
        Stage::Prepare => "PREPARE: by the runtime, before there is a process",
        Stage::Clone => "CLONE",
        Stage::Outside => "OUTSIDE: by the runtime, while the process sets itself up",
        Stage::Inside => "INSIDE: by the container's process, at the same time",
        Stage::Start => "START: when both are done",
        Stage::End => "END: when the container is gone",
    }
}

fn write(f: &mut Formatter<'_>, action: &Action) -> Result {
    writeln!(f, "  {:<width$}{}", action.subject, one_line(&action.text), width = COLUMN - 2)?;
    for detail in action.details.iter().filter(|detail| !detail.is_said) {
        let lines = match &detail.value {
            DetailValue::Text(value) => folded(value),
            DetailValue::Number(value) => vec![value.to_string()],
            // Each by itself where there are blanks in some.
            DetailValue::List(values) if values.iter().any(|value| value.contains(' ')) => {
                values.iter().flat_map(|value| folded(value)).collect()
            }
            DetailValue::List(values) => folded(&values.join(" ")),
        };
        write_lines(f, detail.name, &lines)?;
    }
    action.alternatives.iter().try_for_each(|other| write_lines(f, "or", &folded(other)))
}

fn write_lines(f: &mut Formatter<'_>, name: &str, lines: &[String]) -> Result {
    for (index, line) in lines.iter().enumerate() {
        let name = if index == 0 { name } else { "" };
        writeln!(f, "{:COLUMN$}{name:<width$}{line}", "", width = VALUES - COLUMN)?;
    }
    Ok(())
}

/// A text in lines.
fn folded(text: &str) -> Vec<String> {
    let text = one_line(text);
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if VALUES + line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A configuration may have anything in it: what would break a line, or speak to the terminal, is shown by its number.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter.is_control() {
            true => line.extend(letter.escape_default()),
            false => line.push(letter),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_folded() {
        assert_eq!(folded("ro nosuid"), ["ro nosuid"]);
        let many = folded(&["CAP_SYS_ADMIN"; 20].join(" "));
        assert!(many.len() > 1 && many.iter().all(|line| VALUES + line.len() <= WIDTH), "{many:?}");
        assert_eq!(many.join(" ").split(' ').count(), 20);
    }

    #[test]
    fn what_would_speak_to_the_terminal_is_shown_by_its_number() {
        assert_eq!(one_line("a\n\u{1b}[31mü"), "a\\n\\u{1b}[31mü");
    }
}
