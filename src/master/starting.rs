//! A master begins: its listeners, its files, its machines; anew, or from what another image of this
//! process has left.
//!
//! Not here: what travels from image to image (`upgrade`), the loop (`master`).

use std::os::fd::AsFd;
use std::path::Path;

use mio::{Interest, Poll};
use signal_hook_mio::v1_0::Signals;
use tracing::{debug, error, info};

use crate::account::{Counters, HappenedKind};
use crate::config::{App, Owner, PARKED_SHARE, RING_LOOK_MAX, Settings};
use crate::dispatch::{DispatchSettings, Dispatcher};
use crate::exit::{Chain, RunError};
use crate::master::acceptor::Acceptor;
use crate::master::admin::Admin;
use crate::master::connections::Connections;
use crate::master::fleet::NodeWatch;
use crate::master::lingering::Lingering;
use crate::master::parked::Parked;
use crate::master::pid_file::PidFile;
use crate::master::publishing::Publisher;
use crate::master::reserve::Reserve;
use crate::master::roster::Roster;
use crate::master::service::Service;
use crate::master::shedding::ShedLog;
use crate::master::stopping::Stopping;
use crate::master::tokens::Source;
use crate::master::upgrade::Upgrade;
use crate::master::upgrade::state::State;
use crate::master::{Hooks, Master, lifecycle, metering, system};
use crate::supervise::hang::HangJudge;
use crate::supervise::recycling::Recycling;
use crate::supervise::scaling::Scaling;
use crate::supervise::{SuperviseSettings, Supervisor};
use crate::sys::alarm::Alarm;
use crate::sys::launch::LaunchCommand;
use crate::sys::upgrade::{Adopter, unblock_signals};
use crate::sys::{clock, epoll, limits, privileges, process};
use crate::time::Nanos;

impl Master {
    /// A master that has decided nothing yet.
    pub(super) fn new(
        settings: Settings,
        launch: LaunchCommand,
        descriptors: u64,
        left: Option<State>,
        hooks: Hooks,
    ) -> Result<Self, RunError> {
        // Before anything is listened on: the file's lock keeps a second server from starting.
        let goes_on = left.is_some();
        let readers = settings.privileges.identity.as_ref().map(|identity| identity.gid);
        let publisher = settings.status_file.as_deref().map(|path| open_status_file(path, readers));
        let publisher = essential_at_start(publisher.transpose(), goes_on)?;
        let publisher = publisher.unwrap_or_else(Publisher::nowhere);
        let poll = Poll::new().map_err(system("creating an epoll instance"))?;
        let mut signals = Signals::new(lifecycle::SIGNALS).map_err(system("catching signals"))?;
        poll.registry()
            .register(&mut signals, Source::Signals.token(), Interest::READABLE)
            .map_err(system("watching signals"))?;
        unblock_signals().map_err(system("unblocking signals"))?;
        let registry = poll.registry().try_clone().map_err(system("sharing epoll"))?;
        let mut adopter = Adopter::default();
        let (binds, listen, accept) = (&settings.binds, &settings.listen, settings.accept);
        let acceptor = match &left {
            None => Acceptor::open(binds, listen, accept, registry),
            Some(left) => {
                let (listeners, adopter) = (&left.listeners, &mut adopter);
                Acceptor::resume(binds, listen, accept, registry, listeners, adopter)
            }
        };
        let acceptor = acceptor.map_err(|error| RunError::Listen(Box::new(error)))?;
        let seed = settings.seed.unwrap_or_else(|| fastrand::u64(..));
        debug!(seed, "seed of random choices");
        let admin_left = left.as_ref().and_then(|left| left.admin.as_ref());
        let agent = settings.fleet.agent_check.as_ref();
        let admin = Admin::open(&settings.admin, agent, admin_left, &mut adopter, seed)?;
        // After the listeners: whoever reads it finds a server that can be reached.
        let pid_file = settings.pid_file.as_deref().map(write_pid_file);
        let pid_file = essential_at_start(pid_file.transpose(), goes_on)?;
        let left_meters = left.as_ref().and_then(|left| left.meters);
        let meters = metering::open(&settings, left_meters, &mut adopter);
        let look = Alarm::create().map_err(system("creating a timer"))?;
        epoll::watch_edge(poll.registry(), look.as_fd(), Source::Look.token())
            .map_err(system("watching a timer"))?;
        let now = clock::now();
        let mut dispatcher = Dispatcher::new(&DispatchSettings {
            balance: settings.balance,
            weights: settings.weights.clone(),
            rebalance: settings.rebalance,
            stall_after: settings.stall_after,
            credit: settings.credit,
            queue_timeout: settings.queue_timeout,
            max_queue: settings.max_queue,
            seed,
        });
        if settings.report_age.is_some() {
            dispatcher.rank_by_looks_alone();
        }
        let supervise =
            SuperviseSettings { workers: settings.workers, lifecycle: settings.lifecycle, seed };
        let mut supervisor = match &left {
            None => Supervisor::new(supervise),
            Some(left) => Supervisor::resume(supervise, left.supervisor.clone()),
        };
        if let Some(limits) = settings.scaling {
            supervisor.set_bounds(limits.min, limits.max);
        }
        let scaling = settings.scaling.map(|limits| Scaling::new(limits, now));
        let strangers = matches!(settings.app, App::Command(_));
        let service =
            Service::from_environment(now, (!goes_on).then_some(settings.lifecycle.boot_timeout));
        let recycling = Recycling::new(settings.recycle, seed, now);
        let hang = settings.lifecycle.timeout.map(|timeout| (HangJudge::new(timeout), now));
        let node = NodeWatch::new(&settings);
        let mut master = Master {
            settings,
            hooks,
            upgrade: Upgrade::None,
            launch,
            poll,
            signals,
            acceptor,
            connections: Connections::new(strangers),
            parked: Parked::new(parked_max(descriptors)),
            lingering: Lingering::default(),
            roster: Roster::default(),
            dispatcher,
            supervisor,
            hang,
            recycling,
            scaling,
            handoff_due: None,
            service,
            _pid_file: pid_file,
            adopts_orphans: process::adopts_orphans(),
            stopping: Stopping::default(),
            counters: Counters::default(),
            meters,
            publisher,
            node,
            admin,
            shed_log: ShedLog::default(),
            reserve: Reserve::default(),
            now,
            ring_look: (now, RING_LOOK_MAX),
            reports_until: Nanos(0),
            look,
            look_at: Nanos(0),
            watches_missing: false,
            uncalled: false,
            announced: false,
            let_go: Vec::new(),
            ended: Vec::new(),
            outcome: None,
        };
        master.reserve.refill();
        match left {
            None => master.supervisor.start(now),
            Some(left) => {
                let from = left.header.made_by.clone();
                master.resume(left, &mut adopter)?;
                info!(
                    from,
                    to = env!("CARGO_PKG_VERSION"),
                    upgrades = master.counters.upgrades,
                    connections = master.connections.len(),
                    "upgraded: workers are replaced now"
                );
                let text = format!("from {from} to {}", env!("CARGO_PKG_VERSION"));
                master.happened(HappenedKind::Upgrade, None, &text);
                master.counters.reloads += u64::from(master.supervisor.reload(now));
            }
        }
        Ok(master)
    }
}

