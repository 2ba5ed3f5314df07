//! What the manual says beyond the help: data only. Paragraphs may have marks as [`super::roff::Page`] knows them.

/// What a page says about a command beside its table.
pub(super) struct Text {
    /// The command.
    pub(super) name: &'static str,
    /// What it does, in paragraphs.
    pub(super) description: &'static [&'static str],
    /// What there is to say about an option beyond its line in the help.
    pub(super) options: &'static [(&'static str, &'static str)],
    /// Commands to read about next.
    pub(super) see_also: &'static [&'static str],
}

/// The description of the program.
pub(super) const PROGRAM: &[&str] = &[
    "crun turns a *bundle*, a directory with a root filesystem and a *config.json* as the Open Container Initiative's \
     runtime specification defines it, into a running container. It is what podman, CRI-O, containerd and Docker call; \
     it takes the place of the C crun, whose command line, state files and messages it shares.",
    "A container has a name, the argument CONTAINER of most commands: letters, digits, `_`, `+`, `-` and `.`, which must \
     not come first.",
];

/// What holds for all options.
pub(super) const OPTIONS: &[&str] = &[
    "These stand before the command; the options of a command stand behind it. A long option may be shortened as long as \
     it is not ambiguous, its value may be attached (`--root=`*DIR*) or follow. `--` ends the options.",
];

/// On global options.
pub(super) const GLOBAL: &[(&str, &str)] = &[
    (
        "cgroup-manager",
        "With `systemd` a unit is asked for, and cgroupsPath of the configuration is *slice:prefix:name*; with \
         `disabled` the container stays in the cgroup of the caller.",
    ),
    (
        "log",
        "Errors are written to the standard error in any case. A file is appended to: one line for a failure, nothing \
         for a success, unless the level asks for more. In the system's log and in systemd's journal, messages are those of \
         *NAME*; the journal has the container as the field `ID`.",
    ),
    (
        "log-format",
        "With `json` a line is an object with the keys `msg`, `level` and `time`, and those of a failure also `code`, \
         `step`, `object`, `errno` and `hint`, as far as they are known.",
    ),
    ("root", "The default is given below FILES. Containers below another root are not seen."),
];

/// The sections between the commands and the list of pages: a term and what is said of it, or only that.
pub(super) const SECTIONS: &[(&str, &[(&str, &str)])] = &[
    (
        "EXIT STATUS",
        &[
            ("**0**", "Success."),
            ("**1**", "The command has failed; one line on the standard error says why."),
            ("**64**", "An option is wrong."),
            (
                "*status*",
                "`run` and `exec` without `--detach` return the exit status of the process, or 128 and the number of the \
                 signal that ended it.",
            ),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            (
                "**XDG_RUNTIME_DIR**",
                "Below it is the state, unless `--root` says where; and the bus of the user's systemd.",
            ),
            (
                "**NOTIFY_SOCKET**",
                "Of `run` and `start`: the service manager that is told when the container is ready.",
            ),
            (
                "**LISTEN_FDS**",
                "Of `run`, `create` and `exec`: how many descriptors from 3 on are passed on, beside those of `--preserve-fds`.",
            ),
            (
                "**RUN_OCI_SECCOMP_RECEIVER**",
                "The socket of an agent that answers for system calls, where the container's configuration names none.",
            ),
            (
                "**DBUS_SYSTEM_BUS_ADDRESS**, **DBUS_SESSION_BUS_ADDRESS**",
                "Where systemd is, if not in its usual place.",
            ),
            ("**CRUN_SYSTEMD_TIMEOUT**", "How many seconds systemd may take (default: 30)."),
            ("**PATH**", "Where `newuidmap` and `newgidmap` are looked for, and `ps`."),
        ],
    ),
    (
        "FILES",
        &[
            ("*/run/crun*, *$XDG_RUNTIME_DIR/crun*", "The state of the containers, a directory for each."),
            ("*ROOT/CONTAINER/status*", "What later commands need to know, as JSON."),
            ("*ROOT/CONTAINER/config.json*", "The configuration that the container was made of."),
            ("*ROOT/CONTAINER/exec.fifo*", "What a created container waits at for its start."),
            ("*ROOT/CONTAINER/seccomp.bpf*", "The filter of system calls, which `exec` loads, too."),
            ("*/etc/subuid*, */etc/subgid*", "The ids that an ordinary user may give to a container."),
        ],
    ),
    (
        "ANNOTATIONS",
        &[(
            "",
            "What the specification has no place for is asked for by annotations of the configuration, which start with \
             `run.oci.`; `crun features` lists how such names start, and the documents that come with crun explain them.",
        )],
    ),
];

