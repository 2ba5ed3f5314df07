//! The files in which a machine says what it allows, and who asks.

use std::path::{Path, PathBuf};

use rustix::process::geteuid;

/// A machine, and the user who wants something of it.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Where its files are: `/`, or a directory that plays a machine.
    pub(crate) root: PathBuf,
    pub(crate) uid: u32,
    /// The directories in which programs are looked for.
    pub(crate) path: Vec<PathBuf>,
}

impl Machine {
    /// This machine, and the user of this process.
    #[must_use]
    pub fn this() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
        Self {
            root: PathBuf::from("/"),
            uid: geteuid().as_raw(),
            path: std::env::split_paths(&path).collect(),
        }
    }

    /// What stands in a file, without the end of its line; nothing where there is none that can be read.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.file(path)).ok()?;
        Some(text.trim_end().to_owned())
    }

    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A field of `/proc/self/status`.
    pub(crate) fn status(&self, field: &str) -> Option<String> {
        let text = self.text("/proc/self/status")?;
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        Some(value.trim().to_owned())
    }

    /// Where a program is.
    pub(crate) fn program(&self, name: &str) -> Option<PathBuf> {
        let places = self.path.iter().map(|directory| self.root.join(relative(directory)).join(name));
        places.into_iter().find(|path| path.is_file())
    }
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A directory that plays a machine on which everything is allowed.
    pub(crate) struct Play {
        directory: PathBuf,
        pub(crate) machine: Machine,
    }

    impl Play {
        pub(crate) fn new(name: &str) -> Self {
            let directory = std::env::temp_dir().join(format!("crun-explain-{name}-{}", std::process::id()));
            drop(std::fs::remove_dir_all(&directory));
            let machine = Machine { root: directory.clone(), uid: 1000, path: vec!["/bin".into()] };
            let play = Self { directory, machine };
            play.write("proc/self/ns/user", "");
            play.write("proc/self/uid_map", "         0          0 4294967295\n");
            play.write("proc/self/status", "NoNewPrivs:\t0\nSeccomp:\t0\n");
            play.write("proc/sys/user/max_user_namespaces", "15000\n");
            play.write("etc/passwd", "alice:x:1000:1000::/home/alice:/bin/sh\n");
            play.write("etc/subuid", "alice:100000:65536\n");
            play.write("etc/subgid", "1000:100000:65536\n");
            play
        }

        pub(crate) fn write(&self, path: &str, text: &str) {
            let path = self.directory.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        pub(crate) fn remove(&self, path: &str) {
            std::fs::remove_file(self.directory.join(path)).unwrap();
        }
    }

    impl Drop for Play {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.directory));
        }
    }

    #[test]
    fn a_field_of_the_status_is_found_by_its_whole_name() {
        let play = Play::new("status");
        play.write("proc/self/status", "Seccomp:\t2\nSeccomp_filters:\t1\n");
        assert_eq!(play.machine.status("Seccomp").as_deref(), Some("2"));
        assert_eq!(play.machine.status("Sec"), None);
    }
}
