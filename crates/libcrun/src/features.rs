//! What this runtime can do, for engines to ask (runtime-spec features.md).

use serde::Serialize;

use crate::capabilities;
use crate::mount_options;
use crate::plan;

/// The version of the runtime specification that this follows.
pub const OCI_VERSION: &str = "1.3.0";

/// The features structure, in the order it is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    hooks: Vec<&'static str>,
    mount_options: Vec<&'static str>,
    linux: LinuxFeatures,
    annotations: Annotations,
    potentially_unsafe_config_annotations: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LinuxFeatures {
    namespaces: Vec<&'static str>,
    capabilities: Vec<&'static str>,
    cgroup: CgroupFeatures,
    seccomp: SeccompFeatures,
    apparmor: Enabled,
    selinux: Enabled,
    mount_extensions: MountExtensions,
    intel_rdt: Enabled,
    net_devices: Enabled,
    memory_policy: MemoryPolicyFeatures,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CgroupFeatures {
    v1: bool,
    v2: bool,
    systemd: bool,
    systemd_user: bool,
    rdma: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SeccompFeatures {
    enabled: bool,
    actions: Vec<&'static str>,
    operators: Vec<&'static str>,
    archs: Vec<&'static str>,
    known_flags: Vec<&'static str>,
    supported_flags: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct MemoryPolicyFeatures {
    modes: Vec<&'static str>,
    flags: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Enabled {
    enabled: bool,
}

#[derive(Debug, Serialize)]
struct MountExtensions {
    idmap: Enabled,
}

#[derive(Debug, Serialize)]
struct Annotations {
    #[serde(rename = "org.opencontainers.runc.checkpoint.enabled")]
    runc_checkpoint: &'static str,
    #[serde(rename = "run.oci.crun.checkpoint.enabled")]
    checkpoint: &'static str,
    #[serde(rename = "run.oci.crun.commit")]
    commit: &'static str,
    #[serde(rename = "run.oci.crun.version")]
    version: &'static str,
    #[serde(rename = "run.oci.crun.wasm")]
    wasm: &'static str,
}

/// What this version can do, given the version and commit it was built from. Only what works is listed.
#[must_use]
pub fn features(version: &'static str, commit: &'static str) -> Features {
    let [yes, no] = [true, false].map(|enabled| move || Enabled { enabled });
    Features {
        oci_version_min: "1.0.0",
        oci_version_max: OCI_VERSION,
        hooks: plan::HookKind::ALL.map(plan::HookKind::name).to_vec(),
        mount_options: mount_options::TABLE.iter().map(|(name, _)| *name).collect(),
        linux: LinuxFeatures {
            namespaces: vec!["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            capabilities: capabilities::NAMES.to_vec(),
            cgroup: CgroupFeatures { v1: true, v2: true, systemd: true, systemd_user: true, rdma: true },
            seccomp: SeccompFeatures {
                enabled: true,
                actions: seccomp::ACTIONS.to_vec(),
                operators: seccomp::OPERATORS.to_vec(),
                archs: seccomp::ARCHITECTURES.to_vec(),
                known_flags: seccomp::FLAGS.to_vec(),
                supported_flags: plan::supported_filter_flags(),
            },
            apparmor: yes(),
            selinux: yes(),
            mount_extensions: MountExtensions { idmap: yes() },
            intel_rdt: no(),
            net_devices: no(),
            memory_policy: MemoryPolicyFeatures {
                modes: plan::memory_policy_modes(),
                flags: plan::memory_policy_flags(),
            },
        },
        annotations: Annotations {
            runc_checkpoint: "false",
            checkpoint: "false",
            commit,
            version,
            wasm: "false",
        },
        potentially_unsafe_config_annotations: vec![
            "module.wasm.image/variant",
            "io.kubernetes.cri.container-type",
            "run.oci.",
            "org.criu.",
            "krun.",
        ],
    }
}
