//! By which mapping the ids of a mount are shown (runtime-spec config.md#linux-mount-options, `idmap` and `ridmap`;
//! crun(1), "idmap mount options").

use std::path::PathBuf;

use sys::clone::Namespaces;
use sys::mount::Reach;

use super::super::id_maps::{IdMaps, outside};
use super::super::{NamespacePlan, invalid};
use super::Options;
use crate::error::Result;
use crate::spec::{IdMapping, Linux, Mount};

/// An id-mapped mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Idmap {
    pub(crate) maps: Maps,
    pub(crate) reach: Reach,
}

/// Where the mapping comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Maps {
    /// It is written down: a user namespace is made for it.
    Given(IdMaps),
    /// It is that of a user namespace that exists.
    Joined(PathBuf),
}

/// The mapping an entry asks for: of its own, or the container's.
pub(super) fn plan(
    mount: &Mount<'_>,
    options: &Options,
    linux: &Linux<'_>,
    namespaces: &NamespacePlan,
    name: &str,
) -> Result<Option<Idmap>> {
    let listed = |mappings: &Option<Vec<IdMapping>>| mappings.clone().filter(|list| !list.is_empty());
    let own = (listed(&mount.uid_mappings), listed(&mount.gid_mappings));
    let (reach, value) = match &options.idmap {
        Some((reach, value)) => (*reach, value.as_deref()),
        None if own == (None, None) => return Ok(None),
        None => (Reach::Mount, None),
    };
    let own = match value {
        Some(value) => parse(value, linux).map_err(|what| invalid(format!("{name}: idmap: {what}")))?,
        None => own,
    };
    let maps = match own {
        (Some(uid), Some(gid)) => {
            let names = ["uidMappings", "gidMappings"].map(|list| format!("{name}: {list}"));
            Maps::Given(IdMaps::new(uid, gid, [&names[0], &names[1]])?)
        }
        (None, None) => containers(namespaces, name)?,
        _ => return Err(invalid(format!("{name}: uidMappings and gidMappings go together"))),
    };
    Ok(Some(Idmap { maps, reach }))
}

fn containers(namespaces: &NamespacePlan, name: &str) -> Result<Maps> {
    if let Some(join) = namespaces.join.iter().find(|join| join.kind == Namespaces::USER) {
        return Ok(Maps::Joined(join.path.clone()));
    }
    namespaces.id_maps.clone().map(Maps::Given).ok_or_else(|| {
        invalid(format!("{name}: an id-mapped mount needs id mappings of its own or a user namespace"))
    })
}

type Lists = (Option<Vec<IdMapping>>, Option<Vec<IdMapping>>);

/// `uids=0-1-10#10-11-10;gids=@0-100-10`: ids of the filesystem, ids they are shown as, how many; with `@` the second
/// one is an id inside the container.
fn parse(value: &str, linux: &Linux<'_>) -> core::result::Result<Lists, String> {
    let mut lists: Lists = (None, None);
    for part in value.split(';').filter(|part| !part.is_empty()) {
        let (list, container, text) = match part.split_once('=') {
            Some(("uids", text)) => (&mut lists.0, &linux.uid_mappings, text),
            Some(("gids", text)) => (&mut lists.1, &linux.gid_mappings, text),
            _ => return Err(format!("`{part}` is neither `uids=` nor `gids=`")),
        };
        let triplets = text.split('#').filter(|triplet| !triplet.is_empty());
        let container = container.as_deref().unwrap_or_default();
        *list = Some(
            triplets
                .map(|triplet| mapping(triplet, container))
                .collect::<core::result::Result<_, String>>()?,
        );
    }
    Ok(lists)
}

fn mapping(triplet: &str, container: &[IdMapping]) -> core::result::Result<IdMapping, String> {
    let wrong = || format!("`{triplet}` is not of the form FROM-TO-LENGTH");
    let (numbers, relative) = match triplet.strip_prefix('@') {
        Some(numbers) => (numbers, true),
        None => (triplet, false),
    };
    let numbers: Vec<u32> = numbers
        .split('-')
        .map(|number| number.parse().map_err(|_| wrong()))
        .collect::<core::result::Result<_, String>>()?;
    let [container_id, to, size] = numbers[..] else { return Err(wrong()) };
    let host_id = if relative {
        outside(container, to)
            .ok_or_else(|| format!("`{triplet}`: id {to} is not mapped in the container's user namespace"))?
    } else {
        to
    };
    Ok(IdMapping { container_id, host_id, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linux() -> Linux<'static> {
        let range = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        Linux { uid_mappings: Some(vec![range(0, 0, 1), range(1, 2, 1000)]), ..Linux::default() }
    }

    #[test]
    fn a_value_holds_ranges_of_both_kinds() {
        let (uids, gids) = parse("uids=0-1-10#10-11-10;gids=0-100-10", &Linux::default()).unwrap();
        let range = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        assert_eq!(uids.unwrap(), [range(0, 1, 10), range(10, 11, 10)]);
        assert_eq!(gids.unwrap(), [range(0, 100, 10)]);
    }

    #[test]
    fn a_relative_range_is_shifted_as_the_container_is() {
        let (uids, _) = parse("uids=@1-3-10", &linux()).unwrap();
        assert_eq!(uids.unwrap(), [IdMapping { container_id: 1, host_id: 4, size: 10 }]);
    }

    #[test]
    fn what_is_no_range_is_named() {
        for (value, word) in [
            ("uids=1-2", "`1-2`"),
            ("uids=a-b-c", "`a-b-c`"),
            ("users=1-2-3", "`users=1-2-3`"),
            ("uids=@5000-5000-1", "5000"),
        ] {
            assert!(parse(value, &linux()).unwrap_err().contains(word), "{value}");
        }
    }
}
