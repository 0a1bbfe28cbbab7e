//! `[databases]` and `[users]`: pools and users, with PgBouncer's precedence already worked out.

use super::super::ini::Spot;
use super::super::sheet::Line;
use super::super::toml::Path;
use super::super::value::FOREVER;
use super::{Translation, duration, endless, whole};
use crate::secret::Secret;

/// PgBouncer's 0 is no bound; this is PostgreSQL's own.
const MOST: i64 = 262_143;
/// Waiting requests of a pool: more than there can be clients.
const NO_QUEUE_BOUND: i64 = 100_000;

/// A setting's value and where it is written; `None`: it is a default.
type From<T> = (T, Option<Spot>);

impl Translation<'_> {
    pub(super) fn servers_and_pools(&mut self) {
        // Without a database there is still the console: an empty [pools] serves nobody else.
        self.toml.table(&Path::top("pools"), None);
        let sheet = self.sheet;
        if sheet.databases.is_empty() {
            let dir = self.text("unix_socket_dir").to_owned();
            let host = if dir.is_empty() { "/tmp".to_owned() } else { self.path(&dir) };
            self.server(&super::server::Target { host, port: 5432, host_spot: None, port_spot: None });
        }
        for line in sheet.databases.values() {
            let Some(target) = self.target(line) else { continue };
            self.server(&target);
            self.pool(line, &target.name());
        }
    }

    fn pool(&mut self, line: &Line, server: &str) {
        let table = Path::named("pools", &line.name.text);
        self.toml.table(&table, Some(&line.name.spot));
        let given = &line.given;
        self.toml.text_of(
            &table,
            "server",
            server,
            given.spot("host").or(given.spot("port")).or(Some(&line.name.spot)),
        );
        for (key, name) in [("database", "dbname"), ("user", "user")] {
            if let Some(word) = given.word(name) {
                self.toml.text_of(&table, key, &word.text, Some(&word.spot));
            }
        }
        self.forced_password(&table, line);
        self.pool_mode(&table, line);
        self.pool_sizes(&table, line);
        self.pool_times(&table, line);
        self.pool_session(&table, line);
    }

    /// A forced user's password: here, else from the users' own, as in PgBouncer.
    fn forced_password(&mut self, table: &Path, line: &Line) {
        let given = &line.given;
        let Some(word) = given.word("password").filter(|_| given.word("user").is_some()) else { return };
        let letters =
            line.name.text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
        let stem = format!("PGBOUNCER_PASSWORD_{}", letters.collect::<String>());
        let taken = |name: &str| self.variables.iter().any(|(known, _)| known == name);
        let mut name = stem.clone();
        for n in 2.. {
            if !taken(&name) {
                break;
            }
            name = format!("{stem}_{n}");
        }
        self.toml.text_of(table, "password_env", &name, Some(&word.spot));
        self.variables.push((name, Secret::new(word.text.clone())));
    }

    fn pool_mode(&mut self, table: &Path, line: &Line) {
        let (mode, spot) = match line.given.word("pool_mode") {
            Some(word) => (word.text.clone(), Some(word.spot.clone())),
            None => (self.text("pool_mode").to_owned(), self.spot("pool_mode")),
        };
        self.toml.text_of(table, "mode", &mode.to_ascii_lowercase(), spot.as_ref());
    }

    /// A number of the database, else of `[pgbouncer]`. Below zero in a connection string counts as not set.
    fn own_or(&self, line: &Line, names: &[&str], global: &str) -> From<i64> {
        let own = names.iter().find_map(|name| {
            let number = line.given.leading(name).filter(|number| *number >= 0)?;
            Some((number, line.given.spot(name).cloned()))
        });
        own.unwrap_or_else(|| (self.number(global).max(0), self.spot(global)))
    }

    fn pool_sizes(&mut self, table: &Path, line: &Line) {
        let (size, spot) = self.own_or(line, &["pool_size"], "default_pool_size");
        let size = if size == 0 { MOST } else { size.min(MOST) };
        self.toml.put(table, "size", size.to_string(), spot.as_ref());
        let (min, spot) = self.own_or(line, &["min_pool_size"], "min_pool_size");
        self.toml.put(table, "min_size", min.min(size).to_string(), spot.as_ref());
        let (reserve, spot) = self.own_or(line, &["reserve_pool_size", "reserve_pool"], "reserve_pool_size");
        let after = self.seconds("reserve_pool_timeout");
        let reserve = if after.is_zero() { 0 } else { reserve.min(MOST) };
        self.toml.put(table, "reserve", reserve.to_string(), spot.as_ref());
        let spot = self.spot("reserve_pool_timeout");
        self.toml.put(table, "reserve_after", duration(after), spot.as_ref());
        let (most, spot) = self.own_or(line, &["max_db_connections"], "max_db_connections");
        if most > 0 {
            self.toml.put(table, "max_connections", most.min(MOST).to_string(), spot.as_ref());
        }
        let clients = self.number("max_client_conn");
        self.toml.put(table, "max_queue", clients.clamp(NO_QUEUE_BOUND, 1_000_000_000).to_string(), None);
    }

    fn pool_times(&mut self, table: &Path, line: &Line) {
        let own =
            |name: &str| line.given.leading(name).and_then(whole).map(|time| (time, line.given.spot(name).cloned()));
        let (wait, spot) = own("query_wait_timeout")
            .unwrap_or_else(|| (self.seconds("query_wait_timeout"), self.spot("query_wait_timeout")));
        // PgBouncer knows one wait, whatever it is for.
        for key in ["max_wait", "pause_wait", "down_wait"] {
            self.toml.put(table, key, duration(endless(wait)), spot.as_ref());
        }
        // 0 in the database is not set; in [pgbouncer] it is used once and closed, which here is the shortest life there is.
        let own = own("server_lifetime").filter(|(life, _)| !life.is_zero());
        let (life, spot) = own.unwrap_or_else(|| (self.seconds("server_lifetime"), self.spot("server_lifetime")));
        let life = if life.is_zero() { "\"1us\"".to_owned() } else { duration(life) };
        self.toml.put(table, "lifetime", life, spot.as_ref());
        for (key, name) in [
            ("idle_timeout", "server_idle_timeout"),
            ("query_timeout", "query_timeout"),
            ("transaction_timeout", "transaction_timeout"),
            ("idle_in_transaction_timeout", "idle_transaction_timeout"),
            ("client_idle_timeout", "client_idle_timeout"),
        ] {
            let (time, spot) = (self.seconds(name), self.spot(name));
            if spot.is_some() || !time.is_zero() {
                self.toml.put(table, key, duration(time.min(FOREVER)), spot.as_ref());
            }
        }
    }

    fn pool_session(&mut self, table: &Path, line: &Line) {
        let (query, spot) = (self.text("server_reset_query").to_owned(), self.spot("server_reset_query"));
        self.toml.text_of(table, "server_reset_query", &query, spot.as_ref());
        if self.flag("server_reset_query_always") {
            let spot = self.spot("server_reset_query_always");
            self.toml.text_of(table, "reset", "always", spot.as_ref());
        }
        let most = self.number("max_prepared_statements").clamp(0, 100_000).to_string();
        self.toml.put(table, "max_prepared_statements", most, self.spot("max_prepared_statements").as_ref());
        let track = self.list("track_extra_parameters");
        self.toml.list(table, "track", &track, self.spot("track_extra_parameters").as_ref());
        for name in ["application_name", "client_encoding", "datestyle", "timezone"] {
            if let Some(word) = line.given.word(name) {
                self.toml.text_of(&table.inner("startup"), name, &word.text, Some(&word.spot));
            }
        }
    }

    pub(super) fn users(&mut self) {
        let sheet = self.sheet;
        for line in sheet.users.values() {
            let table = Path::named("users", &line.name.text);
            self.toml.table(&table, Some(&line.name.spot));
            let given = &line.given;
            if let Some(word) = given.word("pool_mode") {
                self.toml.text_of(&table, "mode", &word.text.to_ascii_lowercase(), Some(&word.spot));
            }
            if let Some(size) = given.leading("pool_size").filter(|size| *size >= 0) {
                let size = if size == 0 { MOST } else { size.min(MOST) };
                self.toml.put(&table, "pool_size", size.to_string(), given.spot("pool_size"));
            }
            // 0 lifts the limit of [pgbouncer] for this user.
            if let Some(own) = given.leading("max_user_connections").filter(|own| *own >= 0) {
                let own = if own == 0 { MOST } else { own.min(MOST) };
                self.toml.put(&table, "max_connections", own.to_string(), given.spot("max_user_connections"));
            }
            for (key, name) in [
                ("query_timeout", "query_timeout"),
                ("transaction_timeout", "transaction_timeout"),
                ("idle_in_transaction_timeout", "idle_transaction_timeout"),
                ("client_idle_timeout", "client_idle_timeout"),
            ] {
                // As in PgBouncer, a user's 0 is not set.
                if let Some(time) = given.leading(name).and_then(whole).filter(|time| !time.is_zero()) {
                    self.toml.put(&table, key, duration(time), given.spot(name));
                }
            }
        }
    }
}
