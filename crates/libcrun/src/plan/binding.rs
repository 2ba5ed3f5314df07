//! On which CPUs a process runs and from which nodes its memory comes.

use super::{Named, invalid, named};
use crate::error::Result;
use crate::number_set::NumberSet;
use crate::spec;

/// The CPUs of a process that is executed in a running container (runtime-spec config.md#linux-process,
/// `execCPUAffinity`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Affinity {
    /// Those it runs on before it is moved into the container's cgroup.
    pub(crate) initial: Option<NumberSet>,
    /// Those it runs on after that.
    pub(crate) last: Option<NumberSet>,
}

impl Affinity {
    pub(crate) fn new(affinity: &spec::ExecCpuAffinity<'_>) -> Result<Self> {
        let set = |field, list: &Option<spec::Text<'_>>| -> Result<_> {
            let set = parse(&format!("process.execCPUAffinity.{field}"), list.as_deref())?;
            Ok((!set.is_empty()).then_some(set))
        };
        Ok(Self { initial: set("initial", &affinity.initial)?, last: set("final", &affinity.last)? })
    }
}

fn parse(path: &str, list: Option<&str>) -> Result<NumberSet> {
    let list = list.unwrap_or_default();
    NumberSet::parse(list).map_err(|why| invalid(format!("{path}: `{list}`: {why}")))
}

/// linux/mempolicy.h
const MODES: [Named<Mode>; 7] = [
    ("MPOL_DEFAULT", Mode { number: 0, nodes: Nodes::None }),
    ("MPOL_BIND", Mode { number: 2, nodes: Nodes::Some }),
    ("MPOL_INTERLEAVE", Mode { number: 3, nodes: Nodes::Some }),
    ("MPOL_WEIGHTED_INTERLEAVE", Mode { number: 6, nodes: Nodes::Some }),
    // Without nodes it is that of the CPU, as MPOL_LOCAL.
    ("MPOL_PREFERRED", Mode { number: 1, nodes: Nodes::Any }),
    ("MPOL_PREFERRED_MANY", Mode { number: 5, nodes: Nodes::Some }),
    ("MPOL_LOCAL", Mode { number: 4, nodes: Nodes::None }),
];

const FLAGS: [Named<u32>; 3] = [
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", RELATIVE_NODES),
    ("MPOL_F_STATIC_NODES", STATIC_NODES),
];

const RELATIVE_NODES: u32 = 1 << 14;
const STATIC_NODES: u32 = 1 << 15;

#[derive(Debug, Clone, Copy)]
struct Mode {
    number: u32,
    nodes: Nodes,
}

/// How many nodes a mode takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nodes {
    None,
    Some,
    Any,
}

/// The names of the modes, for `features`.
pub(crate) fn memory_policy_modes() -> Vec<&'static str> {
    MODES.iter().map(|(name, _)| *name).collect()
}

/// The names of the flags, for `features`.
pub(crate) fn memory_policy_flags() -> Vec<&'static str> {
    FLAGS.iter().map(|(name, _)| *name).collect()
}

/// `linux.memoryPolicy` in the kernel's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemoryPolicy {
    /// The name of the mode.
    pub(crate) name: &'static str,
    /// Its number, with the flags.
    pub(crate) mode: u32,
    pub(crate) nodes: NumberSet,
}

impl MemoryPolicy {
    /// The policy of a container, if it has one.
    pub(crate) fn of(linux: Option<&spec::Linux<'_>>) -> Result<Option<Self>> {
        linux.and_then(|linux| linux.memory_policy.as_ref()).map(Self::new).transpose()
    }

