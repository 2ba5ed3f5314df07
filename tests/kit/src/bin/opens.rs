//! `opens DIRECTORY KIND:MAJOR:MINOR...`: makes these device nodes in the directory, says so, and then answers requests on
//! standard input, a line each: `KIND MAJOR MINOR ACCESS`, where the kind is `b` or `c` and the access `r`, `w`, `rw` or
//! `m`. The answer is `yes` unless the kernel does not permit it; that there is no driver for the device does not matter.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool of the tests")]

use std::io::BufRead;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, makedev, mknodat, openat, unlinkat};
use rustix::io::Errno;

fn make(path: &Path, kind: &str, major: u32, minor: u32) -> Result<(), Errno> {
    let kind = if kind == "b" { FileType::BlockDevice } else { FileType::CharacterDevice };
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), makedev(major, minor))
}

fn ask(path: &Path, access: &str, node: (&str, u32, u32)) -> Result<(), Errno> {
    let how = match access {
        "r" => OFlags::RDONLY,
        "w" => OFlags::WRONLY,
        "rw" => OFlags::RDWR,
        _ => {
            let second = path.with_extension("second");
            make(&second, node.0, node.1, node.2)?;
            return unlinkat(CWD, &second, AtFlags::empty());
        }
    };
    openat(CWD, path, how | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).map(drop)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (directory, nodes) = arguments.split_first().unwrap();
    let path = |kind: &str, major: u32, minor: u32| -> PathBuf {
        Path::new(directory).join(format!("{kind}{major}-{minor}"))
    };
    for node in nodes {
        let parts: Vec<&str> = node.split(':').collect();
        let (major, minor) = (parts[1].parse().unwrap(), parts[2].parse().unwrap());
        make(&path(parts[0], major, minor), parts[0], major, minor).unwrap();
    }
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let (major, minor) = (words[1].parse().unwrap(), words[2].parse().unwrap());
        let answer = ask(&path(words[0], major, minor), words[3], (words[0], major, minor));
        println!("{}", if answer == Err(Errno::PERM) { "no" } else { "yes" });
    }
}
