//! `--trace`: what a command did when, in both processes.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kit::bundle::Bundle;
use kit::container::Container;
use kit::crun::Crun;
use kit::hooks::with_all;
use kit::{runtime, runtime_of_user};
use serde_json::{Value, json};

/// A trace that keeps the rules of its format.
#[derive(Debug)]
struct Trace {
    processes: BTreeMap<String, Vec<Span>>,
}

/// A span, with its times in nanoseconds.
#[derive(Debug)]
struct Span {
    name: String,
    begin: u64,
    end: u64,
    depth: usize,
    category: String,
    args: Value,
}

impl Trace {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let trace: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(trace["displayTimeUnit"], "ms");
        let events = trace["traceEvents"].as_array().unwrap();
        let (names, spans): (Vec<_>, Vec<_>) = events.iter().partition(|event| event["ph"] == "M");
        let mut processes = BTreeMap::new();
        let mut pids = BTreeMap::new();
        for name in names.iter().filter(|name| name["name"] == "process_name") {
            let text = name["args"]["name"].as_str().unwrap().to_owned();
            assert_eq!(pids.insert(name["pid"].as_u64().unwrap(), text.clone()), None, "a pid has two names");
            assert!(processes.insert(text, Vec::new()).is_none(), "two processes have the name {name}");
        }
        assert_eq!(names.len(), 2 * pids.len(), "each process has a name, and its thread has one");
        for event in spans {
            assert_eq!(event["pid"], event["tid"]);
            let process = &pids[&event["pid"].as_u64().unwrap()];
            processes.get_mut(process).unwrap().push(Span::of(event));
        }
        processes.values_mut().for_each(|spans| nest(spans));
        Self { processes }
    }

    /// The spans of the process whose name begins so.
    fn of(&self, name: &str) -> &[Span] {
        let mut found = self.processes.iter().filter(|(process, _)| process.starts_with(name));
        let (Some((_, spans)), None) = (found.next(), found.next()) else {
            panic!("{name} is none or several of {:?}", self.processes.keys())
        };
        spans
    }

    /// The names of what lies within `depth` others.
    fn names(&self, process: &str, depth: usize) -> Vec<&str> {
        let of = self.of(process).iter().filter(|span| span.depth == depth && span.category != "word");
        of.map(|span| span.name.as_str()).collect()
    }

    fn span(&self, process: &str, name: &str) -> &Span {
        let found = self.of(process).iter().find(|span| span.name == name);
        found.unwrap_or_else(|| panic!("{process} has no {name}: {self:#?}"))
    }

    fn has(&self, process: &str, name: &str) -> bool {
        self.of(process).iter().any(|span| span.name == name)
    }
}

impl Span {
    fn of(event: &Value) -> Self {
        // Microseconds with three digits behind the point.
        let nanoseconds = |value: &Value| {
            let text = value.to_string();
            let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
            whole.parse::<u64>().unwrap() * 1000 + format!("{fraction:0<3}").parse::<u64>().unwrap()
        };
        let begin = nanoseconds(&event["ts"]);
        let took = match event["ph"].as_str().unwrap() {
            "X" => nanoseconds(&event["dur"]),
            "i" => 0,
            other => panic!("an event of the kind {other}"),
        };
        Self {
            name: event["name"].as_str().unwrap().to_owned(),
            begin,
            end: begin + took,
            depth: 0,
            category: event["cat"].as_str().unwrap().to_owned(),
            args: event["args"].clone(),
        }
    }

    fn error(&self) -> &str {
        self.args["error"].as_str().unwrap_or_default()
    }
}

/// Finds out what lies within what; what overlaps otherwise is a mistake, and so is a disorder in time.
fn nest(spans: &mut [Span]) {
    let mut around: Vec<(String, u64)> = Vec::new();
    let mut before = 0;
    for span in spans {
        assert!(span.begin >= before, "{} begins before what is written before it", span.name);
        before = span.begin;
        while around.last().is_some_and(|(_, end)| *end <= span.begin && *end < span.end) {
            around.pop();
        }
        if let Some((name, end)) = around.last() {
            assert!(
                span.end <= *end,
                "{} ends {} ns after {name}, which it lies in",
                span.name,
                span.end - end
            );
        }
        span.depth = around.len();
        around.push((span.name.clone(), span.end));
    }
}

