//! Who takes part in a start beside the container's process: hooks, agents, a service manager, who gets the terminal, and
//! the state that later commands go by.

use std::ffi::CStr;

use super::{Sheet, View, cgroup, namespaces, words};
use crate::plan::{HookKind, HookPlan, hook_name};

const SOCKET: &str = "socket";

pub(super) fn find_console_socket(view: &View<'_>, sheet: &mut Sheet) {
    if let Some(socket) = terminals_socket(view) {
        sheet.add(SOCKET, format!("find the console socket {socket}")).said("path", socket);
    }
}

fn terminals_socket(view: &View<'_>) -> Option<String> {
    view.plan.process.terminal.as_ref().and(view.console_socket).map(words::path)
}

pub(super) fn connect_agent(view: &View<'_>, sheet: &mut Sheet) {
    if let Some(receiver) = view.plan.process.receiver() {
        let path = words::path(&receiver.path);
        sheet.add(SOCKET, format!("connect to the seccomp agent {path}")).said("path", path);
    }
}

pub(super) fn connect_pidfd_sockets(view: &View<'_>, sheet: &mut Sheet) {
    for path in &view.pidfd_sockets {
        let path = words::path(path);
        sheet.add(SOCKET, format!("connect to {path}, which gets a pidfd")).said("path", path);
    }
}

pub(super) fn make_state(view: &View<'_>, sheet: &mut Sheet) {
    let directory = words::path(view.state);
    sheet.add("state", format!("make {directory}, and keep the configuration there")).said("path", directory);
}

pub(super) fn write_status(view: &View<'_>, sheet: &mut Sheet) {
    let again = if view.plan.unit().is_some() { ", if the cgroup is not where it was expected" } else { "" };
    sheet.add("state", format!("write the status{again}")).said("file", "status");
}

pub(super) fn open_hook_output(view: &View<'_>, sheet: &mut Sheet) {
    let Some(hooks) = &view.plan.hooks else { return };
    for (stream, path) in [("stdout", &hooks.output.stdout), ("stderr", &hooks.output.stderr)] {
        if let Some(path) = path.as_deref().map(words::path) {
            sheet.add("hook", format!("open {path}, which gets the {stream} of hooks")).said("path", path);
        }
    }
}

pub(super) fn make_notify_socket(view: &View<'_>, sheet: &mut Sheet) {
    if let Some(notify) = &view.request.notify {
        let (directory, manager) = (words::path(notify.directory), words::path(notify.socket));
        let what = format!("make {directory} with a socket, and pass what is said there on to {manager}");
        sheet.add("notify", what).said("path", directory).said("manager", manager);
    }
}

pub(super) fn send_pidfds(view: &View<'_>, sheet: &mut Sheet) {
    for path in &view.pidfd_sockets {
        let path = words::path(path);
        sheet.add(SOCKET, format!("send a pidfd of the process to {path}")).said("path", path);
    }
}

pub(super) fn hand_over_terminal(view: &View<'_>, sheet: &mut Sheet) {
    if view.plan.process.terminal.is_none() {
        return;
    }
    match terminals_socket(view) {
        Some(socket) => {
            sheet.add("terminal", format!("send the terminal to {socket}")).said("path", socket);
        }
        None => {
            sheet.add("terminal", "join the terminal with what the caller types and sees");
        }
    }
}

pub(super) fn await_start(_: &View<'_>, sheet: &mut Sheet) {
    let created = "of a container that is only created: wait for its start";
    sheet.add("start", "wait until the runtime is done").or(created);
}

/// Those that look at a container that is about to enter its root, and until when it waits for them.
pub(super) fn await_hooks(view: &View<'_>, sheet: &mut Sheet) {
    if cgroup::namespace_comes(view) == cgroup::Moment::BeforeHooks {
        namespaces::make_cgroup_namespace(sheet);
    }
    if view.plan.hooks.as_ref().is_some_and(|hooks| hooks.stop_init()) {
        sheet.add("hook", "wait for the prestart and createRuntime hooks");
    }
}

pub(super) fn run_early_hooks(view: &View<'_>, sheet: &mut Sheet) {
    run(view, HookKind::Prestart, "once the mounts are made, in the runtime's namespaces", sheet);
    run(view, HookKind::CreateRuntime, "once the mounts are made, in the runtime's namespaces", sheet);
}

pub(super) fn run_create_hooks(view: &View<'_>, sheet: &mut Sheet) {
    let when = "before the root is entered, in the container's namespaces with the host's files";
    run(view, HookKind::CreateContainer, when, sheet);
}

pub(super) fn run_start_hooks(view: &View<'_>, sheet: &mut Sheet) {
    run(view, HookKind::StartContainer, "before the program, in the container", sheet);
}

pub(super) fn run_poststart_hooks(view: &View<'_>, sheet: &mut Sheet) {
    run(view, HookKind::Poststart, "when the program runs, in the runtime's namespaces", sheet);
}

pub(super) fn run_poststop_hooks(view: &View<'_>, sheet: &mut Sheet) {
    run(view, HookKind::Poststop, "when the container is gone, in the runtime's namespaces", sheet);
}

fn run(view: &View<'_>, kind: HookKind, when: &str, sheet: &mut Sheet) {
    let Some(hooks) = &view.plan.hooks else { return };
    for (index, hook) in hooks.list(kind).hooks.iter().enumerate() {
        let HookPlan { path, argv, env, timeout } = hook;
        let path = words::text(path);
        let action = sheet.add("hook", format!("run {path}, {when}"));
        action.with("name", hook_name(kind, index)).said("kind", kind.name()).said("path", path);
        let strings = |all: &mut dyn Iterator<Item = &CStr>| all.map(words::text).collect::<Vec<_>>();
        action.with("args", strings(&mut argv.iter()));
        if let Some(env) = env {
            action.with("env", strings(&mut env.iter()));
        }
        if let Some(timeout) = timeout {
            action.with("timeout", i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX));
        }
    }
}
