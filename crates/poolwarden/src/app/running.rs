//! What all parts of a running process share: the proxy, the configuration in force, the counts, the phase.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use poolwarden_config::Config;
use poolwarden_pool::HostId;
use poolwarden_proxy::Proxy;
use poolwarden_switch::Detail;
use poolwarden_watch::why::{Holder, Why};
use poolwarden_watch::{Averages, View, Watch};
use tokio::sync::mpsc;

use super::change::{Basis, Chronicle, Standing};
use super::changes::Changes;
use super::log::{Log, unix_ms};
use super::plan::{self, Seed};
use super::probes::Tally;
use super::recorder::Told;
use super::review::Reviews;
use super::said::Said;
use super::view::{self, Configs, Counts, HostSeen, Seen};
use crate::discover::Made;

/// Requests to stop that nobody has looked at yet: the first one counts, the second one hurries.
const MAX_STOPS: usize = 4;

/// Where a reload reads.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// This file.
    File(PathBuf),
    /// The pgbouncer.ini that the configuration in force names as its `conffile`.
    Ini,
    /// Nowhere: it was made up at the start.
    Made(Arc<Made>),
}

impl Origin {
    /// Where relative paths of the configuration start.
    pub(super) fn directory(&self) -> &Path {
        match self {
            Self::File(path) => path.parent().unwrap_or(Path::new(".")),
            // PgBouncer's start where the process does
            Self::Ini | Self::Made(_) => Path::new("."),
        }
    }
}

/// What an operator or a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// At once.
    Now,
    /// When every lent server connection came back, or at the deadline.
    Drain,
    /// When every client has left.
    WaitForClients,
}

/// What the process as a whole is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Serving,
    Draining,
}

/// Shared by signals, console, HTTP and the journal.
pub(super) struct Running {
    pub(super) log: Log,
    pub(super) seed: Seed,
    pub(super) origin: Origin,
    /// One reload at a time.
    pub(super) reloading: tokio::sync::Mutex<()>,
    pub(super) reloads: AtomicU64,
    pub(super) reloads_failed: AtomicU64,
    pub(super) facts_dropped: AtomicU64,
    pub(super) averages: Mutex<Averages>,
    /// What was seen over time, one picture a second.
    pub(super) watch: Mutex<Watch>,
    pub(super) said: Mutex<Said>,
    /// What the probes have come to.
    pub(super) probes: Tally,
    /// The newest review, and what is to be reviewed.
    pub(super) reviews: Reviews,
    /// The newest changes of the configuration in force.
    pub(super) changes: Changes,
    /// How what is in force stands.
    pub(super) standing: Mutex<Standing>,
    pub(super) chronicle: Chronicle,
    /// How recording goes.
    pub(super) recorded: Arc<Told>,
    proxy: OnceLock<Proxy>,
    configs: Mutex<Configs>,
    phase: Mutex<Phase>,
    stop: mpsc::Sender<Stop>,
}

/// What is seen of one server, unless it is not there.
fn told(proxy: &Proxy, id: HostId) -> Option<(HostId, HostSeen)> {
    let (snapshot, facts, watch_error) = proxy.host(id)?;
    Some((id, HostSeen { snapshot, facts, watch_error, activity: proxy.activity(id) }))
}

