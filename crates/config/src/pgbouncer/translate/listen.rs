//! Where clients connect: addresses, socket, TLS, and the HTTP port beside them.

use core::net::{IpAddr, SocketAddr};

use super::super::toml::Path;
use super::Translation;

/// HTTP listens this far above PgBouncer's port: 9432 beside 6432, so that several inis on one host keep apart.
const HTTP_ABOVE: u16 = 3000;

impl Translation<'_> {
    pub(super) fn listen(&mut self) {
        let table = Path::top("listen");
        let port = u16::try_from(self.bounded("listen_port", 1, 65_535)).unwrap_or(6432);
        let mut addresses: Vec<String> = Vec::new();
        for name in self.list("listen_addr") {
            match self.resolved(&name) {
                Ok(found) => addresses.extend(found.into_iter().map(|ip| SocketAddr::new(ip, port).to_string())),
                Err(why) => {
                    let message = format!("listen_addr = {name}: there is nothing to listen on: {why}");
                    self.error("listen_addr", message, "write an ip address of this host, or *");
                }
            }
        }
        addresses.sort_unstable();
        addresses.dedup();
        let spot = self.spot("listen_addr");
        self.toml.list(&table, "address", &addresses, spot.as_ref());
        self.socket(&table, addresses.is_empty());
        let spot = self.spot("listen_port");
        self.toml.put(&table, "unix_socket_port", port.to_string(), spot.as_ref());
        let backlog = self.bounded("listen_backlog", 1, 65_535);
        self.toml.put(&table, "backlog", backlog.to_string(), self.spot("listen_backlog").as_ref());
        if self.flag("so_reuseport") {
            let spot = self.spot("so_reuseport");
            self.toml.put(&table, "reuse_port", "true".to_owned(), spot.as_ref());
        }
        self.http(&table, port);
        self.tls();
    }

    fn resolved(&mut self, name: &str) -> Result<Vec<IpAddr>, String> {
        match name.parse() {
            Ok(ip) => Ok(vec![ip]),
            Err(_) => self.world.addresses(name),
        }
    }

    fn socket(&mut self, table: &Path, alone: bool) {
        let dir = self.text("unix_socket_dir").to_owned();
        let spot = self.spot("unix_socket_dir");
        if dir.starts_with('@') {
            let message = format!("unix_socket_dir = {dir}: sockets without a file are not served");
            self.error("unix_socket_dir", message, "write a directory: unix_socket_dir = /run/pgbouncer");
        } else if !dir.is_empty() {
            let dir = self.path(&dir);
            self.toml.text_of(table, "unix_socket_dir", &dir, spot.as_ref());
        } else if alone {
            let message = "nowhere to listen: neither listen_addr nor unix_socket_dir is set".to_owned();
            self.error("unix_socket_dir", message, "write listen_addr = 127.0.0.1");
        }
    }

    fn http(&mut self, table: &Path, port: u16) {
        let peer = u16::try_from(self.number("peer_id").clamp(0, 255)).unwrap_or_default();
        let http = port.checked_add(HTTP_ABOVE).and_then(|http| http.checked_add(peer));
        let http = http.map_or_else(|| "off".to_owned(), |http| format!("127.0.0.1:{http}"));
        self.toml.text_of(table, "http", &http, None);
    }

    fn tls(&mut self) {
        let mode = self.text("client_tls_sslmode").to_ascii_lowercase();
        if mode == "disable" {
            return;
        }
        let table = Path::top("listen.tls");
        let spot = self.spot("client_tls_sslmode");
        self.toml.text_of(&table, "mode", &mode, spot.as_ref());
        self.put_path(&table, "certificate", "client_tls_cert_file");
        self.put_path(&table, "key", "client_tls_key_file");
        self.put_path(&table, "client_ca", "client_tls_ca_file");
        self.tls_version(&table, "min_version", "client_tls_protocols");
    }

    /// `secure`, or a list of versions: the oldest of them, and no gap up to 1.3.
    pub(super) fn tls_version(&mut self, table: &Path, key: &str, name: &'static str) {
        let words: Vec<String> = self.list(name).iter().map(|word| word.to_ascii_lowercase()).collect();
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        words.sort_unstable();
        words.dedup();
        let oldest = match words.as_slice() {
            ["secure"] | ["tlsv1.2", "tlsv1.3"] => "1.2",
            ["tlsv1.3"] => "1.3",
            _ => {
                let message = format!("{name} = {}: TLS 1.2 and 1.3 are spoken, or 1.3 alone", self.text(name));
                self.error(name, message, &format!("write {name} = secure, or {name} = tlsv1.3"));
                return;
            }
        };
        let spot = self.spot(name);
        self.toml.text_of(table, key, oldest, spot.as_ref());
    }
}
