//! Ids in the options of a filesystem: in a user namespace the kernel takes those that are mapped there.

use sys::clone::Namespaces;

use super::{Parameter, Surroundings};
use crate::error::Result;
use crate::plan::invalid;

/// Filesystems that can be had in a user namespace and give what is in them to the ids they are told.
const WITH_OWNERS: [&str; 2] = ["tmpfs", "devpts"];

/// Refuses ids that nobody has in the container. The group of terminals is left out instead: every engine asks for it, and
/// most users cannot have it.
pub(super) fn settle(
    kind: &str,
    parameters: &mut Vec<Parameter>,
    around: &Surroundings<'_>,
    name: &str,
) -> Result<()> {
    let has_maps = around.namespaces.contains(Namespaces::USER) || around.host.is_rootless();
    if !has_maps || !WITH_OWNERS.contains(&kind) {
        return Ok(());
    }
    let maps = around.namespaces.id_maps.as_ref();
    let mut unmapped = None;
    parameters.retain_mut(|parameter| {
        let Parameter::Value(key, value) = parameter else { return true };
        let Some(id) = value.to_str().ok().and_then(|text| text.parse::<u32>().ok()) else { return true };
        let is_mapped = match (key.to_bytes(), maps) {
            (b"uid", Some(maps)) => maps.outside_uid(id).is_some(),
            (b"gid", Some(maps)) => maps.outside_gid(id).is_some(),
            // With maps that are not known here, the kernel knows.
            (b"gid", None) if kind == "devpts" => {
                *parameter = Parameter::WhereMapped(key.clone(), value.clone());
                return true;
            }
            _ => return true,
        };
        let is_left_out = !is_mapped && kind == "devpts" && key.to_bytes() == b"gid";
        if !is_mapped && !is_left_out {
            unmapped = Some(parameter.to_string());
        }
        !is_left_out
    });
    match unmapped {
        None => Ok(()),
        Some(option) => Err(invalid(format!(
            "{name}: the option `{option}`: this id is not mapped in the container's user namespace"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use cgroups::Layout;

    use super::super::{MountSource, Surroundings, plan};
    use crate::host::Host;
    use crate::plan::{IdMaps, NamespacePlan, Parameter};
    use crate::spec::{self, IdMapping, Linux};

    /// What of the options of a mount in a user namespace is given to the kernel; by default it has the ids 0 to 4.
    fn given_with(id_maps: Option<IdMaps>, kind: &str, options: &str) -> Result<Vec<String>, String> {
        let mounts = format!(r#"[{{"destination": "/x", "type": "{kind}", "options": [{options}]}}]"#);
        let mounts = spec::parse_mounts(mounts.as_bytes(), "mounts").unwrap();
        let (linux, host) = (Linux::default(), Host::with(1000, Layout::unified()));
        let namespaces = NamespacePlan { id_maps, ..NamespacePlan::default() };
        let bundle = std::path::Path::new("/bundle");
        let around = Surroundings {
            bundle,
            label: None,
            layout: None,
            host: &host,
            linux: &linux,
            namespaces: &namespaces,
        };
        let mount = plan(0, &mounts[0], &around).map_err(|error| error.to_string())?;
        let MountSource::Filesystem(filesystem) = &mount.source else { panic!("no filesystem") };
        let shown = filesystem.parameters.iter().filter(|one| one.name() != c"source");
        Ok(shown.map(Parameter::to_string).collect())
    }

    fn given(kind: &str, options: &str) -> Result<Vec<String>, String> {
        let map = vec![IdMapping { container_id: 0, host_id: 1000, size: 5 }];
        given_with(Some(IdMaps::new(map.clone(), map, ["u", "g"]).unwrap()), kind, options)
    }

    #[test]
    fn the_group_of_terminals_is_left_out_where_it_is_not_mapped() {
        assert_eq!(given("devpts", r#""mode=620", "gid=5""#).unwrap(), ["mode=620"]);
        assert_eq!(given("devpts", r#""gid=4", "mode=620""#).unwrap(), ["gid=4", "mode=620"]);
    }

    #[test]
    fn where_the_maps_are_not_known_the_kernel_decides() {
        assert_eq!(given_with(None, "devpts", r#""gid=5""#).unwrap(), ["gid=5"]);
        assert_eq!(given_with(None, "tmpfs", r#""uid=5""#).unwrap(), ["uid=5"]);
    }

    #[test]
    fn any_other_id_that_is_not_mapped_is_refused_by_name() {
        for (kind, option) in [("tmpfs", "uid=5"), ("tmpfs", "gid=7"), ("devpts", "uid=9")] {
            assert_eq!(
                given(kind, &format!(r#""{option}""#)).unwrap_err(),
                format!(
                    "mounts[0]: /x: the option `{option}`: this id is not mapped in the container's user namespace"
                )
            );
        }
        assert_eq!(given("tmpfs", r#""uid=4", "size=9""#).unwrap(), ["uid=4", "size=9"]);
    }
}
