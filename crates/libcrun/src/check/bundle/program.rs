//! Whether the program is there, can be executed, and is one for this machine.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{FileType, StatVfsMountFlags, fstat, statvfs};
use rustix::io::Errno;

use super::super::{Answer, Finding};
use super::Examined;
use super::examined::{Located, beginning};
use crate::error::{Code, Error, words};

pub(super) fn look(examined: &Examined<'_>) -> Vec<Finding> {
    answer(examined).map(|answer| answer.about("process.args[0]")).into_iter().collect()
}

fn answer(examined: &Examined<'_>) -> Option<Answer> {
    let process = &examined.plan.process;
    let mut refused = words::executable_not_found(&process.name, Errno::NOENT);
    for candidate in &process.candidates {
        let path = absolute(examined, &candidate.to_string_lossy());
        match examined.locate(&path) {
            Located::File(file) => match executable(&file, &path) {
                Ok(()) => return contents(examined, &file, &path),
                Err(error) => refused = error,
            },
            Located::Unknown(index) => return Some(untold(&path, index)),
            // Without openat2(2) nothing can be looked up without a risk.
            Located::Nowhere(Errno::NOSYS) => return None,
            Located::Nowhere(Errno::NOENT | Errno::NOTDIR) => {}
            Located::Nowhere(errno) => refused = words::executable_denied(&path, errno),
        }
    }
    let remedy = "install it in the rootfs, or name another (process.args, PATH in process.env)";
    Some(Answer { remedy: Some(remedy.to_owned()), ..Answer::refused(&refused) })
}

fn untold(path: &str, index: usize) -> Answer {
    let found =
        format!("`{path}` may be in what mounts[{index}] brings: whether it is there cannot be told before");
    Answer::limited(found, "look there")
}

fn absolute(examined: &Examined<'_>, path: &str) -> String {
    match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{}/{path}", examined.plan.process.cwd.to_string_lossy()),
    }
}

fn executable(file: &OwnedFd, path: &str) -> Result<(), Error> {
    let stat = fstat(file).map_err(|errno| words::executable_denied(path, errno))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if stat.st_mode & 0o111 == 0 => Err(words::not_executable(path)),
        FileType::RegularFile => Ok(()),
        _ => Err(words::not_a_regular_file(path)),
    }
}

/// What the kernel makes of the file, as far as it can be read.
fn contents(examined: &Examined<'_>, file: &OwnedFd, path: &str) -> Option<Answer> {
    let root = &examined.plan.rootfs.path;
    let failed =
        |errno| Error::os(Code::Executable, format!("exec container process `{path}`"), errno).to_string();
    if statvfs(root).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::NOEXEC)) {
        let found = format!("{}: the rootfs lies on a mount with noexec", failed(Errno::ACCESS));
        return Some(Answer::missing(
            found,
            format!("`mount -o remount,exec` what `{}` lies on", root.display()),
        ));
    }
    let bytes = beginning(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    match Format::of(&bytes) {
        Format::Script(interpreter) => interpreted(examined, path, &interpreter, "#!"),
        Format::Elf { machine, interpreter } => {
            let own = beginning("/proc/self/exe").map(|own| Format::of(&own));
            match own {
                Some(Format::Elf { machine: own, .. }) if !runs(own, machine) => Some(foreign(
                    examined,
                    format!(
                        "{}: it is for another machine (ELF {machine}, this one is {own})",
                        failed(Errno::NOEXEC)
                    ),
                )),
                _ => interpreted(examined, path, interpreter.as_deref()?, "ELF"),
            }
        }
        Format::Unknown => Some(foreign(
            examined,
            format!("{}: it is neither a program nor a script with `#!`", failed(Errno::NOEXEC)),
        )),
    }
}

/// Something that somebody may have told the kernel how to run.
fn foreign(examined: &Examined<'_>, found: String) -> Answer {
    let handlers = examined.subject.machine.file("/proc/sys/fs/binfmt_misc");
    let is_handler = |name: std::ffi::OsString| name != "register" && name != "status";
    let has_handler =
        std::fs::read_dir(handlers).is_ok_and(|all| all.flatten().any(|entry| is_handler(entry.file_name())));
    let remedy =
        "take an image for this machine, or have the kernel told how to run it (binfmt_misc, qemu-user)";
    Answer::lacking(!has_handler, found, remedy)
}

