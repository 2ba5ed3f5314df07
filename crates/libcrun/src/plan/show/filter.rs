//! The filter of system calls.

use seccomp::Options;

use super::{Action, Sheet, View};
use crate::plan::filter::flag_names;

const SUBJECT: &str = "seccomp";

/// The program is made before anything else; here it is kept for `exec`.
pub(super) fn keep(view: &View<'_>, sheet: &mut Sheet) {
    if view.plan.process.filter.is_some() {
        sheet.add("state", "keep the seccomp filter, for exec").said("file", "seccomp.bpf");
    }
}

pub(super) fn load_early(view: &View<'_>, sheet: &mut Sheet) {
    if !view.plan.process.can_filter_at_last() {
        load(view, "while the process still may", sheet);
    }
}

pub(super) fn load_at_last(view: &View<'_>, sheet: &mut Sheet) {
    if view.plan.process.can_filter_at_last() {
        load(view, "last", sheet);
    }
}

fn load(view: &View<'_>, when: &str, sheet: &mut Sheet) {
    let Some(filter) = &view.plan.process.filter else { return };
    let size = filter.program.len();
    let action = sheet.add(SUBJECT, format!("load the filter, {size} instructions, {when}"));
    action.said("instructions", i64::try_from(size).unwrap_or(i64::MAX));
    summarize(view, action);
    action.with("flags", flag_names(filter.flags));
    action.or_if(
        !filter.asks_for_flags && !filter.flags.is_empty(),
        "without the flags, where they are not known",
    );
    if let Some(receiver) = &filter.receiver {
        action.with("listener", receiver.path.to_string_lossy().into_owned());
    }
}

/// What the profile says; of a program that comes as it is there is none.
fn summarize(view: &View<'_>, action: &mut Action) {
    let profile = view.spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
    let Some(Ok(profile)) = profile.map(|profile| profile.profile()) else { return };
    let errno = profile.default_errno.map(|errno| format!("({errno})")).unwrap_or_default();
    action.with("default", format!("{}{errno}", profile.default_action));
    action.with(
        "architectures",
        profile.architectures.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(),
    );
    // That it goes has been seen when the program was made.
    let filter = seccomp::compile(&profile, &Options::default());
    action.with("unknown", filter.map(|filter| filter.skipped).unwrap_or_default());
}
