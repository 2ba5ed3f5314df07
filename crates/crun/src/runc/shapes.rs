//! The shapes of runc's answers.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use libcrun::{OCI_VERSION, Snapshot};
use serde::Serialize;
use serde_json::ser::PrettyFormatter;

use crate::commands::{COMMIT, VERSION};

/// A container, for `state` and `list` alike.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct State {
    oci_version: &'static str,
    id: String,
    pid: i32,
    status: &'static str,
    bundle: String,
    rootfs: String,
    created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    owner: String,
}

impl State {
    pub(super) fn new(snapshot: Snapshot, annotations: BTreeMap<String, String>) -> Self {
        let (pid, phase) = (snapshot.pid(), snapshot.phase);
        let status = snapshot.status;
        let rootfs = Path::new(&status.bundle).join(&status.rootfs).to_string_lossy().into_owned();
        Self {
            oci_version: OCI_VERSION,
            id: snapshot.id.to_string(),
            pid,
            status: phase.as_str(),
            bundle: status.bundle,
            rootfs,
            created: status.created,
            annotations,
            owner: status.owner.unwrap_or_default(),
        }
    }
}

/// The answer of `state`. It ends without a line break.
pub(super) fn state(state: &State) -> String {
    serde_json::to_string_pretty(state).unwrap_or_default()
}

/// The answer of `list -f json`: one line, and `null` for no container.
pub(super) fn list_json(states: &[State]) -> String {
    let states = Some(states).filter(|states| !states.is_empty());
    format!("{}\n", serde_json::to_string(&states).unwrap_or_default())
}

/// Columns are 12 wide, or as wide as their longest cell and 3 blanks.
pub(super) fn list_table(states: &[State]) -> String {
    const HEADING: [&str; 6] = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];
    let heading = HEADING.map(str::to_owned);
    let row = |state: &State| {
        let State { id, pid, status, bundle, created, owner, .. } = state;
        [id.clone(), pid.to_string(), (*status).to_owned(), bundle.clone(), created.clone(), owner.clone()]
    };
    let rows: Vec<_> = std::iter::once(heading).chain(states.iter().map(row)).collect();
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate().take(5) {
            let longest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            let _ = write!(text, "{cell:<width$}", width = (longest + 3).max(12));
        }
        let _ = writeln!(text, "{}", row[5]);
    }
    text
}

/// The answer of `ps -f json`.
pub(super) fn pids_json(pids: &[i32]) -> String {
    format!("{}\n", serde_json::to_string(pids).unwrap_or_default())
}

/// The answer of `--version`. Docker reads the name and the first three lines.
pub(super) fn version() -> String {
    format!("runc version {VERSION}+crun\ncommit: {COMMIT}\nspec: {OCI_VERSION}\n")
}

/// The answer of `features`: the truth about this runtime, and beside it what callers of runc look for.
pub(super) fn features() -> String {
    let mut text = Vec::new();
    let mut serializer =
        serde_json::Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    "));
    // The types printed here hold nothing that JSON cannot express.
    drop(libcrun::features(VERSION, COMMIT).serialize(&mut serializer));
    let text = String::from_utf8(text).unwrap_or_default();
    let annotations = format!(
        "\n        \"org.opencontainers.runc.commit\": \"{COMMIT}\",\
         \n        \"org.opencontainers.runc.version\": \"{VERSION}\","
    );
    let text = behind(text, "\"annotations\": {", &annotations);
    let unsafe_ones = "\n        \"bundle\",\n        \"org.systemd.property.\",";
    behind(text, "\"potentiallyUnsafeConfigAnnotations\": [", unsafe_ones) + "\n"
}

/// The text with `added` behind `place`.
fn behind(mut text: String, place: &str, added: &str) -> String {
    if let Some(at) = text.find(place) {
        text.insert_str(at + place.len(), added);
    }
    text
}

/// The configuration that `spec` writes. That for an ordinary user maps the caller's `ids`.
pub(super) fn template(rootless: Option<[u32; 2]>, cgroup_namespace: bool) -> String {
    let text = libcrun::spec::template(rootless.is_some(), cgroup_namespace)
        .replace("\"ociVersion\": \"1.0.0\"", &format!("\"ociVersion\": \"{OCI_VERSION}\""))
        .replace("\"hostname\": \"crun\"", "\"hostname\": \"runc\"");
    let text = without(text, "\t\t\t\"inheritable\": [", "],\n", "");
    let text = without(text, ",\n\t\t\t\"ambient\": [", "]", "");
    let Some([uid, gid]) = rootless else { return text };
    // Without the right to a network of its own; so the sysfs is the host's.
    let text = without(text, "\t\t\t{\n\t\t\t\t\"type\": \"network\"", "},\n", "");
    let text = text.replace(
        "\"type\": \"sysfs\",\n\t\t\t\"source\": \"sysfs\",\n\t\t\t\"options\": [",
        "\"type\": \"none\",\n\t\t\t\"source\": \"/sys\",\n\t\t\t\"options\": [\n\t\t\t\t\"rbind\",",
    );
    let map = |name: &str, id: u32| {
        format!(
            "\t\t\"{name}\": [\n\t\t\t{{\n\t\t\t\t\"containerID\": 0,\n\t\t\t\t\"hostID\": {id},\n\t\t\t\t\"size\": 1\n\t\t\t}}\n\t\t],\n"
        )
    };
    let maps = map("uidMappings", uid) + &map("gidMappings", gid);
    without(text, "\t\t\"resources\": {", "\n\t\t},\n", &maps)
}

