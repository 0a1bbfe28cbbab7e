//! PgBouncer's tables about things that do not exist here: its columns, never a row.

use poolwarden_watch::View;

use super::{Column, Kind, Rows};

pub(crate) const DNS_HOSTS: [Column; 3] = [("hostname", Kind::Text), ("ttl", Kind::Long), ("addrs", Kind::Text)];
pub(crate) const DNS_ZONES: [Column; 3] = [("zonename", Kind::Text), ("serial", Kind::Long), ("count", Kind::Int)];

pub(crate) fn dns_hosts(_: &View) -> Rows {
    Rows { columns: &DNS_HOSTS, rows: Vec::new() }
}

pub(crate) fn dns_zones(_: &View) -> Rows {
    Rows { columns: &DNS_ZONES, rows: Vec::new() }
}
