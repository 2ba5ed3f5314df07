//! What the pipeline needs to know about this machine: each question asked at most once, and only when it matters.
//!
//! In tests a [`Host`] is made of answers ([`Host::with`]), so that decisions can be tested without the machine.

pub(crate) mod users;

use std::cell::OnceCell;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cgroups::Layout;

use crate::error::Result;
use crate::plan::UserNamespace;
use crate::timeline::Timeline;
use crate::user_namespace;
use users::SubordinateIds;

/// Answers about this machine and this process.
#[derive(Debug, Default)]
pub struct Host {
    effective_uid: OnceCell<u32>,
    effective_gid: OnceCell<u32>,
    subordinate_ids: OnceCell<SubordinateIds>,
    is_rootless: OnceCell<bool>,
    joined_user_namespace: OnceCell<Option<UserNamespace>>,
    joins_own_user_namespace: OnceCell<bool>,
    joins_hosts_mount_namespace: OnceCell<bool>,
    cgroups: OnceCell<Layout>,
    apparmor: OnceCell<Option<String>>,
    has_selinux: OnceCell<bool>,
    timeline: Timeline,
}

/// What confines processes on a host beyond the usual permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecurityModule {
    /// Nothing.
    None,
    /// AppArmor, and the profile it confines this process to.
    AppArmor(String),
    /// SELinux.
    Selinux,
}

impl Host {
    /// A host that looks for itself.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A host with the given answers.
    #[must_use]
    pub fn with(effective_uid: u32, cgroups: Layout) -> Self {
        Self {
            effective_uid: OnceCell::from(effective_uid),
            effective_gid: OnceCell::from(effective_uid),
            subordinate_ids: OnceCell::from(SubordinateIds::default()),
            is_rootless: OnceCell::from(effective_uid != 0),
            joined_user_namespace: OnceCell::from(None),
            joins_own_user_namespace: OnceCell::from(false),
            joins_hosts_mount_namespace: OnceCell::from(false),
            cgroups: OnceCell::from(cgroups),
            apparmor: OnceCell::from(None),
            has_selinux: OnceCell::from(false),
            timeline: Timeline::default(),
        }
    }

    /// The same host, with a note of how long each question took.
    pub(crate) fn with_timeline(self, timeline: &Timeline) -> Self {
        Self { timeline: timeline.clone(), ..self }
    }

    /// Where that is noted.
    pub(crate) fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// The same host, on which this user may map these ids.
    #[cfg(test)]
    pub(crate) fn with_subordinate_ids(self, ids: SubordinateIds) -> Self {
        Self { subordinate_ids: OnceCell::from(ids), ..self }
    }

    /// The same host with this security module.
    #[must_use]
    pub fn with_security_module(self, module: SecurityModule) -> Self {
        let has_selinux = OnceCell::from(module == SecurityModule::Selinux);
        let profile = if let SecurityModule::AppArmor(profile) = module { Some(profile) } else { None };
        Self { apparmor: OnceCell::from(profile), has_selinux, ..self }
    }

    /// The same host, on which the user namespace that is joined is this one.
    #[cfg(test)]
    pub(crate) fn with_user_namespace(self, namespace: UserNamespace) -> Self {
        Self { joined_user_namespace: OnceCell::from(Some(namespace)), ..self }
    }

    /// The effective user id of this process.
    pub fn effective_uid(&self) -> u32 {
        *self.effective_uid.get_or_init(|| rustix::process::geteuid().as_raw())
    }

    /// The effective group id of this process.
    pub(crate) fn effective_gid(&self) -> u32 {
        *self.effective_gid.get_or_init(|| rustix::process::getegid().as_raw())
    }

    /// Which ids beyond its own this user may map.
    pub(crate) fn subordinate_ids(&self) -> SubordinateIds {
        let look = || SubordinateIds::of(self.effective_uid());
        *self.subordinate_ids.get_or_init(|| self.timeline.look("host: subordinate ids", look))
    }

    /// What the user namespace at this path, which the container joins, lets its processes be; nothing where that cannot be
    /// seen.
    pub(crate) fn user_namespace_at(&self, path: &Path) -> Option<UserNamespace> {
        let look = || self.timeline.look("host: user namespace", || user_namespace::at(path));
        self.joined_user_namespace.get_or_init(look).clone()
    }

    /// Whether the user namespace at this path, which the container joins, is that of this process.
    pub(crate) fn is_own_user_namespace(&self, path: &Path) -> bool {
        *self.joins_own_user_namespace.get_or_init(|| user_namespace::is_own(path))
    }

    /// Whether the mount namespace at this path, which the container joins, is the host's: that of this process, or of the
    /// first there is.
    pub(crate) fn is_hosts_mount_namespace(&self, path: &Path) -> bool {
        let identity = |path: &Path| std::fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
        let look = || {
            let joined = identity(path);
            let of_host = ["/proc/self/ns/mnt", "/proc/1/ns/mnt"].map(|path| identity(Path::new(path)));
            joined.is_some() && of_host.contains(&joined)
        };
        *self.joins_hosts_mount_namespace.get_or_init(look)
    }

    /// Whether this process has no power over the host: it is not root, or root only of a user namespace. The user's
    /// systemd, not the system's, makes its units. What stands in the id maps does not tell: systemd makes namespaces that
    /// map every id to itself.
    pub fn is_rootless(&self) -> bool {
        let look = || self.effective_uid() != 0 || !sys::namespace::is_in_initial_user_namespace();
        *self.is_rootless.get_or_init(|| self.timeline.look("host: rights of this process", look))
    }

    /// What AppArmor confines this process to, in the kernel's words; nothing where it does not run.
    pub fn apparmor(&self) -> Option<&str> {
        self.apparmor.get_or_init(|| self.timeline.look("host: AppArmor", apparmor)).as_deref()
    }

    /// Whether SELinux runs. The kernel has its filesystem then, mounted or not.
    pub fn has_selinux(&self) -> bool {
        let names = |line: &str| line.split_whitespace().last() == Some("selinuxfs");
        let look = || std::fs::read_to_string("/proc/filesystems").is_ok_and(|text| text.lines().any(names));
        *self.has_selinux.get_or_init(|| self.timeline.look("host: SELinux", look))
    }

    /// How cgroups are laid out.
    ///
    /// # Errors
    /// When no cgroup filesystem is mounted where it has to be.
    pub fn cgroups(&self) -> Result<&Layout> {
        if let Some(layout) = self.cgroups.get() {
            return Ok(layout);
        }
        let layout = self.timeline.measure("host: cgroups", || Ok(Layout::detect()?))?;
        Ok(self.cgroups.get_or_init(|| layout))
    }
}

/// Says what [`Host::apparmor`] is asked.
fn apparmor() -> Option<String> {
    let read = |path: &str| std::fs::read_to_string(path);
    match read("/proc/thread-self/attr/apparmor/current") {
        Ok(current) => Some(current),
        // Linux before 5.8 has one file for whichever module there is.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let enabled = read("/sys/module/apparmor/parameters/enabled").ok()?;
            if enabled.trim_end() == "Y" { read("/proc/thread-self/attr/current").ok() } else { None }
        }
        Err(_) => None,
    }
}
