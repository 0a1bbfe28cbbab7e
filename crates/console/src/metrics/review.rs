//! Samples of the review of the running process; none before the first one came to an end.

use super::Scrape;
use super::text::{Samples, seconds};
use crate::review::Severity;

pub(super) fn findings(scrape: &Scrape, out: &mut Samples) {
    let Some(review) = scrape.review.as_ref().filter(|review| review.at_ms.is_some()) else { return };
    for severity in Severity::ALL {
        out.push(&[("severity", severity.name())], review.count(severity));
    }
}

pub(super) fn last(scrape: &Scrape, out: &mut Samples) {
    if let Some(at_ms) = scrape.review.as_ref().and_then(|review| review.at_ms) {
        out.push(&[], format_args!("{}.{:03}", at_ms / 1000, at_ms % 1000));
    }
}

pub(super) fn duration(scrape: &Scrape, out: &mut Samples) {
    if let Some(review) = scrape.review.as_ref().filter(|review| review.at_ms.is_some()) {
        out.push(&[], seconds(review.took_us.saturating_mul(1_000)));
    }
}

pub(super) fn failed(scrape: &Scrape, out: &mut Samples) {
    if let Some(review) = &scrape.review {
        out.push(&[], u8::from(review.failed.is_some()));
    }
}
