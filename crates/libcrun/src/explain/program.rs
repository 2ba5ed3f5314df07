//! Why the kernel does not execute a program that is there: what its file says it is, and what it needs.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::channel::Step;
use crate::error::{Code, Error, Object};
use crate::init::inner;

/// As much of a program as is looked at: its head, and where it names its interpreter.
const HEAD: u64 = 64 << 10;

/// The error with what is known about a program that could not be executed, if that is what it is about, in the container
/// with this root: as far as that can be seen from the host.
pub(crate) fn failed(error: Error, root: &Path) -> Error {
    let path = match error.object() {
        Some(Object::Inside(path)) if error.step() == Some(Step::Exec.name()) => path,
        _ => return error,
    };
    let found = match error.errno() {
        Some(Errno::NOENT) => missing_interpreter(root, path, 0).map(|hint| (Code::InterpreterNotFound, hint)),
        Some(Errno::NOEXEC) => {
            head(root, path).map(|head| (Code::ExecutableFormat, format!("`{path}` {}", what_it_is(&head))))
        }
        Some(Errno::TOOBIG) => Some((
            Code::Executable,
            "process.args and process.env are together larger than a quarter of the stack limit (RLIMIT_STACK), or one of \
             them is larger than 128 KiB"
                .to_owned(),
        )),
        Some(Errno::TXTBSY) => Some((Code::Executable, format!("somebody has `{path}` open for writing"))),
        _ => None,
    };
    match found {
        Some((code, hint)) => error.with_code(code).with_hint(hint),
        None => error,
    }
}

/// The beginning of a file in the container.
fn head(root: &Path, path: &str) -> Option<Vec<u8>> {
    let root = openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let path = CString::new(path.trim_start_matches('/')).ok()?;
    let file = inner::open_to_read(root.as_fd(), &path).ok()?;
    let mut head = Vec::new();
    File::from(file).take(HEAD).read_to_end(&mut head).ok()?;
    Some(head)
}

/// Which interpreter is not there: that of the program, or that of its interpreter.
fn missing_interpreter(root: &Path, path: &str, depth: u8) -> Option<String> {
    let program = head(root, path)?;
    if let Some(interpreter) = of_script(&program) {
        if interpreter.ends_with('\r') {
            return Some(format!(
                "the first line of `{path}` ends with a carriage return, which the kernel takes for a part of the interpreter's \
                 name: `sed -i 's/\\r$//'` makes a Unix text of it"
            ));
        }
        return match head(root, &interpreter) {
            None => Some(format!(
                "`{path}` is a script, and its interpreter `{interpreter}` is not in the container"
            )),
            Some(_) if depth < 4 => missing_interpreter(root, &interpreter, depth + 1),
            Some(_) => None,
        };
    }
    let interpreter = of_elf(&program)?;
    head(root, &interpreter).is_none().then(|| {
        format!(
            "`{path}` is dynamically linked, and its loader `{interpreter}` is not in the container: it was built for another \
             distribution or C library"
        )
    })
}

/// The interpreter that the first line of a script names (`execve(2)`).
fn of_script(head: &[u8]) -> Option<String> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    let line = line.trim_matches([' ', '\t']);
    line.split([' ', '\t']).next().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// A number in the file, in its order of bytes.
fn number(head: &[u8], at: usize, length: usize, big_endian: bool) -> Option<usize> {
    let bytes = head.get(at..at.checked_add(length)?)?;
    let fold = |number: usize, byte: &u8| number << 8 | usize::from(*byte);
    Some(if big_endian { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) })
}

/// The loader that a dynamically linked program names (`elf(5)`, PT_INTERP).
fn of_elf(head: &[u8]) -> Option<String> {
    const PT_INTERP: usize = 3;
    let (is_64_bit, big_endian) = elf(head)?;
    let read = |at, length| number(head, at, length, big_endian);
    // Where the program headers are, how long one is, how many there are; then in each, the place and length of its part.
    let (table, length, count) = match is_64_bit {
        true => (read(32, 8)?, read(54, 2)?, read(56, 2)?),
        false => (read(28, 4)?, read(42, 2)?, read(44, 2)?),
    };
    let header = (0..count)
        .filter_map(|index| table.checked_add(index.checked_mul(length)?))
        .find(|header| read(*header, 4) == Some(PT_INTERP))?;
    let (place, size) = match is_64_bit {
        true => (read(header.checked_add(8)?, 8)?, read(header.checked_add(32)?, 8)?),
        false => (read(header.checked_add(4)?, 4)?, read(header.checked_add(16)?, 4)?),
    };
    let name = head.get(place..place.checked_add(size)?)?;
    Some(String::from_utf8_lossy(name.split(|byte| *byte == 0).next()?).into_owned())
}

