//! The directories below the state root, by descriptor.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, chmod, chmodat, fchmod, fstat, mkdir, mkdirat, mknodat,
    openat, renameat, statat, unlinkat,
};
use rustix::io::{Errno, write};
use rustix::process::geteuid;

use super::Status;
use crate::error::{Code, Context, Error, Result, doing, words};
use crate::explain;
use crate::id::ContainerId;
use crate::input::read_to_end;

pub(crate) const EXEC_FIFO: &str = "exec.fifo";
const REPORT_FIFO: &str = "start.fifo";
const NOTIFY: &str = "notify";
const STATUS: &str = "status";
const CONFIG: &str = "config.json";
const FILTER: &str = "seccomp.bpf";
const EMPTY_DIRECTORY: &str = ".empty-directory";

// The modes are given twice everywhere, because the umask is the caller's.
const OWN_DIRECTORY: Mode = Mode::from_raw_mode(0o700);
const OPEN_DIRECTORY: Mode = Mode::from_raw_mode(0o755);
const OWN_FILE: Mode = Mode::from_raw_mode(0o600);
const EMPTY: Mode = Mode::from_raw_mode(0o555);

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// The directory that holds the state of all containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRoot {
    path: PathBuf,
}

impl StateRoot {
    /// The state below a given directory, which need not exist yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where the state is when nothing else is said: `$XDG_RUNTIME_DIR/crun` or `/run/crun`.
    #[must_use]
    pub fn default_path() -> PathBuf {
        match std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty()) {
            Some(directory) => PathBuf::from(directory).join("crun"),
            None => PathBuf::from("/run/crun"),
        }
    }

    /// The directory's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory of a new container, and the root first if need be.
    pub(crate) fn create(&self, id: &ContainerId) -> Result<StateDirectory> {
        let path = self.path.join(id.as_str());
        let make = || mkdir(&path, OWN_DIRECTORY).and_then(|()| chmod(&path, OWN_DIRECTORY));
        let made = match make() {
            Err(Errno::NOENT) => {
                self.create_root()?;
                make()
            }
            other => other,
        };
        match made {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(words::container_exists(id.as_str())),
            Err(errno) => {
                let error = Error::of(Code::State, doing("mkdir", &path), Some(errno));
                return Err(explain::state_root_closed(error, &self.path));
            }
        }
        let directory =
            openat(CWD, &path, DIRECTORY, Mode::empty()).context(Code::State, || doing("open", &path))?;
        Ok(StateDirectory { path, directory })
    }

    /// Where the socket of who says that a container is ready lies, absolute.
    pub(crate) fn notify_directory(&self, id: &ContainerId) -> PathBuf {
        let path = self.path.join(id.as_str()).join(NOTIFY);
        std::path::absolute(&path).unwrap_or(path)
    }

    fn create_root(&self) -> Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        let failed = || doing("mkdir", &self.path);
        let mode = OWN_DIRECTORY.as_raw_mode();
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(&self.path)
            .context(Code::State, failed)
            .map_err(|error| explain::state_root_closed(error, &self.path))?;
        chmod(&self.path, OWN_DIRECTORY).context(Code::State, failed)
    }

    /// Opens the directory of a container that exists.
    pub(crate) fn open(&self, id: &ContainerId) -> Result<StateDirectory> {
        let path = self.path.join(id.as_str());
        match openat(CWD, &path, DIRECTORY, Mode::empty()) {
            Ok(directory) => Ok(StateDirectory { path, directory }),
            Err(errno @ (Errno::NOENT | Errno::NOTDIR)) => {
                let file = path.join(STATUS).display().to_string();
                Err(words::container_not_found(id.as_str(), &file, errno))
            }
            Err(errno) => {
                let error = Error::of(Code::State, doing("open", &path), Some(errno));
                Err(explain::state_root_closed(error, &self.path))
            }
        }
    }

    /// The names of all containers, sorted.
    ///
    /// # Errors
    /// When the directory cannot be read. One that does not exist holds no containers.
    pub fn containers(&self) -> Result<Vec<ContainerId>> {
        let failed = || doing("open", &self.path);
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = match openat(CWD, &self.path, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(Vec::new()),
            other => other
                .context(Code::State, failed)
                .map_err(|error| explain::state_root_closed(error, &self.path))?,
        };
        let mut ids = Vec::new();
        for entry in Dir::new(directory).context(Code::State, failed)? {
            let entry = entry.context(Code::State, failed)?;
            if !matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
                continue;
            }
            // Names with a leading dot are caches; whatever else is not a container's name is not ours.
            if let Some(id) = entry.file_name().to_str().ok().and_then(|name| ContainerId::new(name).ok()) {
                ids.push(id);
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// Where the directory is that is shown in place of masked ones.
    pub(crate) fn empty_directory_path(&self) -> PathBuf {
        self.path.join(EMPTY_DIRECTORY)
    }

    /// The directory shown in place of masked ones, shared by all containers.
    pub(crate) fn empty_directory(&self) -> Result<OwnedFd> {
        let path = self.empty_directory_path();
        let name = || format!("open `{}`", path.display());
        let open = || openat(CWD, &path, DIRECTORY, Mode::empty());
        let directory = match open() {
            Err(Errno::NOENT) => {
                match mkdir(&path, EMPTY) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(Error::os(Code::State, name(), errno)),
                }
                open().context(Code::State, name)?
            }
            other => other.context(Code::State, name)?,
        };
        // Looked at every time: who made it may have been killed before it had its mode; and whoever owns it can put
        // something in.
        let stat = fstat(&directory).context(Code::State, name)?;
        if stat.st_uid != 0 && stat.st_uid != geteuid().as_raw() {
            return Err(Error::new(Code::State, format!("{}: it belongs to user {}", name(), stat.st_uid)));
        }
        let mode = Mode::from_raw_mode(stat.st_mode);
        if mode != EMPTY {
            fchmod(&directory, EMPTY).context(Code::State, name)?;
        }
        Ok(directory)
    }
}

