//! Which ids outside stand for those inside a user namespace (`user_namespaces(7)`): what the configuration says, checked
//! as the kernel will check it, and what holds where it says nothing.

use super::invalid;
use crate::error::Result;
use crate::host::users::IdRange;
use crate::spec::IdMapping;

/// The most lines the kernel takes.
const MOST: usize = 340;

/// The mappings of users and those of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdMaps {
    pub(crate) uid: Vec<IdMapping>,
    pub(crate) gid: Vec<IdMapping>,
}

impl IdMaps {
    /// Takes mappings that the kernel can take. `names` are what an error calls them.
    pub(crate) fn new(uid: Vec<IdMapping>, gid: Vec<IdMapping>, names: [&str; 2]) -> Result<Self> {
        Ok(Self { uid: checked(uid, names[0])?, gid: checked(gid, names[1])? })
    }

    /// Those that the files `uid_map` and `gid_map` of a process show.
    pub(crate) fn parse(uid: &str, gid: &str) -> Self {
        let list = |text: &str| text.lines().filter_map(mapping).collect();
        Self { uid: list(uid), gid: list(gid) }
    }

    /// Whether a caller with these ids has to give up on supplementary groups in order to map its group.
    pub(crate) fn freezes_groups(&self, uid: u32, gid: u32) -> bool {
        uid != 0 && is_own_only(&self.gid, gid)
    }

    /// The user outside that is `id` inside.
    pub(crate) fn outside_uid(&self, id: u32) -> Option<u32> {
        outside(&self.uid, id)
    }

    /// The group outside that is `id` inside.
    pub(crate) fn outside_gid(&self, id: u32) -> Option<u32> {
        outside(&self.gid, id)
    }
}

/// The one map that needs no privilege.
pub(crate) fn is_own_only(mappings: &[IdMapping], caller: u32) -> bool {
    matches!(mappings, [IdMapping { host_id, size: 1, .. }] if *host_id == caller)
}

/// All ids stand for themselves.
pub(super) fn identity() -> Vec<IdMapping> {
    vec![IdMapping { container_id: 0, host_id: 0, size: u32::MAX }]
}

/// What a user without privileges gets who says nothing: the process runs with `own` id, which it sees as `inside`, and the
/// ids of `range` are those around it, from 0 on.
pub(super) fn around_own(own: u32, inside: u32, range: Option<IdRange>) -> Vec<IdMapping> {
    let own = IdMapping { container_id: inside, host_id: own, size: 1 };
    let Some(IdRange { first, count }) = range else { return vec![own] };
    let below = IdMapping { container_id: 0, host_id: first, size: count.min(inside) };
    let above = IdMapping {
        container_id: inside.saturating_add(1),
        host_id: first.saturating_add(below.size),
        size: count - below.size,
    };
    [below, own, above].into_iter().filter(|mapping| mapping.size > 0).collect()
}

/// A line of `/proc/PID/uid_map`.
fn mapping(line: &str) -> Option<IdMapping> {
    let mut numbers = line.split_whitespace().map(|number| number.parse().ok());
    let mut next = || numbers.next().flatten();
    Some(IdMapping { container_id: next()?, host_id: next()?, size: next()? })
}

/// The id outside that stands for `id`.
pub(super) fn outside(mappings: &[IdMapping], id: u32) -> Option<u32> {
    let range = mappings
        .iter()
        .find(|range| id.checked_sub(range.container_id).is_some_and(|offset| offset < range.size))?;
    range.host_id.checked_add(id - range.container_id)
}

/// Refuses what the kernel would answer with nothing but `EINVAL`. What continues the mapping before it becomes a part of
/// that: the kernel takes only so many.
fn checked(mappings: Vec<IdMapping>, name: &str) -> Result<Vec<IdMapping>> {
    for (index, mapping) in mappings.iter().enumerate() {
        is_range(mapping, || format!("{name}[{index}]"))?;
    }
    refuse_overlap(&mappings, "containerID", name, |mapping| mapping.container_id)?;
    refuse_overlap(&mappings, "hostID", name, |mapping| mapping.host_id)?;
    let mappings = joined(mappings);
    let (count, length) = (mappings.len(), lines(&mappings).len());
    if count > MOST {
        return Err(invalid(format!("{name}: {count} mappings, of which the kernel takes at most {MOST}")));
    }
    let page = rustix::param::page_size();
    if length >= page {
        let message = format!("{name}: {count} mappings, which take {length} bytes as a text");
        return Err(invalid(format!("{message}, of which the kernel takes less than {page}")));
    }
    Ok(mappings)
}

fn is_range(mapping: &IdMapping, name: impl Fn() -> String) -> Result<()> {
    let IdMapping { container_id, host_id, size } = *mapping;
    if size == 0 {
        return Err(invalid(format!("{}.size: 0, a mapping has at least one id", name())));
    }
    for (key, first) in [("containerID", container_id), ("hostID", host_id)] {
        // 4294967295 is no id but "none".
        if first.checked_add(size).is_none() {
            let message = format!("{}.{key}: {first} and size {size} go beyond 4294967294", name());
            return Err(invalid(format!("{message}, the highest id there is")));
        }
    }
    Ok(())
}

