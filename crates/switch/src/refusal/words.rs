//! A refusal of the core in words: the pool and the reason, numbers, and the next step.

use std::borrow::Cow;
use std::time::Duration;

use poolwarden_pool::{Limit, Reason, Refusal};

use super::Told;
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
    let pool = format!("pool \"{database}\"");
    match (refusal.reason, refusal.limit, refusal.failure.as_deref()) {
        (_, Limit::Breaker, Some(failure)) => format!("{pool}: no connection to the server: {}", failure.message),
        (_, Limit::Breaker, None) => format!("{pool}: no connection to the server"),
        (Reason::Queue, _, _) => format!("{pool}: the wait queue is full ({} waiting)", refusal.waiting),
        (Reason::Hopeless, _, _) => {
            let own = patience.filter(|own| *own < refusal.would_wait);
            let may = own.map_or_else(|| "its max_wait".to_owned(), |own| format!("the {} it may", spoken(own)));
            let wait = spoken(refusal.would_wait);
            format!("{pool}: would wait {wait} for a server connection, longer than {may}: refused at once")
        }
        (Reason::Overload, _, _) => format!(
            "{pool}: overloaded: no server connection within {}, and class \"{class}\" may wait no longer while it is",
            spoken(refusal.waited)
        ),
        (Reason::Shed, _, _) => format!("{pool}: class \"{class}\" is being shed by an operator"),
        (Reason::Time | Reason::Server, Limit::WaitTime, _) => {
            let longest = refusal.longest_pid.map_or(String::new(), |pid| format!(" by pid {pid}"));
            format!(
                "{pool}: no server connection within {} ({} of {} of {} used, {} lent; longest held {}{longest})",
                spoken(refusal.waited),
                refusal.used,
                refusal.size,
                refusal.binding.name(),
                refusal.lent,
                spoken(refusal.longest_held),
            )
        }
        (Reason::Time | Reason::Server, limit, _) => {
            format!("{pool}: refused by {} ({} of {} used)", limit.name(), refusal.used, refusal.size)
        }
    }
}

fn detail(refusal: &Refusal, Hearer { database, user, class, .. }: Hearer<'_>) -> String {
    let mut detail = format!(
        "pool={database} user={user} class={class} reason={} limit={} binding={} size={} used={} lent={} waiting={} waited={} \
         would_wait={} longest_held={}",
        refusal.reason.name(),
        refusal.limit.name(),
        refusal.binding.name(),
        refusal.size,
        refusal.used,
        refusal.lent,
        refusal.waiting,
        spoken(refusal.waited),
        spoken(refusal.would_wait),
        spoken(refusal.longest_held),
    );
    if let Some(failure) = refusal.failure.as_deref() {
        let sqlstate = String::from_utf8_lossy(&failure.sqlstate);
        detail.push_str(&format!(" server_sqlstate={sqlstate} server_message={}", failure.message));
    }
    detail
}

fn hint(refusal: &Refusal, hearer: Hearer<'_>) -> String {
    let (step, table) = match refusal.reason {
        Reason::Shed => {
            ("it ends by itself, or with SHED ... FOR '0s'".to_owned(), "SHOW CLASSES on the console says when")
        }
        Reason::Time | Reason::Hopeless | Reason::Queue | Reason::Overload | Reason::Server => {
            (binding(refusal, hearer), "SHOW LIMITS on the console names every limit")
        }
    };
    let again = if refusal.retry_after.is_zero() {
        String::new()
    } else {
        format!("; retry after {}", spoken(refusal.retry_after))
    };
    format!("{step} ({table}){again}")
}

/// What the limit that binds asks for.
fn binding(refusal: &Refusal, Hearer { database, user, .. }: Hearer<'_>) -> String {
    let named;
    let step = match refusal.binding {
        Limit::PoolSize | Limit::Reserve => {
            named = format!("find who holds the connections (SHOW SERVERS), then raise pools.{database}.size");
            &named
        }
        Limit::ClassShare => "the place is reserved for another class",
        Limit::User => {
            named = format!("users.{user}.max_connections binds; raising the pool has no effect");
            &named
        }
        Limit::Database => {
            named = format!("pools.{database}.max_connections binds; raising size has no effect");
            &named
        }
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
    step.to_owned()
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

/// A duration as people write it: 850ms, 2s, 41s, 12m.
pub(super) fn spoken(span: Duration) -> String {
    let millis = span.as_millis();
    match millis {
        0..1000 => format!("{millis}ms"),
        1000..10_000 if !millis.is_multiple_of(1000) => format!("{}.{}s", millis / 1000, millis % 1000 / 100),
        1000..120_000 => format!("{}s", millis / 1000),
        _ => format!("{}m", millis / 60_000),
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
