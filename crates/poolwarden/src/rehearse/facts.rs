//! What a review wants to know of recorded traffic, database by database, its users together.

use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_config::review::Facts;
use poolwarden_sim::Spread;
use poolwarden_sim::recorded::{Met, Recorded};

use super::source::Heard;

/// Facts of everything that was heard, said by `name`.
pub(crate) fn facts(name: &str, heard: &Heard) -> Facts {
    let mut facts = BTreeMap::new();
    for recorded in heard.servers.values() {
        let mut databases: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, key) in recorded.pools.iter().enumerate() {
            databases.entry(&key.database).or_default().push(place);
        }
        for (database, pools) in databases {
            for (key, value) in of_database(recorded, &pools) {
                facts.insert(format!("pool.{database}.{key}"), format!("{value:.3}"));
            }
        }
    }
    for ((_, key), waiting) in &heard.stuck {
        facts.insert(format!("pool.{}.held_while_waiting", key.database), waiting.to_string());
    }
    Facts { name: name.to_owned(), facts }
}

fn of_database(recorded: &Recorded, pools: &[usize]) -> Vec<(&'static str, f64)> {
    let mine = || recorded.asks.iter().filter(|ask| pools.contains(&recorded.kind(ask).pool));
    let mut seconds: BTreeMap<u64, u64> = BTreeMap::new();
    mine().for_each(|ask| *seconds.entry(ask.arrived_us / 1_000_000).or_default() += 1);
    let granted = || mine().filter(|ask| ask.met == Met::Granted);
    let holds: Spread = granted().map(|ask| Duration::from_micros(ask.held_us)).collect();
    let waits: Spread = mine().map(|ask| Duration::from_micros(u64::from(ask.waited_us))).collect();
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let mut told = vec![("wait_p99_ms", ms(waits.quantile(0.99)))];
    told.extend(seconds.values().max().map(|most| ("peak_rate_1s", *most as f64)));
    if holds.count() > 0 {
        told.push(("hold_mean_ms", ms(holds.mean())));
        let busy = busy(granted().map(|ask| {
            let begins = ask.arrived_us + u64::from(ask.waited_us);
            (begins, begins + ask.held_us)
        }));
        told.extend([("busy_p95", at(&busy, 0.95)), ("busy_p99", at(&busy, 0.99))]);
    }
    // Connects are of the server: a pool that is the only one has all of them.
    if pools.len() == recorded.pools.len() && !recorded.connects.is_empty() {
        let connects: Spread = recorded.connects.iter().copied().collect();
        told.push(("connect_p50_ms", ms(connects.quantile(0.5))));
        told.push(("connect_rate", connects.count() as f64 / recorded.lasts.as_secs_f64().max(1.0)));
    }
    told
}

/// How many others were lent when each lease began, in order.
fn busy(leases: impl Iterator<Item = (u64, u64)>) -> Vec<u32> {
    let mut events: Vec<(u64, bool)> = leases.flat_map(|(begins, ends)| [(begins, true), (ends, false)]).collect();
    events.sort_unstable(); // ends come before beginnings of the same moment
    let (mut lent, mut found) = (0_u32, Vec::new());
    for (_, begins) in events {
        if begins {
            lent += 1;
            found.push(lent);
        } else {
            lent = lent.saturating_sub(1); // a lease of no time ends before it begins
        }
    }
    found.sort_unstable();
    found
}

fn at(sorted: &[u32], share: f64) -> f64 {
    let place = ((share * sorted.len() as f64).ceil() as usize).saturating_sub(1);
    f64::from(sorted.get(place).copied().unwrap_or(0))
}
