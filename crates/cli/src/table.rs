//! Every option and every command, once: the parser, the help texts and the tests read these tables.

use crate::kind::Kind;

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// The long name, without the dashes.
    pub long: &'static str,
    /// The one-letter name.
    pub short: Option<char>,
    /// What its value is called; `None` for a switch.
    pub value: Option<&'static str>,
    /// Whether it may come without; then the value is attached to it (`--name=value`, `-nvalue`).
    pub is_value_optional: bool,
    /// What it is for, in a line.
    pub help: &'static str,
    /// The values there are, where they can be counted: what a shell offers.
    pub choices: &'static [&'static str],
    /// Whether the C crun does not have it: it must not make an abbreviation ambiguous that means something there.
    pub is_extra: bool,
}

impl Opt {
    /// An option with these values only.
    const fn one_of(self, choices: &'static [&'static str]) -> Self {
        Self { choices, ..self }
    }

    /// An option that the C crun does not have.
    const fn extra(self) -> Self {
        Self { is_extra: true, ..self }
    }

    /// What its value is a name of, which is said by how the value is called; `None` for a switch.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        match self.choices {
            [] => self.value.map(Kind::of),
            choices => Some(Kind::OneOf(choices)),
        }
    }
}

const fn switch(long: &'static str, short: Option<char>, help: &'static str) -> Opt {
    Opt { long, short, value: None, is_value_optional: false, help, choices: &[], is_extra: false }
}

const fn option(long: &'static str, short: Option<char>, value: &'static str, help: &'static str) -> Opt {
    Opt { value: Some(value), ..switch(long, short, help) }
}

const fn switch_with_value(
    long: &'static str,
    short: Option<char>,
    value: &'static str,
    help: &'static str,
) -> Opt {
    Opt { is_value_optional: true, ..option(long, short, value, help) }
}

/// One command.
#[derive(Debug)]
pub struct Command {
    /// How it is called.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// What stands behind the options in the usage line.
    pub arguments: &'static str,
    /// Its options, without those of all commands.
    pub options: &'static [Opt],
    /// What the help says below the options: paragraphs, and examples, in lines that start with two blanks and `crun`.
    pub notes: &'static str,
    /// The least and the most positional arguments.
    pub positionals: (usize, usize),
    /// Whether what follows the first positional argument belongs to somebody else and is left alone.
    pub passes_rest: bool,
}

impl Command {
    /// What its arguments name, in their order: the words of [`Command::arguments`].
    pub fn operands(&self) -> impl Iterator<Item = Kind> {
        let words = self.arguments.split_whitespace().filter(|word| !word.starts_with("[OPTION]"));
        words.map(|word| Kind::of(word.trim_matches(['[', ']'])))
    }
}

/// Options every command has; they need no place in the tables of the commands.
pub const COMMON: [Opt; 2] =
    [switch("help", Some('?'), "give this help list"), switch("usage", None, "give a short usage message")];

/// Options that stand before the command.
pub const GLOBAL: &[Opt] = &[
    option(
        "cgroup-manager",
        None,
        "MANAGER",
        "cgroup manager: 'cgroupfs' (default), 'systemd' or 'disabled'",
    )
    .one_of(&["cgroupfs", "systemd", "disabled"]),
    switch("debug", None, "produce verbose output, similar to --log-level=debug"),
    option(
        "log",
        None,
        "DEST",
        "log destination: '[file:]PATH', 'syslog:[NAME]' or 'journald:[NAME]' (default: stderr)",
    ),
    option("log-format", None, "FORMAT", "log format: 'text' (default) or 'json'").one_of(&["text", "json"]),
    option("log-level", None, "LEVEL", "log level to use: 'error' (default), 'warning' or 'debug'")
        .one_of(&["error", "warning", "debug"]),
    option("root", None, "DIR", "directory for the state of the containers"),
    option("rootless", None, "VALUE", "accepted for compatibility, ignored"),
    switch("systemd-cgroup", None, "use systemd cgroups"),
    switch("version", Some('v'), "print the version"),
];

