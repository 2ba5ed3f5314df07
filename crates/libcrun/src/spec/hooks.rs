//! `hooks`: programs of others that take part in a container's life (runtime-spec config.md#posix-platform-hooks).

use serde::Deserialize;

use super::Text;

/// The hooks of a container, by when they are run.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hooks<'a> {
    /// Before its root is entered, outside.
    #[serde(borrow, default)]
    pub prestart: Option<Vec<Hook<'a>>>,
    /// The same, after those.
    #[serde(borrow, default)]
    pub create_runtime: Option<Vec<Hook<'a>>>,
    /// Before its root is entered, in its namespaces.
    #[serde(borrow, default)]
    pub create_container: Option<Vec<Hook<'a>>>,
    /// When it is started, inside.
    #[serde(borrow, default)]
    pub start_container: Option<Vec<Hook<'a>>>,
    /// After its program was started, outside.
    #[serde(borrow, default)]
    pub poststart: Option<Vec<Hook<'a>>>,
    /// After it was deleted, outside.
    #[serde(borrow, default)]
    pub poststop: Option<Vec<Hook<'a>>>,
}

/// One program.
#[derive(Debug, Default, Deserialize)]
pub struct Hook<'a> {
    /// Where it is.
    #[serde(borrow)]
    pub path: Text<'a>,
    /// Its arguments, its name among them.
    #[serde(borrow, default)]
    pub args: Option<Vec<Text<'a>>>,
    /// Its environment, `NAME=value`.
    #[serde(borrow, default)]
    pub env: Option<Vec<Text<'a>>>,
    /// How many seconds it may take.
    #[serde(default)]
    pub timeout: Option<i64>,
}
