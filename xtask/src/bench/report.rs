//! The results: a table for people, JSON for everything else.

use std::fmt::Write;

use serde_json::{Value, json};

use super::load::{Load, Run};
use super::statistic::{Quartiles, quantile};

/// All runs of one load: ours, and the peer's where it can speak the protocol.
pub(crate) struct Cell {
    pub(crate) load: Load,
    pub(crate) ours: Vec<Run>,
    pub(crate) peers: Vec<Run>,
}

/// One pooler in the results.
pub(crate) struct Side {
    /// Which pooler: `poolwarden` or `pgbouncer`.
    pub(crate) target: &'static str,
    /// Its input/output engine, where it has a choice of them.
    pub(crate) engine: Option<String>,
    pub(crate) bytes_per_idle_client: f64,
}

pub(crate) struct Report {
    pub(crate) ours: Side,
    pub(crate) peer: Side,
    pub(crate) cells: Vec<Cell>,
    pub(crate) commit: String,
    pub(crate) command: String,
}

impl Cell {
    /// Ours over the peer's, run by run.
    fn ratios(&self) -> Vec<f64> {
        self.ours.iter().zip(&self.peers).map(|(ours, peer)| ours.cpu_us_per_txn / peer.cpu_us_per_txn).collect()
    }
}

impl Report {
    pub(crate) fn json(&self) -> Value {
        let mut cells = Vec::new();
        for cell in &self.cells {
            let ratio = Quartiles::of(&cell.ratios());
            cells.push(entry(cell, &self.ours, &cell.ours, ratio));
            if !cell.peers.is_empty() {
                cells.push(entry(cell, &self.peer, &cell.peers, None));
            }
        }
        json!({ "schema": 1, "commit": self.commit, "command": self.command, "cells": cells })
    }

    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{:<9} {:>7}  {:<10} {:>12} {:>22} {:>8} {:>8} {:>8} {:>10}\n",
            "protocol", "clients", "target", "cpu us/txn", "ratio (quartiles)", "tps", "p50 us", "p99 us", "idle bytes"
        );
        for value in self.json()["cells"].as_array().into_iter().flatten() {
            let number = |key: &str, decimals: usize| match value[key].as_f64() {
                Some(number) => format!("{number:.decimals$}"),
                None => "-".to_owned(),
            };
            let quartiles = &value["ratio_quartiles"];
            let ratio = match (value["ratio_to_peer"].as_f64(), quartiles[0].as_f64(), quartiles[1].as_f64()) {
                (Some(median), Some(first), Some(third)) => format!("{median:.3} ({first:.3}-{third:.3})"),
                _ => "-".to_owned(),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{:<9} {:>7}  {:<10} {:>12} {:>22} {:>8} {:>8} {:>8} {:>10}",
                value["protocol"].as_str().unwrap_or(""),
                number("clients", 0),
                value["target"].as_str().unwrap_or(""),
                number("cpu_us_per_txn", 1),
                ratio,
                number("tps", 0),
                number("p50_us", 0),
                number("p99_us", 0),
                number("bytes_per_idle_client", 0),
            );
        }
        text
    }
}

fn entry(cell: &Cell, side: &Side, runs: &[Run], ratio: Option<Quartiles>) -> Value {
    let of = |read: fn(&Run) -> f64| Quartiles::of(&runs.iter().map(read).collect::<Vec<_>>());
    let cpu = of(|run| run.cpu_us_per_txn);
    let mut latencies: Vec<f64> = runs.iter().flat_map(|run| run.latencies_us.iter().copied()).collect();
    latencies.sort_by(f64::total_cmp);
    json!({
        "protocol": cell.load.protocol.name(),
        "clients": cell.load.clients,
        "target": side.target,
        "engine": side.engine,
        "cpu_us_per_txn": cpu.map(|cpu| rounded(cpu.median, 2)),
        "ratio_to_peer": ratio.map(|ratio| rounded(ratio.median, 4)),
        "tps": of(|run| run.tps).map(|tps| rounded(tps.median, 0)),
        "p50_us": quantile(&latencies, 0.5).map(|us| rounded(us, 0)),
        "p99_us": quantile(&latencies, 0.99).map(|us| rounded(us, 0)),
        "bytes_per_idle_client": rounded(side.bytes_per_idle_client, 0),
        "cpu_quartiles": cpu.map(|cpu| [rounded(cpu.first, 2), rounded(cpu.third, 2)]),
        "ratio_quartiles": ratio.map(|ratio| [rounded(ratio.first, 4), rounded(ratio.third, 4)]),
        "runs": runs.len(),
    })
}

fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::super::load::Protocol;
    use super::*;

    fn run(cpu_us_per_txn: f64) -> Run {
        Run { cpu_us_per_txn, tps: 1000.0, latencies_us: vec![100.0, 300.0] }
    }

    fn report(peers: Vec<Run>) -> Report {
        let load = Load { protocol: Protocol::Simple, clients: 16, seconds: 1 };
        let side = |target| Side { target, engine: None, bytes_per_idle_client: 800.0 };
        let ours = vec![run(20.0), run(30.0), run(40.0)];
        let cells = vec![Cell { load, ours, peers }];
        Report { ours: side("poolwarden"), peer: side("pgbouncer"), cells, commit: "c".into(), command: "x".into() }
    }

    #[test]
    fn the_ratio_is_the_median_of_pairs_not_the_ratio_of_medians() {
        let json = report(vec![run(40.0), run(30.0), run(80.0)]).json();
        assert_eq!(json["cells"][0]["ratio_to_peer"], 0.5);
        assert_eq!(json["cells"][0]["p50_us"], 200.0);
        assert_eq!(json["cells"][1]["target"], "pgbouncer");
        assert!(json["cells"][1]["ratio_to_peer"].is_null());
    }

    #[test]
    fn without_a_peer_there_is_no_ratio() {
        let report = report(Vec::new());
        assert_eq!(report.json()["cells"].as_array().map(Vec::len), Some(1));
        assert!(report.json()["cells"][0]["ratio_to_peer"].is_null());
        assert!(report.table().contains("poolwarden"));
    }
}
