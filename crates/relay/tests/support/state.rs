//! Session state of the model: what outlives a transaction, what the pooler asks of it, and statements named in SQL.

use poolwarden_relay::Settings;

use super::backend::{Backend, Block, Failure};
use super::command::{Asked, Command};
use super::reply::{complete, put};

/// The mark of a setting that was set in the session.
const SESSION: char = '!';

fn unknown(name: &str) -> Failure {
    ("26000", format!("prepared statement \"{name}\" does not exist"))
}

fn digits(value: &str) -> String {
    value.bytes().map(|byte| format!("{byte:02x}")).collect()
}

impl Backend {
    /// What the next client would find here although nobody knows of it.
    pub fn left_behind(&self, known: &Settings) -> Option<String> {
        let mut left: Vec<String> = self.state.iter().chain(&self.fixed).map(|name| (*name).to_owned()).collect();
        left.extend(
            self.sql.keys().filter(|name| !name.starts_with("poolwarden_")).map(|name| format!("prepare {name}")),
        );
        for (name, value) in self.settings.iter().filter(|(name, _)| !name.starts_with(SESSION)) {
            let expected = known.value(name).or_else(|| self.defaults.get(name).map(String::as_str)).unwrap_or("");
            if value != expected {
                left.push(format!("{name} is {value:?}, known as {expected:?}"));
            }
        }
        (!left.is_empty()).then(|| left.join(", "))
    }

    fn found(&self, name: &str) -> bool {
        if name == "prepare" {
            return self.sql.keys().any(|name| !name.starts_with("poolwarden_"));
        }
        self.state.contains(name) || self.fixed.contains(name)
    }

    fn answer(&mut self, asked: &[Asked]) {
        let mut rows: Vec<[Option<String>; 3]> = Vec::new();
        for one in asked {
            match one {
                Asked::Value(name) => {
                    rows.push([Some("s".into()), Some(name.clone()), self.settings.get(name).cloned()])
                }
                Asked::Differences(names) => {
                    let listed = |name: &str| !name.contains('.') && name != "role" && !name.starts_with(SESSION);
                    for (name, value) in self.settings.iter().filter(|(name, _)| listed(name)) {
                        let ours = self.settings.contains_key(&format!("{SESSION}{name}"));
                        if names.contains(name) || (names.is_empty() && ours) {
                            rows.push([Some("d".into()), Some(name.clone()), ours.then(|| value.clone())]);
                        }
                    }
                }
                Asked::State(name) if self.found(name) => rows.push([Some("p".into()), Some(name.clone()), None]),
                Asked::State(_) => {}
            }
        }
        for row in &rows {
            let mut body = vec![0, 3];
            for (number, value) in row.iter().enumerate() {
                let value = value.as_ref().map(|value| if number < 2 { value.clone() } else { digits(value) });
                match value {
                    Some(value) => {
                        body.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
                        body.extend_from_slice(value.as_bytes());
                    }
                    None => body.extend_from_slice(&u32::MAX.to_be_bytes()),
                }
            }
            put(&mut self.buffered, b'D', &[&body]);
        }
        complete(&mut self.buffered, &format!("SELECT {}", rows.len()));
    }

    pub(super) fn mark(&mut self, name: &str, ours: bool) {
        let mark = format!("{SESSION}{name}");
        if ours {
            self.settings.insert(mark, String::new());
        } else {
            self.settings.remove(&mark);
        }
    }

    pub(super) fn reset(&mut self, name: &str) {
        if name.starts_with(SESSION) || !(self.settings.contains_key(name) || name.contains('.')) {
            return;
        }
        let value = self.defaults.get(name).cloned().unwrap_or_default();
        self.settings.insert(name.into(), value);
        self.locals.remove(name);
        self.mark(name, false);
    }

    /// Tells that session state came or went.
    pub(super) fn done(&mut self, command: &Command) -> usize {
        if command.columns(1).is_some() {
            return self.rows(1, b"", 0, 0);
        }
        complete(&mut self.buffered, "DONE");
        0
    }

    /// Session state comes, goes, or is asked for.
    #[allow(clippy::wildcard_enum_match_arm, reason = "no other command is given to it")]
    pub(super) fn run_state(&mut self, command: &Command) -> Result<usize, Failure> {
        match command {
            Command::Probe(asked) => self.answer(asked),
            Command::ResetAll => {
                for name in self.settings.keys().filter(|name| *name != "role").cloned().collect::<Vec<_>>() {
                    self.reset(&name);
                }
                complete(&mut self.buffered, "RESET");
            }
            Command::Make(what, rolls_back) => {
                if *rolls_back {
                    self.state.insert(what);
                } else {
                    self.fixed.insert(what);
                }
                return Ok(self.done(command));
            }
            Command::Unmake(what) => {
                self.state.remove(what);
                self.fixed.remove(what);
                return Ok(self.done(command));
            }
            Command::State => {
                let mut found: Vec<&str> = self.state.iter().chain(&self.fixed).copied().collect();
                found.sort_unstable();
                return Ok(self.rows(1, found.join(" ").as_bytes(), 0, 0));
            }
            _ => panic!("{command:?} is another's"),
        }
        Ok(0)
    }

    /// PREPARE, EXECUTE and DEALLOCATE.
    #[allow(clippy::wildcard_enum_match_arm, reason = "no other command is given to it")]
    pub(super) fn run_named(&mut self, command: &Command, from: usize, limit: usize) -> Result<usize, Failure> {
        match command {
            Command::Prepare(name, what) => {
                if self.sql.contains_key(name) || self.statements.contains_key(name.as_bytes()) {
                    return Err(("42P05", format!("prepared statement \"{name}\" already exists")));
                }
                self.sql.insert(name.clone(), (**what).clone());
                complete(&mut self.buffered, "PREPARE");
            }
            Command::Execute(name) => {
                let plan = self.statements.get(name.as_bytes()).map(|plan| plan.command.clone());
                let Some(what) = self.sql.get(name).cloned().or(plan) else { return Err(unknown(name)) };
                return self.run(&what, from, limit);
            }
            Command::Deallocate(name) => {
                if self.sql.remove(name).is_none() && self.statements.remove(name.as_bytes()).is_none() {
                    return Err(unknown(name));
                }
                complete(&mut self.buffered, "DEALLOCATE");
            }
            _ => panic!("{command:?} is another's"),
        }
        Ok(0)
    }

    /// DISCARD ALL.
    pub(super) fn discard_all(&mut self) -> Result<usize, Failure> {
        if self.block != Block::None {
            return Err(("25001", "DISCARD ALL cannot run inside a transaction block".into()));
        }
        self.statements.clear();
        self.sql.clear();
        self.state.clear();
        self.fixed.clear();
        self.portals.clear();
        for name in self.settings.keys().cloned().collect::<Vec<_>>() {
            self.reset(&name);
        }
        complete(&mut self.buffered, "DISCARD ALL");
        Ok(0)
    }
}