/// Where a test puts its trace.
fn file(crun: &Crun) -> PathBuf {
    crun.state_dir().parent().unwrap().join("trace.json")
}

fn traced(crun: &Crun, bundle: &Bundle) -> Trace {
    let path = file(crun);
    let _ = crun.run_with(bundle, ["--trace", path.to_str().unwrap()]).ok();
    Trace::read(&path)
}

/// A command for a container with its trace.
fn command<const N: usize>(container: &Container, args: [&str; N]) -> (kit::running::Output, Trace) {
    let path = file(container.crun());
    let [command, rest @ ..] = args.as_slice() else { panic!("no command") };
    let given = [&[*command, "--trace", path.to_str().unwrap()], rest].concat();
    let output = container.crun().cmd(given.iter().map(|arg| match *arg {
        "ID" => container.id(),
        other => other,
    }));
    (output, Trace::read(&path))
}

/// Whether these come in this order, perhaps with others between them.
fn assert_in_order(names: &[&str], expected: &[&str]) {
    let mut left = names.iter();
    for name in expected {
        assert!(left.any(|found| found == name), "{name} is missing or out of order: {names:#?}");
    }
}

#[test]
fn a_run_shows_every_phase_of_both_processes_in_order() {
    let crun = runtime!();
    let trace = traced(&crun, &Bundle::new().args(["true"]));
    assert_eq!(trace.names("crun", 0), ["run"]);
    assert_in_order(
        &trace.names("crun", 1),
        &[
            "read the configuration",
            "parse",
            "plan",
            "make the state directory",
            "keep the configuration",
            "make the cgroup",
            "prepare",
            "clone",
            "attend to init",
            "waits for the container's end",
            "removal",
        ],
    );
    let within = trace.names("crun", 2);
    assert_in_order(
        &within,
        &["network namespace", "waits for the exec", "remove the cgroup", "remove the state"],
    );
    assert_eq!(
        trace.names("init", 0),
        [
            "takes its place",
            "namespaces",
            "mounts",
            "devices",
            "masked and read-only paths",
            "change of root",
            "names and bindings",
            "gives up rights",
            "program",
            "start",
            "the program runs"
        ]
    );
}

#[test]
fn mounts_devices_and_paths_are_told_by_name() {
    let crun = runtime!();
    let bundle = Bundle::new().args(["true"]).mount("/mnt", "bind", "/etc", ["bind", "ro"]);
    let trace = traced(&crun, &bundle);
    assert!(trace.has("crun", "open /mnt"), "{trace:#?}");
    let inside = trace.names("init", 1);
    let mounts: Vec<_> = inside.iter().filter_map(|name| name.strip_prefix("mount ")).collect();
    let all = bundle.config()["mounts"].as_array().unwrap().iter();
    assert_eq!(mounts, all.map(|mount| mount["destination"].as_str().unwrap()).collect::<Vec<_>>());
    assert_in_order(&inside, &["device /dev/null", "masked path /proc/keys", "read only path /proc/sys"]);
    assert!(trace.names("init", 2).contains(&"attach"), "{trace:#?}");
    assert!(trace.has("init", "exec true"));
}

#[test]
fn both_processes_go_by_the_same_clock() {
    let crun = runtime!();
    let offsets = json!({"monotonic": {"secs": 1_000_000}, "boottime": {"secs": 1_000_000}});
    let in_time =
        |bundle: Bundle| bundle.namespace("time", Some("")).set("/linux/timeOffsets", offsets.clone());
    for bundle in [Bundle::new(), in_time(Bundle::new())] {
        let trace = traced(&crun, &bundle.args(["sleep", "0.4"]));
        let [whole, clone] = ["run", "clone"].map(|name| trace.span("crun", name));
        let (first, last) = (&trace.of("init")[0], trace.span("init", "the program runs"));
        // The clock of the calendar, which is the one that time namespaces share, may be set by a little meanwhile.
        assert!(first.begin + 1_000_000 >= clone.begin, "init begins before it is made: {trace:#?}");
        assert!(last.begin >= first.begin && last.end <= whole.end, "{trace:#?}");
        let attended = trace.span("crun", "attend to init");
        assert!(first.begin <= attended.end, "init begins after it is done: {trace:#?}");
        assert!(last.end - last.begin >= 100_000_000, "{last:?}");
    }
}

