//! What an error is about, as a value.

use std::fmt;
use std::path::{Path, PathBuf};

/// What something was being done to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Object {
    /// A file or a directory of the host.
    Path(PathBuf),
    /// A path in the container.
    Inside(String),
    /// A container, by its name.
    Container(String),
    /// A place in the configuration, as `process.args[0]`.
    Config(String),
    /// An option of the command line, or a variable of the environment.
    Option(String),
    /// Anything else that has a name: a signal, a sysctl, a systemd unit.
    Named(String),
}

impl Object {
    /// The place in the configuration with which a message begins, as all do that are about one: `process.cwd: holds a
    /// NUL byte`.
    pub(super) fn place_in(message: &str) -> Option<Self> {
        let (place, _) = message.split_once(": ")?;
        let parts = ["process", "root", "mounts", "hostname", "domainname", "annotations", "linux", "hooks"];
        let first = place.split(['.', '[']).next()?;
        let is_path = parts.contains(&first) && !place.contains([' ', '`']);
        is_path.then(|| Self::Config(place.to_owned()))
    }
}

impl From<&Path> for Object {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_owned())
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Inside(text)
            | Self::Container(text)
            | Self::Config(text)
            | Self::Option(text)
            | Self::Named(text) => f.write_str(text),
        }
    }
}

/// The words for what is being done, and what it is done to.
#[derive(Debug)]
pub(crate) struct Doing {
    pub(super) words: String,
    pub(super) object: Option<Object>,
}

/// That something is done to a path of the host: ``open `/run/x` ``.
pub(crate) fn doing(what: &str, path: impl AsRef<Path>) -> Doing {
    doing_to(what, path.as_ref())
}

#[cold]
#[inline(never)]
fn doing_to(what: &str, path: &Path) -> Doing {
    Doing { words: format!("{what} `{}`", path.display()), object: Some(path.into()) }
}

impl Doing {
    /// That something is done to a thing.
    pub(crate) fn to(words: String, object: Object) -> Self {
        Self { words, object: Some(object) }
    }

    /// The same, and then some more words.
    pub(crate) fn then(mut self, more: &str) -> Self {
        self.words += more;
        self
    }
}

impl From<String> for Doing {
    #[cold]
    #[inline(never)]
    fn from(words: String) -> Self {
        let object = Object::place_in(&words);
        Self { words, object }
    }
}

impl From<&str> for Doing {
    fn from(words: &str) -> Self {
        words.to_owned().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_configuration_is_known_by_how_it_begins() {
        let place = |message: &str| Object::place_in(message).map(|place| place.to_string());
        assert_eq!(place("process.args[0]: holds a NUL byte").as_deref(), Some("process.args[0]"));
        assert_eq!(place("mounts[3]: /proc: attach the mount").as_deref(), Some("mounts[3]"));
        assert_eq!(place("linux.seccomp: load the filter"), Some("linux.seccomp".to_owned()));
        for other in ["open `/a`", "process not running", "ps: no", "mounts must be: an array", "root"] {
            assert_eq!(place(other), None, "{other}");
        }
    }

    #[test]
    fn a_path_keeps_what_its_words_lose() {
        use std::os::unix::ffi::OsStrExt;
        let path = Path::new(std::ffi::OsStr::from_bytes(b"/a\xff"));
        let Doing { words, object } = doing("open", path).then(" failed");
        assert_eq!(words, "open `/a\u{fffd}` failed");
        assert_eq!(object, Some(Object::Path(path.to_owned())));
    }
}
