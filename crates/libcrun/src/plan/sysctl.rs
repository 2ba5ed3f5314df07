//! Kernel parameters, as far as they belong to a namespace of the container (runtime-spec config-linux.md#sysctl):
//! which file stands for each, and which namespace it has to be the container's.

use std::ffi::CString;

use sys::clone::Namespaces;

use super::{NamespacePlan, invalid, name_in};
use crate::error::Result;
use crate::spec::{Linux, Spec};

/// One parameter to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sysctl {
    /// As it was given, for messages.
    pub(crate) name: String,
    /// Its file, below the root of a procfs.
    pub(crate) path: CString,
    pub(crate) value: String,
    /// Whose parameter it is.
    pub(crate) namespace: Namespaces,
}

/// Those of the ipc namespace that are neither below a directory of their own (`ipc_namespaces(7)`).
const OF_IPC: [&str; 8] =
    ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];

/// The parameters of the configuration; the domain name is not among them, for which there is a call.
pub(super) fn plan(spec: &Spec<'_>, linux: &Linux<'_>, namespaces: &NamespacePlan) -> Result<Vec<Sysctl>> {
    let mut sysctls = Vec::new();
    for (name, value) in linux.sysctl.iter().flatten() {
        let steps = steps(name);
        let namespace = namespace(name, &steps)?;
        if namespace == Namespaces::UTS && name_in(&spec.domainname).is_some() {
            return Err(invalid(format!("the sysctl `{name}` conflicts with OCI field `domainname`")));
        }
        if !namespaces.contains(namespace) {
            let what = title(namespace);
            return Err(invalid(format!("the sysctl `{name}` requires a new {what} namespace")));
        }
        if namespace == Namespaces::UTS {
            continue;
        }
        let path = CString::new(format!("sys/{}", steps.join("/")));
        let path = path.map_err(|_| invalid(format!("linux.sysctl: the name `{name}` holds a NUL byte")))?;
        sysctls.push(Sysctl { name: name.to_string(), path, value: value.to_string(), namespace });
    }
    Ok(sysctls)
}

/// The domain name of the container, by whichever of two ways it is given.
pub(super) fn domainname<'a>(spec: &'a Spec<'_>, linux: &'a Linux<'_>) -> Option<&'a str> {
    let field = name_in(&spec.domainname);
    let sysctl = || linux.sysctl.iter().flatten().find(|(name, _)| steps(name) == ["kernel", "domainname"]);
    // As the kernel takes it from the file: up to the end of the line.
    field.or_else(|| sysctl().and_then(|(_, value)| value.lines().next()))
}

/// The directories and the file of a parameter. Whichever of dot and slash comes first separates, and the other one stands
/// for it in a name (sysctl(8)): `net.ipv4.conf.eth0/1.forwarding` is that of the device `eth0.1`.
fn steps(name: &str) -> Vec<String> {
    let separator = name.chars().find(|letter| matches!(letter, '.' | '/')).unwrap_or('.');
    let steps = name.split(separator).filter(|step| !step.is_empty());
    match separator {
        '.' => steps.map(|step| step.replace('/', ".")).collect(),
        _ => steps.map(str::to_owned).collect(),
    }
}

/// The namespace a parameter belongs to.
fn namespace(name: &str, steps: &[String]) -> Result<Namespaces> {
    let not_namespaced = || invalid(format!("the sysctl `{name}` is not namespaced"));
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    if steps.iter().any(|step| matches!(*step, "." | "..")) {
        return Err(not_namespaced());
    }
    match steps.as_slice() {
        ["net", _, ..] => Ok(Namespaces::NETWORK),
        ["fs", "mqueue", _, ..] => Ok(Namespaces::IPC),
        ["user", _, ..] => Ok(Namespaces::USER),
        ["kernel", "domainname"] => Ok(Namespaces::UTS),
        ["kernel", "hostname"] => {
            Err(invalid(format!("the sysctl `{name}` conflicts with OCI field `hostname`")))
        }
        ["kernel", name] if OF_IPC.contains(name) => Ok(Namespaces::IPC),
        _ => Err(not_namespaced()),
    }
}

/// What the namespace is called in an error.
fn title(namespace: Namespaces) -> &'static str {
    match namespace {
        Namespaces::IPC => "IPC",
        Namespaces::UTS => "UTS",
        Namespaces::USER => "user",
        _ => "network",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(name: &str) -> String {
        steps(name).join("/")
    }

    #[test]
    fn whichever_separator_comes_first_separates() {
        assert_eq!(path_of("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(path_of("net/ipv4/conf/eth0.1/forwarding"), "net/ipv4/conf/eth0.1/forwarding");
        assert_eq!(path_of("net.ipv4.conf.eth0/1.forwarding"), "net/ipv4/conf/eth0.1/forwarding");
        assert_eq!(path_of("/net//ipv4"), "net/ipv4");
    }

    #[test]
    fn a_parameter_belongs_to_the_namespace_it_is_one_of() {
        let of = |name: &str| namespace(name, &steps(name)).map_err(|error| error.to_string());
        for (name, expected) in [
            ("net.core.somaxconn", Namespaces::NETWORK),
            ("net/core/somaxconn", Namespaces::NETWORK),
            ("fs.mqueue.msg_max", Namespaces::IPC),
            ("kernel.shm_rmid_forced", Namespaces::IPC),
            ("kernel.domainname", Namespaces::UTS),
            ("user.max_user_namespaces", Namespaces::USER),
        ] {
            assert_eq!(of(name), Ok(expected), "{name}");
        }
        for name in [
            "kernel.core_pattern",
            "kernel.sem.x",
            "vm.swappiness",
            "net",
            "fs.mqueue",
            "fs.file-max",
            "netx.y",
            "user",
            "",
            "net/../kernel/core_pattern",
            "net/./x",
            "net.ipv4.//.x",
        ] {
            assert_eq!(of(name), Err(format!("the sysctl `{name}` is not namespaced")));
        }
        assert_eq!(
            of("kernel/hostname").unwrap_err(),
            "the sysctl `kernel/hostname` conflicts with OCI field `hostname`"
        );
    }
}
