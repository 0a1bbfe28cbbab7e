//! The answer as text: about ten lines per pool that is not calm, the next step first; calm pools in one line each.

use std::collections::BTreeMap;
use std::fmt::Write;

use poolwarden_watch::why::{Cause, Gain, Holder, PoolState, PoolWhy, Verdict, Why};
use poolwarden_watch::{CauseCode, LeaseState};
use poolwarden_watch::{ChangeView, Forecast};

use super::holder::query;
use super::word::{count, cut, paragraph, percent, rate, size, span_ms, span_us};
use super::{Layout, Texts};
use crate::manual;

/// Calm pools beyond these are counted.
const MAX_CALM: usize = 10;
/// Pools beyond these that matter have one line each: nobody reads fifty times ten lines, and one limit often binds in all of them.
const MAX_WHOLE: usize = 3;
/// Lines of pools beyond [`MAX_WHOLE`].
const MAX_SHORT: usize = 40;
/// Causes of each pool that are named as ruled out: those people suspect first.
const MAX_RULED_OUT: usize = 4;
/// Applications that hold connections, per pool.
const MAX_OWNERS: usize = 3;
/// A mean wait below this many microseconds is told in words: an estimate is not that fine.
const HARDLY_US: f64 = 100.0;
/// Changes per pool.
const MAX_CHANGES: usize = 3;

/// What is suspected first when an application fails, in this order; the rest of the ruled out ones stays in the JSON.
const SUSPECTS: [CauseCode; 11] = [
    CauseCode::PoolTooSmall,
    CauseCode::Upstream,
    CauseCode::PgDown,
    CauseCode::PgSaturated,
    CauseCode::SlowQuery,
    CauseCode::LockConvoy,
    CauseCode::Leak,
    CauseCode::IdleInTransaction,
    CauseCode::Network,
    CauseCode::DemandGrowth,
    CauseCode::PoolwardenBusy,
];

/// The whole answer.
#[must_use]
pub fn text(why: &Why, layout: Layout) -> String {
    let mut out = String::new();
    let (troubled, calm): (Vec<&PoolWhy>, Vec<&PoolWhy>) = why.pools.iter().partition(|of| matters(of));
    for of in troubled.iter().take(MAX_WHOLE) {
        whole(&mut out, of, why.at_ms, layout);
        out.push('\n');
    }
    short(&mut out, troubled.get(MAX_WHOLE..).unwrap_or_default(), layout);
    summary(&mut out, &calm, troubled.len(), layout);
    layers(&mut out, why, layout);
    for of in &why.not_seen {
        paragraph(&mut out, "unseen", of, layout.width);
    }
    out
}

/// Whether somebody should read about it: it is not calm, or will not stay so, or something is at work all the same.
fn matters(of: &PoolWhy) -> bool {
    of.state != PoolState::Calm
        || of.forecast.exhaustion.is_some()
        || of.causes.iter().any(|cause| cause.verdict == Verdict::Supported)
}

/// Everything about one pool.
fn whole(out: &mut String, of: &PoolWhy, at_ms: u64, layout: Layout) {
    let width = layout.width;
    heading(out, of, layout);
    if let Some(binding) = &of.binding {
        let (limit, verb) = (binding.limit.name(), if of.binds { "binds" } else { "would bind next" });
        let text = match binding.size {
            Some(size) => format!("{limit} {verb}: {} of {size} used, set by {}", binding.used, binding.setting),
            None => format!("{limit} {verb}: {}", binding.setting),
        };
        paragraph(out, "limit", &text, width);
    }
    raising(out, of, width);
    if let Some(text) = foreseen(&of.forecast) {
        paragraph(out, "ahead", &text, width);
    }
    causes(out, of, layout);
    owners(out, of, layout);
    for change in of.changes.iter().take(MAX_CHANGES) {
        paragraph(out, "change", &changed(change, at_ms), width);
    }
}

/// What is to be expected, and by which numbers; `None`: nothing.
fn foreseen(of: &Forecast) -> Option<String> {
    let foreseen = of.exhaustion.as_ref()?;
    let seconds = |s: f64| span_us(s * 1e6);
    let (soon, late) = foreseen.interval_s;
    let told: Vec<&str> = foreseen.evidence.iter().map(|of| of.text.as_str()).collect();
    let (cause, limit) = (foreseen.cause.name(), foreseen.limit.name());
    let when = if late.is_finite() {
        format!("in {} ({} to {})", seconds(foreseen.in_s), seconds(soon), seconds(late))
    } else {
        format!("in {} ({} or more)", seconds(foreseen.in_s), seconds(soon))
    };
    Some(format!("{limit} is used up {when} by {cause}: {}", told.join("; ")))
}