/// What a server that starts does not do without, and one that goes on from another image does: its
/// clients must not pay for it.
fn essential_at_start<T>(
    had: Result<Option<T>, RunError>,
    goes_on: bool,
) -> Result<Option<T>, RunError> {
    match had {
        Err(error) if goes_on => {
            error!("the server goes on without it: {}", Chain(&error));
            Ok(None)
        }
        had => had,
    }
}

/// The master's own, and to be read by the workers' group, which may not write it: what it says of
/// them is not theirs to change. (The pid file stays the master's alone: whoever stops a server by
/// it does so as root.)
fn open_status_file(path: &Path, readers: Option<u32>) -> Result<Publisher, RunError> {
    let doing = format!("opening the status file {}", path.display());
    let opened = Publisher::open(path);
    let publisher =
        opened.map_err(|cause| RunError::System { doing: doing.clone(), source: cause.into() })?;
    if readers.is_some() {
        let owner = Owner { uid: None, gid: readers };
        privileges::give(path, owner)
            .map_err(|cause| RunError::System { doing, source: cause.into() })?;
    }
    Ok(publisher)
}

/// How many connections may be parked, of so many descriptors.
fn parked_max(descriptors: u64) -> usize {
    let (share, of) = PARKED_SHARE;
    usize::try_from(descriptors / of * share).unwrap_or(usize::MAX).max(1)
}

fn write_pid_file(path: &Path) -> Result<PidFile, RunError> {
    PidFile::write(path).map_err(|error| RunError::System {
        doing: format!("writing the pid file {}", path.display()),
        source: error.into(),
    })
}

/// Whether this kernel has what the master needs.
pub(super) fn check_kernel() -> Result<(), RunError> {
    match limits::kernel_release() {
        Some(release) if release < limits::KERNEL_FLOOR => {
            let (major, minor) = limits::KERNEL_FLOOR;
            let cause = format!(
                "Linux {}.{}; {major}.{minor} is the oldest that will do",
                release.0, release.1
            );
            Err(RunError::System { doing: "checking the kernel".into(), source: cause.into() })
        }
        Some(_) | None => Ok(()),
    }
}
