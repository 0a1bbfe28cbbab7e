//! What else PgBouncer can be told: console verbs and SHOWs, signals, switches; each with what it is here.

use super::catalogue::Verdict;

/// One verb, signal or switch.
#[derive(Clone, Copy, Debug)]
pub struct Verb {
    /// Where it is said.
    pub door: Door,
    /// How it is said.
    pub name: &'static str,
    /// What it is here.
    pub verdict: Verdict,
    /// How it differs, or why it is refused.
    pub why: &'static str,
}

/// Where something is said to PgBouncer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// On its SQL console.
    Console,
    /// By a signal.
    Signal,
    /// On its command line.
    Switch,
}

impl Door {
    /// All of them, in the order of docs/pgbouncer.md.
    pub const ALL: [Self; 3] = [Self::Console, Self::Signal, Self::Switch];

    /// The table's heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Console => "Console",
            Self::Signal => "Signals",
            Self::Switch => "Command line",
        }
    }
}

const fn same(door: Door, name: &'static str) -> Verb {
    Verb { door, name, verdict: Verdict::Same, why: "" }
}

const fn better(door: Door, name: &'static str, why: &'static str) -> Verb {
    Verb { door, name, verdict: Verdict::Better, why }
}

const fn refused(door: Door, name: &'static str, why: &'static str) -> Verb {
    Verb { door, name, verdict: Verdict::Refused(&[]), why }
}

use Door::{Console, Signal, Switch};

/// All of them.
pub const VERBS: &[Verb] = &[
    same(Console, "SHOW ACTIVE_SOCKETS"),
    same(Console, "SHOW CLIENTS"),
    same(Console, "SHOW CONFIG"),
    same(Console, "SHOW DATABASES"),
    better(Console, "SHOW DNS_HOSTS", "always empty: a name is resolved at each connect"),
    better(Console, "SHOW DNS_ZONES", "always empty: a name is resolved at each connect"),
    better(Console, "SHOW FDS", "passwords, keys and descriptors stay inside and are NULL"),
    same(Console, "SHOW HELP"),
    same(Console, "SHOW LISTS"),
    same(Console, "SHOW MEM"),
    same(Console, "SHOW PEERS"),
    same(Console, "SHOW PEER_POOLS"),
    same(Console, "SHOW POOLS"),
    same(Console, "SHOW SERVERS"),
    same(Console, "SHOW SOCKETS"),
    same(Console, "SHOW STATE"),
    better(Console, "SHOW STATS", "a wait counts while it lasts, and not only once it has ended well"),
    same(Console, "SHOW STATS_AVERAGES"),
    same(Console, "SHOW STATS_TOTALS"),
    same(Console, "SHOW TOTALS"),
    same(Console, "SHOW USERS"),
    same(Console, "SHOW VERSION"),
    same(Console, "DISABLE"),
    same(Console, "ENABLE"),
    same(Console, "KILL"),
    same(Console, "KILL_CLIENT"),
    better(
        Console,
        "PAUSE",
        "waiting while paused does not count into the time limit of a wait while the server is up",
    ),
    same(Console, "RECONNECT"),
    better(Console, "RELOAD", "all or nothing: a file with a fault changes nothing, and the answer says what is wrong"),
    same(Console, "RESUME"),
    better(Console, "SET", "what cannot change while it runs is refused and not silently kept"),
    same(Console, "SHUTDOWN"),
    better(Console, "SUSPEND", "nothing is cut off where the other side reads slowly"),
    same(Console, "WAIT_CLOSE"),
    same(Signal, "SIGHUP"),
    same(Signal, "SIGTERM"),
    same(Signal, "SIGINT"),
    same(Signal, "SIGQUIT"),
    same(Signal, "SIGUSR1"),
    same(Signal, "SIGUSR2"),
    refused(Switch, "-d", "a service manager keeps it in the background: Type=notify, or nohup"),
    refused(
        Switch,
        "-R",
        "a restart takes over no sockets: start the second process with so_reuseport = 1, then SIGTERM the first",
    ),
    refused(Switch, "-q", "the log goes to standard error, which a service manager keeps or drops"),
    refused(Switch, "-v", "write verbose = 1"),
    refused(Switch, "-u", "write user =, or start it as that user"),
    same(Switch, "-V"),
    same(Switch, "-h"),
];
