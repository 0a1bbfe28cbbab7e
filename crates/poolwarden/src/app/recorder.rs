//! The recorder: every checkout into a file, so that what happened can be simulated under other settings.
//!
//! ```text
//! core, under its lock ─ swap, ten times a second ─► here ─ bounded channel ─► a thread of low priority ─► recordings/*.pwrc
//! ```
//!
//! Nothing on the data path waits: where there is no room, checkouts are counted as lost, and the recording has a gap. This task
//! takes, names and hands on; it is of ordinary priority because it holds a core's lock. What is slow (packing, the disk) is the
//! thread's.

mod names;
mod pages;
mod told;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use poolwarden_config::Config;
use poolwarden_pool::{CheckoutRecord, HostId, HostSnapshot, PoolId, Time};
use poolwarden_proxy::Proxy;
use poolwarden_store::recording::{Anchor, Bounds, Shelf};
use poolwarden_switch::Ended;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::log::unix_ms;
use super::running::Running;
pub(super) use told::Told;

/// Their directory in the data directory.
const DIRECTORY: &str = "recordings";
/// A loop serves some ten thousand requests in this time at most.
const TAKE_EVERY: Duration = Duration::from_millis(100);
/// Kept by a core between two looks: 160,000 a second, and two megabytes.
const MOST_KEPT: usize = 16_384;
/// Words on their way to the thread: some seconds' worth while its disk hangs.
const MOST_WAITING: usize = 64;
/// Looks between two states of the pools: a minute.
const STATE_EVERY: u32 = 600;

/// What the thread is told.
enum Word {
    /// Requests ended between these moments, and more that are lost.
    Ended { host: HostId, records: Vec<CheckoutRecord>, lost: u64, from: Time, until: Time },
    /// Pools have come, by the server's name and their own.
    Pools { host: HostId, pools: Vec<(PoolId, String)> },
    /// Applications have come.
    Tenants(Vec<(u64, Box<str>)>),
    /// How the pools stand.
    State { at: Time, hosts: Vec<(HostId, HostSnapshot)> },
    /// What is in force from now on.
    Obey(Box<Orders>),
}

/// What is in force, as far as recordings say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Orders {
    enabled: bool,
    max_size: u64,
    classes: Vec<String>,
    version: Option<u64>,
    hash: String,
    text: Arc<str>,
}

/// The recorder under way: the thread ends when the task has.
pub(super) struct Recorder {
    thread: JoinHandle<()>,
    words: SyncSender<Word>,
    emptied: Receiver<Vec<CheckoutRecord>>,
}

impl Recorder {
    /// Starts the thread.
    pub(super) fn start(running: &Arc<Running>, proxy: &Proxy, dir: &Path) -> anyhow::Result<Self> {
        let (words, heard) = sync_channel(MOST_WAITING);
        let (emptied, empty) = sync_channel(MOST_WAITING);
        let recording = running.config().recording;
        let bounds = Bounds { max_size: recording.max_size, ..Bounds::default() };
        let shelf = Shelf::new(dir.join(DIRECTORY), bounds);
        running.recorded.live_in(dir.join(DIRECTORY));
        let (log, told) = (running.log.clone(), Arc::clone(&running.recorded));
        let clock = {
            let proxy = proxy.clone();
            move || Anchor { wall_ms: unix_ms(), clock_us: proxy.now().as_nanos() / 1_000 }
        };
        let writer = writer::Writer::new(shelf, clock, log, told);
        let thread = std::thread::Builder::new().name("recorder".to_owned());
        let thread =
            thread.spawn(move || writer.run(&heard, &emptied)).context("cannot start the recorder's thread")?;
        Ok(Self { thread, words, emptied: empty })
    }

    /// Takes until `stopping` says so, and then once more; ends when all of that is written.
    pub(super) async fn keep(self, running: Arc<Running>, proxy: Proxy, mut stopping: watch::Receiver<bool>) {
        let mut feed = Feed::new(&running, proxy.now(), self.words, self.emptied);
        let mut looks = tokio::time::interval(TAKE_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let over = tokio::select! {
                _ = looks.tick() => false,
                _said = stopping.wait_for(|stop| *stop) => true,
            };
            feed.look(&running, &proxy);
            if over {
                break;
            }
        }
        drop(feed); // the thread hears no more, writes what it has and ends
        let thread = self.thread;
        // a panic there has ended the process already, where it is built to abort
        let _ended = tokio::task::spawn_blocking(move || thread.join()).await;
    }
}

/// What is taken and handed on.
struct Feed {
    told: Arc<Told>,
    words: SyncSender<Word>,
    emptied: Receiver<Vec<CheckoutRecord>>,
    /// Lists that nothing was in.
    spare: Vec<Vec<CheckoutRecord>>,
    /// Of each host: pools that were told, and when it was looked at last.
    hosts: BTreeMap<HostId, (u32, Time)>,
    tenants: usize,
    /// Lost because the thread was behind, not told it yet, and since when.
    lost: Option<(u64, Time)>,
    /// What the thread obeys, and of which configuration that is.
    orders: Option<(Arc<Config>, Orders)>,
    begun: Time,
    looks: u32,
}

