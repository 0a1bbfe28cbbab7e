//! Samples of the process and its loops.

use poolwarden_watch::pool::Limit;
use poolwarden_watch::{LoopView, ProcessState, ProcessView, Uses, View};

use super::MAX_POOLS;
use super::text::{Samples, seconds};

pub(super) fn build(view: &View, out: &mut Samples) {
    out.push(&[("version", &view.version)], 1);
}

pub(super) fn config(view: &View, out: &mut Samples) {
    out.push(&[("hash", &view.process.config_hash)], 1);
}

pub(super) fn start_time(view: &View, out: &mut Samples) {
    out.push(&[], format_args!("{}.{:03}", view.started_at_ms / 1000, view.started_at_ms % 1000));
}

pub(super) fn state(view: &View, out: &mut Samples) {
    for state in ProcessState::ALL {
        out.push(&[("state", state.name())], u8::from(view.state == state));
    }
}

fn limits(process: &ProcessView) -> [(&'static str, Uses); 3] {
    [
        (Limit::MaxClients.name(), process.clients),
        (Limit::Fds.name(), process.fds),
        (Limit::Memory.name(), process.memory_bytes),
    ]
}

pub(super) fn capacity(view: &View, out: &mut Samples) {
    for (limit, uses) in limits(&view.process) {
        if let Some(max) = uses.max {
            out.push(&[("limit", limit)], max);
        }
    }
}

pub(super) fn capacity_used(view: &View, out: &mut Samples) {
    for (limit, uses) in limits(&view.process) {
        out.push(&[("limit", limit)], uses.used);
    }
}

pub(super) fn unlisted(view: &View, out: &mut Samples) {
    out.push(&[], view.pools().count().saturating_sub(MAX_POOLS));
}

pub(super) fn clients(view: &View, out: &mut Samples) {
    out.push(&[], view.process.clients.used);
}

pub(super) fn logins(view: &View, out: &mut Samples) {
    out.push(&[], view.process.logins.used);
}

pub(super) fn opened(view: &View, out: &mut Samples) {
    out.push(&[], view.process.clients_opened);
}

pub(super) fn refused(view: &View, out: &mut Samples) {
    for (limit, count) in Limit::ALL.iter().zip(view.process.refused_clients) {
        out.push(&[("reason", limit.name())], count);
    }
}

pub(super) fn login_failures(view: &View, out: &mut Samples) {
    for (reason, count) in &view.process.login_failures {
        out.push(&[("reason", reason)], count);
    }
}

pub(super) fn login(view: &View, out: &mut Samples) {
    out.histogram(&[], &view.process.login);
}

pub(super) fn cpu(view: &View, out: &mut Samples) {
    out.push(&[], seconds(view.process.cpu_nanos));
}

pub(super) fn derivations(view: &View, out: &mut Samples) {
    out.push(&[], view.process.scram_derivations);
}

pub(super) fn cancels(view: &View, out: &mut Samples) {
    let of = view.process.cancels;
    let results =
        [("forwarded", of.forwarded), ("answered", of.answered), ("refused", of.refused), ("dropped", of.dropped)];
    for (result, count) in results {
        out.push(&[("result", result)], count);
    }
}

pub(super) fn reloads(view: &View, out: &mut Samples) {
    out.push(&[("result", "ok")], view.process.reloads);
    out.push(&[("result", "failed")], view.process.reloads_failed);
}

pub(super) fn certificates(view: &View, out: &mut Samples) {
    for of in &view.process.certificates {
        out.push(&[("place", of.place), ("host", &of.host), ("subject", &of.subject)], of.not_after);
    }
}

pub(super) fn log_dropped(view: &View, out: &mut Samples) {
    out.push(&[], view.process.log_dropped);
}

pub(super) fn facts_dropped(view: &View, out: &mut Samples) {
    out.push(&[], view.process.facts_dropped);
}

/// One sample per loop.
fn each<T: std::fmt::Display>(view: &View, out: &mut Samples, value: impl Fn(&LoopView) -> T) {
    for (index, of) in view.loops.iter().enumerate() {
        out.push(&[("loop", &index.to_string())], value(of));
    }
}

pub(super) fn loop_lag(view: &View, out: &mut Samples) {
    each(view, out, |of| seconds(of.lag_us.saturating_mul(1_000)));
}

pub(super) fn loop_busy(view: &View, out: &mut Samples) {
    each(view, out, |of| of.busy_ratio);
}

pub(super) fn loop_clients(view: &View, out: &mut Samples) {
    each(view, out, |of| of.clients);
}

pub(super) fn loop_servers(view: &View, out: &mut Samples) {
    each(view, out, |of| of.servers);
}

pub(super) fn loop_moves(view: &View, out: &mut Samples) {
    each(view, out, |of| of.moved);
}
