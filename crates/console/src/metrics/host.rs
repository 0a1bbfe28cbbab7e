//! Samples of PostgreSQL servers.

use poolwarden_watch::{Activity, BackendState, HostView, View};

use super::text::Samples;

/// One sample per host that has the value.
fn each(view: &View, out: &mut Samples, value: impl Fn(&HostView) -> Option<u64>) {
    for host in &view.hosts {
        if let Some(value) = value(host) {
            out.push(&[("host", &host.name)], value);
        }
    }
}

pub(super) fn up(view: &View, out: &mut Samples) {
    each(view, out, |host| Some(u64::from(!host.snapshot.down)));
}

pub(super) fn watched(view: &View, out: &mut Samples) {
    each(view, out, |host| Some(u64::from(host.facts.is_some() && host.watch_error.is_none())));
}

pub(super) fn connects(view: &View, out: &mut Samples) {
    each(view, out, |host| Some(host.snapshot.connects.0.into()));
}

pub(super) fn connects_allowed(view: &View, out: &mut Samples) {
    each(view, out, |host| Some(host.snapshot.connects.1.into()));
}

pub(super) fn slots_free(view: &View, out: &mut Samples) {
    each(view, out, |host| {
        let facts = host.facts.as_ref().filter(|_| host.watch_error.is_none())?;
        let open = u64::from(facts.max_connections.saturating_sub(facts.reserved));
        Some(open.saturating_sub(facts.pids.len() as u64))
    });
}

/// What PostgreSQL told last, while it tells.
fn told(host: &HostView) -> Option<&Activity> {
    host.activity.as_ref().filter(|_| host.watch_error.is_none())
}

pub(super) fn slots(view: &View, out: &mut Samples) {
    each(view, out, |host| told(host).map(|of| of.max_connections.saturating_sub(of.reserved).into()));
}

pub(super) fn lock_waiters(view: &View, out: &mut Samples) {
    each(view, out, |host| told(host).map(|of| of.backends.iter().filter(|of| of.waits_for_lock()).count() as u64));
}

pub(super) fn backends(view: &View, out: &mut Samples) {
    const STATES: [(BackendState, &str); 4] = [
        (BackendState::Active, "active"),
        (BackendState::Idle, "idle"),
        (BackendState::IdleInTransaction, "idle_in_transaction"),
        (BackendState::Other, "other"),
    ];
    for host in &view.hosts {
        let Some(activity) = told(host) else { continue };
        for (own, owner) in [(true, "own"), (false, "other")] {
            for (state, name) in STATES {
                let listed = activity.backends.iter().filter(|of| of.own == own && of.state == state).count() as u64;
                // those that are not listed one by one are nobody's known
                let unlisted = if !own && state == BackendState::Other { u64::from(activity.unlisted) } else { 0 };
                out.push(&[("host", &host.name), ("owner", owner), ("state", name)], listed + unlisted);
            }
        }
    }
}

pub(super) fn evictions(view: &View, out: &mut Samples) {
    each(view, out, |host| Some(host.snapshot.evicted));
}

pub(super) fn moves(view: &View, out: &mut Samples) {
    each(view, out, |host| Some(host.snapshot.moved));
}