/// The text with `instead` of what stands from `start` to the next `end`.
fn without(mut text: String, start: &str, end: &str, instead: &str) -> String {
    if let Some(from) = text.find(start)
        && let Some(to) = text[from..].find(end)
    {
        text.replace_range(from..from + to + end.len(), instead);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn container(id: &str, bundle: &str) -> State {
        State {
            oci_version: OCI_VERSION,
            id: id.into(),
            pid: 42,
            status: "running",
            bundle: bundle.into(),
            rootfs: format!("{bundle}/rootfs"),
            created: "2026-11-24T15:19:18.404124Z".into(),
            annotations: BTreeMap::new(),
            owner: "root".into(),
        }
    }

    #[test]
    fn columns_are_as_wide_as_they_have_to_be() {
        let text = list_table(&[container("a", "/b"), container("a-longer-name", "/b")]);
        let expected = "\
ID              PID         STATUS      BUNDLE      CREATED                       OWNER
a               42          running     /b          2026-11-24T15:19:18.404124Z   root
a-longer-name   42          running     /b          2026-11-24T15:19:18.404124Z   root
";
        assert_eq!(text, expected);
        assert_eq!(list_table(&[]).lines().count(), 1);
    }

    #[test]
    fn lists_are_in_one_line_and_states_end_without_a_line_break() {
        assert_eq!(list_json(&[]), "null\n");
        assert_eq!(pids_json(&[1, 2]), "[1,2]\n");
        let text = list_json(&[container("a", "/b")]);
        assert!(
            text.starts_with("[{\"ociVersion\":\"") && text.ends_with("\"owner\":\"root\"}]\n"),
            "{text}"
        );
        assert!(state(&container("a", "/b")).ends_with("\"owner\": \"root\"\n}"));
    }

    #[test]
    fn the_configuration_for_an_ordinary_user_maps_that_user() {
        let spec: Value = serde_json::from_str(&template(Some([1000, 100]), true)).unwrap();
        assert_eq!(spec["linux"]["uidMappings"], json!([{"containerID": 0, "hostID": 1000, "size": 1}]));
        assert_eq!(spec["linux"]["gidMappings"][0]["hostID"], 100);
        assert!(spec["linux"].get("resources").is_none());
        let kinds: Vec<_> =
            spec["linux"]["namespaces"].as_array().unwrap().iter().map(|n| &n["type"]).collect();
        assert_eq!(kinds, ["pid", "ipc", "uts", "user", "cgroup", "mount"]);
        let sys = spec["mounts"].as_array().unwrap().iter().find(|m| m["destination"] == "/sys").unwrap();
        assert_eq!((&sys["type"], &sys["options"][0]), (&json!("none"), &json!("rbind")));
    }

    #[test]
    fn the_configuration_names_runc_and_gives_no_ambient_capabilities() {
        let spec: Value = serde_json::from_str(&template(None, false)).unwrap();
        assert_eq!(spec["hostname"], "runc");
        assert_eq!(spec["ociVersion"], OCI_VERSION);
        let sets: Vec<_> = spec["process"]["capabilities"].as_object().unwrap().keys().collect();
        assert_eq!(sets, ["bounding", "effective", "permitted"]);
    }

    #[test]
    fn features_have_the_annotations_of_runc() {
        let features: Value = serde_json::from_str(&features()).unwrap();
        assert_eq!(features["annotations"]["org.opencontainers.runc.version"], VERSION);
        assert_eq!(features["annotations"]["org.opencontainers.runc.commit"], COMMIT);
        assert_eq!(features["annotations"]["org.opencontainers.runc.checkpoint.enabled"], "false");
        let unsafe_ones = features["potentiallyUnsafeConfigAnnotations"].as_array().unwrap();
        assert!(unsafe_ones.contains(&json!("bundle")) && unsafe_ones.contains(&json!("run.oci.")));
    }

    #[test]
    fn docker_finds_name_version_commit_and_specification() {
        let text = version();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("runc version ") && lines[1].starts_with("commit: "), "{text}");
        assert!(lines[2].starts_with("spec: "), "{text}");
    }
}
