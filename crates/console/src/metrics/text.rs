//! OpenMetrics text: families, samples, escapes. Histograms have no sum where none is kept exactly.

use std::fmt::{Display, Write};

use poolwarden_watch::pool::WAIT_BUCKETS;

use super::catalogue::{Kind, Metric};

/// The text under way, and the family whose samples are being written.
#[derive(Debug)]
pub struct Samples {
    out: String,
    family: String,
    kind: Kind,
}

impl Samples {
    pub(super) fn new() -> Self {
        Self { out: String::with_capacity(64 * 1024), family: String::new(), kind: Kind::Gauge }
    }

    /// Opens a family; what follows are its samples.
    pub(super) fn family(&mut self, metric: &Metric) {
        (self.family, self.kind) = (metric.family().to_owned(), metric.kind);
        let (family, kind) = (metric.family(), metric.kind.name());
        self.write(format_args!("# TYPE {family} {kind}\n"));
        if !metric.unit.is_empty() {
            self.write(format_args!("# UNIT {family} {}\n", metric.unit));
        }
        self.write(format_args!("# HELP {family} {}\n", metric.help));
    }

    /// Opens a family that is not of the catalogue.
    pub(super) fn foreign(&mut self, family: &str, kind: Kind) {
        (self.family, self.kind) = (family.to_owned(), kind);
        self.write(format_args!("# TYPE {family} {}\n", kind.name()));
    }

    /// One sample of a counter, a gauge or an info.
    pub(super) fn push(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.sample(suffix, labels, None, value);
    }

    /// One histogram: observations per bucket (not cumulated), the last one without upper bound.
    pub(super) fn histogram(&mut self, labels: &[(&str, &str)], counts: &[u64; 16]) {
        self.buckets(labels, WAIT_BUCKETS.iter().map(|bound| short_seconds(*bound)), counts);
    }

    /// The same, with the bounds as they are written; one count more than there are bounds.
    pub(super) fn buckets(&mut self, labels: &[(&str, &str)], bounds: impl Iterator<Item = String>, counts: &[u64]) {
        let mut below = 0_u64;
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(counts) {
            below += count;
            self.sample("_bucket", labels, Some(&bound), below);
        }
    }

    pub(super) fn end(mut self) -> String {
        self.out.push_str("# EOF\n");
        self.out
    }

    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], le: Option<&str>, value: impl Display) {
        self.out.push_str(&self.family);
        self.out.push_str(suffix);
        let all = labels.iter().copied().chain(le.map(|bound| ("le", bound)));
        let mut open = false;
        for (name, value) in all {
            self.out.push(if open { ',' } else { '{' });
            open = true;
            self.out.push_str(name);
            self.out.push_str("=\"");
            self.escaped(value);
            self.out.push('"');
        }
        if open {
            self.out.push('}');
        }
        self.write(format_args!(" {value}\n"));
    }

    fn escaped(&mut self, value: &str) {
        for c in value.chars() {
            match c {
                '\\' => self.out.push_str("\\\\"),
                '"' => self.out.push_str("\\\""),
                '\n' => self.out.push_str("\\n"),
                plain => self.out.push(plain),
            }
        }
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("writing to a String fails for no text");
    }
}

/// Nanoseconds as seconds, exactly.
pub(super) fn seconds(nanos: u64) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

/// A bucket's bound as the shortest float: `0.0005`, `1.0`, `2.5`.
fn short_seconds(nanos: u64) -> String {
    let exact = seconds(nanos);
    let short = exact.trim_end_matches('0');
    if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_short_and_values_are_exact() {
        let bounds = [500_000, 1_000_000_000, 2_500_000_000, 30_000_000_000].map(short_seconds);
        assert_eq!(bounds, ["0.0005", "1.0", "2.5", "30.0"]);
        assert_eq!(seconds(12_345_678_900), "12.345678900");
    }
}