#[test]
fn waits_are_told_from_work() {
    let crun = runtime!();
    let trace = traced(&crun, &Bundle::new().args(["true"]));
    for process in ["crun", "init"] {
        let of = trace.of(process).iter().filter(|span| span.name.starts_with("waits for "));
        let categories: Vec<_> = of.map(|span| span.category.as_str()).collect();
        assert!(
            !categories.is_empty() && categories.iter().all(|category| *category == "wait"),
            "{trace:#?}"
        );
    }
    assert_eq!(trace.span("init", "the program runs").category, "program");
    assert_eq!(trace.span("crun", "says: go").category, "word");
}

#[test]
fn on_every_rung_the_trace_is_whole() {
    for (name, crun) in runtime!().mount_rungs() {
        eprintln!("{name}");
        let trace = traced(&crun, &Bundle::new().args(["true"]));
        let phases = ["namespaces", "mounts", "devices", "change of root", "start", "the program runs"];
        assert_in_order(&trace.names("init", 0), &phases);
        assert!(trace.has("init", "mount /proc"), "{name}: {trace:#?}");
    }
}

#[test]
fn hooks_are_seen_where_they_are_run() {
    let crun = runtime!();
    let trace = traced(&crun, &with_all(Bundle::new().args(["true"]), "sleep 0.05"));
    let long = |process, name| trace.span(process, name).end - trace.span(process, name).begin >= 50_000_000;
    for hooks in ["prestart hooks", "createRuntime hooks", "poststart", "poststop hooks"] {
        assert!(long("crun", hooks), "{hooks}: {trace:#?}");
    }
    assert!(long("init", "waits for hooks"));
    let inside = trace.of("init").iter().filter(|span| span.name.starts_with("hook run"));
    let long: Vec<_> = inside.map(|span| span.end - span.begin >= 50_000_000).collect();
    assert_eq!(long, [true, true], "createContainer and startContainer: {trace:#?}");
}

#[test]
fn what_create_start_and_delete_do_is_seen_in_a_trace_of_each() {
    let crun = runtime!();
    let bundle = Bundle::new().sh("echo up; sleep 99; true");
    let container = crun.container(&bundle);
    let dir = bundle.save().to_str().unwrap();
    let (created, trace) = command(&container, ["create", "-b", dir, "ID"]);
    let _ = created.ok();
    assert_eq!(trace.names("crun", 0), ["create"]);
    let last = trace.of("init").last().unwrap();
    assert_eq!((last.name.as_str(), last.category.as_str()), ("waits for start", "wait"));
    let (started, trace) = command(&container, ["start", "ID"]);
    assert_eq!(started.ok(), "");
    assert_eq!(trace.names("crun", 0), ["start"]);
    assert_in_order(&trace.names("crun", 1), &["read the state", "let the process go"]);
    let (deleted, trace) = command(&container, ["delete", "--force", "ID"]);
    assert_eq!(deleted.ok(), "");
    assert_in_order(&trace.names("crun", 1), &["end the process", "remove the cgroup", "remove the state"]);
    container.deleted();
}

#[test]
fn a_detached_run_ends_its_trace_with_the_exec() {
    let crun = runtime!();
    let mut container = crun.container(&Bundle::new().args(["sleep", "99"]));
    let path = file(&crun);
    container.make("run", ["--detach", "--trace", path.to_str().unwrap()]);
    let trace = Trace::read(&path);
    assert_eq!(trace.of("init").last().unwrap().name, "exec sleep");
    assert!(!trace.has("crun", "removal"));
}

