//! Recorded traffic as an operator meets it: asked again under other settings, reviewed, and where a file is broken that is said
//! with its place while the rest counts.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use poolwarden_store::recording::{
    Anchor, Block, Checkout, Name, NameKind, Outcome, PoolState, Settings, State, Writer,
};
use serde_json::Value;
use tempfile::TempDir;

/// 2026-08-18T09:00:00Z.
const BEGUN: Anchor = Anchor { wall_ms: 1_787_043_600_000, clock_us: 5_000_000 };

/// A small generator of its own (Knuth's constants for 64 bits).
struct Dice(u64);

impl Dice {
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.share()).ln()
    }
}

fn settings(size: u32) -> String {
    format!(
        "[servers.main]\nhost = \"127.0.0.1\"\nmax_connections = 100\n\n[pools.app]\nserver = \"main\"\nsize = {size}\nmax_wait = \"300ms\"\n"
    )
}

/// Requests that were granted at once, so many a second, each with a hold of this mean.
fn checkouts(count: usize, per_second: f64, hold_us: f64, seed: u64) -> Vec<Checkout> {
    let (mut dice, mut at_us) = (Dice(seed), BEGUN.clock_us as f64);
    (0..count)
        .map(|number| {
            at_us += dice.exponential(1e6 / per_second);
            Checkout {
                pool: 0,
                client: (number % 20_000) as u32,
                class: 0,
                application: 1,
                attempt: 0,
                arrived_us: at_us as u64,
                waited_us: 0,
                held_us: dice.exponential(hold_us) as u64 + 100,
                idled_us: 0,
                outcome: Outcome::Served,
                conn: (number % 40) as u16,
                connect_us: (number < 40).then_some(4_000),
                barred: None,
            }
        })
        .collect()
}

fn names() -> Block {
    let name = |kind, number, text: &str| Name { kind, number, text: text.to_owned() };
    Block::Names(vec![name(NameKind::Pool, 0, "main\0app\0app"), name(NameKind::Class, 0, "default")])
}

fn obeyed(size: u32) -> Block {
    Block::Settings(Settings { from_us: BEGUN.clock_us, version: Some(3), hash: "h".to_owned(), text: settings(size) })
}

fn state(after_s: u64, lent: u32, waiting: u32) -> Block {
    let pool = PoolState { pool: 0, size: 20, open: 20, lent, idle: 20 - lent, opening: 0, waiting };
    Block::State(State { at_us: BEGUN.clock_us + after_s * 1_000_000, pools: vec![pool] })
}

fn written(blocks: &[Block]) -> Vec<u8> {
    let mut writer = Writer::begin(Vec::new(), BEGUN).unwrap();
    blocks.iter().for_each(|block| writer.block(block).unwrap());
    writer.into_inner()
}

/// Traffic in blocks of 2,000.
fn traffic(count: usize, per_second: f64, hold_us: f64) -> Vec<Block> {
    let all = checkouts(count, per_second, hold_us, 7);
    let mut blocks = vec![names(), obeyed(40), state(0, 0, 0)];
    blocks.extend(all.chunks(2_000).map(|some| Block::Checkouts(some.to_vec())));
    blocks
}

fn file(dir: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn poolwarden(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_poolwarden")).args(arguments).output().unwrap()
}

fn simulate(recording: &Path, more: &[&str]) -> Output {
    let recording = recording.to_str().unwrap();
    poolwarden(&[&["simulate", "--recording", recording], more].concat())
}

fn said(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {text}"))
}

fn p99(of: &Value) -> f64 {
    of["wait_ms"]["p99"].as_f64().unwrap()
}

#[test]
fn what_other_settings_would_have_come_to_beside_what_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "a.pwrc", &written(&traffic(12_000, 1_000.0, 12_000.0)));
    let sets = ["--set", "pools.app.size=8", "--set", "pools.app.size=30", "--quick", "--format", "json"];
    let (first, second) = (simulate(&path, &sets), simulate(&path, &sets));
    assert!(!first.stdout.is_empty() && first.stdout == second.stdout, "the same bytes");
    let value = said(&first);
    assert_eq!(value["recording"]["requests"], 12_000);
    assert_eq!(value["recording"]["from"], "2026-08-18T09:00:00Z");
    let (small, pools) = (&value["pools"][0], value["alternatives"].as_array().unwrap());
    assert!(small["refused"]["wait_time"].as_u64().unwrap() > 1_000, "{small:#}");
    assert_eq!(small["binding_limit"], "pool_size");
    assert_eq!(pools[0]["set"], "as it is");
    assert_eq!(pools[1]["set"], "pools.app.size=30");
    assert!(p99(&pools[0]["pools"][0]) < 30.0 && p99(&pools[1]["pools"][0]) < 30.0, "{value:#}");
    assert_eq!(value["measured"][0]["granted"], 12_000);
    let over = &small["over_time"];
    let asked: u64 = over["asked"].as_array().unwrap().iter().map(|moment| moment.as_u64().unwrap()).sum();
    assert_eq!(asked, 12_000);
    assert!(over["binding_limit"].as_array().unwrap().iter().any(|limit| limit == "pool_size"));
}

