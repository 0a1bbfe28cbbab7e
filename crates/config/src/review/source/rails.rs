//! Rails' config/database.yml: the databases of production, with the defaults of their ERB templates.
//!
//! Templates are not run: `ENV.fetch("NAME") { 5 }` and its like are the default they name, all else is unknown.

use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use super::Unread;
use super::draft::{Draft, app};
use super::group;
use super::link::link;
use super::setting::{Setting, default_limit, is_secret, or_never, seconds, shown, signed};
use super::url::{connect, sent};
use super::yaml::{Leaf, MOST_BYTES, Node, documents, leaves};
use crate::review::chain::{App, Bound, Library};
use crate::review::place::Known;

/// Whose defaults they are.
const WHOSE: &str = "Rails'";
const POOL: u64 = 5;
const CHECKOUT: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(300);
/// Environments that say nothing of production.
const NOT_PRODUCTION: [&str; 3] = ["development", "test", "ci"];
/// Most databases of one file.
const MOST_DATABASES: usize = 200;
/// Most settings of one database: ten times what Rails and libpq know.
const MOST_SETTINGS: usize = 1000;

/// Reads one file.
pub(super) fn read(file: usize, text: &str, out: &mut Draft) -> Result<(), Unread> {
    if text.len() > MOST_BYTES {
        return Err(format!("longer than {MOST_BYTES} bytes: give the part that is about connections").into());
    }
    let documents = documents(&without_templates(text))?;
    let root = documents.first().ok_or("nothing is in it: production: {adapter: postgresql, …}")?;
    let mut apps = Vec::new();
    for (name, span, node) in databases(root).into_iter().take(MOST_DATABASES) {
        let settings = settings(&node, text)?;
        if is_postgres(&settings) {
            apps.push(pool(Known::written(name, file, span), &settings, (file, text), out));
        }
    }
    if apps.is_empty() {
        return Err("no database of PostgreSQL in it: production: {adapter: postgresql, …}".into());
    }
    group::take(apps, out);
    Ok(())
}

/// The text with letters for `<%= … %>` and blanks for `<% … %>`, byte for byte as long: YAML that says the same otherwise.
fn without_templates(text: &str) -> String {
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    while let Some(start) = text[at..].find("<%").map(|found| at + found) {
        let Some(end) = text[start..].find("%>").map(|found| start + found + 2) else { break };
        out.push_str(&text[at..start]);
        let filling = if text[start..].starts_with("<%=") { 'e' } else { ' ' };
        out.extend(std::iter::repeat_n(filling, end - start));
        at = end;
    }
    out.push_str(&text[at..]);
    out
}

/// The databases of production, else of the last environment that is not for development; else the file's own settings.
fn databases(root: &Rc<Node>) -> Vec<(String, Range<usize>, Rc<Node>)> {
    let is_map = |node: &Node| !node.entries().is_empty();
    let environments: Vec<_> = root.entries().iter().filter(|entry| is_map(&entry.value)).collect();
    let production = environments.iter().rev().find(|entry| entry.key.text() == Some("production"));
    let other = || {
        let real = |name: &str| !NOT_PRODUCTION.contains(&name);
        environments.iter().rev().find(|entry| entry.key.text().is_some_and(real))
    };
    let Some(environment) = production.or_else(other) else {
        return vec![("primary".to_owned(), root.span.clone(), Rc::clone(root))];
    };
    let node = &environment.value;
    let several: Vec<_> =
        node.entries().iter().filter(|entry| is_map(&entry.value) && entry.key.text() != Some("variables")).collect();
    if several.is_empty() {
        return vec![("primary".to_owned(), environment.key.span.clone(), Rc::clone(node))];
    }
    let one = |entry: &&super::yaml::Entry| {
        let name = entry.key.text().unwrap_or("database").to_owned();
        (name, entry.key.span.clone(), Rc::clone(&entry.value))
    };
    several.iter().map(one).collect()
}

/// Every value below a database by its name (`variables.statement_timeout`), templates as they stand in the file.
fn settings(node: &Rc<Node>, text: &str) -> Result<Vec<Setting>, String> {
    let one = |leaf: Leaf| {
        let span = leaf.node.span.clone();
        let raw = text.get(span.clone()).unwrap_or_default();
        let value = if raw.contains("<%") { unquoted(raw).to_owned() } else { leaf.node.text()?.to_owned() };
        (!leaf.node.is_null()).then(|| Setting { key: leaf.path.join("."), value, span })
    };
    let all = leaves(node)?;
    if all.len() > MOST_SETTINGS {
        return Err(format!("a database with more than {MOST_SETTINGS} settings"));
    }
    Ok(all.into_iter().filter_map(one).collect())
}

fn unquoted(raw: &str) -> &str {
    let inner = ['"', '\''].iter().find_map(|quote| raw.strip_prefix(*quote)?.strip_suffix(*quote));
    inner.unwrap_or(raw)
}

/// By its adapter, else by its URL; a database that says neither has both from DATABASE_URL.
fn is_postgres(settings: &[Setting]) -> bool {
    let of = |key: &str| settings.iter().rev().find(|set| set.key == key).map(|set| set.value.as_str());
    match (of("adapter"), of("url")) {
        (Some(adapter), _) => ["postgresql", "postgis", "postgres"].contains(&adapter) || adapter.contains("<%"),
        (None, Some(url)) => link(url, 0).is_some() || url.contains("<%"),
        (None, None) => settings.iter().any(|set| ["database", "pool", "host"].contains(&set.key.as_str())),
    }
}

