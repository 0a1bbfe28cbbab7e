//! CAP-05: more clients come than an instance lets in.

use crate::finding::Severity;
use crate::review::chain::{Bound, Pooler};
use crate::review::dossier::Dossier;
use crate::review::need::{APP, APP_POOL_SIZE, APP_REPLICAS, POOLER};
use crate::review::rule::{Out, Rule};
use crate::review::sums::fullest;
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "CAP-05",
    severity: Severity::Error,
    title: "more clients come than the pooler lets in",
    condition: "D x 1.25 / N > mcc; with one instance D > mcc",
    why: "Whoever comes after max_client_conn is refused at login, whatever the pools have free: 448 of 452 failures of one \
          outage. Over several instances connections never spread evenly, so the fullest one is taken to have a quarter more \
          than its share.",
    fix: "raise the client limit with the file descriptors it needs, or let the applications keep fewer connections",
    needs: &[POOLER, APP, APP_POOL_SIZE, APP_REPLICAS],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for pooler in &of.poolers {
        for (app, _) in of.clients(pooler).filter(|(app, _)| app.demand(false).is_none()) {
            out.lacks(if app.pool_size.is_none() { APP_POOL_SIZE } else { APP_REPLICAS }, &app.name);
        }
        let Bound::Of(most) = pooler.max_clients.value else { continue };
        let needed = needed(of, pooler, false);
        if needed <= most {
            continue;
        }
        let instances = pooler.instances.value;
        let message = format!("{needed} clients can come to one instance of {}, which lets {most} in", pooler.name);
        let finding =
            out.find(message, &pooler.max_clients.place, format!("{most} clients per instance, {instances} instances"));
        for (app, _) in of.clients(pooler) {
            if let (Some(Bound::Of(demand)), Some(size)) = (app.demand(false), &app.pool_size) {
                finding.and(size, format!("{}: {} = {demand}", app.name, words::factors(app, false)));
            }
        }
        let enough = rounded(needed);
        finding
            .because(format!("{} clients are refused at login, though their pools may be free", needed - most))
            .fix(format!(
                "write {} = {enough}, and let the process open as many files",
                words::clients_key(pooler.kind)
            ))
            .write(&pooler.max_clients, enough.to_string());
    }
}

/// Clients the fullest instance must let in.
pub(super) fn needed(of: &Dossier, pooler: &Pooler, surge: bool) -> u64 {
    let demands = of.clients(pooler).filter_map(|(app, _)| app.demand(surge).and_then(Bound::number));
    fullest(demands.fold(0, u64::saturating_add), pooler.instances.value)
}

/// The next hundred: a limit people can remember.
pub(super) const fn rounded(clients: u64) -> u64 {
    clients.div_ceil(100).saturating_mul(100)
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn limits_are_round() {
        assert_eq!([500, 501].map(rounded), [500, 600]);
    }
}