#[test]
fn an_exec_shows_both_sides_and_how_long_its_program_runs() {
    let crun = runtime!();
    let container = crun.start(&Bundle::new().sh("echo up; sleep 99; true"));
    container.wait_output("up");
    let (output, trace) = command(&container, ["exec", "ID", "sh", "-c", "sleep 0.5; exit 7"]);
    assert_eq!(output.code, 7);
    let phases = ["read the state", "parse", "plan", "prepare", "clone", "attend to the process"];
    assert_in_order(&trace.names("crun", 1), &phases);
    assert_in_order(&trace.names("exec", 0), &["namespaces", "gives up rights", "program", "start"]);
    let program = trace.span("exec", "the program runs");
    // It begins when the runtime has noticed the exec, which a busy machine lets it do late.
    assert!(program.end - program.begin >= 100_000_000, "{trace:#?}");
}

#[test]
fn a_start_that_fails_inside_has_its_step_marked() {
    let crun = runtime!();
    let container = crun.container(&Bundle::new().args(["/no/such/program"]));
    let dir = bundle_of(&container);
    let (output, trace) = command(&container, ["run", "-b", &dir, "ID"]);
    let message = output.error();
    let step = trace.span("init", "find executable /no/such/program");
    assert!(message.contains(step.error()) && !step.error().is_empty(), "{message}: {trace:#?}");
    for (process, name) in [("init", "program"), ("crun", "waits for the exec"), ("crun", "run")] {
        assert_eq!(trace.span(process, name).error(), step.error());
    }
    assert_eq!(trace.span("init", "mounts").error(), "");
    container.deleted();
}

#[test]
fn a_start_that_fails_outside_has_its_step_marked() {
    let crun = runtime!();
    let bundle = Bundle::new().mount("/mnt", "bind", "/nonexistent/source", ["bind"]);
    let container = crun.container(&bundle);
    let dir = bundle_of(&container);
    let (output, trace) = command(&container, ["run", "-b", &dir, "ID"]);
    assert!(output.error().contains("/nonexistent/source"));
    for name in ["open /mnt", "prepare", "run"] {
        assert!(trace.span("crun", name).error().contains("/nonexistent/source"), "{trace:#?}");
    }
    assert_eq!(trace.span("crun", "plan").error(), "");
    assert!(trace.has("crun", "takes everything back"));
    container.deleted();
}

#[test]
fn a_way_that_was_only_refused_is_no_failure() {
    let crun = runtime!();
    let trace = traced(&crun, &Bundle::new().args(["true"]));
    let tried = trace.span("init", "find executable /usr/local/sbin/true");
    assert_eq!((tried.error(), &tried.args["refused"]), ("", &json!("No such file or directory")));
    assert_eq!(trace.span("init", "program").args, Value::Null);
}

#[test]
fn a_file_that_cannot_be_made_is_an_error_before_anything_is_done() {
    let crun = runtime!();
    for path in ["/nonexistent/trace.json", "/etc", ""] {
        let bundle = Bundle::new().args(["true"]);
        let container = crun.container(&bundle);
        let dir = bundle_of(&container);
        for command in ["run", "create"] {
            container.cmd([command, "-b", &dir, "--trace", path, "ID"]).error_with(["trace file", path]);
        }
        container.deleted();
    }
}

#[test]
fn a_fifo_that_nobody_reads_is_an_error_and_not_waited_for() {
    let crun = runtime!();
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let container = crun.container(&Bundle::new().args(["true"]));
    let fifo = fifo.to_str().unwrap();
    container
        .cmd(["run", "-b", &bundle_of(&container), "--trace", fifo, "ID"])
        .error_with(["trace file", fifo]);
    container.deleted();
}

#[test]
fn a_full_disk_is_a_warning_and_not_the_end_of_the_container() {
    let crun = runtime!();
    let bundle = Bundle::new().sh("exit 3");
    let run = |crun: &Crun| crun.run_with(&bundle, ["--trace", "/dev/full"]);
    assert_eq!(run(&crun).code, 3);
    let warned = run(&crun.clone().with("--log-level=warning"));
    assert!(warned.code == 3 && warned.stderr.contains("write the trace file `/dev/full`"), "{warned}");
    assert!(warned.stderr.contains("No space left on device"), "{warned}");
}

