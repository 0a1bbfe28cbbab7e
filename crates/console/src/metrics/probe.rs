//! Samples of the web tier as probes see it.

use poolwarden_watch::{ProbeResult, View};

use super::text::{Samples, seconds};

/// One sample per probe that has answered or failed at least once.
fn newest<T: std::fmt::Display>(view: &View, out: &mut Samples, value: impl Fn(&ProbeResult) -> T) {
    for probe in &view.probes {
        if let Some(last) = &probe.last {
            out.push(&[("probe", &probe.name)], value(last));
        }
    }
}

pub(super) fn up(view: &View, out: &mut Samples) {
    newest(view, out, |last| u8::from(last.good));
}

pub(super) fn duration(view: &View, out: &mut Samples) {
    newest(view, out, |last| seconds(last.took_us.saturating_mul(1_000)));
}

pub(super) fn answers(view: &View, out: &mut Samples) {
    for probe in &view.probes {
        for (result, count) in [("good", probe.good), ("bad", probe.bad)] {
            out.push(&[("probe", &probe.name), ("result", result)], count);
        }
    }
}
