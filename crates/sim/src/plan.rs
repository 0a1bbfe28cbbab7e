//! What a seed stands for: how many loops, which pools and limits, who comes, and what goes wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_switch::pool::{ClassId, DatabaseSettings, HostSettings, Mode, UserSettings};
use poolwarden_switch::relay::Keep;
use poolwarden_switch::{PoolTerms, Rules, TermsBook, Voice};

use crate::random::Random;

/// Something that goes wrong, or an operator's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// PostgreSQL is killed with -9 and comes back after this long.
    Restart(Duration),
    /// The network drops every so many-th server connection.
    Reset(u64),
    /// A backend is terminated by an administrator.
    Terminate,
    /// A loop does not turn for this long.
    Stall(Duration),
    /// RECONNECT.
    Reconnect,
    /// PAUSE, and RESUME after this long.
    Pause(Duration),
    /// The pools get this size.
    Resize(u32),
    /// An operator ends a client.
    KillClient,
    /// An operator says KILL, and RESUME after this long.
    Kill(Duration),
    /// The process drains, and stops after this long.
    Stop(Duration),
    /// A class is shed for so long.
    Shed(ClassId, Duration),
}

/// One database as clients and PostgreSQL see it.
#[derive(Clone, Debug)]
pub struct Database {
    /// Its name.
    pub name: &'static str,
    /// How long clients keep a connection.
    pub keep: Keep,
}

/// A whole world before it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Event loops.
    pub loops: u16,
    /// Clients over the whole run.
    pub clients: u32,
    /// Databases there are.
    pub databases: Vec<Database>,
    /// What the host obeys.
    pub settings: HostSettings,
    /// What the switches obey.
    pub rules: Rules,
    /// The pools' terms.
    pub book: TermsBook,
    /// Server connections of all pools together.
    pub budget: u32,
    /// Bytes a pipe holds.
    pub room: usize,
    /// Whether loops send at the end of a batch.
    pub sends_late: bool,
    /// Largest usual delay of anything, microseconds.
    pub lag: u64,
    /// Usual time a statement runs, microseconds.
    pub holds: u64,
    /// How long a statement runs that nobody waits for, microseconds.
    pub long: u64,
    /// How long a connect takes at most, microseconds.
    pub connect: u64,
    /// Longest time a backend lingers after its client vanished, microseconds.
    pub lingers: u64,
    /// One connect in so many fails in some way; 0: none.
    pub bad_connects: u64,
    /// One exchange in so many meets a client's own mischief.
    pub mischief: u64,
    /// What goes wrong, and when.
    pub troubles: Vec<(Duration, Trouble)>,
    /// When the last client has come.
    pub arrivals: Duration,
    /// Clients say nothing but whole transactions at once, in pieces.
    pub pipelines: bool,
    /// What clients' own deadlines are drawn from; 0: they have none.
    pub deadlines: u64,
}

/// Until everything planned has begun.
const EVENTFUL: u64 = 3_000_000;

impl Plan {
    pub(crate) fn new(random: &mut Random) -> Self {
        let budget = u32::try_from(random.between(1, 8)).unwrap_or(1); // 1 to 8
        let lag = [50, 300, 3000, 30_000][random.place(4)];
        let ghost = random.between(10, 60);
        let databases = databases(random);
        Self {
            loops: u16::try_from(random.between(1, 4)).unwrap_or(1), // 1 to 4
            clients: u32::try_from(random.between(2, 20)).unwrap_or(2),
            settings: host(random, budget, ghost, &databases),
            rules: Rules {
                texts: if random.once_in(8) { 100 } else { 1 << 20 },
                farewell: Duration::from_millis(random.between(20, 2000)),
                stall: Duration::from_millis(random.between(100, 60_000)),
                idle_read: usize::try_from(random.between(16, 4096)).unwrap_or(16), // small numbers all
                read: usize::try_from(random.between(32, 16384)).unwrap_or(32),
                voice: Voice::default(),
            },
            book: book(random, &databases),
            databases,
            budget,
            room: usize::try_from(random.between(100, 8192)).unwrap_or(100),
            sends_late: random.once_in(2),
            lag,
            holds: [0, 200, 5000, 50_000][random.place(4)],
            long: ghost * 400_000, // with the lingering that follows, less than a ghost is counted
            connect: [500, 20_000, 300_000][random.place(3)],
            lingers: random.below(ghost * 400_000),
            bad_connects: [0, 0, 3, 10][random.place(4)],
            mischief: [0, 4, 10, 30][random.place(4)],
            troubles: troubles(random),
            arrivals: random.micros(EVENTFUL),
            pipelines: false,
            deadlines: 0,
        }
    }
}

