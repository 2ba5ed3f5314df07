//! Mounts that a container gets or loses while it runs: planned as at its start, without what only a start can do.

use std::path::{Path, PathBuf};

use rustix::process::{Gid, Uid};
use sys::clone::Namespaces;

use super::mounts::{self, Surroundings};
use super::{
    InnerPath, Join, MountLabel, MountOperation, MountSource, NamespacePlan, SetUpIds, invalid, namespaces,
    user,
};
use crate::error::{Code, Error, Result};
use crate::host::Host;
use crate::spec::{Linux, Mount, Spec, User};

/// What is known of a container that runs.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    pub(crate) spec: &'a Spec<'a>,
    pub(crate) bundle: &'a Path,
    /// The user namespace of its first process, as a path.
    pub(crate) user_namespace: PathBuf,
    /// Whether it has a cgroup.
    pub(crate) has_cgroup: bool,
    /// Whether it has a user namespace even if its configuration names none.
    pub(crate) is_an_ordinary_users: bool,
}

/// What is to be mounted, and where a process has to be to do that.
#[derive(Debug)]
pub(crate) struct AddedMounts {
    pub(crate) mounts: Vec<MountOperation>,
    pub(crate) enter: Namespaces,
    pub(crate) set_up: SetUpIds,
}

/// What is to be taken off, by the order of the list.
#[derive(Debug)]
pub(crate) struct RemovedMounts {
    pub(crate) destinations: Vec<InnerPath>,
    pub(crate) enter: Namespaces,
    pub(crate) set_up: SetUpIds,
}

impl AddedMounts {
    /// Decides everything.
    pub(crate) fn new(list: &[Mount<'_>], container: &Running<'_>, host: &Host) -> Result<Self> {
        let (linux, namespaces) = own_mounts(container, host)?;
        let shows_cgroups =
            list.iter().any(|mount| matches!(mount.kind.as_deref(), Some("cgroup" | "cgroup2")));
        let layout = if shows_cgroups && container.has_cgroup { Some(host.cgroups()?) } else { None };
        let label = MountLabel::new(container.spec, host)?;
        let around = Surroundings {
            bundle: container.bundle,
            layout,
            host,
            linux,
            namespaces: &namespaces,
            label: label.as_ref(),
        };
        let mounts = list.iter().enumerate();
        let mut mounts =
            mounts.map(|(index, mount)| mounts::plan(index, mount, &around)).collect::<Result<Vec<_>>>()?;
        mounts.iter().try_for_each(refuse_change)?;
        mounts::relate(&mut mounts);
        let enter = mounts.iter().map(shown_namespaces).fold(Namespaces::MOUNT, Namespaces::union);
        Ok(Self { mounts, enter: existing(enter, &namespaces), set_up: namespaces.set_up })
    }

    /// Whether the container's cgroup is shown.
    pub(crate) fn shows_cgroup(&self) -> bool {
        self.mounts.iter().any(|mount| {
            matches!(mount.source, MountSource::CgroupTree(_))
                || shown_namespaces(mount) == Namespaces::CGROUP
        })
    }

    /// Whether a tmpfs is filled with what it covers.
    pub(crate) fn copies(&self) -> bool {
        let copies = |mount: &MountOperation| match &mount.source {
            MountSource::Filesystem(filesystem) => filesystem.copy_up,
            _ => false,
        };
        self.mounts.iter().any(copies)
    }
}

impl RemovedMounts {
    /// Takes of each mount only where it is.
    pub(crate) fn new(list: &[Mount<'_>], container: &Running<'_>, host: &Host) -> Result<Self> {
        let (_, namespaces) = own_mounts(container, host)?;
        let destination = |(index, mount): (usize, &Mount<'_>)| {
            let name = || format!("mounts[{index}]: {}", mount.destination);
            let path = InnerPath::new(&mount.destination, name)?;
            if path.is_root() {
                return Err(invalid(format!("{}: a running container needs its root", name())));
            }
            Ok(path)
        };
        let destinations = list.iter().enumerate().map(destination).collect::<Result<_>>()?;
        Ok(Self { destinations, enter: existing(Namespaces::MOUNT, &namespaces), set_up: namespaces.set_up })
    }
}

/// The namespaces of a container that has its mounts to itself.
fn own_mounts<'a>(container: &Running<'a>, host: &Host) -> Result<(&'a Linux<'a>, NamespacePlan)> {
    let linux = container.spec.linux.as_ref();
    let linux = linux.ok_or_else(|| invalid("invalid config file, no `linux` block specified"))?;
    let mut namespaces = namespaces::plan(linux, None, host)?;
    if !namespaces.creates(Namespaces::MOUNT) {
        return Err(Error::new(
            Code::WrongState,
            "the container has no mount namespace of its own, in which its mounts could be changed",
        ));
    }
    // The path of the configuration may have led there only when the container was made.
    if container.is_an_ordinary_users && !namespaces.contains(Namespaces::USER) {
        namespaces.join.push(Join { kind: Namespaces::USER, path: PathBuf::new() });
    }
    for join in namespaces.join.iter_mut().filter(|join| join.kind == Namespaces::USER) {
        join.path.clone_from(&container.user_namespace);
    }
    namespaces.settle_user_join(host);
    if let Some(namespace) = user::namespace(&namespaces, host) {
        let user = container.spec.process.as_ref().and_then(|process| process.user.clone());
        let User { uid, gid, .. } = user.unwrap_or_default();
        namespaces.set_up = SetUpIds::new(&namespace.maps, Uid::from_raw(uid), Gid::from_raw(gid));
    }
    Ok((linux, namespaces))
}

/// Only what can be taken back by taking it off is an addition.
fn refuse_change(mount: &MountOperation) -> Result<()> {
    if matches!(mount.source, MountSource::Remount { .. }) {
        return Err(invalid(mount.name("the option `remount` changes a mount and adds none")));
    }
    if mount.covers_root() {
        return Err(invalid(mount.name("the root of a running container cannot be covered")));
    }
    Ok(())
}

/// The namespaces that a filesystem shows those of whose maker.
fn shown_namespaces(mount: &MountOperation) -> Namespaces {
    let MountSource::Filesystem(filesystem) = &mount.source else { return Namespaces::empty() };
    match filesystem.kind.to_bytes() {
        b"proc" => Namespaces::PID,
        b"sysfs" => Namespaces::NETWORK,
        b"mqueue" => Namespaces::IPC,
        b"cgroup2" => Namespaces::CGROUP,
        _ => Namespaces::empty(),
    }
}

/// Of these namespaces, those that the container does not share with the runtime; and its user namespace, which owns
/// the others.
fn existing(wanted: Namespaces, namespaces: &NamespacePlan) -> Namespaces {
    (wanted | Namespaces::USER).iter().filter(|kind| namespaces.contains(*kind)).collect()
}

#[cfg(test)]
mod tests {
    use cgroups::Layout;
    use cgroups::layout::Hierarchy;

