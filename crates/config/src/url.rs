//! `--database URL`: one PostgreSQL, one URL, everything else by default.

use std::fmt;

use crate::model::Config;
use crate::secret::SecretRef;
use crate::walk::{join, quote};

/// Why a URL was refused; never holds the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError(String);

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UrlError {}

#[derive(Default)]
struct Parts {
    user: Option<String>,
    password: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    database: Option<String>,
    connect_timeout: Option<u32>,
    application_name: Option<String>,
    /// Settings of TLS: the key in `[servers.main]`, the value.
    tls: Vec<(&'static str, String)>,
}

/// libpq's parameters of TLS and what they are called in `[servers.NAME]`.
const TLS: [(&str, &str); 6] = [
    ("sslmode", "tls"),
    ("sslrootcert", "tls_ca"),
    ("sslcert", "tls_certificate"),
    ("sslkey", "tls_key"),
    ("sslnegotiation", "tls_negotiation"),
    ("channel_binding", "channel_binding"),
];

impl Config {
    /// The configuration of `postgres://user:password@host:port/database?...`: any database of that server, on loopback.
    ///
    /// With a password, clients log in as that user by SCRAM with the same password; without, they are trusted.
    ///
    /// # Errors
    /// What is wrong with the URL and what to write.
    pub fn from_url(url: &str) -> Result<Self, UrlError> {
        let (text, password) = Self::file_of_url(url)?;
        let mut resolve = |_: SecretRef| password.clone().ok_or_else(|| "the url has no password".to_owned());
        let (config, findings) = Self::parse(&text, &mut resolve);
        let why = || findings.iter().map(|finding| finding.message.as_str()).collect::<Vec<_>>().join("; ");
        config.ok_or_else(|| UrlError(format!("the url does not give a configuration: {}", why())))
    }

    /// The file that says the same as the URL, and the password that every secret of it is.
    ///
    /// # Errors
    /// What is wrong with the URL and what to write.
    pub fn file_of_url(url: &str) -> Result<(String, Option<String>), UrlError> {
        let parts = split(url).map_err(UrlError)?;
        Ok((as_toml(&parts), parts.password))
    }
}

/// The file that would say the same; the password stays outside.
fn as_toml(parts: &Parts) -> String {
    let host = parts.host.as_deref().unwrap_or("localhost");
    let mut lines = vec!["[servers.main]".to_owned(), format!("host = {}", quote(host))];
    lines.extend(parts.tls.iter().map(|(key, value)| format!("{key} = {}", quote(value))));
    lines.extend(parts.port.map(|port| format!("port = {port}")));
    lines.extend(parts.connect_timeout.map(|seconds| format!("connect_timeout = \"{seconds}s\"")));
    if let Some(user) = &parts.user {
        let database = parts.database.as_deref().unwrap_or(user);
        lines.push("[servers.main.watch]".to_owned());
        lines.push(format!("user = {}\ndatabase = {}", quote(user), quote(database)));
        lines.extend(parts.password.as_ref().map(|_| "password_env = \"url\"".to_owned()));
    }
    lines.push("[pools.\"*\"]\nserver = \"main\"".to_owned());
    if let Some(name) = &parts.application_name {
        lines.push(format!("startup = {{ application_name = {} }}", quote(name)));
    }
    match (&parts.user, &parts.password) {
        (Some(user), Some(_)) => {
            lines.push("[auth]\nmethod = \"scram-sha-256\"".to_owned());
            lines.push(format!("[{}]\npassword_env = \"url\"", join("users", user)));
        }
        (_, None) | (None, Some(_)) => lines.push("[auth]\nmethod = \"trust\"".to_owned()),
    }
    lines.join("\n")
}

fn split(url: &str) -> Result<Parts, String> {
    let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
    let rest = rest.ok_or("the url does not start with postgres:// or postgresql://")?;
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, query)| (rest, query));
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
    // The last @: one in a password that was not escaped is forgiven.
    let (login, place) = authority.rsplit_once('@').map_or(("", authority), |(login, place)| (login, place));
    let mut parts = Parts::default();
    let (user, password) = login.split_once(':').map_or((login, ""), |(user, password)| (user, password));
    parts.user = some(decode("user", user)?);
    parts.password = some(decode("password", password)?);
    parts.database = some(decode("database", path)?);
    address(&mut parts, place)?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameter(&mut parts, &decode("parameter", key)?, decode("parameter", value)?)?;
    }
    if parts.password.is_some() && parts.user.is_none() {
        return Err("the url has a password but no user: write postgres://user:password@host/database".to_owned());
    }
    Ok(parts)
}

fn address(parts: &mut Parts, place: &str) -> Result<(), String> {
    if place.contains(',') {
        return Err("the url names several hosts: name one, or list them as [servers.NAME] in a file".to_owned());
    }
    let after_brackets = place.rfind(']').map_or(0, |at| at);
    let colon = place[after_brackets..].rfind(':').map(|at| at + after_brackets);
    let (host, port) = colon.map_or((place, ""), |at| (&place[..at], &place[at + 1..]));
    parts.host = some(decode("host", host)?);
    if !port.is_empty() {
        parts.port = Some(whole(port, "port")?);
    }
    Ok(())
}

