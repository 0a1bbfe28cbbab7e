//! A refusal of the core in words: the pool and the reason, numbers, and the next step.

use std::borrow::Cow;
use std::time::Duration;

use poolwarden_pool::{Limit, Reason, Refusal};

use super::Told;
use super::sentence::sentence;
use crate::voice;

/// Who hears of a refusal.
#[derive(Clone, Copy)]
pub(crate) struct Hearer<'a> {
    pub(crate) database: &'a str,
    pub(crate) user: &'a str,
    /// The name of the class the request was of.
    pub(crate) class: &'a str,
    /// How long the request might wait by its client's own word.
    pub(crate) patience: Option<Duration>,
    /// It is still logging in.
    pub(crate) starting: bool,
    /// The process is stopping, which ends its session anyway.
    pub(crate) draining: bool,
}

/// A refusal of the core in words.
pub(crate) fn told(refusal: &Refusal, hearer: Hearer<'_>) -> Told<'static> {
    let Hearer { database, starting, .. } = hearer;
    if refusal.no_such_database {
        let message = format!("database \"{database}\" does not exist");
        return Told {
            sqlstate: "3D000".into(),
            message: message.into(),
            detail: Some("no pool of that name is configured here, and there is no pool \"*\"".into()),
            hint: Some("add [pools.NAME] to the configuration file, or ask for a configured database".into()),
            theirs: Some(voice::NO_SUCH_DATABASE.about(database)),
        };
    }
    if refusal.stopping {
        return closed(hearer);
    }
    let sqlstate = match (refusal.limit, refusal.failure.as_deref()) {
        (Limit::Breaker, Some(failure)) if starting && &failure.sqlstate == b"3D000" => "3D000",
        (Limit::Breaker, _) if starting => "57P03",
        (Limit::Breaker, _) => "58000",
        _ => "53300",
    };
    Told {
        sqlstate: sqlstate.into(),
        message: message(refusal, hearer).into(),
        detail: Some(detail(refusal, hearer).into()),
        hint: Some(hint(refusal, hearer).into()),
        theirs: theirs(refusal, starting),
    }
}

/// The database is disabled, or the process is stopping. Pools of drivers throw away a connection on 57P01, so a session
/// that lives on is not told that.
fn closed(Hearer { database, starting, draining, .. }: Hearer<'_>) -> Told<'static> {
    let sqlstate = match (starting, draining) {
        (true, _) => "57P03",
        (false, true) => "57P01",
        (false, false) => "55000",
    };
    let message = format!("database \"{database}\" accepts no requests now: it is disabled or poolwarden is stopping");
    let theirs = if draining { voice::SHUTTING_DOWN.text.into() } else { voice::DISABLED.about(database) };
    Told { sqlstate: sqlstate.into(), message: message.into(), detail: None, hint: None, theirs: Some(theirs) }
}

/// PgBouncer knows two of these limits only.
fn theirs(refusal: &Refusal, starting: bool) -> Option<Cow<'static, str>> {
    match (refusal.limit, refusal.failure.as_deref()) {
        (Limit::Breaker, Some(failure)) => Some(voice::LOGIN_FAILING.about(&failure.message)),
        (Limit::Breaker, None) if starting => Some(voice::LOGIN_TIMEOUT.text.into()),
        (Limit::Breaker, None) => Some(voice::LOGIN_FAILING.about("no connection to the server")),
        (Limit::WaitTime, _) => Some(voice::QUERY_WAIT_TIMEOUT.text.into()),
        (
            Limit::PoolSize
            | Limit::Reserve
            | Limit::ClassShare
            | Limit::User
            | Limit::Database
            | Limit::HostBudget
            | Limit::Connects
            | Limit::MaxClients
            | Limit::PgRole
            | Limit::PgDatabase
            | Limit::PgSlots
            | Limit::Fds
            | Limit::Memory
            | Limit::QueueLength,
            _,
        ) => None,
    }
}

fn message(refusal: &Refusal, Hearer { database, class, patience, .. }: Hearer<'_>) -> String {
    let pool = "pool \"";
    match (refusal.reason, refusal.limit, refusal.failure.as_deref()) {
        (_, Limit::Breaker, Some(failure)) => {
            sentence![pool, database, "\": no connection to the server: ", &*failure.message]
        }
        (_, Limit::Breaker, None) => sentence![pool, database, "\": no connection to the server"],
        (Reason::Queue, _, _) => {
            sentence![pool, database, "\": the wait queue is full (", refusal.waiting, " waiting)"]
        }
        (Reason::Hopeless, _, _) => {
            let wait = refusal.would_wait;
            let (would, than) = ("\": would wait ", " for a server connection, longer than ");
            match patience.filter(|own| *own < refusal.would_wait) {
                None => sentence![pool, database, would, wait, than, "its max_wait: refused at once"],
                Some(own) => sentence![pool, database, would, wait, than, "the ", own, " it may: refused at once"],
            }
        }
        (Reason::Overload, _, _) => sentence![
            pool,
            database,
            "\": overloaded: no server connection within ",
            refusal.waited,
            ", and class \"",
            class,
            "\" may wait no longer while it is"
        ],
        (Reason::Shed, _, _) => {
            sentence![pool, database, "\": class \"", class, "\" is being shed by an operator"]
        }
        (Reason::Time | Reason::Server, Limit::WaitTime, _) => outwaited(refusal, database),
        (Reason::Time | Reason::Server, limit, _) => sentence![
            pool,
            database,
            "\": refused by ",
            limit.name(),
            " (",
            refusal.used,
            " of ",
            refusal.size,
            " used)"
        ],
    }
}

/// It waited as long as it may.
fn outwaited(refusal: &Refusal, database: &str) -> String {
    let longest = refusal.longest_pid.map_or(String::new(), |pid| sentence![" by pid ", pid]);
    sentence![
        "pool \"",
        database,
        "\": no server connection within ",
        refusal.waited,
        " (",
        refusal.used,
        " of ",
        refusal.size,
        " of ",
        refusal.binding.name(),
        " used, ",
        refusal.lent,
        " lent; longest held ",
        refusal.longest_held,
        &*longest,
        ")"
    ]
}

fn detail(refusal: &Refusal, Hearer { database, user, class, .. }: Hearer<'_>) -> String {
    let mut detail = sentence![
        "pool=",
        database,
        " user=",
        user,
        " class=",
        class,
        " reason=",
        refusal.reason.name(),
        " limit=",
        refusal.limit.name(),
        " binding=",
        refusal.binding.name(),
        " size=",
        refusal.size,
        " used=",
        refusal.used,
        " lent=",
        refusal.lent,
        " waiting=",
        refusal.waiting,
        " waited=",
        refusal.waited,
        " would_wait=",
        refusal.would_wait,
        " longest_held=",
        refusal.longest_held
    ];
    if let Some(failure) = refusal.failure.as_deref() {
        let sqlstate = String::from_utf8_lossy(&failure.sqlstate);
        detail.push_str(&sentence![" server_sqlstate=", &*sqlstate, " server_message=", &*failure.message]);
    }
    detail
}

fn hint(refusal: &Refusal, hearer: Hearer<'_>) -> String {
    let (step, table) = match refusal.reason {
        Reason::Shed => {
            (["it ends by itself, or with SHED ... FOR '0s'", "", ""], "SHOW CLASSES on the console says when")
        }
        Reason::Time | Reason::Hopeless | Reason::Queue | Reason::Overload | Reason::Server => {
            (binding(refusal, hearer), "SHOW LIMITS on the console names every limit")
        }
    };
    let [before, name, behind] = step;
    if refusal.retry_after.is_zero() {
        sentence![before, name, behind, " (", table, ")"]
    } else {
        sentence![before, name, behind, " (", table, "); retry after ", refusal.retry_after]
    }
}

/// What the limit that binds asks for, around the name it is about.
fn binding<'a>(refusal: &Refusal, Hearer { database, user, .. }: Hearer<'a>) -> [&'a str; 3] {
    let step = match refusal.binding {
        Limit::PoolSize | Limit::Reserve => {
            return ["find who holds the connections (SHOW SERVERS), then raise pools.", database, ".size"];
        }
        Limit::User => return ["users.", user, ".max_connections binds; raising the pool has no effect"],
        Limit::Database => return ["pools.", database, ".max_connections binds; raising size has no effect"],
        Limit::ClassShare => "the place is reserved for another class",
        Limit::HostBudget => "servers.NAME.max_connections binds; raising a pool has no effect",
        Limit::Connects => "connections are being opened as fast as is good for the server; try again",
        Limit::Breaker => "the server cannot be reached or refuses logins; raising a limit has no effect",
        Limit::MaxClients => "limits.max_clients binds",
        Limit::PgRole => "the role's CONNECTION LIMIT in PostgreSQL binds; raising a pool has no effect",
        Limit::PgDatabase => "the database's CONNECTION LIMIT in PostgreSQL binds; raising a pool has no effect",
        Limit::PgSlots => "PostgreSQL's max_connections binds; raising a pool has no effect",
        Limit::Fds => "the process's limit of open files binds",
        Limit::Memory => "limits.memory binds",
        Limit::QueueLength => "more requests wait than may; slow down and try again",
        Limit::WaitTime => "try again",
    };
    [step, "", ""]
}

