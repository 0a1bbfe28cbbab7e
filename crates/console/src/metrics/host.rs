//! Samples of PostgreSQL servers.

use poolwarden_watch::{HostView, View};

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

pub(super) fn evictions(view: &View, out: &mut Samples) {
    each(view, out, |host| Some(host.snapshot.evicted));
}

pub(super) fn moves(view: &View, out: &mut Samples) {
    each(view, out, |host| Some(host.snapshot.moved));
}
