//! A lane that is up: commands go in and results come out by files of a directory that both sides see.
//!
//! What the lane is made of (processes, a cgroup, mounts in their namespace, layers on the disk) belongs to a supervisor
//! that ends with this process: however that goes, nothing stays.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kit::owned;

const SUPERVISE: &str = include_str!("supervise.sh");
const AGENT: &str = include_str!("agent.sh");
/// The unit that runs the agent.
pub(crate) const AGENT_UNIT: &str = include_str!("agent.service");

/// How often files are looked at.
const POLL: Duration = Duration::from_millis(20);

/// What a lane gets: a cgroup, and a directory in which `share` is the lane's `/lane`.
#[derive(Debug)]
pub(crate) struct Ground {
    /// The cgroup, on the unified hierarchy.
    pub(crate) cgroup: PathBuf,
    /// The directory.
    pub(crate) dir: PathBuf,
}

impl Ground {
    /// Makes both, and removes what lanes left whose supervisor was killed.
    pub(crate) fn new() -> Result<Self> {
        let cgroup = owned::cgroup("crun-lane-")?;
        let dir = owned::directory(&kit::rootfs::cache_dir()?, "lane-run-");
        let dir = dir.inspect_err(|_| owned::remove_cgroup(&cgroup))?;
        let ground = Self { cgroup, dir };
        fs::create_dir(ground.share())?;
        fs::write(ground.share().join("agent.sh"), AGENT)?;
        Ok(ground)
    }

    /// What both sides see.
    pub(crate) fn share(&self) -> PathBuf {
        self.dir.join("share")
    }

    fn remove(&self) {
        owned::remove_cgroup(&self.cgroup);
        drop(fs::remove_dir_all(&self.dir));
    }
}

/// A lane that was started; dropping it ends it and waits until nothing is left.
#[derive(Debug)]
pub(crate) struct Booted {
    ground: Ground,
    supervisor: Child,
    commands: u32,
}

/// How a command in the lane ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With this exit status.
    Exit(i32),
    /// It did not, and neither did the lane's own watch over it end it: the lane answers no more.
    Lost,
    /// The lane ended while the command was running.
    Died,
}

impl Booted {
    /// Starts `command`, which boots the lane, and waits until the lane is ready for commands.
    pub(crate) fn start(ground: Ground, command: &[&std::ffi::OsStr], limit: Duration) -> Result<Self> {
        let mut supervisor = Command::new("setsid");
        supervisor
            .args(["bash", "-c", SUPERVISE, "supervise"])
            .arg(&ground.cgroup)
            .arg(&ground.dir)
            .args(command);
        let supervisor = supervisor.stdin(Stdio::piped()).spawn().context("cannot run setsid (util-linux)");
        let supervisor = supervisor.inspect_err(|_| ground.remove())?;
        let mut booted = Self { ground, supervisor, commands: 0 };
        let start = Instant::now();
        while !booted.share().join("up").exists() {
            if booted.has_ended() {
                bail!("the lane ended while it booted{}", booted.end_of_console());
            }
            if start.elapsed() > limit {
                bail!("the lane did not boot in {} s{}", limit.as_secs(), booted.end_of_console());
            }
            sleep(POLL);
        }
        println!("The lane is up: {:.1} s", start.elapsed().as_secs_f64());
        booted.commands = 0;
        Ok(booted)
    }

    /// Runs a shell script in the lane, as root, and hands on what it writes, line by line, as it comes.
    pub(crate) fn run(&mut self, script: &str, limit: Duration, line: &mut dyn FnMut(&str)) -> Result<Ended> {
        self.commands += 1;
        let file = |kind: &str| self.share().join(format!("{kind}.{}", self.commands));
        let (output, done) = (file("out"), file("done"));
        fs::write(&output, "")?;
        fs::write(self.share().join("do.new"), script)?;
        fs::rename(self.share().join("do.new"), file("do"))?;
        let mut lines = Lines::new(&output)?;
        let start = Instant::now();
        loop {
            let is_done = done.exists();
            let (has_ended, is_late) = (self.has_ended(), start.elapsed() > limit);
            lines.each(line)?;
            if is_done {
                let status = fs::read_to_string(&done)?;
                return Ok(Ended::Exit(status.trim().parse().context("no exit status from the lane")?));
            }
            if has_ended || is_late {
                lines.rest(line);
                return Ok(if has_ended { Ended::Died } else { Ended::Lost });
            }
            sleep(POLL);
        }
    }

    /// The directory both sides see.
    pub(crate) fn share(&self) -> PathBuf {
        self.ground.share()
    }

    /// What the lane's console showed last, as the end of an error.
    pub(crate) fn end_of_console(&self) -> String {
        let text = fs::read(self.ground.dir.join("console")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).replace(|c: char| c.is_control() && c != '\n', "");
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(25)..).unwrap_or_default();
        format!("; the end of its console:\n    {}", last.join("\n    "))
    }

    fn has_ended(&self) -> bool {
        self.ground.dir.join("ended").exists()
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        drop(self.supervisor.wait());
    }
}

/// A file that grows, read line by line.
struct Lines {
    file: File,
    at: u64,
    begun: Vec<u8>,
}

impl Lines {
    fn new(path: &Path) -> Result<Self> {
        Ok(Self { file: File::open(path)?, at: 0, begun: Vec::new() })
    }

    /// Hands on the lines that are complete by now.
    fn each(&mut self, line: &mut dyn FnMut(&str)) -> Result<()> {
        self.file.seek(SeekFrom::Start(self.at))?;
        let read = self.file.read_to_end(&mut self.begun)?;
        self.at += u64::try_from(read)?;
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let complete: Vec<u8> = self.begun.drain(..=end).collect();
            line(String::from_utf8_lossy(&complete).trim_end_matches('\n'));
        }
        Ok(())
    }

    /// Hands on what there is of the last line.
    fn rest(&mut self, line: &mut dyn FnMut(&str)) {
        if !self.begun.is_empty() {
            line(&String::from_utf8_lossy(&std::mem::take(&mut self.begun)));
        }
    }
}
