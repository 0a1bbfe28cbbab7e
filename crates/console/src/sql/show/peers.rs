//! SHOW PEERS and SHOW PEER_POOLS: the other instances, and the cancel requests on their way there.

use poolwarden_watch::{PeerView, View};

use super::{Column, Kind, Row, Rows, int, text};

pub(crate) const PEERS: [Column; 4] =
    [("peer_id", Kind::Int), ("host", Kind::Text), ("port", Kind::Int), ("pool_size", Kind::Int)];
pub(crate) const PEER_POOLS: [Column; 5] = [
    ("peer_id", Kind::Int),
    ("cl_active_cancel_req", Kind::Int),
    ("cl_waiting_cancel_req", Kind::Int),
    ("sv_active_cancel", Kind::Int),
    ("sv_login", Kind::Int),
];

/// Every request has a connection of its own, so no pool of them has a size.
pub(crate) fn peers(view: &View) -> Rows {
    let row = |peer: &PeerView| -> Row { vec![int(peer.id), text(&peer.host), int(peer.port), None] };
    Rows { columns: &PEERS, rows: view.peers.iter().map(row).collect() }
}

pub(crate) fn peer_pools(view: &View) -> Rows {
    let row = |peer: &PeerView| -> Row {
        vec![int(peer.id), int(peer.active), int(peer.waiting), int(peer.active), int(0_u64)]
    };
    Rows { columns: &PEER_POOLS, rows: view.peers.iter().map(row).collect() }
}