    use super::super::Maps;
    use super::super::mounts::{Bind, MountSource};
    use super::*;
    use crate::spec;

    /// A container with these namespaces, which gets these mounts.
    fn added_on(host: &Host, namespaces: &str, mounts: &str, has_cgroup: bool) -> Result<AddedMounts> {
        let config = format!(r#"{{"ociVersion":"1.0.0","linux":{{"namespaces":[{namespaces}]}}}}"#);
        let spec = spec::parse(config.as_bytes(), "config.json").unwrap();
        let list = spec::parse_mounts(mounts.as_bytes(), "mounts.json")?;
        let (bundle, user_namespace) = (Path::new("/bundle"), PathBuf::from("/proc/7/ns/user"));
        let is_an_ordinary_users = false;
        let container = Running { spec: &spec, bundle, user_namespace, has_cgroup, is_an_ordinary_users };
        AddedMounts::new(&list, &container, host)
    }

    fn added(namespaces: &str, mounts: &str) -> AddedMounts {
        added_on(&Host::with(0, Layout::unified()), namespaces, mounts, true).unwrap()
    }

    fn refusal(namespaces: &str, mounts: &str) -> String {
        added_on(&Host::with(0, Layout::unified()), namespaces, mounts, true).unwrap_err().to_string()
    }

    const ALL: &str = r#"{"type":"pid"},{"type":"network"},{"type":"ipc"},{"type":"uts"},{"type":"cgroup"},{"type":"mount"}"#;
    const MOUNT: &str = r#"{"type":"mount"}"#;

    #[test]
    fn only_those_namespaces_are_entered_that_a_filesystem_shows() {
        for (kind, shown) in [
            ("tmpfs", Namespaces::empty()),
            ("devpts", Namespaces::empty()),
            ("proc", Namespaces::PID),
            ("sysfs", Namespaces::NETWORK),
            ("mqueue", Namespaces::IPC),
            ("cgroup", Namespaces::CGROUP),
        ] {
            let mounts = format!(r#"[{{"destination":"/x","type":"{kind}"}}]"#);
            assert_eq!(added(ALL, &mounts).enter, Namespaces::MOUNT | shown, "{kind}");
            assert_eq!(added(MOUNT, &mounts).enter, Namespaces::MOUNT, "{kind}");
            let with_user = format!(r#"{{"type":"user"}},{ALL}"#);
            let all = Namespaces::MOUNT | Namespaces::USER | shown;
            assert_eq!(added(&with_user, &mounts).enter, all, "{kind}");
        }
    }

    #[test]
    fn a_bind_lies_in_the_bundle_and_is_named_by_its_place_in_the_list() {
        let added = added(
            ALL,
            r#"[{"destination":"/a","type":"tmpfs"},{"destination":"/b/../c","type":"bind","source":"x"}]"#,
        );
        let MountSource::Bind(Bind { source, .. }) = &added.mounts[1].source else { panic!("a bind") };
        assert_eq!(
            (source.as_c_str(), added.mounts[1].name_only().as_str()),
            (c"/bundle/x", "mounts[1]: /c")
        );
        assert!(!added.shows_cgroup() && !added.copies());
    }

    #[test]
    fn a_joined_user_namespace_is_that_of_the_process() {
        let namespaces = format!(r#"{{"type":"user","path":"/proc/1/ns/user"}},{ALL}"#);
        let mounts = r#"[{"destination":"/a","type":"bind","source":"/x","options":["idmap"]}]"#;
        let added = added(&namespaces, mounts);
        let MountSource::Bind(Bind { idmap: Some(idmap), .. }) = &added.mounts[0].source else {
            panic!("a bind")
        };
        assert_eq!(idmap.maps, Maps::Joined("/proc/7/ns/user".into()));
    }

    #[test]
    fn the_cgroup_filesystem_is_that_of_the_host_as_far_as_the_container_has_a_cgroup() {
        let hierarchies = vec![Hierarchy {
            directory: "memory".to_owned(),
            unified: false,
            controllers: vec!["memory".to_owned()],
        }];
        let host = Host::with(0, Layout { hierarchies });
        let mounts = r#"[{"destination":"/a","type":"cgroup"}]"#;
        let with = added_on(&host, ALL, mounts, true).unwrap();
        assert!(matches!(with.mounts[0].source, MountSource::CgroupTree(_)) && with.shows_cgroup());
        let without = added_on(&host, ALL, mounts, false).unwrap();
        assert!(matches!(without.mounts[0].source, MountSource::Filesystem(_)) && without.shows_cgroup());
    }

    #[test]
    fn only_a_tmpfs_that_starts_with_a_copy_copies() {
        let mounts = r#"[{"destination":"/a","type":"tmpfs","options":["tmpcopyup"]}]"#;
        assert!(added(ALL, mounts).copies());
    }

    #[test]
    fn what_cannot_be_added_is_refused_by_name() {
        for (mount, message) in [
            (r#"{"destination":"/x/.."}"#, "invalid mount type for `/x/..`"),
            (
                r#"{"destination":"/x/..","type":"tmpfs"}"#,
                "mounts[0]: /: the root of a running container cannot be covered",
            ),
            (
                r#"{"destination":"/x","options":["remount","ro"]}"#,
                "mounts[0]: /x: the option `remount` changes a mount and adds none",
            ),
        ] {
            assert_eq!(refusal(ALL, &format!("[{mount}]")), message);
        }
        for namespaces in [r#"{"type":"pid"}"#, r#"{"type":"mount","path":"/proc/1/ns/mnt"}"#] {
            let message = refusal(namespaces, r#"[{"destination":"/x","type":"tmpfs"}]"#);
            assert!(message.starts_with("the container has no mount namespace of its own"), "{message}");
        }
    }

    #[test]
    fn the_container_of_an_ordinary_user_has_a_user_namespace_whatever_its_configuration_says() {
        let user = Host::with(1000, Layout::unified());
        let tmpfs = r#"[{"destination":"/x","type":"tmpfs"}]"#;
        let expected = Namespaces::MOUNT | Namespaces::USER;
        assert_eq!(added_on(&user, ALL, tmpfs, true).unwrap().enter, expected);
        // And whoever enters it.
        let config = format!(r#"{{"ociVersion":"1.0.0","linux":{{"namespaces":[{ALL}]}}}}"#);
        let spec = spec::parse(config.as_bytes(), "config.json").unwrap();
        let container = Running {
            spec: &spec,
            bundle: Path::new("/bundle"),
            user_namespace: PathBuf::from("/proc/7/ns/user"),
            has_cgroup: false,
            is_an_ordinary_users: true,
        };
        let list = spec::parse_mounts(tmpfs.as_bytes(), "mounts.json").unwrap();
        let root = Host::with(0, Layout::unified());
        assert_eq!(AddedMounts::new(&list, &container, &root).unwrap().enter, expected);
    }

    #[test]
    fn of_what_is_taken_off_only_the_destination_matters() {
        let config =
            format!(r#"{{"ociVersion":"1.0.0","linux":{{"namespaces":[{{"type":"user"}},{ALL}]}}}}"#);
        let spec = spec::parse(config.as_bytes(), "config.json").unwrap();
        let bundle = Path::new("/bundle");
        let container = Running {
            spec: &spec,
            bundle,
            user_namespace: PathBuf::new(),
            has_cgroup: true,
            is_an_ordinary_users: false,
        };
        let host = Host::with(0, Layout::unified());
        let removed = |mounts: &str| {
            RemovedMounts::new(
                &spec::parse_mounts(mounts.as_bytes(), "mounts.json").unwrap(),
                &container,
                &host,
            )
        };
        let plan = removed(
            r#"[{"destination":"a/../b","type":"nonsense","options":["remount"]},{"destination":"/c"}]"#,
        );
        let plan = plan.unwrap();
        assert_eq!(plan.destinations.iter().map(ToString::to_string).collect::<Vec<_>>(), ["/b", "/c"]);
        assert_eq!(plan.enter, Namespaces::MOUNT | Namespaces::USER);
        let error = removed(r#"[{"destination":"/c"},{"destination":"/"}]"#).unwrap_err();
        assert_eq!(error.to_string(), "mounts[1]: /: a running container needs its root");
    }
}