const LIFE: &[&str] = &["create", "start", "run", "state", "kill", "delete"];

/// The commands.
pub(super) const COMMANDS: &[Text] = &[
    Text {
        name: "check",
        description: &[
            "Says whether this host can run containers for the user who asks: what was looked at, what is lost where \
             something is missing, and what helps. With a bundle, also everything in it that could not be honoured here. \
             Nothing is made or changed.",
            "The exit status is **1** if something is missing that is needed: without a bundle, by the container of \
             `crun spec`.",
        ],
        options: &[("format", "With `json`, an object for programs, described in *docs/check.md*.")],
        see_also: &["plan", "explain", "features"],
    },
    Text {
        name: "create",
        description: &[
            "Makes the container of a bundle up to the point where its program would be executed: namespaces, mounts, \
             cgroup, devices. What is wrong with the configuration shows here. The process then waits until `crun start` \
             lets it go on.",
            "The command returns as soon as the container is made. If it cannot be made, nothing is left of it.",
        ],
        options: BUNDLE,
        see_also: LIFE,
    },
    Text {
        name: "delete",
        description: &[
            "Removes what is left of a container: its cgroup, its state. It has to be stopped, or created and not \
             started; then it is killed first.",
        ],
        options: &[
            ("force", "A running container is killed. That there is no such container is no error then."),
            (
                "regex",
                "Every container is deleted whose name matches. What fails for one of them is a warning.",
            ),
        ],
        see_also: LIFE,
    },
    Text {
        name: "events",
        description: &[
            "Prints a JSON object in a line for what the container uses, after every interval, and one for \
             each time that the kernel kills a process of it for want of memory. It ends with the container.",
        ],
        options: &[
            ("interval", "As `500ms`, `5s` or `1m30s`."),
            ("stats", "The object is printed at once, and that is all."),
        ],
        see_also: &["ps", "update"],
    },
    Text {
        name: "exec",
        description: &[
            "Runs another process in a container that is running: in its namespaces, its cgroup and under its seccomp \
             filter. What is not said by options or by a file is as the configuration has it for the container's own \
             process.",
        ],
        options: &[
            ("process", "A process object as in a configuration, instead of the command."),
            ("user", "Numbers only. Without a group it is 0."),
            ("env", "As *NAME*`=`*VALUE*. The environment of the container's own process comes first."),
            ("cap", "It becomes bounding, effective, permitted and ambient."),
            ("tty", "In the foreground it is connected to the caller's terminal."),
            ("ignore-paused", "The process is made and stands still until the container is resumed."),
        ],
        see_also: &["ps", "kill"],
    },
    Text {
        name: "explain",
        description: &[
            "Says what an error means, what usually causes it, how to find out, and what to do. Codes do not change from \
             version to version.",
        ],
        options: &[],
        see_also: &["check"],
    },
    Text {
        name: "features",
        description: &[
            "Prints what this runtime can do, as the specification's features document in JSON. Engines read it to know \
             what they may ask for.",
        ],
        options: &[],
        see_also: &["spec"],
    },
    Text {
        name: "help",
        description: &["Prints what `--help` prints: that of the program, or of a command."],
        options: &[],
        see_also: &[],
    },
    Text {
        name: "kill",
        description: &["Sends a signal to the first process of a container, which need not die of it."],
        options: &[
            ("all", "Every process in the container's cgroup gets it."),
            ("regex", "The containers whose names match get it."),
        ],
        see_also: LIFE,
    },
    Text {
        name: "list",
        description: &[
            "Lists the containers below the state directory, those of other users and other roots therefore not. A \
             container that has ended is listed until it is deleted, with 0 for its pid.",
        ],
        options: &[],
        see_also: &["state", "ps"],
    },
    Text {
        name: "mounts",
        description: &[
            "Gives mounts to a running container, or takes them away. All mounts of the file are made, or none.",
        ],
        options: &[],
        see_also: &["update"],
    },
    Text {
        name: "pause",
        description: &["Stops every process of the container where it is, by the freezer of its cgroup."],
        options: &[],
        see_also: &["resume"],
    },
    Text {
        name: "plan",
        description: &[
            "Prints in order what `run` would do with a bundle, and does nothing of it: namespaces, mounts, devices, writes \
             to the cgroup, hooks, credentials, confinement. Where only the kernel can tell which of several ways is taken, \
             the first is told and the others are alternatives. What `create` would refuse is refused.",
        ],
        options: &[("format", "With `json`, an object for programs, described in *docs/plan.md*.")],
        see_also: &["check", "run"],
    },
    Text {
        name: "ps",
        description: &[
            "Shows the processes in the cgroup of the container, by the numbers they have for the caller.",
        ],
        options: &[],
        see_also: &["list", "exec"],
    },
    Text {
        name: "resume",
        description: &["Lets the processes of a paused container go on."],
        options: &[],
        see_also: &["pause"],
    },
    Text {
        name: "run",
        description: &[
            "Does what `create` and `start` do, and stays until the process has ended. Signals that it gets are passed \
             on; a terminal is connected to the caller's.",
        ],
        options: BUNDLE,
        see_also: LIFE,
    },
    Text {
        name: "seccomp",
        description: &["Shows what the filter made of a profile does, without loading it."],
        options: &[],
        see_also: &["spec"],
    },
    Text {
        name: "spec",
        description: &[
            "Writes a configuration to start from: a shell in a terminal, in the root filesystem *rootfs* beside it, which \
             is read only. A file that exists is not touched.",
        ],
        options: &[("rootless", "The user who calls becomes root of the container.")],
        see_also: &["run", "features"],
    },
    Text {
        name: "start",
        description: &["Lets the process of a created container execute its program. That works once."],
        options: &[],
        see_also: LIFE,
    },
    Text {
        name: "state",
        description: &[
            "Prints the state of the container as the specification's JSON: its name, its status (*created*, *running*, \
             *paused* or *stopped*), the pid of its first process (0 if there is none), bundle and annotations.",
        ],
        options: &[],
        see_also: LIFE,
    },
    Text {
        name: "update",
        description: &[
            "Changes the limits of a container. All of them are changed, or none: when the kernel refuses one, those \
             that were written are put back. What is not named stays as it is.",
        ],
        options: &[("resources", "A JSON object as `linux.resources` of a configuration.")],
        see_also: &["events", "pause"],
    },
];

/// What `create` and `run` have in common.
const BUNDLE: &[(&str, &str)] = &[
    ("config", "A relative path is one of the caller's directory, not of the bundle."),
    (
        "console-socket",
        "A Unix socket on which somebody waits for the controlling end of the container's terminal. Asked for whenever \
         the configuration has `process.terminal` and the command does not stay.",
    ),
    (
        "no-pivot",
        "For a root filesystem on the initial ramdisk, which cannot be left otherwise. It protects less.",
    ),
    ("pid-file", "It is there as a whole or not at all, once the container is made."),
    ("preserve-fds", "Those from 3 on; all others are closed."),
    ("trace", "Written at the end, also of a start that fails; https://ui.perfetto.dev shows it."),
];
