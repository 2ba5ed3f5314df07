//! `/proc/PID/mountinfo` in parts (`proc_pid_mountinfo(5)`).

#![allow(clippy::panic, reason = "a failure of the kit is a failure of the test")]

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mount {
    /// Where it is.
    pub point: String,
    /// Which directory of the filesystem is its root.
    pub root: String,
    /// Its own options.
    pub options: Vec<String>,
    /// Its propagation: `shared:N`, `master:N`, `unbindable`; nothing for a private one.
    pub tags: Vec<String>,
    /// The filesystem's type.
    pub kind: String,
    /// What the filesystem says is mounted.
    pub source: String,
    /// The filesystem's options.
    pub filesystem_options: Vec<String>,
}

impl Mount {
    /// Whether it, or its filesystem, has an option.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().chain(&self.filesystem_options).any(|known| known == option)
    }

    /// Whether its propagation is of this kind (`shared`, `master`, `unbindable`).
    #[must_use]
    pub fn is(&self, tag: &str) -> bool {
        self.tags.iter().any(|known| known.split(':').next() == Some(tag))
    }
}

/// The mounts in the text, in its order.
///
/// # Panics
/// When it is no such text.
#[must_use]
pub fn parse(text: &str) -> Vec<Mount> {
    text.lines().map(parse_line).collect()
}

/// The topmost mount at a path.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn at<'m>(mounts: &'m [Mount], point: &str) -> &'m Mount {
    let found = mounts.iter().rfind(|mount| mount.point == point);
    found.unwrap_or_else(|| panic!("nothing is mounted on {point}: {mounts:#?}"))
}

fn parse_line(line: &str) -> Mount {
    let fields: Vec<&str> = line.split(' ').collect();
    let separator =
        fields.iter().position(|field| *field == "-").unwrap_or_else(|| panic!("no mount: {line}"));
    let list = |text: &str| text.split(',').map(str::to_owned).collect();
    Mount {
        root: fields[3].to_owned(),
        point: fields[4].to_owned(),
        options: list(fields[5]),
        tags: fields[6..separator].iter().map(|tag| (*tag).to_owned()).collect(),
        kind: fields[separator + 1].to_owned(),
        source: fields[separator + 2].to_owned(),
        filesystem_options: list(fields[separator + 3]),
    }
}
