//! Starting a created container.

use rustix::io::Errno;

use crate::container::Container;
use crate::error::{Code, Context, Error, Result, words};
use crate::id::ContainerId;
use crate::state::{EXEC_FIFO, StateRoot};

/// Lets the process of a created container go on to its program.
///
/// # Errors
/// When the container does not exist, has ended, or was started before.
pub fn start(root: &StateRoot, id: &ContainerId) -> Result<()> {
    let container = Container::open(root, id)?;
    if !container.is_alive()? {
        return Err(words::container_not_running(id.as_str()));
    }
    let path = || format!("cannot open `{}`", container.directory.file(EXEC_FIFO));
    let fifo = match container.directory.open_fifo() {
        // Nobody is at the other end: the process has ended since.
        Err(Errno::NXIO) => return Err(words::container_not_running(id.as_str())),
        other => other.context(Code::WrongState, path)?,
    };
    // Of two starts at the same time the one that removes the FIFO is the one that starts.
    container.directory.remove_fifo().context(Code::WrongState, path)?;
    match rustix::io::write(&fifo, &[0]) {
        Ok(1) => Ok(()),
        Ok(_) | Err(Errno::PIPE) => Err(words::container_not_running(id.as_str())),
        Err(errno) => {
            let message = format!("write to `{}`", container.directory.file(EXEC_FIFO));
            Err(Error::os(Code::State, message, errno))
        }
    }
}
