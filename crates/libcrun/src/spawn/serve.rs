//! What is done for a process from outside, in the order in which it waits for it.

use std::os::fd::{AsFd, OwnedFd};

use cgroups::Cgroup;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use sys::clone::Namespaces;

use super::Spawned;
use crate::channel::ToInit;
use crate::error::{Code, Context, Result};
use crate::explain;
use crate::host::Host;
use crate::init::Placement;
use crate::plan::{IdMaps, Plan};
use crate::procfs::ProcFs;
use crate::user_namespace::map_ids;

impl Spawned {
    /// Does for a container's process what is done for it from outside, in the order in which it waits for it. `cgroup` is
    /// called when it is to be moved into it.
    pub(crate) fn serve<'c>(
        &self,
        plan: &Plan,
        cgroup: impl FnOnce() -> Result<Option<&'c Cgroup>>,
    ) -> Result<()> {
        let (maps, adjustment) = (plan.namespaces.id_maps.as_ref(), plan.process.oom_score_adj);
        if self.cloned.placement == Placement::BeforeMounts {
            self.place(adjustment, maps, cgroup()?)?;
            return self.give_network(plan);
        }
        if maps.is_some() {
            // Later it could not be looked at any more by a runtime without privileges.
            self.observed.timeline.measure("ids of the process", || self.set_up(adjustment, maps))?;
            self.say(ToInit::Mapped);
        }
        self.give_network(plan)?;
        self.place(adjustment.filter(|_| maps.is_none()), None, cgroup()?)
    }

    /// Makes the network namespace and hands it over at once; its loopback device, for which the kernel has one lock for
    /// all namespaces, comes up while the process is at its mounts.
    fn give_network(&self, plan: &Plan) -> Result<()> {
        if !plan.namespaces.network_by_runtime {
            return Ok(());
        }
        self.observed.timeline.measure("network namespace", || self.make_network())
    }

    fn make_network(&self) -> Result<()> {
        let own = open_network_namespace()?;
        sys::namespace::unshare(Namespaces::NETWORK)
            .context(Code::Namespace, || "create the network namespace")?;
        let made = open_network_namespace().and_then(|namespace| {
            self.channel.hand_over(ToInit::Network, namespace.as_fd());
            self.observed.timeline.measure("loopback device", || {
                sys::net::bring_loopback_up().context(Code::Namespace, || "bring the loopback interface up")
            })
        });
        sys::namespace::join(own.as_fd(), Namespaces::NETWORK)
            .context(Code::Namespace, || "return to the runtime's own network namespace")?;
        made
    }

    /// Maps the process' ids and moves it into its cgroup, and lets it go on if it waits for that.
    pub(crate) fn place(
        &self,
        oom_score_adj: Option<i32>,
        id_maps: Option<&IdMaps>,
        cgroup: Option<&Cgroup>,
    ) -> Result<()> {
        let timeline = &self.observed.timeline;
        if oom_score_adj.is_some() || id_maps.is_some() {
            timeline.measure("ids of the process", || self.set_up(oom_score_adj, id_maps))?;
        }
        if let Some(cgroup) = cgroup {
            timeline.measure("move into the cgroup", || {
                Ok(cgroup.add_process(self.cloned.child.pid, self.cloned.in_unified_cgroup)?)
            })?;
        }
        if self.cloned.placement != Placement::Done {
            self.say(ToInit::Placed);
        }
        Ok(())
    }

    /// Maps the process' ids and says how the kernel is to judge it when memory is short.
    fn set_up(&self, oom_score_adj: Option<i32>, id_maps: Option<&IdMaps>) -> Result<()> {
        let pid = self.cloned.child.pid;
        if let Some(maps) = id_maps {
            map_ids(maps, &ProcFs::open()?, pid).map_err(explain::ids_not_mapped)?;
        }
        if let Some(adjustment) = oom_score_adj {
            match ProcFs::open()?.write(pid, "oom_score_adj", &adjustment.to_string()) {
                // Lowering it takes a power over the host.
                Err(error) if error.errno() == Some(Errno::ACCESS) && Host::new().is_rootless() => {
                    self.refused_score.set(Some(adjustment));
                }
                written => written?,
            }
        }
        Ok(())
    }
}

/// The network namespace the calling thread is in.
fn open_network_namespace() -> Result<OwnedFd> {
    openat(CWD, c"/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .context(Code::Namespace, || "open `/proc/thread-self/ns/net`")
}