/// One database: one pool per process.
fn pool(name: Known<String>, settings: &[Setting], (file, text): (usize, &str), out: &mut Draft) -> App {
    let span = super::setting::span_of(&name).unwrap_or_default();
    let mut made = app(out.stem(file), Library::Rails, file, span);
    made.pools.push(name);
    let of = |key: &str| settings.iter().rev().find(|set| set.key == key).map(|set| evaluated(set, text));
    if let Some(url) = of("url").flatten() {
        let quote = usize::from(text.get(url.span.clone()).is_some_and(|raw| raw.starts_with(['"', '\''])));
        if let Some(link) = link(&url.value, url.span.start + quote) {
            connect(&mut made, &link, (file, text), out);
        }
    }
    // what is written beside a URL holds over what the URL says
    for set in settings {
        if is_secret(&set.key) {
            out.mask(file, set.span.clone());
        }
        let known = shown(out, file, set, text);
        made.written.insert(set.key.clone(), known);
    }
    let known = |key: &str| of(key).flatten().map(|set| set.known(file));
    place(&mut made, &known);
    // a size that is a formula nobody can tell is not the default either
    let size = ["max_connections", "pool"].into_iter().find(|key| of(key).is_some());
    let written = size.and_then(known).and_then(|known| signed(&known));
    let unlimited = |size: i64| u64::try_from(size).map_or(Bound::Unlimited, Bound::Of);
    let from_url = made.pool_size.take();
    made.pool_size = match size {
        Some(_) => written.map(|size| size.map(unlimited)),
        None => from_url.or(Some(Known::default_of(Bound::Of(POOL), WHOSE))),
    };
    let limit = |key: &str| match of(key) {
        Some(_) => Some(known(key).and_then(|known| seconds(&known))),
        None => made.written.get(key).map(seconds),
    };
    made.acquire_timeout = limit("checkout_timeout").unwrap_or(default_limit(CHECKOUT, WHOSE));
    made.idle_timeout = or_never(limit("idle_timeout").unwrap_or(default_limit(IDLE, WHOSE)));
    made.lifetime = limit("max_age").flatten();
    if let Some(set) = of("options").flatten() {
        sent(&mut made, &set, (file, text));
    }
    made
}

/// Where it connects and as whom.
fn place(made: &mut App, known: &impl Fn(&str) -> Option<Known<String>>) {
    if let Some(host) = known("host") {
        let port = known("port").map_or(Some(5432), |port| port.value.trim().parse().ok());
        made.address = port.map(|port| (host.value, port));
    }
    made.user = known("username").or_else(|| known("user")).or_else(|| made.user.take());
    made.pool = known("database").or_else(|| made.pool.take());
}

/// A value with the default its template names, at the default's own bytes; `None`: nobody can tell.
fn evaluated(set: &Setting, text: &str) -> Option<Setting> {
    let value = set.value.trim();
    if !value.contains("<%") {
        return Some(set.clone());
    }
    let code = value.strip_prefix("<%=")?.strip_suffix("%>").filter(|code| !code.contains("<%"))?;
    let default = default_of(code)?;
    let raw = text.get(set.span.clone())?;
    // the last one: the variable's name may hold the same letters
    let at = raw.rfind(default).map(|at| set.span.start + at..set.span.start + at + default.len());
    Some(Setting { key: set.key.clone(), value: default.to_owned(), span: at.unwrap_or_else(|| set.span.clone()) })
}

/// `ENV.fetch("A") { 5 }`, `ENV.fetch("A", 5)`, `ENV["A"] || 5`, one within another, with `.to_i` behind: the 5. Also a bare 5.
fn default_of(code: &str) -> Option<&str> {
    let mut code = code.trim().trim_end_matches('-').trim();
    // one step for each call around it
    for _ in 0..8 {
        let before = code;
        for suffix in [".to_i", ".to_f", ".to_s", ".presence"] {
            code = code.strip_suffix(suffix).unwrap_or(code).trim();
        }
        for opening in ["Integer(", "Float(", "("] {
            code = code.strip_prefix(opening).and_then(|inner| inner.strip_suffix(')')).unwrap_or(code).trim();
        }
        if let Some(rest) = code.strip_prefix("ENV.fetch(") {
            let close = rest.find([')', ','])?;
            code = if rest[close..].starts_with(',') {
                rest[close + 1..].trim().strip_suffix(')')?
            } else {
                rest[close + 1..].trim().strip_prefix('{')?.strip_suffix('}')?
            };
        } else if let Some(rest) = code.strip_prefix("ENV[") {
            let close = rest.find(']')?;
            let behind = rest[close + 1..].trim();
            code = behind.strip_prefix(".presence").unwrap_or(behind).trim().strip_prefix("||")?;
        }
        code = code.trim();
        if code == before {
            break;
        }
    }
    let quoted = unquoted(code);
    let is_text = quoted.len() < code.len() && !quoted.contains(['"', '\'', '#', '\\']);
    let is_number = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_digit() || b"._-".contains(&byte));
    (is_text || is_number).then_some(quoted)
}

#[cfg(test)]
#[path = "rails/tests.rs"]
mod tests;