#[test]
fn an_older_trace_is_replaced() {
    let crun = runtime!();
    fs::write(file(&crun), "x".repeat(1 << 20)).unwrap();
    let trace = traced(&crun, &Bundle::new().args(["true"]));
    assert!(trace.has("crun", "run"));
}

#[test]
fn the_container_gets_no_descriptor_of_it() {
    let crun = runtime!();
    let path = file(&crun);
    let bundle = Bundle::new().sh("ls -l /proc/self/fd");
    let options = ["--preserve-fds", "5", "--trace", path.to_str().unwrap()];
    let listed = crun.run_with(&bundle, options).stdout;
    assert!(listed.contains(" 1 -> ") && !listed.contains("trace.json"), "{listed}");
}

#[test]
fn an_ordinary_user_gets_one_too() {
    let crun = runtime_of_user!();
    let bundle =
        Bundle::new().in_user_namespace().of_user().unset("/linux/uidMappings").unset("/linux/gidMappings");
    let trace = traced(&crun, &bundle.args(["true"]));
    assert_in_order(&trace.names("init", 0), &["namespaces", "mounts", "start", "the program runs"]);
    assert!(trace.has("crun", "ids of the process"), "{trace:#?}");
}

#[test]
fn a_filter_that_forbids_to_look_at_the_time_does_not_hear_of_it() {
    let crun = runtime!();
    let rule = json!({"names": ["clock_gettime"], "action": "SCMP_ACT_KILL_PROCESS"});
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let trace = traced(&crun, &Bundle::new().set("/linux/seccomp", profile).args(["true"]));
    assert!(trace.has("crun", "seccomp filter"), "{trace:#?}");
    assert!(!trace.has("init", "seccomp"), "the time was looked at behind the filter: {trace:#?}");
}

#[test]
fn debug_tells_how_long_each_phase_took() {
    let crun = runtime!();
    let container = crun.container(&Bundle::new().args(["true"]));
    let all = container.cmd(["--debug", "run", "-b", "BUNDLE", "ID"]).stderr;
    for text in ["crun: run: ", "crun:   prepare: ", "): mounts: ", "): the program runs: "] {
        let line = all.lines().find(|line| line.contains(text));
        assert!(line.is_some_and(|line| line.ends_with(" ms")), "{text}: {all}");
    }
    assert_eq!(container.cmd(["run", "-b", "BUNDLE", "ID"]).stderr, "");
}

#[test]
fn without_it_there_is_no_call_for_its_sake() {
    let crun = runtime!();
    let Some(strace) = strace() else { return kit::crun::skipped("strace is not here") };
    let calls = |options: &[&str]| {
        let log = crun.state_dir().parent().unwrap().join("calls");
        let bundle = Bundle::new().args(["true"]);
        let container = crun.container(&bundle);
        let dir = bundle_of(&container);
        let mut command = Command::new(&strace);
        command.args(["-f", "-o", log.to_str().unwrap()]).arg(kit::crun::binary());
        command
            .arg("--root")
            .arg(crun.state_dir())
            .args(["run", "-b", &dir])
            .args(options)
            .arg(container.id());
        assert!(command.status().unwrap().success());
        container.deleted();
        fs::read_to_string(log).unwrap()
    };
    let path = file(&crun);
    let (with, without) = (calls(&["--trace", path.to_str().unwrap()]), calls(&[]));
    let count = |log: &str, words: &[&str]| {
        log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
    };
    // The place for the marks of init, the file, and what is written there.
    for words in
        [&["mmap(", "MAP_SHARED|MAP_ANONYMOUS"][..], &["openat(", "trace.json"], &["write(", "traceEvents"]]
    {
        assert_eq!((count(&with, words), count(&without, words)), (1, 0), "{words:?}");
    }
    assert_eq!(count(&without, &["clock_gettime"]), 0);
}

fn strace() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join("strace")).find(|program| program.is_file())
}

/// The directory of the container's bundle.
fn bundle_of(container: &Container) -> String {
    container.args(["BUNDLE"])[0].to_str().unwrap().to_owned()
}
