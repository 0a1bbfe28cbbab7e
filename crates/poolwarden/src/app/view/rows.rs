//! Clients, server connections and traffic, from the loops' reports.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use poolwarden_config::{Config, Host};
use poolwarden_pool::{PoolKey, Time};
use poolwarden_relay::Pin;
use poolwarden_switch::{self as switch, ClientRow, LoopReport, PoolShare, ServerRow, Totals};
use poolwarden_watch::{
    ClientState, ClientView, PinView, PoolTraffic, ServerState, ServerView, SessionStateView, SessionView, Traffic,
};

use super::{Seen, usage};

pub(super) fn clients(seen: &Seen) -> Vec<ClientView> {
    let rows = seen.reports.iter().flat_map(|report| &report.clients);
    rows.map(|row| client(seen, row)).collect()
}

fn client(seen: &Seen, row: &ClientRow) -> ClientView {
    let (state, waited) = match row.state {
        switch::ClientState::Idle => (ClientState::Idle, 0),
        switch::ClientState::Waiting => {
            let waited = seen.now.since(Time::from_nanos(row.requested_at));
            (ClientState::Waiting, u64::try_from(waited.as_micros()).unwrap_or(u64::MAX))
        }
        switch::ClientState::Active => (ClientState::Active, 0),
        switch::ClientState::CancelWaiting => (ClientState::WaitingCancelReq, 0),
        switch::ClientState::CancelActive => (ClientState::ActiveCancelReq, 0),
    };
    let ((addr, port), (local_addr, local_port)) = (ends(row.remote), ends(row.local));
    ClientView {
        id: row.serial,
        user: row.user.clone(),
        database: shown(&row.pool),
        state,
        addr,
        port,
        local_addr,
        local_port,
        connected_at_ms: seen.unix_ms(row.connected_at),
        requested_at_ms: seen.unix_ms(row.requested_at),
        wait_us: waited,
        application_name: row.application_name.clone(),
        link: row.link,
        remote_pid: None,
        prepared_statements: count(row.statements),
        tls: row.tls.as_deref().unwrap_or_default().to_owned(),
        received: row.received as u64,
        session: session(&row.session),
    }
}

/// The database of a pool as it is listed: replication has a row of its own.
fn shown(pool: &PoolShare) -> String {
    if pool.is_alone() { super::replicating(&pool.key.database) } else { pool.key.database.clone() }
}

/// In the order in which the switch reports them.
fn session([client_encoding, std_strings, datestyle, timezone]: &[Option<String>; 4]) -> SessionView {
    SessionView {
        client_encoding: client_encoding.clone(),
        std_strings: std_strings.clone(),
        datestyle: datestyle.clone(),
        timezone: timezone.clone(),
    }
}

pub(super) fn servers(config: &Config, seen: &Seen) -> Vec<ServerView> {
    let rows = seen.reports.iter().flat_map(|report| &report.servers);
    rows.map(|row| server(config, seen, row)).collect()
}

fn server(config: &Config, seen: &Seen, row: &ServerRow) -> ServerView {
    let state = match (row.fenced, row.state) {
        (true, switch::ServerState::Idle) => ServerState::BeingCanceled, // it could be lent, but for the cancel request in the air
        (false, switch::ServerState::Idle) => ServerState::Idle,
        (_, switch::ServerState::Active) => ServerState::Active,
        (_, switch::ServerState::Cleaning) => ServerState::Tested,
        (_, switch::ServerState::Ending) => ServerState::Ending,
    };
    let server = config.servers.iter().find(|server| server.id == row.pool.host);
    let socket = |server: &poolwarden_config::Server| match &server.host {
        Host::Socket(_) => Some(server.port),
        Host::Name(_) | Host::Address(_) => None,
    };
    let (addr, port) = match row.remote {
        Some(remote) => ends(Some(remote)),
        None => ("unix".to_owned(), server.and_then(socket).unwrap_or(0)),
    };
    let (local_addr, local_port) = ends(row.local);
    ServerView {
        id: row.serial,
        user: row.pool.key.user.clone(),
        database: shown(&row.pool),
        state,
        addr,
        port,
        local_addr,
        local_port,
        connected_at_ms: seen.unix_ms(row.opened_at),
        requested_at_ms: seen.unix_ms(row.used_at),
        close_needed: row.state == switch::ServerState::Ending
            || seen.said.is_replaced(&row.pool.key.database, Time::from_nanos(row.opened_at)),
        remote_pid: row.pid,
        link: row.lease.as_ref().map(|lease| lease.client),
        application_name: row.application_name.clone(),
        prepared_statements: count(row.statements),
        tls: row.tls.as_deref().unwrap_or_default().to_owned(),
        session: session(&row.session),
        lease: row.lease.as_ref().map(|lease| usage::lease(seen, row, lease)),
    }
}