impl Feed {
    fn new(running: &Running, begun: Time, words: SyncSender<Word>, emptied: Receiver<Vec<CheckoutRecord>>) -> Self {
        let (hosts, told) = (BTreeMap::new(), Arc::clone(&running.recorded));
        let spare = Vec::new();
        Self { told, words, emptied, spare, hosts, tenants: 0, lost: None, orders: None, begun, looks: 0 }
    }

    fn look(&mut self, running: &Running, proxy: &Proxy) {
        let config = running.config();
        if !self.obey(running, &config) {
            return; // it is told first what it records under
        }
        let enabled = config.recording.enabled;
        let most = if enabled { MOST_KEPT } else { 0 };
        let tenants = proxy.tenants(self.tenants);
        if !tenants.is_empty() {
            let count = tenants.len();
            self.tenants += if self.say(Word::Tenants(tenants)) { count } else { 0 };
        }
        for host in proxy.hosts() {
            self.take((proxy, &config), host, most);
        }
        if enabled && self.looks.is_multiple_of(STATE_EVERY) {
            let hosts = proxy.hosts().into_iter();
            let hosts = hosts.filter_map(|host| Some((host, proxy.host(host)?.0))).collect();
            // a minute without a state costs a replay nothing but a later begin
            let _told = self.say(Word::State { at: proxy.now(), hosts });
        }
        self.looks = self.looks.wrapping_add(1);
    }

    /// Takes what ended on a host.
    fn take(&mut self, (proxy, config): (&Proxy, &Config), host: HostId, most: usize) {
        let (pools_known, from) = self.hosts.get(&host).copied().unwrap_or((0, self.begun));
        let spare = self.spare.pop().or_else(|| self.emptied.try_recv().ok());
        let mut records = spare.unwrap_or_default();
        records.reserve_exact(most);
        let mut ended = Ended { records, pools_known, ..Ended::default() };
        proxy.ended(host, most, &mut ended);
        let Ended { records, lost, pools, pools_known: known } = ended;
        let until = proxy.now();
        let mut pools_known = known;
        if !pools.is_empty() {
            let server = config.servers.iter().find(|server| server.id == host).map_or("", |server| &server.name);
            let named = |(id, key): (PoolId, poolwarden_pool::PoolKey)| (id, names::pool(server, &key));
            let pools = pools.into_iter().map(named).collect();
            if !self.say(Word::Pools { host, pools }) {
                pools_known = self.hosts.get(&host).map_or(0, |(known, _)| *known); // they are told with the next look
            }
        }
        self.hosts.insert(host, (pools_known, until));
        if !records.is_empty() || lost > 0 {
            self.hand_on(host, records, lost, (from, until));
        } else if most > 0 {
            self.spare.push(records);
        }
    }

    fn hand_on(&mut self, host: HostId, records: Vec<CheckoutRecord>, lost: u64, (from, until): (Time, Time)) {
        let (before, since) = self.lost.take().unwrap_or((0, from));
        let word = Word::Ended { host, records, lost: lost + before, from: since, until };
        self.told.lose(lost);
        if let Err(TrySendError::Full(word) | TrySendError::Disconnected(word)) = self.words.try_send(word)
            && let Word::Ended { records, lost, from, .. } = word
        {
            let count = records.len() as u64;
            self.told.lose(count);
            self.lost = Some((lost + count, from));
        }
    }

    fn say(&self, word: Word) -> bool {
        self.words.try_send(word).is_ok()
    }

    /// Tells the thread what is in force, where that is another; whether it knows.
    fn obey(&mut self, running: &Running, config: &Arc<Config>) -> bool {
        let (version, basis) = running.in_force();
        if let Some((of, orders)) = &self.orders
            && Arc::ptr_eq(of, config)
            && orders.version == version
            && (config.pgbouncer.is_some() || Arc::ptr_eq(&orders.text, &basis.text()))
        {
            return true;
        }
        let text = config.pgbouncer.as_ref().map_or_else(|| basis.text(), |process| process.toml.as_str().into());
        let orders = Orders {
            enabled: config.recording.enabled,
            max_size: config.recording.max_size,
            classes: config.classes_by_id().map(|(_, name, _)| name.to_owned()).collect(),
            version,
            hash: basis.hash(),
            text,
        };
        let is_told = match &self.orders {
            Some((_, known)) if *known == orders => true,
            Some(_) | None => self.say(Word::Obey(Box::new(orders.clone()))),
        };
        if is_told {
            self.orders = Some((Arc::clone(config), orders));
        }
        is_told
    }
}
