//! Transactions in which nothing happens. From 5 s on they are counted and said, once each; from 60 s on they are ended while
//! somebody waits for their pool, unless a limit was written down for them, or that they have none.
//!
//! Looked at are the server connections that are lent, once a second: they are few, however many clients there are.

use core::net::SocketAddr;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use poolwarden_pool::{Guard, PoolKey, Time};
use poolwarden_relay::{Doing, Keep};

use crate::io::Io;
use crate::refusal;
use crate::server::{ServerSlot, Standing};
use crate::switch::Switch;

/// From then on it is said.
const SAID: Duration = Duration::from_secs(5);
/// From then on it is ended while others wait.
const ENDED: Duration = Duration::from_secs(60);
/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);
/// Idlers kept until somebody takes them; the pool's numbers count the others.
const MOST: usize = 256;

/// A client whose transaction was found idle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idler {
    /// The client's number.
    pub serial: u64,
    /// Its database and user.
    pub key: PoolKey,
    /// Where it comes from; `None` is a unix socket.
    pub remote: Option<SocketAddr>,
    /// What it calls itself.
    pub application: String,
    /// PostgreSQL's process.
    pub pid: Option<u32>,
    /// For how long.
    pub idle: Duration,
    /// What became of it.
    pub end: IdlerEnd,
}

/// What became of a client whose transaction was found idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdlerEnd {
    /// Nothing.
    Warned,
    /// It was ended, because others waited.
    Ended,
    /// It would have been ended, but for `guard = "observe"`.
    Spared,
}

/// The idlers nobody has taken yet.
#[derive(Debug, Default)]
pub(crate) struct Idlers(Mutex<VecDeque<Idler>>);

impl Idlers {
    fn add(&self, idler: Idler) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MOST {
            kept.push_back(idler);
        }
    }

    pub(crate) fn take(&self) -> Vec<Idler> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}

/// Of which transaction of a server connection what was done, by the moment it began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    warned: Option<u64>,
    spared: Option<u64>,
}

impl<L> Switch<L> {
    /// When to look next.
    pub(crate) fn next_look(&self) -> Time {
        self.looked_at + EVERY
    }

    /// Looks for idle transactions.
    pub(crate) fn look_for_idlers<I: Io<Link = L>>(&mut self, now: Time, io: &mut I) {
        self.looked_at = now;
        let found: Vec<_> = self.servers.iter().filter_map(|(key, slot)| Some((key, idles(now, slot)?))).collect();
        for (server, idle) in found {
            self.meet(now, server, idle, io);
        }
    }

    /// Does with one idle transaction what is to be done.
    fn meet<I: Io<Link = L>>(&mut self, now: Time, server: u32, idle: Idle, io: &mut I) {
        let (Some(slot), Some(client)) = (self.servers.at_mut(server), self.clients.at(idle.client)) else { return };
        let marks = &mut slot.marks;
        let warns = marks.warned != Some(idle.transaction);
        marks.warned = Some(idle.transaction);
        let mut end = IdlerEnd::Warned;
        if idle.span >= ENDED && slot.pool.others_wait() {
            let book = self.shared.book();
            let limits = book.limits(client.asked_for(), (client.claim.base, client.claim.class));
            let spared = marks.spared == Some(idle.transaction);
            end = match book.guard {
                _ if !limits.leaves_idling_to_the_rule() => IdlerEnd::Warned,
                Guard::Enforce => IdlerEnd::Ended,
                Guard::Observe if spared => IdlerEnd::Warned,
                Guard::Observe => IdlerEnd::Spared,
            };
            if end == IdlerEnd::Spared {
                marks.spared = Some(idle.transaction);
            }
        }
        if !warns && end == IdlerEnd::Warned {
            return;
        }
        self.shared.idlers.add(Idler {
            serial: client.serial,
            key: PoolKey { database: client.pool.key.database.clone(), user: client.user().to_owned() },
            remote: client.remote,
            application: client.relay.settings.value("application_name").unwrap_or_default().to_owned(),
            pid: slot.relay.pid,
            idle: idle.span,
            end,
        });
        let pool = slot.pool.clone();
        let totals = self.count(&pool);
        totals.idle_warned += u64::from(warns);
        totals.idle_ended += u64::from(end == IdlerEnd::Ended);
        totals.idle_spared += u64::from(end == IdlerEnd::Spared);
        if end == IdlerEnd::Ended {
            self.dismiss(now, idle.client, &refusal::idled(idle.span), io);
        }
    }
}

/// An idle transaction.
struct Idle {
    client: u32,
    span: Duration,
    /// When it began.
    transaction: u64,
}

/// The transaction of a server connection, if it has been idle long enough to be spoken of.
fn idles(now: Time, slot: &ServerSlot) -> Option<Idle> {
    let Standing::Leased { client } = slot.standing else { return None };
    if slot.relay.keep() == Keep::Tunnel {
        return None; // it is nobody else's
    }
    let Doing::IdleInTransaction { since, transaction } = slot.relay.doing() else { return None };
    let span = now.since(Time::from_nanos(since));
    (span >= SAID).then_some(Idle { client, span, transaction })
}
