//! What is asked of systemd (org.freedesktop.systemd1(5)).

use std::path::PathBuf;
use std::time::Duration;

use super::address::{Environment, Place};
use super::connection::{Connection, Trouble};
use super::message::{Body, Call, Incoming};
use super::properties::Property;
use super::value::Writer;
use crate::error::{Error, Result};

/// How long systemd may take for what it is asked to do, all together.
const PATIENCE: Duration = Duration::from_secs(30);

/// Overrides [`PATIENCE`], in seconds: for hosts on which systemd is slower than that.
const PATIENCE_VARIABLE: &str = "CRUN_SYSTEMD_TIMEOUT";

const DESTINATION: &str = "org.freedesktop.systemd1";
const INTERFACE: &str = "org.freedesktop.systemd1.Manager";

const fn manager<'a>(member: &'a str, signature: &'a str) -> Call<'a> {
    Call {
        destination: DESTINATION,
        path: "/org/freedesktop/systemd1",
        interface: INTERFACE,
        member,
        signature,
    }
}

const fn bus<'a>(member: &'a str, signature: &'a str) -> Call<'a> {
    let name = "org.freedesktop.DBus";
    Call { destination: name, path: "/org/freedesktop/DBus", interface: name, member, signature }
}

/// A connection to the manager that makes the caller's units.
#[derive(Debug)]
pub(super) struct Manager {
    connection: Connection,
    has_said_hello: bool,
    listens: bool,
    has_job: bool,
}

/// What became of a job.
type JobResult = String;

/// A start that is under way: the unit and the call for it.
#[derive(Debug)]
pub(super) struct Started {
    unit: String,
    serial: u32,
}

/// Why a unit was not started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A property that this systemd does not know, or not with this value.
    Property(String),
    /// There is one of that name.
    Exists(Error),
    /// Anything else.
    Other(Error),
}

impl Refusal {
    /// As it is told.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Property(name) => Error::systemd(format!("systemd does not know the property `{name}`")),
            Self::Exists(error) | Self::Other(error) => error,
        }
    }
}

impl Manager {
    /// Connects to systemd: the system's, or the user's for one who `is_rootless`.
    ///
    /// # Errors
    /// Names the sockets that were tried.
    pub(super) fn connect(is_rootless: bool, limit: Duration) -> Result<Self> {
        let mut environment = Environment::read();
        let places = if is_rootless {
            environment.runtime_directory =
                environment.runtime_directory.take().or_else(|| Some(usual_runtime_directory()));
            let system = match rustix::process::geteuid().is_root() {
                // The root of a user namespace may have a systemd of its own in it.
                true => environment.system(),
                false => Vec::new(),
            };
            [environment.user(), system].concat()
        } else {
            environment.system()
        };
        Self::connect_to(&places, limit)
    }

    pub(super) fn connect_to(places: &[Place], limit: Duration) -> Result<Self> {
        let mut tried = Vec::new();
        for place in places {
            match Connection::open(place, limit) {
                Ok(connection) => {
                    return Ok(Self { connection, has_said_hello: false, listens: false, has_job: false });
                }
                Err(trouble) => tried.push(format!("`{place}`: {trouble}")),
            }
        }
        if tried.is_empty() {
            let why = "neither XDG_RUNTIME_DIR nor an address in the environment says where it is";
            return Err(Error::systemd(format!("cannot connect to systemd: {why}")));
        }
        Err(Error::systemd(format!("cannot connect to systemd: {}", tried.join("; "))))
    }

    /// Whether systemd has taken on the last job that it was asked for: the unit is of the caller's making then, whatever
    /// became of it.
    pub(super) fn has_job(&self) -> bool {
        self.has_job
    }

    /// Asks for a transient unit; [`Manager::wait_for_start`] tells what became of it.
    ///
    /// # Errors
    /// Names the unit.
    pub(super) fn start(&mut self, unit: &str, properties: &[Property]) -> Result<Started> {
        let mut body = Writer::with_capacity(1024);
        body.text(unit);
        body.text("fail");
        write_properties(&mut body, properties);
        // No auxiliary units.
        body.array(8, |_| ());
        let call = manager("StartTransientUnit", "ssa(sv)a(sa(sv))");
        let serial =
            self.call_for_job(unit, &call, &body.into_bytes()).map_err(|t| failed("start", unit, &t))?;
        Ok(Started { unit: unit.to_owned(), serial })
    }

    /// Waits until the unit is there.
    ///
    /// # Errors
    /// Names the unit, and what systemd says or what became of the job.
    pub(super) fn wait_for_start(&mut self, started: &Started) -> std::result::Result<(), Refusal> {
        let unit = &started.unit;
        match self.wait_for_job(unit, started.serial) {
            Ok(result) => done("start", unit, &result).map_err(Refusal::Other),
            Err(trouble) => Err(refusal(unit, &trouble)),
        }
    }