fn interpreted(examined: &Examined<'_>, path: &str, interpreter: &str, how: &str) -> Option<Answer> {
    let what = match examined.locate(&absolute(examined, interpreter)) {
        Located::Nowhere(Errno::NOENT | Errno::NOTDIR) => "is not there",
        Located::File(file) if executable(&file, interpreter).is_err() => "cannot be executed",
        _ => return None,
    };
    let failed = Error::os(Code::Executable, format!("exec container process `{path}`"), Errno::NOENT);
    Some(Answer::missing(
        format!("{failed}: its interpreter `{interpreter}` ({how}) {what}"),
        format!("install `{interpreter}` in the rootfs, or a program that is linked statically"),
    ))
}

/// Which of the two kinds of programs a kernel knows by itself.
#[derive(Debug, PartialEq, Eq)]
enum Format {
    Script(String),
    Elf { machine: u16, interpreter: Option<String> },
    Unknown,
}

impl Format {
    /// By the beginning of the file (`elf(5)`, `execve(2)`).
    fn of(bytes: &[u8]) -> Self {
        if let Some(line) = bytes.strip_prefix(b"#!") {
            let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            return line
                .split_whitespace()
                .next()
                .map_or(Self::Unknown, |word| Self::Script(word.to_owned()));
        }
        elf(bytes).unwrap_or(Self::Unknown)
    }
}

/// Whether a machine runs programs for another: its own, and those with half the bits (x86, ARM).
fn runs(own: u16, machine: u16) -> bool {
    own == machine || matches!((own, machine), (62, 3) | (183, 40))
}

fn elf(bytes: &[u8]) -> Option<Format> {
    const PT_INTERP: u64 = 3;
    if bytes.get(..4)? != b"\x7fELF" {
        return None;
    }
    let (is_wide, is_little) = (*bytes.get(4)? == 2, *bytes.get(5)? == 1);
    let number = |at: usize, size: usize| -> Option<u64> {
        let bytes = bytes.get(at..at.checked_add(size)?)?;
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if is_little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) })
    };
    let index = |at, size| usize::try_from(number(at, size)?).ok();
    let machine = u16::try_from(number(18, 2)?).ok()?;
    // Where the program headers are, how large and how many; and in one, where its part lies and how long it is.
    let (table, sizes, [offset, length], word) = match is_wide {
        true => (index(32, 8)?, 54, [8, 32], 8),
        false => (index(28, 4)?, 42, [4, 16], 4),
    };
    let (size, count) = (index(sizes, 2)?, index(sizes + 2, 2)?);
    let interpreter = (0..count).find_map(|at| {
        let header = table.checked_add(at.checked_mul(size)?)?;
        if number(header, 4)? != PT_INTERP {
            return None;
        }
        let start = index(header + offset, word)?;
        let text = bytes.get(start..start.checked_add(index(header + length, word)?)?)?;
        Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned())
    });
    Some(Format::Elf { machine, interpreter })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_names_its_interpreter() {
        let script = |text: &[u8]| Format::of(text);
        assert_eq!(script(b"#!/bin/sh\necho"), Format::Script("/bin/sh".into()));
        assert_eq!(script(b"#! /usr/bin/env python3\n"), Format::Script("/usr/bin/env".into()));
        assert_eq!(script(b"#!\n"), Format::Unknown);
        assert_eq!(script(b"echo hello\n"), Format::Unknown);
        assert_eq!(script(b""), Format::Unknown);
    }

    #[test]
    fn a_program_says_its_machine_and_its_interpreter() {
        let mut program = b"\x7fELF\x02\x01\x01".to_vec();
        program.resize(200, 0);
        program[18] = 183;
        (program[32], program[54], program[56]) = (64, 56, 1);
        (program[64], program[72], program[96]) = (3, 150, 9);
        program[150..159].copy_from_slice(b"/lib/ld.1");
        let interpreter = Some("/lib/ld.1".to_owned());
        assert_eq!(Format::of(&program), Format::Elf { machine: 183, interpreter });
        program[64] = 1;
        assert_eq!(Format::of(&program), Format::Elf { machine: 183, interpreter: None });
        for length in 0..program.len() {
            let _ = Format::of(&program[..length]);
        }
    }

    #[test]
    fn a_machine_runs_its_own_programs_and_those_of_its_smaller_brother() {
        assert!(runs(62, 62) && runs(62, 3) && runs(183, 40));
        assert!(!runs(62, 183) && !runs(183, 62) && !runs(3, 62));
    }
}
