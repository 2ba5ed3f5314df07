//! The library in a program of its own: one with several threads, which goes on when its containers have ended.
//!
//! Between the clone and the exec nothing may allocate or free: another thread may hold the allocator's lock, and is not
//! there any more to release it. This program's allocator counts who does it all the same, in memory that parent and child
//! share.

#![cfg(test)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kit::bundle::Bundle;
use kit::console::ConsoleSocket;
use kit::container::Container;
use kit::crun::Crun;
use kit::runtime;
use kit::seccomp_agent::Agent;
use libcrun::{
    ContainerId, CreateOptions, ExecOptions, MountsOptions, RunMode, StateRoot, Timeline, Warnings,
};
use rustix::process::getpid;

/// In shared memory: the process whose allocations are its own matter, and how many there were in its children.
struct Watch {
    owner: AtomicI32,
    trespasses: AtomicI32,
}

static WATCH: AtomicPtr<Watch> = AtomicPtr::new(null_mut());

struct Watched;

impl Watched {
    fn look() {
        // SAFETY: the pointer is null or leads to the mapping of `watch`, which is never unmapped.
        if let Some(watch) = unsafe { WATCH.load(Ordering::Relaxed).as_ref() }
            && getpid().as_raw_nonzero().get() != watch.owner.load(Ordering::Relaxed)
        {
            watch.trespasses.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::look();
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        Self::look();
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// Begins to count what the children of this process allocate.
fn watch() -> &'static Watch {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
    let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let memory = unsafe { mmap_anonymous(null_mut(), size_of::<Watch>(), access, flags) }.unwrap();
    // SAFETY: the mapping is large enough, zeroed, on a page boundary, and stays as long as the process.
    let watch = unsafe { &*memory.cast::<Watch>() };
    watch.owner.store(getpid().as_raw_nonzero().get(), Ordering::Relaxed);
    WATCH.store(memory.cast(), Ordering::Relaxed);
    watch
}

/// One test at a time, where they are threads of one process: a foreground run may wait for all children there are.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn state_root(crun: &Crun) -> StateRoot {
    StateRoot::new(crun.state_dir())
}

fn id(container: &Container) -> ContainerId {
    ContainerId::new(container.id()).unwrap()
}

/// Creates the container as a program that links the library does.
fn create(crun: &Crun, bundle: &Bundle) -> (Container, libcrun::Result<Warnings>) {
    let container = crun.container(bundle);
    let created = libcrun::create(&state_root(crun), &id(&container), &options(bundle));
    (container, created)
}

/// This program has threads, and cannot be exchanged for a read-only view of itself. Children leave their marks for a
/// timeline.
fn options(bundle: &Bundle) -> CreateOptions {
    let usual = CreateOptions::new(bundle.save().to_path_buf());
    CreateOptions { self_protection: false, timeline: Timeline::new(), ..usual }
}

fn exec(crun: &Crun, container: &Container, args: &[&str]) -> libcrun::Result<i32> {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    let timeline = Timeline::new();
    let options = ExecOptions { args, self_protection: false, timeline, ..ExecOptions::default() };
    libcrun::exec(&state_root(crun), &id(container), &options).map(|ended| ended.status)
}

/// Changes the mounts of a container, and fails to.
fn change_mounts(crun: &Crun, container: &Container) {
    let (root, id) = (state_root(crun), id(container));
    let options = MountsOptions { self_protection: false };
    let parse = |list: &'static str| libcrun::spec::parse_mounts(list.as_bytes(), "list").unwrap();
    let good = parse(
        r#"[{"destination": "/run", "type": "tmpfs", "options": ["tmpcopyup"]}, {"destination": "/proc", "type": "proc"}]"#,
    );
    libcrun::add_mounts(&root, &id, &good, &options).unwrap();
    libcrun::remove_mounts(&root, &id, &good, &options).unwrap();
    let bad = parse(
        r#"[{"destination": "/run", "type": "tmpfs"}, {"destination": "/etc/os-release/x", "type": "tmpfs"}]"#,
    );
    assert!(libcrun::add_mounts(&root, &id, &bad, &options).is_err());
    assert!(libcrun::remove_mounts(&root, &id, &bad, &options).is_err());
}

/// A user namespace that is there to be joined, as long as the process that holds it.
fn user_namespace() -> (std::process::Child, String) {
    let mut holder = Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", "echo up; exec sleep 99"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = BufReader::new(holder.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let path = format!("/proc/{}/ns/user", holder.id());
    (holder, path)
}

/// Bound to a memory node and to CPUs.
fn bound(bundle: Bundle) -> Bundle {
    let policy = serde_json::json!({"mode": "MPOL_BIND", "nodes": "0"});
    let affinity = serde_json::json!({"initial": "0", "final": "0"});
    bundle.set("/linux/memoryPolicy", policy).set("/process/execCPUAffinity", affinity)
}

/// With hooks that init runs, which write more than is kept.
fn hooked(bundle: Bundle, end: &str) -> Bundle {
    let hook = serde_json::json!({"path": "/bin/sh", "args": ["sh", "-c", format!("head -c 9999 /dev/zero; {end}")]});
    let bundle = bundle.set("/hooks/startContainer", serde_json::json!([hook]));
    bundle.set("/hooks/createContainer", serde_json::json!([hook]))
}

/// A container and another process in it with terminals, of its own devpts or of the host's.
fn terminals(crun: &Crun) {
    let bundle = Bundle::new().set("/process/terminal", serde_json::json!(true)).args(["sleep", "99"]);
    let without_devpts =
        bundle.clone().edit(|config| drop(config["mounts"].as_array_mut().unwrap().remove(2)));
    for bundle in [bundle, without_devpts] {
        let (socket, container) = (ConsoleSocket::new(), crun.container(&bundle));
        let console_socket = Some(socket.path().to_owned());
        let creating = CreateOptions { console_socket: console_socket.clone(), ..options(&bundle) };
        libcrun::create(&state_root(crun), &id(&container), &creating).unwrap();
        libcrun::start(&state_root(crun), &id(&container)).unwrap();
        let terminal = socket.receive();
        let args = ["sh", "-c", "echo up; sleep 99"].map(str::to_owned).to_vec();
        let executing = ExecOptions {
            args,
            terminal: true,
            console_socket,
            detach: true,
            self_protection: false,
            ..ExecOptions::default()
        };
        libcrun::exec(&state_root(crun), &id(&container), &executing).unwrap();
        socket.receive().wait_shown("up");
        terminal.hang_up();
    }
}

/// With parameters of its namespaces, which init writes.
fn with_parameters(bundle: Bundle) -> Bundle {
    let sysctls = serde_json::json!({
        "kernel.msgmax": "9000", "net.ipv4.ip_forward": "1", "kernel.domainname": "example.org",
    });
    bundle.set("/linux/sysctl", sysctls).set("/linux/personality", serde_json::json!({"domain": "LINUX32"}))
}

/// With some calls left to an agent; filtered late, or early.
fn filtered(bundle: Bundle, agent: &Agent, late: bool) -> Bundle {
    let profile = serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": agent.path(),
        "syscalls": [{"names": ["capset", "execve", "sendto"], "action": "SCMP_ACT_NOTIFY"}],
    });
    bundle.set("/linux/seccomp", profile).set("/process/noNewPrivileges", serde_json::json!(late))
}

