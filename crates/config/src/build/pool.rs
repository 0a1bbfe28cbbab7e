//! `[pools.NAME]` and `[users.NAME]`.

use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_pool::{DatabaseSettings, Mode, UserSettings};

use super::{Build, Scope};
use crate::finding::Severity;
use crate::model::{Class, Config, Patience, Pool, Server, User};
use crate::nearest::nearest;
use crate::walk::{Named, join};

impl Build<'_> {
    pub(super) fn pools(&mut self, servers: &[Server], classes: &BTreeMap<String, Class>) -> BTreeMap<String, Pool> {
        let mut names = self.names("pools");
        let is_written = self.walked.names.contains_key("pools");
        if names.is_empty() && !is_written && servers.len() > 1 {
            let texts = (
                "several servers and no pool: nothing says which database is where".to_owned(),
                "write [pools.\"*\"] and below it server = \"NAME\"".to_owned(),
            );
            self.finding(Severity::Error, "missing", self.end..self.end, texts);
        }
        if names.is_empty() && !is_written {
            names.push(Named { name: "*".to_owned(), span: self.end..self.end });
        }
        names.into_iter().map(|named| (named.name.clone(), self.pool(&named, servers, classes))).collect()
    }

    fn pool(&mut self, named: &Named, servers: &[Server], classes: &BTreeMap<String, Class>) -> Pool {
        let scope = Scope::named("pools", &named.name);
        if Config::CONSOLE_NAMES.contains(&named.name.as_str()) {
            let message = format!("`{}` is the console's name and cannot be a pool", named.name);
            let texts = (message, "give the pool another name, and write the database's own as database =".to_owned());
            self.finding(Severity::Error, "reserved-name", named.span.clone(), texts);
        }
        let user = self.text(&scope, "user").filter(|user| !user.is_empty());
        let password = self.secret(&scope);
        if let (None, Some(_)) = (&user, &password) {
            let texts = (format!("[{}] has a password but no user", scope.path), "write user = \"ROLE\"".to_owned());
            self.finding(Severity::Error, "missing", named.span.clone(), texts);
        }
        let class = self.text(&scope, "class");
        if let Some(class) = &class {
            self.class_exists(&scope, class, classes);
        }
        let reset_query = self.text(&scope, "server_reset_query").or(Some("DISCARD ALL".to_owned()));
        let reset_query = reset_query.filter(|query| !query.trim().is_empty());
        Pool {
            server: self.pool_server(&scope, named, servers),
            database: self.text(&scope, "database").filter(|database| !database.is_empty()),
            user,
            password,
            settings: self.database_settings(&scope, reset_query.is_some()),
            startup: self.startup(&scope.inner("startup")),
            track: self.list(&scope, "track").iter().map(|name| name.to_ascii_lowercase()).collect(),
            reset_query,
            reset_always: self.text(&scope, "reset").as_deref() == Some("always"),
            refuse_state: self.text(&scope, "session_state").as_deref() == Some("refuse"),
            max_prepared_statements: self.number(&scope, "max_prepared_statements").unwrap_or_default(),
            patience: self.patience(&scope).limits(),
            class,
        }
    }

    fn pool_server(&mut self, scope: &Scope, named: &Named, servers: &[Server]) -> usize {
        let Some(wanted) = self.text(scope, "server") else {
            if servers.len() > 1 {
                let known = servers.iter().map(|server| server.name.as_str()).collect::<Vec<_>>().join(", ");
                let message = format!("[{}] does not say which server", scope.path);
                let texts = (message, format!("write server = \"NAME\", one of {known}"));
                self.finding(Severity::Error, "missing", named.span.clone(), texts);
            }
            return 0;
        };
        if let Some(index) = servers.iter().position(|server| server.name == wanted) {
            return index;
        }
        let near = nearest(&wanted, servers.iter().map(|server| server.name.as_str()));
        let fix = near.map_or_else(
            || format!("write [{}] with its host, or name a server that exists", join("servers", &wanted)),
            |near| format!("did you mean \"{near}\"?"),
        );
        let message = format!("{}.server: there is no server `{wanted}`", scope.path);
        self.finding(Severity::Error, "unknown-name", self.span(scope, "server"), (message, fix));
        0
    }

    fn database_settings(&mut self, scope: &Scope, has_reset: bool) -> DatabaseSettings {
        let mode = self.mode(scope).unwrap_or_default();
        let (size, min_size) = (self.number(scope, "size").unwrap_or(1), self.number(scope, "min_size").unwrap_or(0));
        let max_connections = self.number(scope, "max_connections");
        if min_size > size {
            let message = format!("{}.min_size ({min_size}) is above size ({size})", scope.path);
            let texts = (message, format!("write min_size = {size} or less, or raise size"));
            self.finding(Severity::Error, "contradiction", self.span(scope, "min_size"), texts);
        }
        if let Some(most) = max_connections.filter(|most| *most < size) {
            let message =
                format!("{}.max_connections ({most}) is below size ({size}): size is never reached", scope.path);
            let texts = (message, format!("write max_connections = {size} or more, or size = {most}"));
            self.finding(Severity::Warning, "contradiction", self.span(scope, "max_connections"), texts);
        }
        let max_wait = self.duration(scope, "max_wait").unwrap_or(Duration::ZERO);
        self.not_at_once(scope, "max_wait", max_wait);
        let time = |key: &str| self.duration(scope, key).unwrap_or(Duration::ZERO);
        DatabaseSettings {
            mode,
            size,
            min_size,
            reserve: self.number(scope, "reserve").unwrap_or_default(),
            reserve_after: time("reserve_after"),
            max_connections,
            max_wait,
            pause_wait: time("pause_wait"),
            down_wait: time("down_wait"),
            max_queue: self.number(scope, "max_queue").unwrap_or_default(),
            lifetime: time("lifetime"),
            idle_timeout: time("idle_timeout"),
            disabled: self.truth(scope, "disabled"),
            reset: has_reset && mode == Mode::Session,
            classes: Vec::new(),
        }
    }

    pub(super) fn patience(&self, scope: &Scope) -> Patience {
        Patience {
            query: self.duration(scope, "query_timeout"),
            transaction: self.duration(scope, "transaction_timeout"),
            idle_in_transaction: self.duration(scope, "idle_in_transaction_timeout"),
            client_idle: self.duration(scope, "client_idle_timeout"),
        }
    }

    fn mode(&self, scope: &Scope) -> Option<Mode> {
        let word = self.text(scope, "mode")?;
        [Mode::Session, Mode::Transaction, Mode::Statement].into_iter().find(|mode| mode.name() == word)
    }

    fn startup(&self, scope: &Scope) -> Vec<(String, String)> {
        let names = self.names(&scope.path);
        let value = |named: Named| {
            let written = self.written(scope, &named.name)?;
            Some((named.name, written.value.to_string()))
        };
        names.into_iter().filter_map(value).collect()
    }

    fn class_exists(&mut self, scope: &Scope, class: &str, classes: &BTreeMap<String, Class>) {
        if classes.contains_key(class) {
            return;
        }
        let near = nearest(class, classes.keys().map(String::as_str));
        let fix = near.map_or_else(
            || format!("write [{}], or one of critical, default, batch", join("classes", class)),
            |near| format!("did you mean \"{near}\"?"),
        );
        let message = format!("{}.class: there is no class `{class}`", scope.path);
        self.finding(Severity::Error, "unknown-name", self.span(scope, "class"), (message, fix));
    }

    pub(super) fn users(&mut self, classes: &BTreeMap<String, Class>) -> BTreeMap<String, User> {
        let names = self.names("users");
        names.into_iter().map(|named| (named.name.clone(), self.user(&named, classes))).collect()
    }

    fn user(&mut self, named: &Named, classes: &BTreeMap<String, Class>) -> User {
        let scope = Scope::named("users", &named.name);
        let class = self.text(&scope, "class");
        if let Some(class) = &class {
            self.class_exists(&scope, class, classes);
        }
        User {
            secret: self.secret(&scope),
            settings: UserSettings {
                max_connections: self.number(&scope, "max_connections"),
                size: self.number(&scope, "pool_size"),
                mode: self.mode(&scope),
                class: None,
            },
            patience: self.patience(&scope),
            class,
            trust_labels: self.truth(&scope, "trust_labels"),
        }
    }
}
