//! OS-02: the accept queue is shorter than a burst of connects.

use crate::finding::Severity;
use crate::review::chain::{Bound, Kind, Maybe, Pooler};
use crate::review::dossier::Dossier;
use crate::review::need::{CLIENT_BURST, POOLER};
use crate::review::place::Known;
use crate::review::rule::{Out, Rule};
use crate::review::sums::{fullest, plus};

pub(super) const RULE: Rule = Rule {
    code: "OS-02",
    severity: Severity::Warning,
    title: "the accept queue is shorter than a burst of connects",
    condition: "min(backlog, somaxconn) < clients that connect in one second x 0.1 s; the recorded most, or all clients of an \
                instance, who come back within a second when it restarts",
    why: "Whoever finds the queue full gets no answer to his SYN and tries again after one second, then three, then seven. It looks \
          like the network, no log says a word, and it comes with every restart of the pooler.",
    fix: "a backlog of 4096, and net.core.somaxconn not below it",
    needs: &[POOLER, CLIENT_BURST],
    check,
};

/// For so many seconds a pooler may not come to accept: a reload, a look-up of a name, a TLS handshake or two.
const GAP: f64 = 0.1;
/// What costs nothing and ends the matter.
const AMPLE: u64 = 4096;

fn check(of: &Dossier, out: &mut Out<'_>) {
    for pooler in &of.poolers {
        let told = of.fact("process.backlog").filter(|_| of.poolers.len() == 1);
        let told = told.map(|known| known.map(|backlog| backlog.max(0.0) as u64));
        let Some(backlog) = told.or_else(|| pooler.backlog.clone()) else { continue };
        let most = of.fact("host.somaxconn").map(|known| known.map(|most| most.max(0.0) as u64));
        let shorter = most.filter(|most| most.value < backlog.value);
        let Some(burst) = burst(of, pooler) else { continue };
        let (queue, place) = shorter.as_ref().map_or((backlog.value, &backlog.place), |most| (most.value, &most.place));
        if !overflows(queue, burst.value) {
            continue;
        }
        let finding = out.find(
            format!(
                "{}: an accept queue of {queue} for {:.0} clients that connect in one second",
                pooler.name, burst.value
            ),
            place,
            format!("{queue} may wait"),
        );
        finding
            .and(&burst, format!("{:.0} connects in a second", burst.value))
            .because("the others' first packet is dropped, and they try again after one, three and seven seconds")
            .fix(match (&shorter, pooler.kind) {
                (Some(_), _) => format!("sysctl -w net.core.somaxconn={AMPLE}, then restart the pooler"),
                (None, Kind::Poolwarden) => format!("write listen.backlog = {AMPLE} and restart"),
                (None, Kind::PgBouncer | Kind::RdsProxy | Kind::Odyssey) => {
                    format!("write listen_backlog = {AMPLE} and restart")
                }
            });
        if shorter.is_none() {
            finding.write(&backlog, AMPLE.to_string());
        }
    }
}

/// Whether a queue is full before anybody comes to accept.
fn overflows(queue: u64, per_second: f64) -> bool {
    (queue as f64) < per_second * GAP
}

/// Clients of one instance that connect in one second.
fn burst(of: &Dossier, pooler: &Pooler) -> Maybe<f64> {
    if let Some(recorded) = of.fact("process.connects_peak_1s").filter(|_| of.poolers.len() == 1) {
        return Some(recorded);
    }
    let all = of.clients(pooler).filter_map(|(app, _)| Some((app, app.demand(true)?)));
    let (mut sum, mut first) = (Bound::Of(0), None);
    for (app, demand) in all {
        sum = plus(sum, demand);
        first = first.or_else(|| Some(app.pool_size.as_ref()?.place.clone()));
    }
    let Bound::Of(sum) = sum else { return None };
    let clients = fullest(sum, pooler.instances.value).min(pooler.max_clients.value.number().unwrap_or(u64::MAX));
    Some(Known { value: clients as f64, place: first? })
}

#[cfg(test)]
mod tests {
    use super::overflows;

    #[test]
    fn a_tenth_of_a_second_of_connects_must_fit() {
        assert_eq!([overflows(128, 1_280.0), overflows(128, 1_290.0), overflows(0, 1.0)], [false, true, true]);
    }
}
