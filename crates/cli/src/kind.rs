//! What a value or an argument names, by how it is called in the help.

/// What a value or an argument names, and so what a shell can offer for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Text,
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A container that there is.
    Container,
    /// A signal.
    Signal,
    /// A command of this program.
    Command,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// What the names of values say. A name that is not here says nothing.
const KINDS: &[(&str, Kind)] = &[
    ("BUNDLE", Kind::Directory),
    ("BUNDLE|FILE", Kind::File),
    ("COMMAND", Kind::Command),
    ("CONTAINER", Kind::Container),
    ("DEST", Kind::File),
    ("DIR", Kind::Directory),
    ("FILE", Kind::File),
    ("SIGNAL", Kind::Signal),
    ("SOCKET", Kind::File),
    ("add|remove", Kind::OneOf(&["add", "remove"])),
];

impl Kind {
    pub(crate) fn of(name: &str) -> Self {
        KINDS.iter().find(|(known, _)| *known == name).map_or(Self::Text, |(_, kind)| *kind)
    }
}
