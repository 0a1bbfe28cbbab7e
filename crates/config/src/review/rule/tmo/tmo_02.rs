//! TMO-02: clients wait in the pool for longer than anybody waits for the answer.

use std::time::Duration;

use super::patience::{once, typed, wait_key};
use crate::finding::Severity;
use crate::review::dossier::Dossier;
use crate::review::need::{POOLER, REQUEST_TIMEOUT};
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "TMO-02",
    severity: Severity::Warning,
    title: "the wait for a server connection outlasts the request",
    condition: "t_wait >= t_req of an application that uses the pool",
    why: "Users and load balancers give up first, and the web tier is blamed; the queue keeps requests of people who left, and \
          spends server connections on them when it moves again. PgBouncer's default is 120 s, a usual gateway's 30 s. A wait \
          without end is TMO-01.",
    fix: "let waits end within half of the request's time limit, better after a tenth of it",
    needs: &[POOLER, REQUEST_TIMEOUT],
    check,
};

/// What is suggested: a tenth of the request's limit, between half a second and three.
const PART: u32 = 10;
const LEAST: Duration = Duration::from_millis(500);
const MOST: Duration = Duration::from_secs(3);

fn check(of: &Dossier, out: &mut Out<'_>) {
    let mut seen = Vec::new();
    for app in &of.apps {
        let Some((pooler, pool)) = of.route(app) else { continue };
        let Some(request) = &app.request_timeout else {
            out.lacks(REQUEST_TIMEOUT, &app.name);
            continue;
        };
        let (Some(wait), Some(given_up)) = (pool.max_wait.value.span(), request.value.span()) else { continue };
        if wait < given_up || !once(&mut seen, &pool.max_wait.place) {
            continue;
        }
        let new = typed(pooler.kind, suggested(given_up));
        out.find(
            format!(
                "pool {}: clients wait up to {wait:?}, and {} gives up after {given_up:?}",
                pool.name.value, app.name
            ),
            &pool.max_wait.place,
            format!("waits up to {wait:?}"),
        )
        .and(request, format!("given up after {given_up:?}"))
        .because(format!(
            "for {:?} the queue holds requests that nobody waits for, and the pool is never named",
            wait - given_up
        ))
        .fix(format!("write {} = {new}", wait_key(pooler, pool)))
        .write(&pool.max_wait, new);
    }
}

fn suggested(request: Duration) -> Duration {
    (request / PART).clamp(LEAST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_request_is_suggested_within_bounds() {
        let of = |millis| suggested(Duration::from_millis(millis)).as_millis();
        assert_eq!([of(1_000), of(5_000), of(20_000), of(30_000), of(60_000)], [500, 500, 2_000, 3_000, 3_000]);
    }
}
