//! When the process gets a CPU and how its I/O is served (runtime-spec config.md#linux-process).
//!
//! What contradicts itself is refused here, because the kernel would only say that something is invalid, or silently take
//! another value.

use sys::scheduling::SchedulerAttributes;

use super::{Named, invalid, named};
use crate::error::Result;
use crate::spec;

/// linux/sched.h, in the order of the specification. SCHED_ISO is a number that Linux has reserved and does not implement.
const POLICIES: [Named<Policy>; 7] = [
    ("SCHED_OTHER", Policy { number: 0, kind: Kind::Shared }),
    ("SCHED_FIFO", Policy { number: 1, kind: Kind::RealTime }),
    ("SCHED_RR", Policy { number: 2, kind: Kind::RealTime }),
    ("SCHED_BATCH", Policy { number: 3, kind: Kind::Shared }),
    ("SCHED_ISO", Policy { number: 4, kind: Kind::Shared }),
    ("SCHED_IDLE", Policy { number: 5, kind: Kind::Shared }),
    ("SCHED_DEADLINE", Policy { number: 6, kind: Kind::Deadline }),
];

const FLAGS: [Named<u64>; 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", KEEP_POLICY),
    ("SCHED_FLAG_KEEP_PARAMS", KEEP_PARAMS),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

const KEEP_POLICY: u64 = 0x08;
const KEEP_PARAMS: u64 = 0x10;

/// linux/ioprio.h
const IO_CLASSES: [Named<u8>; 3] = [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];

#[derive(Debug, Clone, Copy)]
struct Policy {
    number: u32,
    kind: Kind,
}

/// What decides among the processes of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Their nice values.
    Shared,
    /// Their priorities.
    RealTime,
    /// Their deadlines.
    Deadline,
}

/// `process.scheduler` in the kernel's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scheduler {
    /// The name of the policy.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) attributes: SchedulerAttributes,
}

impl Scheduler {
    pub(crate) fn new(scheduler: &spec::Scheduler<'_>) -> Result<Self> {
        let (name, Policy { number, kind }) =
            named("process.scheduler.policy", &scheduler.policy, &POLICIES)?;
        let mut flags = 0;
        for (index, flag) in scheduler.flags.iter().flatten().enumerate() {
            flags |= named(&format!("process.scheduler.flags[{index}]"), flag, &FLAGS)?.1;
        }
        let nice = scheduler.nice.unwrap_or(0);
        if !(-20..=19).contains(&nice) {
            return Err(invalid(format!("process.scheduler.nice: {nice} is not from -20 to 19")));
        }
        // What is kept is the caller's, which only the kernel knows.
        let is_kept = flags & (KEEP_POLICY | KEEP_PARAMS) != 0;
        let kind_to_check = (!is_kept).then_some(kind);
        let attributes = SchedulerAttributes {
            policy: number,
            flags,
            nice,
            priority: priority(scheduler, name, kind_to_check)?,
            runtime: scheduler.runtime.unwrap_or(0),
            deadline: scheduler.deadline.unwrap_or(0),
            period: scheduler.period.unwrap_or(0),
        };
        check_times(&attributes, name, kind_to_check)?;
        Ok(Self { name, kind, attributes })
    }
}

fn priority(scheduler: &spec::Scheduler<'_>, name: &str, kind: Option<Kind>) -> Result<u32> {
    let priority = scheduler.priority.unwrap_or(0);
    let refused = |why: &str| invalid(format!("process.scheduler.priority: {priority} is {why}"));
    match kind {
        Some(Kind::RealTime) if !(1..=99).contains(&priority) => {
            Err(refused(&format!("not from 1 to 99, as {name} needs it")))
        }
        Some(Kind::Shared | Kind::Deadline) if priority != 0 => {
            Err(refused(&format!("only for SCHED_FIFO and SCHED_RR, not for {name}")))
        }
        _ => u32::try_from(priority).map_err(|_| refused("negative")),
    }
}