    fn new(policy: &spec::MemoryPolicy<'_>) -> Result<Self> {
        let (name, Mode { number, nodes: takes }) = named("linux.memoryPolicy.mode", &policy.mode, &MODES)?;
        let mut flags = 0;
        for (index, flag) in policy.flags.iter().flatten().enumerate() {
            flags |= named(&format!("linux.memoryPolicy.flags[{index}]"), flag, &FLAGS)?.1;
        }
        if flags & (RELATIVE_NODES | STATIC_NODES) == RELATIVE_NODES | STATIC_NODES {
            let both = "MPOL_F_RELATIVE_NODES and MPOL_F_STATIC_NODES exclude each other";
            return Err(invalid(format!("linux.memoryPolicy.flags: {both}")));
        }
        let nodes = parse("linux.memoryPolicy.nodes", policy.nodes.as_deref())?;
        match (takes, nodes.is_empty()) {
            (Nodes::None, false) => {
                Err(invalid(format!("linux.memoryPolicy.nodes: `{nodes}`, but {name} takes none")))
            }
            (Nodes::Some, true) => {
                Err(invalid(format!("linux.memoryPolicy.nodes: none, but {name} needs some")))
            }
            _ => Ok(Self { name, mode: number | flags, nodes }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(json: &str) -> Result<MemoryPolicy> {
        MemoryPolicy::new(&serde_json::from_str(json).unwrap())
    }

    fn refusal(json: &str) -> String {
        policy(json).unwrap_err().to_string()
    }

    #[test]
    fn each_mode_has_the_kernels_number() {
        for (name, number) in [
            ("BIND", 2),
            ("INTERLEAVE", 3),
            ("WEIGHTED_INTERLEAVE", 6),
            ("PREFERRED", 1),
            ("PREFERRED_MANY", 5),
        ] {
            let found = policy(&format!(r#"{{"mode":"MPOL_{name}","nodes":"0-1"}}"#)).unwrap();
            assert_eq!((found.mode, found.nodes.mask()), (number, [0b11].as_slice()), "{name}");
        }
        for (name, number) in [("DEFAULT", 0), ("LOCAL", 4), ("PREFERRED", 1)] {
            let found = policy(&format!(r#"{{"mode":"MPOL_{name}","nodes":""}}"#)).unwrap();
            assert_eq!((found.mode, found.nodes.mask()), (number, [].as_slice()), "{name}");
        }
    }

    #[test]
    fn flags_are_part_of_the_mode() {
        let with = |flags: &str| {
            let json = format!(r#"{{"mode":"MPOL_BIND","nodes":"0","flags":[{flags}]}}"#);
            policy(&json).unwrap().mode
        };
        assert_eq!(with(r#""MPOL_F_STATIC_NODES""#), 2 | 0x8000);
        assert_eq!(with(r#""MPOL_F_RELATIVE_NODES","MPOL_F_NUMA_BALANCING""#), 2 | 0x4000 | 0x2000);
    }

    #[test]
    fn more_nodes_than_a_kernel_has_are_left_to_the_kernel_to_refuse() {
        assert_eq!(policy(r#"{"mode":"MPOL_BIND","nodes":"4095"}"#).unwrap().nodes.to_string(), "4095");
    }

    #[test]
    fn mistakes_are_named_by_their_path() {
        for (json, message) in [
            (
                r#"{"mode":"MPOL_X"}"#,
                "mode: `MPOL_X` is none of MPOL_DEFAULT, MPOL_BIND, MPOL_INTERLEAVE, MPOL_WEIGHTED_INTERLEAVE, \
                 MPOL_PREFERRED, MPOL_PREFERRED_MANY, MPOL_LOCAL",
            ),
            (
                r#"{"mode":"MPOL_BIND","nodes":"0","flags":["X"]}"#,
                "flags[0]: `X` is none of MPOL_F_NUMA_BALANCING, MPOL_F_RELATIVE_NODES, MPOL_F_STATIC_NODES",
            ),
            (
                r#"{"mode":"MPOL_BIND","nodes":"0","flags":["MPOL_F_STATIC_NODES","MPOL_F_RELATIVE_NODES"]}"#,
                "flags: MPOL_F_RELATIVE_NODES and MPOL_F_STATIC_NODES exclude each other",
            ),
            (
                r#"{"mode":"MPOL_BIND","nodes":"0,a"}"#,
                "nodes: `0,a`: `a` is not a number (a list is written as `0-3,7`)",
            ),
            (r#"{"mode":"MPOL_BIND"}"#, "nodes: none, but MPOL_BIND needs some"),
            (
                r#"{"mode":"MPOL_PREFERRED_MANY","nodes":" "}"#,
                "nodes: none, but MPOL_PREFERRED_MANY needs some",
            ),
            (r#"{"mode":"MPOL_LOCAL","nodes":"1,0"}"#, "nodes: `0-1`, but MPOL_LOCAL takes none"),
        ] {
            assert_eq!(refusal(json), format!("linux.memoryPolicy.{message}"));
        }
    }

    #[test]
    fn an_empty_list_of_cpus_is_none() {
        let affinity = |json| Affinity::new(&serde_json::from_str(json).unwrap());
        assert_eq!(affinity(r#"{"initial":"","final":" "}"#).unwrap(), Affinity::default());
        let found = affinity(r#"{"initial":"0-1","final":"7"}"#).unwrap();
        assert_eq!(found.initial.unwrap().to_string(), "0-1");
        assert_eq!(found.last.unwrap().to_string(), "7");
        let message = affinity(r#"{"final":"1-0"}"#).unwrap_err().to_string();
        let expected = "process.execCPUAffinity.final: `1-0`: the range `1-0` ends before it begins";
        assert_eq!(message, expected);
    }
}
