//! Conversations that nobody thought of: made from a seed, in the corpus' own words, and made smaller when they find something.
//!
//! They are right more often than wrong: names are used before they are given, transactions fail and go on, COPYs are refused
//! with their rows behind them. Their answers depend on nothing but the conversation: each client has a table of its own,
//! and nothing asks for the time, a process or an order that is open.
//!
//! What PostgreSQL itself is broken by is left out, because then nothing can be compared:
//! - Execute of the unnamed portal goes behind its Bind, in one batch: the portal of a simple query that failed in a
//!   transaction stays, and to execute it reads memory that is free already (16, 17 and 18 crash).
//! - since 18, a simple query or a function call right behind an Execute has a Sync before it: without one it leaves the session
//!   in a transaction that nobody closes, and the next statement is refused (XX000, unexpected state STARTED).

use std::fmt::Write;

use crate::corpus::{Conversation, read};
use crate::fault_proxy::Dice;
use crate::version;

const NAMES: [&str; 4] = ["\"\"", "a", "b", "c"];
const PORTALS: [&str; 3] = ["\"\"", "p", "q"];
/// Statements for the simple protocol; `{t}` is the client's table.
const SIMPLE: [&str; 30] = [
    "begin",
    "begin",
    "begin read only",
    "commit",
    "commit",
    "rollback",
    "commit and chain",
    "savepoint s",
    "rollback to s",
    "release s",
    "select 1; select 2",
    "select 1; begin; select 2",
    "insert into {t} values (5); commit; insert into {t} values (6)",
    "select 1; select 1/0; select 3",
    "select 1/0",
    "selec",
    "select count(*), sum(n) from {t}",
    "insert into {t} values (1), (2)",
    "update {t} set n = n + 1",
    "delete from {t} where n > 3",
    "select n from {t} order by n",
    "set local datestyle = 'German'",
    "set datestyle = 'SQL, DMY'",
    "reset datestyle",
    "set timezone = 'Asia/Tokyo'",
    "select '2024-08-15'::date, '2024-08-15 12:00+00'::timestamptz",
    "do $$ begin raise notice 'told'; end $$",
    "select repeat('x', 20000)",
    "declare k cursor for select n from generate_series(1, 9) n",
    "fetch 3 from k",
];
/// Statements to prepare, each with as many parameters as it says.
const PREPARED: [(&str, usize); 18] = [
    ("select 1", 0),
    ("select $1::int + 1", 1),
    ("select $1::text || $2::text", 2),
    ("select n from generate_series(1, 7) n", 0),
    ("select n, $1::text from generate_series(1, 4) n", 1),
    ("insert into {t} values ($1)", 1),
    ("insert into {t} values (7) returning n", 0),
    ("select count(*) from {t}", 0),
    ("update {t} set n = $1 where n = $2", 2),
    ("select 1/0", 0),
    ("selec $1", 1),
    ("select * from nowhere", 0),
    ("begin", 0),
    ("commit", 0),
    ("rollback", 0),
    ("show datestyle", 0),
    ("do $$ begin raise warning 'w'; end $$", 0),
    ("values (null::int), (3)", 0),
];
/// Since this release a simple query behind an Execute without a Sync breaks the session (18.4).
const BROKEN_BY_MIXING: u32 = 18;
const VALUES: [&str; 6] = ["\"1\"", "\"42\"", "\"x\"", "null", "\"\"", "\"3\""];

struct Writer {
    dice: Dice,
    text: String,
    /// Prefix and table of the client that speaks.
    who: char,
    /// How many parameters the statement of each name takes, as far as anyone can tell.
    arity: [usize; NAMES.len()],
    /// The release it is for.
    major: u32,
    /// An Execute went out, and no Sync since.
    executed: bool,
    /// The unnamed portal was bound in this batch.
    bound: bool,
}

/// The conversation of this seed, as a file of the corpus; with `clients` connections.
#[must_use]
pub fn text(seed: u64, clients: usize) -> String {
    text_for(version::major(), seed, clients)
}

