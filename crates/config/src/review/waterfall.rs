//! The chain of limits as a waterfall, from the clients to PostgreSQL's slots: what each step lets through, and which one binds.
//!
//! Every step says how many connections can be behind it at once, all instances together; the smallest is the one that binds
//! when everything is busy. What is unknown says so, and is never the tightest.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::chain::{Bound, Pool, Pooler};
use super::dossier::Dossier;
use super::place::{Known, Place};
use super::spot::Atlas;
use super::sums::{least, plus, times};

/// The waterfall of one pooler before one PostgreSQL server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waterfall {
    /// The pooler's file; empty: applications go to PostgreSQL themselves.
    pub pooler: String,
    /// The server's name.
    pub server: String,
    /// From the clients to PostgreSQL.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is: a name of the closed list of limits, or `demand`.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// How many connections it lets through; `None`: nobody told.
    pub most: Option<Bound>,
    /// How that number comes about, or what would have to be told.
    pub words: String,
    /// Where the number that decides it is.
    pub place: Option<Place>,
    /// Whether no other step lets through less.
    pub tightest: bool,
}

/// All waterfalls: each pooler with each server that its pools are on, and servers that applications go to themselves.
#[must_use]
pub fn waterfalls(dossier: &Dossier) -> Vec<Waterfall> {
    let mut all = Vec::new();
    for (server, postgres) in dossier.postgres.iter().enumerate() {
        for pooler in dossier.poolers.iter().filter(|pooler| on(pooler, server).next().is_some()) {
            let steps = vec![
                demand(dossier, Some(pooler), server),
                clients(pooler),
                pools(pooler, server),
                quotas(pooler, server),
                budget(pooler, server),
                slots(dossier, server),
            ];
            all.push(Waterfall { pooler: pooler.name.clone(), server: postgres.name.clone(), steps: marked(steps) });
        }
        if dossier.direct(server).next().is_some() {
            let steps = vec![demand(dossier, None, server), slots(dossier, server)];
            all.push(Waterfall { pooler: String::new(), server: postgres.name.clone(), steps: marked(steps) });
        }
    }
    all
}

fn marked(mut steps: Vec<Step>) -> Vec<Step> {
    let limits = || steps.iter().enumerate().filter(|(_, step)| step.name != DEMAND);
    let number = |step: &Step| step.most.and_then(Bound::number);
    let tightest = limits().filter_map(|(at, step)| Some((number(step)?, at))).min().map(|(_, at)| at);
    if let Some(step) = tightest.and_then(|at| steps.get_mut(at)) {
        step.tightest = true;
    }
    steps
}

const DEMAND: &str = "demand";

fn on(pooler: &Pooler, server: usize) -> impl Iterator<Item = &Pool> {
    pooler.pools.iter().filter(move |pool| pool.server == server)
}

fn demand(dossier: &Dossier, pooler: Option<&Pooler>, server: usize) -> Step {
    let through = |app: &&super::chain::App| match (pooler, dossier.route(app)) {
        (Some(pooler), Some((other, pool))) => std::ptr::eq(pooler, other) && pool.server == server,
        (None, _) => dossier.direct_server(app) == Some(server),
        (Some(_), None) => false,
    };
    let apps: Vec<_> = dossier.apps.iter().filter(through).collect();
    let mut parts = Vec::new();
    let mut sum = Some(Bound::Of(0));
    for app in &apps {
        let most = app.demand(true);
        sum = sum.zip(most).map(|(sum, most)| plus(sum, most));
        parts.push(format!("{} {}", app.name, most.map_or_else(|| "unknown".to_owned(), shown)));
    }
    let (most, words) = match (apps.is_empty(), sum) {
        (true, _) => (None, "no application is told of: see [[topology.app]]".to_owned()),
        (false, None) => (None, format!("{}: replicas and pool_size are needed", parts.join(", "))),
        (false, Some(sum)) => (Some(sum), parts.join(" + ")),
    };
    let place = apps.first().map(|app| app.place.clone());
    Step { name: DEMAND, title: "application demand", most, words, place, tightest: false }
}

/// A number of each instance, times their number.
fn over(pooler: &Pooler, each: Bound, what: String) -> (Option<Bound>, String) {
    let instances = pooler.instances.value;
    let words = if instances == 1 { what } else { format!("{what}, in each of {instances} instances") };
    (Some(times(each, instances)), words)
}

fn clients(pooler: &Pooler) -> Step {
    let (most, words) = over(pooler, pooler.max_clients.value, format!("{} clients", shown(pooler.max_clients.value)));
    let place = Some(pooler.max_clients.place.clone());
    Step { name: "max_clients", title: "max_clients", most, words, place, tightest: false }
}

/// The pooler with its pools alone, or with quotas as well: what the other limits are compared with.
fn without_budget(pooler: &Pooler) -> Pooler {
    Pooler { budgets: BTreeMap::new(), ..pooler.clone() }
}

fn pools(pooler: &Pooler, server: usize) -> Step {
    let mut bare = Pooler { users: BTreeMap::new(), ..without_budget(pooler) };
    for pool in &mut bare.pools {
        pool.max_connections.value = Bound::Unlimited;
    }
    let parts: Vec<String> = on(pooler, server).take(MOST_PARTS + 1).map(part).collect();
    let what = if parts.len() > MOST_PARTS {
        format!("{} and {} more pools", parts[..MOST_PARTS].join(" + "), on(pooler, server).count() - MOST_PARTS)
    } else {
        parts.join(" + ")
    };
    let (most, words) = over(pooler, bare.instance_backends(server), what);
    let largest = on(pooler, server).max_by_key(|pool| pool.each().number().unwrap_or(u64::MAX));
    let place = largest.map(|pool| pool.size.place.clone());
    Step { name: "pool_size", title: "pools", most, words, place, tightest: false }
}

