//! The kit of the integration tests, the demo and the benchmark: places to run a container runtime in, and things
//! to run there.
//!
//! | module | gives |
//! |---|---|
//! | [`rootfs`] | root filesystems, made once and kept in the cache directory |
//! | [`view`] | a private place with pure cgroup v2, optionally inside the root that holds the other runtimes |
//! | [`bundle`] | bundles: a `config.json` with its root filesystem |
//! | [`crun`] | the runtime under test as a value with methods |
//! | [`dbus_peer`] | somebody who plays systemd, badly |
//! | [`container`] | a container of it, deleted when dropped |
//! | [`terminal`] | a terminal to start a command at, or that of a container |
//! | [`console`] | who listens on a console socket |
//! | [`running`] | a command of it, running or done |
//! | [`golden`] | the files with all errors that tests provoke |
//! | [`hooks`] | hooks for a bundle: scripts that write to a log |
//! | [`mapped_root`] | a user namespace of an ordinary user, for a runtime that is root only there |
//! | [`mountinfo`] | what is mounted in a container, in parts |
//! | [`seccomp_agent`] | who answers for system calls of a container |
//! | [`bystander`] | a process of the test's own, which ends with it |
//! | [`outside`] | a directory of the host that no container may reach |
//! | [`cpu`] | how much processor time a container gets |
//! | [`loop_device`] | a block device made of a file |
//! | [`leftovers`] | what a container left behind on the machine |
//! | [`lane`] | which lane of `cargo xtask lane` a test is in, and the user with a session there |
//! | [`planned`] | what `crun plan` tells, in parts |
//! | [`user`] | an ordinary user of the machine, for a runtime without any privilege |
//! | [`owned`] | cgroups and directories that do not outlive the tool they belong to |
//!
//! It is a developer's tool: it uses `mount(8)`, `unshare(1)` and the like where a product would make system calls.

#![forbid(unsafe_code)]

pub mod bundle;
pub mod bystander;
pub mod console;
pub mod container;
pub mod cpu;
pub mod crun;
pub mod dbus_peer;
pub mod golden;
pub mod hooks;
pub mod lane;
pub mod leftovers;
pub mod loop_device;
pub mod mapped_root;
pub mod mountinfo;
pub mod outside;
pub mod owned;
pub mod planned;
pub mod rootfs;
pub mod running;
pub mod seccomp_agent;
pub mod terminal;
pub mod user;
pub mod view;
