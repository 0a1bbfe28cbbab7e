//! From walked values to a [`Config`]: defaults filled in, names resolved, contradictions found.

mod auth;
mod check;
mod class;
mod peer;
mod pool;
mod probe;
mod process;
mod server;
mod tls;

use core::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use crate::catalogue;
use crate::finding::{Finding, Severity, has_errors};
use crate::model::Config;
use crate::secret::{Secret, SecretRef};
use crate::show;
use crate::value::{Network, Value, read_default};
use crate::walk::{Named, Walked, Written, join};

/// Gets a secret from where the file says it is; the error says why not, without the secret.
pub(crate) type Resolve<'a> = dyn FnMut(SecretRef) -> Result<String, String> + 'a;

/// The work in progress.
pub(crate) struct Build<'a> {
    walked: Walked,
    resolve: &'a mut Resolve<'a>,
    /// Where something that is not there is reported.
    end: usize,
    secrets: Vec<(String, Secret)>,
}

/// One table of the file: `[pools.app]` is `pools.NAME` in the catalogue.
#[derive(Clone)]
pub(crate) struct Scope {
    pattern: String,
    path: String,
}

impl Scope {
    pub(crate) fn top(section: &str) -> Self {
        Self { pattern: section.to_owned(), path: section.to_owned() }
    }

    pub(crate) fn named(section: &str, name: &str) -> Self {
        Self { pattern: format!("{section}.NAME"), path: join(section, name) }
    }

    /// One table of an array.
    pub(crate) fn item(section: &str, number: &str) -> Self {
        Self { pattern: format!("{section}[]"), path: format!("{section}[{number}]") }
    }

    pub(crate) fn inner(&self, table: &str) -> Self {
        Self { pattern: format!("{}.{table}", self.pattern), path: join(&self.path, table) }
    }
}

/// Builds the configuration. What it returns is only to be used when no finding is an error.
pub(crate) fn build<'a>(walked: Walked, end: usize, resolve: &'a mut Resolve<'a>) -> (Config, Vec<Finding>) {
    let mut b = Build { walked, resolve, end, secrets: Vec::new() };
    let classes = b.classes();
    let servers = b.servers();
    let pools = b.pools(&servers, &classes);
    let users = b.users(&classes);
    let mut config = Config {
        poolwarden: b.process(),
        listen: b.listen(),
        console: b.console(),
        log: b.log(),
        auth: b.auth(&servers),
        servers,
        pools,
        users,
        classes,
        limits: b.limits(),
        peers: b.peers(),
        probes: b.probes(),
        history: b.history(),
        recording: b.recording(),
        review: b.review(),
        pgbouncer: None,
        known: Vec::new(),
        kept: Vec::new(),
        shown: Vec::new(),
    };
    config.number_servers(config.servers.iter().map(|server| server.name.clone()).collect());
    // Remarks about a file that is refused would only hide why.
    if !has_errors(&b.walked.findings) {
        b.check(&config);
    }
    config.shown = show::shown(&b.walked, &b.secrets);
    (config, b.walked.findings)
}

