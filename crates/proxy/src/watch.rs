//! The watch connection: one per server, open from the start, asking PostgreSQL's own views what only it can tell.
//!
//! It is asked more often while it matters: while slots are scarce, and while requests wait.

mod activity;
mod question;

use std::sync::Arc;
use std::time::Duration;

use poolwarden_switch::Detail;
use poolwarden_switch::pool::{ConnectFailure, Failure, HostId, Input, Limit};
use poolwarden_switch::relay::login::{Credentials, Password};
use poolwarden_switch::relay::pgwire::password::Plain;

pub use activity::{Activity, Backend, BackendState, MAX_BACKENDS, MAX_QUERY, Quota};

use crate::connect;
use crate::inner::{Inner, Watched, held};
use question::{Answer, SESSION, ask};

/// PostgreSQL is asked this often.
const EVERY: Duration = Duration::from_secs(5);
/// And so often while slots are scarce or requests wait.
const HURRIED: Duration = Duration::from_secs(1);
/// Somebody who begins to wait is seen after this at most: together with the answer it is less than a second.
const LOOK: Duration = Duration::from_millis(250);
/// An answer that takes longer means that the connection is of no use.
const PATIENCE: Duration = Duration::from_secs(10);
/// A lost connection is tried again after this.
const AGAIN: Duration = Duration::from_secs(5);
/// Where PostgreSQL was full, a slot is soon free, and it is then that its view is wanted most.
const AGAIN_WHEN_FULL: Duration = Duration::from_secs(2);

/// Why the connection is not there.
struct Lost {
    why: String,
    again: Duration,
}

impl Lost {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), again: AGAIN }
    }

    /// It could not be opened: with what to configure, where that would help.
    fn refused(failure: &ConnectFailure, server: &str, user: &str) -> Self {
        let (message, watch) = (&failure.message, format!("servers.{server}.watch"));
        let (fix, again) = match failure.kind {
            Failure::Capacity(Limit::PgSlots) => {
                let fix = format!(
                    "grant pg_use_reserved_connections to {user} (PostgreSQL 16 and later), or lower servers.{server}.max_connections, \
                     so that a slot is left for it"
                );
                (fix, AGAIN_WHEN_FULL)
            }
            Failure::Capacity(Limit::PgRole) => (format!("raise the CONNECTION LIMIT of role {user}"), AGAIN_WHEN_FULL),
            Failure::Capacity(Limit::PgDatabase) => {
                (format!("name another database in {watch}.database"), AGAIN_WHEN_FULL)
            }
            Failure::Password { .. } => (format!("check {watch}.user and {watch}.password_env"), AGAIN),
            Failure::Database => (format!("check {watch}.database and the rights of {user}"), AGAIN),
            Failure::Capacity(_) | Failure::Down => return Self::new(&**message),
        };
        Self { why: format!("{message}; {fix}"), again }
    }
}

/// Asks until the process stops, or nobody wants to know any more.
pub(crate) async fn run(inner: Arc<Inner>, host: HostId, told: Arc<Watched>) {
    let mut closing = inner.closing.subscribe();
    loop {
        let lost = tokio::select! {
            lost = stay(&inner, host, &told) => lost,
            _ = closing.wait_for(|closing| *closing) => return,
        };
        *held(&told.error) = Some(lost.why);
        *held(&told.facts) = None;
        *held(&told.activity) = None;
        tokio::select! {
            () = tokio::time::sleep(lost.again) => {}
            _ = closing.wait_for(|closing| *closing) => return,
        }
    }
}

/// Connects and asks until something goes wrong; returns what.
async fn stay(inner: &Inner, host: HostId, told: &Watched) -> Lost {
    let Some(plan) = inner.plan(host) else { return Lost::new("the server is not configured") };
    let Some(login) = plan.watch.clone() else {
        return Lost::new(format!(
            "no [servers.{}.watch] user is configured: PostgreSQL's own limits and backends are not seen; \
             name a user with role pg_monitor there",
            plan.name
        ));
    };
    let configured = login.password.is_some();
    let password = login.password.map(|password| Password::Plain(Plain::new(&password), None));
    let settings = SESSION.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let user = login.user.clone();
    let credentials = Credentials { user: login.user, database: login.database, password, settings };
    let session = connect::session(inner, host, &plan, credentials, configured);
    let mut stream = match tokio::time::timeout(PATIENCE, session).await {
        Ok(Ok((stream, _))) => stream,
        Ok(Err(failure)) => return Lost::refused(&failure, &plan.name, &user),
        Err(_) => return Lost::new(format!("no answer from {} within {PATIENCE:?}", plan.address)),
    };
    loop {
        let asked_at = inner.clock.now();
        let mut answer = match tokio::time::timeout(PATIENCE, ask(&mut stream)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => return Lost::new(why),
            Err(_) => return Lost::new(format!("no answer within {PATIENCE:?}")),
        };
        answer.activity.seen_at = inner.clock.now();
        let took = answer.activity.seen_at.since(asked_at);
        answer.activity.took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let is_scarce = answer.activity.is_scarce();
        let blind = (!answer.sees_all)
            .then(|| format!("role {user} sees no other role's backends; run: grant pg_monitor to {user}"));
        publish(inner, (host, told), answer, blind).await;
        rest(inner, host, is_scarce).await;
    }
}

/// Until the next question is due.
async fn rest(inner: &Inner, host: HostId, is_scarce: bool) {
    let began = tokio::time::Instant::now();
    loop {
        tokio::time::sleep(LOOK).await;
        let since = began.elapsed();
        if since >= EVERY || since >= HURRIED && (is_scarce || inner.shared.waiting(host) > 0) {
            return;
        }
    }
}

async fn publish(inner: &Inner, (host, watched): (HostId, &Watched), answer: Answer, blind: Option<String>) {
    let Answer { mut facts, mut activity, sees_all: _ } = answer;
    let reports = inner.reports(Detail::Servers).await;
    let servers = reports.iter().flat_map(|report| &report.servers);
    let mut own: Vec<u32> = servers.filter(|row| row.pool.host == host).filter_map(|row| row.pid).collect();
    own.sort_unstable();
    let is_own = |pid: &u32| own.binary_search(pid).is_ok();
    activity.backends.iter_mut().for_each(|backend| backend.own = is_own(&backend.pid));
    let others = facts.pids.iter().filter(|pid| !is_own(pid)).count();
    facts.others = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1); // and the watch connection itself
    if reports.len() < inner.doors.len()
        && let Some(before) = &*held(&watched.facts)
    {
        facts.others = before.others; // a loop is late, and its connections are not others'
    }
    *held(&watched.error) = blind;
    *held(&watched.facts) = Some(facts.clone());
    *held(&watched.activity) = Some(Arc::new(activity));
    inner.drive(host, Input::Facts(facts));
}
