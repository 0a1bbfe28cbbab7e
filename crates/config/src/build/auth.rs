//! `[auth]`: how clients prove who they are, and the files and the query that know their secrets.

use std::collections::BTreeMap;

use super::{Build, Scope};
use crate::finding::Severity;
use crate::line::LineFinding;
use crate::model::{Auth, AuthMethod, AuthQuery, Server};
use crate::nearest::nearest;
use crate::secret::{Secret, SecretRef};
use crate::{hba, ident, userlist};

/// Faults of one file that are shown; a file of another kind has one on every line.
const MOST_FAULTS: usize = 20;

impl Build<'_> {
    pub(super) fn auth(&mut self, servers: &[Server]) -> Auth {
        let scope = Scope::top("auth");
        let method = match self.text(&scope, "method").unwrap_or_default().as_str() {
            "trust" => AuthMethod::Trust,
            "password" => AuthMethod::Password,
            "md5" => AuthMethod::Md5,
            "cert" => AuthMethod::Cert,
            "hba" => AuthMethod::Hba,
            "peer" => AuthMethod::Peer,
            _ => AuthMethod::ScramSha256,
        };
        let rules = self.rules(&scope, method);
        Auth {
            method,
            listed: self.listed(&scope),
            rules,
            ident: self.ident(&scope),
            query: self.query(&scope, servers),
            failure_delay: self.duration(&scope, "failure_delay").unwrap_or_default(),
            known_users: self.truth(&scope, "known_users"),
            failures_per_minute: self.number(&scope, "failures_per_minute").unwrap_or_default(),
        }
    }

    fn listed(&mut self, scope: &Scope) -> BTreeMap<String, Option<Secret>> {
        let Some((path, text)) = self.file(scope, "userlist") else { return BTreeMap::new() };
        let (users, findings) = userlist::parse(&text);
        self.faults(scope, "userlist", &path, findings);
        users.into_iter().map(|listed| (listed.user, listed.secret)).collect()
    }

    fn rules(&mut self, scope: &Scope, method: AuthMethod) -> Vec<hba::HbaRule> {
        let Some((path, text)) = self.file(scope, "hba") else {
            let broken = self.written(scope, "hba").is_some();
            if method == AuthMethod::Hba && !broken {
                let texts = ("auth.method = \"hba\" and no rules".to_owned(), "write hba = \"hba.conf\"".to_owned());
                self.finding(Severity::Error, "missing", self.span(scope, "method"), texts);
            }
            return Vec::new();
        };
        if method != AuthMethod::Hba {
            let message = "auth.hba: the rules are read and not followed".to_owned();
            let texts = (message, "write method = \"hba\"".to_owned());
            self.finding(Severity::Warning, "contradiction", self.span(scope, "hba"), texts);
        }
        let beside = path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        let resolve = &mut self.resolve;
        let (rules, findings) = hba::parse_with(&text, &mut |file| {
            let file = if file.starts_with('/') { file.to_owned() } else { format!("{beside}{file}") };
            resolve(SecretRef::Text(file))
        });
        self.faults(scope, "hba", &path, findings);
        rules
    }

    fn ident(&mut self, scope: &Scope) -> Vec<ident::IdentLine> {
        let Some((path, text)) = self.file(scope, "ident_map") else { return Vec::new() };
        let (lines, findings) = ident::parse(&text);
        self.faults(scope, "ident_map", &path, findings);
        lines
    }

    /// A file's path and text; what cannot be read is a finding.
    fn file(&mut self, scope: &Scope, key: &'static str) -> Option<(String, String)> {
        let path = self.text(scope, key).filter(|path| !path.is_empty())?;
        match (self.resolve)(SecretRef::Text(path.clone())) {
            Ok(text) => Some((path, text)),
            Err(why) => {
                let texts =
                    (format!("auth.{key}: the file cannot be used: {why}"), "name one that can be read".to_owned());
                self.finding(Severity::Error, "file", self.span(scope, key), texts);
                None
            }
        }
    }

    fn faults(&mut self, scope: &Scope, key: &'static str, path: &str, mut findings: Vec<LineFinding>) {
        findings.sort_by(|a, b| (b.severity, a.line).cmp(&(a.severity, b.line)));
        for LineFinding { line, severity, message } in findings.into_iter().take(MOST_FAULTS) {
            let texts = (format!("{path}:{line}: {message}"), format!("correct line {line} of {path}"));
            self.finding(severity, "line", self.span(scope, key), texts);
        }
    }

    fn query(&mut self, scope: &Scope, servers: &[Server]) -> Option<AuthQuery> {
        let password = self.secret_of(scope, "password_file");
        let Some(user) = self.text(scope, "user").filter(|user| !user.is_empty()) else {
            let keys = ["query", "password_env", "password_file", "database", "server", "search_path"];
            if let Some(key) = keys.into_iter().find(|key| self.written(scope, key).is_some()) {
                let texts =
                    (format!("auth.{key} and no user that asks"), "write user = \"poolwarden_auth\"".to_owned());
                self.finding(Severity::Error, "missing", self.span(scope, key), texts);
            }
            return None;
        };
        let duration = |key: &str| self.duration(scope, key).unwrap_or_default();
        let (fresh, max_stale) = (duration("cache"), duration("max_stale"));
        Some(AuthQuery {
            sql: self.text(scope, "query").unwrap_or_default(),
            user,
            password,
            database: self.text(scope, "database").filter(|database| !database.is_empty()),
            server: self.query_server(scope, servers),
            search_path: self.text(scope, "search_path").filter(|path| !path.is_empty()),
            fresh,
            max_stale,
        })
    }

    fn query_server(&mut self, scope: &Scope, servers: &[Server]) -> Option<usize> {
        let wanted = self.text(scope, "server").filter(|server| !server.is_empty())?;
        let found = servers.iter().position(|server| server.name == wanted);
        if found.is_none() {
            let near = nearest(&wanted, servers.iter().map(|server| server.name.as_str()));
            let fix = near
                .map_or_else(|| "name a server of this file".to_owned(), |near| format!("did you mean \"{near}\"?"));
            let message = format!("auth.server: there is no server `{wanted}`");
            self.finding(Severity::Error, "unknown-name", self.span(scope, "server"), (message, fix));
        }
        found
    }
}
