//! The words for a hook that has failed.

use rustix::io::Errno;

use super::Trouble;
use crate::channel::{Failure, Step};
use crate::error::{Code, Error};
use crate::plan::{HookKind, HooksPlan, hook_name};

/// The error for a hook. `signal` is what has interrupted it.
pub(super) fn failure(
    plan: &HooksPlan,
    (kind, index): (HookKind, usize),
    trouble: Trouble,
    signal: Option<i32>,
) -> Error {
    let hook = plan.list(kind).hooks.get(index);
    let path = hook.map(|hook| hook.path.to_string_lossy()).unwrap_or_default();
    let (failed, name) = (format!("{} hook failed", kind.name()), hook_name(kind, index));
    let place = format!("error executing hook `{path}` ({name})");
    let message = match trouble {
        Trouble::Exited(code) => format!("{failed} with exit code {code}: {place}"),
        Trouble::Killed(signal) => {
            format!("{failed} with exit code {} (killed by signal {signal}): {place}", 128 + signal)
        }
        Trouble::TimedOut => {
            let seconds = hook.and_then(|hook| hook.timeout).unwrap_or_default().as_secs();
            format!("{failed}: timeout expired for `{path}` ({name}.timeout: {seconds})")
        }
        Trouble::Interrupted => match signal {
            Some(signal) => format!("{failed}: {place}: given up on signal {signal}"),
            None => format!("{failed}: {place}: given up"),
        },
        Trouble::NotExecuted(errno) => return Error::os(Code::Hook, format!("{failed}: {place}"), errno),
        Trouble::Kernel(errno) => {
            return Error::os(Code::Hook, format!("{failed}: {place}: make its process"), errno);
        }
    };
    Error::new(Code::Hook, message)
}

/// An error with what the hook has written.
pub(crate) fn with_output(error: Error, output: &[u8]) -> Error {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() || error.errno().is_some() {
        return error;
    }
    Error::new(error.code(), format!("{}: {}", error.message(), lines.join("; ")))
}

/// The hooks that init runs are counted through: those before it enters the root, then those before it executes.
pub(crate) fn inside(trouble: Trouble, number: usize) -> Failure {
    let of = |step, detail: i32, errno| {
        let detail = usize::try_from(detail).unwrap_or(0);
        Failure::new(step, number, errno).concerning(detail)
    };
    // Where only the step says what happened, the number is of no meaning.
    let none = Errno::CANCELED;
    match trouble {
        Trouble::Exited(code) => of(Step::HookExit, code, none),
        Trouble::Killed(signal) => of(Step::HookKilled, signal, none),
        Trouble::TimedOut => of(Step::HookTimeout, 0, none),
        Trouble::NotExecuted(errno) => of(Step::HookExec, 0, errno),
        Trouble::Kernel(errno) => of(Step::HookRun, 0, errno),
        // Nobody is there to hear of it.
        Trouble::Interrupted => of(Step::Runtime, 0, Errno::PIPE),
    }
}

/// The error for a hook that init has run; nothing for a failure of something else.
pub(crate) fn inside_failure(plan: Option<&HooksPlan>, told: Failure) -> Option<Error> {
    let (plan, number, detail) = (plan?, usize::from(told.index), i32::from(told.detail));
    let trouble = match told.step {
        Step::HookExit => Trouble::Exited(detail),
        Step::HookKilled => Trouble::Killed(detail),
        Step::HookTimeout => Trouble::TimedOut,
        Step::HookExec => Trouble::NotExecuted(told.errno),
        Step::HookRun => Trouble::Kernel(told.errno),
        _ => return None,
    };
    let before_root = plan.list(HookKind::CreateContainer).hooks.len();
    let place = match number.checked_sub(before_root) {
        None => (HookKind::CreateContainer, number),
        Some(index) => (HookKind::StartContainer, index),
    };
    Some(failure(plan, place, trouble, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ContainerId;
    use crate::spec;
    use std::path::Path;

    fn plan() -> std::rc::Rc<HooksPlan> {
        let text = br#"{"ociVersion":"1","hooks":{"createContainer":[{"path":"/a"},{"path":"/b"}],
            "startContainer":[{"path":"/c","timeout":7}]}}"#;
        let spec = spec::parse(text, "config.json").unwrap();
        HooksPlan::new(&spec, &ContainerId::new("web").unwrap(), Path::new("/b")).unwrap().unwrap()
    }

    #[test]
    fn every_trouble_has_its_words_also_by_way_of_init() {
        let plan = plan();
        for (number, trouble, words) in [
            (
                0,
                Trouble::Exited(3),
                "createContainer hook failed with exit code 3: error executing hook `/a` (hooks.createContainer[0])",
            ),
            (
                1,
                Trouble::Killed(9),
                "createContainer hook failed with exit code 137 (killed by signal 9): error executing hook `/b` \
                 (hooks.createContainer[1])",
            ),
            (
                2,
                Trouble::TimedOut,
                "startContainer hook failed: timeout expired for `/c` (hooks.startContainer[0].timeout: 7)",
            ),
            (
                2,
                Trouble::NotExecuted(Errno::NOENT),
                "startContainer hook failed: error executing hook `/c` (hooks.startContainer[0]): No such file or \
                 directory",
            ),
            (
                0,
                Trouble::Kernel(Errno::AGAIN),
                "createContainer hook failed: error executing hook `/a` (hooks.createContainer[0]): make its process: \
                 Resource temporarily unavailable",
            ),
        ] {
            let error = inside_failure(Some(&plan), inside(trouble, number)).unwrap();
            assert_eq!((error.code(), error.to_string().as_str()), (Code::Hook, words));
        }
    }

    #[test]
    fn what_it_wrote_follows_in_the_same_line() {
        let error = with_output(Error::new(Code::Hook, "x"), b"\none \n\r\n two\n\xff");
        assert_eq!(error.to_string(), "x: one; two; \u{fffd}");
        assert_eq!(with_output(Error::new(Code::Hook, "x"), b"\n").to_string(), "x");
    }
}
