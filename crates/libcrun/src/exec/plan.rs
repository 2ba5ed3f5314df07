//! The plan of a process that is run in a container: an object of its own, or the container's process with changes.

use std::path::Path;

use crate::container::Container;
use crate::error::Result;
use crate::exec::ExecOptions;
use crate::host::Host;
use crate::input;
use crate::plan::{FilterPlan, FilterSubject, MemoryPolicy, ProcessPlan, personality, process_plan};
use crate::spec::{self, Spec, Text, User};

/// The filter of the container, as it was loaded then, so that it is not made anew.
pub(super) fn saved_filter(
    container: &Container,
    spec: &Spec<'_>,
    options: &ExecOptions,
) -> Result<Option<FilterPlan>> {
    if !FilterPlan::is_asked_for(spec) {
        return Ok(None);
    }
    let subject = FilterSubject {
        id: &container.id,
        bundle: Path::new(&container.status.bundle),
        status: "running",
        receiver: options.seccomp_receiver.as_deref(),
    };
    FilterPlan::of_saved(spec, &container.directory.read_filter()?, subject).map(Some)
}

/// The process: an object of its own, or the container's with changes.
pub(super) fn plan(spec: &Spec<'_>, options: &ExecOptions) -> Result<ProcessPlan> {
    let own = spec.process.as_ref();
    let Some(path) = &options.process else {
        let mut process = container_process(own);
        apply_options(&mut process, own, options);
        label(&mut process, own, options);
        return finish(&process, spec, options);
    };
    let text = input::read_file(path)?;
    let mut process = spec::parse_process(&text, &path.to_string_lossy())?;
    if process.env.is_none() {
        process.env = own.and_then(|own| own.env.clone());
    }
    if process.user.is_none() {
        process.user = own.and_then(|own| own.user.clone());
    }
    if process.exec_cpu_affinity.is_none() {
        process.exec_cpu_affinity = own.and_then(|own| own.exec_cpu_affinity.clone());
    }
    add_groups(&mut process, options);
    label(&mut process, own, options);
    finish(&process, spec, options)
}

/// The container's own process without its program.
fn container_process<'a>(own: Option<&spec::Process<'a>>) -> spec::Process<'a> {
    let Some(own) = own else { return spec::Process::default() };
    spec::Process {
        user: own.user.clone(),
        env: own.env.clone(),
        cwd: own.cwd.clone(),
        no_new_privileges: own.no_new_privileges,
        scheduler: own.scheduler.clone(),
        io_priority: own.io_priority.clone(),
        exec_cpu_affinity: own.exec_cpu_affinity.clone(),
        ..spec::Process::default()
    }
}

fn apply_options<'a>(
    process: &mut spec::Process<'a>,
    own: Option<&spec::Process<'a>>,
    options: &'a ExecOptions,
) {
    process.args = Some(options.args.iter().map(|arg| Text::from(arg.as_str())).collect());
    let env = process.env.get_or_insert_default();
    for variable in &options.env {
        let name = variable.split('=').next().unwrap_or_default();
        env.retain(|known| known.split('=').next() != Some(name));
        env.push(Text::from(variable.as_str()));
    }
    if let Some(cwd) = &options.cwd {
        process.cwd = Some(Text::from(cwd.as_str()));
    }
    if let Some((uid, gid)) = options.user {
        let umask = own.and_then(|own| own.user.as_ref()).and_then(|user| user.umask);
        process.user = Some(User { uid, gid, umask, additional_gids: None });
    }
    if options.no_new_privileges {
        process.no_new_privileges = Some(true);
    }
    if let Some(own) = own.filter(|_| options.limits_of_container) {
        process.rlimits.clone_from(&own.rlimits);
        process.oom_score_adj = own.oom_score_adj;
    }
    process.terminal = Some(options.terminal);
    add_groups(process, options);
}

fn add_groups(process: &mut spec::Process<'_>, options: &ExecOptions) {
    if !options.additional_gids.is_empty() {
        let groups = process.user.get_or_insert_default().additional_gids.get_or_insert_default();
        groups.extend(&options.additional_gids);
    }
}

/// A process beside a confined one is confined alike, unless it says otherwise itself.
fn label<'a>(process: &mut spec::Process<'a>, own: Option<&spec::Process<'a>>, options: &'a ExecOptions) {
    let choose = |option: &'a Option<String>, given: &mut Option<Text<'a>>, own: Option<&Text<'a>>| {
        if let Some(label) = option {
            *given = Some(Text::from(label.as_str()));
        } else if given.is_none() {
            *given = own.cloned();
        }
    };
    let profile = own.and_then(|own| own.apparmor_profile.as_ref());
    choose(&options.apparmor_profile, &mut process.apparmor_profile, profile);
    let label = own.and_then(|own| own.selinux_label.as_ref());
    choose(&options.selinux_label, &mut process.selinux_label, label);
}

fn finish(process: &spec::Process<'_>, spec: &Spec<'_>, options: &ExecOptions) -> Result<ProcessPlan> {
    let mut plan = process_plan(process, options.preserve_fds, &Host::new())?;
    plan.memory_policy = MemoryPolicy::of(spec.linux.as_ref())?;
    if let Some(terminal) = &mut plan.terminal {
        terminal.settle(spec);
    }
    plan.personality = personality(spec.linux.as_ref())?;
    if process.capabilities.is_none() {
        let own = spec.process.as_ref().and_then(|own| own.capabilities.as_ref());
        plan.capabilities = crate::capabilities::Sets::from_spec(own)?;
    }
    for name in &options.capabilities {
        let bit = 1 << crate::capabilities::number(name)?;
        let sets = &mut plan.capabilities;
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted, &mut sets.ambient] {
            *set |= bit;
        }
    }
    Ok(plan)
}
