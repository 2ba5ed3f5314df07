//! The options and commands of runc: the parser and the help texts read these tables. The names of options are those of
//! `crun`'s own tables wherever both have one, as the commands look them up by name.

/// What an option's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// There or not (`--force`, `--force=false`).
    Switch,
    Text,
    Number,
    Duration,
}

/// One option.
#[derive(Debug)]
pub(super) struct Opt {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    pub(super) kind: Kind,
    /// What it is for, in a line; without one it is accepted but not told of.
    pub(super) help: &'static str,
}

/// How many arguments a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    Exactly(usize),
    AtLeast(usize),
    Between(usize, usize),
}

/// One command.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    /// What stands behind the options in the usage line.
    pub(super) arguments: &'static str,
    pub(super) options: &'static [Opt],
    pub(super) count: Count,
    /// Whether everything behind the first argument is somebody else's, as the program of `exec`.
    pub(super) passes_rest: bool,
}

const fn opt(long: &'static str, short: Option<char>, kind: Kind, help: &'static str) -> Opt {
    Opt { long, short, kind, help }
}

const fn switch(long: &'static str, help: &'static str) -> Opt {
    opt(long, None, Kind::Switch, help)
}

const fn text(long: &'static str, help: &'static str) -> Opt {
    opt(long, None, Kind::Text, help)
}

const fn number(long: &'static str, help: &'static str) -> Opt {
    opt(long, None, Kind::Number, help)
}

/// What every command has, and the program itself.
pub(super) const HELP: Opt = opt("help", Some('h'), Kind::Switch, "show this help");

/// The options before the command.
pub(super) const GLOBAL: &[Opt] = &[
    switch("debug", "write debug messages"),
    text("log", "file that gets the messages (default: the standard error)"),
    text("log-format", "format of the messages: text or json (default: \"text\")"),
    text("root", "directory for the state of the containers (default: \"/run/runc\")"),
    text("criu", ""),
    switch("systemd-cgroup", "let systemd manage the cgroups; cgroupsPath is then SLICE:PREFIX:NAME"),
    text("rootless", "accepted for compatibility: true, false or auto (default: \"auto\")"),
    HELP,
    opt("version", Some('v'), Kind::Switch, "print the version"),
];

const BUNDLE: Opt = opt("bundle", Some('b'), Kind::Text, "the bundle's directory (default: the current one)");
const CONSOLE_SOCKET: Opt = text("console-socket", "UNIX socket that gets the terminal");
const PIDFD_SOCKET: Opt = text("pidfd-socket", "UNIX socket that gets a descriptor of the process (pidfd)");
const PID_FILE: Opt = text("pid-file", "file that gets the pid of the process");
const NO_SUBREAPER: Opt = switch("no-subreaper", "accepted for compatibility");
const NO_PIVOT: Opt = switch("no-pivot", "use chroot instead of pivot_root, as on a ramdisk");
const NO_NEW_KEYRING: Opt = switch("no-new-keyring", "keep the session keyring of the caller");
const PRESERVE_FDS: Opt =
    number("preserve-fds", "pass N more descriptors on, beyond those of systemd (default: 0)");
const DETACH: Opt = opt("detach", Some('d'), Kind::Switch, "do not wait for the process");
const FORMAT: Opt = opt("format", Some('f'), Kind::Text, "table or json (default: \"table\")");

const IMAGE_PATH: Opt = text("image-path", "directory of the image");
const WORK_PATH: Opt = text("work-path", "directory for logs and what is temporary");
const TCP_ESTABLISHED: Opt = switch("tcp-established", "allow open TCP connections");
const EXT_UNIX_SK: Opt = switch("ext-unix-sk", "allow UNIX sockets to the outside");
const SHELL_JOB: Opt = switch("shell-job", "allow the job of a shell");
const LAZY_PAGES: Opt = switch("lazy-pages", "restore memory when it is used");
const FILE_LOCKS: Opt = switch("file-locks", "take file locks along");
const MANAGE_CGROUPS: Opt =
    text("manage-cgroups-mode", "how cgroups are restored: soft, full, strict or ignore (default: soft)");
const EMPTY_NS: Opt = text("empty-ns", "a namespace whose properties are not restored");
const AUTO_DEDUP: Opt = switch("auto-dedup", "store equal pages of memory once");

const ID: &str = "<container-id>";

