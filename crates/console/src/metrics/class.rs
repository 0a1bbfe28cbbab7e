//! Samples of classes: what each met in each pool.

use std::fmt::Display;

use poolwarden_watch::View;
use poolwarden_watch::pool::{ClassSnapshot, Reason};

use super::pool::{labels, with};
use super::text::{Samples, seconds};
use super::{class_name, listed};

/// One sample per pool and class that has been there.
fn each<T: Display>(view: &View, out: &mut Samples, value: impl Fn(&ClassSnapshot) -> T) {
    for (host, pool) in listed(view) {
        for of in &pool.classes {
            out.push(&with(labels(host, pool), "class", &class_name(view, of.class)), value(of));
        }
    }
}

/// The same for each reason to refuse.
fn by_reason(view: &View, out: &mut Samples, counts: impl Fn(&ClassSnapshot) -> &[u64; Reason::ALL.len()]) {
    for (host, pool) in listed(view) {
        for of in &pool.classes {
            let name = class_name(view, of.class);
            let [a, b, c, d, e] = with(labels(host, pool), "class", &name);
            for (reason, count) in Reason::ALL.iter().zip(counts(of)) {
                out.push(&[a, b, c, d, e, ("reason", reason.name())], count);
            }
        }
    }
}

pub(super) fn queue_length(view: &View, out: &mut Samples) {
    each(view, out, |of| of.waiting);
}

pub(super) fn sheds(view: &View, out: &mut Samples) {
    by_reason(view, out, |of| &of.refused);
}

pub(super) fn would_shed(view: &View, out: &mut Samples) {
    by_reason(view, out, |of| &of.would_refuse);
}

pub(super) fn retries(view: &View, out: &mut Samples) {
    each(view, out, |of| of.reattempts);
}

pub(super) fn server_seconds(view: &View, out: &mut Samples) {
    each(view, out, |of| seconds(of.server_nanos));
}

pub(super) fn overloaded(view: &View, out: &mut Samples) {
    each(view, out, |of| u8::from(of.overloaded));
}

pub(super) fn shed(view: &View, out: &mut Samples) {
    for class in &view.classes {
        out.push(&[("class", class.name.as_str())], u8::from(class.shed_until_ms.is_some()));
    }
}
