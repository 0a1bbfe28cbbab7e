//! The answer as JSON.

use poolwarden_watch::why::{Binding, Cause, Evidence, Gain, Layer, PoolWhy, Rates, Why};
use poolwarden_watch::{ChangeView, Forecast};
use serde_json::{Map, Value, json};

use super::Texts;
use super::holder;
use crate::calendar::rfc3339;

/// The whole answer.
#[must_use]
pub fn json(why: &Why, texts: Texts) -> Value {
    json!({
        "schema": 1,
        "at": rfc3339(why.at_ms),
        "pools": why.pools.iter().map(|pool| of_pool(pool, texts)).collect::<Vec<_>>(),
        "layers": why.layers.iter().map(layer).collect::<Vec<_>>(),
        "not_seen": why.not_seen,
        "queries": match texts { Texts::Shown => "shown", Texts::Hidden => "hidden" },
    })
}

fn of_pool(of: &PoolWhy, texts: Texts) -> Value {
    json!({
        "pool": of.pool,
        "user": of.user,
        "server": of.server,
        "state": of.state.name(),
        "waiting_for_ms": of.waiting_for_ms,
        "lent": of.lent,
        "open": of.open,
        "waiting": of.waiting,
        "oldest_wait_ms": of.oldest_wait_ms,
        "rates": rates(&of.rates),
        "demand": of.demand,
        "binding_limit": of.binding.as_ref().map(|limit| binding(limit, of.binds)),
        "gains": of.gains.iter().map(gain).collect::<Vec<_>>(),
        "causes": of.causes.iter().map(cause).collect::<Vec<_>>(),
        "mixed": of.mixed,
        "holders": of.holders.iter().map(|of| holder::json(of, texts)).collect::<Vec<_>>(),
        "changes": of.changes.iter().map(change).collect::<Vec<_>>(),
        "forecast": forecast(&of.forecast),
        "next_step": of.next_step,
    })
}

fn binding(of: &Binding, binds: bool) -> Value {
    json!({"name": of.limit.name(), "setting": of.setting, "size": of.size, "used": of.used, "binds": binds})
}

/// `gain`: server connections more; null is as many as are wanted, for nothing else binds.
fn gain(of: &Gain) -> Value {
    json!({
        "limit": of.limit.name(),
        "gain": of.connections,
        "next_limit": of.next.map(|limit| limit.name()),
        "setting": of.setting,
        "size": of.size,
        "used": of.used,
        "enough": of.enough,
        "per_second": finite(of.per_second),
        "wait_ms": of.wait_us.and_then(milliseconds),
    })
}

/// `interval_s`: null for what is not known.
pub(super) fn forecast(of: &Forecast) -> Value {
    let (soon, late) =
        of.exhaustion.as_ref().map_or((None, None), |of| (tenths(of.interval_s.0), tenths(of.interval_s.1)));
    let exhaustion = of.exhaustion.as_ref();
    json!({
        "headroom": of.headroom.and_then(|headroom| finite((headroom * 100.0).round() / 100.0)),
        "exhausted_in_s": exhaustion.and_then(|of| tenths(of.in_s)),
        "cause": exhaustion.map(|of| of.cause.name()),
        "interval_s": [soon, late],
        "limit": exhaustion.map(|of| of.limit.name()),
        "evidence": exhaustion.iter().flat_map(|of| &of.evidence).map(evidence).collect::<Vec<_>>(),
        "next_step": exhaustion.map(|of| &of.next_step),
        "none": (!of.none.is_empty()).then_some(&of.none),
    })
}

fn tenths(seconds: f64) -> Option<f64> {
    finite((seconds * 10.0).round() / 10.0)
}

fn cause(of: &Cause) -> Value {
    json!({
        "code": of.code.name(),
        "verdict": of.verdict.name(),
        "share": finite(of.share),
        "evidence": of.evidence.iter().map(evidence).collect::<Vec<_>>(),
        "next_step": (!of.next_step.is_empty()).then_some(&of.next_step),
    })
}

fn evidence(of: &Evidence) -> Value {
    let numbers: Map<String, Value> =
        of.numbers.iter().map(|(name, value)| ((*name).to_owned(), number(*value))).collect();
    json!({"text": of.text, "numbers": numbers})
}

fn layer(of: &Layer) -> Value {
    json!({"name": of.name, "verdict": of.verdict.name(), "evidence": evidence(&of.evidence)})
}

fn change(of: &ChangeView) -> Value {
    json!({"at": rfc3339(of.at_ms), "key": of.key, "from": of.from, "to": of.to, "by": of.by})
}

fn rates(of: &Rates) -> Value {
    json!({
        "window_s": finite(of.window_s),
        "arrivals_per_s": finite(of.arrivals),
        "granted_per_s": finite(of.granted),
        "refused_per_s": finite(of.refused),
        "abandoned_per_s": finite(of.abandoned),
        "completed_per_s": finite(of.completed),
        "lent": finite(of.lent),
        "waiting": finite(of.waiting),
        "wait_ms": of.wait_us.and_then(milliseconds),
        "hold_ms": of.hold_us.and_then(milliseconds),
        "usual_arrivals_per_s": of.usual_arrivals.and_then(finite),
        "usual_hold_ms": of.usual_hold_us.and_then(milliseconds),
    })
}

fn milliseconds(us: f64) -> Option<f64> {
    finite(us / 1_000.0)
}

/// JSON has no infinity. A thousandth is finer than anything here is known.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then(|| (value * 1_000.0).round() / 1_000.0)
}

/// A whole number stays one.
fn number(value: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53: up to here every whole number has its own float
    if value.fract() == 0.0 && value.abs() < EXACT {
        return Value::from(value as i64);
    }
    finite(value).map_or(Value::Null, Value::from)
}
