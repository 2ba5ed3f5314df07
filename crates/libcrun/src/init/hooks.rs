//! Hooks in the life of init: those the runtime runs while it waits, and those it runs itself.

use std::os::fd::AsFd;

use rustix::event::PollFlags;
use rustix::fs::Mode;
use rustix::process::getpid;

use super::Init;
use crate::channel::{At, Failure, Step, ToInit};
use crate::following;
use crate::hooks::{self, Call, Hooks, Tail, call};
use crate::plan::{HookKind, HookPlan};
use crate::receiver::{DIGITS, decimal};
use crate::timeline::marks;

impl Init<'_> {
    /// Waits for the runtime's hooks, if there are some: they find the container in its namespaces and its cgroup, with its
    /// mounts made and its root not entered.
    pub(super) fn wait_for_hooks(&mut self) -> Result<(), Failure> {
        if self.prepared.process.hooks.is_none_or(|hooks| !hooks.plan.see_both_sides()) {
            return Ok(());
        }
        self.await_cgroup()?;
        if self.is_stopped_by_hooks() {
            self.channel.tell_at_hooks().at(Step::Runtime)?;
            self.channel.expect(ToInit::HooksRun).at(Step::Runtime)?;
            self.set_sysctls()?;
        }
        Ok(())
    }

    /// Whether hooks of the runtime come before the parameters of its namespaces, because they may bring the devices that
    /// these are of.
    pub(super) fn is_stopped_by_hooks(&self) -> bool {
        self.prepared.process.hooks.is_some_and(|hooks| hooks.plan.stop_init())
    }

    /// Runs those that see the host's files from the container's namespaces.
    pub(super) fn run_create_hooks(&self) -> Result<(), Failure> {
        match self.prepared.process.hooks {
            Some(hooks) => self.run_hooks(hooks, HookKind::CreateContainer),
            None => Ok(()),
        }
    }

    /// Runs those that see only the container, as the process it has become.
    pub(super) fn run_start_hooks(&self) -> Result<(), Failure> {
        match self.prepared.process.hooks {
            Some(hooks) => self.run_hooks(hooks, HookKind::StartContainer),
            None => Ok(()),
        }
    }

    fn run_hooks(&self, hooks: &Hooks, kind: HookKind) -> Result<(), Failure> {
        let list = hooks.plan.list(kind);
        let (mut digits, number) = ([0_u8; DIGITS], getpid().as_raw_nonzero().get());
        let pid = decimal(number, &mut digits);
        for (index, hook) in list.hooks.iter().enumerate() {
            let mut tail = Tail::new();
            let call_of = self.call_of(hooks, kind, hook, [&list.state.before, pid, &list.state.after]);
            let before = match kind {
                HookKind::StartContainer => hooks.plan.list(HookKind::CreateContainer).hooks.len(),
                _ => 0,
            };
            let called = call(&call_of, &mut tail);
            marks::step(Step::HookRun, u16::try_from(before + index).unwrap_or(u16::MAX), None);
            let Err(trouble) = called else { continue };
            self.tell_output(tail.bytes());
            return Err(hooks::inside(trouble, before + index));
        }
        Ok(())
    }

    fn call_of<'a>(
        &'a self,
        hooks: &'a Hooks,
        kind: HookKind,
        hook: &'a HookPlan,
        input: [&'a [u8]; 3],
    ) -> Call<'a> {
        let is_inside = kind == HookKind::StartContainer;
        // What is in the image is not told what the runtime's environment holds.
        let env = if is_inside { &self.prepared.process.env } else { hooks.env() };
        // Nobody is at the other end when a created container is started.
        let has_listener = !self.channel.has_parted();
        Call {
            hook,
            env: hook.env.as_ref().unwrap_or(env),
            directory: (!is_inside).then_some(hooks.plan.bundle.as_c_str()),
            umask: (!is_inside).then_some(Mode::from_raw_mode(0o022)),
            input,
            stdout: hooks.stdout(),
            stderr: hooks.stderr(),
            interruption: has_listener.then_some((self.channel.as_fd(), PollFlags::RDHUP)),
        }
    }

    /// What cannot be told to anybody is lost.
    fn tell_output(&self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        let _ = match self.prepared.process.report.filter(|_| self.channel.has_parted()) {
            Some(fifo) => following::tell_text(fifo, text),
            None => self.channel.tell_text(text),
        };
    }
}
