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

impl Init<'_> {
    /// Waits for the runtime's hooks, if there are some: they find the container in its namespaces and its cgroup, with its
    /// mounts made and its root not entered.
    pub(super) fn wait_for_hooks(&mut self) -> Result<(), Failure> {
        let Some(hooks) = self.prepared.hooks.filter(|hooks| hooks.plan.see_both_sides()) else {
            return Ok(());
        };
        self.await_cgroup()?;
        if hooks.plan.stop_init() {
            self.channel.tell_at_hooks().at(Step::Runtime)?;
            self.channel.expect(ToInit::HooksRun).at(Step::Runtime)?;
        }
        Ok(())
    }

    /// Runs those that see the host's files from the container's namespaces.
    pub(super) fn run_create_hooks(&self) -> Result<(), Failure> {
        match self.prepared.hooks {
            Some(hooks) => self.run_hooks(hooks, HookKind::CreateContainer),
            None => Ok(()),
        }
    }

    /// Runs those that see only the container, as the process it has become.
    pub(super) fn run_start_hooks(&self) -> Result<(), Failure> {
        match self.prepared.hooks {
            Some(hooks) => self.run_hooks(hooks, HookKind::StartContainer),
            None => Ok(()),
        }
    }

    fn run_hooks(&self, hooks: &Hooks, kind: HookKind) -> Result<(), Failure> {
        let list = hooks.plan.list(kind);
        let (mut digits, number) = ([0_u8; 10], getpid().as_raw_nonzero().get());
        let pid = decimal(number, &mut digits);
        for (index, hook) in list.hooks.iter().enumerate() {
            let mut tail = Tail::new();
            let call_of = self.call_of(hooks, kind, hook, [&list.state.before, pid, &list.state.after]);
            let Err(trouble) = call(&call_of, &mut tail) else { continue };
            let before = match kind {
                HookKind::StartContainer => hooks.plan.list(HookKind::CreateContainer).hooks.len(),
                _ => 0,
            };
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
        let has_listener = !is_inside || self.fifos.start.is_none();
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
        if !text.is_empty()
            && self.channel.tell_text(text).is_err()
            && let Some(fifo) = self.fifos.report
        {
            let _ = following::tell_text(fifo, text);
        }
    }
}

/// A number that is not negative, in decimal.
fn decimal(number: i32, digits: &mut [u8; 10]) -> &[u8] {
    let (mut rest, mut first) = (number.unsigned_abs(), digits.len());
    loop {
        first -= 1;
        if let (Some(digit), Ok(value)) = (digits.get_mut(first), u8::try_from(rest % 10)) {
            *digit = b'0' + value;
        }
        rest /= 10;
        if rest == 0 || first == 0 {
            break;
        }
    }
    digits.get(first..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 1, 10, 4_194_304, i32::MAX] {
            assert_eq!(decimal(number, &mut [0; 10]), number.to_string().as_bytes());
        }
    }
}
