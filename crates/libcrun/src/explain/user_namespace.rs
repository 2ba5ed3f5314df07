//! What keeps an ordinary user from making user namespaces, or from doing anything in them (`user_namespaces(7)`,
//! `namespaces(7)`).

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use rustix::io::Errno;

use super::{Concern, Machine, Obstacle, Probe};

/// What the kernel says to who may not.
const REFUSED: &[Errno] = &[Errno::PERM, Errno::ACCESS];

const fn probe(
    name: &'static str,
    errnos: &'static [Errno],
    look: fn(&Machine) -> Option<Obstacle>,
) -> Probe {
    Probe { name, concern: Concern::UserNamespace, errnos, look }
}

/// A kernel without them.
pub(super) const BUILT_IN: Probe = probe("CONFIG_USER_NS", &[Errno::INVAL], |machine| {
    let is_missing = std::fs::symlink_metadata(machine.file("/proc/self/ns/user")).is_err();
    is_missing.then(|| Obstacle::new("this kernel has no user namespaces", "use one with CONFIG_USER_NS"))
});

/// Limits that allow none. Enterprise distributions start with one; in a container or a user namespace there may be another.
pub(super) const LIMITS: Probe = probe("user.max_*_namespaces", &[Errno::NOSPC, Errno::USERS], |machine| {
    let kinds = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"];
    let name = |kind: &str| format!("user.max_{kind}_namespaces");
    let is_zero = |kind: &str| {
        machine.text(&format!("/proc/sys/user/max_{kind}_namespaces")).is_some_and(|text| text == "0")
    };
    let name = kinds.into_iter().find(|kind| is_zero(kind)).map(name)?;
    let remedy = format!("set it to a number such as 15000 (`sysctl -w {name}=15000`, and in /etc/sysctl.d)");
    Some(Obstacle::new(format!("the sysctl `{name}` is 0, which allows none"), remedy))
});

/// Debian's own switch.
pub(super) const UNPRIVILEGED: Probe = probe("kernel.unprivileged_userns_clone", REFUSED, |machine| {
    let name = "kernel.unprivileged_userns_clone";
    let is_off = machine.text("/proc/sys/kernel/unprivileged_userns_clone").is_some_and(|text| text == "0");
    let remedy = format!("set it to 1 (`sysctl -w {name}=1`, and in /etc/sysctl.d)");
    is_off.then(|| Obstacle::new(format!("the sysctl `{name}` is 0, which reserves them for root"), remedy))
});