    /// Stops a unit and waits until it is gone; forgets that it has failed, if it has. There being none is no error.
    ///
    /// # Errors
    /// Names the unit, and what systemd says or what became of the job.
    pub(super) fn stop(&mut self, unit: &str) -> Result<()> {
        let mut body = Writer::default();
        body.text(unit);
        body.text("replace");
        let stopped = self
            .call_for_job(unit, &manager("StopUnit", "ss"), &body.into_bytes())
            .and_then(|serial| self.wait_for_job(unit, serial));
        match stopped {
            Ok(result) => done("stop", unit, &result)?,
            Err(trouble) if is_unknown(&trouble) => return Ok(()),
            Err(trouble) => return Err(failed("stop", unit, &trouble)),
        }
        self.reset_failed(unit)
    }

    /// Forgets that a unit has failed. There being none is no error.
    ///
    /// # Errors
    /// Names the unit and what systemd says.
    pub(super) fn reset_failed(&mut self, unit: &str) -> Result<()> {
        let mut body = Writer::default();
        body.text(unit);
        match self.call_and_wait(&manager("ResetFailedUnit", "s"), &body.into_bytes()) {
            Err(trouble) if !is_unknown(&trouble) => Err(failed("reset-failed", unit, &trouble)),
            _ => Ok(()),
        }
    }

    /// Changes properties of a unit until the machine is restarted. When this returns, systemd has also written what follows
    /// from them into the unit's cgroup: it does so before it answers the next call.
    ///
    /// # Errors
    /// Names the unit and what systemd says.
    pub(super) fn set_properties(
        &mut self,
        unit: &str,
        properties: &[Property],
    ) -> std::result::Result<(), Refusal> {
        let mut body = Writer::with_capacity(512);
        body.text(unit);
        body.uint32(1);
        write_properties(&mut body, properties);
        let ping = Call { interface: "org.freedesktop.DBus.Peer", ..manager("Ping", "") };
        self.call_and_wait(&manager("SetUnitProperties", "sba(sv)"), &body.into_bytes())
            .and_then(|()| self.call_and_wait(&ping, &[]))
            .map_err(|trouble| match refusal(unit, &trouble) {
                Refusal::Property(name) => Refusal::Property(name),
                _ => Refusal::Other(failed("set-property", unit, &trouble)),
            })
    }

    /// Makes a call after which a job of `unit` is to be waited for. On a bus its end is only heard of by who has asked for
    /// it; that systemd tells its own news to everybody (`Subscribe`) is not needed for that: it tells those of a job to
    /// who has caused it.
    /// The version, as systemd says it.
    ///
    /// # Errors
    /// What it answers instead.
    pub(super) fn version(&mut self) -> Result<String> {
        let mut body = Writer::with_capacity(64);
        body.text(INTERFACE);
        body.text("Version");
        let call = Call { interface: "org.freedesktop.DBus.Properties", ..manager("Get", "ss") };
        let failed = |trouble: &Trouble| Error::plain(format!("ask systemd for its version: {trouble}"));
        let body = self.call_for_reply(&call, &body.into_bytes()).map_err(|trouble| failed(&trouble))?;
        let text = body.of("v").and_then(|mut reader| reader.text_of_variant());
        text.ok_or_else(|| failed(&Trouble::Nonsense("the answer is no text".to_owned())))
    }

    fn call_for_job(
        &mut self,
        unit: &str,
        call: &Call<'_>,
        body: &[u8],
    ) -> std::result::Result<u32, Trouble> {
        self.say_hello();
        if self.connection.is_bus() && !self.listens {
            self.listens = true;
            let rule = format!(
                "type='signal',sender='{DESTINATION}',path='/org/freedesktop/systemd1',interface='{INTERFACE}',\
                 member='JobRemoved',arg2='{unit}'"
            );
            let mut body = Writer::with_capacity(256);
            body.text(&rule);
            self.connection.introduce(&bus("AddMatch", "s"), &body.into_bytes());
        }
        self.connection.call(call, body)
    }

    fn call_and_wait(&mut self, call: &Call<'_>, body: &[u8]) -> std::result::Result<(), Trouble> {
        self.call_for_reply(call, body).map(drop)
    }

    fn call_for_reply(&mut self, call: &Call<'_>, body: &[u8]) -> std::result::Result<Body, Trouble> {
        self.say_hello();
        let serial = self.connection.call(call, body)?;
        loop {
            match self.connection.next()? {
                Incoming::Reply { to, body, .. } if to == serial => return Ok(body),
                Incoming::Error { to, name, text } if to == serial => {
                    return Err(Trouble::Refused { name, text });
                }
                _ => {}
            }
        }
    }

