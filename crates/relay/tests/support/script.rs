//! What a client sends: frontend messages, and points where it waits for every answer so far.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use poolwarden_pgwire::make;

use super::backend::Backend;
use super::reply::put;

/// A client's side of a conversation.
#[derive(Clone, Default)]
pub struct Script {
    /// What its startup packet asked for.
    pub settings: Vec<(&'static str, &'static str)>,
    /// Bytes between two waits.
    pub parts: Vec<Vec<u8>>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.settings, self.parts.iter().map(|part| asked(part)).collect::<Vec<_>>().join(" | "))
    }
}

/// What a script meets when it talks to one backend alone.
#[derive(Debug, Default)]
pub struct Direct {
    /// Everything that came back.
    pub replies: Vec<u8>,
    /// How much had come back at the end of each part.
    pub marks: Vec<usize>,
    pub closed: bool,
}

/// One message of a client.
pub fn message(make: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    make(&mut out);
    out
}

impl Script {
    pub fn new() -> Self {
        Self { settings: vec![], parts: vec![vec![]] }
    }

    /// A client that logged in with these settings.
    pub fn with(settings: &[(&'static str, &'static str)]) -> Self {
        Self { settings: settings.to_vec(), ..Self::new() }
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.parts.last_mut().unwrap().extend_from_slice(bytes);
        self
    }

    fn add(mut self, make: impl FnOnce(&mut Vec<u8>)) -> Self {
        make(self.parts.last_mut().unwrap());
        self
    }

    /// Waits until everything so far has been answered.
    pub fn wait(mut self) -> Self {
        self.parts.push(vec![]);
        self
    }

    pub fn query(self, sql: &str) -> Self {
        self.add(|out| make::query(out, sql))
    }

    pub fn parse(self, name: &str, sql: &str) -> Self {
        self.add(|out| make::parse(out, name, sql, &[]))
    }

    pub fn bind(self, portal: &str, statement: &str) -> Self {
        self.add(|out| bind(out, portal, statement))
    }

    pub fn describe(self, kind: u8, name: &str) -> Self {
        self.add(|out| make::describe(out, kind, name))
    }

    pub fn execute(self, portal: &str, limit: u32) -> Self {
        self.add(|out| put(out, b'E', &[portal.as_bytes(), b"\0", &limit.to_be_bytes()]))
    }

    /// Bind and Execute of a statement through the unnamed portal.
    pub fn run(self, statement: &str) -> Self {
        self.bind("", statement).execute("", 0)
    }

    /// Parse of the unnamed statement, Bind, Execute.
    pub fn once(self, sql: &str) -> Self {
        self.parse("", sql).run("")
    }

    pub fn close(self, kind: u8, name: &str) -> Self {
        self.add(|out| make::close(out, kind, name))
    }

    pub fn sync(self) -> Self {
        self.add(make::sync)
    }

    pub fn flush(self) -> Self {
        self.add(make::flush)
    }

    pub fn data(self, row: &str) -> Self {
        self.add(|out| put(out, b'd', &[row.as_bytes()]))
    }

    pub fn done(self) -> Self {
        self.add(|out| put(out, b'c', &[]))
    }

    pub fn fail(self) -> Self {
        self.add(|out| make::copy_fail(out, "no more"))
    }

    pub fn function(self, oid: u32) -> Self {
        self.add(|out| put(out, b'F', &[&oid.to_be_bytes(), &[0; 6]]))
    }

    /// Talks to one backend of its own.
    pub fn direct(&self) -> Direct {
        self.direct_to(&Rc::new(Cell::new(1)))
    }

    pub fn direct_to(&self, catalog: &Rc<Cell<u16>>) -> Direct {
        let mut backend = Backend::new(catalog.clone(), &self.settings);
        let mut direct = Direct::default();
        for part in &self.parts {
            backend.receive(part);
            direct.replies.append(&mut backend.output());
            direct.marks.push(direct.replies.len());
        }
        direct.closed = backend.closed;
        direct
    }
}

pub fn bind(out: &mut Vec<u8>, portal: &str, statement: &str) {
    put(out, b'B', &[portal.as_bytes(), b"\0", statement.as_bytes(), b"\0", &[0, 0, 0, 0, 0, 0]]);
}

/// A client's messages as text.
fn asked(mut messages: &[u8]) -> String {
    let mut told = Vec::new();
    while messages.len() >= 5 {
        let length = u32::from_be_bytes(messages[1..5].try_into().unwrap()) as usize + 1;
        let Some(message) = messages.get(..length) else { break };
        let body = String::from_utf8_lossy(&message[5..]).trim_end_matches('\0').replace('\0', ",");
        told.push(if body.is_empty() {
            char::from(message[0]).to_string()
        } else {
            format!("{}({body})", char::from(message[0]))
        });
        messages = &messages[length..];
    }
    told.join(" ")
}

/// The replies as text: one tag per message, with SQLSTATE, command or status where there is one.
pub fn tell(mut replies: &[u8]) -> String {
    let mut told = Vec::new();
    while replies.len() >= 5 {
        let length = u32::from_be_bytes(replies[1..5].try_into().unwrap()) as usize + 1;
        let Some(message) = replies.get(..length) else { break };
        let (tag, body) = (char::from(message[0]), String::from_utf8_lossy(&message[5..]).into_owned());
        told.push(match tag {
            'E' | 'N' => format!("{tag}({})", body.split('\0').find_map(|field| field.strip_prefix('C')).unwrap_or("")),
            'C' => format!("C({})", body.trim_end_matches('\0')),
            'S' => format!("S({})", body.trim_end_matches('\0').replace('\0', "=")),
            'Z' => format!("Z{body}"),
            'D' if message.len() < 80 => format!("D({})", String::from_utf8_lossy(&message[11.min(message.len())..])),
            _ => tag.to_string(),
        });
        replies = &replies[length..];
    }
    if !replies.is_empty() {
        told.push(format!("+{} bytes", replies.len()));
    }
    told.join(" ")
}
