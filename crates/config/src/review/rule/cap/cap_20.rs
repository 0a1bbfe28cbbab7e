//! CAP-20: a limit of the same pooler keeps the pool below its size, so that the size means nothing.

use crate::finding::Severity;
use crate::review::chain::{Bound, Kind, Pool, Pooler};
use crate::review::dossier::Dossier;
use crate::review::need::POOLER;
use crate::review::place::Known;
use crate::review::rule::{Out, Rule};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "CAP-20",
    severity: Severity::Warning,
    title: "the pool never reaches its size: another limit of the same file is smaller",
    condition: "muc < s for a user of the pool, or mdc < s",
    why: "Whoever reads the file sees the size, raises it when requests wait, and nothing changes: an outage of two hours went by \
          like that, with a pool of 20 and a user who might have 3. The smaller limit is the pool's real size.",
    fix: "raise the smaller limit to the size, or write the size that holds",
    needs: &[POOLER],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (pooler, pool) in of.pools() {
        let Bound::Of(size) = pool.size.value else { continue }; // MUL-07 speaks of these
        if let Some((user, limit)) = pooler.tightest_user(pool) {
            told(pooler, pool, (size, limit), (&format!("user {user}"), words::user_key(pooler, user)), out);
        } else if pooler.kind != Kind::Poolwarden // whose reader says so itself
            && pool.max_connections.value.number().is_some_and(|most| most < size)
        {
            let key = words::pool_key(pooler, pool, "max_connections", "max_db_connections");
            told(pooler, pool, (size, &pool.max_connections), ("the database", key), out);
        }
    }
}

fn told(
    pooler: &Pooler,
    pool: &Pool,
    (size, limit): (u64, &Known<Bound>),
    (who, key): (&str, String),
    out: &mut Out<'_>,
) {
    let Some(most) = limit.value.number().filter(|most| *most < size) else { return };
    let name = &pool.name.value;
    let finding = out.find(
        format!("pool {name} of {size} never has more than {most}: {who} may have {most}"),
        &limit.place,
        format!("{most} server connections"),
    );
    finding
        .and(&pool.size, format!("{size} per user, {} of them out of reach", size - most))
        .because(format!("raising {} has no effect: {most} binds first", words::size_key(pooler, pool)))
        .fix(format!("write {key} = {size}, or {}", words::size_typed(pooler, pool, most)));
    if !pool.size.is_given() || limit == &pool.max_connections {
        finding.matters(Severity::Info); // nobody asked for the size; a database's limit is also written to cut pools on purpose
    }
}
