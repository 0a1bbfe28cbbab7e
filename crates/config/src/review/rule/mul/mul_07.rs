//! MUL-07: a pool without a size.

use crate::finding::Severity;
use crate::review::chain::Bound;
use crate::review::dossier::Dossier;
use crate::review::need::POOL_SIZE;
use crate::review::rule::{Out, Rule};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "MUL-07",
    severity: Severity::Error,
    title: "a pool without a size",
    condition: "P is unlimited (Go's MaxOpenConns 0, overflow -1), or s is unlimited (Odyssey's pool_size 0) within no other limit; \
                a warning where the application goes through a pooler whose clients are limited",
    why: "A pool without a size is a faucet: each slow second of PostgreSQL opens more connections to it, which makes it slower. \
          Behind a pooler the same faucet ends at its limit of clients and takes the places of its neighbours.",
    fix: "write a size: the concurrency one process needs",
    needs: &[POOL_SIZE],
    check,
};

/// A size to begin with where nothing says what is needed.
const USUAL: u64 = 10;

fn check(of: &Dossier, out: &mut Out<'_>) {
    for app in &of.apps {
        let Some(size) = app.pool_size.as_ref().filter(|size| size.value == Bound::Unlimited) else { continue };
        let places = of.route(app).and_then(|(pooler, _)| pooler.max_clients.value.number());
        let needed = app.threads.as_ref().map_or(USUAL, |known| known.value.max(1));
        out.find(format!("{}: its pool has no size", app.name), &size.place, "unlimited")
            .because(places.map_or_else(
                || {
                    "a spike goes straight to PostgreSQL, one backend for each request, until it refuses with 53300"
                        .to_owned()
                },
                |places| format!("a spike takes all {places} client places of the pooler, its neighbours' too"),
            ))
            .fix(format!("write {}, the concurrency of one process", words::app_size(app, needed)))
            .matters(if places.is_some() { Severity::Warning } else { Severity::Error });
    }
    for (pooler, pool) in of.pools() {
        if pool.size.value != Bound::Unlimited || pooler.pool_most(pool) != Bound::Unlimited {
            continue;
        }
        let share =
            of.postgres.get(pool.server).and_then(|postgres| Some(postgres.left()? / pooler.instances.value.max(1)));
        out.find(format!("pool {} has no size", pool.name.value), &pool.size.place, "unlimited")
            .because("every client gets a backend of its own: it pools nothing, and ends at PostgreSQL's slots")
            .fix(format!("write {}, or less", words::size_typed(pooler, pool, share.unwrap_or(USUAL))));
    }
}
