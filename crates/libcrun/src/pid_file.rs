//! The pid file, from which an engine learns which process is the container's.
//!
//! A file is replaced in one step, so that nobody reads half a number. What is not a file is written to where it is: a
//! device or a FIFO is not the runtime's to replace, and a link leads to where the number is wanted.

use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{
    Access, AtFlags, CWD, FileType, Mode, OFlags, accessat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{Code, Context, Result};

const WRITE: OFlags = OFlags::CREATE.union(OFlags::WRONLY).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);
const MODE: Mode = Mode::from_raw_mode(0o644);

/// How long a FIFO may be without a reader.
const PATIENCE: Duration = Duration::from_secs(5);

/// Fails where [`write`] would, as far as that can be told beforehand: while there is no process yet that would have to
/// be ended for it.
pub(crate) fn check(path: &Path) -> Result<()> {
    let checked = match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => parent_of(path).and_then(|parent| {
            let access = Access::WRITE_OK | Access::EXEC_OK;
            accessat(parent, c".", access, AtFlags::EACCESS)
        }),
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => Err(Errno::ISDIR),
        other => other.map(drop),
    };
    checked.context(Code::System, || failed(path))
}

/// Writes `pid` to the file at `path`, in decimal and without a newline.
pub(crate) fn write(path: &Path, pid: Pid) -> Result<()> {
    let text = pid.as_raw_nonzero().to_string();
    let written = match is_replaceable(path).then(|| replace(path, text.as_bytes())) {
        // A directory that takes no new file, or a file that is a mount point.
        None | Some(Err(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::BUSY)) => {
            write_in_place(path, text.as_bytes())
        }
        Some(replaced) => replaced,
    };
    written.context(Code::System, || failed(path))
}

fn failed(path: &Path) -> String {
    format!("write the pid file `{}`", path.display())
}

fn parent_of(path: &Path) -> core::result::Result<OwnedFd, Errno> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, parent, flags, Mode::empty())
}

/// Whether there is a file at `path`, or nothing.
fn is_replaceable(path: &Path) -> bool {
    match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile,
        Err(errno) => errno == Errno::NOENT,
    }
}

fn replace(path: &Path, text: &[u8]) -> core::result::Result<(), Errno> {
    let name = path.file_name().ok_or(Errno::ISDIR)?;
    let directory = parent_of(path)?;
    let (temporary, file) = create_temporary(directory.as_fd())?;
    let renamed =
        write_all(file.as_fd(), text).and_then(|()| renameat(&directory, &temporary, &directory, name));
    if renamed.is_err() {
        let _ = unlinkat(&directory, &temporary, AtFlags::empty());
    }
    renamed
}

/// Makes a file under a name that nobody could have foreseen, to be in its place already.
fn create_temporary(directory: BorrowedFd<'_>) -> core::result::Result<(String, OwnedFd), Errno> {
    loop {
        // The standard library takes its keys from the kernel's random numbers.
        let name = format!(".pid-{:016x}", RandomState::new().hash_one(()));
        match openat(directory, &name, WRITE | OFlags::EXCL, MODE) {
            Err(Errno::EXIST) => {}
            created => return created.map(|file| (name, file)),
        }
    }
}

fn write_in_place(path: &Path, text: &[u8]) -> core::result::Result<(), Errno> {
    write_all(open_in_place(path, PATIENCE)?.as_fd(), text)
}

/// Opens what is at `path`, which may be a FIFO whose reader is still to come: the kernel would wait for that without end.
fn open_in_place(path: &Path, patience: Duration) -> core::result::Result<OwnedFd, Errno> {
    let start = Instant::now();
    loop {
        match openat(CWD, path, WRITE | OFlags::TRUNC | OFlags::NONBLOCK, MODE) {
            Err(Errno::NXIO) if start.elapsed() < patience && is_fifo(path) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened,
        }
    }
}

fn is_fifo(path: &Path) -> bool {
    let stat = statat(CWD, path, AtFlags::empty());
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
}

fn write_all(file: BorrowedFd<'_>, text: &[u8]) -> core::result::Result<(), Errno> {
    match rustix::io::write(file, text)? {
        written if written == text.len() => Ok(()),
        _ => Err(Errno::NOSPC),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
    use std::path::PathBuf;

    /// A directory, and a path in it for a pid file.
    fn place(name: &str) -> (PathBuf, PathBuf) {
        let directory = std::env::temp_dir().join(format!("crun-pid-file-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&directory));
        fs::create_dir(&directory).unwrap();
        (directory.clone(), directory.join("pid"))
    }

    fn write_pid(path: &Path) {
        check(path).unwrap();
        write(path, Pid::from_raw(42).unwrap()).unwrap();
    }

    #[test]
    fn a_file_is_replaced_in_one_step_and_nothing_else_is_left_or_touched() {
        let (directory, path) = place("replace");
        fs::write(directory.join("victim"), "unharmed").unwrap();
        symlink("victim", directory.join("pid.tmp")).unwrap();
        write_pid(&path);
        let first = fs::metadata(&path).unwrap().ino();
        write_pid(&path);
        assert_ne!(
            fs::metadata(&path).unwrap().ino(),
            first,
            "the same file, so a reader may see half of it"
        );
        assert_eq!(fs::read(&path).unwrap(), b"42");
        let mut names: Vec<_> = fs::read_dir(&directory).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["pid", "pid.tmp", "victim"]);
        assert_eq!(fs::read(directory.join("victim")).unwrap(), b"unharmed");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_link_is_written_through_also_to_a_file_that_is_not_there_yet() {
        let (directory, path) = place("link");
        symlink("target", &path).unwrap();
        for _ in 0..2 {
            write_pid(&path);
            assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
            assert_eq!(fs::read(directory.join("target")).unwrap(), b"42");
        }
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_fifo_stays_one_and_its_reader_gets_the_number() {
        let (directory, path) = place("fifo");
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, MODE, 0).unwrap();
        let reader = std::thread::spawn({
            let path = path.clone();
            move || fs::read(path).unwrap()
        });
        write_pid(&path);
        assert_eq!(reader.join().unwrap(), b"42");
        assert!(fs::symlink_metadata(&path).unwrap().file_type().is_fifo());
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_fifo_that_nobody_reads_is_not_waited_for_without_end() {
        let (directory, path) = place("nobody");
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, MODE, 0).unwrap();
        let opened = open_in_place(&path, Duration::from_millis(20));
        assert_eq!(opened.unwrap_err(), Errno::NXIO);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_could_not_be_written_is_known_beforehand() {
        for (path, reason) in [
            ("/nonexistent/pid", "No such file or directory"),
            ("/proc/version/pid", "Not a directory"),
            ("/", "Is a directory"),
        ] {
            let error = check(Path::new(path)).unwrap_err();
            assert_eq!(error.to_string(), format!("write the pid file `{path}`: {reason}"));
        }
    }

    #[test]
    fn a_directory_is_an_error() {
        let (directory, _) = place("directory");
        let written = write(&directory, Pid::from_raw(42).unwrap());
        for error in [check(&directory), written].map(Result::unwrap_err) {
            let expected = format!("write the pid file `{}`: Is a directory", directory.display());
            assert_eq!(error.to_string(), expected);
        }
        fs::remove_dir_all(directory).unwrap();
    }
}
