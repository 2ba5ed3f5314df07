//! `crun-bench seccomp [PROFILE]`: how long the compiler takes for a profile, and what comes of it. The profile is one in
//! the form of the containers project or of Docker (by default the former's, where Debian has it), of which all rules are
//! taken. What an engine makes of it for an ordinary container is the profile of a scenario, too ([`configured`]).

use std::fs;
use std::time::{Duration, Instant};

use ::seccomp::{Action, Architecture, Argument, Data, Filter, Options, Profile, Rule, compile, run};
use anyhow::{Context, Result};
use serde_json::{Value, json};

const CONTAINERS: &str = "/usr/share/containers/seccomp.json";

/// How often it is compiled; the quickest is what it takes, the middle one what it takes here.
const ROUNDS: usize = 2000;

pub(crate) fn run_command(mut parser: lexopt::Parser) -> Result<()> {
    let path = match parser.next()? {
        Some(lexopt::Arg::Value(path)) => path,
        Some(other) => return Err(other.unexpected().into()),
        None => CONTAINERS.into(),
    };
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let json: Value = serde_json::from_str(&text)?;
    let profile = profile(&json);
    let options = Options::default();
    // Nothing of the compiler and its tables is in memory yet, as in a runtime that compiles one profile.
    let first = time(&profile, &options)?;
    let filter = compile(&profile, &options)?;
    let mut times: Vec<Duration> = (0..ROUNDS).map(|_| time(&profile, &options)).collect::<Result<_>>()?;
    times.sort_unstable();
    let names: usize = profile.rules.iter().map(|rule| rule.names.len()).sum();
    println!("{names} names, {} rules, {}", profile.rules.len(), profile.architectures.join(" "));
    let (quickest, middle) = (times[0], times[times.len() / 2]);
    println!("compiled in {quickest:?} (the quickest), {middle:?} (the middle one), {first:?} (the first)");
    println!("{} instructions; {}", filter.program.len(), steps(&filter));
    Ok(())
}

fn time(profile: &Profile<'_>, options: &Options) -> Result<Duration> {
    let start = Instant::now();
    std::hint::black_box(compile(std::hint::black_box(profile), options)?);
    Ok(start.elapsed())
}

/// How many instructions it takes to allow a call.
fn steps(filter: &Filter) -> String {
    let native = Architecture::NATIVE;
    let numbers = ::seccomp::syscall_names().filter_map(|name| native.syscall_number(name));
    let data = |number| Data { number, architecture: native.token(), ..Data::default() };
    let answers = numbers.filter_map(|number| run(&filter.program, &data(number)));
    let steps: Vec<usize> = answers.filter(|it| it.action == Action::ALLOW).map(|it| it.steps).collect();
    let most = steps.iter().max().copied().unwrap_or_default();
    let mean = steps.iter().sum::<usize>() / steps.len().max(1);
    format!("an allowed call takes {mean} of them, {most} at most")
}

/// `linux.seccomp` as an engine writes it for a container without special rights, from the containers project's profile.
pub(crate) fn configured(text: &str) -> Result<Value> {
    let json: Value = serde_json::from_str(text)?;
    let rules: Vec<Value> = list(&json["syscalls"]).filter(|rule| is_for_all(rule)).map(plain).collect();
    let architectures = profile(&json).architectures;
    Ok(json!({
        "defaultAction": json["defaultAction"],
        "defaultErrnoRet": json["defaultErrnoRet"],
        "architectures": architectures,
        "syscalls": rules,
    }))
}

/// Whether a rule is for containers without capabilities, on this architecture. (All have some version of Linux.)
fn is_for_all(rule: &Value) -> bool {
    let includes = &rule["includes"];
    let has = |key: &str| list(&includes[key]).next().is_some();
    !has("caps") && (!has("arches") || list(&includes["arches"]).any(|name| name == DEBIAN_NAME))
}

/// What that form calls the architecture.
const DEBIAN_NAME: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

fn plain(rule: &Value) -> Value {
    let fields = ["names", "action", "errnoRet", "args"];
    let present = fields.into_iter().filter(|key| !rule[key].is_null() && rule[key] != json!([]));
    present.map(|key| (key.to_owned(), rule[key].clone())).collect::<serde_json::Map<_, _>>().into()
}

/// The program of [`configured`], as the kernel takes it.
pub(crate) fn program(configured: &Value) -> Result<Vec<u8>> {
    let filter = compile(&profile(configured), &Options::default())?;
    Ok(filter.program.iter().flat_map(|instruction| instruction.to_bytes()).collect())
}

/// A profile with all rules, whatever capabilities and architectures they are for.
fn profile(json: &Value) -> Profile<'_> {
    let native = Architecture::NATIVE.name();
    let family = list(&json["archMap"]).find(|family| family["architecture"] == native);
    let others = family.into_iter().flat_map(|family| list(&family["subArchitectures"]));
    let others = others.chain(list(&json["architectures"]).filter(|name| *name != native));
    Profile {
        default_action: json["defaultAction"].as_str().unwrap_or_default(),
        default_errno: number(&json["defaultErrnoRet"]),
        architectures: std::iter::once(native).chain(others.filter_map(Value::as_str)).collect(),
        rules: list(&json["syscalls"]).map(rule).collect(),
    }
}

fn rule(json: &Value) -> Rule<'_> {
    Rule {
        names: list(&json["names"]).filter_map(Value::as_str).collect(),
        action: json["action"].as_str().unwrap_or_default(),
        errno: number(&json["errnoRet"]),
        arguments: list(&json["args"]).map(argument).collect(),
    }
}

fn argument(json: &Value) -> Argument<'_> {
    Argument {
        index: number(&json["index"]).unwrap_or_default(),
        value: json["value"].as_u64().unwrap_or_default(),
        value_two: json["valueTwo"].as_u64().unwrap_or_default(),
        operator: json["op"].as_str().unwrap_or_default(),
    }
}

fn number(json: &Value) -> Option<u32> {
    json.as_u64().and_then(|number| u32::try_from(number).ok())
}

fn list(json: &Value) -> impl Iterator<Item = &Value> {
    json.as_array().into_iter().flatten()
}
