//! OBS-03: the pooler says nothing of clients that wait or are refused.

use crate::finding::Severity;
use crate::review::chain::{Kind, Pooler};
use crate::review::dossier::Dossier;
use crate::review::need::POOLER;
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "OBS-03",
    severity: Severity::Warning,
    title: "the pooler says nothing of clients that wait or are refused",
    condition: "of PgBouncer query_wait_notify = 0, or log_pooler_errors = 0; of poolwarden log.level = \"error\"",
    why: "A full pool is nearly silent: PgBouncer logs \"pool full\" for debugging alone, and its first line comes with the end of \
          query_wait_timeout. The notice after five seconds of waiting (from 1.25 on) and the lines about errors that clients were \
          sent are all there is. poolwarden logs waits and refusals as warnings, each once with its limit.",
    fix: "write query_wait_notify = 5 and log_pooler_errors = 1, the defaults; of poolwarden log.level = \"info\"",
    needs: &[POOLER],
    check,
};

/// PgBouncer's settings: what stands there by default, what is lost without it, and whether it may be written without asking:
/// a notice reaches clients, a line of the log does not.
const NOTICES: [(&str, &str, &str, bool); 2] = [
    ("query_wait_notify", "5", "no client is told that it waits, and for how long", false),
    ("log_pooler_errors", "1", "the log has no line of clients that were refused or waited in vain", true),
];

fn check(of: &Dossier, out: &mut Out<'_>) {
    for pooler in &of.poolers {
        match pooler.kind {
            Kind::PgBouncer => notices(pooler, out),
            Kind::Poolwarden => level(pooler, out),
            Kind::RdsProxy | Kind::Odyssey => {}
        }
    }
}

fn notices(pooler: &Pooler, out: &mut Out<'_>) {
    let is_off = |key: &str| pooler.notices.get(key).is_some_and(|known| !known.value);
    let all = NOTICES.iter().all(|(key, ..)| is_off(key));
    for (key, default, lost, safe) in NOTICES {
        let Some(known) = pooler.notices.get(key).filter(|_| is_off(key)) else { continue };
        let last = if all { "; with both off a full pool leaves no trace until users complain" } else { "" };
        let finding = out.find(format!("{}: {key} is off", pooler.name), &known.place, "off");
        finding.because(format!("{lost}{last}")).fix(format!("write {key} = {default}")).write(known, default);
        if safe {
            finding.safe();
        }
    }
}

fn level(pooler: &Pooler, out: &mut Out<'_>) {
    let Some(known) = pooler.written.get("log.level").filter(|known| known.value.trim_matches('"') == "error") else {
        return;
    };
    out.find(format!("{}: the log leaves out who waits and who is refused", pooler.name), &known.place, "errors alone")
        .because("the line about the first client that waited, with the limit that made it wait, is a warning")
        .fix("write log.level = \"info\"")
        .write(known, "\"info\"")
        .safe();
}
