//! SQLAlchemy: the arguments of `create_engine(...)` in Python, and Flask's `SQLALCHEMY_ENGINE_OPTIONS`.
//!
//! Python is not run: literals, constants of the file and the defaults of `os.getenv` are values, all else is unknown.

mod python;

use std::collections::BTreeMap;
use std::time::Duration;

use super::Unread;
use super::draft::{Draft, app};
use super::group;
use super::link::link;
use super::setting::{Setting, default_limit, is_secret, seconds, shown, signed};
use super::url::{connect, sent};
use crate::review::chain::{App, Bound, Library, Limit, Maybe};
use crate::review::place::Known;
use python::{Argument, Source};

/// Whose defaults they are.
const WHOSE: &str = "SQLAlchemy's";
const SIZE: u64 = 5;
const OVERFLOW: u64 = 10;
const ACQUIRE: Duration = Duration::from_secs(30);
/// What makes an engine.
const ENGINES: [&str; 4] = ["create_engine", "create_async_engine", "async_engine_from_config", "engine_from_config"];
/// Flask's settings of one.
const OPTIONS: [&str; 2] = ["SQLALCHEMY_ENGINE_OPTIONS", "ENGINE_OPTIONS"];
/// Most engines of one file.
const MOST_ENGINES: usize = 200;

/// Arguments of one engine by name, those of dictionaries within with a dot: `connect_args.options`.
type Arguments = BTreeMap<String, Setting>;

/// Reads one file.
pub(super) fn read(file: usize, text: &str, out: &mut Draft) -> Result<(), Unread> {
    let source = Source::of(text)?;
    let mut apps = Vec::new();
    for call in source.calls(&ENGINES).into_iter().take(MOST_ENGINES) {
        let mut arguments = Arguments::new();
        flatten(&source, "", &source.arguments(call.inner), 0, &mut arguments);
        apps.extend(engine(&call.name, call.place, arguments, (file, text), out));
    }
    for (name, inner) in source.assigned(&OPTIONS).into_iter().take(MOST_ENGINES) {
        let mut arguments = Arguments::new();
        flatten(&source, "", &source.arguments(inner.clone()), 0, &mut arguments);
        if let Some(url) = source.constant("SQLALCHEMY_DATABASE_URI") {
            arguments.insert("url".to_owned(), Setting { key: "url".to_owned(), ..url });
        }
        apps.extend(engine(&name, inner, arguments, (file, text), out));
    }
    for set in source.literals().filter(|set| is_secret(&set.key)) {
        out.mask(file, set.span);
    }
    if apps.is_empty() {
        return Err(
            "no engine of SQLAlchemy for PostgreSQL in it: create_engine(\"postgresql://…\", pool_size=…)".into()
        );
    }
    group::take(apps, out);
    Ok(())
}

/// Most arguments of one engine, those of its dictionaries among them: several times what SQLAlchemy and drivers know.
const MOST_ARGUMENTS: usize = 500;
/// Stands for arguments that cannot be told: `**options`.
const SPREAD: &str = "**";
/// How deep dictionaries and calls may stand in each other.
const MOST_DEPTH: usize = 6;

fn flatten(source: &Source<'_>, prefix: &str, arguments: &[Argument], depth: usize, out: &mut Arguments) {
    for (position, argument) in arguments.iter().enumerate() {
        if out.len() >= MOST_ARGUMENTS {
            return;
        }
        if let Some(spread) = source.spread(argument) {
            match source.dictionary(spread.clone()).filter(|_| depth < MOST_DEPTH) {
                Some(inner) => flatten(source, prefix, &source.arguments(inner), depth + 1, out),
                None => drop(out.insert(format!("{prefix}{SPREAD}"), source.value(SPREAD, spread))),
            }
            continue;
        }
        let key = match &argument.name {
            Some(name) => format!("{prefix}{name}"),
            None if prefix.is_empty() && position == 0 => "url".to_owned(),
            None => continue,
        };
        match source.dictionary(argument.value.clone()).filter(|_| depth < MOST_DEPTH) {
            Some(inner) => flatten(source, &format!("{key}."), &source.arguments(inner), depth + 1, out),
            None => {
                let set = source.value(&key, argument.value.clone());
                out.insert(key, set);
            }
        }
    }
}

