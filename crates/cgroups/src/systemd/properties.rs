//! What systemd is told about a container's unit: a function from the unit, the limits and what this systemd knows to a
//! list of properties.
//!
//! Sources: org.freedesktop.systemd1(5), systemd.resource-control(5), systemd.scope(5).

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::limits;
use super::pin;
use super::unit::Unit;
use super::value::{Type, Value};
use crate::devices::{AllowList, Rule};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::path::CgroupPath;
use crate::resources::Write;

/// A property of a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// Its name on the bus.
    pub name: Cow<'static, str>,
    /// Its value.
    pub value: Value,
}

impl Property {
    pub(super) fn new(name: &'static str, value: Value) -> Self {
        Self { name: Cow::Borrowed(name), value }
    }
}

impl std::fmt::Display for Property {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// What the configuration says that concerns the unit.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// `linux.cgroupsPath`.
    pub cgroups_path: Option<&'a str>,
    /// The container's name.
    pub id: &'a str,
    /// What is written into its cgroup for `linux.resources`.
    pub writes: &'a [Write],
    /// The same devices as rules.
    pub device_rules: &'a [Rule],
    /// The properties among the annotations.
    pub annotated: &'a [Property],
    /// The annotation `run.oci.systemd.subgroup`.
    pub subgroup: Option<&'a str>,
}

/// Everything about a container's unit that is decided before it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitPlan {
    /// Its name and slice.
    pub unit: Unit,
    /// Whether the user's manager makes it.
    pub is_rootless: bool,
    /// The cgroup below the unit's in which the container's processes are, if they are not in the unit's own.
    subgroup: Option<CgroupPath>,
    is_unified: bool,
    device_rules: Vec<Rule>,
    limits: Vec<Property>,
    annotated: Vec<Property>,
}

/// The cgroup below the unit's, where nothing else is said: what is below a unit's cgroup is its own, that itself is
/// systemd's.
const SUBGROUP: &str = "container";

impl UnitPlan {
    /// Decides about the unit.
    ///
    /// # Errors
    /// When the path, a limit or an annotation cannot be what it is.
    pub fn new(wanted: &Wanted<'_>, is_rootless: bool, layout: &Layout) -> Result<Self> {
        let is_unified = layout.is_unified();
        Ok(Self {
            unit: Unit::new(wanted.cgroups_path, wanted.id, is_rootless)?,
            is_rootless,
            subgroup: subgroup(wanted.subgroup)?,
            is_unified,
            device_rules: wanted.device_rules.to_vec(),
            limits: limits::properties(wanted.writes),
            annotated: wanted.annotated.to_vec(),
        })
    }

    /// The cgroup below the unit's in which the container's processes are, if they are not in the unit's own. v1 hierarchies
    /// have none: nothing that is systemd's could be kept from the container there.
    #[must_use]
    pub fn subgroup(&self) -> Option<&str> {
        self.subgroup.as_ref().filter(|_| self.is_unified).map(CgroupPath::below_root)
    }

    /// Where the processes will be, as far as that can be known before; the root where it cannot.
    #[must_use]
    pub fn expected_path(&self) -> CgroupPath {
        self.expected_unit_path().map_or_else(CgroupPath::root, |unit| self.container_path(&unit))
    }

    /// Where the unit's cgroup will be, if that can be known before. The user's manager has its own cgroup above, and a slice
    /// may be asked for by name.
    #[must_use]
    pub fn expected_unit_path(&self) -> Option<CgroupPath> {
        let is_unknown = self.is_rootless || self.is_annotated("Slice");
        (!is_unknown).then(|| self.unit.expected_path())
    }

    /// Where the processes are, below the unit's cgroup.
    #[must_use]
    pub fn container_path(&self, unit: &CgroupPath) -> CgroupPath {
        match self.subgroup() {
            None => unit.clone(),
            Some(subgroup) => CgroupPath::new(Some(&format!("{unit}/{subgroup}")), ""),
        }
    }

    /// Whether systemd is to keep a program that decides about devices, where it can.
    #[must_use]
    pub fn wants_device_program(&self) -> bool {
        self.is_unified && !self.is_rootless && !self.device_rules.is_empty() && !self.unit.is_slice()
    }

    /// The path of the program that systemd is to keep, where it can.
    #[must_use]
    pub fn device_program(&self) -> Option<String> {
        self.wants_device_program().then(|| pin::path(&self.unit.name))
    }

    /// The rules about devices.
    #[must_use]
    pub fn device_rules(&self) -> &[Rule] {
        &self.device_rules
    }

