//! What was foretold held against what came.

use serde_json::{Value, json};

use crate::loads::Setting;

/// What a run came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Came {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) granted: f64,
    /// Share of requests.
    pub(crate) failed: f64,
    /// What was asked for in the busiest second, in connections: requests times the mean hold of those that were granted.
    pub(crate) peak: f64,
}

/// One load under one setting.
pub(crate) struct Cell {
    pub(crate) load: &'static str,
    pub(crate) setting: Setting,
    pub(crate) foretold: Came,
    pub(crate) came: Vec<Came>,
}

fn peak(over_time: &Value) -> f64 {
    let all =
        |key: &str| -> Vec<f64> { over_time[key].as_array().into_iter().flatten().filter_map(Value::as_f64).collect() };
    let (asked, granted, lent) = (all("asked"), all("granted"), all("lent"));
    let step_s = over_time["step_s"].as_f64().unwrap_or(f64::NAN);
    let hold_s = lent.iter().sum::<f64>() * step_s / granted.iter().sum::<f64>();
    let wide = ((LOOK_S / step_s).round() as usize).clamp(1, asked.len().max(1));
    let most = asked.windows(wide).map(|some| some.iter().sum::<f64>()).fold(0.0, f64::max);
    most / (wide as f64 * step_s) * hold_s
}

/// Whoever wants to know whether settings are enough asks for this.
const ENOUGH: (f64, f64) = (100.0, 0.001);
/// Where more than this share of the connections is asked for in any second, a p99 is not foretold to so close a bound.
const BUSIEST: f64 = 0.9;
/// That long is looked at for the busiest time, in seconds: shorter, and chance alone makes it busy.
const LOOK_S: f64 = 1.0;

impl Came {
    pub(crate) fn read(pool: &Value) -> Self {
        let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        Self {
            p50_ms: number(&pool["wait_ms"]["p50"]),
            p99_ms: number(&pool["wait_ms"]["p99"]),
            granted: number(&pool["granted"]),
            failed: number(&pool["failed_share"]),
            peak: peak(&pool["over_time"]),
        }
    }

    fn is_enough(&self) -> bool {
        self.p99_ms <= ENOUGH.0 && self.failed <= ENOUGH.1
    }

    fn json(&self) -> Value {
        let rounded = |value: f64, scale: f64| (value * scale).round() / scale;
        json!({
            "p50_ms": rounded(self.p50_ms, 1e3),
            "p99_ms": rounded(self.p99_ms, 1e3),
            "granted": self.granted,
            "failed_share": rounded(self.failed, 1e6),
        })
    }
}

impl Cell {
    /// The middle of the runs, figure by figure; of two, their mean.
    fn middle(&self) -> Came {
        let middle = |read: fn(&Came) -> f64| {
            let mut all: Vec<f64> = self.came.iter().map(read).collect();
            all.sort_by(f64::total_cmp);
            (all[all.len() / 2] + all[(all.len() - 1) / 2]) / 2.0
        };
        Came {
            p50_ms: middle(|came| came.p50_ms),
            p99_ms: middle(|came| came.p99_ms),
            granted: middle(|came| came.granted),
            failed: middle(|came| came.failed),
            peak: middle(|came| came.peak),
        }
    }

    /// Whether its runs differ by more than what is foretold may: one of them met something else, and one more tells which.
    pub(crate) fn is_in_doubt(&self) -> bool {
        let p99s = || self.came.iter().map(|came| came.p99_ms);
        let (low, high) = (p99s().fold(f64::INFINITY, f64::min), p99s().fold(0.0, f64::max));
        !Self::within(high, low, 5.0, 0.2)
    }

    /// Of the connections there are, what is asked for in the busiest second.
    fn peak_rho(&self) -> f64 {
        self.middle().peak / f64::from(self.setting.size)
    }

    fn within(foretold: f64, came: f64, least: f64, part: f64) -> bool {
        (foretold - came).abs() <= least.max(part * came)
    }

    /// Under other settings: within 5 ms or a fifth, and a hundredth of the requests.
    fn transfers(&self) -> bool {
        let came = self.middle();
        let p99 = self.peak_rho() >= BUSIEST || self.is_p99_near();
        p99 && (self.foretold.failed - came.failed).abs() <= 0.01
    }

    fn is_p99_near(&self) -> bool {
        Self::within(self.foretold.p99_ms, self.middle().p99_ms, 5.0, 0.2)
    }

    /// Under its own: within 1 ms or a tenth, and two refusals or a hundredth of them.
    fn is_same(&self) -> bool {
        let came = self.middle();
        let requests = came.granted / (1.0 - came.failed).max(f64::MIN_POSITIVE);
        let (foretold, refused) = (self.foretold.failed * requests, came.failed * requests);
        Self::within(self.foretold.p50_ms, came.p50_ms, 1.0, 0.1)
            && Self::within(self.foretold.p99_ms, came.p99_ms, 1.0, 0.1)
            && Self::within(foretold, refused, 2.0, 0.01)
    }

    /// It was said to be enough, and no run was.
    fn is_false_pass(&self) -> bool {
        self.foretold.is_enough() && self.came.iter().all(|came| !came.is_enough())
    }

    pub(crate) fn said(&self) -> String {
        let came: Vec<String> =
            self.came.iter().map(|came| format!("{:.2} ms {:.4}", came.p99_ms, came.failed)).collect();
        format!(
            "{} at {:?}: foretold p99 {:.2} ms, failed {:.4}; came {}; peak rho {:.2}: {}",
            self.load,
            self.setting,
            self.foretold.p99_ms,
            self.foretold.failed,
            came.join(", "),
            self.peak_rho(),
            if self.transfers() { "holds" } else { "DOES NOT HOLD" }
        )
    }

    fn json(&self, holds: bool) -> Value {
        json!({
            "load": self.load,
            "size": self.setting.size,
            "max_wait_ms": self.setting.max_wait_ms,
            "peak_rho": (self.peak_rho() * 1e3).round() / 1e3,
            "p99_is_near": self.is_p99_near(),
            "foretold": self.foretold.json(),
            "came": self.came.iter().map(Came::json).collect::<Vec<_>>(),
            "false_pass": self.is_false_pass(),
            "holds": holds,
        })
    }

    /// Under its own settings.
    pub(crate) fn own(&self) -> Value {
        self.json(self.is_same())
    }

    /// Under others.
    pub(crate) fn other(&self) -> Value {
        self.json(self.transfers())
    }
}

/// All of it: cells as [`Cell::own`] and [`Cell::other`] have them.
pub(crate) fn json(own: &[Value], cells: &[Value]) -> Value {
    let noise = cells.iter().filter_map(|cell| {
        let came = cell["came"].as_array().filter(|came| came.len() > 1)?;
        let p99s = came.iter().filter_map(|came| came["p99_ms"].as_f64());
        let (low, high) = p99s.fold((f64::INFINITY, 0.0_f64), |(low, high), p99| (low.min(p99), high.max(p99)));
        Some(high - low)
    });
    let mut noise: Vec<f64> = noise.collect();
    noise.sort_by(f64::total_cmp);
    let count = |cells: &[Value], key: &str| cells.iter().filter(|cell| cell[key] == true).count();
    let (same, transferred) = (count(own, "holds"), count(cells, "holds"));
    let false_passes = count(cells, "false_pass");
    json!({
        "own": own,
        "cells": cells,
        "own_hold": same,
        "cells_hold": transferred,
        "false_passes": false_passes,
        "noise_p99_ms": { "median": noise.get(noise.len() / 2), "largest": noise.last() },
        "good": same == own.len() && transferred == cells.len() && false_passes == 0,
    })
}
