//! SHOW SOCKETS and SHOW ACTIVE_SOCKETS: clients and server connections, and what they have in flight.

use poolwarden_watch::{ClientState, ClientView, ServerState, ServerView, View};

use super::{Column, Kind, Row, Rows, clients, int, servers};

const OWN: usize = clients::COLUMNS.len();

pub(crate) const COLUMNS: [Column; OWN + 7] = {
    let mut columns = [("", Kind::Int); OWN + 7];
    let mut at = 0;
    while at < OWN {
        columns[at] = clients::COLUMNS[at];
        at += 1;
    }
    let debug = ["recv_pos", "pkt_pos", "pkt_remain", "send_pos", "send_remain", "pkt_avail", "send_avail"];
    while at < OWN + 7 {
        columns[at].0 = debug[at - OWN];
        at += 1;
    }
    columns
};

pub(crate) fn rows(view: &View) -> Rows {
    let clients = view.clients.iter().map(client);
    Rows { columns: &COLUMNS, rows: clients.chain(view.servers.iter().map(server)).collect() }
}

pub(crate) fn active(view: &View) -> Rows {
    let clients = view.clients.iter().filter(|of| of.state != ClientState::Idle).map(client);
    let servers = view.servers.iter().filter(|of| of.state != ServerState::Idle).map(server);
    Rows { columns: &COLUMNS, rows: clients.chain(servers).collect() }
}

fn client(of: &ClientView) -> Row {
    let mut row = clients::row(of);
    row[clients::STATE] = Some(format!("cl_{}", of.state.name()));
    debug(row, of.received)
}

fn server(of: &ServerView) -> Row {
    let mut row = servers::row(of);
    row[clients::STATE] = Some(format!("sv_{}", of.state.name()));
    debug(row, 0)
}

/// Of PgBouncer's seven positions in its fixed buffer there is only one here: a client's bytes that wait for a server
/// connection. What has been forwarded stands in no buffer of a connection's own, and the others are 0.
fn debug(mut row: Row, received: u64) -> Row {
    row.extend([0, 0, 0, 0, 0, received, 0].map(|bytes: u64| int(bytes)));
    row
}
