//! poolwarden.toml: the pooler it describes, its servers, and what the file itself has wrong.

use std::collections::{BTreeMap, BTreeSet};

use poolwarden_pool::Mode;
use toml::de::DeTable;

use super::Read;
use super::draft::Draft;
use super::keys::{Keys, Table, bound, limit, limit_or_off, number, text};
use super::topology;
use crate::build::build;
use crate::finding::{self, Severity};
use crate::parse::MAX_FINDINGS;
use crate::review::chain::{Bound, Kind, Limit, Maybe, Pool, Pooler};
use crate::review::place::Known;
use crate::review::sums::plus;
use crate::secret::SecretRef;
use crate::userlist;
use crate::value::Value;
use crate::walk::{Named, walk};

/// Whose defaults.
pub(super) const OURS: &str = "poolwarden's";
/// Any database, any user.
const ANY: &str = "*";
/// Faults that are about who may log in, or about files that are only where it runs: nothing about limits.
const DOORS: [&str; 4] = ["secret", "file", "open-door", "locked-door"];

/// Reads one file.
pub(super) fn read(file: usize, source: &str, out: &mut Draft, read: &mut Read<'_>) -> Result<(), String> {
    let (document, faults) = DeTable::parse_recoverable(source);
    if !faults.is_empty() {
        let (_, findings) = crate::Config::parse(source, |_| Ok(String::new()));
        tell(file, findings, out);
        return Ok(());
    }
    let walked = walk(document.get_ref());
    let keys = Keys { file, walked: &walked };
    let mut topology = topology::read(&keys, out);
    if is_topology(&keys) {
        tell(file, walk(document.get_ref()).findings, out);
    } else {
        check(file, source, document.get_ref(), out, read);
        let servers = servers(&keys, out);
        topology.servers = servers.iter().map(|(named, index)| (named.name.clone(), *index)).collect();
        topology.has_pooler = !servers.is_empty();
        if !servers.is_empty() {
            pooler(&keys, &servers, out, read);
        }
    }
    out.topologies.push(topology);
    Ok(())
}

/// Whether the file only declares what is elsewhere.
fn is_topology(keys: &Keys<'_>) -> bool {
    let sections = |name: &str| name.starts_with("topology") || name.starts_with("review");
    let only = keys.walked.values.keys().all(|key| sections(key)) && keys.walked.names.keys().all(|key| sections(key));
    only && !(keys.walked.values.is_empty() && keys.walked.names.is_empty())
}

/// What the file itself has wrong, as every start of poolwarden says it.
fn check(file: usize, source: &str, document: &DeTable<'_>, out: &mut Draft, read: &mut Read<'_>) {
    let mut resolve = |wanted: SecretRef| match wanted {
        SecretRef::Text(path) => read(&path),
        SecretRef::File(_) | SecretRef::Env(_) => Ok("not looked at".to_owned()),
    };
    let (_, findings) = build(walk(document), source.trim_end().len(), &mut resolve);
    tell(file, findings, out);
}

fn tell(file: usize, mut findings: Vec<finding::Finding>, out: &mut Draft) {
    findings.sort_by(|a, b| (b.severity, a.span.start).cmp(&(a.severity, b.span.start)));
    let matters = |finding: &finding::Finding| finding.severity > Severity::Info && !DOORS.contains(&finding.code);
    for finding in findings.into_iter().filter(matters).take(MAX_FINDINGS) {
        out.found(file, finding);
    }
}

/// `[servers.NAME]`, each with its index in the dossier.
fn servers(keys: &Keys<'_>, out: &mut Draft) -> Vec<(Named, usize)> {
    let mut names = keys.names("servers").to_vec();
    names.sort_by(|a, b| a.name.cmp(&b.name));
    let each = |named: Named| {
        let table = Table::named("servers", &named.name);
        let port = number(keys.value(&table, "port")).and_then(|known| u16::try_from(known.value).ok());
        let host = text(keys.written(&table, "host"));
        let index = out.server(&named.name, host.map(|host| (host.value, port.unwrap_or(5432))));
        // A name that an operator chose says more than an address.
        let server = &mut out.dossier.postgres[index];
        if server.address.as_ref().is_some_and(|(host, _)| server.name.starts_with(host.as_str())) {
            named.name.clone_into(&mut server.name);
        }
        (named, index)
    };
    names.into_iter().map(each).collect()
}

