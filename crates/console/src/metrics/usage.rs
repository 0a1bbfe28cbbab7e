//! Samples of who used what: by application, over all pools, bounded in number.

use std::collections::BTreeMap;
use std::fmt::Display;

use poolwarden_watch::{UsageKind, Used, View};

use super::text::{Samples, seconds};
use super::{OTHER, application_label, largest};

fn by_application(view: &View) -> Vec<(&str, Used)> {
    let mut sums = BTreeMap::<&str, Used>::new();
    for of in view.usage.iter().filter(|of| of.kind == UsageKind::Application) {
        let name = of.name.as_deref().map_or(OTHER, application_label);
        sums.entry(name).or_default().add(&of.used);
    }
    largest(sums, |used| used.held_us, Used::add)
}

fn each<T: Display>(view: &View, out: &mut Samples, value: impl Fn(&Used) -> T) {
    for (name, used) in by_application(view) {
        out.push(&[("application", name)], value(&used));
    }
}

pub(super) fn leases(view: &View, out: &mut Samples) {
    each(view, out, |used| used.leases);
}

pub(super) fn held(view: &View, out: &mut Samples) {
    each(view, out, |used| seconds(used.held_us.saturating_mul(1_000)));
}

pub(super) fn waited(view: &View, out: &mut Samples) {
    each(view, out, |used| seconds(used.waited_us.saturating_mul(1_000)));
}

pub(super) fn refused(view: &View, out: &mut Samples) {
    each(view, out, |used| used.refused);
}
