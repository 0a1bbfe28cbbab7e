//! Every command of the console, once: the parser, SHOW HELP and the nearest-command hint read this list.

use poolwarden_watch::View;

use super::lex::Token;
use super::{Command, Rights, Rows, show};

/// One command.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its words, upper case.
    pub name: &'static str,
    /// What it does, and what may follow its name.
    pub does: Does,
    /// Who may.
    pub needs: Rights,
    /// What it is for, in half a sentence.
    pub about: &'static str,
}

/// What a command does.
#[derive(Clone, Copy, Debug)]
pub enum Does {
    /// Shows rows.
    Show(fn(&View) -> Rows),
    /// Shows who holds server connections; statements to admins alone.
    Holders,
    /// Shows what is to be expected of each pool.
    Forecast,
    /// Is sent up; nothing follows.
    Plain(fn() -> Command),
    /// Is sent up; a database may follow.
    MaybeDatabase(fn(Option<String>) -> Command),
    /// Is sent up; a database must follow.
    Database(fn(String) -> Command),
    /// Is sent up; a client's id must follow.
    Client,
    /// Is sent up; `key = value` must follow.
    Set,
    /// Is sent up; a class and `FOR` how long must follow.
    Shed,
    /// Stops the process; how may follow.
    Shutdown,
}

impl Entry {
    const fn show(name: &'static str, rows: fn(&View) -> Rows, about: &'static str) -> Self {
        Self { name, does: Does::Show(rows), needs: Rights::Reader, about }
    }

    const fn admin(name: &'static str, does: Does, about: &'static str) -> Self {
        Self { name, does, needs: Rights::Admin, about }
    }

    /// The command with what may follow it.
    #[must_use]
    pub fn usage(&self) -> String {
        let tail = match self.does {
            Does::Show(_) | Does::Holders | Does::Forecast | Does::Plain(_) => "",
            Does::MaybeDatabase(_) => " [database]",
            Does::Database(_) => " database",
            Does::Client => " id",
            Does::Set => " key = value",
            Does::Shed => " class FOR '10m'",
            Does::Shutdown => " [WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS]",
        };
        format!("{}{tail}", self.name)
    }
}

