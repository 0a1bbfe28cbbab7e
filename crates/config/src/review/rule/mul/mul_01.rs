//! MUL-01: an application opens a multiple of the connections it is meant to have.

use crate::finding::Severity;
use crate::review::chain::Bound;
use crate::review::dossier::Dossier;
use crate::review::need::{APP_INTENDED, APP_POOL_SIZE};
use crate::review::rule::{Out, Rule};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "MUL-01",
    severity: Severity::Error,
    title: "an application opens a multiple of what it is meant to",
    condition: "R W k P > 2 x the connections that are declared for all replicas together",
    why: "A library's pool is per process and per database, and its size is read as the application's. Two Puma workers, four \
          databases of Rails 8 and a job runner make 108 connections of what is written as 5.",
    fix: "divide the connections the application may have by replicas x processes x pools",
    needs: &[APP_INTENDED, APP_POOL_SIZE],
    check,
};

/// How many times the declared number is still taken as rounding.
const TOLERATED: u64 = 2;

fn check(of: &Dossier, out: &mut Out<'_>) {
    for app in &of.apps {
        let (Some(intended), Some(Bound::Of(demand))) = (&app.intended, app.demand(false)) else { continue };
        if demand <= intended.value.saturating_mul(TOLERATED) {
            continue;
        }
        let count = app.pool_count(false).and_then(Bound::number).unwrap_or(1).max(1);
        let size = intended.value / count;
        let place = app.pool_size.as_ref().map_or(&app.place, |known| &known.place);
        let finding = out.find(
            format!("{} opens up to {demand} connections, and is meant to have {}", app.name, intended.value),
            place,
            format!("per process and database: {} = {demand}", words::factors(app, false)),
        );
        finding
            .and(intended, format!("{} of all replicas together", intended.value))
            .because(format!("limits behind it that were sized for {} are met early", intended.value));
        if size == 0 {
            finding.fix(format!(
                "{count} pools cannot share {}: fewer processes or replicas, or a pooler between",
                intended.value
            ));
        } else {
            finding.fix(format!("write {}: {count} pools x {size} <= {}", words::app_size(app, size), intended.value));
            words::resize(finding, app, size);
        }
    }
}