const BUNDLE: Opt = option("bundle", Some('b'), "DIR", "the bundle's directory (default: the current one)");
const CONFIG: Opt =
    option("config", Some('f'), "FILE", "the configuration (default: config.json of the bundle)");
const CONSOLE_SOCKET: Opt = option("console-socket", None, "SOCKET", "socket that gets the terminal");
const FORMAT: Opt = option("format", Some('f'), "FORMAT", "select the output format: 'table' or 'json'")
    .one_of(&["table", "json"]);
const NO_NEW_KEYRING: Opt = switch("no-new-keyring", None, "keep the session keyring of the caller");
const NO_PIVOT: Opt = switch("no-pivot", None, "use chroot instead of pivot_root");
const NO_SUBREAPER: Opt = switch("no-subreaper", None, "accepted for compatibility, ignored");
const PID_FILE: Opt = option("pid-file", None, "FILE", "file that gets the pid of the process");
const PIDFD_SOCKET: Opt =
    option("pidfd-socket", None, "SOCKET", "socket that gets a descriptor of the process (pidfd)").extra();
const PRESERVE_FDS: Opt = option("preserve-fds", None, "N", "pass N additional descriptors on");
const REGEX: Opt = switch("regex", Some('r'), "take CONTAINER for a regular expression");
const TRACE: Opt =
    option("trace", None, "FILE", "file that gets a timeline of what was done (Chrome and Perfetto trace)")
        .extra();
const DETACH: Opt = switch("detach", Some('d'), "do not wait for the process");

/// The commands, in alphabetical order.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "check",
        summary: "report whether this host can run containers, and a bundle",
        arguments: "[BUNDLE]",
        options: &[
            CONFIG,
            option("format", None, "FORMAT", "select the output format: 'text' (default) or 'json'")
                .one_of(&["text", "json"]),
        ],
        notes: "\
Looks at the kernel, namespaces, ids, cgroups, systemd, confinement and limits as they are for the user who asks, and
changes nothing. With a bundle, also shows what in it could not be honoured. Below everything that is not as it should
be stands what helps. The exit status is 1 if something is missing without which containers, or this one, do not run.
The options --cgroup-manager, --systemd-cgroup and --root before the command count.

  crun check
  crun --systemd-cgroup check --format=json
  crun check /srv/web
