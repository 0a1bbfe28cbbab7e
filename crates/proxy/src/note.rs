//! Things worth a log line that happen at the edge, bounded and folded where they arise.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use poolwarden_switch::{Idler, IdlerEnd};

/// A remark about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What kind: `login`, `tls`, `accept`, `protocol`, `console`, `idle in transaction`.
    pub kind: &'static str,
    /// What happened.
    pub text: String,
    /// From where, if that is known.
    pub from: Option<SocketAddr>,
    /// How often the same was said since the last look.
    pub times: u64,
}

impl Note {
    /// A transaction in which nothing happens.
    pub(crate) fn of_idler(idler: &Idler) -> Self {
        let pid = idler.pid.map_or(String::new(), |pid| format!(", pid {pid}"));
        let end = match idler.end {
            IdlerEnd::Warned => "",
            IdlerEnd::Ended => "; ended, because others wait (60s rule)",
            IdlerEnd::Spared => "; would have been ended, because others wait (60s rule; guard = \"observe\")",
        };
        let text = format!(
            "pool \"{}\", user \"{}\": idle in transaction for {}s (application \"{}\"{pid}){end}",
            idler.key.database,
            idler.key.user,
            idler.idle.as_secs(),
            idler.application,
        );
        Self { kind: "idle in transaction", text, from: idler.remote, times: 1 }
    }
}

/// Different notes kept until somebody looks; more are counted as one of kind `dropped`.
const MOST: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<VecDeque<Note>>);

impl Notes {
    pub(crate) fn add(&self, kind: &'static str, text: impl Into<String>, from: Option<SocketAddr>) {
        let text = text.into();
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = notes.iter_mut().find(|note| note.kind == kind && note.text == text);
        if let Some(same) = same {
            same.times += 1;
        } else if notes.len() < MOST {
            notes.push_back(Note { kind, text, from, times: 1 });
        } else if let Some(last) = notes.back_mut() {
            *last = Note {
                kind: "dropped",
                text: "more notes than are kept".into(),
                from: None,
                times: if last.kind == "dropped" { last.times + 1 } else { 2 },
            };
        }
    }

    pub(crate) fn take(&self) -> Vec<Note> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}