fn databases(random: &mut Random) -> Vec<Database> {
    let mut databases = vec![Database { name: "app", keep: Keep::Transaction }];
    if random.once_in(2) {
        databases.push(Database { name: "session", keep: Keep::Session });
    }
    if random.once_in(4) {
        databases.push(Database { name: "statement", keep: Keep::Statement });
    }
    databases
}

fn millis(random: &mut Random, low: u64, high: u64) -> Duration {
    Duration::from_millis(random.between(low, high))
}

fn host(random: &mut Random, budget: u32, ghost: u64, databases: &[Database]) -> HostSettings {
    let mut settings = HostSettings {
        max_connections: if random.once_in(4) { None } else { Some(budget) },
        unknown_budget: 1,
        connects_start: u32::try_from(random.between(1, 4)).unwrap_or(1),
        connects_max: u32::try_from(random.between(4, 16)).unwrap_or(4),
        connect_timeout: millis(random, 400, 3000),
        backoff: (millis(random, 1, 50), millis(random, 50, 1000)),
        ending_timeout: millis(random, 100, 10_000),
        ghost_timeout: Duration::from_secs(ghost),
        affinity_skips: [0, 1, 16][random.place(3)],
        ..HostSettings::default()
    };
    if random.once_in(3) {
        settings.users.insert("u0".into(), UserSettings { max_connections: Some(1), ..UserSettings::default() });
    }
    for database in databases {
        let size = u32::try_from(random.between(1, 5)).unwrap_or(1);
        let mode = match database.keep {
            Keep::Session | Keep::Tunnel => Mode::Session,
            Keep::Transaction => Mode::Transaction,
            Keep::Statement => Mode::Statement,
        };
        let one = DatabaseSettings {
            mode,
            size,
            min_size: u32::try_from(random.below(2)).unwrap_or(0),
            reserve: u32::try_from(random.below(2)).unwrap_or(0),
            reserve_after: millis(random, 1, 300),
            max_wait: millis(random, 50, 4000),
            pause_wait: millis(random, 500, 5000),
            down_wait: millis(random, 100, 5000),
            max_queue: if random.once_in(5) { 2 } else { 1000 },
            lifetime: if random.once_in(2) { Duration::ZERO } else { millis(random, 20, 2000) },
            idle_timeout: if random.once_in(2) { Duration::ZERO } else { millis(random, 20, 1000) },
            reset: database.keep == Keep::Session,
            ..DatabaseSettings::default()
        };
        settings.databases.insert(database.name.into(), one);
    }
    settings
}

fn book(random: &mut Random, databases: &[Database]) -> TermsBook {
    let mut book = TermsBook { databases: BTreeMap::new(), ..TermsBook::default() };
    for database in databases {
        let terms = PoolTerms {
            keep: database.keep,
            statements: usize::try_from(random.between(1, 8)).unwrap_or(1),
            ..PoolTerms::default()
        };
        book.databases.insert(database.name.into(), terms);
    }
    book
}

fn troubles(random: &mut Random) -> Vec<(Duration, Trouble)> {
    let many = if random.once_in(4) { 0 } else { random.between(1, 5) };
    let mut troubles: Vec<_> = (0..many).map(|_| (random.micros(EVENTFUL), trouble(random))).collect();
    if random.once_in(12) {
        troubles.push((random.micros(EVENTFUL), Trouble::Stop(millis(random, 0, 1000))));
    }
    troubles
}

fn trouble(random: &mut Random) -> Trouble {
    match random.below(10) {
        0 | 1 => Trouble::Restart(millis(random, 0, 3000)),
        2 | 3 => Trouble::Reset(random.between(1, 3)),
        4 => Trouble::Terminate,
        5 => Trouble::Stall(millis(random, 10, 2000)),
        6 => Trouble::Reconnect,
        7 => Trouble::Pause(millis(random, 1, 1000)),
        8 => Trouble::Resize(u32::try_from(random.between(1, 6)).unwrap_or(1)),
        _ => [Trouble::KillClient, Trouble::Kill(millis(random, 1, 500))][random.place(2)],
    }
}
