//! `bench`: poolwarden beside PgBouncer, on one machine, in interleaved runs.
//!
//! Absolute figures swing with the machine; the ratio of two runs made one after the other holds.
//! So every load is run in pairs, the order swapped from pair to pair, and medians are reported.

mod idle;
mod load;
pub(crate) mod place;
mod report;
mod server;
mod statistic;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use load::{Load, Protocol};
use place::{Place, output};
use report::{Cell, Report, Side};
use server::Server;

/// Clients of the two loads: as many as server connections, and four times that.
const CLIENTS: [u32; 2] = [16, 64];
/// pgbench's scale: a million accounts, all in memory.
const SCALE: u32 = 10;
/// Seconds of load before anything is measured: pools are filled, caches warm.
const WARM_UP: u32 = 1;

pub(crate) struct Options {
    pub(crate) json: Option<PathBuf>,
    pub(crate) pairs: u32,
    pub(crate) seconds: u32,
    pub(crate) protocols: Vec<Protocol>,
    /// A shell command to measure in place of poolwarden.
    pub(crate) engine_cmd: Option<String>,
    /// How the report names the input/output engine that was measured.
    pub(crate) engine: String,
    pub(crate) binary: PathBuf,
    /// As it was typed, for the report.
    pub(crate) command: String,
}

impl Options {
    /// Reads what follows `bench` on the command line.
    pub(crate) fn read(arguments: &[String], root: &Path) -> Result<Options> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let mut options = Options {
            json: None,
            pairs: 7,
            seconds: 5,
            protocols: Protocol::ALL.to_vec(),
            engine_cmd: None,
            engine: "readiness".to_owned(),
            binary: target.join("release/poolwarden"),
            command: format!("cargo run --release --package xtask -- bench {}", arguments.join(" "))
                .trim_end()
                .to_owned(),
        };
        let mut rest = arguments.iter();
        while let Some(flag) = rest.next() {
            let value = rest.next().with_context(|| format!("{flag} needs a value"))?;
            let number = || {
                value
                    .parse::<u32>()
                    .ok()
                    .filter(|n| *n > 0)
                    .with_context(|| format!("{flag} needs a number above 0, not \"{value}\""))
            };
            match flag.as_str() {
                "--json" => options.json = Some(PathBuf::from(value)),
                "--pairs" => options.pairs = number()?,
                "--seconds" => options.seconds = number()?,
                "--protocols" => options.protocols = value.split(',').map(Protocol::named).collect::<Result<_>>()?,
                "--engine-cmd" => options.engine_cmd = Some(value.clone()),
                "--engine" => options.engine.clone_from(value),
                "--binary" => options.binary = PathBuf::from(value),
                _ => bail!(
                    "bench knows no {flag}: --json FILE, --pairs N, --seconds N, --protocols A,B, --engine NAME, --binary FILE, --engine-cmd COMMAND"
                ),
            }
        }
        Ok(options)
    }
}

pub(crate) fn run(options: &Options, root: &Path) -> Result<()> {
    raise_file_limit()?;
    let place = Place::new()?;
    eprintln!("bench: a private PostgreSQL, scale {SCALE}");
    let postgres = server::postgres(&place, SCALE)?;
    let peer = server::pgbouncer(&place, postgres.port)?;
    let ours = match &options.engine_cmd {
        Some(template) => server::stand_in(&place, template, postgres.port)?,
        None => server::poolwarden(&place, &options.binary, postgres.port)?,
    };
    // Before any load, so that no memory a load left behind hides what a client costs.
    let ours_idle = idle::bytes_per_client(&ours)?;
    let peer_idle = idle::bytes_per_client(&peer)?;
    let mut cells = Vec::new();
    for protocol in options.protocols.iter().copied() {
        for clients in CLIENTS {
            let load = Load { protocol, clients, seconds: options.seconds };
            eprintln!(
                "bench: {} with {clients} clients, {} pairs of {}s",
                protocol.name(),
                options.pairs,
                options.seconds
            );
            cells.push(measure(&place, [&ours, &peer], load, options.pairs)?);
        }
    }
    let engine = options.engine_cmd.is_none().then(|| options.engine.clone());
    let report = Report {
        ours: Side { target: ours.name, engine, bytes_per_idle_client: ours_idle },
        peer: Side { target: peer.name, engine: None, bytes_per_idle_client: peer_idle },
        cells,
        commit: commit(root)?,
        command: options.command.clone(),
    };
    write!(std::io::stdout(), "{}", report.table())?;
    if let Some(path) = &options.json {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, format!("{:#}\n", report.json()))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// All pairs of one load. The one that goes second finds warmer caches: they take turns.
fn measure(place: &Place, [ours, peer]: [&Server; 2], load: Load, pairs: u32) -> Result<Cell> {
    let both = load.protocol != Protocol::Prepared || peer.prepared;
    let mut cell = Cell { load, ours: Vec::new(), peers: Vec::new() };
    let warm_up = Load { seconds: WARM_UP, ..load };
    load::run(place, ours, warm_up)?;
    if both {
        load::run(place, peer, warm_up)?;
    }
    for pair in 0..pairs {
        if pair % 2 == 1 && both {
            cell.peers.push(load::run(place, peer, load)?);
        }
        cell.ours.push(load::run(place, ours, load)?);
        if pair % 2 == 0 && both {
            cell.peers.push(load::run(place, peer, load)?);
        }
    }
    Ok(cell)
}

/// The idle clients are sockets of this very process.
fn raise_file_limit() -> Result<()> {
    let own = std::process::id().to_string();
    output(Command::new("prlimit").args(["--pid", &own, "--nofile=8192:"])).map(drop).context("cannot open 8192 files")
}

/// The commit measured, marked where the tree differs from it.
pub(crate) fn commit(root: &Path) -> Result<String> {
    let git = |arguments: &[&str]| output(Command::new("git").arg("-C").arg(root).args(arguments));
    let head = git(&["rev-parse", "HEAD"])?;
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.trim().is_empty();
    Ok(format!("{}{}", head.trim(), if changed { "+changes" } else { "" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Options> {
        let owned: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        Options::read(&owned, Path::new("."))
    }

    #[test]
    fn options_are_read_and_faults_named() {
        let options = read(&["--pairs", "3", "--json", "out.json"]).unwrap();
        assert_eq!((options.pairs, options.seconds, options.json), (3, 5, Some(PathBuf::from("out.json"))));
        assert_eq!(
            read(&["--protocols", "simple,prepared"]).unwrap().protocols,
            [Protocol::Simple, Protocol::Prepared]
        );
        for wrong in [&["--pairs", "0"][..], &["--protocols", "smoke"], &["--pairs"], &["--bogus", "1"]] {
            assert!(read(wrong).is_err());
        }
    }
}
