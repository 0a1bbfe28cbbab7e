//! SHOW FDS: PgBouncer hands its sockets and secrets to its successor through this table. Nobody succeeds poolwarden that
//! way, so descriptors, cancel keys, passwords and SCRAM keys are NULL: nothing secret leaves the process.

use poolwarden_watch::{SessionView, View};

use super::{Column, Kind, Row, Rows, int, text};

pub(crate) const COLUMNS: [Column; 15] = [
    ("fd", Kind::Int),
    ("task", Kind::Text),
    ("user", Kind::Text),
    ("database", Kind::Text),
    ("addr", Kind::Text),
    ("port", Kind::Int),
    ("cancel", Kind::Long),
    ("link", Kind::Int),
    ("client_encoding", Kind::Text),
    ("std_strings", Kind::Text),
    ("datestyle", Kind::Text),
    ("timezone", Kind::Text),
    ("password", Kind::Text),
    ("scram_client_key", Kind::Bytes),
    ("scram_server_key", Kind::Bytes),
];

pub(crate) fn rows(view: &View) -> Rows {
    let clients = view.clients.iter().map(|of| row(["client", &of.user, &of.database, &of.addr], of.port, &of.session));
    let servers = view.servers.iter().map(|of| row(["server", &of.user, &of.database, &of.addr], of.port, &of.session));
    Rows { columns: &COLUMNS, rows: clients.chain(servers).collect() }
}

fn row([task, user, database, addr]: [&str; 4], port: u16, session: &SessionView) -> Row {
    let SessionView { client_encoding, std_strings, datestyle, timezone } = session.clone();
    let mut row = vec![None, text(task), text(user), text(database), text(addr), int(port), None, None];
    row.extend([client_encoding, std_strings, datestyle, timezone, None, None, None]);
    row
}
