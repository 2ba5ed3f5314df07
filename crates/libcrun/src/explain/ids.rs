//! What keeps an ordinary user from mapping the ids that `/etc/subuid` and `/etc/subgid` give it (`newuidmap(1)`).

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, getxattr, statvfs};

use super::{Concern, Machine, Obstacle, Probe};
use crate::host::users;

const fn probe(name: &'static str, look: fn(&Machine) -> Option<Obstacle>) -> Probe {
    Probe { name, concern: Concern::Ids, errnos: &[], look }
}

/// The two programs.
pub(super) const PROGRAMS: Probe = probe("newuidmap", |machine| {
    let programs = [("newuidmap", "cap_setuid"), ("newgidmap", "cap_setgid")];
    programs.into_iter().find_map(|(name, capability)| {
        let Some(path) = machine.program(name) else {
            let remedy = "install it (package uidmap, in other distributions shadow-utils or shadow)";
            return Some(Obstacle::new(format!("`{name}` is not in PATH"), remedy));
        };
        let shown = path.display();
        if is_on_nosuid_mount(&path) {
            let remedy = "remount that without nosuid";
            return Some(Obstacle::new(format!("`{shown}` lies on a mount with nosuid"), remedy));
        }
        let remedy = format!("`chmod u+s {shown}`, or `setcap {capability}+ep {shown}`");
        is_without_privilege(&path)
            .then(|| Obstacle::new(format!("`{shown}` has no privileges, as it is installed"), remedy))
    })
});

fn is_on_nosuid_mount(path: &Path) -> bool {
    statvfs(path).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::NOSUID))
}

/// Whether a program is neither root's with the set-user-id bit nor has file capabilities.
fn is_without_privilege(path: &Path) -> bool {
    let Ok(metadata) = std::fs::metadata(path) else { return false };
    let is_set_user_id = metadata.uid() == 0 && metadata.permissions().mode() & 0o4000 != 0;
    let mut value = [0_u8; 64];
    !is_set_user_id && getxattr(path, c"security.capability", &mut value).is_err()
}

/// A process that gets no privileges by executing anything.
pub(super) const NO_NEW_PRIVILEGES: Probe = probe("no_new_privs", |machine| {
    let is_set = machine.status("NoNewPrivs").is_some_and(|value| value == "1");
    is_set.then(|| {
        Obstacle::new(
            "no_new_privs is set for this process, so that `newuidmap` gets no privileges",
            "start it without (systemd: NoNewPrivileges=no; Docker and podman: no `no-new-privileges`)",
        )
    })
});

/// The files that say which ids are whose.
pub(super) const RANGES: Probe = probe("subuid", |machine| {
    let name = machine.text("/etc/passwd").and_then(|text| users::name_in(&text, machine.uid));
    let shown = name.clone().unwrap_or_else(|| machine.uid.to_string());
    ["/etc/subuid", "/etc/subgid"].into_iter().find_map(|file| {
        let text = machine.text(file).unwrap_or_default();
        let remedy = format!("`usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {shown}`");
        users::ranges(&text, machine.uid, name.as_deref())
            .is_empty()
            .then(|| Obstacle::new(format!("{file} has no range for user `{shown}`"), remedy))
    })
});

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::machine::tests::Play;
    use super::super::{Concern, obstacles};

    fn found(play: &Play) -> Vec<String> {
        obstacles(Concern::Ids, &play.machine).map(|obstacle| obstacle.found).collect()
    }

    #[test]
    fn a_program_that_is_missing_or_has_no_privileges_is_named() {
        let play = Play::new("programs");
        assert_eq!(found(&play), ["`newuidmap` is not in PATH"]);
        play.write("bin/newuidmap", "");
        let path = play.machine.file("bin/newuidmap");
        assert_eq!(found(&play), [format!("`{}` has no privileges, as it is installed", path.display())]);
        if !rustix::process::geteuid().is_root() {
            return;
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o4755)).unwrap();
        assert_eq!(found(&play), ["`newgidmap` is not in PATH"]);
    }

    #[test]
    fn a_user_without_a_range_is_named() {
        let play = Play::new("ranges");
        play.write("etc/subgid", "bob:1:2\n");
        assert_eq!(found(&play).pop().unwrap(), "/etc/subgid has no range for user `alice`");
        play.remove("etc/passwd");
        play.remove("etc/subuid");
        assert_eq!(found(&play).pop().unwrap(), "/etc/subuid has no range for user `1000`");
    }

    #[test]
    fn a_process_that_gets_no_new_privileges_is_told_so() {
        let play = Play::new("privileges");
        play.write("proc/self/status", "NoNewPrivs:\t1\n");
        assert!(found(&play)[1].starts_with("no_new_privs is set"));
    }
}
