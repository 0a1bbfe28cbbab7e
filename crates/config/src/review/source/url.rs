//! DATABASE_URL and its like, in .env or any text: the parameters of libpq, Prisma, node-postgres, pgx and JDBC.
//!
//! Which library reads a URL is told by the parameters that only it knows; only then do its defaults count.

use std::ops::Range;
use std::time::Duration;

use super::Unread;
use super::draft::{Draft, app};
use super::group;
use super::link::{Link, decode, link};
use super::setting::{
    Setting, default_limit, go_time, is_secret, millis, options, or_never, plain, seconds, shown, signed, unfolded,
    whole,
};
use crate::review::chain::{App, Bound, Library, Limit};
use crate::review::place::Known;

/// How a URL of PostgreSQL begins; what JDBC has before it.
const BEGINS: [&str; 5] = ["postgres://", "postgresql://", "postgresql+", "postgis://", "postgresql:"];
const OF_JDBC: &str = "jdbc:";
/// Variables whose URL no application opens a pool with: migrations and tests.
const NOT_POOLED: [&str; 6] = [
    "directurl",
    "directdatabaseurl",
    "shadowdatabaseurl",
    "testdatabaseurl",
    "databaseurltest",
    "databaseurlunpooled",
];
/// Most URLs of one file: what has more is no configuration.
const MOST_URLS: usize = 200;

const PRISMA: &str = "Prisma's";
const PGX: &str = "pgx's";
const NODE: &str = "node-postgres's";
const JDBC: &str = "pgjdbc's";

/// Reads one file.
pub(super) fn read(file: usize, text: &str, out: &mut Draft) -> Result<(), Unread> {
    let mut apps: Vec<App> = Vec::new();
    let (mut at, mut seen) = (0, Vec::new());
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        if line.trim_start().starts_with(['#', ';']) || line.trim_start().starts_with("//") {
            continue;
        }
        if let Some(set) = variable(line, start) {
            if is_secret(&set.key) {
                out.mask(file, set.span.clone());
            } else {
                out.environment.push((set.key.clone(), set.known(file)));
            }
        }
        for span in urls(line, start) {
            let url = &text[span.clone()];
            let key = before(&text[start..span.start]);
            let Some(link) = link(url, span.start).filter(|_| !NOT_POOLED.contains(&plain(key).as_str())) else {
                continue;
            };
            if seen.contains(&url) || seen.len() >= MOST_URLS {
                continue;
            }
            seen.push(url);
            let name = Known::written(named(key, &link), file, span.clone());
            let mut made = app(out.stem(file), Library::Url, file, span);
            made.pools.push(name);
            connect(&mut made, &link, (file, text), out);
            defaults(&mut made, &link);
            apps.push(made);
        }
    }
    if apps.is_empty() && out.environment.is_empty() {
        return Err("no URL of PostgreSQL in it: DATABASE_URL=postgres://user@host/database?parameters".into());
    }
    group::take(apps, out);
    Ok(())
}

/// The variable before a URL, else its database.
fn named(key: &str, link: &Link) -> String {
    let database = || link.database.as_ref().map_or("url", |name| &name.value);
    if key.is_empty() { database() } else { key }.to_owned()
}

/// The name that stands before a value: `export DATABASE_URL="`, `url: "`.
fn before(text: &str) -> &str {
    let text = text.trim_end().trim_end_matches(['"', '\'', '`']).trim_end().trim_end_matches(['=', ':']).trim_end();
    let text = text.trim_end_matches(['"', '\'']);
    let start =
        text.rfind(|c: char| !(c.is_ascii_alphanumeric() || ['_', '-', '.'].contains(&c))).map_or(0, |at| at + 1);
    // the character before may be of several bytes
    text.get(start..).unwrap_or_default()
}

/// `NAME=value` or `export NAME="value"`, as shells and .env have it.
fn variable(line: &str, base: usize) -> Option<Setting> {
    let sign = line.find('=')?;
    let key = line[..sign].trim();
    let key = key.strip_prefix("export ").unwrap_or(key).trim();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return None;
    }
    let value = line[sign + 1..].trim();
    let start = line.len() - line[sign + 1..].trim_start().len();
    let inner = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    let start = start + usize::from(inner.is_some());
    let value = inner.unwrap_or_else(|| value.split(" #").next().unwrap_or(value).trim_end());
    Some(unfolded(&Setting {
        key: key.to_owned(),
        value: value.to_owned(),
        span: base + start..base + start + value.len(),
    }))
}

