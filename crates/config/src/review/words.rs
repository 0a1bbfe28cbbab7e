//! The names of limits in each pooler's own words, for fixes that are typed as they stand.

use super::chain::Library;
use super::chain::{App, Bound, Kind, Limit, Pool, Pooler, Postgres};
use super::dossier::Dossier;
use super::finding::Finding;
use super::place::{Known, Place};
use super::sums::Consumer;

/// A name as a key of TOML: quoted where it must be.
fn quoted(name: &str) -> String {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if plain { name.to_owned() } else { format!("\"{name}\"") }
}

/// The key of one setting of a pool: `own` in poolwarden.toml, `default` elsewhere.
/// `[databases]`.
pub(crate) fn pool_key(pooler: &Pooler, pool: &Pool, own: &str, default: &str) -> String {
    match pooler.kind {
        Kind::Poolwarden => format!("pools.{}.{own}", quoted(&pool.name.value)),
        Kind::PgBouncer | Kind::RdsProxy | Kind::Odyssey => default.to_owned(),
    }
}

/// The key of a pool's size: where it is written.
pub(crate) fn size_key(pooler: &Pooler, pool: &Pool) -> String {
    match pooler.kind {
        Kind::Poolwarden => pool_key(pooler, pool, "size", ""),
        Kind::PgBouncer if pool.shadowed.is_some() => format!("pool_size of {} in [databases]", pool.name.value),
        Kind::PgBouncer => "default_pool_size".to_owned(),
        Kind::RdsProxy => "MaxConnectionsPercent".to_owned(),
        Kind::Odyssey => "pool_size".to_owned(),
    }
}

/// A pool's size as it is typed.
pub(crate) fn size_typed(pooler: &Pooler, pool: &Pool, size: u64) -> String {
    if pooler.kind == Kind::PgBouncer && pool.shadowed.is_some() {
        return format!("pool_size={size} in the line of {} in [databases]", pool.name.value);
    }
    format!("{} = {size}", size_key(pooler, pool))
}

/// The key of the connections that are always kept.
pub(crate) fn min_size_key(pooler: &Pooler, pool: &Pool) -> String {
    pool_key(pooler, pool, "min_size", "min_pool_size")
}

/// The key of the reserve.
pub(crate) fn reserve_key(pooler: &Pooler, pool: &Pool) -> String {
    pool_key(pooler, pool, "reserve", "reserve_pool_size")
}

/// The key of the wait after which the reserve opens.
pub(crate) fn reserve_after_key(pooler: &Pooler, pool: &Pool) -> String {
    pool_key(pooler, pool, "reserve_after", "reserve_pool_timeout")
}

/// The key of an instance's most clients.
pub(crate) const fn clients_key(kind: Kind) -> &'static str {
    match kind {
        Kind::Poolwarden => "limits.max_clients",
        Kind::PgBouncer => "max_client_conn",
        Kind::RdsProxy => "MaxConnectionsPercent",
        Kind::Odyssey => "client_max",
    }
}

/// What bounds an instance to `share` backends on a server: the host budget, or the same per database.
pub(crate) fn bound_to(pooler: &Pooler, server: usize, postgres: &Postgres, share: u64) -> String {
    let databases = pooler.pools.iter().filter(|pool| pool.server == server).count().max(1) as u64;
    match pooler.kind {
        Kind::Poolwarden => format!("write servers.{}.max_connections = {share}", quoted(&postgres.name)),
        Kind::PgBouncer if databases == 1 => format!("write max_db_connections = {share}"),
        Kind::PgBouncer => {
            let each = share / databases;
            format!("write max_db_connections = {each}: {databases} databases share {share}")
        }
        Kind::RdsProxy => format!("lower MaxConnectionsPercent until it comes to {share} connections"),
        Kind::Odyssey => format!("lower pool_size until all pools together have {share}"),
    }
}

/// How the connections of an application come to be: `6 replicas x 4 processes x 2 pools x 10`.
pub(crate) fn factors(app: &App, surge: bool) -> String {
    let mut text = match app.replicas.as_ref().map(|known| known.value) {
        Some(Bound::Of(replicas)) => format!("{replicas} replicas"),
        Some(Bound::Unlimited) => "unbounded replicas".to_owned(),
        None => "unknown replicas".to_owned(),
    };
    if let Some(extra) = app.surge.as_ref().filter(|known| surge && known.value > 0.0) {
        text += &format!(" + {:.0} % while deploying", extra.value * 100.0);
    }
    if let Some(processes) = app.processes.as_ref().filter(|known| known.value != 1) {
        text += &format!(" x {} processes", processes.value);
    }
    if app.pools.len() > 1 {
        text += &format!(" x {} pools", app.pools.len());
    }
    text + &match app.pool_size.as_ref().map(|known| known.value) {
        Some(Bound::Of(size)) => format!(" x {size}"),
        Some(Bound::Unlimited) => " x unlimited".to_owned(),
        None => " x unknown pool size".to_owned(),
    }
}

/// A size in words.
pub(crate) fn size(bound: Bound) -> String {
    bound.number().map_or_else(|| "unlimited".to_owned(), |number| number.to_string())
}

/// A limit of time in words.
pub(crate) fn limit(limit: Limit) -> String {
    limit.span().map_or_else(|| "never".to_owned(), |span| format!("{span:?}"))
}

