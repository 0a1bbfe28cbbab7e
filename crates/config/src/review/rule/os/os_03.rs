//! OS-03: more connects than there are ports.

use crate::finding::Severity;
use crate::review::chain::{App, Bound, Library, Maybe};
use crate::review::dossier::Dossier;
use crate::review::need::TRAFFIC;
use crate::review::place::Known;
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "OS-03",
    severity: Severity::Warning,
    title: "more connects than there are ports",
    condition: "connects per second to one address x 60 s > 28,232 ephemeral ports (host.ephemeral_ports): of a pooler \
                pool.NAME.connect_rate, of an application without a pool (NullPool) its peak_rate / replicas",
    why: "A closed connection keeps its port for a minute (TIME_WAIT). An application that connects for each request runs out of \
          ports on its own machine, and the error, \"cannot assign requested address\", names neither the pooler nor \
          PostgreSQL. Taking the pool away was one team's third fix in a row.",
    fix: "keep connections open: a pool in the application, a longer lifetime or idle time in the pooler",
    needs: &[TRAFFIC],
    check,
};

/// Linux's net.ipv4.ip_local_port_range, 32768 to 60999.
const PORTS: f64 = 28_232.0;
/// Seconds that a closed connection keeps its port: TCP_TIMEWAIT_LEN of Linux.
const KEPT: f64 = 60.0;

fn check(of: &Dossier, out: &mut Out<'_>) {
    let told = of.fact("host.ephemeral_ports").filter(|known| known.value > 0.0);
    for server in 0..of.postgres.len() {
        let rates: Vec<Known<f64>> = of
            .pools()
            .filter(|(_, pool)| pool.server == server)
            .filter_map(|(_, pool)| of.fact(&format!("pool.{}.connect_rate", pool.name.value)))
            .collect();
        let all: f64 = rates.iter().map(|known| known.value).sum();
        let greatest = rates.iter().max_by(|a, b| a.value.total_cmp(&b.value));
        if let Some(greatest) = greatest.filter(|_| runs_out(all, told.as_ref())) {
            let name = &of.postgres[server].name;
            report(&format!("the pooler connects to {name} {all:.0} times a second"), greatest, told.as_ref(), out)
                .fix("keep server connections open: a longer server_lifetime and idle time, and a min_size near what is busy");
        }
    }
    for app in &of.apps {
        let Some((class, rate)) = without_pool(app).filter(|(_, rate)| runs_out(rate.value, told.as_ref())) else {
            continue;
        };
        let each = format!("{}: each replica connects {:.0} times a second", app.name, rate.value);
        report(&each, &class, told.as_ref(), out)
            .and(&rate, "requests per second, each a connect")
            .fix("take the engine's poolclass out, and write a pool_size instead");
    }
}

fn report<'o>(
    what: &str,
    at: &Known<impl Sized>,
    told: Option<&Known<f64>>,
    out: &'o mut Out<'_>,
) -> &'o mut crate::review::finding::Finding {
    let ports = told.map_or(PORTS, |known| known.value);
    let finding = out.find(format!("{what}, and {ports:.0} ports last for {:.0}", ports / KEPT), &at.place, "connects");
    if let Some(told) = told {
        finding.and(told, format!("{ports:.0} ports"));
    }
    finding.because("a closed connection keeps its port for a minute: then connects fail on this machine, with free slots everywhere")
}

fn runs_out(per_second: f64, ports: Option<&Known<f64>>) -> bool {
    per_second * KEPT > ports.map_or(PORTS, |known| known.value)
}

/// An application that connects for each request: where it says so, and how often each replica does.
fn without_pool(app: &App) -> Option<(Known<String>, Known<f64>)> {
    let class = app.written.get("poolclass").filter(|known| known.value.ends_with("NullPool"))?;
    let rate: Maybe<f64> = app.peak_rate.clone();
    let replicas = match app.replicas.as_ref().map(|known| known.value) {
        Some(Bound::Of(replicas)) => replicas.max(1),
        Some(Bound::Unlimited) | None => 1,
    };
    (app.library == Library::SqlAlchemy).then_some(())?;
    Some((class.clone(), rate?.map(|rate| rate / replicas as f64)))
}

#[cfg(test)]
mod tests {
    use super::runs_out;
    use crate::review::place::Known;

    #[test]
    fn ports_are_kept_for_a_minute() {
        assert_eq!([runs_out(470.5, None), runs_out(470.6, None)], [false, true]);
        let few = Known::default_of(600.0, "a test's");
        assert_eq!([runs_out(10.0, Some(&few)), runs_out(10.1, Some(&few))], [false, true]);
    }
}
