//! Clients, server connections and traffic, from the loops' reports.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use poolwarden_config::{Config, Host};
use poolwarden_pool::{PoolKey, Time};
use poolwarden_switch::{self as switch, ClientRow, LoopReport, PoolShare, ServerRow, Totals};
use poolwarden_watch::{ClientState, ClientView, PoolTraffic, ServerState, ServerView, SessionView, Traffic};

use super::Seen;

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
    };
    let ((addr, port), (local_addr, local_port)) = (ends(row.remote), ends(row.local));
    ClientView {
        id: row.serial,
        user: row.pool.key.user.clone(),
        database: row.pool.key.database.clone(),
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
        tls: String::new(),
        received: row.received as u64,
        session: session(&row.session),
    }
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
        (true, _) => ServerState::BeingCanceled,
        (false, switch::ServerState::Idle) => ServerState::Idle,
        (false, switch::ServerState::Active) => ServerState::Active,
        (false, switch::ServerState::Cleaning) => ServerState::Tested,
        (false, switch::ServerState::Ending) => ServerState::Ending,
    };
    let server = config.servers.get(usize::from(row.pool.host.0));
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
        database: row.pool.key.database.clone(),
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
        link: row.link,
        application_name: row.application_name.clone(),
        prepared_statements: count(row.statements),
        tls: String::new(),
        session: session(&row.session),
    }
}

/// One entry per pool, the loops' totals added up.
pub(super) fn traffic(config: &Config, reports: &[LoopReport]) -> Vec<PoolTraffic> {
    let mut pools = BTreeMap::new();
    for (pool, totals) in reports.iter().flat_map(|report| &report.totals) {
        let entry = pools.entry((pool.host, pool.id)).or_insert_with(|| unused(config, pool));
        entry.totals = entry.totals.plus(&convert(totals));
    }
    pools.into_values().collect()
}

fn unused(config: &Config, pool: &PoolShare) -> PoolTraffic {
    let key: PoolKey = pool.key.clone();
    let own = config.pool(&key.database).and_then(|pool| pool.database.clone());
    PoolTraffic {
        host: usize::from(pool.host.0),
        pool: pool.id,
        server_database: own.unwrap_or_else(|| key.database.clone()),
        key,
        totals: Traffic::default(),
        recent: Traffic::default(),
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
    }
}

/// Address and port; a unix socket has neither.
fn ends(address: Option<SocketAddr>) -> (String, u16) {
    address.map_or(("unix".to_owned(), 0), |address| (address.ip().to_canonical().to_string(), address.port()))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
