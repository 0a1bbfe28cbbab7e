//! `prove checks COUNT`: so many random corruptions of configurations that are good, each given to the real `poolwarden check`; then
//! a megabyte of each kind of file, and fifty files at once with their time.
//!
//! Whatever it is given it ends by one of its own exit codes, and what it says of it has a place and a next step.

#![allow(clippy::print_stdout, reason = "the result goes to standard output")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use poolwarden_testbed::fault_proxy::Dice;
use poolwarden_testbed::pooler::{binary, workspace};
use serde_json::{Value, json};

/// What `check` on fifty files may take.
const BOUND: Duration = Duration::from_secs(1);
const FILES: usize = 50;
/// How often the fifty are reviewed; the slowest counts.
const TIMES: usize = 20;
const MEGABYTE: usize = 1 << 20;
/// What a megabyte may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that mean something to one of the languages, or to none.
const SCRAPS: [&[u8]; 18] = [
    b"\"",
    b"'",
    b"=",
    b"[",
    b"]",
    b"\n",
    b"\r\n",
    b"\0",
    b"\xff\xfe",
    b"999999999999999999999",
    b"-1",
    b"[[",
    b"%include pgbouncer.ini\n",
    b"\t",
    b"{",
    b"#",
    b": ",
    b"\xef\xbb\xbf",
];

/// Names and bytes of one configuration's files.
type Files = Vec<(String, Vec<u8>)>;

fn main() {
    let count: u64 = std::env::args().nth(1).and_then(|count| count.parse().ok()).expect("a number of corruptions");
    let folder = std::env::temp_dir().join(format!("poolwarden-checks-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for the files");
    let good = good();
    let corrupted = corruptions(&good, &folder, count);
    let megabytes = megabytes(&good, &folder);
    let fifty = fifty(&good, &folder);
    fs::remove_dir_all(&folder).expect("the folder goes away");
    println!("{}", json!({ "corruptions": corrupted, "megabyte": megabytes, "fifty_files": fifty }));
}

/// The configurations that `check` finds nothing in.
fn good() -> Vec<Files> {
    let all = workspace().join("crates/config/tests/review/good");
    sorted(&all).iter().map(|case| of(case)).collect()
}

fn of(case: &Path) -> Files {
    let named = sorted(case).into_iter().filter(|path| path.extension().is_none_or(|kind| kind != "md"));
    named.map(|path| (name(&path), fs::read(&path).expect("a file of a good configuration"))).collect()
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of good configurations");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What `check` said of these files.
struct Said {
    exit: i32,
    json: Value,
}

fn check(files: &Files, folder: &Path) -> Said {
    for entry in sorted(folder) {
        fs::remove_file(entry).expect("the last configuration goes away");
    }
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).expect("a file is written");
    }
    let mut command = Command::new(binary());
    command.current_dir(folder).arg("check").args(files.iter().map(|(name, _)| name)).args(["--format", "json"]);
    let out = command.output().expect("poolwarden starts");
    let errors = String::from_utf8_lossy(&out.stderr);
    let exit = out.status.code().unwrap_or_else(|| panic!("{}: killed\n{errors}", kept(files)));
    assert!((0..=3).contains(&exit) && !errors.contains("panicked"), "{}: exit {exit}\n{errors}", kept(files));
    let json = serde_json::from_slice(&out.stdout);
    Said { exit, json: json.unwrap_or_else(|error| panic!("{}: {error}\n{errors}", kept(files))) }
}

/// Keeps the files that something is wrong with, and says where.
fn kept(files: &Files) -> String {
    let folder = std::env::temp_dir().join("poolwarden-checks-found");
    fs::create_dir_all(&folder).expect("a folder for what was found");
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).expect("what was found is kept");
    }
    folder.display().to_string()
}

