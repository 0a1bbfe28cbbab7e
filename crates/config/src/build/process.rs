//! The sections about this process itself: `[poolwarden]`, `[listen]`, `[console]`, `[log]`, `[limits]`, `[history]`, `[recording]`,
//! `[review]`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Build, Scope};
use crate::finding::Severity;
use crate::model::{Console, Guard, History, Limits, Listen, Log, LogFormat, LogLevel, Process, Recording, Review};

/// Recordings change every eighth of what all may take, and a second of much traffic must fit.
const LEAST_RECORDING: u64 = 256 << 10;

impl Build<'_> {
    pub(super) fn process(&self) -> Process {
        let scope = Scope::top("poolwarden");
        let observe = self.text(&scope, "guard").as_deref() == Some("observe");
        Process {
            data_dir: self.text(&scope, "data_dir").filter(|dir| !dir.is_empty()),
            guard: if observe { Guard::Observe } else { Guard::Enforce },
            loops: self.number(&scope, "loops").and_then(|loops| u16::try_from(loops).ok()),
            instance_id: self.number(&scope, "instance_id").and_then(|id| u8::try_from(id).ok()),
            drain_delay: self.duration(&scope, "drain_delay").unwrap_or_default(),
            drain_deadline: self.duration(&scope, "drain_deadline").unwrap_or_default(),
        }
    }

    pub(super) fn listen(&mut self) -> Listen {
        let scope = Scope::top("listen");
        let listen = Listen {
            addresses: self.addresses(&scope, "address"),
            unix_socket_dir: self.text(&scope, "unix_socket_dir").filter(|dir| !dir.is_empty()),
            unix_socket_port: self.number(&scope, "unix_socket_port").and_then(|port| u16::try_from(port).ok()),
            reuse_port: self.truth(&scope, "reuse_port"),
            http: self.address(&scope, "http"),
            metrics: self.address(&scope, "metrics"),
            pgbouncer_metrics: self.truth(&scope, "pgbouncer_metrics"),
            backlog: self.number(&scope, "backlog").unwrap_or(4096),
            proxy_protocol: self.networks(&scope, "proxy_protocol"),
            tls: self.listen_tls(),
        };
        self.check_listen(&scope, &listen);
        listen
    }

    fn check_listen(&mut self, scope: &Scope, listen: &Listen) {
        if listen.addresses.is_empty() && listen.unix_socket_dir.is_none() {
            let texts = ("nowhere to listen".to_owned(), "write address = [\"127.0.0.1:6432\"]".to_owned());
            self.finding(Severity::Error, "contradiction", self.span(scope, "address"), texts);
        }
        let mut seen = BTreeSet::new();
        let tcp = listen.addresses.iter().map(|address| ("address", *address));
        let rest = [("http", listen.http), ("metrics", listen.metrics)];
        for (key, address) in tcp.chain(rest.into_iter().filter_map(|(key, a)| a.map(|a| (key, a)))) {
            // Port 0 asks the system for a free one, each time another.
            if address.port() != 0 && !seen.insert(address) {
                let texts =
                    (format!("listen.{key}: {address} is listened on twice"), "give each its own port".to_owned());
                self.finding(Severity::Error, "duplicate", self.span(scope, key), texts);
            }
        }
        if let Some(http) = listen.http.filter(|http| !http.ip().is_loopback()) {
            let message = format!("listen.http: {http} is not on loopback, and TLS for it comes with a later release");
            let fix =
                format!("write \"127.0.0.1:{0}\"; for scrapers elsewhere, listen.metrics = \"{http}\"", http.port());
            self.finding(Severity::Error, "not-yet", self.span(scope, "http"), (message, fix));
        }
        if let Some(dir) = listen.unix_socket_dir.as_ref().filter(|dir| !dir.starts_with('/')) {
            let message = format!("listen.unix_socket_dir: `{dir}` is not an absolute path");
            let texts = (message, "start it with /".to_owned());
            self.finding(Severity::Error, "wrong-value", self.span(scope, "unix_socket_dir"), texts);
        }
    }

    pub(super) fn console(&self) -> Console {
        let scope = Scope::top("console");
        Console { admins: self.list(&scope, "admins"), readers: self.list(&scope, "readers") }
    }

    pub(super) fn log(&self) -> Log {
        let scope = Scope::top("log");
        let json = self.text(&scope, "format").as_deref() == Some("json");
        let level = match self.text(&scope, "level").unwrap_or_default().as_str() {
            "error" => LogLevel::Error,
            "warn" => LogLevel::Warn,
            "debug" => LogLevel::Debug,
            "trace" => LogLevel::Trace,
            _ => LogLevel::Info,
        };
        Log { format: if json { LogFormat::Json } else { LogFormat::Text }, level }
    }

    pub(super) fn history(&self) -> History {
        History { max_size: self.size(&Scope::top("history"), "max_size").unwrap_or_default() }
    }

    pub(super) fn recording(&mut self) -> Recording {
        let scope = Scope::top("recording");
        let max_size = self.size(&scope, "max_size").unwrap_or_default();
        if max_size < LEAST_RECORDING {
            let message =
                format!("recording.max_size is {max_size} bytes: not even a minute of traffic has room in that");
            let fix = "write \"256KiB\" or more, or enabled = false to record nothing".to_owned();
            self.finding(Severity::Error, "out-of-range", self.span(&scope, "max_size"), (message, fix));
        }
        Recording { enabled: self.truth(&scope, "enabled"), max_size }
    }

    pub(super) fn review(&self) -> Review {
        Review { every: self.duration(&Scope::top("review"), "every").filter(|every| !every.is_zero()) }
    }

    pub(super) fn limits(&mut self) -> Limits {
        let scope = Scope::top("limits");
        let login_timeout = self.duration(&scope, "login_timeout").unwrap_or_default();
        self.not_zero(&scope, "login_timeout", login_timeout);
        Limits {
            max_clients: self.number(&scope, "max_clients").unwrap_or(1),
            max_logins: self.number(&scope, "max_logins").unwrap_or(1),
            login_timeout,
            memory_bytes: self.size(&scope, "memory").unwrap_or_default(),
            max_any_pools: self.number(&scope, "max_any_pools").unwrap_or(1),
        }
    }

    /// A wait of nothing refuses whoever meets a full pool: rarely what a zero is meant to say.
    pub(super) fn not_at_once(&mut self, scope: &Scope, key: &str, duration: Duration) {
        if duration.is_zero() {
            let message = format!("{}.{key} is zero: whoever finds the pool full is refused at once", scope.path);
            let texts = (message, format!("write {key} = \"2s\": a wait always ends, and zero is none at all"));
            self.finding(Severity::Warning, "out-of-range", self.span(scope, key), texts);
        }
    }

    /// A time limit of nothing would refuse everything.
    pub(super) fn not_zero(&mut self, scope: &Scope, key: &str, duration: Duration) {
        if duration.is_zero() {
            let texts =
                (format!("{}.{key} is zero: nothing could ever succeed", scope.path), "write \"15s\"".to_owned());
            self.finding(Severity::Error, "out-of-range", self.span(scope, key), texts);
        }
    }
}