/// Each way a process can take from the clone to the exec or its end, or to a failure before it.
fn all_ways(crun: &Crun) {
    let sleep = || Bundle::new().args(["sleep", "99"]);
    let (mut holder, user_namespace) = user_namespace();
    // Only one group is mapped there, and it is not that of terminals.
    let joining = sleep()
        .set("/mounts/2/options", serde_json::json!(["newinstance", "ptmxmode=0666", "mode=0620"]))
        .namespace("user", Some(&user_namespace));
    let agent = Agent::permissive();
    let [late, early] = [true, false].map(|late| filtered(sleep(), &agent, late));
    let ways = [
        sleep(),
        sleep().in_user_namespace(),
        joining,
        bound(sleep()),
        with_parameters(sleep()),
        late,
        early,
        hooked(sleep(), "true"),
    ];
    for bundle in ways {
        let (container, created) = create(crun, &bundle);
        created.unwrap();
        libcrun::start(&state_root(crun), &id(&container)).unwrap();
        assert_eq!(exec(crun, &container, &["sh", "-c", "exit 5"]), Ok(5));
        assert!(exec(crun, &container, &["/no/such/program"]).is_err());
        change_mounts(crun, &container);
    }
    terminals(crun);
    let bad_mount = sleep().mount("/m", "tmpfs", "tmpfs", ["no-such-option"]);
    for bundle in [Bundle::new().args(["/no/such/program"]), bad_mount, hooked(sleep(), "echo no; exit 1")] {
        let (container, created) = create(crun, &bundle);
        assert!(created.is_err());
        container.deleted();
    }
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn nothing_is_allocated_or_freed_between_the_clone_and_the_exec() {
    let (_alone, crun) = (alone(), runtime!());
    let watch = watch();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Threads that hold the allocator's lock most of the time.
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    drop(std::hint::black_box(vec![1_u8; 300_000]));
                }
            });
        }
        all_ways(&crun);
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(watch.trespasses.load(Ordering::Relaxed), 0, "calls of the allocator in children");
}

