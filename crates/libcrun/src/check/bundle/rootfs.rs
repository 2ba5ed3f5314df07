//! Whether the root filesystem is there, and open to who will be root in it.

use super::super::{Answer, Finding};
use super::Examined;
use crate::explain;
use crate::prepare;

pub(super) fn look(examined: &Examined<'_>) -> Vec<Finding> {
    let plan = examined.plan;
    let path = &plan.rootfs.path;
    if let Err(error) = prepare::open_root(plan) {
        let answer = Answer {
            remedy: Some(format!("put the container's files into `{}`", path.display())),
            ..Answer::refused(&error)
        };
        return vec![answer.about("root.path")];
    }
    let closed = || {
        let maps = plan.namespaces.id_maps.as_ref()?;
        let (user, group) = (maps.outside_uid(0)?, maps.outside_gid(0)?);
        if explain::lets_in(path, user, group) {
            return None;
        }
        let closed = explain::closed_to(path, user)?;
        let found = format!("{closed}, who is root of the container");
        Some(Answer::missing(found, format!("`chown {user}:{group}` or `chmod o+x` it")).about("root.path"))
    };
    closed().into_iter().collect()
}
