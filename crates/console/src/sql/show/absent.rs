//! PgBouncer's tables about things that do not exist here: its columns, never a row.

use poolwarden_watch::View;

use super::{Column, Kind, Rows};

pub(crate) const PEERS: [Column; 4] =
    [("peer_id", Kind::Int), ("host", Kind::Text), ("port", Kind::Int), ("pool_size", Kind::Int)];
pub(crate) const PEER_POOLS: [Column; 5] = [
    ("peer_id", Kind::Int),
    ("cl_active_cancel_req", Kind::Int),
    ("cl_waiting_cancel_req", Kind::Int),
    ("sv_active_cancel", Kind::Int),
    ("sv_login", Kind::Int),
];
pub(crate) const DNS_HOSTS: [Column; 3] = [("hostname", Kind::Text), ("ttl", Kind::Long), ("addrs", Kind::Text)];
pub(crate) const DNS_ZONES: [Column; 3] = [("zonename", Kind::Text), ("serial", Kind::Long), ("count", Kind::Int)];

pub(crate) fn peers(_: &View) -> Rows {
    Rows { columns: &PEERS, rows: Vec::new() }
}

pub(crate) fn peer_pools(_: &View) -> Rows {
    Rows { columns: &PEER_POOLS, rows: Vec::new() }
}

pub(crate) fn dns_hosts(_: &View) -> Rows {
    Rows { columns: &DNS_HOSTS, rows: Vec::new() }
}

pub(crate) fn dns_zones(_: &View) -> Rows {
    Rows { columns: &DNS_ZONES, rows: Vec::new() }
}
