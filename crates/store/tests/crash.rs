//! `kill -9` in the midst of writing: what was acknowledged is there, and the file is sound.
#![allow(clippy::unwrap_used)]

mod scene;

use std::collections::BTreeMap;
use std::hint::spin_loop;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use poolwarden_store::{NewVersion, VersionState};
use scene::{assert_works, close, entry, open, place, version};

const ROUNDS: u64 = 50;

#[test]
fn what_was_acknowledged_survives_kill_9_at_any_moment() {
    if let Some(place) = place() {
        return write_until_killed(&place);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let mut random = Random::new();
    // What each number was acknowledged to be: the seed of its text, and the last state that was acknowledged.
    let mut acknowledged: BTreeMap<u64, (u64, Option<&'static str>)> = BTreeMap::new();
    let mut killed_while_writing = 0;
    for round in 0..ROUNDS {
        let before = acknowledged.len();
        for line in lines_until_killed(&path, &mut random) {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["ack", "recorded", n, seed] => {
                    let known = acknowledged.insert(n.parse().unwrap(), (seed.parse().unwrap(), None));
                    assert_eq!(known, None, "number {n} was given twice");
                }
                ["ack", "undone", n, _] => acknowledged.get_mut(&n.parse().unwrap()).unwrap().1 = Some("undone"),
                _ => {}
            }
        }
        killed_while_writing += u64::from(acknowledged.len() > before);
        let store = open(&path);
        assert_works(&store);
        assert_eq!(store.news(), [], "round {round}");
        assert_eq!(store.integrity().unwrap(), Vec::<String>::new(), "round {round}");
        for (n, (seed, state)) in acknowledged.range(first_of(&acknowledged, before)..) {
            let kept = store.version(*n).unwrap().unwrap_or_else(|| panic!("round {round}: version {n} is gone"));
            let new = version(*seed, size(*seed));
            assert_eq!((kept.text, kept.by, kept.changes), (new.text, new.by, new.changes), "round {round}");
            if state.is_some() {
                assert_eq!(kept.state, VersionState::Undone { why: seed.to_string() });
            }
        }
        close(&store);
    }
    assert!(killed_while_writing > ROUNDS / 4, "only {killed_while_writing} rounds were killed after a write");
    let store = open(&path);
    let mut below = None;
    let mut found = 0;
    loop {
        let page = store.versions(100, below).unwrap();
        let Some(last) = page.last() else { break };
        below = Some(last.n);
        found += page.iter().filter(|version| acknowledged.contains_key(&version.n)).count();
    }
    assert_eq!(found, acknowledged.len());
}

/// The number at which what was acknowledged in this round begins: earlier rounds are counted at the end.
fn first_of<T>(acknowledged: &BTreeMap<u64, T>, before: usize) -> u64 {
    acknowledged.keys().nth(before).copied().unwrap_or(u64::MAX)
}

/// Starts a writer, kills it at a random moment, and returns every line it finished.
fn lines_until_killed(path: &Path, random: &mut Random) -> Vec<String> {
    let name = "what_was_acknowledged_survives_kill_9_at_any_moment";
    let mut child = scene::child(&[], name, path).stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut lines = Vec::new();
    // One round in five is killed while it opens the file, the rest after so many acknowledgements.
    let wanted = if random.below(5) == 0 { 0 } else { 1 + random.below(40) };
    let mut acknowledgements = 0;
    while acknowledgements < wanted {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 {
            break;
        }
        acknowledgements += u64::from(line.starts_with("ack "));
        lines.push(line.trim_end().to_owned());
    }
    // The moment within the write that follows is random too.
    let moment = Instant::now() + Duration::from_micros(random.below(if wanted == 0 { 30_000 } else { 4_000 }));
    while Instant::now() < moment {
        spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    lines.extend(reader.lines().map(Result::unwrap));
    lines
}

fn write_until_killed(path: &Path) {
    let store = open(path);
    let first = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 / 1_000;
    let mut output = io::stdout();
    for seed in first.. {
        let tentative = VersionState::Tentative { until_ms: seed };
        let n = store.record(NewVersion { state: tentative, ..version(seed, size(seed)) }).unwrap();
        writeln!(output, "\nack recorded {n} {seed}").unwrap();
        store.audit(entry(seed));
        if seed.is_multiple_of(3) {
            store.mark(n, VersionState::Undone { why: seed.to_string() }).unwrap();
            writeln!(output, "ack undone {n} {seed}").unwrap();
        }
    }
}

/// From a few bytes to many pages.
fn size(seed: u64) -> usize {
    [100, 5_000, 70_000][usize::try_from(seed % 3).unwrap()]
}

/// xorshift64: moments differ from run to run by themselves, the rest by this.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
