//! `[servers.NAME]` and its watch connection.

use poolwarden_pool::HostId;

use super::{Build, Scope};
use crate::finding::Severity;
use crate::model::{Host, Keepalive, Server, WatchLogin};
use crate::walk::{Named, join};

impl Build<'_> {
    pub(super) fn servers(&mut self) -> Vec<Server> {
        let names = self.names("servers");
        if names.is_empty() {
            let texts = (
                "no server: nothing says where PostgreSQL is".to_owned(),
                "write [servers.main] and below it host = \"db.internal\"".to_owned(),
            );
            self.finding(Severity::Error, "missing", self.end..self.end, texts);
        }
        if let Some(beyond) = names.get(HostId::MOST) {
            let message = format!("{} servers, and at most {} can be pooled in front of", names.len(), HostId::MOST);
            let texts = (message, "write some of them into the file of another poolwarden".to_owned());
            self.finding(Severity::Error, "out-of-range", beyond.span.clone(), texts);
        }
        names.into_iter().map(|named| self.server(named)).collect()
    }

    fn server(&mut self, named: Named) -> Server {
        let scope = Scope::named("servers", &named.name);
        let host = self.host(&scope, &named);
        let connect_timeout = self.duration(&scope, "connect_timeout").unwrap_or_default();
        self.not_zero(&scope, "connect_timeout", connect_timeout);
        let instances = self.number(&scope, "instances");
        let instances = instances.or_else(|| self.number(&Scope::top("topology.pooler"), "instances")).unwrap_or(1);
        let connects_start = self.number(&scope, "connects_start").unwrap_or(1);
        let connects_max = self.number(&scope, "connects_max").unwrap_or(1);
        if connects_start > connects_max {
            let message =
                format!("{}.connects_start ({connects_start}) is above connects_max ({connects_max})", scope.path);
            let key = if self.written(&scope, "connects_start").is_some() { "connects_start" } else { "connects_max" };
            let texts = (message, format!("write connects_start = {connects_max} or less"));
            self.finding(Severity::Error, "contradiction", self.span(&scope, key), texts);
        }
        let minor = if self.text(&scope, "max_protocol_version").as_deref() == Some("3.0") { 0 } else { 2 };
        Server {
            host,
            port: self.number(&scope, "port").and_then(|port| u16::try_from(port).ok()).unwrap_or(5432),
            max_connections: self.number(&scope, "max_connections"),
            max_user_connections: self.number(&scope, "max_user_connections"),
            instances,
            connect_timeout,
            connects_start,
            connects_max,
            ghost_timeout: self.duration(&scope, "ghost_timeout").unwrap_or_default(),
            tcp_user_timeout: self.duration(&scope, "tcp_user_timeout").filter(|time| !time.is_zero()),
            keepalive: self.duration(&scope, "keepalive").filter(|idle| !idle.is_zero()).map(|idle| Keepalive { idle }),
            tls: self.server_tls(&scope),
            max_protocol_minor: minor,
            watch: self.watch(&scope),
            id: HostId::default(), // numbered when all are there
            name: named.name,
        }
    }

    pub(super) fn host(&mut self, scope: &Scope, named: &Named) -> Host {
        let span = self.span(scope, "host");
        let Some(host) = self.text(scope, "host") else {
            if !self.walked.refused.contains(&join(&scope.path, "host")) {
                let texts = (format!("[{}] has no host", scope.path), "write host = \"db.internal\"".to_owned());
                self.finding(Severity::Error, "missing", named.span.clone(), texts);
            }
            return Host::Name(String::new());
        };
        if host.starts_with('/') {
            return Host::Socket(host);
        }
        if let Ok(address) = host.trim_matches(['[', ']']).parse() {
            return Host::Address(address);
        }
        let port = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
        if let Some((name, port)) = port {
            let message = format!("{}.host: `{host}` holds a port", scope.path);
            let texts = (message, format!("write host = \"{name}\" and port = {port}"));
            self.finding(Severity::Error, "wrong-value", span, texts);
        } else if host.is_empty() || host.len() > 253 || host.contains(|c: char| c.is_whitespace() || "/:@".contains(c))
        {
            let message = format!("{}.host is not a host name, an ip address or a socket directory", scope.path);
            let texts = (message, "write it as \"db.internal\", \"10.0.0.5\" or \"/run/postgresql\"".to_owned());
            self.finding(Severity::Error, "wrong-value", span, texts);
        }
        Host::Name(host)
    }

    fn watch(&mut self, scope: &Scope) -> Option<WatchLogin> {
        let scope = scope.inner("watch");
        let password = self.secret(&scope);
        let user = self.text(&scope, "user").filter(|user| !user.is_empty());
        let some =
            ["password_env", "scram_file", "database"].into_iter().find(|key| self.written(&scope, key).is_some());
        match (user, some) {
            (Some(user), _) => {
                let database = self.text(&scope, "database").unwrap_or_default();
                Some(WatchLogin { user, password, database })
            }
            (None, Some(key)) => {
                let texts =
                    (format!("[{}] has {key} but no user", scope.path), "write user = \"poolwarden\"".to_owned());
                self.finding(Severity::Error, "missing", self.span(&scope, key), texts);
                None
            }
            (None, None) => None,
        }
    }
}
