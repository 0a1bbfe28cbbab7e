//! TMO-10: a PostgreSQL that vanished is noticed after hours.

use std::time::Duration;

use super::patience::length;
use crate::finding::Severity;
use crate::review::chain::{Kind, Limit, Pooler};
use crate::review::dossier::Dossier;
use crate::review::need::POOLER;
use crate::review::rule::{Out, Rule};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "TMO-10",
    severity: Severity::Warning,
    title: "a server that vanished is noticed after hours",
    condition: "the first keepalive probe of server connections comes later than 350 s, or never, and PostgreSQL is on another machine",
    why: "After a failover or a cut in the network nobody says goodbye. A server connection that waits for an answer waits until TCP \
          keepalive asks: by the kernel's default after two hours, and NAT gateways forget a connection after 350 s. Until then \
          each holds a place of the pool. Where nobody wrote anything, PgBouncer's default applies and it is a hint; a limit of \
          queries bounds it as well.",
    fix: "probe after 30 s, every 10 s, give up after 3 probes",
    needs: &[POOLER],
    check,
};

/// The shortest idle limit that is common on the way: that of AWS's NAT gateways and network load balancers.
const FORGOTTEN: Duration = Duration::from_secs(350);

fn check(of: &Dossier, out: &mut Out<'_>) {
    for pooler in &of.poolers {
        let Some(probe) = pooler.keepalive_idle.as_ref().filter(|known| late(known.value)) else {
            continue;
        };
        if !is_remote(of, pooler) || pooler.query.as_ref().is_some_and(|known| known.value != Limit::Never) {
            continue;
        }
        let when = match probe.value {
            Limit::After(span) => format!("only after {span:?}"),
            Limit::Never => "when the kernel likes to, by default after two hours".to_owned(),
        };
        let finding = out.find(
            format!("{}: a server that vanished is asked {when}", pooler.name),
            &probe.place,
            format!("first probe: {}", words::limit(probe.value)),
        );
        finding.because(
            "after a failover each connection that waits for an answer holds its place in the pool until then",
        );
        if !probe.is_given() {
            finding.matters(Severity::Info);
        }
        match pooler.kind {
            Kind::Poolwarden => finding.fix("write keepalive = \"30s\" of each server").write(probe, "\"30s\""),
            Kind::PgBouncer if probe.value == Limit::Never && probe.is_given() => {
                finding.fix("write tcp_keepalive = 1, tcp_keepidle = 30, tcp_keepintvl = 10, tcp_keepcnt = 3")
            }
            Kind::PgBouncer | Kind::RdsProxy | Kind::Odyssey => {
                finding.fix("write tcp_keepidle = 30, tcp_keepintvl = 10, tcp_keepcnt = 3").write(probe, "30")
            }
        };
    }
}

/// Whether the way may have forgotten the connection by then.
fn late(first_probe: Limit) -> bool {
    length(first_probe) > FORGOTTEN
}

/// Whether one of its servers is known to be on another machine.
fn is_remote(of: &Dossier, pooler: &Pooler) -> bool {
    let hosts = of.postgres.iter().enumerate().filter(|(server, _)| pooler.uses(*server));
    hosts.filter_map(|(_, postgres)| postgres.address.as_ref()).any(|(host, _)| !is_here(host))
}

/// A socket directory, or an address of the machine itself; pgbouncer.ini without a host means its unix socket.
fn is_here(host: &str) -> bool {
    host.starts_with(['/', '@']) || host.starts_with("127.") || ["localhost", "::1", "unix socket"].contains(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_late_once_the_way_has_forgotten() {
        let after = |seconds| late(Limit::After(Duration::from_secs(seconds)));
        assert_eq!([after(350), after(351), late(Limit::Never)], [false, true, true]);
    }

    #[test]
    fn sockets_and_loopback_are_here() {
        assert!(
            ["/run/postgresql", "@abstract", "127.0.0.1", "::1", "localhost", "unix socket"].into_iter().all(is_here)
        );
        assert!(!["10.0.0.5", "db.internal", "12.7.0.1"].into_iter().any(is_here));
    }
}
