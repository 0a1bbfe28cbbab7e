//! SHOW LISTS.

use poolwarden_watch::View;

use super::{Column, Kind, Rows, int, text};

pub(crate) const COLUMNS: [Column; 2] = [("list", Kind::Text), ("items", Kind::Int)];

/// Free objects and a DNS cache are PgBouncer's; there are none here.
pub(crate) fn rows(view: &View) -> Rows {
    let servers: u64 = view.hosts.iter().map(|host| u64::from(host.snapshot.used)).sum();
    let items = [
        ("databases", view.databases.len() as u64),
        ("users", view.users.len() as u64),
        ("peers", view.peers.len() as u64),
        ("pools", view.pools().count() as u64),
        ("peer_pools", view.peers.len() as u64),
        ("free_clients", 0),
        ("used_clients", view.process.clients.used),
        ("login_clients", view.process.logins.used),
        ("free_servers", 0),
        ("used_servers", servers),
        ("dns_names", 0),
        ("dns_zones", 0),
        ("dns_queries", 0),
        ("dns_pending", 0),
    ];
    Rows { columns: &COLUMNS, rows: items.into_iter().map(|(list, items)| vec![text(list), int(items)]).collect() }
}