impl Build<'_> {
    fn finding(&mut self, severity: Severity, code: &'static str, span: Range<usize>, texts: (String, String)) {
        self.walked.findings.push(Finding::new(severity, code, span, texts.0, texts.1));
    }

    fn written(&self, scope: &Scope, key: &str) -> Option<&Written> {
        self.walked.values.get(&join(&scope.path, key))
    }

    /// The place of a key's value; the end of the text when it is not written.
    fn span(&self, scope: &Scope, key: &str) -> Range<usize> {
        self.written(scope, key).map_or(self.end..self.end, |written| written.span.clone())
    }

    fn names(&self, section: &str) -> Vec<Named> {
        let mut names = self.walked.names.get(section).cloned().unwrap_or_default();
        names.sort_by(|a, b| a.name.cmp(&b.name));
        names
    }

    /// The value as written, else the catalogue's default, else none.
    fn value(&self, scope: &Scope, key: &str) -> Option<Value> {
        let default = || {
            let setting = catalogue::find(&format!("{}.{key}", scope.pattern))?;
            read_default(setting.kind, setting.default)
        };
        self.written(scope, key).map(|written| written.value.clone()).or_else(default)
    }

    /// The value as the one kind the catalogue gives this key; `auto` and `off` are none.
    fn typed<T>(&self, scope: &Scope, key: &str, pick: fn(Value) -> Option<T>) -> Option<T> {
        let value = self.value(scope, key).filter(|value| !matches!(value, Value::Auto | Value::Off))?;
        let picked = pick(value);
        debug_assert!(picked.is_some(), "{}.{key} is asked for as another kind than the catalogue's", scope.pattern);
        picked
    }

    fn text(&self, scope: &Scope, key: &str) -> Option<String> {
        self.typed(scope, key, |value| if let Value::Text(text) = value { Some(text) } else { None })
    }

    fn number(&self, scope: &Scope, key: &str) -> Option<u32> {
        self.typed(
            scope,
            key,
            |value| if let Value::Integer(number) = value { u32::try_from(number).ok() } else { None },
        )
    }

    fn duration(&self, scope: &Scope, key: &str) -> Option<Duration> {
        self.typed(scope, key, |value| if let Value::Duration(duration) = value { Some(duration) } else { None })
    }

    fn size(&self, scope: &Scope, key: &str) -> Option<u64> {
        self.typed(scope, key, |value| if let Value::Size(bytes) = value { Some(bytes) } else { None })
    }

    fn truth(&self, scope: &Scope, key: &str) -> bool {
        self.value(scope, key) == Some(Value::Bool(true))
    }

    fn list(&self, scope: &Scope, key: &str) -> Vec<String> {
        let list = self.typed(scope, key, |value| if let Value::List(list) = value { Some(list) } else { None });
        list.unwrap_or_default()
    }

    fn networks(&self, scope: &Scope, key: &str) -> Vec<Network> {
        let list = self.typed(scope, key, |value| if let Value::Networks(list) = value { Some(list) } else { None });
        list.unwrap_or_default()
    }

    fn address(&self, scope: &Scope, key: &str) -> Option<SocketAddr> {
        self.typed(scope, key, |value| if let Value::Address(address) = value { Some(address) } else { None })
    }

    fn addresses(&self, scope: &Scope, key: &str) -> Vec<SocketAddr> {
        let list = self.typed(scope, key, |value| if let Value::Addresses(list) = value { Some(list) } else { None });
        list.unwrap_or_default()
    }

    /// A secret from `scram_file` or `password_env`; both at once contradict each other.
    fn secret(&mut self, scope: &Scope) -> Option<Secret> {
        self.secret_of(scope, "scram_file")
    }

    /// The same, where the file's key has another name.
    fn secret_of(&mut self, scope: &Scope, file_key: &'static str) -> Option<Secret> {
        let file = self.written(scope, file_key).map(|w| (w.value.to_string(), w.span.clone()));
        let env = self.written(scope, "password_env").map(|w| (w.value.to_string(), w.span.clone()));
        let (key, wanted, span) = match (file, env) {
            (Some(_), Some((_, span))) => {
                let message = format!("[{}] has {file_key} and password_env", scope.path);
                self.finding(Severity::Error, "contradiction", span, (message, "keep one of them".to_owned()));
                return None;
            }
            (Some((path, span)), None) => (file_key, SecretRef::File(path), span),
            (None, Some((name, span))) => ("password_env", SecretRef::Env(name), span),
            (None, None) => return None,
        };
        let got = (self.resolve)(wanted).map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
        let problem = match got {
            Ok(text) if text.is_empty() => "is empty".to_owned(),
            Ok(text) if text.contains(['\0', '\n']) => "holds more than one line of text".to_owned(),
            Ok(text) => {
                let secret = Secret::new(text);
                self.secrets.push((join(&scope.path, key), secret.clone()));
                return Some(secret);
            }
            Err(why) => why,
        };
        let message = format!("{}: the secret cannot be used: {problem}", join(&scope.path, key));
        let fix = "provide one line with a password or a SCRAM-SHA-256 secret".to_owned();
        self.finding(Severity::Error, "secret", span, (message, fix));
        None
    }
}
