//! Who a process is, and whether there is such a user and group in the user namespace it is in.

use rustix::process::{Gid, Uid};
use sys::clone::Namespaces;

use super::id_maps::{IdMaps, outside};
use super::{NamespacePlan, ProcessPlan, invalid};
use crate::error::Result;
use crate::host::Host;
use crate::spec::{IdMapping, Spec};

/// What a user namespace lets its processes be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserNamespace {
    pub(crate) maps: IdMaps,
    /// Whether no process in it can change its supplementary groups (`user_namespaces(7)`, `/proc/PID/setgroups`).
    pub(crate) denies_groups: bool,
}

/// The ids by which a container is set up: root's where its user namespace has them, or else those of its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SetUpIds {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
}

impl Default for SetUpIds {
    fn default() -> Self {
        Self { uid: Uid::ROOT, gid: Gid::ROOT }
    }
}

impl SetUpIds {
    /// For a process with these ids.
    pub(crate) fn new(maps: &IdMaps, uid: Uid, gid: Gid) -> Self {
        Self {
            uid: maps.outside_uid(0).map_or(uid, |_| Uid::ROOT),
            gid: maps.outside_gid(0).map_or(gid, |_| Gid::ROOT),
        }
    }
}

/// The names of the annotation that leaves the supplementary groups as they are.
const KEEP_GROUPS: [&str; 2] = ["run.oci.keep_original_groups", "io.crun.keep_original_groups"];

/// Whether the container's processes keep the supplementary groups of whoever makes them.
pub(crate) fn keeps_groups(spec: &Spec<'_>) -> bool {
    let annotations = spec.annotations.iter().flatten();
    annotations.into_iter().any(|(name, value)| KEEP_GROUPS.contains(&&**name) && &**value != "0")
}

/// The user namespace of a container, as far as it can be known before: a new one, or one that is joined.
pub(super) fn namespace(namespaces: &NamespacePlan, host: &Host) -> Option<UserNamespace> {
    match &namespaces.id_maps {
        Some(maps) => Some(UserNamespace {
            maps: maps.clone(),
            denies_groups: maps.freezes_groups(host.effective_uid(), host.effective_gid()),
        }),
        None => {
            let join = namespaces.joins(Namespaces::USER)?;
            host.user_namespace_at(&join.path)
        }
    }
}

