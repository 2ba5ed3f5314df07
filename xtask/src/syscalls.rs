//! `cargo xtask syscalls`: writes the table of system calls of `crates/seccomp` anew, from the kernel's headers as Debian
//! packages them for all its architectures at once.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::sh;

/// The Debian releases whose headers are read. A later one adds what an earlier one lacks: Linux 7 no longer has the
/// numbers of 31-bit s390, which older kernels run.
const SUITES: [&str; 2] = ["forky", "trixie"];

const MIRROR: &str = "http://deb.debian.org/debian";
const PACKAGE: &str = "linux-libc-dev";
const TABLE: &str = "crates/seccomp/src/syscalls/table.rs";

/// The header of 32-bit ARM's calls, and the one that has those that no other architecture knows.
const ARM: &str = "arm/asm/unistd-eabi.h";
const ARM_PRIVATE: &str = "arm/asm/unistd.h";
/// Where these are in the table. The kernel has them at 0xf0000.
const PRIVATE: u32 = 0xf000;

/// A column of the table, and the header that it is read from.
struct Column {
    name: &'static str,
    header: &'static str,
}

/// The architectures that a profile can name; two that differ in the order of bytes only are one column.
const COLUMNS: [Column; 18] = [
    Column { name: "x86_64", header: "x86/asm/unistd_64.h" },
    Column { name: "x86", header: "x86/asm/unistd_32.h" },
    Column { name: "x32", header: "x86/asm/unistd_x32.h" },
    Column { name: "aarch64", header: "arm64/asm/unistd_64.h" },
    Column { name: "arm", header: ARM },
    Column { name: "riscv64", header: "riscv/asm/unistd_64.h" },
    Column { name: "loongarch64", header: "loongarch/asm/unistd_64.h" },
    Column { name: "ppc64", header: "powerpc/asm/unistd_64.h" },
    Column { name: "ppc", header: "powerpc/asm/unistd_32.h" },
    Column { name: "s390x", header: "s390/asm/unistd_64.h" },
    Column { name: "s390", header: "s390/asm/unistd_32.h" },
    Column { name: "mips", header: "mips/asm/unistd_o32.h" },
    Column { name: "mips64", header: "mips/asm/unistd_n64.h" },
    Column { name: "mips64n32", header: "mips/asm/unistd_n32.h" },
    Column { name: "parisc", header: "parisc/asm/unistd_32.h" },
    Column { name: "parisc64", header: "parisc/asm/unistd_64.h" },
    Column { name: "m68k", header: "m68k/asm/unistd_32.h" },
    Column { name: "sh", header: "sh/asm/unistd_32.h" },
];

/// The numbers of each call, by name, a place for each column.
type Numbers = BTreeMap<String, [Option<u32>; COLUMNS.len()]>;

pub(crate) fn run(arguments: Vec<std::ffi::OsString>) -> Result<()> {
    ensure!(arguments.is_empty(), "syscalls takes no arguments");
    let work = sh::checkout().join("target/syscalls");
    let mut numbers = Numbers::new();
    let mut sources = Vec::new();
    for suite in SUITES {
        let version = fetch(suite, &work)?;
        add(&mut numbers, &work.join(suite).join("usr/lib/linux/uapi"))?;
        sources.push(format!("{version} ({suite})"));
    }
    fs::write(sh::checkout().join(TABLE), table(&numbers, &sources)?)?;
    println!("{TABLE}: {} calls, from {PACKAGE} {}", numbers.len(), sources.join(" and "));
    Ok(())
}

/// Gets the newest package of a release and unpacks it; returns its version.
fn fetch(suite: &str, work: &Path) -> Result<String> {
    fs::create_dir_all(work)?;
    let list = work.join(format!("{suite}.xz"));
    download(&format!("dists/{suite}/main/binary-amd64/Packages.xz"), &list)?;
    let list = sh::read(Command::new("xz").arg("--decompress").arg("--stdout").arg(&list))?;
    let (version, file) = list
        .split("\n\n")
        .filter(|package| package.lines().any(|line| line == format!("Package: {PACKAGE}")))
        .filter_map(|package| Some((field(package, "Version: ")?, field(package, "Filename: ")?)))
        .last()
        .with_context(|| format!("no {PACKAGE} in {suite}"))?;
    let package = work.join(format!("{suite}.deb"));
    download(file, &package)?;
    sh::run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(work.join(suite)))?;
    Ok(version.to_owned())
}