/// More would not fit a line.
const MOST_PARTS: usize = 4;

fn part(pool: &Pool) -> String {
    let reserve =
        if pool.reserve.value > 0 { format!(" and {} in reserve", pool.reserve.value) } else { String::new() };
    let users = match pool.users.len() {
        0 => " for each user".to_owned(),
        1 => String::new(),
        many => format!(" for each of {many} users"),
    };
    format!("{} {}{reserve}{users}", pool.name.value, shown(pool.size.value))
}

fn quotas(pooler: &Pooler, server: usize) -> Step {
    let each = without_budget(pooler).instance_backends(server);
    let databases = on(pooler, server).filter(|pool| pool.max_connections.value != Bound::Unlimited);
    let mut set: Vec<(String, &Known<Bound>)> =
        databases.map(|pool| (format!("database {}", pool.name.value), &pool.max_connections)).collect();
    let users = pooler.users.iter().filter(|(_, limit)| limit.value != Bound::Unlimited);
    set.extend(users.map(
        |(user, limit)| if user == "*" { ("every user".to_owned(), limit) } else { (format!("user {user}"), limit) },
    ));
    let tight = set.iter().min_by_key(|(_, limit)| limit.value.number()).map(|(_, limit)| limit.place.clone());
    if set.is_empty() {
        let words = "no user or database has a limit".to_owned();
        return Step {
            name: "user",
            title: "user and database",
            most: Some(Bound::Unlimited),
            words,
            place: None,
            tightest: false,
        };
    }
    let parts: Vec<String> =
        set.iter().take(MOST_PARTS).map(|(who, limit)| format!("{who} {}", shown(limit.value))).collect();
    let (most, words) = over(pooler, each, parts.join(", "));
    let name = if pooler.users.values().any(|limit| limit.value != Bound::Unlimited) { "user" } else { "database" };
    Step { name, title: "user and database", most, words, place: tight, tightest: false }
}

fn budget(pooler: &Pooler, server: usize) -> Step {
    let (name, title) = ("host_budget", "host budget");
    match pooler.budgets.get(&server) {
        None => {
            let words = "none".to_owned();
            Step { name, title, most: Some(Bound::Unlimited), words, place: None, tightest: false }
        }
        Some(limit) => {
            let auto = if pooler.auto_budgets.contains(&server) { "auto, " } else { "" };
            let (most, words) = over(pooler, limit.value, format!("{auto}{}", shown(limit.value)));
            Step { name, title, most, words, place: Some(limit.place.clone()), tightest: false }
        }
    }
}

fn slots(dossier: &Dossier, server: usize) -> Step {
    let (name, title) = ("pg_slots", "PostgreSQL slots");
    let postgres = &dossier.postgres[server];
    let (Some(left), Some(max)) = (postgres.left(), &postgres.max_connections) else {
        let words = "unknown: give [topology.postgres] max_connections, or --live postgres://…".to_owned();
        return Step { name, title, most: None, words, place: None, tightest: false };
    };
    let reserved = max.value.saturating_sub(postgres.usable().unwrap_or(0));
    let others = postgres.others.as_ref().map_or(0, |known| known.value);
    let words = format!("{} less {reserved} reserved and {others} of others", max.value);
    Step { name, title, most: Some(Bound::Of(left)), words, place: Some(max.place.clone()), tightest: false }
}

fn shown(bound: Bound) -> String {
    match bound {
        Bound::Of(number) => number.to_string(),
        Bound::Unlimited => "unlimited".to_owned(),
    }
}

/// The bound that all steps together come to: what can really be open on the server at once.
#[must_use]
pub fn effective(waterfall: &Waterfall) -> Bound {
    let limits = waterfall.steps.iter().filter(|step| step.name != DEMAND);
    limits.filter_map(|step| step.most).fold(Bound::Unlimited, least)
}

/// All waterfalls as text.
#[must_use]
pub fn text(atlas: &Atlas<'_>, waterfalls: &[Waterfall]) -> String {
    let mut out = String::new();
    for waterfall in waterfalls {
        let head = match waterfall.pooler.as_str() {
            "" => format!("limits of applications that go to {} themselves", waterfall.server),
            pooler => format!("limits from the clients of {pooler} to {}", waterfall.server),
        };
        // Writing to a String does not fail, here and below.
        let _ = writeln!(out, "{}", super::render::printable(&head));
        for step in &waterfall.steps {
            let most = step.most.map_or_else(|| "?".to_owned(), shown);
            let mark = if step.tightest { "  <- the tightest" } else { "" };
            let place = step.place.as_ref().and_then(|place| match atlas.spot(place) {
                Some(spot) => Some(format!(" ({}:{})", spot.file, spot.line)),
                None => atlas.words(place).map(|words| format!(" ({words})")),
            });
            let words = super::render::printable(&format!("{}{}", step.words, place.unwrap_or_default()));
            let _ = writeln!(out, "  {:<19} {most:>9}  {words}{mark}", step.title);
        }
        out.push('\n');
    }
    out
}
