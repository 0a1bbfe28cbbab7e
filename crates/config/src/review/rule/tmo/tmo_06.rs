//! TMO-06: a transaction may be idle for ever.

use super::patience::{once, only_user, pg_limit, role_typed};
use crate::finding::Severity;
use crate::review::chain::{Kind, Limit, Maybe, Pool, Pooler};
use crate::review::dossier::Dossier;
use crate::review::need::{PG_SETTINGS, POOLER};
use crate::review::place::Known;
use crate::review::rule::{Out, Rule};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "TMO-06",
    severity: Severity::Warning,
    title: "a transaction may be idle without end",
    condition: "t_itx of the role is off, its transaction_timeout (PostgreSQL 17) is off, and the pooler's idle_transaction_timeout \
                and transaction_timeout are off; where PostgreSQL was not asked, an idle_transaction_timeout that the pooler's file \
                turns off itself",
    why: "A client that stops inside a transaction keeps its server connection: the classic drain of a pool. Long transactions have \
          exhausted GitLab's PgBouncer and blocked its deployments. poolwarden ends one that was idle for 60 s while somebody \
          waits, unless guard is observe, so it is silent there.",
    fix: "end idle transactions after 5 to 30 seconds, in PostgreSQL by role or in the pooler",
    needs: &[POOLER],
    check,
};

/// Seconds that are suggested.
const SUGGESTED: u64 = 30;

fn check(of: &Dossier, out: &mut Out<'_>) {
    let mut seen = Vec::new();
    for (pooler, pool) in of.pools().filter(|(pooler, _)| !ended_by_pooler(pooler)) {
        let limit = |name: &str| pg_limit(of, pool.server, only_user(pool), name);
        let Some(idle) = limit("idle_in_transaction_session_timeout").or_else(|| unasked(of, pooler, pool)) else {
            out.lacks(PG_SETTINGS, &pool.name.value);
            continue;
        };
        let whole = limit("transaction_timeout").is_some_and(|known| known.value != Limit::Never);
        if idle.value != Limit::Never || whole {
            continue;
        }
        let Some(own) = &pooler.idle_transaction else { continue };
        let place = if own.is_given() { &own.place } else { &idle.place };
        if !once(&mut seen, place) {
            continue;
        }
        let (key, new) = suggested(pooler, pool);
        let role = role_typed(only_user(pool));
        out.find(
            format!("pool {}: a transaction may be idle without end", pool.name.value),
            place,
            "no limit".to_owned(),
        )
        .and(if own.is_given() { &idle } else { own }, "no limit either")
        .because(
            "each client that stops inside a transaction takes a server connection out of the pool until it comes back",
        )
        .fix(format!(
            "write {key} = {new}, or alter role {role} set idle_in_transaction_session_timeout = '{SUGGESTED}s'"
        ))
        .write(own, new);
    }
}

/// PostgreSQL's default, where nobody asked it and somebody turned the pooler's limit off: he who relies on PostgreSQL's must set it.
fn unasked(of: &Dossier, pooler: &Pooler, pool: &Pool) -> Maybe<Limit> {
    let own = pooler.idle_transaction.as_ref()?;
    let is_told = of.postgres.get(pool.server).is_some_and(|postgres| !postgres.settings.is_empty());
    (own.is_given() && !is_told).then(|| Known::default_of(Limit::Never, "PostgreSQL's"))
}

fn ended_by_pooler(pooler: &Pooler) -> bool {
    let is_whole = |key: &str| key.rsplit('.').next() == Some("transaction_timeout");
    let off = |value: &str| value.trim_matches(|c: char| c.is_ascii_alphabetic() || c == '"') == "0";
    let whole = pooler.written.iter().any(|(key, known)| is_whole(key) && !off(&known.value));
    whole || pooler.idle_transaction.as_ref().is_none_or(|known| known.value != Limit::Never)
}

fn suggested(pooler: &Pooler, pool: &Pool) -> (String, String) {
    let key = words::pool_key(pooler, pool, "idle_in_transaction_timeout", "idle_transaction_timeout");
    let new = match pooler.kind {
        Kind::Poolwarden => format!("\"{SUGGESTED}s\""),
        Kind::PgBouncer | Kind::RdsProxy | Kind::Odyssey => SUGGESTED.to_string(),
    };
    (key, new)
}

#[cfg(test)]
mod tests {
    use crate::review::{Input, gather, review};

    fn says(line: &str, facts: &str) -> bool {
        let file = |name: &str, text: String| Input::File { name: name.to_owned(), text };
        let ini = format!("[databases]\napp = host=db dbname=app\n\n[pgbouncer]\n{line}\n");
        let inputs = [file("pgbouncer.ini", ini), file("postgres.facts", facts.to_owned())];
        let of = gather(&inputs, &mut |path| Err(path.to_owned())).dossier;
        review(&of).findings.iter().any(|finding| finding.code == "TMO-06")
    }

    #[test]
    fn where_postgresql_was_not_asked_only_a_limit_that_was_turned_off_counts() {
        let off = "idle_transaction_timeout = 0";
        assert_eq!([says(off, ""), says("", ""), says("idle_transaction_timeout = 30", "")], [true, false, false]);
        assert!(!says(off, "pg.setting.idle_in_transaction_session_timeout = 30000\n"));
        assert!(!says(off, "pg.setting.work_mem = 4194304\n"), "asked, and it did not tell");
    }
}
