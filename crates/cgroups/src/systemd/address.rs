//! Where systemd is to be found.
//!
//! Sources: the D-Bus Specification, "Server Addresses"; sd_bus_default_user(3), sd_bus_default_system(3).

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A socket to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) socket: Socket,
    /// Whether a bus answers there, or systemd itself.
    pub(super) is_bus: bool,
}

/// The kinds of unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Socket {
    Path(PathBuf),
    Abstract(Vec<u8>),
}

/// What of the environment says where.
#[derive(Debug, Clone, Default)]
pub(super) struct Environment {
    /// `DBUS_SYSTEM_BUS_ADDRESS`
    pub(super) system_bus: Option<String>,
    /// `DBUS_SESSION_BUS_ADDRESS`
    pub(super) session_bus: Option<String>,
    /// `XDG_RUNTIME_DIR`, or what it would be.
    pub(super) runtime_directory: Option<PathBuf>,
}

impl Environment {
    pub(super) fn read() -> Self {
        let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let directory = std::env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty());
        Self {
            system_bus: text("DBUS_SYSTEM_BUS_ADDRESS"),
            session_bus: text("DBUS_SESSION_BUS_ADDRESS"),
            runtime_directory: directory.map(PathBuf::from),
        }
    }

    /// Where the system's manager may be, best first. Its own socket is for a host without a bus only: to let somebody in
    /// takes systemd longer than it takes a bus to pass a call on. Where somebody has said where the bus is, that is meant.
    pub(super) fn system(&self) -> Vec<Place> {
        match &self.system_bus {
            Some(address) => buses(address),
            None => {
                let bus = Place::new("/run/dbus/system_bus_socket", true);
                vec![bus, Place::new("/run/systemd/private", false)]
            }
        }
    }

    /// Where the user's manager may be, best first.
    pub(super) fn user(&self) -> Vec<Place> {
        let below = |path: &str, is_bus| {
            self.runtime_directory.as_ref().map(|dir| Place::new(dir.join(path), is_bus))
        };
        let mut places: Vec<Place> = self.session_bus.iter().flat_map(|address| buses(address)).collect();
        places.extend(below("bus", true));
        places.extend(below("systemd/private", false));
        places
    }
}

impl Place {
    fn new(path: impl Into<PathBuf>, is_bus: bool) -> Self {
        Self { socket: Socket::Path(path.into()), is_bus }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.socket {
            Socket::Path(path) => path.display().fmt(f),
            Socket::Abstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
        }
    }
}

/// The sockets a server address names; other transports are left out.
fn buses(address: &str) -> Vec<Place> {
    let socket = |entry: &str| {
        let keys = entry.strip_prefix("unix:")?;
        keys.split(',').filter_map(|key| key.split_once('=')).find_map(|(key, value)| match key {
            "path" => {
                let path = unescape(value)?;
                Some(Socket::Path(PathBuf::from(std::ffi::OsStr::from_bytes(&path))))
            }
            "abstract" => unescape(value).map(Socket::Abstract),
            _ => None,
        })
    };
    address.split(';').filter_map(socket).map(|socket| Place { socket, is_bus: true }).collect()
}

/// `%41` is `A`.
fn unescape(value: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let [high, low, tail @ ..] = rest else { return None };
        let digits = std::str::from_utf8(&[*high, *low]).ok().map(str::to_owned)?;
        bytes.push(u8::from_str_radix(&digits, 16).ok()?);
        rest = tail;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(places: &[Place]) -> Vec<(String, bool)> {
        places.iter().map(|place| (place.to_string(), place.is_bus)).collect()
    }

    #[test]
    fn the_system_manager_is_asked_through_the_bus_and_else_directly() {
        let places = Environment::default().system();
        let expected = [("/run/dbus/system_bus_socket", true), ("/run/systemd/private", false)];
        assert_eq!(shown(&places), expected.map(|(path, is_bus)| (path.to_owned(), is_bus)));
    }

    #[test]
    fn an_address_in_the_environment_is_the_only_one() {
        let system_bus = Some("unix:path=/a%20b,guid=00;tcp:host=x;unix:abstract=/tmp/y".to_owned());
        let places = Environment { system_bus, ..Environment::default() }.system();
        assert_eq!(shown(&places), [("/a b".to_owned(), true), ("@/tmp/y".to_owned(), true)]);
    }

    #[test]
    fn the_user_manager_is_below_the_runtime_directory() {
        let session_bus = Some("unix:path=/s".to_owned());
        let runtime_directory = Some(PathBuf::from("/run/user/7"));
        let places = Environment { session_bus, runtime_directory, system_bus: None }.user();
        let expected = [("/s", true), ("/run/user/7/bus", true), ("/run/user/7/systemd/private", false)];
        assert_eq!(shown(&places), expected.map(|(path, is_bus)| (path.to_owned(), is_bus)));
        assert_eq!(Environment::default().user(), []);
    }

    #[test]
    fn an_address_nobody_understands_names_no_socket() {
        for address in ["", "unix:", "unix:path=%4", "unix:path=%zz", "launchd:env=X"] {
            assert_eq!(buses(address), [], "{address}");
        }
    }
}
