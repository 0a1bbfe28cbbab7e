//! libpq as psycopg brings it: what its settings for TLS and the protocol make of a connection.

use std::net::SocketAddr;

use crate::bed::Bed;
use crate::client;
use crate::template::PASSWORD;

/// What became of each connection string, in order: `tls VERSION` (of the protocol, 30000 for 3.0), `clear`, or `failed MESSAGE`.
/// Each names what matters to the test; the login is the usual one unless it says otherwise.
#[must_use]
#[track_caller]
pub fn attempts(bed: &Bed, address: SocketAddr, strings: &[String]) -> Vec<String> {
    let mut command = client::command(client::installed("python/bin/python"), bed);
    command.env_remove("PGSSLMODE").arg("-B").arg(client::script("python/tls_client.py"));
    let (ip, port) = (address.ip(), address.port());
    let usual = format!("hostaddr={ip} port={port} user=app dbname=app password={PASSWORD}");
    command.args(strings.iter().map(|string| format!("{usual} {string}")));
    let (ended, said) = client::run(&mut command);
    let lines: Vec<String> = said.lines().map(str::to_string).collect();
    assert!(ended && lines.len() == strings.len(), "psycopg said:\n{said}");
    lines
}