/// The commands, in the order SHOW HELP prints them.
pub static CATALOGUE: [Entry; 42] = [
    Entry::show("SHOW HELP", show::help::rows, "this list"),
    Entry::show("SHOW POOLS", show::pools::rows, "clients and server connections by state, per pool"),
    Entry::show(
        "SHOW LIMITS",
        show::limits::rows,
        "each limit, how much of it is used, which one binds and what to raise",
    ),
    Entry::show("SHOW WAITS", show::waits::rows, "seconds waited, waiting now and refused, by the limit that bound"),
    Entry::show(
        "SHOW CLASSES",
        show::classes::rows,
        "each class per pool: what it has, what it was refused and why, whether it is overloaded or shed",
    ),
    Entry {
        name: "SHOW HOLDERS",
        does: Does::Holders,
        needs: Rights::Reader,
        about: "who holds each server connection that is lent, for how long, doing what, blocked by whom; statements to admins only",
    },
    Entry {
        name: "SHOW FORECAST",
        does: Does::Forecast,
        needs: Rights::Reader,
        about: "how far each pool is from exhaustion, when it will come to it, why, and what to do",
    },
    Entry::admin(
        "SHOW USAGE",
        Does::Show(show::usage::rows),
        "who used each pool, by application, user, network, route and statement: the largest 20 of each",
    ),
    Entry::admin(
        "SHOW PINS",
        Does::Show(show::pins::rows),
        "who keeps a server connection beyond a transaction, why and since when",
    ),
    Entry::admin("SHOW CLIENTS", Does::Show(show::clients::rows), "client connections"),
    Entry::admin("SHOW SERVERS", Does::Show(show::servers::rows), "server connections"),
    Entry::admin(
        "SHOW SOCKETS",
        Does::Show(show::sockets::rows),
        "clients and server connections, with the bytes received and not yet passed on",
    ),
    Entry::admin(
        "SHOW ACTIVE_SOCKETS",
        Does::Show(show::sockets::active),
        "those of SHOW SOCKETS that wait, hold or are held",
    ),
    Entry::admin(
        "SHOW FDS",
        Does::Show(show::fds::rows),
        "clients and server connections in PgBouncer's columns for an online restart; passwords, keys and descriptors stay inside and are NULL",
    ),
    Entry::show(
        "SHOW STATS",
        show::stats::rows,
        "totals since the start and averages of the last minute, per database",
    ),
    Entry::show("SHOW STATS_TOTALS", show::stats::totals, "totals since the start, per database"),
    Entry::show("SHOW STATS_AVERAGES", show::stats::averages, "averages of the last minute, per database"),
    Entry::show("SHOW TOTALS", show::stats::grand, "totals and averages of all databases together"),
    Entry::show("SHOW DATABASES", show::databases::rows, "databases clients may ask for"),
    Entry::show("SHOW USERS", show::users::rows, "users and their limits"),
    Entry::show("SHOW LISTS", show::lists::rows, "how many there are of everything"),
    Entry::admin("SHOW CONFIG", Does::Show(show::config::rows), "the settings in force, without secrets"),
    Entry::show("SHOW MEM", show::mem::rows, "memory held in buffers"),
    Entry::show("SHOW STATE", show::state::rows, "whether the process is active, paused, suspended or draining"),
    Entry::show("SHOW VERSION", show::state::version, "the version"),
    Entry::show("SHOW PEERS", show::peers::peers, "the other instances to which cancel requests are forwarded"),
    Entry::show("SHOW PEER_POOLS", show::peers::peer_pools, "cancel requests on their way to the other instances"),
    Entry::show("SHOW DNS_HOSTS", show::absent::dns_hosts, "always empty: names are resolved at each connect"),
    Entry::show("SHOW DNS_ZONES", show::absent::dns_zones, "always empty: names are resolved at each connect"),
    Entry::admin("RELOAD", Does::Plain(|| Command::Reload), "read the configuration again and apply it"),
    Entry::admin(
        "PAUSE",
        Does::MaybeDatabase(Command::Pause),
        "lend no more until RESUME; clients wait. Answers when nothing is lent and every server connection is closed",
    ),
    Entry::admin("RESUME", Does::MaybeDatabase(Command::Resume), "lend again after PAUSE or KILL"),
    Entry::admin(
        "RECONNECT",
        Does::MaybeDatabase(Command::Reconnect),
        "replace every server connection as soon as it is not lent",
    ),
    Entry::admin("KILL", Does::MaybeDatabase(Command::Kill), "close everything now and pause"),
    Entry::admin("DISABLE", Does::Database(Command::Disable), "refuse new clients of the database"),
    Entry::admin("ENABLE", Does::Database(Command::Enable), "undo DISABLE"),
    Entry::admin("KILL_CLIENT", Does::Client, "end one client; SHOW CLIENTS gives its id"),
    Entry::admin(
        "SUSPEND",
        Does::Plain(|| Command::Suspend),
        "lend no more until RESUME, and wait up to 10 s for what is lent; nobody is cut off",
    ),
    Entry::admin(
        "WAIT_CLOSE",
        Does::MaybeDatabase(Command::WaitClose),
        "wait until every server connection that RECONNECT or KILL replaces is gone",
    ),
    Entry::admin(
        "SET",
        Does::Set,
        "change a live setting of the running process until the next RELOAD or restart; the file stays as it is",
    ),
    Entry::admin(
        "SHED",
        Does::Shed,
        "refuse the requests of a class at once for a while, 24 h at most; '0s' ends it. SHOW CLASSES says what is shed",
    ),
    Entry::admin("SHUTDOWN", Does::Shutdown, "stop the process"),
];

/// The command a statement begins with, and what follows it.
///
/// `SELECT POOLS` is `SHOW POOLS`, as in PgBouncer.
pub(super) fn find(statement: &[Token]) -> Option<(&'static Entry, &[Token])> {
    if let [select, table] = statement
        && select.is("select")
        && let Token::Word(table) = table
    {
        let shows =
            |entry: &&Entry| entry.name.strip_prefix("SHOW ").is_some_and(|name| name.eq_ignore_ascii_case(table));
        return CATALOGUE.iter().find(shows).map(|entry| (entry, &statement[2..]));
    }
    CATALOGUE.iter().find_map(|entry| {
        let mut rest = statement;
        for word in entry.name.split(' ') {
            let (first, tail) = rest.split_first()?;
            if !first.is(word) {
                return None;
            }
            rest = tail;
        }
        Some((entry, rest))
    })
}
