//! TMO-14: one failed login holds everybody off.

use crate::finding::Severity;
use crate::review::dossier::Dossier;
use crate::review::need::{POOLER, REQUEST_TIMEOUT};
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "TMO-14",
    severity: Severity::Warning,
    title: "one failed login holds everybody off for longer than a request",
    condition: "server_login_retry > t_req of an application that uses the pooler",
    why: "After one login that failed, PgBouncer tries none for server_login_retry (15 s by default) and answers every client that \
          has no server connection with the failure it remembers: a blip of the network or a failover becomes an outage that long. \
          Within a request's limit a client's own retry still finds the server back. poolwarden tries again at growing \
          intervals and has no such setting.",
    fix: "write server_login_retry = 1",
    needs: &[POOLER, REQUEST_TIMEOUT],
    check,
};

/// Seconds that are suggested.
const SUGGESTED: &str = "1";

fn check(of: &Dossier, out: &mut Out<'_>) {
    for pooler in &of.poolers {
        let Some(retry) = &pooler.login_retry else { continue };
        let Some(off) = retry.value.span() else { continue };
        let apps = of.clients(pooler).filter_map(|(app, _)| Some((app, app.request_timeout.as_ref()?)));
        let hasty =
            apps.filter_map(|(app, known)| Some((app, known, known.value.span()?))).min_by_key(|(_, _, span)| *span);
        let Some((app, known, request)) = hasty.filter(|(_, _, request)| off > *request) else { continue };
        out.find(
            format!(
                "{}: after a failed login no other is tried for {off:?}, and {} gives up after {request:?}",
                pooler.name, app.name
            ),
            &retry.place,
            format!("no login for {off:?}"),
        )
        .and(known, format!("given up after {request:?}"))
        .because(format!("one failure rejects every client without a server connection for {off:?}"))
        .fix(format!("write server_login_retry = {SUGGESTED}"))
        .write(retry, SUGGESTED);
    }
}
