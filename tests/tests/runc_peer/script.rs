//! Reads `invocations.txt`.

use kit::bundle::Bundle;
use serde_json::Value;

/// How alike the answers have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alike {
    /// They are not compared.
    Unasked,
    /// Exit status, shape of the output, and error.
    Everything,
    /// The exit status alone.
    Code,
    /// They have nothing in common.
    Nothing,
}

/// Something that happens in a scene.
#[derive(Debug)]
pub(crate) enum Step {
    Ask { args: Vec<String>, alike: Alike },
    File { name: String, text: String },
    Remove { name: String },
    Wait { id: String, status: String },
}

impl Step {
    /// The invocation, if answers to it are compared.
    pub(crate) fn compared(&self) -> Option<&[String]> {
        match self {
            Self::Ask { args, alike } if *alike != Alike::Unasked => Some(args),
            _ => None,
        }
    }
}

/// What happens with one bundle.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) name: String,
    changes: Vec<String>,
    pub(crate) steps: Vec<Step>,
}

impl Scene {
    pub(crate) fn changed(&self, bundle: Bundle) -> Bundle {
        self.changes.iter().fold(bundle, |bundle, change| match change.split_once('=') {
            Some((pointer, value)) => {
                let value: Value =
                    serde_json::from_str(value).unwrap_or_else(|error| panic!("{change}: {error}"));
                bundle.set(pointer, value)
            }
            None => bundle.unset(change.trim_start_matches('-')),
        })
    }
}

/// All scenes, in their order.
pub(crate) fn read(text: &str) -> Vec<Scene> {
    let mut scenes: Vec<Scene> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        if kind == "scene" {
            let mut words = rest.split(' ').map(str::to_owned);
            let name = words.next().unwrap();
            scenes.push(Scene { name, changes: words.collect(), steps: Vec::new() });
        } else {
            scenes.last_mut().expect("a scene").steps.push(step(kind, rest));
        }
    }
    scenes
}

fn step(kind: &str, rest: &str) -> Step {
    let pair = || rest.split_once(' ').map(|(one, other)| (one.to_owned(), other.to_owned())).unwrap();
    let ask = |alike| {
        let (args, reason) = rest.split_once(" // ").unwrap_or((rest, ""));
        let needs_reason = matches!(alike, Alike::Code | Alike::Nothing);
        assert_eq!(
            reason.is_empty(),
            !needs_reason,
            "a reason for what differs, and for nothing else: {rest}"
        );
        Step::Ask { args: words(args), alike }
    };
    match kind {
        "-" => ask(Alike::Unasked),
        "=" => ask(Alike::Everything),
        "w" => ask(Alike::Code),
        "c" => ask(Alike::Nothing),
        "rm" => Step::Remove { name: rest.to_owned() },
        "file" => {
            let (name, text) = pair();
            Step::File { name, text }
        }
        "wait" => {
            let (id, status) = pair();
            Step::Wait { id, status }
        }
        _ => panic!("what is `{kind}`?"),
    }
}

/// The words of a command line; those in single quotes may hold blanks, or nothing.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (word, behind) = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'').expect("a closing quote"),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = behind.trim_start();
    }
    words
}