",
        positionals: (0, 1),
        passes_rest: false,
    },
    Command {
        name: "create",
        summary: "create a container",
        arguments: "CONTAINER",
        options: &[
            BUNDLE,
            CONFIG,
            CONSOLE_SOCKET,
            NO_NEW_KEYRING,
            NO_PIVOT,
            NO_SUBREAPER,
            PID_FILE,
            PIDFD_SOCKET,
            PRESERVE_FDS,
            TRACE,
        ],
        notes: "\
The process waits for `crun start'. A process with a terminal needs --console-socket.

  crun create --bundle /srv/web --pid-file /run/web.pid web
  crun create --bundle /srv/web --console-socket /run/web.sock web
",
        positionals: (1, 1),
        passes_rest: false,
    },
    Command {
        name: "delete",
        summary: "remove definition for a container",
        arguments: "CONTAINER",
        options: &[
            switch("force", Some('f'), "delete the container even if it is still running"),
            REGEX,
            TRACE,
        ],
        notes: "
  crun delete web
  crun delete --force web             # kills it first
  crun delete --force --regex '^job-'
",
        positionals: (1, 1),
        passes_rest: false,
    },
    Command {
        name: "events",
        summary: "show events of a container and what it uses",
        arguments: "CONTAINER",
        options: &[
            option("interval", None, "DURATION", "how often to show what it uses (default: 5s)"),
            switch("stats", None, "show what it uses once"),
        ],
        notes: "
  crun events --stats web
  crun events --interval 1s web
",
        positionals: (1, 1),
        passes_rest: false,
    },
    Command {
        name: "exec",
        summary: "exec a command in a running container",
        arguments: "CONTAINER cmd",
        options: &[
            option("additional-gids", Some('g'), "GID", "add a supplementary group (may be repeated)").extra(),
            option("apparmor", None, "PROFILE", "set the AppArmor profile for the process"),
            option("cap", Some('c'), "CAP", "add a capability (may be repeated)"),
            option(
                "cgroup",
                None,
                "PATH",
                "run in this cgroup below the container's; with cgroup v1 also CONTROLLERS:PATH (may be repeated)",
            ),
            CONSOLE_SOCKET,
            option("cwd", None, "CWD", "current working directory"),
            DETACH,
            option("env", Some('e'), "ENV", "add an environment variable (may be repeated)"),
            switch("ignore-paused", None, "also in a paused container; the process goes on when the container does")
                .extra(),
            switch("no-new-privs", None, "set the no new privileges value for the process"),
            PID_FILE,
            PIDFD_SOCKET,
            PRESERVE_FDS,
            option("process", Some('p'), "FILE", "path to the process.json"),
            option("process-label", None, "LABEL", "set the SELinux label for the process"),
            TRACE,
            switch_with_value("tty", Some('t'), "TTY", "allocate a pseudo-TTY ('false' and 'no': do not)").one_of(&["true", "false", "no"]),
            option("user", Some('u'), "USERSPEC", "specify the user in the form UID[:GID]"),
        ],
        notes: "\
What follows CONTAINER is the command and is left alone, options included.

  crun exec web ps -ef
  crun exec --tty --user 1000:1000 --env TERM=xterm web sh
  crun exec --cwd /srv --cap CAP_NET_RAW web ping -c 1 localhost
  crun exec --detach --pid-file /run/job.pid --process process.json web
",
        positionals: (1, usize::MAX),
        passes_rest: true,
    },
    Command {
        name: "explain",
        summary: "explain what an error means",
        arguments: "[CODE]",
        options: &[],
        notes: "\
CODE is the name at the end of a hint, and the member `code` of a JSON log. Without one, all are listed.

  crun explain path-denied
",
        positionals: (0, 1),
        passes_rest: false,
    },
    Command {
        name: "features",
        summary: "show the enabled features",
        arguments: "",
        options: &[],
        notes: "
  crun features
  crun features | jq .linux.seccomp.actions
",
        positionals: (0, 0),
        passes_rest: false,
    },
    Command {
        name: "help",
        summary: "show the help of a command",
        arguments: "[COMMAND]",
        options: &[],
        notes: "
  crun help
  crun help run
",
        positionals: (0, 1),
        passes_rest: false,
    },
    Command {
        name: "kill",
        summary: "send a signal to the container init process",
        arguments: "CONTAINER [SIGNAL]",
        options: &[switch("all", Some('a'), "kill all the processes"), REGEX],
        notes: "\
SIGNAL is a name, with or without SIG, or a number (default: TERM).

  crun kill web
  crun kill web SIGHUP
  crun kill --all web 9
  crun kill --regex '^job-' INT
",
        positionals: (1, 2),
        passes_rest: false,
    },
    Command {
        name: "list",
        summary: "list known containers",
        arguments: "",
        options: &[FORMAT, switch("quiet", Some('q'), "show only IDs")],
        notes: "
  crun list
  crun list --quiet
  crun --root /run/user/1000/crun list --format json
",
        positionals: (0, 0),
        passes_rest: false,
    },
    Command {
        name: "mounts",
        summary: "add or remove mounts from a running container",
        arguments: "[add|remove] CONTAINER FILE",
        options: &[],
        notes: "\
FILE has a JSON array of mounts as in a configuration ('-': standard input). To remove one, its destination is
enough. The configuration of the container stays as it is.

  crun mounts add web mounts.json
  crun mounts remove web mounts.json
",
        positionals: (3, 3),
        passes_rest: false,
    },
    Command {
        name: "pause",
        summary: "pause all the processes in the container",
        arguments: "CONTAINER",
        options: &[],
        notes: "
  crun pause web
",
        positionals: (1, 2),
        passes_rest: false,
    },
    Command {
        name: "plan",
        summary: "show what would be done to start a container",
        arguments: "[BUNDLE]",
        options: &[
            BUNDLE,
            CONFIG,
            CONSOLE_SOCKET,
            option("format", None, "FORMAT", "select the output format: 'text' (default) or 'json'"),
            option("id", None, "ID", "the container's name (default: that of the bundle's directory)"),
            NO_NEW_KEYRING,
            NO_PIVOT,
            PIDFD_SOCKET,
            PRESERVE_FDS,
        ],
        notes: "\
Lists in order, and does nothing of, what 'run' with the same options would do: namespaces, mounts, cgroup writes,
hooks, credentials, confinement. A configuration that 'run' would refuse is refused with the same words. What only the
kernel can tell is listed with its alternatives.

  crun plan /run/bundle
  crun --systemd-cgroup plan --id web /run/bundle
  crun plan --format=json | jq -r '.actions[] | select(.subject == \"mount\") | .action'
",
        positionals: (0, 1),
        passes_rest: false,
    },
    Command {
        name: "ps",
        summary: "show the processes in the container",
        arguments: "CONTAINER [ps options]",
        options: &[FORMAT],
        notes: "\
What follows CONTAINER are options for ps(1), which then shows the table.

  crun ps web
  crun ps --format json web
  crun ps web -e -o pid,user,args
",
        positionals: (1, usize::MAX),
        passes_rest: true,
    },
    Command {
        name: "resume",
        summary: "unpause the processes in the container",
        arguments: "CONTAINER",
        options: &[],
        notes: "
  crun resume web
",
        positionals: (1, 2),
        passes_rest: false,
    },
    Command {
        name: "run",
        summary: "run a container",
        arguments: "CONTAINER",
        options: &[
            BUNDLE,
            CONFIG,
            CONSOLE_SOCKET,
            DETACH,
            switch("keep", None, "do not delete the container after it has ended"),
            NO_NEW_KEYRING,
            NO_PIVOT,
            NO_SUBREAPER,
            PID_FILE,
            PIDFD_SOCKET,
            PRESERVE_FDS,
            TRACE,
        ],
        notes: "\
The container is deleted after its process has ended, whose exit status is returned.

  crun run web                        # the bundle in this directory
  crun run --bundle /srv/web web
  crun run --bundle /srv/web --detach --pid-file /run/web.pid web
",
        positionals: (1, 1),
        passes_rest: false,
    },
    Command {
        name: "seccomp",
        summary: "show what a seccomp profile does",
        arguments: "[BUNDLE|FILE]",
        options: &[
            option("arch", None, "ARCH", "architecture of the call, as x86 (default: this machine's)"),
            option("arg", None, "I=V", "value of an argument of the call, as 0=0x10 (may be repeated)"),
            option("cap", None, "CAP", "take an engine's rules for this capability (may be repeated)"),
            switch("disassemble", Some('d'), "show the filter's program"),
            option("syscall", None, "CALL", "show what happens to a call, by its name or number"),
        ],
        notes: "\
Without options, shows what happens to each call. The profile is read from the configuration of a bundle (default:
the current directory), from a file with such a configuration or only a profile ('-': standard input), or from an
engine's file, as /usr/share/containers/seccomp.json.

  crun seccomp --syscall=clone3
  crun seccomp --syscall=socket --arg=0=16 --arg=2=9 /run/bundle
  crun seccomp --cap=CAP_SYS_ADMIN --syscall=mount --arch=x86 profile.json
  crun seccomp --disassemble config.json
