//! Which systemd answers, for who wants to know whether one does.

use std::time::Duration;

use super::manager::Manager;
use crate::error::Result;

/// How long it may take: nothing waits for this answer but somebody who is curious.
const PATIENCE: Duration = Duration::from_secs(5);

/// The version of the systemd that makes a caller's units: the system's, or the user's for one who `is_rootless`.
///
/// # Errors
/// Names the sockets that were tried, or says what the other side has answered.
pub fn version(is_rootless: bool) -> Result<String> {
    Manager::connect(is_rootless, PATIENCE)?.version()
}
