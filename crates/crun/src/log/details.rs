//! What more there is to say of a failure than its message.

use libcrun::Error;
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(super) struct Details<'a> {
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl<'a> Details<'a> {
    pub(super) fn of(error: &'a Error) -> Self {
        Self {
            code: error.code().name(),
            step: error.step(),
            object: error.object().map(ToString::to_string),
            errno: error.errno().and_then(libcrun::errno_name),
            hint: error.hint(),
        }
    }
}