",
        positionals: (0, 1),
        passes_rest: false,
    },
    Command {
        name: "spec",
        summary: "generate a configuration file",
        arguments: "",
        options: &[
            BUNDLE,
            option("file", Some('f'), "FILE", "where to write it (default: config.json of the bundle)"),
            switch("rootless", None, "generate a configuration for an unprivileged user"),
        ],
        notes: "
  crun spec
  crun spec --rootless --bundle /srv/web
  crun spec --file other.json
",
        positionals: (0, 0),
        passes_rest: false,
    },
    Command {
        name: "start",
        summary: "start a container",
        arguments: "CONTAINER",
        options: &[TRACE],
        notes: "
  crun start web
",
        positionals: (1, 1),
        passes_rest: false,
    },
    Command {
        name: "state",
        summary: "output the state of a container",
        arguments: "CONTAINER",
        options: &[],
        notes: "
  crun state web
  crun state web | jq -r .status
",
        positionals: (1, 1),
        passes_rest: false,
    },
    Command {
        name: "update",
        summary: "update container resource constraints",
        arguments: "[OPTION]... CONTAINER",
        options: &[
            option("blkio-weight", None, "WEIGHT", "share of block devices, 10 to 1000"),
            option("cpu-burst", None, "USEC", "CPU time that may be saved up beyond the quota").extra(),
            option("cpu-idle", None, "IDLE", "1: run only when nothing else wants to").one_of(&["0", "1"]).extra(),
            option("cpu-period", None, "USEC", "length of the period of the quota"),
            option("cpu-quota", None, "USEC", "CPU time in each period (-1: no limit)"),
            option("cpu-rt-period", None, "USEC", "length of the realtime period (cgroup v1)"),
            option("cpu-rt-runtime", None, "USEC", "realtime CPU time in each period (cgroup v1)"),
            option("cpu-share", None, "SHARES", "share of the CPU time, 2 to 262144"),
            option("cpuset-cpus", None, "LIST", "CPUs to use, as in 0-3,7"),
            option("cpuset-mems", None, "LIST", "memory nodes to use"),
            option("kernel-memory", None, "SIZE", "limit of kernel memory (cgroup v1)"),
            option("kernel-memory-tcp", None, "SIZE", "limit of TCP buffer memory (cgroup v1)"),
            option("l3-cache-schema", None, "SCHEMA", "Intel RDT schema of the L3 cache (not supported)"),
            option("mem-bw-schema", None, "SCHEMA", "Intel RDT schema of the memory bandwidth (not supported)"),
            option("memory", None, "SIZE", "memory limit, as in 512m (-1: no limit)"),
            option("memory-reservation", None, "SIZE", "memory that is left to the container"),
            option("memory-swap", None, "SIZE", "limit of memory and swap together (-1: no limit)"),
            option("pids-limit", None, "N", "limit of processes (-1: no limit)"),
            option(
                "resources",
                Some('r'),
                "FILE",
                "file with the limits ('-': standard input), instead of options",
            ),
        ],
        notes: "\
With --resources the other options are ignored. Sizes may have a unit, as 512m.

  crun update --memory 512m --pids-limit 100 web
  crun update --cpu-quota 50000 --cpu-period 100000 web
  crun update --resources - web < limits.json
",
        positionals: (1, 1),
        passes_rest: false,
    },
];