/// `first` is that of the ids in question.
fn refuse_overlap(
    mappings: &[IdMapping],
    key: &str,
    name: &str,
    first: impl Fn(&IdMapping) -> u32,
) -> Result<()> {
    let mut order: Vec<(usize, &IdMapping)> = mappings.iter().enumerate().collect();
    order.sort_by_key(|(_, mapping)| first(mapping));
    let last = |mapping: &IdMapping| first(mapping) + (mapping.size - 1);
    for pair in order.windows(2) {
        let [a, b] = pair else { continue };
        if last(a.1) >= first(b.1) {
            let (later, earlier) = if a.0 > b.0 { (a, b) } else { (b, a) };
            let shown = |mapping: &IdMapping| format!("{}-{}", first(mapping), last(mapping));
            let (ids, others) = (shown(later.1), shown(earlier.1));
            let (index, other) = (later.0, earlier.0);
            let message =
                format!("{name}[{index}].{key}: the ids {ids} overlap with {others} of {name}[{other}]");
            return Err(invalid(message));
        }
    }
    Ok(())
}

fn joined(mappings: Vec<IdMapping>) -> Vec<IdMapping> {
    let mut list: Vec<IdMapping> = Vec::with_capacity(mappings.len());
    for mapping in mappings {
        match list.last_mut() {
            Some(last)
                if last.container_id + last.size == mapping.container_id
                    && last.host_id + last.size == mapping.host_id =>
            {
                last.size += mapping.size;
            }
            _ => list.push(mapping),
        }
    }
    list
}

/// The text of a map as the kernel takes it.
pub(crate) fn lines(mappings: &[IdMapping]) -> String {
    let line =
        |mapping: &IdMapping| format!("{} {} {}\n", mapping.container_id, mapping.host_id, mapping.size);
    mappings.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(container_id: u32, host_id: u32, size: u32) -> IdMapping {
        IdMapping { container_id, host_id, size }
    }

    fn refusal(mappings: &[IdMapping]) -> String {
        IdMaps::new(mappings.to_vec(), identity(), ["u", "g"]).unwrap_err().to_string()
    }

    #[test]
    fn a_user_without_privileges_is_who_runs_and_its_range_lies_around() {
        let ids = Some(IdRange { first: 200_000, count: 3000 });
        let tail = range(1, 200_000, 3000);
        assert_eq!(around_own(1000, 0, ids), [range(0, 1000, 1), tail]);
        let parts = [range(0, 200_000, 5), range(5, 1000, 1), range(6, 200_005, 2995)];
        assert_eq!(around_own(1000, 5, ids), parts);
        assert_eq!(around_own(1000, 9999, ids), [range(0, 200_000, 3000), range(9999, 1000, 1)]);
        assert_eq!(around_own(1000, 3000, ids), [range(0, 200_000, 3000), range(3000, 1000, 1)]);
        assert_eq!(around_own(1000, 5, None), [range(5, 1000, 1)]);
    }

    #[test]
    fn an_id_stands_for_one_outside_if_a_range_has_it() {
        let maps = [range(0, 100, 10), range(20, 500, 1)];
        for (inside, expected) in [(0, Some(100)), (9, Some(109)), (10, None), (20, Some(500)), (21, None)] {
            assert_eq!(outside(&maps, inside), expected);
        }
    }

    #[test]
    fn what_the_kernel_would_not_take_is_refused_by_name() {
        for (mappings, message) in [
            (vec![range(0, 0, 0)], "u[0].size: 0, a mapping has at least one id"),
            (
                vec![range(1, 0, u32::MAX)],
                "u[0].containerID: 1 and size 4294967295 go beyond 4294967294, the highest id there is",
            ),
            (
                vec![range(0, 4_294_967_000, 296)],
                "u[0].hostID: 4294967000 and size 296 go beyond 4294967294, the highest id there is",
            ),
            (
                vec![range(0, 1000, 10), range(5, 2000, 3)],
                "u[1].containerID: the ids 5-7 overlap with 0-9 of u[0]",
            ),
            (
                vec![range(0, 1000, 10), range(50, 9000, 1), range(20, 1009, 1)],
                "u[2].hostID: the ids 1009-1009 overlap with 1000-1009 of u[0]",
            ),
        ] {
            assert_eq!(refusal(&mappings), message);
        }
        let many: Vec<_> = (0..341).map(|id| range(id, 2 * id, 1)).collect();
        assert_eq!(refusal(&many), "u: 341 mappings, of which the kernel takes at most 340");
        assert!(IdMaps::new(many[..340].to_vec(), identity(), ["u", "g"]).is_ok());
    }

    #[test]
    fn the_text_of_a_map_is_shorter_than_a_page() {
        let long: Vec<_> = (0..340).map(|id| range(id, 1_000_000_000 + 2 * id, 1)).collect();
        let error = refusal(&long);
        assert!(error.starts_with("u: 340 mappings, which take 5"), "{error}");
        let parts: Vec<_> = (0..5000).map(|id| range(id, 1_000_000 + id, 1)).collect();
        assert_eq!(IdMaps::new(parts, identity(), ["u", "g"]).unwrap().uid, [range(0, 1_000_000, 5000)]);
        assert_eq!(lines(&[range(0, 1000, 1), range(1, 100_000, 9)]), "0 1000 1\n1 100000 9\n");
    }

    #[test]
    fn every_id_may_stand_for_itself() {
        assert!(IdMaps::new(identity(), vec![range(4_294_967_294, 0, 1)], ["u", "g"]).is_ok());
    }
}