fn heading(out: &mut String, of: &PoolWhy, layout: Layout) {
    let since = of.waiting_for_ms.map_or_else(String::new, |ms| format!(" for {}", span_ms(ms)));
    let waiting = match of.waiting {
        0 => "nobody waits".to_owned(),
        waiting => format!("{waiting} waiting, the oldest {}", span_ms(of.oldest_wait_ms)),
    };
    let name = cut(&format!("{} (user {}, server {})", of.pool, of.user, of.server), layout.width);
    // Writing to a String does not fail, here and below.
    let _ = writeln!(out, "{name}: {}{since}", of.state.name().to_uppercase());
    let mut text = format!("{} of {} lent, {waiting}; {}", of.lent, count(of.open, "connection"), traffic(of));
    if of.state == PoolState::Tight {
        text.push_str("; little room is left");
    }
    paragraph(out, "NEXT", &of.next_step, layout.width);
    paragraph(out, "now", &text, layout.width);
}

fn traffic(of: &PoolWhy) -> String {
    let rates = &of.rates;
    let mut text = format!("served {}, refused {}", rate(rates.granted), rate(rates.refused));
    if let Some(hold) = rates.hold_us {
        let _ = write!(text, ", each held {}", span_us(hold));
    }
    text
}

/// What raising limits would do: of a cause that more connections do not mend, why not.
fn raising(out: &mut String, of: &PoolWhy, width: usize) {
    if let Some(cause) = main_cause(of).filter(|cause| !is_of_limits(cause.code)) {
        paragraph(out, "raise?", manual::cause(cause.code).raise, width);
    } else if of.state != PoolState::Calm {
        for (at, text) in gains(of).iter().enumerate() {
            paragraph(out, if at == 0 { "raise" } else { "" }, text, width);
        }
    }
}

/// Why more connections do not mend what a cause of this name does; `None`: they may, or there is no such cause.
#[must_use]
pub fn vain(cause: &str) -> Option<&'static str> {
    let code = CauseCode::ALL.into_iter().find(|code| code.name() == cause && !is_of_limits(*code))?;
    Some(manual::cause(code).raise)
}

/// The one that explains most.
fn main_cause(of: &PoolWhy) -> Option<&Cause> {
    of.causes.iter().find(|cause| cause.verdict == Verdict::Supported)
}

/// Whether a larger limit, the one that binds, is what helps.
const fn is_of_limits(code: CauseCode) -> bool {
    match code {
        CauseCode::PoolTooSmall
        | CauseCode::UserLimit
        | CauseCode::DatabaseLimit
        | CauseCode::ClassShare
        | CauseCode::HostBudget
        | CauseCode::PgRoleLimit
        | CauseCode::PgDatabaseLimit
        | CauseCode::PgSlots
        | CauseCode::DemandGrowth
        | CauseCode::ConfigurationChange => true,
        CauseCode::ConnectLimited
        | CauseCode::PgDown
        | CauseCode::Network
        | CauseCode::LockConvoy
        | CauseCode::IdleInTransaction
        | CauseCode::Leak
        | CauseCode::NestedCheckout
        | CauseCode::SlowQuery
        | CauseCode::PgSaturated
        | CauseCode::RetryStorm
        | CauseCode::ScaleOut
        | CauseCode::Upstream
        | CauseCode::ClientLimit
        | CauseCode::PoolwardenBusy => false,
    }
}

/// What raising each limit would gain; those that would gain nothing share a line.
fn gains(of: &PoolWhy) -> Vec<String> {
    let (helps, idle): (Vec<&Gain>, Vec<&Gain>) = of.gains.iter().partition(|gain| gain.connections != Some(0));
    let mut lines: Vec<String> = helps.iter().filter(|gain| gain.size.is_some()).map(|gain| gained(gain)).collect();
    let binding = of.binding.as_ref();
    let at = binding.map_or_else(String::new, |of| match of.size {
        Some(size) => format!(", {} binds at {size}", of.limit.name()),
        None => format!(", {} binds", of.limit.name()),
    });
    let names: Vec<&str> = idle.iter().map(|gain| gain.limit.name()).collect();
    match names.as_slice() {
        [] => {}
        names => lines.push(format!("{}: no effect{at}", names.join(", "))),
    }
    lines
}

