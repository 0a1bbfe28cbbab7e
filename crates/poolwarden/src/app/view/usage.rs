//! Leases, who waits and who used what, from the loops' reports; what several loops tell of the same name is one.

use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_pool::{HostId, PoolId, Time};
use poolwarden_relay::Doing;
use poolwarden_switch::{self as switch, LeaseRow, LoopReport, PoolShare, ServerRow, UsageName, UsageRow};
use poolwarden_watch::{LeaseState, LeaseView, UsageKind, UsageView, Used, WaiterView};

use super::Seen;
use super::rows::{ends, shown_address};

/// A lent server connection's lease.
pub(super) fn lease(seen: &Seen, server: &ServerRow, row: &LeaseRow) -> LeaseView {
    let (state, since) = match row.doing {
        Doing::Nothing { since } => (LeaseState::Idle, since),
        Doing::Request { since, .. } => (LeaseState::Active, since),
        Doing::IdleInTransaction { since, .. } => (LeaseState::IdleInTransaction, since),
    };
    let (held, on_server, idle_in_transaction) = server.times;
    let (addr, port) = ends(row.remote);
    let statement = row.statement.as_deref().filter(|statement| statement.fingerprint != 0);
    LeaseView {
        host: server.pool.host,
        pool: server.pool.id,
        client: row.client,
        application: row.application.clone(),
        addr,
        port,
        held_us: held / 1_000,
        state,
        state_us: micros(seen.now.since(Time::from_nanos(since))),
        on_server_us: on_server / 1_000,
        idle_in_transaction_us: idle_in_transaction / 1_000,
        route: statement.and_then(|statement| statement.route.as_ref()).map(|route| route.name.to_string()),
        fingerprint: statement.map_or(0, |statement| statement.fingerprint),
        query: statement.map(|statement| statement.text.to_string()).unwrap_or_default(),
    }
}

/// Who waits, groups of all loops together, largest first in each pool.
pub(super) fn waiters(seen: &Seen) -> Vec<WaiterView> {
    let mut groups: BTreeMap<_, WaiterView> = BTreeMap::new();
    for row in seen.reports.iter().flat_map(|report| &report.waiters) {
        let (host, pool) = place(&row.pool);
        let oldest_us = micros(seen.now.since(Time::from_nanos(row.since)));
        let group = groups.entry((host, pool, &row.application, row.remote)).or_insert_with(|| WaiterView {
            host,
            pool,
            application: row.application.clone(),
            addr: shown_address(row.remote),
            count: 0,
            oldest_us,
        });
        group.count += row.count;
        group.oldest_us = group.oldest_us.max(oldest_us);
    }
    let mut groups: Vec<WaiterView> = groups.into_values().collect();
    groups.sort_by_key(|group| (group.host, group.pool, std::cmp::Reverse(group.count)));
    groups
}

/// Who used what, sums of all loops together.
pub(super) fn usage(reports: &[LoopReport]) -> Vec<UsageView> {
    let mut names: BTreeMap<_, UsageView> = BTreeMap::new();
    for row in reports.iter().flat_map(|report| &report.usage) {
        let ((host, pool), (name, query)) = (place(&row.pool), named(row));
        let key = (host, pool, kind(row.kind), name);
        let view = names.entry(key).or_insert_with_key(|(.., kind, name)| UsageView {
            host,
            pool,
            kind: *kind,
            name: name.clone(),
            query: query.to_owned(),
            used: Used::default(),
        });
        add(&mut view.used, &row.used);
    }
    names.into_values().collect()
}

fn place(pool: &PoolShare) -> (HostId, PoolId) {
    (pool.host, pool.id)
}

/// The name, and of a statement its text.
fn named(row: &UsageRow) -> (Option<String>, &str) {
    match &row.name {
        None => (None, ""),
        Some(UsageName::Text(text)) => (Some(text.to_string()), ""),
        Some(UsageName::Query(statement)) => (Some(format!("{:016x}", statement.fingerprint)), &statement.text),
    }
}

fn kind(of: switch::UsageKind) -> UsageKind {
    match of {
        switch::UsageKind::Application => UsageKind::Application,
        switch::UsageKind::User => UsageKind::User,
        switch::UsageKind::Network => UsageKind::Network,
        switch::UsageKind::Route => UsageKind::Route,
        switch::UsageKind::Query => UsageKind::Query,
    }
}

fn add(to: &mut Used, of: &switch::Used) {
    to.leases += of.leases;
    to.held_us += of.held / 1_000;
    to.on_server_us += of.on_server / 1_000;
    to.idle_in_transaction_us += of.idle_in_transaction / 1_000;
    to.waited_us += of.waited / 1_000;
    to.refused += of.refused;
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
