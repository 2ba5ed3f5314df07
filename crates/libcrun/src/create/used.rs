//! The configuration as it was used. Later commands go by that, so it has what the runtime has chosen where the
//! configuration is silent.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::error::{Code, Error, Result};
use crate::plan::{IdMaps, NamespacePlan};
use crate::spec::IdMapping;

/// The text of a configuration with the user namespace that the container has.
pub(super) fn used<'c>(config: &'c [u8], namespaces: &NamespacePlan) -> Result<Cow<'c, [u8]>> {
    match &namespaces.id_maps {
        Some(maps) if namespaces.supplements_ids => with_user_namespace(config, maps).map(Cow::Owned),
        _ => Ok(Cow::Borrowed(config)),
    }
}

fn with_user_namespace(config: &[u8], maps: &IdMaps) -> Result<Vec<u8>> {
    let failed =
        |error: serde_json::Error| Error::new(Code::State, format!("write the configuration: {error}"));
    let mut config: Value = serde_json::from_slice(config).map_err(failed)?;
    let linux = &mut config["linux"];
    linux["uidMappings"] = list(&maps.uid);
    linux["gidMappings"] = list(&maps.gid);
    let is_user = |entry: &Value| entry["type"] == "user";
    match linux["namespaces"].as_array_mut() {
        Some(entries) if entries.iter().any(is_user) => {}
        Some(entries) => entries.push(json!({"type": "user"})),
        None => linux["namespaces"] = json!([{"type": "user"}]),
    }
    serde_json::to_vec(&config).map_err(failed)
}

fn list(mappings: &[IdMapping]) -> Value {
    let entry = |mapping: &IdMapping| json!({"containerID": mapping.container_id, "hostID": mapping.host_id, "size": mapping.size});
    mappings.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used_of(config: &str, supplements_ids: bool) -> Value {
        let range = |host_id| vec![IdMapping { container_id: 0, host_id, size: 1 }];
        let maps = IdMaps { uid: range(1000), gid: range(2000) };
        let namespaces = NamespacePlan { id_maps: Some(maps), supplements_ids, ..NamespacePlan::default() };
        serde_json::from_slice(&used(config.as_bytes(), &namespaces).unwrap()).unwrap()
    }

    #[test]
    fn what_the_runtime_has_chosen_is_in_it() {
        let expected = json!({
            "namespaces": [{"type": "pid"}, {"type": "user"}],
            "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": 2000, "size": 1}],
        });
        let config = used_of(r#"{"linux":{"namespaces":[{"type":"pid"}]},"x":1}"#, true);
        assert_eq!((&config["linux"], &config["x"]), (&expected, &json!(1)));
        let config = used_of(r#"{"linux":{"namespaces":[{"type":"pid"},{"type":"user"}]}}"#, true);
        assert_eq!(config["linux"], expected);
        assert_eq!(used_of(r#"{"linux":{}}"#, true)["linux"]["namespaces"], json!([{"type": "user"}]));
    }

    #[test]
    fn nothing_is_changed_where_it_says_everything() {
        assert_eq!(used_of(r#"{"linux":{}}"#, false), json!({"linux": {}}));
    }
}