#[test]
fn what_is_enough_how_sure_and_what_it_hangs_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "a.pwrc", &written(&traffic(4_000, 400.0, 10_000.0)));
    let html = dir.path().join("out.html");
    let goal = ["--goal-wait", "20ms", "--goal-failed", "0.5", "--format", "json", "--html", html.to_str().unwrap()];
    let value = said(&simulate(&path, &goal));
    let pool = &value["pools"][0];
    let smallest = pool["smallest_size"].as_u64().unwrap();
    assert!((4..12).contains(&smallest), "{pool:#}");
    let of = |size: u64| {
        let set = format!("pools.app.size={size}");
        p99(&said(&simulate(&path, &["--set", &set, "--quick", "--format", "json"]))["pools"][0])
    };
    assert!(of(smallest) <= 20.0 && of(smallest - 1) > 20.0, "{smallest}: {} {}", of(smallest), of(smallest - 1));
    let interval = pool["interval_90"]["wait_p99_ms"].as_array().unwrap();
    assert!(interval[0].as_f64().unwrap() <= interval[1].as_f64().unwrap());
    let rows = value["sensitivity"].as_array().unwrap();
    assert_eq!(rows.len(), 7, "{rows:#?}");
    assert!(rows.iter().any(|row| row["demand"] == 2.0) && rows.iter().any(|row| row["connect"] == 4.0));
    let page = std::fs::read_to_string(&html).unwrap();
    assert!(page.matches("<svg").count() == 4 && page.contains("What it hangs on") && page.contains("</html>"));
    let text = String::from_utf8(simulate(&path, &goal[..4]).stdout).unwrap();
    assert!(text.contains("measured") && text.contains(&format!("at most 0.5% failed: {smallest}")), "{text}");
}

#[test]
fn too_few_requests_conclude_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "a.pwrc", &written(&traffic(200, 400.0, 10_000.0)));
    let output = simulate(&path, &["--quick"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("inconclusive: 200 requests are too few"), "{text}");
}

#[test]
fn a_broken_recording_is_told_with_its_place_and_the_rest_counts() {
    let dir = tempfile::tempdir().unwrap();
    let whole = written(&traffic(8_000, 1_000.0, 5_000.0));
    let mut broken = whole.clone();
    let at = broken.len() / 2;
    broken[at] ^= 0x40;
    let requests = |bytes: &[u8], name: &str| {
        let output = simulate(&file(&dir, name, bytes), &["--quick", "--format", "json"]);
        let value = said(&output);
        (value["recording"]["requests"].as_u64().unwrap(), value["notes"].to_string())
    };
    assert_eq!(requests(&whole, "whole.pwrc").0, 8_000);
    let (left, notes) = requests(&broken, "broken.pwrc");
    assert!(left == 6_000 && notes.contains("broken.pwrc: byte ") && notes.contains("checksum"), "{left} {notes}");
    let (left, notes) = requests(&whole[..whole.len() - 9], "cut.pwrc");
    assert!(left == 6_000 && notes.contains("the file ends within a block"), "{left} {notes}");
    let mut newer = whole.clone();
    newer[8] = 9;
    let sum = {
        let mut sum = crc32fast::Hasher::new();
        sum.update(&newer[..28]);
        sum.finalize()
    };
    newer[28..32].copy_from_slice(&sum.to_le_bytes());
    let table: [(&str, &[u8], &str); 4] = [
        ("newer.pwrc", &newer, "byte 8: it is of format 9"),
        ("foreign.pwrc", b"PGDMP and so on", "byte 0: this is no recording"),
        ("short.pwrc", &whole[..20], "byte 20: it ends within its header"),
        ("empty.pwrc", b"", "byte 0: it ends within its header"),
    ];
    for (name, bytes, expected) in table {
        let output = simulate(&file(&dir, name, bytes), &[]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && text.contains(name) && text.contains(expected), "{name}: {text}");
    }
    // Beside a good one they are told, and it counts.
    let together = tempfile::tempdir().unwrap();
    file(&together, "20260818T090000Z-0.pwrc", &whole);
    file(&together, "20260818T100000Z-0.pwrc", b"PGDMP and so on");
    let value = said(&simulate(together.path(), &["--quick", "--format", "json"]));
    assert_eq!(value["recording"]["requests"], 8_000);
    assert!(value["notes"].to_string().contains("this is no recording"));
}