/// Our locks protect plain values: whoever panicked while holding one left a whole value.
pub(super) fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Running {
    pub(super) fn new(
        config: Config,
        origin: Origin,
        seed: Seed,
        log: Log,
        (chronicle, standing): (Chronicle, Standing),
    ) -> (Arc<Self>, mpsc::Receiver<Stop>) {
        let (stop, stops) = mpsc::channel(MAX_STOPS);
        let config = Arc::new(config);
        let running = Self {
            log,
            seed,
            origin,
            reloading: tokio::sync::Mutex::default(),
            reloads: AtomicU64::new(0),
            reloads_failed: AtomicU64::new(0),
            facts_dropped: AtomicU64::new(0),
            averages: Mutex::default(),
            watch: Mutex::default(),
            said: Mutex::default(),
            probes: Tally::default(),
            reviews: Reviews::default(),
            changes: Changes::default(),
            standing: Mutex::new(standing),
            chronicle,
            recorded: Arc::default(),
            proxy: OnceLock::new(),
            configs: Mutex::new(Configs { now: Arc::clone(&config), start: config }),
            phase: Mutex::new(Phase::Starting),
            stop,
        };
        running.pace(&running.config());
        (Arc::new(running), stops)
    }

    /// The proxy listens: from now on it is asked, and the process is ready. Called once.
    pub(super) fn serve(&self, proxy: &Proxy) {
        self.proxy.get_or_init(|| proxy.clone());
        *held(&self.phase) = Phase::Serving;
    }

    /// Not ready any more.
    pub(super) fn drain(&self) {
        *held(&self.phase) = Phase::Draining;
    }

    pub(super) fn phase(&self) -> Phase {
        *held(&self.phase)
    }

    /// The proxy, once it listens.
    pub(super) fn proxy(&self) -> Option<&Proxy> {
        self.proxy.get()
    }

    pub(super) fn configs(&self) -> Configs {
        held(&self.configs).clone()
    }

    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&held(&self.configs).now)
    }

    /// This configuration is in force.
    pub(super) fn obey(&self, config: Arc<Config>) {
        self.log.obey(config.log);
        self.log.reopen(&config);
        self.pace(&config);
        held(&self.configs).now = config;
    }

    fn pace(&self, config: &Config) {
        if let Some(process) = &config.pgbouncer {
            held(&self.averages).set_period(process.stats_period);
        }
    }

    /// Asks the main thread to stop. When it has been asked often enough already, that is no loss.
    pub(super) fn stop(&self, how: Stop) {
        let _full = self.stop.try_send(how);
    }

    /// How the configuration in force stands.
    pub(super) fn stands(&self) -> poolwarden_console::standing::Standing {
        self.told(&held(&self.standing))
    }

    /// The same of what is looked at already.
    pub(super) fn told(&self, standing: &Standing) -> poolwarden_console::standing::Standing {
        let recording = self.recorded.standing();
        poolwarden_console::standing::Standing { recording, ..standing.told(&self.chronicle) }
    }

    /// The number in the history of what is in force, and how it is written.
    pub(super) fn in_force(&self) -> (Option<u64>, Basis) {
        let (which, basis) = held(&self.standing).in_force();
        (self.chronicle.number(which), basis)
    }

    /// The picture of now.
    pub(super) async fn view(&self, detail: Detail) -> View {
        let configs = self.configs();
        let Some(proxy) = self.proxy() else {
            return view::view(&configs, &Seen { now_ms: unix_ms(), started_at_ms: unix_ms(), ..Seen::default() });
        };
        let (reports, figures) = tokio::join!(proxy.reports(detail), proxy.figures());
        let seen = Seen {
            hosts: plan::host_ids(&configs.now).filter_map(|id| told(proxy, id)).collect(),
            probes: self.probes.views(&configs.now.probes),
            changes: self.changes.all(),
            now: proxy.now(),
            now_ms: unix_ms(),
            started_at_ms: proxy.started_unix_ms(),
            draining: self.phase() == Phase::Draining,
            said: held(&self.said).clone(),
            reports,
            loops: proxy.loops(),
            figures,
            peers: proxy.peers(),
            counts: self.counts(),
        };
        let mut view = view::view(&configs, &seen);
        held(&self.averages).fill(&mut view);
        view
    }

    /// Why requests of this database, or of any, wait now.
    pub(super) async fn why(&self, pool: Option<&str>) -> Why {
        let view = self.view(Detail::Servers).await;
        held(&self.watch).why(&view, pool)
    }

    /// Who holds server connections of this database, or of any, and when that was in milliseconds since 1970 UTC.
    pub(super) async fn holders(&self, pool: Option<&str>) -> (u64, Vec<Holder>) {
        let view = self.view(Detail::Servers).await;
        (view.now_ms, held(&self.watch).holders(&view, pool))
    }

    fn counts(&self) -> Counts {
        Counts {
            open_fds: open_fds(),
            cpu_nanos: cpu_nanos(),
            log_dropped: self.log.dropped(),
            facts_dropped: self.facts_dropped.load(Ordering::Relaxed),
            reloads: self.reloads.load(Ordering::Relaxed),
            reloads_failed: self.reloads_failed.load(Ordering::Relaxed),
        }
    }
}

/// Open file descriptors of this process; 0 where the system does not tell.
/// CPU time of all threads.
fn cpu_nanos() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(nanos.unwrap_or(0))
}

fn open_fds() -> u64 {
    // Its size is their number on Linux 6.2 and later; on older ones it is 0, and they are counted.
    let size = std::fs::metadata("/proc/self/fd").map_or(0, |directory| directory.len());
    if size > 0 {
        return size;
    }
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}