    /// The first call on a bus, without which nothing else is taken.
    fn say_hello(&mut self) {
        if self.connection.is_bus() && !self.has_said_hello {
            self.has_said_hello = true;
            self.connection.introduce(&bus("Hello", ""), &[]);
        }
    }

    /// Waits for the end of the job that answers the call `serial`. Only that who answers may tell: anybody can send
    /// signals over a bus.
    fn wait_for_job(&mut self, unit: &str, serial: u32) -> std::result::Result<JobResult, Trouble> {
        self.has_job = false;
        let mut job: Option<(String, String)> = None;
        let mut removed: Vec<(String, String, JobResult)> = Vec::new();
        loop {
            match self.connection.next()? {
                Incoming::Reply { to, sender, body } if to == serial => {
                    let path = body.of("o").and_then(|mut reader| reader.text());
                    let nonsense = || Trouble::Nonsense("the answer names no job".to_owned());
                    job = Some((sender, path.ok_or_else(nonsense)?));
                    self.has_job = true;
                }
                Incoming::Error { to, name, text } if to == serial => {
                    return Err(Trouble::Refused { name, text });
                }
                Incoming::Signal { interface, member, sender, body }
                    if interface == INTERFACE && member == "JobRemoved" =>
                {
                    if let Some((path, result)) = job_removed(&body, unit) {
                        removed.push((sender, path, result));
                    }
                }
                _ => {}
            }
            let Some((sender, path)) = &job else { continue };
            if let Some(index) = removed.iter().position(|(who, what, _)| (who, what) == (sender, path)) {
                return Ok(removed.swap_remove(index).2);
            }
            removed.clear();
        }
    }
}

/// The job and its result, if it is one of this unit.
fn job_removed(body: &Body, unit: &str) -> Option<(String, JobResult)> {
    let mut reader = body.of("uoss")?;
    let (_, path, name, result) = (reader.uint32()?, reader.text()?, reader.text()?, reader.text()?);
    (name == unit).then_some((path, result))
}

fn write_properties(body: &mut Writer, properties: &[Property]) {
    body.array(8, |body| {
        for property in properties {
            body.align(8);
            body.text(&property.name);
            body.variant(&property.value);
        }
    });
}

fn done(action: &str, unit: &str, result: &str) -> Result<()> {
    match result {
        "done" => Ok(()),
        other => Err(Error::systemd(format!("error `{action}` systemd unit `{unit}`: got `{other}`"))),
    }
}

fn failed(action: &str, unit: &str, trouble: &Trouble) -> Error {
    Error::systemd(format!("error `{action}` systemd unit `{unit}`: {trouble}"))
}

/// There is no such unit.
fn is_unknown(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Refused { name, .. } if name == "org.freedesktop.systemd1.NoSuchUnit")
}

fn refusal(unit: &str, trouble: &Trouble) -> Refusal {
    if let Trouble::Refused { name, text } = trouble {
        if name == "org.freedesktop.systemd1.UnitExists" {
            return Refusal::Exists(failed("start", unit, trouble));
        }
        if let Some(property) = refused_property(text) {
            return Refusal::Property(property.to_owned());
        }
    }
    Refusal::Other(failed("start", unit, trouble))
}

/// The property systemd's refusal is about. `Cannot set property X, or unknown property.`; and for a weight of 0, which
/// is new in systemd 252, `CPUWeight value out of range`.
fn refused_property(text: &str) -> Option<&str> {
    let unknown = || {
        text.strip_prefix("Cannot set property ")?.split_once(", or unknown property").map(|(name, _)| name)
    };
    let out_of_range =
        || text.split_once(" value out of range").map(|(before, _)| before.trim_end_matches('='));
    let name = unknown().or_else(out_of_range)?;
    (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic())).then_some(name)
}

/// How long systemd may take.
pub(super) fn patience() -> Duration {
    let given = std::env::var(PATIENCE_VARIABLE).ok().and_then(|text| text.parse::<f32>().ok());
    let given = given.and_then(|seconds| Duration::try_from_secs_f32(seconds).ok());
    given.filter(|limit| !limit.is_zero()).unwrap_or(PATIENCE)
}

/// `/run/user/UID` for who the caller is outside of its user namespace.
fn usual_runtime_directory() -> PathBuf {
    let own = rustix::process::geteuid().as_raw();
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    PathBuf::from(format!("/run/user/{}", outside(&map, own).unwrap_or(own)))
}

/// What an id is outside (`user_namespaces(7)`: inside, outside, count).
fn outside(map: &str, id: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (inside, outside, count) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        let offset = id.checked_sub(inside).filter(|offset| *offset < count)?;
        outside.checked_add(offset)
    })
}

#[cfg(test)]
mod tests;
