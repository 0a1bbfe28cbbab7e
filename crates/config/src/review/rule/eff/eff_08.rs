//! EFF-08: a change that has no effect, for another limit binds.
//!
//! The file is the change, the running values are what it starts from. A raise has no effect if the pools and servers come to
//! the same with it and without it, everything else of the file taken as written; or if what bound while people waited, as it
//! was recorded, is another limit.

use super::change::{Change, Layer, bound, changes};
use crate::finding::Severity;
use crate::review::chain::{Bound, Pooler, Postgres};
use crate::review::dossier::Dossier;
use crate::review::need::LIVE;
use crate::review::place::{Known, Place};
use crate::review::rule::{Out, Rule};
use crate::review::sums::{fullest, least, plus, times};
use crate::review::waterfall::waterfalls;
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "EFF-08",
    severity: Severity::Error,
    title: "the change has no effect: another limit binds",
    condition: "a limit of the file is higher than the running one, and min(B, U - O) of every pool and server is the same without \
                it, or D fits into the running number of clients, or pool.NAME.limit_binding is another limit; max_connections is \
                declared higher than it runs, and all B + D fit into the running one",
    why: "Raising a limit that does not bind is the change that is made first and helps nobody: a team took max_connections to \
          3,000 while its pools stayed as they were. Each such change costs the minutes in which the right one was not made.",
    fix: "raise the limit that binds; the chain of limits below the findings names it",
    needs: &[LIVE],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for change in changes(of) {
        let kind = change.pooler.kind;
        let (Some(layer), Place::Text { .. }) = (Layer::of(kind, &change.key), &change.file.place) else { continue };
        let number = |text: &str| bound(kind, &change.key, text);
        let (Some(from), Some(to)) = (number(&change.running.value), number(&change.file.value)) else { continue };
        let is_raised = least(from, to) == from && from != to;
        if let Some(binds) = useless(of, &change, layer, from).filter(|_| is_raised) {
            let (key, from, to) = (&change.key, &change.running.value, &change.file.value);
            let message = format!("{key} from {from} to {to} has no effect: {} binds", binds.value);
            out.find(message, &change.file.place, format!("{from} runs"))
                .and(&binds, "this is the limit that binds")
                .because("no client is served that is not served now, and the time goes by")
                .fix(format!("leave {key} at {from}, and change what binds"))
                .write(&change.file, from.clone());
        }
    }
    for (server, postgres) in of.postgres.iter().enumerate() {
        slots(of, server, postgres, out);
    }
}

/// What binds instead, if the raise has no effect.
fn useless(of: &Dossier, change: &Change<'_>, layer: Layer, from: Bound) -> Option<Known<String>> {
    let other = || match layer {
        Layer::Waits => None,
        Layer::Clients => fits(of, change.pooler, from),
        Layer::Pools | Layer::Quotas | Layer::Host => {
            let without = put_back(change.pooler, &change.file.place, from);
            let same = reach(of, change.pooler) == reach(of, &without);
            same.then(|| tightest(of, change.pooler)).flatten()
        }
    };
    recorded(of, change, layer).or_else(other)
}

/// The pooler with one value as it runs.
fn put_back(pooler: &Pooler, place: &Place, from: Bound) -> Pooler {
    let mut before = pooler.clone();
    let set = |known: &mut Known<Bound>| {
        if known.place == *place {
            known.value = from;
        }
    };
    for pool in &mut before.pools {
        set(&mut pool.size);
        set(&mut pool.max_connections);
        if pool.reserve.place == *place {
            pool.reserve.value = from.number().unwrap_or(u64::MAX);
        }
    }
    before.users.values_mut().for_each(set);
    before.budgets.values_mut().for_each(set);
    before
}

/// What every pool can have, and what all can have together on each server, within PostgreSQL's slots.
fn reach(of: &Dossier, pooler: &Pooler) -> Vec<Bound> {
    let within = |server: usize, most: Bound| {
        least(most, of.postgres.get(server).and_then(Postgres::left).map_or(Bound::Unlimited, Bound::Of))
    };
    let pools =
        pooler.pools.iter().map(|pool| within(pool.server, times(pooler.pool_most(pool), pooler.instances.value)));
    let servers = (0..of.postgres.len()).filter(|server| pooler.uses(*server));
    pools.chain(servers.map(|server| within(server, pooler.backends(server)))).collect()
}