/// The commands, in the order of their names.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "checkpoint",
        summary: "save a running container to an image",
        arguments: ID,
        options: &[
            IMAGE_PATH,
            WORK_PATH,
            text("parent-path", "directory of the image of a former pre-dump"),
            switch("leave-running", "let the container run on"),
            TCP_ESTABLISHED,
            switch("tcp-skip-in-flight", "leave out TCP connections that are just being made"),
            switch("link-remap", "link files back that have lost their names"),
            EXT_UNIX_SK,
            SHELL_JOB,
            LAZY_PAGES,
            number("status-fd", "descriptor that is told when the pages can be asked for (default: -1)"),
            text("page-server", "ADDRESS:PORT of who takes the pages"),
            FILE_LOCKS,
            switch("pre-dump", "save the memory only, and let the container run on"),
            MANAGE_CGROUPS,
            EMPTY_NS,
            AUTO_DEDUP,
        ],
        count: Count::Exactly(1),
        passes_rest: false,
    },
    Command {
        name: "create",
        summary: "create a container",
        arguments: ID,
        options: &[BUNDLE, CONSOLE_SOCKET, PIDFD_SOCKET, PID_FILE, NO_PIVOT, NO_NEW_KEYRING, PRESERVE_FDS],
        count: Count::Exactly(1),
        passes_rest: false,
    },
    Command {
        name: "delete",
        summary: "remove what is left of a container that has ended",
        arguments: ID,
        options: &[opt("force", Some('f'), Kind::Switch, "kill the container first if it still runs")],
        count: Count::Exactly(1),
        passes_rest: false,
    },
    Command {
        name: "events",
        summary: "show what a container uses, and when it runs out of memory",
        arguments: ID,
        options: &[
            opt("interval", None, Kind::Duration, "how often to show what it uses (default: 5s)"),
            switch("stats", "show what it uses once"),
        ],
        count: Count::Exactly(1),
        passes_rest: false,
    },
    Command {
        name: "exec",
        summary: "run another program in a running container",
        arguments: "<container-id> <command> [arguments...] || -p process.json <container-id>",
        options: &[
            CONSOLE_SOCKET,
            PIDFD_SOCKET,
            text("cwd", "directory to start in"),
            opt("env", Some('e'), Kind::Text, "add a variable, NAME=VALUE (may be repeated)"),
            opt("tty", Some('t'), Kind::Switch, "give it a terminal"),
            opt("user", Some('u'), Kind::Text, "user and group in numbers, UID[:GID]"),
            opt("additional-gids", Some('g'), Kind::Number, "add a group (may be repeated)"),
            opt("process", Some('p'), Kind::Text, "file with the process object"),
            DETACH,
            PID_FILE,
            text("process-label", "SELinux label of the process"),
            text("apparmor", "AppArmor profile of the process"),
            switch("no-new-privs", "keep it from gaining privileges"),
            opt("cap", Some('c'), Kind::Text, "add a capability (may be repeated)"),
            PRESERVE_FDS,
            text("cgroup", "run in a cgroup below the container's, [CONTROLLER:]PATH (may be repeated)"),
            switch("ignore-paused", "also in a paused container"),
        ],
        count: Count::AtLeast(1),
        passes_rest: true,
    },
    Command {
        name: "features",
        summary: "show what this runtime can do",
        arguments: "",
        options: &[],
        count: Count::Exactly(0),
        passes_rest: false,
    },
    Command {
        name: "kill",
        summary: "send a signal (default: SIGTERM) to the first process of a container",
        arguments: "<container-id> [signal]",
        options: &[opt("all", Some('a'), Kind::Switch, "")],
        count: Count::Between(1, 2),
        passes_rest: false,
    },
    Command {
        name: "list",
        summary: "list the containers below the given root",
        arguments: "",
        options: &[FORMAT, opt("quiet", Some('q'), Kind::Switch, "only their names")],
        count: Count::Exactly(0),
        passes_rest: false,
    },
    Command {
        name: "pause",
        summary: "freeze the processes of a container",
        arguments: ID,
        options: &[],
        count: Count::Exactly(1),
        passes_rest: false,
    },
    Command {
        name: "ps",
        summary: "show the processes of a container",
        arguments: "<container-id> [ps options]",
        options: &[FORMAT],
        count: Count::AtLeast(1),
        passes_rest: true,
    },
    Command {
        name: "restore",
        summary: "start a container from an image",
        arguments: ID,
        options: &[
            CONSOLE_SOCKET,
            IMAGE_PATH,
            WORK_PATH,
            TCP_ESTABLISHED,
            EXT_UNIX_SK,
            SHELL_JOB,
            FILE_LOCKS,
            MANAGE_CGROUPS,
            BUNDLE,
            DETACH,
            PID_FILE,
            NO_SUBREAPER,
            NO_PIVOT,
            EMPTY_NS,
            AUTO_DEDUP,
            LAZY_PAGES,
            text("lsm-profile", "security profile to restore with, TYPE:NAME"),
            text("lsm-mount-context", "security context of the mounts"),
        ],
        count: Count::Exactly(1),
        passes_rest: false,
    },
    Command {
        name: "resume",
        summary: "thaw the processes of a paused container",
        arguments: ID,
        options: &[],
        count: Count::Exactly(1),
        passes_rest: false,
    },
    Command {
        name: "run",
        summary: "create and start a container",
        arguments: ID,
        options: &[
            BUNDLE,
            CONSOLE_SOCKET,
            PIDFD_SOCKET,
            DETACH,
            switch("keep", "do not delete the container after it has ended"),
            PID_FILE,
            NO_SUBREAPER,
            NO_PIVOT,
            NO_NEW_KEYRING,
            PRESERVE_FDS,
        ],
        count: Count::Exactly(1),
        passes_rest: false,
    },
    Command {
        name: "spec",
        summary: "write a configuration to start from",
        arguments: "",
        options: &[BUNDLE, switch("rootless", "one for an unprivileged user")],
        count: Count::Exactly(0),
        passes_rest: false,
    },
    Command {
        name: "start",
        summary: "start the program of a created container",
        arguments: ID,
        options: &[],
        count: Count::Exactly(1),
        passes_rest: false,
    },
    Command {
        name: "state",
        summary: "show the state of a container",
        arguments: ID,
        options: &[],
        count: Count::Exactly(1),
        passes_rest: false,
    },
    Command {
        name: "update",
        summary: "change the limits of a container",
        arguments: ID,
        options: &[
            opt(
                "resources",
                Some('r'),
                Kind::Text,
                "file with the limits ('-': standard input), instead of options",
            ),
            number("blkio-weight", "share of block devices, 10 to 1000 (default: 0)"),
            text("cpu-period", "length of the period of the quota, in microseconds"),
            text("cpu-quota", "CPU time in each period, in microseconds"),
            text("cpu-burst", "CPU time that may be saved up beyond the quota, in microseconds"),
            text("cpu-share", "share of the CPU time"),
            text("cpu-rt-period", "length of the realtime period, in microseconds"),
            text("cpu-rt-runtime", "realtime CPU time in each period, in microseconds"),
            text("cpuset-cpus", "CPUs to use, as in 0-3,7"),
            text("cpuset-mems", "memory nodes to use"),
            text("memory", "memory limit, as in 512m (-1: none)"),
            text("cpu-idle", "1: run only when nothing else wants to"),
            text("memory-reservation", "memory that is left to the container"),
            text("memory-swap", "limit of memory and swap together (-1: none)"),
            text("kernel-memory", ""),
            text("kernel-memory-tcp", ""),
            number("pids-limit", "limit of processes (default: 0)"),
            text("l3-cache-schema", "Intel RDT schema of the L3 cache"),
            text("mem-bw-schema", "Intel RDT schema of the memory bandwidth"),
        ],
        count: Count::Exactly(1),
        passes_rest: false,
    },
];

/// The command called `name`.
pub(super) fn command(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_in_the_order_of_their_names() {
        assert!(COMMANDS.is_sorted_by_key(|command| command.name));
    }

    /// A command of `crun` would not find an option that is called otherwise here.
    #[test]
    fn options_are_called_as_in_crun() {
        const ONLY_HERE: [&str; 2] = ["additional-gids", "ignore-paused"];
        for command in COMMANDS {
            let Some(own) = cli::table::command(command.name) else { continue };
            for option in command.options {
                let is_known = own.options.iter().any(|known| known.long == option.long);
                assert!(is_known || ONLY_HERE.contains(&option.long), "{} {}", command.name, option.long);
            }
        }
    }
}