/// The command called `name`.
pub fn command(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_in_alphabetical_order() {
        assert!(COMMANDS.is_sorted_by_key(|command| command.name));
    }

    #[test]
    fn the_name_of_a_value_says_what_it_names() {
        let operands = |name: &str| command(name).unwrap().operands().collect::<Vec<_>>();
        assert_eq!(operands("kill"), [Kind::Container, Kind::Signal]);
        assert_eq!(operands("update"), [Kind::Container]);
        assert_eq!(operands("mounts"), [Kind::OneOf(&["add", "remove"]), Kind::Container, Kind::File]);
        assert_eq!(BUNDLE.kind(), Some(Kind::Directory));
        assert_eq!(FORMAT.kind(), Some(Kind::OneOf(&["table", "json"])));
        assert_eq!(REGEX.kind(), None);
    }

    #[test]
    fn no_option_of_a_command_stands_twice() {
        for command in COMMANDS {
            let mut names: Vec<_> = command.options.iter().map(|option| option.long).collect();
            let mut shorts: Vec<_> = command.options.iter().filter_map(|option| option.short).collect();
            let (long_count, short_count) = (names.len(), shorts.len());
            names.sort_unstable();
            names.dedup();
            shorts.sort_unstable();
            shorts.dedup();
            assert_eq!((names.len(), shorts.len()), (long_count, short_count), "{}", command.name);
        }
    }
}