impl ProcessPlan {
    /// Makes sure that the process can be who it is to be, in a user namespace.
    pub(crate) fn settle_in(&mut self, namespace: &UserNamespace) -> Result<()> {
        let UserNamespace { maps, denies_groups } = namespace;
        is_mapped(&maps.uid, self.uid.as_raw(), || "uid".to_owned())?;
        is_mapped(&maps.gid, self.gid.as_raw(), || "gid".to_owned())?;
        for (index, group) in self.groups.iter().flatten().enumerate() {
            is_mapped(&maps.gid, group.as_raw(), || format!("additionalGids[{index}]"))?;
        }
        match &self.groups {
            Some(groups) if *denies_groups && !groups.is_empty() => Err(invalid(
                "process.user.additionalGids: in the container's user namespace setgroups(2) is denied, because its \
                 groups are mapped without privileges: it takes a range for the user in /etc/subgid",
            )),
            Some(_) if *denies_groups => {
                self.groups = None;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn is_mapped(mappings: &[IdMapping], id: u32, key: impl FnOnce() -> String) -> Result<()> {
    if outside(mappings, id).is_some() {
        return Ok(());
    }
    /// More would be no help.
    const SHOWN: usize = 5;
    let range = |mapping: &IdMapping| match mapping.size {
        1 => mapping.container_id.to_string(),
        size => format!("{}-{}", mapping.container_id, mapping.container_id.saturating_add(size - 1)),
    };
    let mut ranges: Vec<String> = mappings.iter().take(SHOWN).map(range).collect();
    if mappings.len() > SHOWN {
        ranges.push("...".to_owned());
    }
    let ranges = if ranges.is_empty() { "none".to_owned() } else { ranges.join(", ") };
    Err(invalid(format!(
        "process.user.{}: {id} is not mapped in the container's user namespace, whose ids are {ranges}",
        key()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(ranges: &[(u32, u32)], denies_groups: bool) -> UserNamespace {
        let list: Vec<_> = ranges
            .iter()
            .map(|(container_id, size)| IdMapping {
                container_id: *container_id,
                host_id: *container_id,
                size: *size,
            })
            .collect();
        UserNamespace { maps: IdMaps { uid: list.clone(), gid: list }, denies_groups }
    }

    fn process(user: &str) -> ProcessPlan {
        let text = format!(r#"{{"args":["x"],"cwd":"/","user":{user}}}"#);
        let process = crate::spec::parse_process(text.as_bytes(), "process.json").unwrap();
        super::super::process_plan(&process, 0, &crate::host::Host::new()).unwrap()
    }

    #[test]
    fn an_id_that_is_not_mapped_is_named_with_those_that_are() {
        let ids = namespace(&[(0, 1), (10, 5)], false);
        let rest = "is not mapped in the container's user namespace, whose ids are 0, 10-14";
        for (user, key) in [
            (r#"{"uid":1}"#, "uid: 1"),
            (r#"{"uid":10,"gid":15}"#, "gid: 15"),
            (r#"{"uid":10,"gid":14,"additionalGids":[0,7]}"#, "additionalGids[1]: 7"),
        ] {
            let error = process(user).settle_in(&ids).unwrap_err();
            assert_eq!(error.to_string(), format!("process.user.{key} {rest}"));
        }
        assert_eq!(process(r#"{"uid":10,"gid":14}"#).settle_in(&ids), Ok(()));
    }

    #[test]
    fn of_many_ranges_some_are_shown() {
        let many: Vec<_> = (0..9).map(|index| (index * 10, 1)).collect();
        let error = process(r#"{"uid":1}"#).settle_in(&namespace(&many, false)).unwrap_err().to_string();
        assert!(error.ends_with("whose ids are 0, 10, 20, 30, 40, ..."), "{error}");
        let error = process("{}").settle_in(&namespace(&[], false)).unwrap_err().to_string();
        assert!(error.ends_with("whose ids are none"), "{error}");
    }

    #[test]
    fn where_groups_cannot_be_set_they_are_left_unless_some_are_asked_for() {
        let mut plain = process("{}");
        assert_eq!(plain.settle_in(&namespace(&[(0, 9)], true)), Ok(()));
        assert_eq!(plain.groups, None);
        let error = process(r#"{"additionalGids":[1]}"#).settle_in(&namespace(&[(0, 9)], true)).unwrap_err();
        assert!(error.to_string().starts_with("process.user.additionalGids: in the container's"), "{error}");
    }

    #[test]
    fn set_up_is_done_by_root_or_else_by_the_user_of_the_process() {
        let ids = |maps: &IdMaps| {
            let ids = SetUpIds::new(maps, Uid::from_raw(5), Gid::from_raw(7));
            (ids.uid.as_raw(), ids.gid.as_raw())
        };
        assert_eq!(ids(&namespace(&[(0, 1), (5, 9)], false).maps), (0, 0));
        assert_eq!(ids(&namespace(&[(5, 9)], false).maps), (5, 7));
        let zero = |container_id| vec![IdMapping { container_id, host_id: 0, size: 1 }];
        assert_eq!(ids(&IdMaps { uid: zero(5), gid: zero(0) }), (5, 0));
    }

    #[test]
    fn an_annotation_keeps_the_groups() {
        for (annotations, expected) in [
            (r#"{"run.oci.keep_original_groups":"1"}"#, true),
            (r#"{"io.crun.keep_original_groups":"yes"}"#, true),
            (r#"{"run.oci.keep_original_groups":"0"}"#, false),
            ("{}", false),
        ] {
            let text = format!(r#"{{"ociVersion":"1.0.0","annotations":{annotations}}}"#);
            let spec = crate::spec::parse(text.as_bytes(), "config.json").unwrap();
            assert_eq!(keeps_groups(&spec), expected, "{annotations}");
        }
    }
}
