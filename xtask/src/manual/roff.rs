//! A page in roff, with the macros of man(7).

use std::fmt::Write;

/// A page that is being written. Text may have `**bold**` and `*italic*` in it; backquotes make bold, too.
pub(super) struct Page(String);

impl Page {
    /// The beginning of the page `name`.
    pub(super) fn new(name: &str, summary: &str, date: &str) -> Self {
        let title = name.to_uppercase();
        let version = env!("CARGO_PKG_VERSION");
        let mut page =
            Self(".\\\" Written by cargo xtask man from the tables of the command line.\n".to_owned());
        let _ = writeln!(page.0, ".TH {} 1 {date} \"crun {version}\" \"User Commands\"", escaped(&title));
        page.section("NAME");
        let _ = writeln!(page.0, "{} \\- {}", escaped(name), escaped(summary));
        page
    }

    /// A heading.
    pub(super) fn section(&mut self, title: &str) {
        let _ = writeln!(self.0, ".SH {title}");
    }

    /// How the program is called: words in capitals stand for something.
    pub(super) fn synopsis(&mut self, program: &str, words: &str) {
        let _ = writeln!(self.0, ".B {}", escaped(program));
        let marked = words.split(' ').map(|word| {
            let bare = word.trim_matches(|letter: char| !letter.is_alphanumeric());
            let is_name = bare.starts_with(|letter: char| letter.is_uppercase());
            if is_name { word.replace(bare, &format!("*{bare}*")) } else { format!("**{word}**") }
        });
        let line = marked.collect::<Vec<_>>().join(" ");
        // No sentence ends there.
        self.0.push_str(&filled(line.trim_end()).replace("...]", "...]\\&"));
    }

    /// Text.
    pub(super) fn paragraphs(&mut self, texts: &[&str]) {
        for text in texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
            if !self.0.lines().last().is_some_and(|line| line.starts_with(".SH")) {
                self.0.push_str(".PP\n");
            }
            self.0.push_str(&filled(text));
        }
    }

    /// Something, and what is said about it.
    pub(super) fn term(&mut self, term: &str, said: &[&str]) {
        let _ = writeln!(self.0, ".TP\n{}", guarded(&formatted(term)));
        for (index, text) in said.iter().enumerate() {
            if index > 0 {
                self.0.push_str(".IP\n");
            }
            self.0.push_str(&filled(text));
        }
    }

    /// Lines that are shown as they are.
    pub(super) fn lines(&mut self, lines: &[&str]) {
        self.0.push_str(".nf\n");
        for line in lines {
            let _ = writeln!(self.0, "{}", guarded(&escaped(line)));
        }
        self.0.push_str(".fi\n");
    }

    /// Other pages of section 1.
    pub(super) fn see_also(&mut self, names: &[String]) {
        for (index, name) in names.iter().enumerate() {
            let comma = if index + 1 < names.len() { "," } else { "" };
            let _ = writeln!(self.0, ".BR {} (1){comma}", escaped(name));
        }
    }

    /// The text of the page.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Text in which nothing means anything to roff.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '\\' => escaped.push_str("\\e"),
            '-' => escaped.push_str("\\-"),
            '\'' => escaped.push_str("\\(aq"),
            '`' => escaped.push_str("\\(ga"),
            '^' => escaped.push_str("\\(ha"),
            '~' => escaped.push_str("\\(ti"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// A line that starts with a dot would be a request; one with an apostrophe is none any more when it is [`escaped`].
fn guarded(line: &str) -> String {
    if line.starts_with('.') { format!("\\&{line}") } else { line.to_owned() }
}

/// Text with its marks made into fonts, in one line.
fn formatted(text: &str) -> String {
    let mut formatted = String::new();
    let mut font = 'R';
    let mut rest = text;
    while let Some(at) = rest.find(['*', '`']) {
        let (mark, wanted) = match (rest.get(at..at + 2), rest.get(at..=at)) {
            (Some("**"), _) => (2, 'B'),
            (_, Some("`")) => (1, 'B'),
            _ => (1, 'I'),
        };
        font = if font == 'R' { wanted } else { 'R' };
        let _ = write!(formatted, "{}\\f{font}", escaped(&rest[..at]));
        rest = &rest[at + mark..];
    }
    formatted.push_str(&escaped(rest));
    formatted
}

/// Formatted text in short lines, which roff fills.
fn filled(text: &str) -> String {
    let mut filled = String::new();
    let mut used = 0;
    for word in formatted(text).split_whitespace() {
        if used > 0 && used + 1 + word.len() > 72 {
            filled.push('\n');
            used = 0;
        }
        let blank = if used > 0 { " " } else { "" };
        let word = if used > 0 { word.to_owned() } else { guarded(word) };
        let _ = write!(filled, "{blank}{word}");
        used += blank.len() + word.len();
    }
    filled + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_means_anything_to_roff_and_marks_are_fonts() {
        for (text, expected) in [
            (".git", ".git"),
            ("--root \\ 'x'", "\\-\\-root \\e \\(aqx\\(aq"),
            ("a *b* **c** `d`.", "a \\fIb\\fR \\fBc\\fR \\fBd\\fR."),
        ] {
            assert_eq!(formatted(text), expected);
        }
    }

    #[test]
    fn a_line_is_short_and_does_not_start_with_a_dot() {
        let text = format!("{} .x\n  b", "a".repeat(71));
        assert_eq!(filled(&text), format!("{}\n\\&.x b\n", "a".repeat(71)));
    }
}