    /// What is said about the unit of the process `pid`. The properties that this systemd is `missing` are left out;
    /// `device_program` is the path of the program that decides about devices.
    #[must_use]
    pub fn properties(
        &self,
        pid: u32,
        device_program: Option<&str>,
        missing: &BTreeSet<String>,
    ) -> Vec<Property> {
        let mut properties = self.nature(pid);
        properties.extend(self.limits.iter().cloned());
        if !self.is_rootless && !self.unit.is_slice() {
            properties.extend(self.devices(device_program));
        }
        properties.retain(|property| !missing.contains(&*property.name));
        properties.extend(self.annotated.iter().cloned());
        properties
    }

    /// Whether a property is one the configuration has asked for by name, and so not one to do without.
    #[must_use]
    pub fn is_annotated(&self, name: &str) -> bool {
        self.annotated.iter().any(|property| property.name == name)
    }

    fn nature(&self, pid: u32) -> Vec<Property> {
        let text = |text: &str| Value::Text(text.to_owned());
        let yes = || Value::Bool(true);
        let mut properties = vec![
            Property::new("Description", text("libcrun container")),
            Property::new("DefaultDependencies", Value::Bool(false)),
        ];
        if self.unit.is_slice() {
            // A slice lies where its name says; the one that is given is what it needs.
            let needed = self.unit.slice.iter().filter(|slice| **slice != self.unit.name);
            properties.extend(needed.map(|slice| Property::new("Wants", Value::strings([slice.as_str()]))));
        } else {
            let slice = self.unit.slice.iter().map(|slice| Property::new("Slice", text(slice)));
            properties.extend(slice);
            properties.push(Property::new("Delegate", yes()));
            properties.push(Property::new("PIDs", Value::Array(Type::Uint32, vec![Value::Uint32(pid)])));
        }
        let io = if self.is_unified { "IOAccounting" } else { "BlockIOAccounting" };
        for name in ["CPUAccounting", "MemoryAccounting", io, "TasksAccounting"] {
            properties.push(Property::new(name, yes()));
        }
        properties
    }

    fn devices(&self, program: Option<&str>) -> Vec<Property> {
        if let Some(path) = program {
            let pair = ("device".to_owned(), path.to_owned());
            return vec![Property::new(BPF_PROGRAM, Value::pairs(vec![pair]))];
        }
        let AllowList { policy, allowed } = AllowList::new(&self.device_rules);
        let mut properties = vec![Property::new("DevicePolicy", Value::Text(policy.to_owned()))];
        if !allowed.is_empty() {
            properties.push(Property::new("DeviceAllow", Value::pairs(allowed)));
        }
        properties
    }
}

/// The property that makes systemd keep a program.
pub(super) const BPF_PROGRAM: &str = "BPFProgram";