#[test]
fn what_cannot_be_found_or_used_says_what_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let good = file(&dir, "a.pwrc", &written(&traffic(2_000, 1_000.0, 5_000.0)));
    let bare = file(&dir, "bare.pwrc", &written(&[names(), Block::Checkouts(checkouts(2_000, 500.0, 1_000.0, 1))]));
    let other = "[servers.b]\nhost = \"x\"\n[pools.app]\nserver = \"b\"\nsize = 4\n";
    let other = file(&dir, "other.toml", other.as_bytes());
    let (good, bare, other) = (good.to_str().unwrap(), bare.to_str().unwrap(), other.to_str().unwrap());
    let table: [(&[&str], &str); 6] = [
        (&["simulate", "--recording", "nowhere.pwrc"], "write a path, last:24h"),
        (&["simulate", "--recording", "last:24"], "write last:24h"),
        (&["simulate", "--recording", bare], "--config poolwarden.toml"),
        (&["simulate", "--recording", good, "--set", "pools.app.sise=4"], "did you mean `size`?"),
        (&["simulate", "--recording", good, "--config", other], "the recording is of server main"),
        (&["simulate"], "name a scenario file, or --recording"),
    ];
    for (arguments, expected) in table {
        let output = poolwarden(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && text.contains(expected), "{expected}: {text}");
    }
}

/// MIT Open Learning, August and September 2026 (mitodl/ol-infrastructure, pull requests 5426 to 5935): each step of five weeks is
/// caught from the configuration and a recording like theirs.
mod mit {
    use super::*;

    fn codes(arguments: &[&str]) -> Vec<String> {
        let value = said(&poolwarden(&[&["check", "--format", "json"], arguments].concat()));
        let all = value["findings"].as_array().unwrap().iter();
        all.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
    }

    /// Nothing bounds all pools together: 331 new connections a second, each held for its session, and one pool takes what the
    /// database has.
    #[test]
    fn no_limit_over_all_pools_and_a_connection_for_each_session() {
        let dir = tempfile::tempdir().unwrap();
        let sessions = checkouts(20_000, 331.0, 15_000_000.0, 3);
        let mut blocks = vec![names(), obeyed(1_500)];
        blocks.extend(sessions.chunks(2_000).map(|some| Block::Checkouts(some.to_vec())));
        let path = file(&dir, "sessions.pwrc", &written(&blocks));
        let wide = ["--set", "servers.main.max_connections=100000", "--set", "pools.app.size=100000"];
        let value = said(&simulate(&path, &[&wide[..], &["--quick", "--format", "json"]].concat()));
        let lent = value["pools"][0]["over_time"]["lent"].as_array().unwrap();
        let most = lent.iter().map(|lent| lent.as_f64().unwrap()).fold(0.0, f64::max);
        assert!(most > 4_000.0, "what nothing bounds takes thousands: {most}");
        let value =
            said(&simulate(&path, &["--set", "servers.main.max_connections=705", "--quick", "--format", "json"]));
        assert_eq!(value["pools"][0]["binding_limit"], "host_budget", "the cap of the next pull request is what binds");
    }

