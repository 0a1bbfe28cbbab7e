//! EFF-03: a default that everything overrides.
//!
//! Overrides are what defaults are for, and are no finding. A default that no pool uses any more is a trap: it stands at the
//! top, it is what everybody edits, and no edit of it has an effect. Below the sizes that hold it is a hint: new databases would
//! have it, and nobody raised it in vain.

use crate::finding::Severity;
use crate::pgbouncer::{Section, find, value};
use crate::review::chain::{Kind, Pool, Pooler};
use crate::review::dossier::Dossier;
use crate::review::finding::Finding;
use crate::review::need::POOLER;
use crate::review::place::{Known, Place};
use crate::review::rule::{Out, Rule};
use crate::review::sums::least;
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "EFF-03",
    severity: Severity::Warning,
    title: "a default that everything overrides",
    condition: "a written default (default_pool_size, min_pool_size, reserve_pool_size, max_db_connections, query_wait_timeout; \
                pools.NAME.size) that every pool overrides with another value (a hint where it is not above all of them)",
    why: "pool_size in [databases] or [users] holds before default_pool_size. Who raises the default sees it in the file and in \
          SHOW CONFIG, and every pool stays as it was: one of the ways in which a pool is increased and nothing changes.",
    fix: "edit the override, and take the default out",
    needs: &[POOLER],
    check,
};

/// Defaults of PgBouncer with the names that databases give the same.
const PAIRS: [(&str, &[&str]); 4] = [
    ("min_pool_size", &["min_pool_size"]),
    ("reserve_pool_size", &["reserve_pool_size", "reserve_pool"]),
    ("max_db_connections", &["max_db_connections"]),
    ("query_wait_timeout", &["query_wait_timeout"]),
];

fn check(of: &Dossier, out: &mut Out<'_>) {
    for pooler in &of.poolers {
        let mut seen: Vec<&Place> = Vec::new();
        for pool in &pooler.pools {
            let Some(default) = &pool.shadowed else { continue };
            let used = pooler.pools.iter().any(|other| other.size.place == default.place);
            if used || seen.contains(&&default.place) || pool.size.value == default.value {
                continue;
            }
            seen.push(&default.place);
            let key = words::pool_key(pooler, pool, "size", "default_pool_size");
            let shown = Known { value: words::size(default.value), place: default.place.clone() };
            let finding = report(&key, &shown, (&words::size(pool.size.value), &pool.size.place), out);
            let below = pooler.pools.iter().any(|other| least(other.size.value, default.value) == default.value);
            if below {
                finding.matters(Severity::Info);
            }
        }
        if pooler.kind == Kind::PgBouncer {
            others(pooler, out);
        }
    }
}

/// The other defaults of PgBouncer, by what is written.
fn others(pooler: &Pooler, out: &mut Out<'_>) {
    for (key, own) in PAIRS {
        let Some(default) = pooler.written.get(key) else { continue };
        let overrides: Vec<_> = pooler.pools.iter().filter_map(|pool| written(pooler, pool, own)).collect();
        let same = |known: &&Known<String>| {
            find(Section::Pgbouncer, key).is_some_and(|entry| value::alike(entry, &known.value, &default.value))
        };
        let all = overrides.len() == pooler.pools.len() && !overrides.iter().any(same);
        if let Some(first) = overrides.first().filter(|_| all) {
            let number = |known: &Known<String>| value::seconds(&known.value);
            let below = overrides.iter().any(|known| number(known) > number(default));
            let finding = report(key, default, (&first.value, &first.place), out);
            if below {
                finding.matters(Severity::Info);
            }
        }
    }
}

fn written<'a>(pooler: &'a Pooler, pool: &Pool, own: &[&str]) -> Option<&'a Known<String>> {
    own.iter().find_map(|key| pooler.written.get(&format!("databases.{}.{key}", pool.name.value)))
}

fn report<'o>(
    key: &str,
    default: &Known<String>,
    (holds, place): (&str, &Place),
    out: &'o mut Out<'_>,
) -> &'o mut Finding {
    out.find(
        format!("{key} = {} holds for no pool: each has its own", default.value),
        &default.place,
        "no edit of it has an effect",
    )
    .and(&Known { value: (), place: place.clone() }, format!("{holds} holds here"))
    .because(format!("raising {key} changes no pool, and the file looks as if it did"))
    .fix(format!("edit the pool's own value, and take {key} out"))
}
