//! CAP-14: nobody knows how many replicas there can be.

use crate::finding::Severity;
use crate::review::chain::Bound;
use crate::review::dossier::Dossier;
use crate::review::need::{APP, APP_REPLICAS};
use crate::review::rule::{Out, Rule};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "CAP-14",
    severity: Severity::Error,
    title: "nobody knows how many replicas there can be",
    condition: "R is unbounded: serverless, or an autoscaler without maximum",
    why: "Every limit behind it can be exceeded, so no sum of the review means anything. One team raised its pool size before it \
          saw that 2,200 instances had it. Replicas that are merely not told are listed as not checked.",
    fix: "declare the most there can be, and have the platform keep it (reserved concurrency, maxReplicas)",
    needs: &[APP],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for app in &of.apps {
        let Some(replicas) = &app.replicas else {
            out.lacks(APP_REPLICAS, &app.name);
            continue;
        };
        if replicas.value != Bound::Unlimited {
            continue;
        }
        let fits = fits(of, &app.name);
        let finding = out.find(
            format!("{} can have any number of replicas, each with its own connections", app.name),
            &replicas.place,
            "no maximum",
        );
        if let Some(size) = &app.pool_size {
            finding.and(size, format!("{} connections each", words::size(size.value)));
        }
        finding
            .because(
                "no limit behind it can be shown to hold; a burst of replicas takes every slot or every client place",
            )
            .fix(fits.map_or_else(
                || format!("write replicas = the most there can be for {}", app.name),
                |fits| {
                    format!(
                        "have the platform keep at most {fits} replicas, and write replicas = {fits} for {}",
                        app.name
                    )
                },
            ));
    }
}

/// Replicas that fit into the pooler's clients, or into PostgreSQL's slots, if this application were alone.
fn fits(of: &Dossier, name: &str) -> Option<u64> {
    let app = of.apps.iter().find(|app| app.name == name)?;
    let places = match of.route(app) {
        Some((pooler, _)) => pooler.max_clients.value.number()?.saturating_mul(pooler.instances.value),
        None => of.postgres.get(of.direct_server(app)?)?.left()?,
    };
    let processes = app.processes.as_ref().map_or(1, |known| known.value);
    let each = app.pool_size.as_ref()?.value.number()?.saturating_mul(processes);
    Some(places / each.saturating_mul(app.pools.len().max(1) as u64).max(1)).filter(|fits| *fits > 0)
}
