//! HikariCP's settings: its own .properties, or Spring's in .properties and YAML, one pool for each data source.
//!
//! Spring's names are read as Spring does: `maximum-pool-size`, `maximumPoolSize` and `maximum_pool_size` are one. Of several
//! documents all count and the last written holds, but those of profiles for tests and development stand behind all others.

mod properties;

use std::collections::BTreeMap;
use std::time::Duration;

use super::Unread;
use super::draft::{Draft, app};
use super::group;
use super::link::link;
use super::setting::{Setting, default_limit, duration, is_secret, millis, or_never, plain, shown, unfolded, whole};
use super::url::{connect, parameter};
use super::yaml::{documents, leaves};
use crate::review::chain::{App, Bound, Library, Limit, Maybe};
use crate::review::place::Known;

/// Whose defaults they are.
const WHOSE: &str = "HikariCP's";
const POOL: u64 = 10;
const ACQUIRE: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(600);
const LIFETIME: Duration = Duration::from_secs(1800);
/// Settings that only a pool of HikariCP has.
const OWN: [&str; 12] = [
    "maximumpoolsize",
    "minimumidle",
    "connectiontimeout",
    "idletimeout",
    "maxlifetime",
    "keepalivetime",
    "leakdetectionthreshold",
    "validationtimeout",
    "initializationfailtimeout",
    "poolname",
    "jdbcurl",
    "connectioninitsql",
];
/// Settings of a data source whoever pools it.
const SOURCE: [&str; 6] = ["url", "username", "user", "password", "driverclassname", "datasourceclassname"];
/// Profiles that say nothing of production.
const NOT_PRODUCTION: [&str; 8] = ["test", "tests", "dev", "development", "local", "ci", "integrationtest", "it"];
/// Most data sources of one file.
const MOST_SOURCES: usize = 200;

/// One document: its settings by their full names, and the profile it is for.
#[derive(Debug, Default)]
struct Document {
    settings: Vec<Setting>,
    profile: Option<String>,
}

/// Settings of one data source by their plain names; the last written holds.
type Source = BTreeMap<String, Setting>;

/// Reads one file.
pub(super) fn read(file: usize, text: &str, out: &mut Draft) -> Result<(), Unread> {
    let is_yaml = out.dossier.texts.get(file).is_some_and(|kept| {
        let name = kept.name.to_ascii_lowercase();
        name.ends_with(".yml") || name.ends_with(".yaml")
    });
    let mut all = if is_yaml { yaml(text)? } else { properties::documents(text)? };
    all.sort_by_key(|document| !document.profile.as_ref().is_some_and(|profile| is_for_tests(profile)));
    let (sources, profiles, name) = sources(&all);
    let name = name.unwrap_or_else(|| out.stem(file));
    let mut apps = Vec::new();
    for (path, source) in sources.into_iter().take(MOST_SOURCES) {
        let profile = profiles.get(&path).map(|profile| format!(" (profile {profile})")).unwrap_or_default();
        apps.extend(pool(&name, &format!("{path}{profile}"), source, (file, text), out));
    }
    for set in all.iter().flat_map(|document| &document.settings).filter(|set| is_secret(&set.key)) {
        out.mask(file, set.span.clone());
    }
    if apps.is_empty() {
        return Err(
            "no pool of HikariCP to PostgreSQL in it: spring.datasource.url and .hikari, or maximumPoolSize".into()
        );
    }
    group::take(apps, out);
    Ok(())
}

fn yaml(text: &str) -> Result<Vec<Document>, Unread> {
    let mut out = Vec::new();
    for root in documents(text)? {
        let mut document = Document::default();
        for leaf in leaves(&root)?.into_iter().filter(|leaf| !leaf.node.is_null()) {
            let value = leaf.node.text().unwrap_or_default().to_owned();
            document.take(Setting { key: leaf.path.join("."), value, span: leaf.node.span.clone() });
        }
        out.push(document);
    }
    Ok(out)
}

impl Document {
    /// One setting; the document's profile is one of them.
    fn take(&mut self, set: Setting) {
        if ["spring.config.activate.on-profile", "spring.config.activate.onProfile", "spring.profiles"]
            .contains(&set.key.as_str())
        {
            self.profile = Some(set.value.clone());
        }
        self.settings.push(set);
    }
}

fn is_for_tests(profile: &str) -> bool {
    profile.split([',', '|', '&']).all(|one| NOT_PRODUCTION.contains(&plain(one).as_str()))
}

/// Data sources by the path that leads to them, the profile that said something of each last, and the application's name.
fn sources(all: &[Document]) -> (BTreeMap<String, Source>, BTreeMap<String, String>, Option<String>) {
    let (mut sources, mut profiles, mut name) = (BTreeMap::<String, Source>::new(), BTreeMap::new(), None);
    for document in all {
        for set in &document.settings {
            if set.key == "spring.application.name" && !set.value.contains("${") {
                name = Some(set.value.clone());
            }
            let Some((path, key)) = owner(&set.key) else { continue };
            sources.entry(path.clone()).or_default().insert(key, unfolded(set));
            if let Some(profile) = &document.profile {
                profiles.insert(path, profile.clone());
            }
        }
    }
    (sources, profiles, name)
}

