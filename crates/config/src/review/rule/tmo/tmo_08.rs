//! TMO-08: idle connections of an application outlive what lies between.

use std::time::Duration;

use super::patience::{lands, length, pg_limit, rest};
use crate::finding::Severity;
use crate::review::chain::{App, Limit};
use crate::review::dossier::Dossier;
use crate::review::need::APP;
use crate::review::place::{Known, Place};
use crate::review::rule::{Out, Rule};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "TMO-08",
    severity: Severity::Warning,
    title: "idle connections outlive what lies between",
    condition: "min(idle timeout, keepalive, lifetime of the application's pool) >= the idle limit of what it connects to: \
                network.idle_ms (a fact), a network load balancer of AWS (350 s), RDS Proxy (1800 s), or without a pooler \
                idle_session_timeout of its role",
    why: "A load balancer, NAT or proxy drops a connection that was idle for so long, often without a word: the next query goes to \
          a dead socket and fails, or hangs until TCP gives up. HikariCP's manual asks for a lifetime several seconds shorter than \
          any limit of the infrastructure. A pooler's own client_idle_timeout is TMO-15.",
    fix: "make the lifetime, the idle timeout or the keepalive shorter than that limit",
    needs: &[APP],
    check,
};

/// Endings of addresses whose idle limit is known, with whose it is.
const KNOWN: [(&str, &str, Duration); 2] = [
    (".elb.", "a network load balancer of AWS", Duration::from_secs(350)),
    (".proxy-", "RDS Proxy", Duration::from_secs(1800)),
];

/// The suggestion is so much of the limit earlier: more than the several seconds that HikariCP asks for.
const EARLIER: u32 = 10;

fn check(of: &Dossier, out: &mut Out<'_>) {
    for app in &of.apps {
        let (Some(rest), Some((limit, whose))) = (rest(app), between(of, app)) else { continue };
        if length(rest.value) < limit.value {
            continue;
        }
        let shorter = limit.value - limit.value / EARLIER;
        out.find(
            format!(
                "{}: idle connections stay {}, and {whose} drops them after {:?}",
                app.name,
                stay(rest.value),
                limit.value
            ),
            if rest.is_given() { &rest.place } else { &app.place },
            format!("idle {}", stay(rest.value)),
        )
        .and(&limit, format!("{whose}: {:?}", limit.value))
        .because("the next query goes to a connection that is gone: it fails, or hangs until TCP gives up")
        .fix(format!("shorten the lifetime, the idle timeout or the keepalive of its pool to {shorter:?} or less"));
    }
}

fn stay(limit: Limit) -> String {
    limit.span().map_or_else(|| "for ever".to_owned(), |_| format!("for up to {}", words::limit(limit)))
}

/// The shortest idle limit between an application and what it connects to, and whose it is.
fn between(of: &Dossier, app: &App) -> Option<(Known<Duration>, &'static str)> {
    let told = of.fact("network.idle_ms").filter(|known| known.value > 0.0);
    let told = told.map(|known| (known.map(|millis| Duration::from_secs_f64(millis.min(1e12) / 1e3)), "the network"));
    let host = app.address.as_ref().map_or("", |(host, _)| host.as_str());
    let known = KNOWN.iter().find(|(part, _, _)| host.ends_with(".amazonaws.com") && host.contains(part));
    let known = known.map(|(_, whose, idle)| (Known { value: *idle, place: Place::Default(whose) }, *whose));
    let session = || {
        let (server, role) = lands(of, app).filter(|_| of.route(app).is_none())?;
        let known = pg_limit(of, server, role, "idle_session_timeout")?;
        Some((Known { value: known.value.span()?, place: known.place }, "PostgreSQL"))
    };
    [told, known, session()].into_iter().flatten().min_by_key(|(known, _)| known.value)
}
