//! TMO-11: the connections of a large pool end together.

use crate::finding::Severity;
use crate::review::chain::{App, Bound, Kind, Library, Limit};
use crate::review::dossier::Dossier;
use crate::review::need::POOL_SIZE;
use crate::review::place::Known;
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "TMO-11",
    severity: Severity::Warning,
    title: "the connections of a large pool end together",
    condition: "P or s > 20, connections have a lifetime, and neither jitter nor anything else spreads their ends: pgx's pool \
                without pool_max_conn_lifetime_jitter, a pooler whose jitter is 0",
    why: "Connections that were opened together, after a deployment or a failover, grow old together: every lifetime all of them are \
          opened anew, with their logins, in the middle of traffic. PgBouncer has no jitter and needs none: it closes one \
          connection each lifetime divided by size (life_over in its janitor), so the rule does not speak of it. HikariCP, SQLAlchemy \
          (which looks at the age when a connection is lent) and poolwarden (10 %) spread them as well.",
    fix: "write a jitter of 10 to 25 % of the lifetime",
    needs: &[POOL_SIZE],
    check,
};

/// Pools up to this size are opened anew without notice.
const LARGE: u64 = 20;
/// pgx's settings, and its lifetime where none is written.
const LIFETIME: &str = "pool_max_conn_lifetime";
const JITTER: &str = "pool_max_conn_lifetime_jitter";
const ALL: [&str; 4] = ["pool_max_conns", "pool_min_conns", LIFETIME, "pool_max_conn_idle_time"];

fn check(of: &Dossier, out: &mut Out<'_>) {
    for app in of.apps.iter().filter(|app| is_pgx(app) && !app.written.contains_key(JITTER)) {
        let Some(size) = app.pool_size.as_ref().filter(|known| large(known.value)) else { continue };
        let life = app.written.get(LIFETIME);
        let shown = life.map_or("an hour by default", |known| known.value.as_str());
        let count = crate::review::words::size(size.value);
        let finding = out.find(
            format!("{}: {count} connections of one age end together (lifetime: {shown})", app.name),
            life.map_or(&size.place, |known| &known.place),
            "no jitter".to_owned(),
        );
        finding.and(size, format!("{count} per process"));
        finding
            .because("every lifetime all of them log in again at once")
            .fix(format!("add {JITTER}=6m to the URL, or a tenth to a quarter of the lifetime"));
    }
    for pooler in of.poolers.iter().filter(|pooler| pooler.kind != Kind::PgBouncer) {
        let jitter = pooler.lifetime_jitter.as_ref().filter(|known| known.value <= 0.0);
        let (Some(jitter), Some(life)) = (jitter, pooler.lifetime.as_ref()) else { continue };
        let Some(span) = life.value.span().filter(|_| life.value != Limit::Never) else { continue };
        for pool in pooler.pools.iter().filter(|pool| large(pool.size.value)) {
            let count = crate::review::words::size(pool.size.value);
            out.find(
                format!("pool {}: {count} connections of one age end together every {span:?}", pool.name.value),
                &jitter.place,
                "no jitter".to_owned(),
            )
            .and(&pool.size, format!("{count} of them"))
            .because("every lifetime all of them log in again at once")
            .fix("write a jitter of a tenth of the lifetime");
        }
    }
}

fn large(size: Bound) -> bool {
    size.number().is_none_or(|number| number > LARGE)
}

/// Whether it is Go's pgx, by settings that only its pool reads.
fn is_pgx(app: &App) -> bool {
    app.library == Library::Url && ALL.iter().any(|key| app.written.get(*key).is_some_and(Known::is_given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_large_above_twenty() {
        assert_eq!([20, 21].map(|size| large(Bound::Of(size))), [false, true]);
        assert!(large(Bound::Unlimited));
    }
}