/// The data source a setting is of, and its plain name there; `data.NAME` for the driver's own.
fn owner(key: &str) -> Option<(String, String)> {
    let parts: Vec<&str> = key.split('.').collect();
    let (last, before) = parts.split_last()?;
    let plains: Vec<String> = before.iter().map(|part| plain(part)).collect();
    let at = |name: &str| plains.iter().rposition(|part| part == name);
    let path = |end: usize| if end == 0 { "HikariCP".to_owned() } else { before[..end].join(".") };
    if let Some(properties) = at("datasourceproperties") {
        let end = at("hikari").unwrap_or(properties);
        return Some((path(end), format!("data.{last}")));
    }
    if before == ["dataSource"] {
        return Some((path(0), format!("data.{last}")));
    }
    if let Some(hikari) = at("hikari") {
        return (hikari + 1 == before.len()).then(|| (path(hikari), plain(last)));
    }
    let end = at("configuration").filter(|end| end + 1 == before.len()).unwrap_or(before.len());
    let name = plain(last);
    let is_known = OWN.contains(&name.as_str()) || SOURCE.contains(&name.as_str());
    let is_source =
        end == 0 || plains.iter().any(|part| part.contains("datasource")) || name == "jdbcurl" || name == "url";
    (is_known && is_source).then(|| (path(end), name))
}

/// One data source: one pool per process; `None`: of another database, or nothing that HikariCP pools.
fn pool(name: &str, path: &str, mut source: Source, (file, text): (usize, &str), out: &mut Draft) -> Option<App> {
    let url = source.get("jdbcurl").or_else(|| source.get("url")).or_else(|| source.get("data.url")).cloned();
    let read = url.as_ref().map(|url| link(&url.value, inner_start(url, text)));
    let is_hikari = OWN.iter().any(|key| source.contains_key(*key));
    let is_other = matches!(&read, Some(None)) && url.as_ref().is_some_and(|url| !url.value.contains("${"));
    // a URL of PostgreSQL alone is pooled by Spring's default, which is HikariCP
    if is_other || !is_hikari && !matches!(&read, Some(Some(_))) {
        return None;
    }
    let first = source.values().map(|set| set.span.clone()).min_by_key(|span| span.start)?;
    let place = url.as_ref().or_else(|| source.get("maximumpoolsize")).map_or(first, |set| set.span.clone());
    let mut made = app(name.to_owned(), Library::Hikari, file, place.clone());
    let called = source.get("poolname").map_or(path, |set| &set.value).to_owned();
    made.pools.push(Known::written(called, file, place));
    for set in source.values().filter(|set| is_secret(&set.key)) {
        out.mask(file, set.span.clone());
    }
    if let Some(link) = read.flatten() {
        connect(&mut made, &link, (file, text), out);
    }
    driver(&mut made, &source, (file, text));
    for set in source.values() {
        made.written.insert(set.key.clone(), shown(out, file, set, text));
    }
    let user = source.remove("username").or_else(|| source.remove("user"));
    made.user = user.filter(|user| !user.value.contains("${")).map(|user| user.known(file)).or(made.user.take());
    limits(&mut made, &source, file);
    Some(made)
}

/// Where a value begins behind its quote, if it stands as it is in the text.
fn inner_start(set: &Setting, text: &str) -> usize {
    let raw = text.get(set.span.clone()).unwrap_or_default();
    set.span.start + raw.find(&set.value).unwrap_or(0)
}

/// What the driver's own properties tell.
fn driver(made: &mut App, source: &Source, (file, text): (usize, &str)) {
    let data = |key: &str| {
        source.iter().find(|(name, _)| name.eq_ignore_ascii_case(&format!("data.{key}"))).map(|(_, set)| set)
    };
    if let Some(host) = data("serverName").filter(|set| !set.value.contains("${")) {
        let port = data("portNumber").map_or(Some(5432), |set| set.value.trim().parse().ok());
        made.address = port.map(|port| (host.value.clone(), port));
    }
    made.pool = data("databaseName").map(|set| set.known(file)).or(made.pool.take());
    made.user = data("user").map(|set| set.known(file)).or(made.user.take());
    for (key, set) in source {
        if let Some(key) = key.strip_prefix("data.") {
            let set = Setting { key: key.to_owned(), ..set.clone() };
            parameter(made, &set, true, (file, text));
        }
    }
}

/// Sizes and times, with HikariCP's defaults.
fn limits(made: &mut App, source: &Source, file: usize) {
    let known = |key: &str| source.get(key).map(|set| set.known(file));
    // a written value that cannot be read is unknown, not the default
    let limit = |key: &str, default: Duration| match known(key) {
        Some(known) => or_never(time(&known)),
        None => default_limit(default, WHOSE),
    };
    made.pool_size = match known("maximumpoolsize") {
        Some(known) => whole(&known).map(|known| known.map(Bound::Of)),
        None => Some(Known::default_of(Bound::Of(POOL), WHOSE)),
    };
    made.acquire_timeout = limit("connectiontimeout", ACQUIRE);
    made.idle_timeout = limit("idletimeout", IDLE);
    made.lifetime = limit("maxlifetime", LIFETIME);
    made.keepalive = known("keepalivetime").and_then(|known| or_never(time(&known)));
    made.query_timeout = made.query_timeout.take().or(Some(Known::default_of(Limit::Never, "pgjdbc's")));
}

/// Milliseconds, or a time with a unit.
fn time(known: &Known<String>) -> Maybe<Limit> {
    millis(known).or_else(|| Some(Known { value: Limit::After(duration(&known.value)?), place: known.place.clone() }))
}

#[cfg(test)]
mod tests;
