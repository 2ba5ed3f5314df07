//! The shapes in which containers are printed; engines parse them.

use std::collections::BTreeMap;
use std::fmt::Write;

use libcrun::{ContainerId, Event, Snapshot, Statistics};
use serde::Serialize;

/// `state` (runtime-spec runtime.md#state, with what the C crun adds).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    oci_version: &'static str,
    id: &'a str,
    pid: i32,
    status: &'static str,
    bundle: &'a str,
    rootfs: &'a str,
    created: &'a str,
    #[serde(rename = "systemd-scope")]
    systemd_scope: &'a str,
    owner: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

/// One container as `state` prints it.
pub(crate) fn state(snapshot: &Snapshot, annotations: &BTreeMap<String, String>) -> String {
    let status = &snapshot.status;
    json(&State {
        oci_version: "1.0.0",
        id: snapshot.id.as_str(),
        pid: snapshot.pid(),
        status: snapshot.phase.as_str(),
        bundle: &status.bundle,
        rootfs: &status.rootfs,
        created: &status.created,
        systemd_scope: status.scope.as_deref().unwrap_or_default(),
        owner: status.owner.as_deref().unwrap_or_default(),
        annotations,
    })
}

/// One entry of `list -f json`.
#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    pid: i32,
    status: &'static str,
    bundle: &'a str,
    created: &'a str,
    owner: &'a str,
}

/// All containers as JSON.
pub(crate) fn list_json(containers: &[Snapshot]) -> String {
    let entries: Vec<_> = containers
        .iter()
        .map(|snapshot| Entry {
            id: snapshot.id.as_str(),
            pid: snapshot.pid(),
            status: snapshot.phase.as_str(),
            bundle: &snapshot.status.bundle,
            created: &snapshot.status.created,
            owner: snapshot.status.owner.as_deref().unwrap_or_default(),
        })
        .collect();
    json(&entries)
}

/// All containers as a table.
pub(crate) fn list_table(containers: &[Snapshot]) -> String {
    let longest = containers.iter().map(|snapshot| snapshot.id.as_str().len()).max().unwrap_or(0);
    let width = longest.max(4);
    let mut text = String::new();
    let mut row = |cells: [&str; 6]| {
        let [name, pid, status, bundle, created, owner] = cells;
        let _ = writeln!(text, "{name:<width$} {pid:<9} {status:<8} {bundle:<39} {created:<30} {owner}");
    };
    row(["NAME", "PID", "STATUS", "BUNDLE PATH", "CREATED", "OWNER"]);
    for snapshot in containers {
        row([
            snapshot.id.as_str(),
            &snapshot.pid().to_string(),
            snapshot.phase.as_str(),
            &snapshot.status.bundle,
            &snapshot.status.created,
            snapshot.status.owner.as_deref().unwrap_or_default(),
        ]);
    }
    text
}

/// One line of `events`, in runc's shape.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Statistics>,
}

/// A line that tells an event.
pub(crate) fn event(id: &ContainerId, event: &Event) -> String {
    let (kind, data) = match event {
        Event::Statistics(statistics) => ("stats", Some(&**statistics)),
        Event::OutOfMemory => ("oom", None),
    };
    let mut text = serde_json::to_string(&Line { kind, id: id.as_str(), data }).unwrap_or_default();
    text.push('\n');
    text
}

/// Pids as the C crun prints them: one on a line, and the brackets of an empty list also on two.
pub(crate) fn pids_json(pids: &[i32]) -> String {
    let lines: Vec<_> = pids.iter().map(|pid| format!("  {pid}")).collect();
    let separator = if lines.is_empty() { "" } else { "\n" };
    format!("[\n{}{separator}]\n", lines.join(",\n"))
}

/// Pids as a table.
pub(crate) fn pids_table(pids: &[i32]) -> String {
    std::iter::once("PID\n".to_owned()).chain(pids.iter().map(|pid| format!("{pid}\n"))).collect()
}

/// Pretty JSON with a newline at its end. The types printed here hold nothing that JSON cannot express.
pub(crate) fn json<T: Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_lines_in_the_shape_of_runc() {
        let id = ContainerId::new("web").unwrap();
        assert_eq!(event(&id, &Event::OutOfMemory), "{\"type\":\"oom\",\"id\":\"web\"}\n");
        let line = event(&id, &Event::Statistics(Box::default()));
        assert!(line.starts_with(r#"{"type":"stats","id":"web","data":{"cpu":{"usage":{"#), "{line}");
        assert!(line.ends_with("\"hugetlb\":{},\"intel_rdt\":{},\"network_interfaces\":null}}\n"), "{line}");
    }

    #[test]
    fn pids_are_printed_as_by_the_c_crun() {
        assert_eq!(pids_json(&[99, 101]), "[\n  99,\n  101\n]\n");
        assert_eq!(pids_json(&[]), "[\n]\n");
        assert_eq!(pids_table(&[99, 101]), "PID\n99\n101\n");
        assert_eq!(pids_table(&[]), "PID\n");
    }
}
