//! Things worth a log line that happen at the edge, bounded and folded where they arise.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

/// A remark about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What kind: `login`, `tls`, `accept`, `protocol`, `console`.
    pub kind: &'static str,
    /// What happened.
    pub text: String,
    /// From where, if that is known.
    pub from: Option<SocketAddr>,
    /// How often the same was said since the last look.
    pub times: u64,
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
