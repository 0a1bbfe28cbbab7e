//! TMO-01: a client may wait for a server connection for ever.

use std::time::Duration;

use super::patience::{once, typed, wait_key};
use crate::finding::Severity;
use crate::review::chain::Limit;
use crate::review::dossier::Dossier;
use crate::review::need::POOLER;
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "TMO-01",
    severity: Severity::Error,
    title: "clients wait for a server connection without end",
    condition: "t_wait is off",
    why: "A pool that is wedged never says so: nothing errors, nothing retries, nobody is called. One was found with 764 of 764 \
          clients stuck and the oldest waiting for 210,619 s. A wait that ends turns the wedge into errors that name the pool. \
          Where the default is off for many pools it is one finding.",
    fix: "let waits end after 0.5 to 3 seconds, and longer for batch work alone",
    needs: &[POOLER],
    check,
};

/// What is suggested: long enough for a burst, short enough for a person.
const WAIT: Duration = Duration::from_secs(2);

fn check(of: &Dossier, out: &mut Out<'_>) {
    let mut seen = Vec::new();
    for (pooler, pool) in of.pools().filter(|(_, pool)| pool.max_wait.value == Limit::Never) {
        if !once(&mut seen, &pool.max_wait.place) {
            continue;
        }
        let new = typed(pooler.kind, WAIT);
        out.find(
            format!("pool {}: clients wait for a server connection without end", pool.name.value),
            &pool.max_wait.place,
            "no limit".to_owned(),
        )
        .because("when every server connection is stuck, all clients hang and no error says why")
        .fix(format!("write {} = {new}", wait_key(pooler, pool)))
        .write(&pool.max_wait, new);
    }
}