/// Whether it is a program in the kernel's own format: of 64 bits, and with the high byte first.
fn elf(head: &[u8]) -> Option<(bool, bool)> {
    let rest = head.strip_prefix(b"\x7fELF")?;
    Some((rest.first() == Some(&2), rest.get(1) == Some(&2)))
}

/// `e_machine`, and what `uname -m` calls it.
const MACHINES: [(usize, &str); 12] = [
    (3, "i686"),
    (8, "mips"),
    (20, "ppc"),
    (21, "ppc64"),
    (22, "s390x"),
    (40, "arm"),
    (43, "sparc64"),
    (62, "x86_64"),
    (183, "aarch64"),
    (243, "riscv64"),
    (247, "bpf"),
    (258, "loongarch64"),
];

/// What a file is that the kernel cannot execute.
fn what_it_is(head: &[u8]) -> String {
    if let Some((_, big_endian)) = elf(head) {
        let machine = number(head, 18, 2, big_endian).unwrap_or_default();
        let name = MACHINES.iter().find(|(known, _)| *known == machine).map(|(_, name)| *name);
        let own = std::env::consts::ARCH;
        return match name {
            Some(name) if name == own => {
                "is no whole program (a library, an object file, or cut off)".to_owned()
            }
            Some(name) => format!(
                "is a program for {name}, and this machine is {own}: take the image for {own}, or register qemu in binfmt_misc"
            ),
            None => format!("is a program for another machine (ELF number {machine}), and this one is {own}"),
        };
    }
    let known: [(&[u8], &str); 8] = [
        (b"MZ", "is a program for Windows"),
        (b"\xcf\xfa\xed\xfe", "is a program for macOS"),
        (b"\xca\xfe\xba\xbe", "is a program for macOS, or a Java class"),
        (b"\0asm", "is a WebAssembly module, which takes a runtime of its own"),
        (b"\x1f\x8b", "is a gzip file"),
        (b"PK\x03\x04", "is a ZIP file, such as a JAR: run it by its interpreter"),
        (b"#!", "is a script whose first line names no interpreter"),
        (b"\xef\xbb\xbf#!", "is a script with a byte order mark in front of its `#!`: remove it"),
    ];
    if let Some((_, what)) = known.iter().find(|(magic, _)| head.starts_with(magic)) {
        return (*what).to_owned();
    }
    match head {
        [] => "is empty".to_owned(),
        _ if !head.contains(&0) => {
            "is a text without `#!` and an interpreter in its first line: add one such as `#!/bin/sh`, or run it by a shell"
                .to_owned()
        }
        _ => "is no program that Linux knows".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreter_of_a_script_is_read_as_the_kernel_reads_it() {
        for (text, interpreter) in [
            ("#!/bin/sh\nexit\n", Some("/bin/sh")),
            ("#! \t/usr/bin/env python3\n", Some("/usr/bin/env")),
            ("#!/bin/sh\r\n", Some("/bin/sh\r")),
            ("#!\n", None),
            ("# !/bin/sh\n", None),
        ] {
            assert_eq!(of_script(text.as_bytes()).as_deref(), interpreter, "{text:?}");
        }
    }

    #[test]
    fn the_loader_of_a_program_is_found() {
        let program = std::fs::read("/bin/bash").unwrap();
        let loader = of_elf(&program).unwrap();
        assert!(loader.contains("ld-linux") && Path::new(&loader).exists(), "{loader}");
        // Whatever is cut off, nothing is read beyond the end.
        for length in 0..400 {
            let _ = (of_elf(&program[..length]), what_it_is(&program[..length]));
        }
        assert_eq!(of_elf(b"\x7fELF\x02\x01"), None);
    }

    #[test]
    fn what_cannot_be_executed_is_called_what_it_is() {
        let mut other = b"\x7fELF\x02\x01".to_vec();
        other.resize(18, 0);
        other.extend([183, 0]);
        for (head, words) in [
            (b"".as_slice(), "is empty"),
            (b"echo hello\n", "a text without `#!`"),
            (b"MZ\x90\0", "for Windows"),
            (b"\x01\0\x02", "no program that Linux knows"),
            (&other, "a program for aarch64, and this machine is"),
        ] {
            let said = what_it_is(head);
            assert!(said.contains(words), "{said}");
        }
    }
}