fn text_for(major: u32, seed: u64, clients: usize) -> String {
    let (dice, arity) = (Dice(seed), [0; NAMES.len()]);
    let mut writer = Writer { dice, text: String::new(), who: 'A', arity, major, executed: false, bound: false };
    let _ = writeln!(writer.text, "# The conversation of seed {seed} with {clients} clients");
    let _ = writeln!(writer.text, "setup \"create table ta (n int)\" \"create table tb (n int)\"");
    let rounds = 3 + writer.dice.below(8);
    for _ in 0..rounds {
        writer.who = if writer.dice.below(clients) == 0 { 'A' } else { 'B' };
        for _ in 0..1 + writer.dice.below(9) {
            writer.something();
        }
        writer.line("mark");
    }
    writer.text
}

/// The conversation of this seed.
#[must_use]
pub fn conversation(seed: u64, clients: usize) -> Conversation {
    let text = text(seed, clients);
    read(&format!("seed {seed}"), &text).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{text}"))
}

/// As little of the conversation as still `differs`: steps are left out as long as that is so.
#[must_use]
pub fn smallest(talk: &Conversation, differs: impl Fn(&Conversation) -> bool) -> Conversation {
    let mut talk = talk.clone();
    let mut size = talk.steps.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < talk.steps.len() {
            let mut less = talk.clone();
            less.steps.drain(at..(at + size).min(talk.steps.len()));
            if !less.steps.is_empty() && differs(&less) {
                talk = less;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    talk
}

/// The lines of `text` that `talk`'s steps came from.
#[must_use]
pub fn lines(text: &str, talk: &Conversation) -> String {
    let kept = |(at, line): (usize, &str)| {
        let is_header = line.starts_with('#') || line.starts_with("setup");
        (is_header || talk.steps.iter().any(|step| step.line == at + 1)).then(|| format!("{line}\n"))
    };
    text.lines().enumerate().filter_map(kept).collect()
}

impl Writer {
    fn line(&mut self, said: &str) {
        match said.split(' ').next() {
            Some("once") => (self.executed, self.bound) = (true, true),
            Some("execute") => self.executed = true,
            Some("query" | "call") => {
                if self.executed && self.major >= BROKEN_BY_MIXING {
                    self.line("sync");
                }
                self.bound = false;
            }
            Some("sync" | "mark") => (self.executed, self.bound) = (false, false),
            Some(_) | None => {}
        }
        let table = if self.who == 'A' { "ta" } else { "tb" };
        let _ = writeln!(self.text, "{}: {}", self.who, said.replace("{t}", table));
    }

    fn something(&mut self) {
        match self.dice.below(26) {
            0..=4 => {
                let sql = *self.dice.of(&SIMPLE);
                self.line(&format!("query \"{sql}\""));
            }
            5..=7 => self.parse(),
            8..=11 => self.bind(),
            12 | 13 => {
                let most = self.dice.below(4);
                let portal = *self.dice.of(if self.bound { &PORTALS } else { &PORTALS[1..] });
                self.line(&format!("execute {portal} {most}"));
            }
            14 | 15 => self.named("describe"),
            16 => self.named("close"),
            17..=19 => self.line("sync"),
            20 => self.line("flush"),
            21 => self.line("send"),
            22 => {
                let (sql, _) = *self.dice.of(&PREPARED);
                self.line(&format!("once \"{sql}\""));
            }
            23 => self.copy_in(),
            24 => self.rare(),
            _ => self.copy_out(),
        }
    }

    fn parse(&mut self) {
        let name = self.dice.below(NAMES.len());
        let (sql, arity) = *self.dice.of(&PREPARED);
        self.arity[name] = arity;
        // A name that is taken is refused: mostly it is given back before.
        if self.dice.below(3) > 0 {
            self.line(&format!("close S {}", NAMES[name]));
        }
        self.line(&format!("parse {} \"{sql}\"", NAMES[name]));
    }

    fn bind(&mut self) {
        let name = self.dice.below(NAMES.len());
        let count = if self.dice.below(12) == 0 { self.dice.below(3) } else { self.arity[name] };
        let values: Vec<&str> = (0..count).map(|_| *self.dice.of(&VALUES)).collect();
        let portal = *self.dice.of(&PORTALS);
        let most = if self.dice.below(3) == 0 { 1 + self.dice.below(3) } else { 0 };
        self.line(&format!("bind {portal} {} {}", NAMES[name], values.join(" ")));
        self.bound |= portal == PORTALS[0];
        if self.dice.below(6) == 0 {
            self.line(&format!("describe P {portal}"));
        }
        self.line(&format!("execute {portal} {most}"));
    }

    fn named(&mut self, what: &str) {
        if self.dice.below(3) == 0 {
            let portal = *self.dice.of(&PORTALS);
            self.line(&format!("{what} P {portal}"));
        } else {
            let name = *self.dice.of(&NAMES);
            self.line(&format!("{what} S {name}"));
        }
    }

    /// COPY from the client, with its rows behind it whatever becomes of it.
    fn copy_in(&mut self) {
        let table = if self.dice.below(6) == 0 { "nowhere" } else { "{t}" };
        let said = if self.dice.below(2) == 0 { "query" } else { "once" };
        self.line(&format!("{said} \"copy {table} from stdin\""));
        for _ in 0..self.dice.below(4) {
            let row = *self.dice.of(&["1\\n", "2\\n3\\n", "x\\n", "4", "\\n"]);
            self.line(&format!("data \"{row}\""));
            if self.dice.below(5) == 0 {
                self.line("flush");
            }
        }
        let end = if self.dice.below(5) == 0 { "fail \"no\"" } else { "done" };
        self.line(end);
        if said == "once" {
            self.line("sync");
        }
    }

    fn copy_out(&mut self) {
        let said = if self.dice.below(2) == 0 { "query" } else { "once" };
        let what = *self.dice.of(&["select n from {t} order by n", "select 1 / (2 - n) from generate_series(1, 3) n"]);
        self.line(&format!("{said} \"copy ({what}) to stdout\""));
    }

    fn rare(&mut self) {
        let said = *self.dice.of(&[
            "call \"abs(int4)\" \"-7\"",
            "call \"abs(int4)\" \"x\"",
            "query \"begin; set local timezone = 'UTC'; select '2024-08-15 12:00+00'::timestamptz; commit\"",
            "done",
            "data \"late\\n\"",
        ]);
        self.line(said);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_makes_the_same_conversation_and_every_one_can_be_read() {
        assert_eq!(text_for(18, 7, 2), text_for(18, 7, 2));
        for seed in 0..500 {
            assert!(!conversation(seed, 1 + usize::from(seed % 2 == 0)).steps.is_empty());
        }
    }

    #[test]
    fn what_breaks_postgresql_is_not_said() {
        for seed in 0..500 {
            let text = text_for(BROKEN_BY_MIXING, seed, 1);
            let (mut executed, mut bound) = (false, false);
            for said in text.lines().filter_map(|line| line.strip_prefix("A: ")) {
                match said.split(' ').next().expect("a line has a word") {
                    "query" | "call" => {
                        assert!(!executed, "seed {seed}: {said}");
                        bound = false;
                    }
                    "sync" | "mark" => (executed, bound) = (false, false),
                    "bind" => bound |= said.starts_with("bind \"\" "),
                    "once" => (executed, bound) = (true, true),
                    "execute" => {
                        executed = true;
                        assert!(bound || !said.starts_with("execute \"\" "), "seed {seed}: {said}");
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn a_conversation_that_finds_something_is_made_smaller_until_every_step_is_needed() {
        let talk = conversation(3, 1);
        let syncs =
            |talk: &Conversation| talk.steps.iter().filter(|step| matches!(step.act, crate::corpus::Act::Mark)).count();
        assert!(syncs(&talk) >= 2);
        let small = smallest(&talk, |talk| syncs(talk) >= 2);
        assert_eq!(small.steps.len(), 2, "{}", lines(&text(3, 1), &small));
    }
}