fn pooler(keys: &Keys<'_>, servers: &[(Named, usize)], out: &mut Draft, read: &mut Read<'_>) {
    let logins = users(keys, read);
    let pools = pools(keys, servers, &logins);
    let (first, each) = (Table::named("servers", &servers[0].0.name), || servers.iter().map(|(named, _)| named));
    let of_pools = |key: &str| -> Vec<Known<Limit>> {
        let named = keys.names("pools").iter().map(|named| Table::named("pools", &named.name));
        let all: Vec<_> = named.filter_map(|table| limit_or_off(keys.value(&table, key))).collect();
        let default = || limit_or_off(keys.value(&Table::named("pools", ANY), key)).into_iter().collect();
        if all.is_empty() { default() } else { all }
    };
    let of_servers = |key: &str| -> Vec<Known<Limit>> {
        each().filter_map(|named| limit_or_off(keys.value(&Table::named("servers", &named.name), key))).collect()
    };
    let instances = number(keys.written(&first, "instances"));
    let instances = instances.or_else(|| number(keys.value(&Table::top("topology.pooler"), "instances")));
    let limits = Table::top("limits");
    let mut pooler = Pooler {
        kind: Kind::Poolwarden,
        name: out.dossier.texts[keys.file].name.clone(),
        instances: instances.unwrap_or_else(|| Known::default_of(1, OURS)),
        max_clients: bound(keys.value(&limits, "max_clients"))
            .unwrap_or_else(|| Known::default_of(Bound::Unlimited, OURS)),
        pools,
        users: user_limits(keys, servers),
        budgets: BTreeMap::new(),
        auto_budgets: BTreeSet::new(),
        any_user: Some(any_user(keys)),
        login_retry: None,
        client_idle: least(of_pools("client_idle_timeout")),
        server_idle: least(of_pools("idle_timeout")),
        lifetime: least(of_pools("lifetime")),
        lifetime_jitter: Some(Known::default_of(0.1, OURS)),
        idle_transaction: most(of_pools("idle_in_transaction_timeout")).map(|known| guarded(keys, known)),
        query: most(of_pools("query_timeout")),
        keepalive_idle: most(of_servers("keepalive")),
        tcp_user_timeout: most(of_servers("tcp_user_timeout")),
        backlog: number(keys.value(&Table::top("listen"), "backlog")),
        ignored_startup: Vec::new(),
        prepared: fewest_prepared(keys),
        notices: BTreeMap::new(),
        written: keys.all().collect(),
    };
    for (named, index) in servers {
        budget(keys, named, *index, &mut pooler);
    }
    out.dossier.poolers.push(pooler);
}

/// The host budget of one server; what `auto` comes to is reckoned when everything is known.
fn budget(keys: &Keys<'_>, named: &Named, index: usize, pooler: &mut Pooler) {
    let Some(known) = keys.value(&Table::named("servers", &named.name), "max_connections") else { return };
    let place = known.place.clone();
    if known.value == Value::Auto {
        pooler.auto_budgets.insert(index);
        pooler.budgets.insert(index, Known { value: Bound::Of(super::assemble::UNKNOWN_BUDGET), place });
    } else if let Some(bound) = bound(Some(known)) {
        // One address under two names has both budgets.
        let both = |there: &mut Known<Bound>| there.value = plus(there.value, bound.value);
        pooler.budgets.entry(index).and_modify(both).or_insert(bound.clone());
    }
}

/// Most server connections of users: their own, and the default of all.
fn user_limits(keys: &Keys<'_>, servers: &[(Named, usize)]) -> BTreeMap<String, Known<Bound>> {
    let mut limits = BTreeMap::new();
    for (named, _) in servers {
        if let Some(known) = bound(keys.written(&Table::named("servers", &named.name), "max_user_connections")) {
            limits.insert(ANY.to_owned(), known);
        }
    }
    for named in keys.names("users") {
        if let Some(known) = bound(keys.written(&Table::named("users", &named.name), "max_connections")) {
            limits.insert(named.name.clone(), known);
        }
    }
    limits
}

/// Users that are known: of `[users]` and of the userlist, without those that only look users up or only use the console. A limit or
/// a size of one's own is for pools; and where nobody else is known, operators are the users.
fn users(keys: &Keys<'_>, read: &mut Read<'_>) -> BTreeSet<String> {
    let auth = Table::top("auth");
    let mut users: BTreeSet<String> = keys.names("users").iter().map(|named| named.name.clone()).collect();
    if let Some(path) = text(keys.written(&auth, "userlist"))
        && let Ok(list) = read(&path.value)
    {
        users.extend(userlist::parse(&list).0.into_iter().map(|listed| listed.user));
    }
    if let Some(looks_up) = text(keys.written(&auth, "user")) {
        users.remove(&looks_up.value);
    }
    let mut operators: Vec<String> = Vec::new();
    for key in ["admins", "readers"] {
        if let Some(Known { value: Value::List(list), .. }) = keys.written(&Table::top("console"), key) {
            operators.extend(list);
        }
    }
    let has_pools = |user: &String| {
        let own = |key| keys.written(&Table::named("users", user), key).is_some();
        ["max_connections", "pool_size", "mode"].into_iter().any(own)
    };
    of_pools(users, |user| operators.contains(user) && !has_pools(user))
}

/// Without those who only operate; all, if nobody else is known.
pub(super) fn of_pools(users: BTreeSet<String>, only_operates: impl Fn(&String) -> bool) -> BTreeSet<String> {
    let others: BTreeSet<String> = users.iter().filter(|user| !only_operates(user)).cloned().collect();
    if others.is_empty() { users } else { others }
}