fn subgroup(annotation: Option<&str>) -> Result<Option<CgroupPath>> {
    let name = annotation.unwrap_or(SUBGROUP);
    if name.split('/').any(|component| component == "..") {
        return Err(Error::plain(format!(
            "annotations.run.oci.systemd.subgroup: `{name}` leaves the unit's cgroup"
        )));
    }
    let path = CgroupPath::new(Some(name), "");
    Ok((!path.is_root()).then_some(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::{DeviceRule, rules};

    fn wanted<'a>() -> Wanted<'a> {
        Wanted {
            cgroups_path: Some("machine.slice:libpod:abc"),
            id: "abc",
            writes: &[],
            device_rules: &[],
            annotated: &[],
            subgroup: None,
        }
    }

    fn plan(wanted: &Wanted<'_>) -> UnitPlan {
        UnitPlan::new(wanted, false, &Layout::unified()).unwrap()
    }

    fn names(properties: &[Property]) -> Vec<&str> {
        properties.iter().map(|property| &*property.name).collect()
    }

    fn value(properties: &[Property], name: &str) -> Value {
        properties.iter().find(|property| property.name == name).unwrap().value.clone()
    }

    fn default_rules() -> Vec<Rule> {
        let deny: DeviceRule = serde_json::from_str(r#"{"allow": false, "access": "rwm"}"#).unwrap();
        rules(&[deny]).unwrap()
    }

    #[test]
    fn a_scope_is_in_its_slice_holds_its_process_and_has_its_cgroup_for_itself() {
        let properties = plan(&wanted()).properties(42, None, &BTreeSet::new());
        assert_eq!(value(&properties, "Description"), Value::Text("libcrun container".into()));
        assert_eq!(value(&properties, "Slice"), Value::Text("machine.slice".into()));
        assert_eq!(value(&properties, "PIDs"), Value::Array(Type::Uint32, vec![Value::Uint32(42)]));
        assert_eq!(value(&properties, "Delegate"), Value::Bool(true));
        assert_eq!(value(&properties, "DefaultDependencies"), Value::Bool(false));
        for name in ["CPUAccounting", "MemoryAccounting", "IOAccounting", "TasksAccounting"] {
            assert_eq!(value(&properties, name), Value::Bool(true), "{name}");
        }
    }

    #[test]
    fn without_a_path_systemd_chooses_the_slice() {
        let wanted = Wanted { cgroups_path: None, ..wanted() };
        assert!(!names(&plan(&wanted).properties(1, None, &BTreeSet::new())).contains(&"Slice"));
    }

    #[test]
    fn a_slice_holds_no_process_and_wants_the_one_it_is_given() {
        let wanted = Wanted { cgroups_path: Some("a.slice:p:a-b.slice"), ..wanted() };
        let properties = plan(&wanted).properties(1, None, &BTreeSet::new());
        assert_eq!(value(&properties, "Wants"), Value::strings(["a.slice"]));
        for name in ["PIDs", "Delegate", "Slice", "DevicePolicy"] {
            assert!(!names(&properties).contains(&name), "{name}");
        }
    }

    #[test]
    fn on_v1_it_is_block_io_that_is_accounted_for() {
        let v1 = Layout { hierarchies: vec![] };
        let plan = UnitPlan::new(&wanted(), false, &v1).unwrap();
        let properties = plan.properties(1, None, &BTreeSet::new());
        assert!(names(&properties).contains(&"BlockIOAccounting"));
        assert!(!names(&properties).contains(&"IOAccounting"));
    }

    #[test]
    fn devices_are_a_program_or_else_a_list() {
        let rules = default_rules();
        let plan = plan(&Wanted { device_rules: &rules, ..wanted() });
        assert!(plan.wants_device_program());
        let program = plan.properties(1, Some("/sys/fs/bpf/crun/x"), &BTreeSet::new());
        let pair = Value::pairs(vec![("device".into(), "/sys/fs/bpf/crun/x".into())]);
        assert_eq!(value(&program, "BPFProgram"), pair);
        assert!(!names(&program).contains(&"DevicePolicy"));
        let list = plan.properties(1, None, &BTreeSet::new());
        assert_eq!(value(&list, "DevicePolicy"), Value::Text("strict".into()));
        let Value::Array(_, allowed) = value(&list, "DeviceAllow") else { panic!() };
        let null = Value::Tuple(vec![Value::Text("/dev/char/1:3".into()), Value::Text("rwm".into())]);
        assert!(allowed.contains(&null));
    }

    #[test]
    fn the_users_manager_cannot_restrict_devices() {
        let rules = default_rules();
        let wanted = Wanted { device_rules: &rules, ..wanted() };
        let plan = UnitPlan::new(&wanted, true, &Layout::unified()).unwrap();
        assert!(!plan.wants_device_program());
        assert!(!names(&plan.properties(1, None, &BTreeSet::new())).contains(&"DevicePolicy"));
    }

    #[test]
    fn what_this_systemd_does_not_know_is_left_out_but_not_what_was_asked_for_by_name() {
        let annotated = [Property::new("CollectMode", Value::Text("inactive-or-failed".into()))];
        let plan = plan(&Wanted { annotated: &annotated, ..wanted() });
        let missing = BTreeSet::from(["IOAccounting".to_owned(), "CollectMode".to_owned()]);
        let properties = plan.properties(1, None, &missing);
        assert!(!names(&properties).contains(&"IOAccounting"));
        // Last, so that it has the last word.
        assert_eq!(names(&properties).last(), Some(&"CollectMode"));
        assert!(plan.is_annotated("CollectMode") && !plan.is_annotated("IOAccounting"));
    }

    #[test]
    fn the_container_is_in_a_cgroup_below_its_units() {
        let unit = CgroupPath::new(Some("/machine.slice/x.scope"), "");
        let path = |subgroup| plan(&Wanted { subgroup, ..wanted() }).container_path(&unit).to_string();
        assert_eq!(path(None), "/machine.slice/x.scope/container");
        assert_eq!(path(Some("a/b")), "/machine.slice/x.scope/a/b");
        assert_eq!(path(Some("")), "/machine.slice/x.scope");
    }

    #[test]
    fn a_subgroup_cannot_leave_the_unit() {
        let error = UnitPlan::new(&Wanted { subgroup: Some("../x"), ..wanted() }, false, &Layout::unified());
        assert!(error.unwrap_err().message.contains("`../x`"));
    }
}
