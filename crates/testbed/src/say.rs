//! The extended protocol, COPY and function calls as bytes, and what comes back as one line of text.
//!
//! A conversation is sent in one piece, so that a test can say anything in any order; the line has one
//! word per message, so that two servers' answers to the same bytes can be compared.

use std::io::{self, Read};
use std::time::Duration;

use crate::wire::{Fault, Message, Stream, Wire, broken, columns, message, notice, number, parameter, row};

/// What a client says, in order.
#[derive(Debug, Clone, Default)]
pub struct Say {
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Format codes, values and result formats: all text.
fn values(params: &[&str]) -> Vec<u8> {
    let mut body = vec![0, 0];
    body.extend(count(params.len()));
    for value in params {
        body.extend(i32::try_from(value.len()).expect("short").to_be_bytes());
        body.extend(value.as_bytes());
    }
    body.extend([0, 0]);
    body
}

fn count(number: usize) -> [u8; 2] {
    u16::try_from(number).expect("few").to_be_bytes()
}

impl Say {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Say {
        Say::default()
    }

    /// Any message.
    #[must_use]
    pub fn with(mut self, tag: u8, body: &[u8]) -> Say {
        self.bytes.extend(message(tag, body));
        self
    }

    /// A simple query.
    #[must_use]
    pub fn query(self, sql: &str) -> Say {
        self.with(b'Q', &[sql.as_bytes(), b"\0"].concat())
    }

    /// Parse, with no types given.
    #[must_use]
    pub fn parse(self, name: &str, sql: &str) -> Say {
        self.with(b'P', &[name.as_bytes(), b"\0", sql.as_bytes(), b"\0\0\0"].concat())
    }

    /// Bind with parameters as text.
    #[must_use]
    pub fn bind(self, portal: &str, name: &str, params: &[&str]) -> Say {
        self.with(b'B', &[portal.as_bytes(), b"\0", name.as_bytes(), b"\0", &values(params)].concat())
    }

    /// Describe; `kind` is `S` for a statement, `P` for a portal.
    #[must_use]
    pub fn describe(self, kind: char, name: &str) -> Say {
        self.named(b'D', kind, name)
    }

    /// Close; `kind` is `S` for a statement, `P` for a portal.
    #[must_use]
    pub fn close(self, kind: char, name: &str) -> Say {
        self.named(b'C', kind, name)
    }

    fn named(self, tag: u8, kind: char, name: &str) -> Say {
        self.with(tag, &[&[u8::try_from(kind).expect("a letter")], name.as_bytes(), b"\0"].concat())
    }

    /// Execute at most `most` rows, 0 for all.
    #[must_use]
    pub fn execute(self, portal: &str, most: i32) -> Say {
        self.with(b'E', &[portal.as_bytes(), b"\0", &most.to_be_bytes()].concat())
    }

    /// Bind and Execute of the unnamed portal.
    #[must_use]
    pub fn run(self, name: &str, params: &[&str]) -> Say {
        self.bind("", name, params).execute("", 0)
    }

    /// Parse, Bind and Execute without names.
    #[must_use]
    pub fn once(self, sql: &str) -> Say {
        self.parse("", sql).run("", &[])
    }

    /// Sync.
    #[must_use]
    pub fn sync(self) -> Say {
        self.with(b'S', b"")
    }

    /// Flush.
    #[must_use]
    pub fn flush(self) -> Say {
        self.with(b'H', b"")
    }

    /// A piece of COPY data.
    #[must_use]
    pub fn data(self, text: &str) -> Say {
        self.with(b'd', text.as_bytes())
    }

    /// CopyDone.
    #[must_use]
    pub fn done(self) -> Say {
        self.with(b'c', b"")
    }

    /// CopyFail.
    #[must_use]
    pub fn fail(self, why: &str) -> Say {
        self.with(b'f', &[why.as_bytes(), b"\0"].concat())
    }

    /// A function called by its number, arguments as text.
    #[must_use]
    pub fn call(self, function: u32, arguments: &[&str]) -> Say {
        self.with(b'F', &[&function.to_be_bytes()[..], &values(arguments)].concat())
    }