/// Whether users come from PostgreSQL, or may have any name.
fn any_user(keys: &Keys<'_>) -> Known<bool> {
    let auth = Table::top("auth");
    if let Some(user) = text(keys.written(&auth, "user")) {
        return user.map(|_| true);
    }
    let method = text(keys.value(&auth, "method")).unwrap_or_else(|| Known::default_of(String::new(), OURS));
    let known = keys.value(&auth, "known_users").is_some_and(|known| known.value == Value::Bool(true));
    method.map(|method| !known && ["trust", "cert", "hba", "peer"].contains(&method.as_str()))
}

fn pools(keys: &Keys<'_>, servers: &[(Named, usize)], logins: &BTreeSet<String>) -> Vec<Pool> {
    let mut names = keys.names("pools").to_vec();
    names.sort_by(|a, b| a.name.cmp(&b.name));
    let mut pools: Vec<Pool> = names.iter().map(|named| pool(keys, Some(named), servers, logins)).collect();
    if pools.is_empty() && !keys.walked.names.contains_key("pools") {
        pools.push(pool(keys, None, servers, logins));
    }
    pools
}

/// One pool; `None` is the one for any database that is there when no pool is written.
fn pool(keys: &Keys<'_>, named: Option<&Named>, servers: &[(Named, usize)], logins: &BTreeSet<String>) -> Pool {
    let name = named
        .map_or_else(|| Known::default_of(ANY.to_owned(), OURS), |named| keys.place(named.name.clone(), &named.span));
    let table = Table::named("pools", &name.value);
    let of = |key: &str| keys.value(&table, key);
    let server = text(keys.written(&table, "server"));
    let server = server.and_then(|known| servers.iter().find(|(named, _)| named.name == known.value));
    let forced = text(keys.written(&table, "user"));
    let users: Vec<String> = forced.map_or_else(|| logins.iter().cloned().collect(), |user| vec![user.value]);
    let size = bound(of("size")).unwrap_or_else(|| Known::default_of(Bound::Unlimited, OURS));
    let of_user = |user: &String| bound(keys.written(&Table::named("users", user), "pool_size"));
    let (own, own_sizes) = match users.as_slice() {
        [user] => (of_user(user), BTreeMap::new()),
        several => (None, several.iter().filter_map(|user| Some((user.clone(), of_user(user)?))).collect()),
    };
    let shadowed = own.is_some().then(|| size.clone()).filter(Known::is_given);
    let zero = || Known::default_of(0, OURS);
    let database = text(keys.written(&table, "database")).map(|known| known.value);
    Pool {
        database: database.or_else(|| Some(name.value.clone()).filter(|name| name != ANY)),
        name,
        server: server.or(servers.first()).map_or(0, |(_, index)| *index),
        own_sizes,
        users,
        size: own.unwrap_or(size),
        shadowed,
        min_size: number(of("min_size")).unwrap_or_else(zero),
        reserve: number(of("reserve")).unwrap_or_else(zero),
        reserve_after: limit(of("reserve_after")).unwrap_or_else(|| Known::default_of(Limit::Never, OURS)),
        max_connections: bound(of("max_connections")).unwrap_or_else(|| Known::default_of(Bound::Unlimited, OURS)),
        max_clients: None,
        mode: mode(of("mode")),
        max_wait: limit(of("max_wait")).unwrap_or_else(|| Known::default_of(Limit::Never, OURS)),
    }
}

fn mode(known: Maybe<Value>) -> Known<Mode> {
    let named =
        |word: &str| [Mode::Session, Mode::Transaction, Mode::Statement].into_iter().find(|mode| mode.name() == word);
    let known = text(known).unwrap_or_else(|| Known::default_of(String::new(), OURS));
    known.map(|word| named(&word).unwrap_or_default())
}

/// The guard ends a transaction that was idle for a minute while somebody waits, whether a limit is written or not.
fn guarded(keys: &Keys<'_>, known: Known<Limit>) -> Known<Limit> {
    let observes = text(keys.value(&Table::top("poolwarden"), "guard")).is_some_and(|guard| guard.value == "observe");
    match (known.value, observes) {
        (Limit::Never, false) => Known { value: Limit::After(std::time::Duration::from_secs(60)), ..known },
        (Limit::Never, true) | (Limit::After(_), _) => known,
    }
}

fn fewest_prepared(keys: &Keys<'_>) -> Maybe<u64> {
    let named = keys.names("pools").iter().map(|named| named.name.as_str());
    let of = |name: &str| number(keys.value(&Table::named("pools", name), "max_prepared_statements"));
    named.filter_map(of).min_by_key(|known| known.value).or_else(|| of(ANY))
}

/// The shortest; never is the longest of all.
pub(super) fn least(limits: Vec<Known<Limit>>) -> Maybe<Limit> {
    limits.into_iter().min_by_key(|known| length(known.value))
}

/// The longest.
pub(super) fn most(limits: Vec<Known<Limit>>) -> Maybe<Limit> {
    limits.into_iter().max_by_key(|known| length(known.value))
}

fn length(limit: Limit) -> (bool, std::time::Duration) {
    (limit == Limit::Never, limit.span().unwrap_or_default())
}
