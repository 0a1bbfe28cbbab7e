//! What stands around the pools: web tier, network, PostgreSQL, poolwarden. Each is at fault, or is not, or is not seen.

use crate::case::{Process, STALE_MS};
use crate::say::{percent, span};
use crate::why::{Evidence, Layer, PoolState, PoolWhy, Verdict};
use crate::{HostView, View};

/// Every layer, from the client's side on.
pub(crate) fn layers(view: &View, process: &Process, pools: &[PoolWhy]) -> Vec<Layer> {
    let mut layers = vec![web_layer(view, process, pools)];
    for host in &view.hosts {
        let down = pools.iter().find(|pool| pool.server == host.name && pool.state == PoolState::Down);
        layers.extend(server_layers(view, host, down));
    }
    layers.push(own_layer(process, pools));
    layers
}

/// Whether a probe fails now, and what the probes say.
pub(crate) fn web(view: &View, process: &Process) -> (bool, Evidence) {
    let counts = process.probes.iter().fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
    let said: Vec<String> = view
        .probes
        .iter()
        .zip(&process.probes)
        .map(|(probe, (good, bad))| {
            let last = probe.last.as_ref();
            let newest = last.map_or_else(String::new, |last| match (last.status, last.good) {
                (Some(status), _) => format!(", newest {status} in {}", span(last.took_us as f64)),
                (None, _) => format!(", newest: {}", last.error),
            });
            format!("{}: {good} good, {bad} bad{newest}", probe.name)
        })
        .collect();
    let newest_bad = |probe: &crate::ProbeView| probe.last.as_ref().is_some_and(|last| !last.good);
    let failing = view.probes.iter().zip(&process.probes).any(|(probe, (_, bad))| *bad > 0 && newest_bad(probe));
    let evidence = Evidence::new(
        format!("probes of the last seconds: {}", said.join("; ")),
        [("probes_good", counts.0 as f64), ("probes_bad", counts.1 as f64)],
    );
    (failing, evidence)
}

fn web_layer(view: &View, process: &Process, pools: &[PoolWhy]) -> Layer {
    let name = "web tier".to_owned();
    if view.probes.is_empty() {
        let evidence = Evidence::said("no [[probe]] is configured: what the web tier answers is not seen");
        return Layer { name, verdict: Verdict::NotTestable, evidence };
    }
    let (failing, evidence) = web(view, process);
    let explained =
        pools.iter().any(|pool| matches!(pool.state, PoolState::Saturated | PoolState::Down | PoolState::Paused));
    let alone = view
        .probes
        .iter()
        .any(|probe| probe.database == Some(false) && probe.last.as_ref().is_some_and(|last| !last.good));
    // a route that needs the database fails with the pool; one that needs none has no excuse
    let at_fault = failing && (!explained || alone);
    Layer { name, verdict: if at_fault { Verdict::Supported } else { Verdict::RuledOut }, evidence }
}

fn server_layers(view: &View, host: &HostView, down: Option<&PoolWhy>) -> [Layer; 2] {
    let at_fault = |code| {
        let cause = down.and_then(|pool| pool.causes.iter().find(|cause| cause.code == code));
        cause.filter(|cause| cause.verdict == Verdict::Supported)
    };
    let told = host.activity.as_ref().filter(|of| view.now_ms.saturating_sub(of.seen_at_ms) < STALE_MS);
    let told = told.filter(|_| down.is_none());
    let layer = |name: String, code| match (at_fault(code), told) {
        (Some(cause), _) => {
            let evidence = cause.evidence.first().cloned().unwrap_or_default();
            Layer { name, verdict: Verdict::Supported, evidence }
        }
        (None, Some(activity)) => {
            let all = activity.backends.len() + activity.unlisted as usize;
            let text = format!(
                "answered in {}, {all} of {} connections used",
                span(activity.took_us as f64),
                activity.max_connections
            );
            let numbers = [("took_us", activity.took_us as f64), ("backends", all as f64)];
            Layer { name, verdict: Verdict::RuledOut, evidence: Evidence::new(text, numbers) }
        }
        (None, None) => {
            let why = host.watch_error.as_deref().unwrap_or("the watch connection has not answered yet");
            Layer { name, verdict: Verdict::NotTestable, evidence: Evidence::said(why) }
        }
    };
    [
        layer(format!("network to {}", host.name), crate::CauseCode::Network),
        layer(format!("postgresql {}", host.name), crate::CauseCode::PgDown),
    ]
}

fn own_layer(process: &Process, pools: &[PoolWhy]) -> Layer {
    let busy = crate::CauseCode::PoolwardenBusy;
    let is_it =
        |pool: &PoolWhy| pool.causes.iter().any(|cause| cause.code == busy && cause.verdict == Verdict::Supported);
    let text = format!(
        "the busiest loop used {} of a core, its longest turn took {}",
        percent(process.busy),
        span(process.lag_us as f64)
    );
    let numbers = [("busy", process.busy), ("lag_us", process.lag_us as f64)];
    let verdict = if pools.iter().any(is_it) { Verdict::Supported } else { Verdict::RuledOut };
    Layer { name: "poolwarden".to_owned(), verdict, evidence: Evidence::new(text, numbers) }
}