/// One engine: one pool per process; `None` where its URL is of another database.
fn engine(
    name: &str,
    place: std::ops::Range<usize>,
    arguments: Arguments,
    (file, text): (usize, &str),
    out: &mut Draft,
) -> Option<App> {
    let url = arguments.get("url");
    let is_literal = url.is_some_and(|url| url.value.contains("://"));
    let read = url.and_then(|url| link(&url.value, start(url, text)));
    if is_literal && read.is_none() && !url.is_some_and(|url| url.value.starts_with('{')) {
        return None;
    }
    let mut made = app(out.stem(file), Library::SqlAlchemy, file, place.clone());
    made.pools.push(Known::written(name.to_owned(), file, place));
    for set in arguments.values().filter(|set| is_secret(&set.key)) {
        out.mask(file, set.span.clone());
    }
    if let Some(link) = read {
        connect(&mut made, &link, (file, text), out);
        // what a URL's query names is the driver's: SQLAlchemy itself takes no size from it
        made.pool_size = None;
        made.acquire_timeout = None;
        made.lifetime = None;
        made.idle_timeout = None;
    }
    for set in arguments.values().filter(|set| set.key != "url") {
        made.written.insert(set.key.clone(), shown(out, file, set, text));
    }
    let known = |key: &str| arguments.get(key).map(|set| set.known(file));
    // what may be in `**options` is unknown rather than the default
    let of = |key: &str| known(key).or_else(|| made.written.get(key).cloned()).or_else(|| known(SPREAD));
    let class = known("poolclass").map(|known| known.value).unwrap_or_default();
    let (size, acquire, life) = (size(&of, &class), acquire(&of), of("pool_recycle"));
    made.pool_size = size;
    made.acquire_timeout = acquire.filter(|_| !class.ends_with("NullPool"));
    made.lifetime = match life {
        Some(known) => seconds(&known),
        None => Some(Known::default_of(Limit::Never, WHOSE)),
    };
    made.query_timeout =
        known("connect_args.command_timeout").and_then(|known| seconds(&known)).or(made.query_timeout.take());
    startup(&mut made, &arguments, (file, text));
    Some(made)
}

/// Where a URL's letters begin in the text.
fn start(url: &Setting, text: &str) -> usize {
    let raw = text.get(url.span.clone()).unwrap_or_default();
    url.span.start + raw.find(&url.value).unwrap_or(0)
}

/// Size and overflow together, at the one that is written; what cannot be told is unknown. Without a pool nothing bounds it but the
/// application's concurrency, so that is unknown as well.
fn size(of: &impl Fn(&str) -> Option<Known<String>>, class: &str) -> Maybe<Bound> {
    if class.ends_with("NullPool") {
        return None;
    }
    if class.ends_with("StaticPool") || class.ends_with("AssertionPool") {
        return of("poolclass").map(|known| known.map(|_| Bound::Of(1)));
    }
    let number = |key: &str, default: u64| match of(key) {
        Some(known) => signed(&known),
        None => Some(Known::default_of(i64::try_from(default).unwrap_or(i64::MAX), WHOSE)),
    };
    let (size, overflow) = (number("pool_size", SIZE)?, number("max_overflow", OVERFLOW)?);
    // a pool of none is one without a limit, and so is an overflow below none
    let endless = if size.value == 0 { Some(&size) } else { Some(&overflow).filter(|overflow| overflow.value < 0) };
    if let Some(known) = endless {
        return Some(Known { value: Bound::Unlimited, place: known.place.clone() });
    }
    let sum = u64::try_from(size.value).ok()?.saturating_add(u64::try_from(overflow.value).ok()?);
    let place = if size.is_given() { size.place } else { overflow.place };
    Some(Known { value: Bound::Of(sum), place })
}

/// `None` waits for ever; 0 does not wait at all.
fn acquire(of: &impl Fn(&str) -> Option<Known<String>>) -> Maybe<Limit> {
    match of("pool_timeout") {
        Some(known) if known.value == "None" => Some(known.map(|_| Limit::Never)),
        Some(known) => seconds(&known),
        None => default_limit(ACQUIRE, WHOSE),
    }
}

/// What `connect_args` sends at the start: libpq's `options`, asyncpg's `server_settings`.
fn startup(made: &mut App, arguments: &Arguments, (file, text): (usize, &str)) {
    if let Some(set) = arguments.get("connect_args.options") {
        sent(made, set, (file, text));
    }
    for (key, set) in arguments {
        let server = key.strip_prefix("connect_args.server_settings.");
        if let Some(name) =
            server.or_else(|| key.strip_prefix("connect_args.").filter(|name| *name == "application_name"))
        {
            made.startup.insert(name.to_owned(), set.known(file));
        }
    }
}

#[cfg(test)]
mod tests;