    /// Waits without an end: the pool was full of clients that waited for another connection of it, for 2.4 days.
    #[test]
    fn a_pool_that_stands_still_is_seen_in_the_recording() {
        let dir = tempfile::tempdir().unwrap();
        let minutes = (1..60).map(|minute| state(minute * 60, 20, 382));
        let blocks: Vec<Block> = [names(), obeyed(20)].into_iter().chain(minutes).collect();
        let path = file(&dir, "frozen.pwrc", &written(&blocks));
        let ini = "[databases]\napp = host=db dbname=app\n[pgbouncer]\nlisten_port = 6432\nauth_type = trust\n\
                   pool_mode = session\ndefault_pool_size = 20\nquery_wait_timeout = 0\n";
        let ini = file(&dir, "pgbouncer.ini", ini.as_bytes());
        let found = codes(&[ini.to_str().unwrap(), "--recording", path.to_str().unwrap()]);
        assert!(found.iter().any(|code| code == "DLK-02"), "{found:?}");
        let without = codes(&[ini.to_str().unwrap()]);
        assert!(!without.iter().any(|code| code == "DLK-02"), "{without:?}");
    }

    /// No pool in the application: each query connects anew, 331 a second of one daemon and more of others, and the ports run out.
    #[test]
    fn a_connection_for_each_query_uses_up_the_ports() {
        let dir = tempfile::tempdir().unwrap();
        let mut all = checkouts(10_000, 490.0, 4_000.0, 5);
        all.iter_mut().for_each(|of| of.connect_us = Some(9_000));
        let path = file(&dir, "nullpool.pwrc", &written(&[names(), obeyed(700), Block::Checkouts(all)]));
        let toml = file(&dir, "poolwarden.toml", settings(700).as_bytes());
        let found = codes(&[toml.to_str().unwrap(), "--recording", path.to_str().unwrap()]);
        assert!(found.iter().any(|code| code == "OS-03"), "{found:?}");
    }

    /// The pool of 10 and 10 more, sized on 13 to 21 idle connections: 1,071 timeouts of 30 s within 41 minutes of work.
    #[test]
    fn a_pool_sized_at_rest_fails_at_work_and_the_size_that_does_not_is_told() {
        let dir = tempfile::tempdir().unwrap();
        // Rest, then work for two minutes: twice what twenty connections serve.
        let mut dice = Dice(17);
        let (mut at_us, mut all) = (BEGUN.clock_us as f64, checkouts(50_000, 300.0, 100_000.0, 9));
        for (number, of) in all.iter_mut().enumerate() {
            let rate = if number < 5_000 { 60.0 } else { 400.0 };
            at_us += dice.exponential(1e6 / rate);
            of.arrived_us = at_us as u64;
        }
        let mut blocks = vec![names(), obeyed(90)];
        blocks.extend(all.chunks(2_000).map(|some| Block::Checkouts(some.to_vec())));
        let path = file(&dir, "work.pwrc", &written(&blocks));
        let sets = [
            "--set",
            "pools.app.size=20",
            "--set",
            "pools.app.max_wait=\"30s\"",
            "--set",
            "poolwarden.guard=\"observe\"",
        ];
        let value = said(&simulate(&path, &[&sets[..], &["--quick", "--format", "json"]].concat()));
        let pool = &value["pools"][0];
        let refused = pool["refused"]["wait_time"].as_u64().unwrap_or(0);
        assert!(refused > 1_000 && p99(pool) > 25_000.0, "{refused} {}", p99(pool));
        let rested = said(&simulate(&path, &["--quick", "--format", "json"]));
        assert!(p99(&rested["pools"][0]) < 100.0, "what ran was enough: {}", p99(&rested["pools"][0]));
        let toml = file(&dir, "poolwarden.toml", settings(20).as_bytes());
        let topology = "[[topology.app]]\nname = \"dagster\"\npool = \"app\"\nrequest_timeout = \"30s\"\n";
        let topology = file(&dir, "topology.toml", topology.as_bytes());
        let files = [toml.to_str().unwrap(), topology.to_str().unwrap(), "--recording", path.to_str().unwrap()];
        let found = codes(&files);
        assert!(found.iter().any(|code| code == "CAP-12" || code == "CAP-11"), "{found:?}");
    }
}
