//! One run of pgbench through one pooler: what it did, what it cost.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::place::{Place, output, postgres_program};
use super::server::{DATABASE, Server, USER};

/// Share of transactions whose latency is written down: enough for a p99, too little to cost anything.
const SAMPLED: &str = "0.05";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Simple,
    Extended,
    Prepared,
}

impl Protocol {
    pub(crate) const ALL: [Protocol; 3] = [Protocol::Simple, Protocol::Extended, Protocol::Prepared];

    pub(crate) fn named(name: &str) -> Result<Protocol> {
        let found = Protocol::ALL.into_iter().find(|protocol| protocol.name() == name);
        found.with_context(|| format!("no protocol \"{name}\": simple, extended or prepared"))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::Simple => "simple",
            Protocol::Extended => "extended",
            Protocol::Prepared => "prepared",
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) protocol: Protocol,
    pub(crate) clients: u32,
    pub(crate) seconds: u32,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Run {
    pub(crate) cpu_us_per_txn: f64,
    pub(crate) tps: f64,
    /// Of the sampled transactions, in microseconds.
    pub(crate) latencies_us: Vec<f64>,
}

/// Puts the load on a pooler; a failed transaction fails the benchmark.
pub(crate) fn run(place: &Place, server: &Server, load: Load) -> Result<Run> {
    let logs = place.folder.join("latency");
    fs::create_dir_all(&logs)?;
    let before = server.cpu_ns()?;
    let text = output(
        Command::new(postgres_program("pgbench")?)
            .current_dir(&logs)
            .args(["-S", "-n", "-h", "127.0.0.1", "-p", &server.port.to_string(), "-U", USER])
            .args(["-M", load.protocol.name(), "-c", &load.clients.to_string(), "-j", "2"])
            .args(["-T", &load.seconds.to_string(), "--log", "--log-prefix=run", "--sampling-rate", SAMPLED])
            .arg(DATABASE),
    )?;
    let used = server.cpu_ns()? - before;
    let (transactions, tps) = read_summary(&text).with_context(|| format!("pgbench said:\n{text}"))?;
    let latencies_us = read_latencies(&logs)?;
    fs::remove_dir_all(&logs)?;
    Ok(Run { cpu_us_per_txn: used as f64 / 1000.0 / transactions, tps, latencies_us })
}

/// Transactions and transactions per second.
fn read_summary(text: &str) -> Result<(f64, f64)> {
    let after = |label: &str| text.lines().find_map(|line| line.strip_prefix(label)).map(str::trim);
    let number = |text: &str| text.split([' ', '/']).next().unwrap_or("").parse::<f64>();
    let transactions = number(after("number of transactions actually processed:").context("no transactions")?)?;
    let tps = number(after("tps =").context("no tps")?)?;
    // PostgreSQL before 15 does not count them: there a failure ends the client, and pgbench with it.
    let failed = after("number of failed transactions:").map(number).transpose()?.unwrap_or(0.0);
    if failed > 0.0 || transactions == 0.0 {
        bail!("{failed} transactions failed of {transactions}");
    }
    Ok((transactions, tps))
}

/// Third field of each line of pgbench's log: client, number, latency, script, second, microsecond.
fn read_latencies(folder: &Path) -> Result<Vec<f64>> {
    let mut latencies = Vec::new();
    for entry in fs::read_dir(folder)? {
        for line in fs::read_to_string(entry?.path())?.lines() {
            let field = line.split(' ').nth(2).with_context(|| format!("latency in \"{line}\""))?;
            latencies.push(field.parse().with_context(|| format!("latency in \"{line}\""))?);
        }
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str = "scaling factor: 10\nnumber of transactions actually processed: 31240\n\
        number of failed transactions: 0 (0.000%)\nlatency average = 1.024 ms\n\
        tps = 15620.123456 (without initial connection time)\n";

    #[test]
    fn the_summary_of_pgbench_is_read() {
        assert_eq!(read_summary(SUMMARY).unwrap(), (31240.0, 15620.123456));
    }

    #[test]
    fn a_failed_transaction_fails_the_benchmark() {
        assert!(read_summary(&SUMMARY.replace("failed transactions: 0", "failed transactions: 3")).is_err());
        assert!(read_summary("nothing").is_err());
    }
}