fn gained(gain: &Gain) -> String {
    let mut text = format!("{} ({} of {})", gain.limit.name(), gain.used, size(gain.size));
    let _ = match (gain.connections, gain.next) {
        (Some(more), Some(next)) => write!(text, ": +{}, then {} binds", count(more, "connection"), next.name()),
        (Some(more), None) => write!(text, ": +{}", count(more, "connection")),
        (None, _) => write!(text, ": as many connections as are wanted"),
    };
    if let Some(enough) = gain.enough {
        let _ = write!(text, "; {} = {enough} is enough", gain.setting);
        if gain.per_second > 0.0 {
            let _ = write!(text, ": +{} served", rate(gain.per_second));
        }
        let _ = match gain.wait_us {
            Some(wait) if wait < HARDLY_US => write!(text, ", hardly any wait"),
            Some(wait) => write!(text, ", a wait of {}", span_us(wait)),
            None => Ok(()),
        };
    }
    text
}

fn causes(out: &mut String, of: &PoolWhy, layout: Layout) {
    let supported: Vec<&Cause> = of.causes.iter().filter(|cause| cause.verdict == Verdict::Supported).collect();
    for (at, cause) in supported.iter().enumerate() {
        let told: Vec<&str> = cause.evidence.iter().map(|of| of.text.as_str()).collect();
        let code = cause.code.name();
        // what explains no wait of its own stands beside: a change, the web tier
        let head =
            if cause.share < 0.005 { code.to_owned() } else { format!("{code} explains {}", percent(cause.share)) };
        let text = format!("{head}: {}", told.join("; "));
        let heading = match (at, of.mixed) {
            (0, true) => "mixed",
            (0, false) => "cause",
            (_, _) => "",
        };
        paragraph(out, heading, &text, layout.width);
        if !cause.next_step.is_empty() && cause.next_step != of.next_step {
            paragraph(out, "", &format!("-> {}", cause.next_step), layout.width);
        }
    }
    let foreseen = of.forecast.exhaustion.is_some() && of.state <= PoolState::Tight;
    if supported.is_empty() && of.state != PoolState::Paused && !foreseen {
        paragraph(out, "cause", "none of the known causes is supported by what is seen", layout.width);
    }
    // why a larger pool does not help was said
    let said = main_cause(of).is_some_and(|cause| !is_of_limits(cause.code));
    let ruled_out = SUSPECTS
        .iter()
        .filter(|code| !(said && **code == CauseCode::PoolTooSmall))
        .filter_map(|code| of.causes.iter().find(|cause| cause.code == *code && cause.verdict == Verdict::RuledOut));
    for (at, cause) in ruled_out.take(MAX_RULED_OUT).enumerate() {
        let because = cause.evidence.first().map_or("", |of| of.text.as_str());
        paragraph(out, if at == 0 { "not" } else { "" }, &format!("{}: {because}", cause.code.name()), layout.width);
    }
}

/// Who holds the connections, by application: those that hold longest first.
fn owners(out: &mut String, of: &PoolWhy, layout: Layout) {
    let mut by_name: BTreeMap<&str, Vec<&Holder>> = BTreeMap::new();
    for holder in &of.holders {
        by_name.entry(&holder.lease.application).or_default().push(holder);
    }
    let longest = |held: &[&Holder]| held.iter().map(|of| of.lease.held_us).max().unwrap_or(0);
    let mut owners: Vec<(&str, Vec<&Holder>)> = by_name.into_iter().collect();
    owners.sort_by_key(|(_, held)| std::cmp::Reverse(longest(held)));
    for (at, (name, held)) in owners.iter().take(MAX_OWNERS).enumerate() {
        paragraph(out, if at == 0 { "held by" } else { "" }, &owner(name, held, layout), layout.width);
    }
    let rest = owners.len().saturating_sub(MAX_OWNERS);
    if rest > 0 {
        let more = if rest == 1 { "1 application more".to_owned() } else { format!("{rest} applications more") };
        paragraph(out, "", &format!("and {more}: poolwarden holders {}", of.pool), layout.width);
    }
}

