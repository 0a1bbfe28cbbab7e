//! A broken configuration file: exit code 2, the place in the file, and what to write instead.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use poolwarden_testbed::{Plan, Target, child, client, place, pooler};

/// One way to break a file: a line of the valid one, what stands there instead, what the message must say.
struct Fault {
    line: &'static str,
    instead: &'static str,
    says: &'static [&'static str],
}

const FAULTS: [Fault; 10] = [
    Fault { line: "size = 10", instead: "sise = 10", says: &["sise", "size"] },
    Fault { line: "size = 10", instead: "size = \"ten\"", says: &["size"] },
    Fault { line: "size = 10", instead: "size = -1", says: &["size"] },
    Fault { line: "max_wait = \"60s\"", instead: "max_wait = 60", says: &["max_wait", "\"60s\""] },
    Fault { line: "mode = \"transaction\"", instead: "mode = \"transactoin\"", says: &["transactoin", "transaction"] },
    Fault { line: "server = \"main\"", instead: "server = \"mian\"", says: &["mian", "main"] },
    Fault { line: "tls = \"disable\"", instead: "tls = \"verify-ful\"", says: &["verify-ful", "verify-full"] },
    Fault { line: "method = \"scram-sha-256\"", instead: "method = \"scram-sha-256", says: &["method"] },
    Fault { line: "[limits]", instead: "[limts]", says: &["limts", "limits"] },
    Fault { line: "[limits]", instead: "[auth]", says: &["auth"] },
];

/// The exit code and messages of `poolwarden run -c FILE`.
fn run(file: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(pooler::binary());
    command.args(["run", "-c"]).arg(file).env("WATCH_PASSWORD", "secret");
    let place = place::Place::new("broken");
    child::log_to(&mut command, &place.path().join("log"));
    let mut process = child::spawn(&mut command);
    let status = child::wait(&mut process, Duration::from_secs(10));
    if status.is_none() {
        child::signal(child::pid(&process), rustix::process::Signal::KILL);
        process.wait().expect("killed");
    }
    let said = place.tail("log", 100);
    assert!(status.is_some(), "poolwarden runs with a broken file; it said:\n{said}");
    (status.and_then(|status| status.code()), said)
}

fn valid(dir: &Path) -> String {
    // Nothing is asked there: the file is refused before the first connection.
    let server = "127.0.0.1:1".parse().expect("an address");
    pooler::configuration(&Plan::default(), server, dir)
}

#[test]
fn every_kind_of_broken_file_is_refused_with_its_place_and_what_to_write() {
    if Target::chosen() != Target::Poolwarden {
        eprintln!("only poolwarden reads this file");
        return;
    }
    let place = place::Place::new("files");
    place.write("app.password", "secret");
    let valid = valid(place.path());
    for fault in &FAULTS {
        let number = valid.lines().position(|line| line == fault.line).expect("the valid file has this line") + 1;
        let broken: Vec<&str> =
            valid.lines().map(|line| if line == fault.line { fault.instead } else { line }).collect();
        let file = place.write("poolwarden.toml", &broken.join("\n"));
        let (code, said) = run(&file);
        assert_eq!(code, Some(2), "{}: {said}", fault.instead);
        let spot = said.split_once(&format!("poolwarden.toml:{number}:"));
        let column = spot.and_then(|(_, rest)| rest.chars().next());
        assert!(column.is_some_and(|c| c.is_ascii_digit()), "{}: no line {number} and column: {said}", fault.instead);
        assert!(said.contains(fault.instead), "{}: the text of the line is not shown: {said}", fault.instead);
        for part in fault.says {
            assert!(said.contains(part), "{}: no {part:?} in: {said}", fault.instead);
        }
    }
}

#[test]
fn a_file_that_is_no_text_or_missing_or_names_a_missing_secret_is_refused() {
    if Target::chosen() != Target::Poolwarden {
        eprintln!("only poolwarden reads this file");
        return;
    }
    let place = place::Place::new("files");
    let valid = valid(place.path());
    let file = place.write("poolwarden.toml", &valid);
    let (code, said) = run(&file);
    assert_eq!(code, Some(2), "a missing secret file: {said}");
    assert!(said.contains("app.password"), "the missing secret file is not named: {said}");
    place.write("app.password", "secret");
    std::fs::write(&file, [0xff, 0xfe, 0x00, b'a']).expect("written");
    let (code, said) = run(&file);
    assert_eq!(code, Some(2), "no text: {said}");
    assert!(said.contains("poolwarden.toml"), "the file is not named: {said}");
    for missing in [place.path().join("absent.toml"), place.path().to_path_buf()] {
        let (code, said) = run(&missing);
        assert_eq!(code, Some(2), "{}: {said}", missing.display());
        assert!(said.contains(&missing.display().to_string()), "{} is not named: {said}", missing.display());
    }
}

#[test]
fn an_unknown_verb_is_wrong_usage() {
    if Target::chosen() != Target::Poolwarden {
        eprintln!("only poolwarden has verbs");
        return;
    }
    let (passed, said) = client::run(Command::new(pooler::binary()).arg("rnu"));
    assert!(!passed && said.contains("run"), "no suggestion for rnu: {said}");
}