/// Ubuntu's: user namespaces can be made, but whoever has no profile has no rights in them.
pub(super) const APPARMOR: Probe = probe(
    "kernel.apparmor_restrict_unprivileged_userns",
    REFUSED,
    |machine| {
        let name = "kernel.apparmor_restrict_unprivileged_userns";
        let is_on = machine
            .text("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
            .is_some_and(|text| text != "0");
        let labels = ["/proc/self/attr/apparmor/current", "/proc/self/attr/current"];
        let label = labels.iter().find_map(|path| machine.text(path)).unwrap_or_default();
        let is_without_profile = label.is_empty() || label == "unconfined";
        let remedy = "give the runtime, or what starts it, an AppArmor profile with the rule `userns,`, or set the sysctl to 0";
        (is_on && is_without_profile).then(|| {
            Obstacle::new(
                format!("the sysctl `{name}` gives no rights in them to programs without a profile"),
                remedy,
            )
        })
    },
);

/// Who has no id in a user namespace may make none in it.
pub(super) const OWN_ID: Probe = probe("uid_map", REFUSED, |machine| {
    let map = machine.text("/proc/self/uid_map")?;
    let is_mapped = map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u32>().ok());
        let (Some(Some(first)), Some(_), Some(Some(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        machine.uid.checked_sub(first).is_some_and(|offset| offset < count)
    });
    (!is_mapped).then(|| {
        Obstacle::new(
            "the user of this process has no id in the user namespace it is in (/proc/self/uid_map)",
            "map it there, as `unshare --user --map-root-user` does",
        )
    })
});

/// In a chroot nobody may make one.
pub(super) const CHROOT: Probe = probe("chroot", REFUSED, |machine| {
    let root = statx(CWD, machine.file("/"), AtFlags::empty(), StatxFlags::empty()).ok()?;
    let (known, is) = (root.stx_attributes_mask, root.stx_attributes);
    let is_chroot = known.contains(StatxAttributes::MOUNT_ROOT) && !is.contains(StatxAttributes::MOUNT_ROOT);
    is_chroot.then(|| {
        Obstacle::new(
            "this process is in a chroot, in which nobody may make them",
            "mount the directory on itself and enter it with pivot_root(8)",
        )
    })
});

/// A filter around this process, as Docker has by default. It may say of clone3(2) that there is none.
pub(super) const SECCOMP: Probe = probe("seccomp", &[Errno::PERM, Errno::ACCESS, Errno::NOSYS], |machine| {
    let is_filtered = machine.status("Seccomp").is_some_and(|mode| mode == "2");
    is_filtered.then(|| {
        Obstacle::new(
            "a seccomp filter is around this process, as in a container",
            "give that a profile that allows clone3, unshare, setns and the mount calls (Docker and podman: \
             `--security-opt seccomp=unconfined`)",
        )
    })
});

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::super::machine::tests::Play;
    use super::super::{Concern, forbids_user_namespaces, obstacles};

    fn found(play: &Play) -> Vec<String> {
        // The directory that plays the machine is no mount, as in a chroot.
        let all = obstacles(Concern::UserNamespace, &play.machine).map(|obstacle| obstacle.found);
        all.filter(|found| !found.contains("chroot")).collect()
    }

    #[test]
    fn where_everything_is_allowed_nothing_is_found() {
        assert_eq!(found(&Play::new("fine")), [""; 0]);
    }

    #[test]
    fn each_setting_that_forbids_is_named() {
        for (path, text, words) in [
            ("proc/sys/user/max_user_namespaces", "0\n", "user.max_user_namespaces"),
            ("proc/sys/user/max_net_namespaces", "0\n", "user.max_net_namespaces"),
            ("proc/sys/kernel/unprivileged_userns_clone", "0\n", "kernel.unprivileged_userns_clone"),
            ("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n", "apparmor_restrict"),
            ("proc/self/status", "Seccomp:\t2\n", "seccomp filter"),
            ("proc/self/uid_map", "0 100000 1000\n", "has no id"),
        ] {
            let play = Play::new("forbids");
            play.write(path, text);
            let found = found(&play);
            assert!(found.len() == 1 && found[0].contains(words), "{path}: {found:?}");
        }
        let play = Play::new("none");
        play.remove("proc/self/ns/user");
        assert_eq!(found(&play), ["this kernel has no user namespaces"]);
    }

    #[test]
    fn what_would_be_in_the_way_is_no_cause_of_another_error() {
        let said = |play: &Play, errno| {
            forbids_user_namespaces(errno, &play.machine).map(|obstacle| obstacle.found).unwrap_or_default()
        };
        let play = Play::new("cause");
        play.write("proc/self/status", "Seccomp:\t2\n");
        assert_eq!(said(&play, Errno::NOSPC), "", "a limit that is reached, and a filter");
        assert!(said(&play, Errno::NOSYS).contains("seccomp filter"));
        play.write("proc/sys/user/max_user_namespaces", "0\n");
        assert!(said(&play, Errno::NOSPC).contains("user.max_user_namespaces"));
        assert!(!said(&play, Errno::PERM).contains("user.max_user_namespaces"));
    }

    #[test]
    fn a_program_with_a_profile_is_not_restricted() {
        let play = Play::new("profile");
        play.write("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n");
        play.write("proc/self/attr/current", "unconfined\n");
        assert_eq!(found(&play).len(), 1);
        play.write("proc/self/attr/current", "crun (unconfined)\n");
        assert_eq!(found(&play), [""; 0]);
    }
}