/// Where the URLs of a line stand.
fn urls(line: &str, base: usize) -> Vec<Range<usize>> {
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(found) = line[at..].find("postg").map(|found| at + found) {
        let is_jdbc = line[at..found].ends_with(OF_JDBC);
        if !BEGINS.iter().any(|begin| line[found..].starts_with(begin)) {
            at = found + "postg".len();
            continue;
        }
        let start = if is_jdbc { found - OF_JDBC.len() } else { found };
        let quote = line[..start].chars().next_back().filter(|c| ['"', '\'', '`'].contains(c));
        let ends = |c: char| c.is_whitespace() || quote.map_or(['"', '\'', '`', '<'].contains(&c), |quote| c == quote);
        let end = line[start..].find(ends).map_or(line.len(), |end| start + end);
        out.push(base + start..base + end);
        at = end;
    }
    out
}

/// What a URL tells of an application: where, as whom, and every parameter. `of` is the file and its text.
pub(super) fn connect(app: &mut App, link: &Link, of: (usize, &str), out: &mut Draft) {
    let (file, text) = of;
    if let Some(span) = &link.password {
        out.mask(file, span.clone());
    }
    let is_template = |text: &str| text.contains(['$', '{', '<']);
    app.address =
        link.host.as_ref().filter(|host| !is_template(host)).map(|host| (host.clone(), link.port.unwrap_or(5432)));
    let plain = |set: &Option<Setting>| set.as_ref().filter(|set| !is_template(&set.value)).map(|set| set.known(file));
    app.user = plain(&link.user);
    app.pool = plain(&link.database).or_else(|| app.user.clone());
    for set in &link.parameters {
        if is_secret(&set.key) {
            out.mask(file, set.span.clone());
        }
        parameter(app, set, link.is_jdbc, of);
        app.written.insert(set.key.clone(), shown(out, file, set, text));
    }
}

/// One parameter, by whichever library knows it.
pub(super) fn parameter(app: &mut App, set: &Setting, is_jdbc: bool, of: (usize, &str)) {
    let known = set.known(of.0);
    match set.key.as_str() {
        "connection_limit" | "pool_max_conns" | "max" | "max_connections" | "pool" | "pool_size" | "maxPoolSize" => {
            app.pool_size = whole(&known).map(|known| known.map(Bound::Of));
        }
        "pool_timeout" => app.acquire_timeout = or_never(seconds(&known)),
        "connectionTimeoutMillis" => app.acquire_timeout = or_never(millis(&known)),
        "socket_timeout" | "socketTimeout" => app.query_timeout = or_never(seconds(&known)),
        "query_timeout" => app.query_timeout = or_never(millis(&known)),
        "idleTimeoutMillis" => app.idle_timeout = or_never(millis(&known)),
        "maxLifetimeSeconds" | "max_connection_lifetime" => app.lifetime = or_never(seconds(&known)),
        "max_idle_connection_lifetime" => app.idle_timeout = or_never(seconds(&known)),
        "pool_max_conn_lifetime" => app.lifetime = go_time(&known),
        "pool_max_conn_idle_time" => app.idle_timeout = go_time(&known),
        "ApplicationName" if is_jdbc => drop(app.startup.insert("application_name".to_owned(), known)),
        "options" => sent(app, set, of),
        key => {
            if is_startup(key) && !is_jdbc {
                app.startup.insert(key.to_owned(), known);
            }
        }
    }
}

/// PostgreSQL's own settings that drivers other than JDBC's send along as they are.
fn is_startup(key: &str) -> bool {
    const OWN: [&str; 9] = [
        "application_name",
        "statement_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "transaction_timeout",
        "search_path",
        "timezone",
        "work_mem",
    ];
    OWN.contains(&key.to_ascii_lowercase().as_str()) || key.starts_with("default_transaction_")
}

/// The parameters within `options`, each at its own bytes; also where percent escapes hide some.
pub(super) fn sent(app: &mut App, set: &Setting, (file, text): (usize, &str)) {
    let raw = text.get(set.span.clone()).unwrap_or_default();
    let (decoded, from) = decode(raw);
    for (name, value, at) in options(&set.value) {
        let inner = (decoded == set.value).then(|| Some(*from.get(at.start)?..*from.get(at.end)?)).flatten();
        let direct = raw.find(&set.value).map(|shift| shift + at.start..shift + at.end);
        let span = direct.or(inner).map_or(set.span.clone(), |at| set.span.start + at.start..set.span.start + at.end);
        app.startup.insert(name, Known::written(value, file, span));
    }
}

