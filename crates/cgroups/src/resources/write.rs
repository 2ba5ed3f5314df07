//! One write into one file of a cgroup, with what is to be done where only the kernel knows whether it goes.

use std::borrow::Cow;

/// One value to be written into one file of a container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The controller the file belongs to; names the hierarchy on v1.
    pub controller: &'static str,
    /// The file's name.
    pub file: Cow<'static, str>,
    /// The value.
    pub value: String,
    /// What a missing file means.
    pub if_missing: IfMissing,
    /// Whether the kernel may refuse it because of the present value of one of its neighbours in the list that has this
    /// set, too. It is then tried again after that one.
    pub interdependent: bool,
}

/// What it means when the file of a [`Write`] is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMissing {
    /// The limit cannot be had: an error.
    Fail,
    /// The kernel was built without the feature and the value asks for nothing beyond its absence.
    Ignore,
    /// Another file does the same.
    Instead(Box<Write>),
}

impl Write {
    pub(super) fn new(
        controller: &'static str,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
    ) -> Self {
        let (file, value) = (file.into(), value.to_string());
        Self { controller, file, value, if_missing: IfMissing::Fail, interdependent: false }
    }

    pub(super) fn if_missing(self, if_missing: IfMissing) -> Self {
        Self { if_missing, ..self }
    }

    pub(super) fn or_else(self, other: Self) -> Self {
        self.if_missing(IfMissing::Instead(Box::new(other)))
    }

    pub(super) fn interdependent(self) -> Self {
        Self { interdependent: true, ..self }
    }
}