/// The state directory of one container.
#[derive(Debug)]
pub(crate) struct StateDirectory {
    path: PathBuf,
    directory: OwnedFd,
}

impl StateDirectory {
    /// The name of the container whose it is.
    pub(crate) fn id(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The path of a file in it, for messages.
    pub(crate) fn file(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    fn write(&self, name: &str, content: &[u8]) -> core::result::Result<(), Errno> {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = openat(&self.directory, name, flags, OWN_FILE)?;
        fchmod(&file, OWN_FILE)?;
        let mut rest = content;
        while !rest.is_empty() {
            match write(&file, rest) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Reads one of the files: only that, not what a link leads to, and without waiting for somebody at a FIFO.
    fn read(&self, name: &str) -> core::result::Result<Vec<u8>, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        openat(&self.directory, name, flags, Mode::empty()).and_then(read_to_end)
    }

    /// Keeps the configuration as it was used.
    pub(crate) fn write_config(&self, config: &[u8]) -> Result<()> {
        self.write(CONFIG, config).context(Code::State, || doing("write", self.file(CONFIG)))
    }

    /// The configuration as it was used.
    pub(crate) fn read_config(&self) -> Result<Vec<u8>> {
        self.read(CONFIG).context(Code::State, || doing("open", self.file(CONFIG)))
    }

    /// Keeps the filter of system calls, for processes that join later.
    pub(crate) fn write_filter(&self, program: &[u8]) -> Result<()> {
        self.write(FILTER, program).context(Code::State, || doing("write", self.file(FILTER)))
    }

    /// The filter as it was loaded.
    pub(crate) fn read_filter(&self) -> Result<Vec<u8>> {
        self.read(FILTER).context(Code::State, || doing("linux.seccomp: open", self.file(FILTER)))
    }

    /// Replaces the status file in one step.
    pub(crate) fn write_status(&self, status: &Status) -> Result<()> {
        let failed = || format!("write `{}`", self.file(STATUS));
        let content = serde_json::to_vec_pretty(status)
            .map_err(|error| Error::new(Code::State, format!("{}: {error}", failed())))?;
        self.write("status.tmp", &content).context(Code::State, failed)?;
        renameat(&self.directory, "status.tmp", &self.directory, STATUS).context(Code::State, failed)
    }

    /// The status file.
    pub(crate) fn read_status(&self) -> Result<Status> {
        let content = self.read(STATUS).context(Code::State, || doing("open", self.file(STATUS)))?;
        serde_json::from_slice(&content)
            .map_err(|error| Error::new(Code::State, format!("load `{}`: {error}", self.file(STATUS))))
    }

    /// Whether the container was created and not started yet.
    pub(crate) fn has_fifo(&self) -> bool {
        statat(&self.directory, EXEC_FIFO, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Makes the FIFO a created container waits on, and opens both ends of it.
    pub(crate) fn create_fifo(&self) -> Result<OwnedFd> {
        self.make_fifo(EXEC_FIFO)
    }

    /// Makes the FIFO by which `start` hears what becomes of the container, and opens both ends of it.
    pub(crate) fn create_report(&self) -> Result<OwnedFd> {
        self.make_fifo(REPORT_FIFO)
    }

    fn make_fifo(&self, name: &str) -> Result<OwnedFd> {
        let failed = || format!("create `{}`", self.file(name));
        mknodat(&self.directory, name, FileType::Fifo, OWN_FILE, 0)
            .and_then(|()| chmodat(&self.directory, name, OWN_FILE, AtFlags::empty()))
            .context(Code::State, failed)?;
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        openat(&self.directory, name, flags, Mode::empty()).context(Code::State, failed)
    }

    /// Makes the directory for the socket of who says that the container is ready. Whoever the program is run as has to get
    /// through it; to others it is closed by the one above it.
    pub(crate) fn create_notify(&self) -> Result<OwnedFd> {
        mkdirat(&self.directory, NOTIFY, EMPTY)
            .and_then(|()| chmodat(&self.directory, NOTIFY, OPEN_DIRECTORY, AtFlags::empty()))
            .context(Code::State, || doing("mkdir", self.file(NOTIFY)))?;
        self.open_below(NOTIFY).context(Code::State, || doing("open", self.file(NOTIFY)))
    }

    /// The same directory; a container that was created while nobody waited for it has none.
    pub(crate) fn open_notify(&self) -> Result<Option<OwnedFd>> {
        match self.open_below(NOTIFY) {
            Err(Errno::NOENT) => Ok(None),
            other => other.map(Some).context(Code::State, || doing("open", self.file(NOTIFY))),
        }
    }

    fn open_below(&self, name: &str) -> core::result::Result<OwnedFd, Errno> {
        openat(&self.directory, name, DIRECTORY, Mode::empty())
    }

    /// Opens the FIFO to hear what becomes of the container. It is not there for one that the C crun has made.
    pub(crate) fn open_report(&self) -> Result<Option<OwnedFd>> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match openat(&self.directory, REPORT_FIFO, flags, Mode::empty()) {
            Err(Errno::NOENT) => Ok(None),
            other => other.map(Some).context(Code::State, || doing("open", self.file(REPORT_FIFO))),
        }
    }

    /// Opens the FIFO to write to it; fails with `ENXIO` when nobody waits on it.
    pub(crate) fn open_fifo(&self) -> core::result::Result<OwnedFd, Errno> {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        openat(&self.directory, EXEC_FIFO, flags, Mode::empty())
    }

    /// Removes the FIFO; of several callers one succeeds.
    pub(crate) fn remove_fifo(&self) -> core::result::Result<(), Errno> {
        unlinkat(&self.directory, EXEC_FIFO, AtFlags::empty())
    }

    /// Removes the directory and all that is in it.
    pub(crate) fn remove(&self) -> Result<()> {
        let failed = || format!("remove `{}`", self.path.display());
        // What this runtime writes itself goes without asking what there is.
        for name in [STATUS, CONFIG] {
            let _ = unlinkat(&self.directory, name, AtFlags::empty());
        }
        // The filter only of a container that has one.
        for _ in 0..2 {
            match unlinkat(CWD, &self.path, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                Err(errno) => return Err(Error::os(Code::State, failed(), errno)),
            }
            if unlinkat(&self.directory, FILTER, AtFlags::empty()).is_err() {
                break;
            }
        }
        remove_content(&self.directory).context(Code::State, failed)?;
        match unlinkat(CWD, &self.path, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::os(Code::State, failed(), errno)),
        }
    }
}

/// Removes what is in a directory, directories included; links are removed, not followed. Somebody else may be removing it
/// at the same time.
fn remove_content(directory: &OwnedFd) -> core::result::Result<(), Errno> {
    let listed = match Dir::read_from(directory) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let names: Vec<_> = listed
        .filter_map(|entry| entry.ok().map(|entry| entry.file_name().to_owned()))
        .filter(|name| !matches!(name.to_bytes(), b"." | b".."))
        .collect();
    for name in names {
        match unlinkat(directory, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
        let below = match openat(directory, &name, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => continue,
            other => other?,
        };
        // What somebody has mounted here is not this runtime's to empty.
        if fstat(&below)?.st_dev != fstat(directory)?.st_dev {
            return Err(Errno::XDEV);
        }
        remove_content(&below)?;
        match unlinkat(directory, &name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(name: &str) -> StateRoot {
        let path = std::env::temp_dir().join(format!("crun-state-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        StateRoot::new(path.join("run"))
    }

    #[test]
    fn a_container_exists_once_from_creation_to_removal() {
        let (root, id) = (root("once"), ContainerId::new("web").unwrap());
        assert_eq!(root.containers().unwrap(), []);
        let directory = root.create(&id).unwrap();
        assert_eq!(root.create(&id).unwrap_err().to_string(), "container `web` already exists");
        directory.write_config(b"{}").unwrap();
        std::fs::create_dir(root.path().join("web/notify")).unwrap();
        assert_eq!(root.containers().unwrap(), std::slice::from_ref(&id));
        directory.remove().unwrap();
        assert!(root.open(&id).unwrap_err().to_string().contains("`web` does not exist"));
        std::fs::remove_dir_all(root.path().parent().unwrap()).unwrap();
    }

    #[test]
    fn two_can_remove_a_container_at_the_same_time() {
        let (root, id) = (root("two"), ContainerId::new("web").unwrap());
        for _ in 0..100 {
            let one = root.create(&id).unwrap();
            let other = root.open(&id).unwrap();
            std::fs::create_dir_all(root.path().join("web/notify/below")).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| one.remove().unwrap());
                scope.spawn(|| other.remove().unwrap());
            });
        }
        std::fs::remove_dir_all(root.path().parent().unwrap()).unwrap();
    }

    #[test]
    fn a_directory_shown_for_masked_ones_that_nobody_could_read_is_mended() {
        use std::os::unix::fs::PermissionsExt;
        let root = root("empty");
        root.create_root().unwrap();
        mkdir(root.path().join(EMPTY_DIRECTORY), Mode::from_raw_mode(0o500)).unwrap();
        root.empty_directory().unwrap();
        let mode = std::fs::metadata(root.path().join(EMPTY_DIRECTORY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o555);
        std::fs::remove_dir_all(root.path().parent().unwrap()).unwrap();
    }

    #[test]
    fn who_reads_the_status_while_it_is_written_again_reads_the_one_or_the_other() {
        let root = root("torn");
        let directory = root.create(&ContainerId::new("web").unwrap()).unwrap();
        let text = r#"{"pid":1,"process-start-time":2,"bundle":"/b","created":"2026-11-23T23:32:06Z"}"#;
        let mut status: Status = serde_json::from_str(text).unwrap();
        directory.write_status(&status).unwrap();
        let is_done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for length in 0..2000 {
                    status.rootfs = "r".repeat(length);
                    directory.write_status(&status).unwrap();
                }
                is_done.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                directory.read_status().unwrap();
            }
        });
        directory.remove().unwrap();
        std::fs::remove_dir_all(root.path().parent().unwrap()).unwrap();
    }

    #[test]
    fn caches_and_foreign_files_are_no_containers() {
        let root = root("foreign");
        drop(root.create(&ContainerId::new("a").unwrap()).unwrap());
        root.empty_directory().unwrap();
        std::fs::write(root.path().join("file"), "").unwrap();
        assert_eq!(root.containers().unwrap().len(), 1);
        std::fs::remove_dir_all(root.path().parent().unwrap()).unwrap();
    }
}