fn owner(name: &str, held: &[&Holder], layout: Layout) -> String {
    let name = if name.is_empty() { "(no name)".to_owned() } else { cut(name, 40) };
    let Some(longest) = held.iter().max_by_key(|of| of.lease.held_us) else { return name };
    let mut text = format!("{name}: {}", held.len());
    let states = [
        (LeaseState::Active, "running"),
        (LeaseState::IdleInTransaction, "idle in transaction"),
        (LeaseState::Idle, "idle"),
    ];
    let counts = states.map(|(state, word)| (held.iter().filter(|of| of.lease.state == state).count(), word));
    let said: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    let blocked = held.iter().filter(|of| !of.blocked_by.is_empty()).count();
    let stuck = held.iter().filter(|of| of.stuck).count();
    let _ = write!(text, " ({}", said.join(", "));
    for (count, word) in [(blocked, "blocked"), (stuck, "stuck")] {
        if count > 0 {
            let _ = write!(text, ", {count} {word}");
        }
    }
    let pid = longest.pid.map_or_else(String::new, |pid| format!(", pid {pid}"));
    let _ = write!(text, "), longest {} by conn {}{pid}", span_us(longest.lease.held_us as f64), longest.conn);
    if let Some(pid) = longest.blocked_by.first() {
        let _ = write!(text, ", blocked by {pid}");
    }
    if let Some(route) = &longest.lease.route {
        let _ = write!(text, ", route {}", cut(route, 40));
    }
    if let Some(query) = query(longest, layout.texts) {
        let _ = write!(text, ": {}", cut(query, layout.width.saturating_sub(12)));
    }
    text
}

fn changed(of: &ChangeView, at_ms: u64) -> String {
    let value = |value: &Option<String>| value.as_deref().map_or("(unset)".to_owned(), |value| cut(value, 60));
    let ago = span_ms(at_ms.saturating_sub(of.at_ms));
    format!("{ago} ago by {}: {} from {} to {}", of.by, of.key, value(&of.from), value(&of.to))
}

/// Pools that are not calm and have no place of their own.
fn short(out: &mut String, pools: &[&PoolWhy], layout: Layout) {
    for of in pools.iter().take(MAX_SHORT) {
        let limit = of.binding.as_ref().map_or_else(String::new, |binding| {
            let uses = binding.size.map_or_else(String::new, |size| format!(" ({} of {size})", binding.used));
            format!(" for {}{uses}", binding.limit.name())
        });
        let (state, waiting) = (of.state.name(), of.waiting);
        let line = format!("{} (user {}, server {}): {state}, {waiting} waiting{limit}", of.pool, of.user, of.server);
        let _ = writeln!(out, "{}", cut(&line, layout.width));
    }
    let rest = pools.len().saturating_sub(MAX_SHORT);
    if rest > 0 {
        let _ = writeln!(out, "and {rest} more");
    }
    if !pools.is_empty() {
        out.push_str("poolwarden why POOL tells of one\n\n");
    }
}

/// Calm pools.
fn summary(out: &mut String, calm: &[&PoolWhy], troubled: usize, layout: Layout) {
    if calm.is_empty() {
        if troubled == 0 {
            out.push_str("no pool yet: nobody has asked for a server connection\n");
        }
        return;
    }
    let lent: u64 = calm.iter().map(|of| u64::from(of.lent)).sum();
    let served: f64 = calm.iter().map(|of| of.rates.granted).sum();
    let pools = count(calm.len() as u64, if troubled == 0 { "pool" } else { "other pool" });
    let did = format!("{} lent, nobody waits for long, served {}", count(lent, "connection"), rate(served));
    let _ = match troubled {
        0 => writeln!(out, "all is calm: {pools}, {did}"),
        _ => writeln!(out, "{pools} calm: {did}"),
    };
    for of in calm.iter().take(MAX_CALM) {
        let line = format!("  {} (user {}): {} of {} lent, {}", of.pool, of.user, of.lent, of.open, traffic(of));
        let _ = writeln!(out, "{}", cut(&line, layout.width));
    }
    let rest = calm.len().saturating_sub(MAX_CALM);
    if rest > 0 {
        let _ = writeln!(out, "  and {rest} more");
    }
}

/// What stands around the pools: what is at fault first.
fn layers(out: &mut String, why: &Why, layout: Layout) {
    let mut sorted: Vec<_> = why.layers.iter().collect();
    sorted.sort_by_key(|layer| layer.verdict);
    // what is not seen is said once
    let said = |name: &str| why.not_seen.iter().any(|of| of.contains(name));
    for layer in sorted.iter().filter(|of| of.verdict != Verdict::NotTestable || !said(&of.name)) {
        let (heading, said) = match layer.verdict {
            Verdict::Supported => ("AROUND", "at fault"),
            Verdict::NotTestable => ("unseen", "not seen"),
            Verdict::RuledOut => ("around", "not at fault"),
        };
        paragraph(out, heading, &format!("{}: {said}, {}", layer.name, layer.evidence.text), layout.width);
    }
    if layout.texts == Texts::Hidden && why.pools.iter().any(|of| of.state != PoolState::Calm && !of.holders.is_empty())
    {
        paragraph(out, "unseen", "statements: shown to who has the operate token", layout.width);
    }
}