/// Server connections that stay with their clients beyond a transaction.
pub(super) fn pins(seen: &Seen) -> Vec<PinView> {
    let servers = seen.reports.iter().flat_map(|report| &report.servers);
    let pinned = servers.filter(|row| !row.pins.0.is_empty()).filter_map(|row| {
        let lease = row.lease.as_ref()?;
        let (addr, port) = ends(lease.remote);
        Some(PinView {
            host: row.pool.host,
            database: shown(&row.pool),
            user: row.pool.key.user.clone(),
            client: lease.client,
            addr,
            port,
            application_name: lease.application.clone(),
            remote_pid: row.pid,
            reason: row.pins.0.to_string(),
            since_ms: seen.unix_ms(row.pins.1),
            held_us: row.times.0 / 1_000,
        })
    });
    pinned.collect()
}

/// What each kind of session state meant in each pool; kinds that never mattered there have no entry.
pub(super) fn session_state(reports: &[LoopReport]) -> Vec<SessionStateView> {
    let mut kinds: BTreeMap<_, SessionStateView> = BTreeMap::new();
    let mut add = |pool: &PoolShare, at: usize, (pinned, pins, refused): (u64, u64, u64)| {
        if (pinned, pins, refused) == (0, 0, 0) {
            return;
        }
        let entry = kinds.entry((pool.host, pool.id, at)).or_insert_with(|| SessionStateView {
            host: pool.host,
            pool: pool.id,
            reason: Pin::ALL[at].name(),
            pinned: 0,
            pins: 0,
            refused: 0,
        });
        entry.pinned += pinned;
        entry.pins += pins;
        entry.refused += refused;
    };
    for (pool, totals) in reports.iter().flat_map(|report| &report.totals) {
        for at in 0..Pin::ALL.len() {
            add(pool, at, (0, totals.state.pinned[at], totals.state.refused[at]));
        }
    }
    for (pool, counts) in reports.iter().flat_map(|report| &report.pinned) {
        for (at, count) in counts.iter().enumerate() {
            add(pool, at, (u64::from(*count), 0, 0));
        }
    }
    kinds.into_values().collect()
}

/// One entry per pool, the loops' totals added up.
pub(super) fn traffic(config: &Config, reports: &[LoopReport]) -> Vec<PoolTraffic> {
    let mut pools = BTreeMap::new();
    for (pool, totals) in reports.iter().flat_map(|report| &report.totals) {
        let entry = pools.entry((pool.host, pool.id)).or_insert_with(|| unused(config, pool));
        entry.totals = entry.totals.plus(&convert(totals));
        add(&mut entry.query, &totals.spans.query.0);
        add(&mut entry.idle_in_transaction, &totals.spans.idle_in_transaction.0);
    }
    pools.into_values().collect()
}

fn add(sum: &mut [u64; 16], more: &[u64; 16]) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

fn unused(config: &Config, pool: &PoolShare) -> PoolTraffic {
    let key: PoolKey = pool.key.clone();
    let own = config.pool(&key.database).and_then(|pool| pool.database.clone());
    PoolTraffic {
        host: pool.host,
        pool: pool.id,
        server_database: own.unwrap_or_else(|| key.database.clone()),
        key,
        totals: Traffic::default(),
        recent: Traffic::default(),
        query: [0; 16],
        idle_in_transaction: [0; 16],
    }
}

fn convert(of: &Totals) -> Traffic {
    Traffic {
        xact_count: of.transactions,
        query_count: of.queries,
        bytes_received: of.to_server,
        bytes_sent: of.to_client,
        xact_time_us: of.on_server_nanos.saturating_add(of.idle_in_transaction_nanos) / 1_000,
        query_time_us: of.on_server_nanos / 1_000,
        wait_time_us: of.waited_nanos / 1_000,
        client_parse_count: of.client_parses,
        server_parse_count: of.server_parses,
        bind_count: of.binds,
        client_login_count: of.logins,
        server_assignment_count: of.assignments,
        idle_in_transaction_us: of.idle_in_transaction_nanos / 1_000,
        idle_warned: of.idle_warned,
        idle_ended: of.idle_ended,
        idle_spared: of.idle_spared,
    }
}

/// Address and port; a unix socket has neither.
pub(super) fn ends(address: Option<SocketAddr>) -> (String, u16) {
    (shown_address(address.map(|address| address.ip())), address.map_or(0, |address| address.port()))
}

pub(super) fn shown_address(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "unix".to_owned(), |address| address.to_canonical().to_string())
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
