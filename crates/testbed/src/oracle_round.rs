//! A round: many conversations through one pooler of one mode and size, each compared with PostgreSQL's own answers.
//!
//! The pooler lives through all of them, so that what one leaves behind shows in a later one.

use std::fmt::Write;

use crate::bed::{Bed, Mode, Plan, Target};
use crate::corpus::Conversation;
use crate::corpus_random;
use crate::oracle::{Player, Record, difference};
use crate::version;
use crate::wire::Address;

/// How the finding begins where PostgreSQL itself does not answer: the conversation is at fault and nobody else.
const STUCK: &str = "  PostgreSQL itself: ";

/// What a round has shown.
#[derive(Debug, Clone, Default)]
pub struct Round {
    /// Answered alike.
    pub passed: Vec<String>,
    /// Not for this version, mode or size.
    pub elsewhere: usize,
    /// Different, and written down as such.
    pub known: Vec<String>,
    /// Different, with the difference; or alike where a difference is written down.
    pub failed: Vec<(String, String)>,
}

/// The bed a round is held on.
#[must_use]
#[track_caller]
pub fn bed(mode: Mode, size: u32) -> Bed {
    Bed::start_as(Target::Poolwarden, Plan { mode, size, ..Plan::default() })
}

impl Round {
    /// Holds every conversation that fits.
    #[must_use]
    pub fn hold(bed: &Bed, talks: &[Conversation]) -> Round {
        let (mode, size) = (bed.plan().mode, bed.plan().size);
        let major = version::major();
        let mut round = Round::default();
        for talk in talks {
            if !fits(talk, mode, size, major) {
                round.elsewhere += 1;
                continue;
            }
            let found = compare(bed, talk);
            let known = talk.known.iter().find(|known| known.mode == mode);
            match (found, known) {
                (None, None) => round.passed.push(talk.name.clone()),
                (Some(_), Some(known)) => round.known.push(format!("{}: {}", talk.name, known.why)),
                (Some(found), None) => round.failed.push((talk.name.clone(), found)),
                (None, Some(known)) if !known.always => round.known.push(format!("{}: not this time", talk.name)),
                (None, Some(known)) => {
                    let told = format!("  answered alike: take the mark away (\"{}\")\n", known.why);
                    round.failed.push((talk.name.clone(), told));
                }
            }
        }
        round
    }

    /// Panics with every difference.
    #[track_caller]
    pub fn expect_alike(&self) {
        let mut told = String::new();
        for (name, found) in &self.failed {
            // Writing to a String cannot fail.
            let _ = writeln!(told, "{name}:\n{found}");
        }
        assert!(self.failed.is_empty(), "{} of {} differ\n{told}", self.failed.len(), self.total());
        assert!(!self.passed.is_empty(), "nothing was held: {} are for elsewhere", self.elsewhere);
    }

    /// How many were held.
    #[must_use]
    pub fn total(&self) -> usize {
        self.passed.len() + self.known.len() + self.failed.len()
    }
}

/// Whether it is for this mode, size and version: in session mode each connection needs a place of its own.
fn fits(talk: &Conversation, mode: Mode, size: u32, major: u32) -> bool {
    let places = u32::try_from(talk.connections().len()).unwrap_or(u32::MAX);
    let room = mode != Mode::Session || size >= places;
    room && talk.modes.contains(&mode) && talk.pools.contains(&size) && (talk.since..=talk.until).contains(&major)
}

/// The conversation of a seed; a difference comes with the smallest conversation that shows one, as a file of the corpus.
/// One that PostgreSQL itself does not answer is told as it is: nothing smaller shows more, and every try would wait.
#[must_use]
pub fn compare_seed(bed: &Bed, seed: u64, clients: usize) -> Option<String> {
    let talk = corpus_random::conversation(seed, clients);
    let text = corpus_random::text(seed, clients);
    let first = compare(bed, &talk)?;
    if first.starts_with(STUCK) {
        return Some(format!("{text}{first}"));
    }
    let differs = |talk: &Conversation| compare(bed, talk).is_some_and(|found| !found.starts_with(STUCK));
    let small = corpus_random::smallest(&talk, differs);
    let found = compare(bed, &small).unwrap_or_else(|| format!("  not every time; the whole of it:\n{first}"));
    Some(format!("{}{found}", corpus_random::lines(&text, &small)))
}

/// The difference between PostgreSQL's answers and those through the pooler.
#[must_use]
pub fn compare(bed: &Bed, talk: &Conversation) -> Option<String> {
    let direct = held(bed, talk, Address::Tcp(bed.postgres.address()));
    if let Some(stuck) = direct.values().flatten().find(|line| line.starts_with("(nothing came")) {
        return Some(format!("{STUCK}{stuck}: the conversation waits for what never comes\n"));
    }
    difference(&direct, &held(bed, talk, bed.address()))
}

fn held(bed: &Bed, talk: &Conversation, address: Address) -> Record {
    Player { address, postgres: &bed.postgres, mutation: None }.play(talk)
}