fn field<'a>(package: &'a str, name: &str) -> Option<&'a str> {
    package.lines().find_map(|line| line.strip_prefix(name))
}

fn download(path: &str, to: &Path) -> Result<()> {
    let mut curl = Command::new("curl");
    curl.args(["--fail", "--silent", "--show-error", "--location", "--output"]).arg(to);
    sh::run(curl.arg(format!("{MIRROR}/{path}")))
}

/// Adds what the headers below a directory have and what is not known yet.
fn add(numbers: &mut Numbers, headers: &Path) -> Result<()> {
    for (column, Column { header, .. }) in COLUMNS.iter().enumerate() {
        let Ok(mut text) = fs::read_to_string(headers.join(header)) else {
            continue;
        };
        if *header == ARM {
            text += &fs::read_to_string(headers.join(ARM_PRIVATE))?;
        }
        for line in text.lines() {
            let Some((name, number)) = definition(line).with_context(|| format!("{header}: {line}"))? else {
                continue;
            };
            let place = &mut numbers.entry(name.to_owned()).or_default()[column];
            ensure!(place.is_none_or(|known| known == number), "{header}: {name} has had another number");
            *place = Some(number);
        }
    }
    Ok(())
}

/// The name and number of a line `#define __NR_name number`, or `(BASE + number)`: what is added to all numbers of an
/// architecture is the crate's to know.
fn definition(line: &str) -> Result<Option<(&str, u32)>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (name, value, base) = match words[..] {
        ["#define", name, value] => match (name.strip_prefix("__NR_"), name.strip_prefix("__ARM_NR_")) {
            // What is no call (the base, the mask), and another name for a call that has one already.
            (Some(name), _) if name.contains("SYSCALL") || value.starts_with("__NR") => return Ok(None),
            (Some(name), _) => (name, value, 0),
            (None, Some(name)) if value.starts_with("(__ARM_NR_BASE") => (name, value, PRIVATE),
            _ => return Ok(None),
        },
        ["#define", name, _base, "+", value] if name.starts_with("__NR_") => {
            (&name["__NR_".len()..], value, 0)
        }
        _ => return Ok(None),
    };
    let value = value.trim_end_matches(')');
    let number = value.rsplit_once('+').map_or(value, |(_, number)| number);
    let number: u32 = number.parse().with_context(|| format!("no number: {number:?}"))?;
    Ok(Some((name, base + number)))
}

/// The table as Rust: a row for each call.
fn table(numbers: &Numbers, sources: &[String]) -> Result<String> {
    let mut text = format!(
        "//! The numbers of the system calls. Written by `cargo xtask syscalls` from the headers of Linux, as packaged by\n\
         //! Debian: {PACKAGE} {}.\n\n\
         use super::{{COLUMNS, NONE as __}};\n\n\
         /// How many calls there are.\n\
         pub(super) const COUNT: usize = {};\n\n\
         /// Each call by its name, sorted, with its numbers as\n\
         /// {}.\n\
         #[rustfmt::skip]\n\
         #[allow(clippy::large_const_arrays, reason = \"read while compiling only: what it becomes are statics\")]\n\
         pub(super) const ROWS: [(&str, [u16; COLUMNS]); COUNT] = [\n",
        sources.join(" and "),
        numbers.len(),
        COLUMNS.map(|column| column.name).join(", ")
    );
    for (name, row) in numbers {
        if row.iter().flatten().any(|number| *number >= u32::from(u16::MAX)) {
            bail!("{name} has a number too large for the table");
        }
        let row = row.map(|number| number.map_or("__".to_owned(), |number| number.to_string()));
        writeln!(text, "    ({name:?}, [{}]),", row.join(", "))?;
    }
    Ok(text + "];\n")
}