fn check_times(attributes: &SchedulerAttributes, name: &str, kind: Option<Kind>) -> Result<()> {
    let SchedulerAttributes { runtime, deadline, period, .. } = *attributes;
    let refused = |field: &str, why: String| Err(invalid(format!("process.scheduler.{field}: {why}")));
    match kind {
        None => Ok(()),
        Some(Kind::Shared | Kind::RealTime) => {
            match [("runtime", runtime), ("deadline", deadline), ("period", period)]
                .into_iter()
                .find(|(_, time)| *time != 0)
            {
                Some((field, time)) => {
                    refused(field, format!("{time} is only for SCHED_DEADLINE, not for {name}"))
                }
                None => Ok(()),
            }
        }
        Some(Kind::Deadline) if runtime == 0 => refused("runtime", format!("missing, {name} needs it")),
        Some(Kind::Deadline) if deadline == 0 => refused("deadline", format!("missing, {name} needs it")),
        Some(Kind::Deadline) if runtime > deadline => {
            refused("runtime", format!("{runtime} is more than the deadline {deadline}"))
        }
        Some(Kind::Deadline) if period != 0 && deadline > period => {
            refused("deadline", format!("{deadline} is more than the period {period}"))
        }
        Some(Kind::Deadline) => Ok(()),
    }
}

/// `process.ioPriority` in the kernel's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IoPriority {
    /// The name of the class.
    pub(crate) name: &'static str,
    pub(crate) class: u8,
    pub(crate) priority: u8,
}