/// The number that decides how many backends a consumer has, and how they come to be.
pub(crate) fn consumer(who: Consumer<'_>, server: usize, most: u64) -> (Place, String) {
    match who {
        Consumer::App(app) => {
            let place = app.pool_size.as_ref().map_or(&app.place, |known| &known.place);
            (place.clone(), format!("{} without a pooler: {} = {most}", app.name, factors(app, false)))
        }
        Consumer::Pooler(pooler) => {
            let place = pooler.deciding(server).map_or(Place::Default("pooler's"), |known| known.place.clone());
            let (one, instances) = (size(pooler.instance_backends(server)), pooler.instances.value);
            let databases = pooler.pools.iter().filter(|pool| pool.server == server).count();
            (place, format!("{}: {one} of {databases} databases x {instances} instances = {most}", pooler.name))
        }
    }
}

/// How an application's own file says that its pool has so many connections.
pub(crate) fn app_size(app: &App, size: u64) -> String {
    let place = app.pool_size.as_ref().map(|known| &known.place);
    let written = app.written.iter().find(|(_, known)| known.is_given() && Some(&known.place) == place);
    let key = written.map(|(key, _)| key.rsplit('.').next().unwrap_or(key));
    let usual = match app.library {
        Library::SqlAlchemy => return format!("pool_size = {size} and max_overflow = 0"),
        Library::Declared | Library::Url => "pool_size",
        Library::Hikari => "maximumPoolSize",
        Library::Rails => "pool",
    };
    format!("{} = {size}", key.unwrap_or(usual))
}

/// The edit of an application's pool size; none where the size is a sum of two settings (SQLAlchemy's size and overflow).
pub(crate) fn resize(finding: &mut Finding, app: &App, size: u64) {
    if let Some(known) = app.pool_size.as_ref().filter(|_| app.library != Library::SqlAlchemy) {
        finding.write(known, size.to_string());
    }
}

/// How a pool of one instance comes to have `needed` server connections, and the value to write where that is an edit of
/// `known`, which bounds it now; no edit where PostgreSQL has not that many.
pub(crate) fn raise(
    of: &Dossier,
    pooler: &Pooler,
    pool: &Pool,
    known: &Known<Bound>,
    needed: u64,
) -> (String, Option<u64>) {
    let left = of.postgres.get(pool.server).and_then(Postgres::left);
    let share = left.map_or(u64::MAX, |left| left / pooler.instances.value.max(1));
    if needed > share {
        let why = format!("{needed} server connections per instance are needed, and PostgreSQL has {share} for it");
        return (format!("{why}: hold each for a shorter time, or raise max_connections"), None);
    }
    if *known == pool.size {
        let size = needed.div_ceil(pool.known_users());
        return (format!("write {}", size_typed(pooler, pool, size)), Some(size));
    }
    if let Some((user, _)) = pooler.tightest_user(pool).filter(|(_, limit)| *limit == known) {
        let each = needed.div_ceil(pool.known_users());
        let size = pool.each().number().filter(|size| *size < each);
        let larger = size.map_or_else(String::new, |_| format!(", and {}", size_typed(pooler, pool, each)));
        let why = if larger.is_empty() {
            "; a larger pool has no effect before that"
        } else {
            "; one without the other has no effect"
        };
        return (format!("write {} = {each}{larger}{why}", user_key(pooler, user)), larger.is_empty().then_some(each));
    }
    let key = match pooler.kind {
        Kind::Poolwarden if *known == pool.max_connections => pool_key(pooler, pool, "max_connections", ""),
        Kind::Poolwarden => {
            let name = of.postgres.get(pool.server).map_or("NAME", |postgres| &postgres.name);
            format!("servers.{}.max_connections", quoted(name))
        }
        Kind::PgBouncer => "max_db_connections".to_owned(),
        Kind::RdsProxy => "MaxConnectionsPercent".to_owned(),
        Kind::Odyssey => "pool_size".to_owned(),
    };
    (format!("write {key} = {needed}"), Some(needed))
}

/// The key of a user's limit.
pub(crate) fn user_key(pooler: &Pooler, user: &str) -> String {
    match pooler.kind {
        Kind::Poolwarden => format!("users.{}.max_connections", quoted(user)),
        Kind::PgBouncer if pooler.users.contains_key(user) => format!("max_user_connections of {user} in [users]"),
        Kind::PgBouncer | Kind::RdsProxy | Kind::Odyssey => "max_user_connections".to_owned(),
    }
}

/// How a second pool of the same database is made, `NAME_suffix`, in the file's own words; `mode` where it needs one.
pub(crate) fn second_pool(of: &Dossier, pooler: &Pooler, pool: &Pool, (suffix, mode): (&str, Option<&str>)) -> String {
    let name = format!("{}_{suffix}", pool.name.value);
    let database = pool.database.as_deref().unwrap_or("NAME");
    let server = of.postgres.get(pool.server);
    match pooler.kind {
        Kind::Poolwarden => {
            let mode = mode.map_or_else(String::new, |mode| format!(" and mode = \"{mode}\""));
            format!("[pools.{}] with database = \"{database}\"{mode}", quoted(&name))
        }
        Kind::PgBouncer | Kind::RdsProxy | Kind::Odyssey => {
            let host = server.and_then(|server| server.address.as_ref()).map(|(host, _)| host.as_str());
            let host = host.filter(|host| !host.contains(' ')).map_or_else(String::new, |host| format!("host={host} "));
            let mode = mode.map_or_else(String::new, |mode| format!(" pool_mode={mode}"));
            format!("{name} = {host}dbname={database}{mode} in [databases]")
        }
    }
}