/// The defaults of the library, where its own parameters show which it is.
fn defaults(app: &mut App, link: &Link) {
    let has = |keys: &[&str]| keys.iter().any(|key| app.written.contains_key(*key));
    let minutes = |count: u64| Duration::from_secs(60 * count);
    if link.is_jdbc {
        app.query_timeout = app.query_timeout.take().or(Some(Known::default_of(Limit::Never, JDBC)));
    } else if has(&[
        "pool_max_conns",
        "pool_min_conns",
        "pool_max_conn_lifetime",
        "pool_max_conn_lifetime_jitter",
        "pool_max_conn_idle_time",
        "pool_health_check_period",
    ]) {
        app.lifetime = app.lifetime.take().or(default_limit(minutes(60), PGX));
        app.idle_timeout = app.idle_timeout.take().or(default_limit(minutes(30), PGX));
    } else if has(&["connection_limit", "pool_timeout", "pgbouncer", "socket_timeout"]) {
        app.acquire_timeout = app.acquire_timeout.take().or(default_limit(Duration::from_secs(10), PRISMA));
    } else if has(&["max", "connectionTimeoutMillis", "idleTimeoutMillis", "maxLifetimeSeconds", "allowExitOnIdle"]) {
        app.pool_size = app.pool_size.take().or(Some(Known::default_of(Bound::Of(10), NODE)));
        app.acquire_timeout = app.acquire_timeout.take().or(Some(Known::default_of(Limit::Never, NODE)));
        app.idle_timeout = app.idle_timeout.take().or(default_limit(Duration::from_secs(10), NODE));
        app.lifetime = app.lifetime.take().or(Some(Known::default_of(Limit::Never, NODE)));
    }
}

/// What the variables of other files tell of a Rails application: its threads and processes, and the size that its database.yml
/// takes from a variable.
pub(super) fn environment(out: &mut Draft) {
    let variables = std::mem::take(&mut out.environment);
    let find = |name: &str| variables.iter().rev().find(|(key, _)| key == name).map(|(_, known)| known);
    let number = |name: &str| find(name).and_then(whole);
    adopt(&mut out.dossier.apps);
    for app in out.dossier.apps.iter_mut().filter(|app| app.library == Library::Rails) {
        app.threads = app.threads.take().or_else(|| number("RAILS_MAX_THREADS"));
        app.processes = app.processes.take().or_else(|| number("WEB_CONCURRENCY").filter(|count| count.value > 0));
        let asked = ["pool", "max_connections"].iter().find_map(|key| app.written.get(*key));
        let told = asked.and_then(|known| variables.iter().rev().find(|(name, _)| is_asked(&known.value, name)));
        if let Some(size) = told.and_then(|(_, known)| signed(known)) {
            app.pool_size = Some(size.map(|size| u64::try_from(size).map_or(Bound::Unlimited, Bound::Of)));
        }
    }
}

/// DATABASE_URL beside a database.yml is where Rails' primary database is, and no pool of its own.
fn adopt(apps: &mut Vec<App>) {
    let is_url =
        |app: &App| app.library == Library::Url && matches!(app.pools.as_slice(), [one] if one.value == "DATABASE_URL");
    let is_primary = |app: &App| app.library == Library::Rails && app.pools.iter().any(|pool| pool.value == "primary");
    let (Some(url), true) = (apps.iter().position(is_url), apps.iter().filter(|app| is_primary(app)).count() == 1)
    else {
        return;
    };
    let told = apps.remove(url);
    if let Some(app) = apps.iter_mut().find(|app| is_primary(app)) {
        app.address = told.address.or(app.address.take());
        app.user = told.user.or(app.user.take());
        app.pool = told.pool.or(app.pool.take());
        app.pool_size = told.pool_size.or(app.pool_size.take());
        app.startup.extend(told.startup);
        app.written.extend(told.written);
    }
}

/// Whether a template asks for that variable alone: `<%= ENV.fetch("NAME") { 5 } %>`.
fn is_asked(template: &str, name: &str) -> bool {
    let quoted = ['"', '\''].iter().any(|quote| template.contains(&format!("{quote}{name}{quote}")));
    quoted && template.matches("ENV").count() == 1 && !template.contains(['+', '*', '/'])
}

#[cfg(test)]
#[path = "url/tests.rs"]
mod tests;