fn parameter(parts: &mut Parts, key: &str, value: String) -> Result<(), String> {
    if let Some((_, ours)) = TLS.iter().find(|(theirs, _)| *theirs == key) {
        // libpq's word for the system's roots, which are what is used where no file is named
        if (key, value.as_str()) != ("sslrootcert", "system") {
            parts.tls.push((ours, value));
        }
        return Ok(());
    }
    match key {
        "host" => parts.host = some(value),
        "port" => parts.port = Some(whole(&value, "port")?),
        "user" => parts.user = some(value),
        "password" => parts.password = some(value),
        "dbname" => parts.database = some(value),
        "connect_timeout" => parts.connect_timeout = Some(whole(&value, "connect_timeout")?).filter(|s| *s > 0),
        "application_name" => parts.application_name = some(value),
        other => {
            let known = "host, port, user, password, dbname, connect_timeout, application_name, sslmode, sslrootcert, \
                         sslcert, sslkey, sslnegotiation, channel_binding";
            return Err(format!(
                "the url's parameter `{other}` is not known here (known: {known}); a file can say more"
            ));
        }
    }
    Ok(())
}

fn whole<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("the url's {what} is not a whole number in range"))
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn decode(what: &str, text: &str) -> Result<String, String> {
    let wrong = || format!("the url's {what} has a broken percent escape: write %25 for a percent sign");
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let digits =
                text.get(at + 1..at + 3).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit())).ok_or_else(wrong)?;
            out.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    let decoded = String::from_utf8(out).map_err(|_| format!("the url's {what} is not UTF-8"))?;
    if decoded.contains('\0') { Err(format!("the url's {what} holds a NUL character")) } else { Ok(decoded) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AuthMethod, Host, TlsMode};

    #[test]
    fn a_full_url_gives_server_user_and_scram() {
        let config =
            Config::from_url("postgres://al%20ice:p%40ss%22@db.internal:5433/shop?sslmode=prefer&connect_timeout=3")
                .expect("a valid url");
        let server = &config.servers[0];
        assert_eq!((&server.host, server.port), (&Host::Name("db.internal".into()), 5433));
        assert_eq!(server.connect_timeout.as_secs(), 3);
        assert_eq!(config.auth.method, AuthMethod::ScramSha256);
        let route = config.route("anything", "al ice").expect("any database is served");
        assert_eq!((route.database, route.user), ("anything", "al ice"));
        assert_eq!(route.secret.map(crate::Secret::reveal), Some("p@ss\""));
        assert_eq!(server.watch.as_ref().map(|watch| watch.database.as_str()), Some("shop"));
        assert!(!format!("{config:?}").contains("p@ss"));
    }

    #[test]
    fn sockets_ipv6_and_no_password_are_understood() {
        let config = Config::from_url("postgresql://app@[::1]:5433/").expect("a valid url");
        assert_eq!(config.servers[0].host, Host::Address("::1".parse().expect("an address")));
        assert_eq!(config.auth.method, AuthMethod::Trust);
        let config = Config::from_url("postgres:///shop?host=/run/postgresql").expect("a valid url");
        assert_eq!(config.servers[0].host, Host::Socket("/run/postgresql".into()));
        let config = Config::from_url("postgres://%2Frun%2Fpg/shop").expect("a valid url");
        assert_eq!(config.servers[0].host, Host::Socket("/run/pg".into()));
    }

    #[test]
    fn libpqs_parameters_of_tls_are_the_servers() {
        let server = |url: &str| Config::from_url(url).expect(url).servers[0].tls.clone();
        assert_eq!(server("postgres://u:p@h/db").mode, TlsMode::Prefer);
        assert_eq!(server("postgres://u:p@h/db?sslmode=disable").mode, TlsMode::Disable);
        let tls = server("postgres://u:p@h/db?sslmode=verify-full&sslrootcert=/ca.crt&channel_binding=require");
        assert_eq!((tls.mode, tls.ca.as_deref()), (TlsMode::VerifyFull, Some("/ca.crt")));
        assert_eq!(server("postgres://u:p@h/db?sslmode=verify-full&sslrootcert=system").ca, None);
    }

    #[test]
    fn broken_urls_say_what_to_write_and_never_the_password() {
        let table = [
            ("mysql://x", "postgres://"),
            ("postgres://u:hunter2@h:port/db", "port"),
            ("postgres://u:hunter2@h:70000/db", "port"),
            ("postgres://u:%zz@h/db", "percent"),
            ("postgres://u:hunter2@h1,h2/db", "several hosts"),
            ("postgres://u:hunter2@h/db?sslmode=maybe", "maybe"),
            ("postgres://u:hunter2@h/db?frob=1", "frob"),
            ("postgres://:hunter2@h/db", "no user"),
            ("postgres://u:hunter2%0Ax@h/db", "more than one line"),
            ("postgres://u:hunter2@h h/db", "host"),
        ];
        for (url, expected) in table {
            let error = Config::from_url(url).expect_err(url).to_string();
            assert!(error.contains(expected), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{url}: {error}");
        }
    }
}