/// The tightest step of the pooler's chain.
fn tightest(of: &Dossier, pooler: &Pooler) -> Option<Known<String>> {
    let chains = waterfalls(of).into_iter().filter(|chain| chain.pooler == pooler.name);
    let step = chains.flat_map(|chain| chain.steps).find(|step| step.tightest)?;
    let place = step.place.unwrap_or(Place::Default("pooler's"));
    Some(Known { value: format!("{} ({})", step.title, step.words), place })
}

/// All clients fit into what runs.
fn fits(of: &Dossier, pooler: &Pooler, from: Bound) -> Option<Known<String>> {
    let demands: Option<Vec<Bound>> = of.clients(pooler).map(|(app, _)| app.demand(true)).collect();
    let demands = demands.filter(|demands| !demands.is_empty())?;
    let Bound::Of(all) = demands.into_iter().fold(Bound::Of(0), plus) else { return None };
    let needed = Bound::Of(fullest(all, pooler.instances.value));
    (least(needed, from) == needed).then(|| tightest(of, pooler)).flatten()
}

/// What bound in every pool that the change is about, where that was recorded and is another limit.
fn recorded(of: &Dossier, change: &Change<'_>, layer: Layer) -> Option<Known<String>> {
    let names: &[&str] = match layer {
        Layer::Waits => return None,
        Layer::Clients => &["max_clients", "max_client_conn"],
        Layer::Pools => &["pool_size", "reserve", "default_pool_size", "reserve_pool_size"],
        Layer::Quotas => &["user", "database", "max_db_connections", "max_user_connections"],
        Layer::Host => &["host_budget"],
    };
    let place = &change.file.place;
    let of_pool = |places: [&Place; 3]| places.contains(&place);
    let of_all = matches!(layer, Layer::Clients | Layer::Host)
        || change.pooler.users.values().any(|known| known.place == *place);
    let about = change
        .pooler
        .pools
        .iter()
        .filter(|pool| of_all || of_pool([&pool.size.place, &pool.max_connections.place, &pool.reserve.place]));
    let bound: Option<Vec<_>> =
        about.map(|pool| of.fact_text(&format!("pool.{}.limit_binding", pool.name.value))).collect();
    let bound = bound?;
    let other = bound
        .iter()
        .all(|known| !["", "none"].contains(&known.value.as_str()) && !names.contains(&known.value.as_str()));
    bound.into_iter().next().filter(|_| other)
}

/// PostgreSQL's own slots: more of them help nobody whom they never refused.
fn slots(of: &Dossier, server: usize, postgres: &Postgres, out: &mut Out<'_>) {
    let (Some(declared), Some(runs), Some(left)) = (&postgres.declared_max, &postgres.max_connections, postgres.left())
    else {
        return;
    };
    let poolers = of.poolers.iter().filter(|pooler| pooler.uses(server)).map(|pooler| {
        let mut bare = pooler.clone();
        // a budget that is auto follows max_connections
        bare.budgets.retain(|of, _| !(*of == server && pooler.auto_budgets.contains(of)));
        bare.backends(server)
    });
    let apps: Option<Vec<Bound>> = of.direct(server).map(|app| app.demand(true)).collect();
    let Bound::Of(most) = poolers.chain(apps.unwrap_or(vec![Bound::Unlimited])).fold(Bound::Of(0), plus) else {
        return;
    };
    if declared.value <= runs.value || most > left || most == 0 {
        return;
    }
    let message = format!(
        "max_connections from {} to {} has no effect: all together open {most} at most, and {left} are free for them",
        runs.value, declared.value
    );
    let finding = out.find(message, &declared.place, format!("{} runs", runs.value));
    finding.and(runs, "never full");
    for (who, its) in &of.consumers(server, true).0 {
        let (place, label) = words::consumer(*who, server, *its);
        finding.and(&Known { value: (), place }, label);
    }
    finding
        .because("PostgreSQL refuses nobody: who waits, waits in a pool before it")
        .fix(format!("leave max_connections at {}, and raise the limit of the pool that is full", runs.value))
        .write(declared, runs.value.to_string());
}