    /// What follows.
    #[must_use]
    pub fn then(mut self, more: &Say) -> Say {
        self.bytes.extend(&more.bytes);
        self
    }
}

impl Wire {
    /// Says it in one piece and reads up to the `readies`-th `ReadyForQuery`, as one line.
    #[track_caller]
    pub fn told(&mut self, say: &Say, readies: usize) -> String {
        self.send(&say.bytes).unwrap_or_else(|e| panic!("send: {e}"));
        tell(&self.readies(readies).unwrap_or_else(|e| panic!("receive: {e}")))
    }

    /// Reads up to the `count`-th `ReadyForQuery`.
    pub fn readies(&mut self, count: usize) -> Result<Vec<Message>, Fault> {
        let mut messages = Vec::new();
        let mut left = count;
        while left > 0 {
            let message = self.receive()?;
            left -= usize::from(message.0 == b'Z');
            messages.push(message);
        }
        Ok(messages)
    }

    /// Reads up to and with the first message of this tag.
    pub fn up_to(&mut self, tag: char) -> Result<Vec<Message>, Fault> {
        let mut messages = Vec::new();
        loop {
            let message = self.receive()?;
            let found = char::from(message.0) == tag;
            messages.push(message);
            if found {
                return Ok(messages);
            }
        }
    }

    /// All messages up to the end of the connection, as one line.
    #[track_caller]
    pub fn last_words(&mut self) -> String {
        let mut messages = Vec::new();
        loop {
            match self.receive() {
                Ok(message) => messages.push(message),
                Err(Fault::Closed) => return tell(&messages),
                Err(fault) => panic!("{fault} after {}", tell(&messages)),
            }
        }
    }

    /// Whether nothing comes for so long.
    #[track_caller]
    pub fn silent_for(&mut self, span: Duration) -> bool {
        self.patience(span).expect("a socket");
        let silent = match self.receive() {
            Err(Fault::Io(e)) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => true,
            Ok(_) | Err(_) => false,
        };
        self.patience(Duration::from_secs(60)).expect("a socket");
        silent
    }

    /// Reads what there is into `room`.
    pub fn read(&mut self, room: &mut [u8]) -> Result<usize, Fault> {
        let read = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(room),
            Stream::Unix(stream) => stream.read(room),
        };
        read.map_err(broken)
    }

    /// A second hand on the same connection, for a thread that writes while another reads.
    #[must_use]
    pub fn twin(&self) -> Wire {
        let stream = match &self.stream {
            Stream::Tcp(stream) => stream.try_clone().map(Stream::Tcp),
            Stream::Unix(stream) => stream.try_clone().map(Stream::Unix),
        };
        Wire { stream: stream.expect("a descriptor"), parameters: Vec::new(), key: self.key.clone() }
    }

    /// Ends the connection as a crashed machine does: with a reset, without a goodbye.
    pub fn reset(self) {
        if let Stream::Tcp(stream) = &self.stream {
            rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).expect("a socket");
        }
    }
}

/// The messages as one line: a word each, errors by their SQLSTATE.
#[must_use]
pub fn tell(messages: &[Message]) -> String {
    let words: Vec<String> = messages.iter().map(|(tag, body)| word(*tag, body)).collect();
    words.join(" ")
}

fn word(tag: u8, body: &[u8]) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_string();
    let told = match tag {
        b'E' => {
            let notice = notice(body);
            if notice.severity == "FATAL" { format!("FATAL {}", notice.code) } else { notice.code }
        }
        b'N' => notice(body).message,
        b'T' => columns(body).join(","),
        b'D' => {
            let values = row(body).unwrap_or_default();
            values.into_iter().map(|value| value.unwrap_or_else(|| "null".to_string())).collect::<Vec<_>>().join(",")
        }
        b'S' => {
            let (name, value) = parameter(body);
            format!("{name}={value}")
        }
        b'C' | b'd' | b'V' => text(body),
        b'A' => text(body.get(4..).unwrap_or_default()).replace('\0', "="),
        b'Z' => return format!("Z{}", text(body)),
        b't' => number(&[&[0, 0], body.get(..2).unwrap_or_default()].concat())
            .map_or_else(|e| e.to_string(), |n| n.to_string()),
        _ => return char::from(tag).to_string(),
    };
    format!("{}({told})", char::from(tag))
}
