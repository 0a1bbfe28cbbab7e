//! The answer as JSON. What stands here is the format: inner types change without it.

use std::time::Duration;

use poolwarden_pool::Limit;
use poolwarden_sim::Quantiles;
use poolwarden_sim::queueing::{Moment, PoolCourse};
use poolwarden_sim::study::{Interval, Sensitivity, Smallest};
use serde_json::{Map, Value, json};

use super::answer::{Answer, Row, Variant};

/// Its keys, to stand beside what else is known of the run.
pub(crate) fn keys(answer: &Answer) -> Map<String, Value> {
    let first = answer.variants.first();
    let alternatives = answer.variants.iter().skip(1).map(|variant| {
        json!({ "set": variant.name, "pools": pools(answer, variant), "extrapolated": variant.is_extrapolated })
    });
    let measured = answer.measured.iter().map(|of| {
        let row = Row::from(of);
        json!({
            "pool": name(answer, &row),
            "wait_ms": quantiles(&row.waits),
            "granted": row.granted,
            "failed": of.failed,
            "failed_share": rounded(row.failed, 6),
            "over_time": moments(of.step, &of.moments),
        })
    });
    let pairs = [
        ("schema", json!(1)),
        ("seed", json!(answer.seed)),
        ("pools", json!(first.map(|variant| pools(answer, variant)))),
        ("extrapolated", json!(first.is_some_and(|variant| variant.is_extrapolated))),
        ("alternatives", json!(alternatives.collect::<Vec<_>>())),
        ("measured", json!(measured.collect::<Vec<_>>())),
        ("sensitivity", json!(answer.sensitivity.iter().map(sensitivity).collect::<Vec<_>>())),
        ("goal", json!({ "wait_p99_ms": ms(answer.goal.wait_p99), "failed_share": answer.goal.failed })),
        ("inconclusive", json!(answer.inconclusive())),
        ("notes", json!(answer.notes)),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn name(answer: &Answer, row: &Row<'_>) -> Value {
    json!({ "pool": row.key.database, "user": row.key.user, "server": answer.server })
}

fn pools(answer: &Answer, variant: &Variant) -> Vec<Value> {
    let course = &variant.outcome.course;
    let one = |(place, pool): (usize, &PoolCourse)| {
        let row = Row::from(pool);
        let refused = Limit::ALL.into_iter().zip(pool.refused).filter(|(_, times)| *times > 0);
        let refused: Map<String, Value> =
            refused.map(|(limit, times)| (limit.name().to_owned(), json!(times))).collect();
        json!({
            "pool": name(answer, &row),
            "wait_ms": quantiles(&row.waits),
            "asked": pool.asked,
            "granted": pool.granted,
            "refused": refused,
            "left": pool.left,
            "failed_share": rounded(row.failed, 6),
            "connects": pool.connects,
            "binding_limit": row.binding,
            "seconds_to_saturate": pool.saturated.map(|at| rounded(at.since(course.begins).as_secs_f64(), 3)),
            "seconds_to_recover": pool.saturated.map(|_| rounded(pool.longest_queue.as_secs_f64(), 3)),
            "smallest_size": variant.smallest.get(place).map(smallest),
            "interval_90": variant.interval(place).map(interval),
            "over_time": moments(course.step, &pool.moments),
        })
    };
    course.pools.iter().enumerate().map(one).collect()
}

/// A size; or why there is none.
fn smallest(of: &Smallest) -> Value {
    match of {
        Smallest::Size(size) => json!(size),
        Smallest::None(limit) => json!({ "none": limit.map(Limit::name) }),
    }
}

fn interval(of: &Interval) -> Value {
    json!({
        "wait_p99_ms": [ms(of.wait_p99.0), ms(of.wait_p99.1)],
        "failed_share": [rounded(of.failed.0, 6), rounded(of.failed.1, 6)],
    })
}

fn moments(step: Duration, of: &[Moment]) -> Value {
    fn each<T>(of: &[Moment], read: impl Fn(&Moment) -> T) -> Vec<T> {
        of.iter().map(read).collect()
    }
    json!({
        "step_s": step.as_secs_f64(),
        "asked": each(of, |moment| moment.asked),
        "granted": each(of, |moment| moment.granted),
        "failed": each(of, |moment| moment.failed),
        "wait_p50_ms": each(of, |moment| ms(moment.waits.p50)),
        "wait_p95_ms": each(of, |moment| ms(moment.waits.p95)),
        "wait_p99_ms": each(of, |moment| ms(moment.waits.p99)),
        "lent": each(of, |moment| rounded(moment.lent, 2)),
        "waiting": each(of, |moment| rounded(moment.waiting, 2)),
        "size": each(of, |moment| moment.size),
        "binding_limit": each(of, |moment| moment.binding.map(Limit::name)),
    })
}

fn sensitivity(of: &Sensitivity) -> Value {
    json!({
        "demand": of.change.demand,
        "work": of.change.work,
        "connect": of.change.connect,
        "pool": { "pool": of.key.database, "user": of.key.user },
        "wait_p99_ms": ms(of.wait_p99),
        "failed_share": rounded(of.failed, 6),
        "interval_90": interval(&of.interval),
    })
}

/// As [`crate::load`] has them.
fn quantiles(of: &Quantiles) -> Value {
    json!({ "p50": ms(of.p50), "p95": ms(of.p95), "p99": ms(of.p99), "max": ms(of.max) })
}

fn ms(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1e3, 3)
}

fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (value * scale).round() / scale
}
