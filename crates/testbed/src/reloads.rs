//! Random files to reload, half of them broken, given to a pooler under load, and what came of it.
//!
//! The files are made from a seed (`toml`, `ini`). What runs is judged by what the pooler tells and by what the file says
//! (`judge`), which knows no setting by name: the two share nothing but the text.

pub mod ini;
pub mod judge;
pub mod toml;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::bed::{Bed, Plan, Target};
use crate::workers::{TRANSACTION, Workers};
use judge::Judge;

/// Clients at work meanwhile.
const CLIENTS: usize = 6;
/// Faults that are kept word by word; more of the same kind say no more.
const KEPT: usize = 5;

/// A small generator of its own (Knuth's constants for 64 bits), so that a run can be made again.
#[derive(Debug)]
pub struct Dice(u64);

/// A file to reload.
#[derive(Debug)]
pub struct File {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How it is broken; `None`: it is not.
    pub broken: Option<&'static str>,
}

/// What came of so many reloads.
#[derive(Debug, Default)]
pub struct Found {
    /// Reloads that were asked for.
    pub reloads: u64,
    /// Those that were refused.
    pub refused: u64,
    /// Of these, how many were answered with an error.
    pub refused_aloud: u64,
    /// Of files that are broken, how many were asked for, by what is wrong.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Broken files that were taken.
    pub broken_accepted: u64,
    /// Good files that were refused.
    pub good_refused: u64,
    /// Refusals after which something else ran than before.
    pub changed_after_refusal: u64,
    /// Files that were taken, and after which something else ran than they say.
    pub not_as_written: u64,
    /// The first faults of any of these kinds, in words.
    pub faults: Vec<String>,
    /// Transactions of the clients at work, and what went wrong with them.
    pub transactions: u64,
    /// Their errors; a client ends at its first.
    pub cut: Vec<String>,
}

impl Dice {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Dice {
        let mut dice = Dice(seed);
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// From `least` to `most`, both included.
    pub fn pick(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }

    /// A place in a list that is not empty.
    pub fn at<T>(&mut self, list: &[T]) -> usize {
        usize::try_from(self.pick(0, list.len() as u64 - 1)).expect("a place in a list")
    }

    /// One of these.
    pub fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.at(list)]
    }

    /// Once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.pick(1, times) == 1
    }
}

/// What a pooler is started with to be given such files: nothing of its own accord takes a change back.
#[must_use]
pub fn plan() -> Plan {
    Plan::default().edit("[poolwarden]\n", "[poolwarden]\nguard = \"observe\"\n")
}

/// Gives a pooler of [`plan`] so many files, each of them made from `seed`, while clients work.
#[must_use]
#[track_caller]
pub fn run(bed: &Bed, target: Target, count: u64, seed: u64) -> Found {
    let (path, make): (_, fn(&str, &mut Dice) -> File) = match target {
        Target::PgBouncer => (bed.pgbouncer().file(), ini::file),
        Target::Poolwarden | Target::Direct => {
            (bed.pooler().expect("poolwarden").dir().join("poolwarden.toml"), toml::file)
        }
    };
    let base = fs::read_to_string(&path).expect("its file");
    let workers = Workers::start(bed, CLIENTS, TRANSACTION);
    let (mut dice, mut judge) = (Dice::new(seed), Judge::new(bed));
    let mut found = Found { reloads: count, ..Found::default() };
    let mut good = base.clone().into_bytes();
    for round in 0..count {
        let file = make(&base, &mut dice);
        found.reload(&mut judge, (&path, &file), &mut good, round);
        workers.flow(1); // there is load meanwhile, however fast the reloads are
    }
    (found.transactions, found.cut) = workers.end();
    found
}

impl Found {
    fn reload(&mut self, judge: &mut Judge<'_>, (path, file): (&Path, &File), good: &mut Vec<u8>, round: u64) {
        let before = judge.in_force();
        fs::write(path, &file.bytes).expect("written");
        let taken = judge.reload();
        let about = |what: &str| format!("round {round}: {}: {what}", file.broken.unwrap_or("nothing broken"));
        if let Some(kind) = file.broken {
            *self.kinds.entry(kind).or_default() += 1;
        }
        match (taken, file.broken) {
            (Ok(()), Some(_)) => {
                self.broken_accepted += 1;
                self.keep(about("accepted"));
            }
            (Ok(()), None) => {
                if let Err(why) = judge.as_written(&file.bytes) {
                    self.not_as_written += 1;
                    self.keep(about(&why));
                }
                good.clone_from(&file.bytes);
            }
            (Err(refused), broken) => {
                self.refused += 1;
                self.refused_aloud += u64::from(refused.told);
                if broken.is_none() {
                    self.good_refused += 1;
                    self.keep(about(&refused.why));
                }
                let after = judge.in_force();
                if after != before {
                    self.changed_after_refusal += 1;
                    self.keep(about(&judge::apart(&before, &after)));
                    // the next one begins where this one should have
                    fs::write(path, &*good).expect("written");
                    judge.reload().unwrap_or_else(|e| panic!("the last good file again: {e:?}"));
                }
            }
        }
    }

    fn keep(&mut self, fault: String) {
        if self.faults.len() < KEPT {
            self.faults.push(fault);
        }
    }
}
