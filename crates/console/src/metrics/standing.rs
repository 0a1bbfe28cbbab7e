//! Samples of how the configuration in force stands: its version, the file beside it, what waits for a confirmation, the history.

use super::Scrape;
use super::text::Samples;

pub(super) fn version(scrape: &Scrape, out: &mut Samples) {
    if let Some(version) = scrape.standing.version {
        out.push(&[], version);
    }
}

pub(super) fn drift(scrape: &Scrape, out: &mut Samples) {
    out.push(&[], u8::from(scrape.standing.drift.is_some()));
}

pub(super) fn confirm_until(scrape: &Scrape, out: &mut Samples) {
    if let Some(until_ms) = scrape.standing.confirm_until_ms {
        out.push(&[], format_args!("{}.{:03}", until_ms / 1000, until_ms % 1000));
    }
}

pub(super) fn history_failing(scrape: &Scrape, out: &mut Samples) {
    out.push(&[], u8::from(scrape.standing.history_trouble.is_some()));
}

pub(super) fn history_lost(scrape: &Scrape, out: &mut Samples) {
    out.push(&[], scrape.standing.history_lost);
}

pub(super) fn recorded(scrape: &Scrape, out: &mut Samples) {
    out.push(&[], scrape.standing.recording.checkouts);
}

pub(super) fn recording_lost(scrape: &Scrape, out: &mut Samples) {
    out.push(&[], scrape.standing.recording.lost);
}

pub(super) fn recording_bytes(scrape: &Scrape, out: &mut Samples) {
    out.push(&[], scrape.standing.recording.bytes);
}

pub(super) fn recording_failing(scrape: &Scrape, out: &mut Samples) {
    out.push(&[], u8::from(scrape.standing.recording.trouble.is_some()));
}