#[test]
fn a_foreground_run_gives_back_what_it_has_changed_about_its_process() {
    let (_alone, crun) = (alone(), runtime!());
    let state = || (rustix::process::child_subreaper(), rustix::process::dumpable_behavior());
    let before = state();
    for (program, expected) in [("/bin/true", Some(0)), ("/no/such/program", None)] {
        let bundle = Bundle::new().namespace("pid", None).args([program]);
        let container = crun.container(&bundle);
        let mode = RunMode::Foreground { keep: false };
        let ended = libcrun::run(&state_root(&crun), &id(&container), &options(&bundle), mode);
        assert_eq!((ended.ok().map(|ended| ended.status), state()), (expected, before), "{program}");
        container.deleted();
    }
}

#[test]
fn what_a_container_is_bound_to_does_not_bind_its_creator() {
    let (_alone, crun) = (alone(), runtime!());
    let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/{name}")).unwrap_or_default();
    let binding = || {
        let policy = read("numa_maps").split_whitespace().nth(1).map(str::to_owned);
        let status = read("status");
        let cpus = status.lines().find(|line| line.starts_with("Cpus_allowed:")).map(str::to_owned);
        (policy, cpus)
    };
    let before = binding();
    let bundle = bound(Bundle::new().args(["sleep", "99"]));
    let (container, created) = create(&crun, &bundle);
    created.unwrap();
    assert_eq!(exec(&crun, &container, &["true"]), Ok(0));
    assert_eq!(binding(), before);
}

/// The children of this process that have ended and that nobody has waited for.
fn zombies() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let children: String =
        tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default()).collect();
    let is_zombie = |pid: &&str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
    };
    children.split_whitespace().filter(is_zombie).count()
}

#[test]
fn a_foreground_run_leaves_no_zombie_of_what_the_payload_has_left_running() {
    let (_alone, crun) = (alone(), runtime!());
    let bundle = Bundle::new().namespace("pid", None).sh("sleep 98 & sleep 97 & true");
    let container = crun.container(&bundle);
    let mode = RunMode::Foreground { keep: false };
    let ended = libcrun::run(&state_root(&crun), &id(&container), &options(&bundle), mode).unwrap();
    assert_eq!(ended.status, 0);
    assert_eq!(zombies(), 0);
    container.deleted();
}

#[test]
fn a_start_that_fails_leaves_its_thread_in_its_own_namespaces() {
    let (_alone, crun) = (alone(), runtime!());
    let holder = crun.start(&Bundle::new().args(["sleep", "99"]));
    let path = holder.proc().join("ns/pid");
    // With several threads there would be no way back from a time namespace.
    let bundle = Bundle::new()
        .namespace("pid", path.to_str())
        .namespace("time", Some(""))
        .set("/linux/timeOffsets", serde_json::json!({"boottime": {"secs": 1, "nanosecs": 0}}));
    let (container, created) = create(&crun, &bundle.args(["true"]));
    let error = created.unwrap_err().to_string();
    assert!(error.contains("time namespace"), "{error}");
    container.deleted();
    for kind in ["pid", "time"] {
        let read = |name: String| fs::read_link(format!("/proc/thread-self/ns/{name}")).unwrap();
        assert_eq!(read(format!("{kind}_for_children")), read(kind.to_owned()));
    }
}
