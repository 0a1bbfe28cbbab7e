//! OBS-05: nobody can say whose connections they are.

use crate::finding::Severity;
use crate::review::chain::Kind;
use crate::review::dossier::{Dossier, Facts};
use crate::review::need::CLIENT_NAMES;
use crate::review::place::{Known, Place};
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "OBS-05",
    severity: Severity::Warning,
    title: "nobody can say whose connections they are",
    condition: "clients without application_name > 20 % of at least 10 clients (SHOW CLIENTS; poolwarden.clients_unnamed of \
                poolwarden.clients, pgbouncer.clients_unnamed of pgbouncer.clients)",
    why: "When the pool is full the first question is who holds it. Behind one address and one user of all services only \
          application_name tells them apart, in SHOW CLIENTS, in pg_stat_activity and in poolwarden's series by application. In a \
          handful of clients one psql says nothing.",
    fix: "give every service a name in its connection string: application_name=web",
    needs: &[CLIENT_NAMES],
    check,
};

/// The share that is borne: cron jobs, people with psql.
const BORNE: f64 = 0.2;
/// Fewer clients are no pattern.
const FEWEST: f64 = 10.0;

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (source, facts) in of.facts.iter().enumerate() {
        for (whose, kind) in [("pgbouncer", Kind::PgBouncer), ("poolwarden", Kind::Poolwarden)] {
            let (Some(all), Some(unnamed)) = (number(facts, whose, "clients"), number(facts, whose, "clients_unnamed"))
            else {
                continue;
            };
            if all < FEWEST || unnamed <= all * BORNE {
                continue;
            }
            let known = |key: &str| Known { value: (), place: Place::Told { source, key: format!("{whose}.{key}") } };
            let finding = out.find(
                format!("{unnamed} of {all} clients of {whose} have no application_name"),
                &known("clients_unnamed").place,
                format!("{:.0} % without a name", unnamed / all * 100.0),
            );
            finding
                .and(&known("clients"), format!("{all} clients"))
                .because("when they hold the pool, nobody can say which service it is")
                .fix("write application_name=NAME into the connection string of each service, or PGAPPNAME into its environment");
            let by_name = |key: &&String| key.starts_with("classes.") && key.ends_with(".applications");
            let poolers = of.poolers.iter().filter(|pooler| pooler.kind == kind);
            if let Some(class) = poolers.flat_map(|pooler| &pooler.written).find(|(key, _)| by_name(key)) {
                finding.and(class.1, "this class knows its clients by that name");
            }
        }
    }
}

fn number(facts: &Facts, whose: &str, key: &str) -> Option<f64> {
    facts.facts.get(&format!("{whose}.{key}"))?.parse().ok().filter(|number: &f64| number.is_finite())
}
