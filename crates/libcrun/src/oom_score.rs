//! How the kernel is to judge a process when memory is short (`proc_pid_oom_score_adj(5)`), for an ordinary user.
//!
//! A process that joins a container is not to be looked at by anybody, and the file of such a process is root's. So the
//! runtime takes on the score itself for the moment in which the process is made, which inherits it.

use std::fs::read_to_string;

use crate::procfs::ProcFs;

const FILE: &str = "oom_score_adj";

/// The runtime's own score as it was, which it has again when the value is dropped.
#[derive(Debug)]
pub(crate) struct OwnScore(String);

impl OwnScore {
    /// Takes on a score for the next child; not for root, which needs no such way. What an ordinary user may not say is left
    /// unsaid.
    pub(crate) fn set_for_child(score: Option<i32>) -> Option<Self> {
        let score = score.filter(|_| sys::exe::is_an_ordinary_users())?;
        let own = read_to_string(format!("/proc/self/{FILE}")).ok()?;
        ProcFs::open().ok()?.write_own(FILE, &score.to_string()).ok()?;
        Some(Self(own))
    }
}

impl Drop for OwnScore {
    fn drop(&mut self) {
        // What was allowed before is allowed again: only below the score that root has set, an ordinary user may not go.
        drop(ProcFs::open().and_then(|proc| proc.write_own(FILE, self.0.trim())));
    }
}