impl IoPriority {
    pub(crate) fn new(io_priority: &spec::IoPriority<'_>) -> Result<Self> {
        let (name, class) = named("process.ioPriority.class", &io_priority.class, &IO_CLASSES)?;
        let given = io_priority.priority.unwrap_or(0);
        let priority = u8::try_from(given).ok().filter(|priority| *priority <= 7);
        let priority = priority
            .ok_or_else(|| invalid(format!("process.ioPriority.priority: {given} is not from 0 to 7")))?;
        Ok(Self { name, class, priority })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheduler(json: &str) -> Result<Scheduler> {
        Scheduler::new(&serde_json::from_str(json).unwrap())
    }

    fn refusal(json: &str) -> String {
        scheduler(json).unwrap_err().to_string()
    }

    fn io_priority(json: &str) -> Result<IoPriority> {
        IoPriority::new(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn each_policy_has_the_kernels_number() {
        for (name, number) in [("OTHER", 0), ("BATCH", 3), ("ISO", 4), ("IDLE", 5)] {
            let name = format!("SCHED_{name}");
            let found = scheduler(&format!(r#"{{"policy":"{name}","nice":-20}}"#)).unwrap();
            let attributes = SchedulerAttributes { policy: number, nice: -20, ..Default::default() };
            assert_eq!(found, Scheduler { name: found.name, kind: Kind::Shared, attributes });
            assert_eq!(found.name, name);
        }
        for (name, number) in [("SCHED_FIFO", 1), ("SCHED_RR", 2)] {
            let found = scheduler(&format!(r#"{{"policy":"{name}","priority":99}}"#)).unwrap();
            assert_eq!((found.attributes.policy, found.attributes.priority), (number, 99));
        }
    }

    #[test]
    fn a_deadline_has_three_times_of_which_the_period_may_be_missing() {
        let found = scheduler(r#"{"policy":"SCHED_DEADLINE","runtime":1,"deadline":2,"period":3}"#).unwrap();
        let SchedulerAttributes { policy, runtime, deadline, period, .. } = found.attributes;
        assert_eq!((policy, runtime, deadline, period), (6, 1, 2, 3));
        assert!(scheduler(r#"{"policy":"SCHED_DEADLINE","runtime":2,"deadline":2}"#).is_ok());
    }

    #[test]
    fn flags_add_up() {
        let text = |flags: &str| format!(r#"{{"policy":"SCHED_OTHER","flags":[{flags}]}}"#);
        let all: Vec<String> = FLAGS.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        assert_eq!(scheduler(&text(&all.join(","))).unwrap().attributes.flags, 0x7f);
        assert_eq!(scheduler(&text("")).unwrap().attributes.flags, 0);
        assert_eq!(scheduler(&text("\"SCHED_FLAG_DL_OVERRUN\"")).unwrap().attributes.flags, 4);
    }

    #[test]
    fn unknown_names_are_refused_with_path_and_what_is_allowed() {
        assert_eq!(
            refusal(r#"{"policy":"sched_other"}"#),
            "process.scheduler.policy: `sched_other` is none of SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, \
             SCHED_ISO, SCHED_IDLE, SCHED_DEADLINE"
        );
        let message = refusal(r#"{"policy":"SCHED_OTHER","flags":["SCHED_FLAG_RECLAIM","X"]}"#);
        assert!(message.starts_with("process.scheduler.flags[1]: `X` is none of SCHED_FLAG_RESET_ON_FORK, "));
        assert_eq!(
            io_priority(r#"{"class":"IOPRIO_CLASS_NONE"}"#).unwrap_err().to_string(),
            "process.ioPriority.class: `IOPRIO_CLASS_NONE` is none of IOPRIO_CLASS_RT, IOPRIO_CLASS_BE, \
             IOPRIO_CLASS_IDLE"
        );
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for (json, message) in [
            (r#"{"policy":"SCHED_OTHER","nice":20}"#, "nice: 20 is not from -20 to 19"),
            (r#"{"policy":"SCHED_FIFO"}"#, "priority: 0 is not from 1 to 99, as SCHED_FIFO needs it"),
            (
                r#"{"policy":"SCHED_RR","priority":100}"#,
                "priority: 100 is not from 1 to 99, as SCHED_RR needs it",
            ),
            (
                r#"{"policy":"SCHED_BATCH","priority":1}"#,
                "priority: 1 is only for SCHED_FIFO and SCHED_RR, not for SCHED_BATCH",
            ),
            (
                r#"{"policy":"SCHED_IDLE","period":7}"#,
                "period: 7 is only for SCHED_DEADLINE, not for SCHED_IDLE",
            ),
            (r#"{"policy":"SCHED_DEADLINE"}"#, "runtime: missing, SCHED_DEADLINE needs it"),
            (r#"{"policy":"SCHED_DEADLINE","runtime":5}"#, "deadline: missing, SCHED_DEADLINE needs it"),
            (
                r#"{"policy":"SCHED_DEADLINE","runtime":5,"deadline":4}"#,
                "runtime: 5 is more than the deadline 4",
            ),
            (
                r#"{"policy":"SCHED_DEADLINE","runtime":5,"deadline":6,"period":5}"#,
                "deadline: 6 is more than the period 5",
            ),
        ] {
            assert_eq!(refusal(json), format!("process.scheduler.{message}"));
        }
    }

    #[test]
    fn what_is_kept_from_the_caller_is_not_judged_by_the_policy_named() {
        for flag in ["SCHED_FLAG_KEEP_POLICY", "SCHED_FLAG_KEEP_PARAMS"] {
            assert!(scheduler(&format!(r#"{{"policy":"SCHED_FIFO","flags":["{flag}"]}}"#)).is_ok());
            assert!(
                scheduler(&format!(r#"{{"policy":"SCHED_OTHER","priority":5,"flags":["{flag}"]}}"#)).is_ok()
            );
        }
    }

    #[test]
    fn an_io_priority_is_a_class_and_a_number_from_0_to_7() {
        let of = |json| io_priority(json).map(|found| (found.class, found.priority)).ok();
        assert_eq!(of(r#"{"class":"IOPRIO_CLASS_RT","priority":7}"#), Some((1, 7)));
        assert_eq!(of(r#"{"class":"IOPRIO_CLASS_BE","priority":4}"#), Some((2, 4)));
        assert_eq!(of(r#"{"class":"IOPRIO_CLASS_IDLE"}"#), Some((3, 0)));
        for number in [-1, 8, 256, 264] {
            let json = format!(r#"{{"class":"IOPRIO_CLASS_BE","priority":{number}}}"#);
            let message = io_priority(&json).unwrap_err().to_string();
            assert_eq!(message, format!("process.ioPriority.priority: {number} is not from 0 to 7"));
        }
    }
}