/// What belongs to a transaction whose beginning was refused is refused with it.
pub(crate) fn torn(database: &str) -> Told<'static> {
    Told {
        sqlstate: "53300".into(),
        message: format!("pool \"{database}\": the beginning of this transaction was refused, and its rest with it")
            .into(),
        detail: Some("what is sent within 2s of a refused BEGIN may have been meant to run inside it".into()),
        hint: Some("begin the transaction again, or say ROLLBACK first".into()),
        theirs: None,
    }
}

/// A limit as it is written down.
pub(super) fn written(span: Duration) -> String {
    let millis = span.as_millis();
    match millis {
        1.. if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        1.. if millis.is_multiple_of(1000) => format!("{}s", millis / 1000),
        _ => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_shed_is_led_to_the_classes_and_who_is_not_to_the_limits() {
        let hearer =
            Hearer { database: "app", user: "web", class: "batch", patience: None, starting: false, draining: false };
        let hint = |reason| {
            let refusal = Refusal {
                reason,
                no_such_database: false,
                retry_after: Duration::from_millis(450),
                ..super::super::pool_is_gone()
            };
            told(&refusal, hearer).hint.unwrap().into_owned()
        };
        assert!(hint(Reason::Shed).ends_with("(SHOW CLASSES on the console says when); retry after 450ms"));
        assert!(hint(Reason::Overload).ends_with("(SHOW LIMITS on the console names every limit); retry after 450ms"));
    }
}
