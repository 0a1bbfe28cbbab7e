//! The PostgreSQL servers that connection strings name: each (host, port) once, by a name that says where it is.

use super::super::ini::Spot;
use super::super::sheet::Line;
use super::super::toml::Path;
use super::{Translation, duration, endless};

/// PgBouncer has no budget per server; this many are PostgreSQL's own business to refuse.
const NO_BUDGET: &str = "10000";

/// Where a connection string leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: i64,
    pub(super) host_spot: Option<Spot>,
    pub(super) port_spot: Option<Spot>,
}

impl Target {
    /// The server's name: its host, with the port where it is not the usual one.
    pub(super) fn name(&self) -> String {
        let host = if self.host.starts_with('/') { "local" } else { self.host.as_str() };
        let host = if self.host.starts_with('/') && self.host_spot.is_some() { self.host.as_str() } else { host };
        if self.port == 5432 { host.to_owned() } else { format!("{host}:{}", self.port) }
    }
}

impl Translation<'_> {
    /// `None`: what it says was refused.
    pub(super) fn target(&mut self, line: &Line) -> Option<Target> {
        let port = line.given.leading("port").unwrap_or(5432);
        if !(1..=65_535).contains(&port) {
            let spot = line.given.spot("port").unwrap_or(&line.name.spot).clone();
            self.ini.error("wrong-value", &spot, format!("port={port} is no port"), "write port=5432".to_owned());
            return None;
        }
        let (host_spot, port_spot) = (line.given.spot("host").cloned(), line.given.spot("port").cloned());
        let Some(host) = line.given.text("host") else {
            let dir = self.text("unix_socket_dir");
            let host = if dir.is_empty() { "/tmp".to_owned() } else { self.path(dir) };
            return Some(Target { host, port, host_spot: None, port_spot });
        };
        let spot = host_spot.clone().unwrap_or_else(|| line.name.spot.clone());
        let refusal = if host.contains(',') {
            Some(("a list of hosts is not served", "name one of them, or a name that resolves to all of them"))
        } else if host.starts_with('@') {
            Some(("sockets without a file are not served", "write the socket's directory"))
        } else {
            None
        };
        if let Some((why, fix)) = refusal {
            self.ini.error("refused", &spot, format!("host={host}: {why}"), fix.to_owned());
            return None;
        }
        Some(Target { host: host.to_owned(), port, host_spot, port_spot })
    }

    pub(super) fn server(&mut self, target: &Target) {
        let table = Path::named("servers", &target.name());
        self.toml.text_of(&table, "host", &target.host, target.host_spot.as_ref());
        self.toml.put(&table, "port", target.port.to_string(), target.port_spot.as_ref());
        self.toml.put(&table, "max_connections", NO_BUDGET.to_owned(), None);
        let users = self.number("max_user_connections");
        if users > 0 {
            let spot = self.spot("max_user_connections");
            self.toml.put(&table, "max_user_connections", users.min(262_143).to_string(), spot.as_ref());
        }
        let timeout = endless(self.seconds("server_connect_timeout"));
        let spot = self.spot("server_connect_timeout");
        self.toml.put(&table, "connect_timeout", duration(timeout), spot.as_ref());
        self.server_tls(&table, target.host.starts_with('/'));
        self.server_tcp(&table);
    }

    /// As in PgBouncer, nothing over a unix socket.
    fn server_tls(&mut self, table: &Path, is_socket: bool) {
        let mode = self.text("server_tls_sslmode").to_ascii_lowercase();
        if is_socket || mode == "disable" {
            let spot = self.spot("server_tls_sslmode");
            self.toml.text_of(table, "tls", "disable", spot.as_ref());
            return;
        }
        let spot = self.spot("server_tls_sslmode");
        self.toml.text_of(table, "tls", &mode, spot.as_ref());
        self.put_path(table, "tls_ca", "server_tls_ca_file");
        self.put_path(table, "tls_certificate", "server_tls_cert_file");
        self.put_path(table, "tls_key", "server_tls_key_file");
        self.tls_version(table, "tls_min_version", "server_tls_protocols");
    }

    fn server_tcp(&mut self, table: &Path) {
        let idle = self.number("tcp_keepidle").max(0);
        if !self.flag("tcp_keepalive") {
            let spot = self.spot("tcp_keepalive");
            self.toml.put(table, "keepalive", "\"0s\"".to_owned(), spot.as_ref());
        } else if idle > 0 {
            let spot = self.spot("tcp_keepidle");
            self.toml.put(table, "keepalive", format!("\"{idle}s\""), spot.as_ref());
        }
        let millis = self.number("tcp_user_timeout").max(0);
        if millis > 0 {
            let spot = self.spot("tcp_user_timeout");
            self.toml.put(table, "tcp_user_timeout", format!("\"{millis}ms\""), spot.as_ref());
        }
    }
}
