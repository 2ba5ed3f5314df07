//! A place where the container's program can say that it is ready (`sd_notify(3)`), as for a service of systemd that waits
//! for it: a directory of the runtime's is mounted where the service has its socket, in which the runtime has one.

use std::path::Path;

use super::mounts::{self, MountOperation, Surroundings};
use super::{InnerPath, invalid};
use crate::error::Result;
use crate::spec::{Mount, Text};

/// Who waits for the container to be ready.
#[derive(Debug, Clone, Copy)]
pub struct Notify<'a> {
    /// His socket: a path, or `@NAME` for one that has none.
    pub socket: &'a Path,
    /// The directory of the runtime, absolute.
    pub directory: &'a Path,
}

/// What a socket that has no path leaves to be chosen.
const PLACE: &str = "/run/notify";

impl Notify<'_> {
    /// Where the directory is mounted.
    fn place(&self) -> Result<&str> {
        let path = self.socket.to_str().ok_or_else(|| invalid("NOTIFY_SOCKET: it is not UTF-8"))?;
        match path.as_bytes().first() {
            Some(b'/') => Ok(path),
            Some(b'@') => Ok(PLACE),
            _ => Err(invalid(format!("NOTIFY_SOCKET: `{path}` is no absolute path"))),
        }
    }

    /// Adds the mount, in the place of what else is mounted there.
    pub(super) fn mount(&self, mounts: &mut Vec<MountOperation>, around: &Surroundings<'_>) -> Result<()> {
        let place = self.place()?;
        let destination = InnerPath::new(place, || "NOTIFY_SOCKET".to_owned())?;
        mounts.retain(|mount| mount.destination != destination);
        let options = ["bind", "ro", "nosuid", "nodev", "noexec"].map(Text::from);
        let directory = Mount {
            destination: Text::from(place),
            kind: Some(Text::from("bind")),
            source: Some(Text::from(self.directory.to_string_lossy().into_owned())),
            options: Some(options.into()),
            ..Mount::default()
        };
        mounts.push(mounts::plan(mounts.len(), &directory, around)?);
        Ok(())
    }

    /// Tells the program of it.
    pub(super) fn tell(&self, env: &mut Vec<Vec<u8>>) -> Result<()> {
        const NAME: &str = "NOTIFY_SOCKET=";
        env.retain(|variable| !variable.starts_with(NAME.as_bytes()));
        env.push(format!("{NAME}{}/{}", self.place()?, crate::notify::NAME).into_bytes());
        Ok(())
    }
}
