//! One release of PostgreSQL (`TESTBED_POSTGRES`): the corpus in every mode and size, and so many conversations from seeds.
//!
//! `conform SEEDS` prints one object of JSON in its last line, and fails where an answer differs; `conform show NAME` prints
//! what PostgreSQL and poolwarden say to one conversation.

use std::io::{Write, stdout};
use std::process::{Command, ExitCode};

use poolwarden_testbed::corpus;
use poolwarden_testbed::oracle::Player;
use poolwarden_testbed::oracle_round::{self, Round};
use poolwarden_testbed::wire::Address;
use poolwarden_testbed::{Mode, child, template, version};
use serde_json::{Value, json};

/// Every mode, and the sizes of its pools.
const BEDS: [(Mode, u32); 5] =
    [(Mode::Transaction, 1), (Mode::Transaction, 2), (Mode::Session, 1), (Mode::Session, 2), (Mode::Statement, 2)];
/// Seeds are tried with one client and with two, in these.
const SEEDED: [Mode; 2] = [Mode::Transaction, Mode::Session];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [show, name] if show == "show" => {
            shown(name);
            ExitCode::SUCCESS
        }
        [seeds] => conform(seeds.parse().expect("a number of seeds")),
        _ => panic!("usage: conform SEEDS | conform show NAME"),
    }
}

fn say(line: &str) {
    writeln!(stdout(), "{line}").expect("somebody listens");
}

fn conform(seeds: u64) -> ExitCode {
    let talks = corpus::all();
    let mut differ = Vec::new();
    let mut beds: Vec<Value> = Vec::new();
    for (mode, size) in BEDS {
        let bed = oracle_round::bed(mode, size);
        let round = Round::hold(&bed, &talks);
        let (alike, known, elsewhere) = (round.passed.len(), round.known.len(), round.elsewhere);
        beds.push(json!({
            "mode": mode.name(), "size": size, "alike": alike, "known": known, "elsewhere": elsewhere,
            "differ": round.failed.len(),
        }));
        differ.extend(round.failed.into_iter().map(|(name, found)| format!("{} {size} {name}\n{found}", mode.name())));
    }
    let mut made_up: Vec<Value> = Vec::new();
    for mode in SEEDED {
        let bed = oracle_round::bed(mode, 2);
        let found: Vec<String> = (0..seeds)
            .filter_map(|seed| oracle_round::compare_seed(&bed, seed, 1 + usize::from(seed % 3 == 0)))
            .take(10)
            .collect();
        made_up.push(json!({ "mode": mode.name(), "seeds": seeds, "differ": found.len() }));
        differ.extend(found);
    }
    for found in &differ {
        say(found);
    }
    let postgres = child::run(Command::new(template::programs().join("postgres")).arg("--version"));
    let postgres = postgres.trim().rsplit(' ').next().unwrap_or_default();
    let postgres = if postgres.ends_with(')') { version::major().to_string() } else { postgres.to_string() };
    say(&json!({ "postgres": postgres, "corpus": talks.len(), "beds": beds, "made_up": made_up }).to_string());
    ExitCode::from(u8::from(!differ.is_empty()))
}

fn shown(name: &str) {
    let talk = corpus::all().into_iter().find(|talk| talk.name == name).expect("a conversation of this name");
    let bed = oracle_round::bed(talk.modes[0], 2);
    for (whose, address) in [("PostgreSQL", Address::Tcp(bed.postgres.address())), ("poolwarden", bed.address())] {
        let record = Player { address, postgres: &bed.postgres, mutation: None }.play(&talk);
        for (who, lines) in record {
            say(&format!("{whose}, connection {who}:"));
            lines.iter().for_each(|line| say(&format!("  {line}")));
        }
    }
}