/// A place of every finding is a line of a file that was given, or the name of what told it; none is without a next step.
fn judge(said: &Said, files: &Files) {
    let list = |key: &str| said.json[key].as_array().cloned().unwrap_or_default();
    for finding in list("findings") {
        let spans = finding["spans"].as_array().cloned().unwrap_or_default();
        let told = finding["told"].as_array().is_some_and(|told| !told.is_empty());
        assert!(told || !spans.is_empty(), "{}: no place: {finding}", kept(files));
        assert!(finding["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{}: no next step: {finding}", kept(files));
        for span in spans {
            let file = files.iter().find(|(name, _)| span["file"] == name.as_str());
            let (_, bytes) = file.unwrap_or_else(|| panic!("{}: no such file: {finding}", kept(files)));
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
            let line = span["line"].as_u64().unwrap_or(0);
            assert!((1..=lines).contains(&line), "{}: line {line} of {lines}: {finding}", kept(files));
        }
    }
    for file in list("unreadable") {
        let whole = ["file", "why"].iter().all(|key| file[*key].as_str().is_some_and(|text| !text.is_empty()));
        assert!(whole, "{}: {file}", kept(files));
    }
}

fn corruptions(good: &[Files], folder: &Path, count: u64) -> Value {
    let mut dice = Dice(0x0C11_EC4E);
    let (mut exits, mut findings, mut unreadable) = (BTreeMap::new(), 0, 0);
    for _ in 0..count {
        let mut files = dice.of(good).clone();
        let which = dice.below(files.len());
        corrupt(&mut files[which].1, &mut dice);
        let said = check(&files, folder);
        judge(&said, &files);
        *exits.entry(format!("exit_{}", said.exit)).or_insert(0) += 1;
        findings += said.json["findings"].as_array().map_or(0, Vec::len);
        unreadable += said.json["unreadable"].as_array().map_or(0, Vec::len);
    }
    json!({ "given": count, "panics": 0, "exits": exits, "findings": findings, "unreadable": unreadable })
}

/// One to four times: bytes cut out, put in, doubled elsewhere, changed, or everything behind cut off.
fn corrupt(bytes: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        let until = (at + dice.below(60)).min(bytes.len());
        match dice.below(16) {
            0..5 => drop(bytes.drain(at..until)),
            5..10 => drop(bytes.splice(at..at, dice.of(&SCRAPS).iter().copied())),
            10..13 => {
                let copy = bytes[at..until].to_vec();
                let to = dice.below(bytes.len() + 1);
                drop(bytes.splice(to..to, copy));
            }
            13..15 => bytes[at..until].iter_mut().for_each(|byte| *byte ^= 1 << dice.below(8)),
            _ => bytes.truncate(at),
        }
    }
}

/// Each file of the good configurations until it has a megabyte, once as it is over and over and once corrupted all along.
fn megabytes(good: &[Files], folder: &Path) -> Value {
    let mut dice = Dice(0xB16);
    let (mut given, mut slowest) = (0, (Duration::ZERO, String::new()));
    for files in good {
        for which in 0..files.len() {
            for broken in [false, true] {
                let mut large = files.clone();
                let (name, bytes) = &mut large[which];
                let once = bytes.clone();
                while bytes.len() < MEGABYTE {
                    let mut more = once.clone();
                    if broken {
                        corrupt(&mut more, &mut dice);
                    }
                    bytes.extend(more);
                    bytes.push(b'\n');
                }
                let name = name.clone();
                let begun = Instant::now();
                let said = check(&large, folder);
                let took = begun.elapsed();
                judge(&said, &large);
                assert!(took < PATIENCE, "{}: {name} took {took:?}", kept(&large));
                given += 1;
                slowest = slowest.max((took, name));
            }
        }
    }
    json!({ "given": given, "panics": 0, "slowest_ms": millis(slowest.0), "slowest": slowest.1 })
}

/// Fifty files of all kinds in one review: configurations beside each other, each file in a folder of its own.
fn fifty(good: &[Files], folder: &Path) -> Value {
    let all = good.iter().flatten().cycle().take(FILES).enumerate();
    let files: Files = all.map(|(n, (name, bytes))| (format!("{n}/{name}"), bytes.clone())).collect();
    let root = folder.join("fifty");
    for (name, bytes) in &files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder of its own");
        fs::write(path, bytes).expect("a file is written");
    }
    let mut took = Vec::new();
    for _ in 0..TIMES {
        let mut command = Command::new(binary());
        command.current_dir(&root).arg("check").args(files.iter().map(|(name, _)| name)).args(["--format", "json"]);
        let begun = Instant::now();
        let out = command.output().expect("poolwarden starts");
        took.push(begun.elapsed());
        let exit = out.status.code();
        assert!(exit.is_some_and(|exit| exit <= 1), "{exit:?}: {}", String::from_utf8_lossy(&out.stderr));
    }
    took.sort();
    let slowest = took[TIMES - 1];
    assert!(slowest < BOUND, "{FILES} files took {slowest:?}");
    json!({ "files": FILES, "runs": TIMES, "median_ms": millis(took[TIMES / 2]), "slowest_ms": millis(slowest) })
}

/// With one decimal.
fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e4).round() / 10.0
}
