//! OBS-02: an alert that always fires, or never.
//!
//! Only what is certain from the files is said: a limit that is 0 in every configuration the alert can be about, and two sides
//! whose labels differ by what the metrics bring themselves. `unless` and `or` need no partner and are left alone.

use super::ask::{self, Asked};
use super::measure::{self, Measure};
use super::{labels, metrics};
use crate::finding::Severity;
use crate::review::chain::Kind;
use crate::review::dossier::Dossier;
use crate::review::need::ALERTS;
use crate::review::rule::{Out, Rule};
use crate::review::source::promql::{Expr, Selector};

pub(super) const RULE: Rule = Rule {
    code: "OBS-02",
    severity: Severity::Error,
    title: "an alert that always fires, or never",
    condition: "an alert measures against a limit of the pooler (divides by it, subtracts from it, compares with it) that is 0 or \
                unlimited in the configuration given, clamp_min(limit, n) as well; or both sides of an operation have labels that \
                never match",
    why: "The alerts that are copied most divide by clamp_min(max_user_connections, 1), and 0 is PgBouncer's default: the alert of \
          90 % fires at the first connection. Others set a pool's numbers, which have database and user, against \
          max_client_conn, which has neither: nothing matches, nothing ever fires, and \"never fired\" reads like \"all is well\".",
    fix: "write the limit that is meant, or alert on waits; bring both sides to the same labels with sum by (…)",
    needs: &[ALERTS],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for name in ask::strange(of) {
        out.lacks(ALERTS, &format!("alert {name}, whose expression is not understood"));
    }
    for asked in &ask::asked(of) {
        for apart in labels::apart(&asked.expr) {
            never(of, asked, &apart, out);
        }
        for measure in &measure::measures(&asked.expr) {
            always(of, asked, measure, out);
        }
    }
}

fn always(of: &Dossier, asked: &Asked<'_>, measure: &Measure<'_>, out: &mut Out<'_>) {
    let Some(zero) = measure::zero(of, measure) else { return };
    let (key, limit) = (&zero.key, &zero.limit);
    let (place, _) = ask::place(of, asked.alert, measure.selector);
    let (label, because) = match measure.instead.filter(|least| *least > 0.0) {
        Some(least) => (
            format!("{least} stands in the place of 0"),
            format!("what it takes for the limit is {least}: it fires while all is well, and nobody looks any more"),
        ),
        None => (
            "0 here".to_owned(),
            "whatever is set against 0 is more than all of it: it fires while all is well, and nobody looks any more".to_owned(),
        ),
    };
    let write = zero.fitting.map_or_else(String::new, |fitting| format!("write {key} = {fitting}, or "));
    let finding = out.find(
        format!("alert {} measures against {key}, which is unlimited", asked.alert.name.value),
        &place.place,
        label,
    );
    finding
        .and(limit, "unlimited, which is exported as 0")
        .because(because)
        .fix(format!("{write}alert on waits instead: {}", ask::burn_rate(Kind::PgBouncer)));
    if let Some(fitting) = zero.fitting {
        finding.write(limit, fitting.to_string());
    }
}

fn never(of: &Dossier, asked: &Asked<'_>, apart: &labels::Apart<'_>, out: &mut Out<'_>) {
    let sides = [apart.left, apart.right];
    let selectors: Vec<&Selector> = sides.into_iter().flat_map(Expr::selectors).collect();
    let Some(first) = selectors.iter().find(|selector| metrics::is_poolers(&selector.metric)) else { return };
    let (place, _) = ask::place(of, asked.alert, first);
    let finding = out.find(
        format!("alert {}: nothing on the left of {} ever matches its right: {}", asked.alert.name.value, apart.op, apart.why),
        &place.place,
        "one side",
    );
    if let Some(other) = apart.right.selectors().into_iter().find(|other| *other != *first) {
        let (place, _) = ask::place(of, asked.alert, other);
        finding.and(&place, "the other side");
    }
    if let Some((known, text)) = selectors.iter().find_map(|selector| measure::setting(of, selector)) {
        finding.and(&known, text);
    }
    finding.because("an operation without a match gives nothing: it never fires, whatever happens");
    let Some(common) = &apart.common else {
        finding.fix("ignore that label on both sides: write ignoring (…) behind the sign");
        return;
    };
    let sum = if common.is_empty() { "sum".to_owned() } else { format!("sum by ({})", common.join(", ")) };
    finding.fix(format!("write {sum} (…) around both sides"));
    for side in sides {
        if let Expr::Selector(selector) = side
            && let (written, true) = ask::place(of, asked.alert, selector)
        {
            finding.write(&written, format!("{sum} ({})", written.value));
        }
    }
}
