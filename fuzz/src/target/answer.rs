//! A server that answers what it is asked in the simplest right way: no rows, no errors; BEGIN opens, COMMIT and ROLLBACK end.
//! The relay's own question about what a transaction left behind is answered with rows: every setting has some value, and
//! what pins is there every other time.

use std::collections::VecDeque;

use poolwarden_pgwire::frame::{self, HEADER};
use poolwarden_pgwire::make::Column;
use poolwarden_pgwire::{make, read};

/// What has been asked and not answered.
#[derive(Default)]
pub(crate) struct Answering {
    input: Vec<u8>,
    owed: VecDeque<Vec<u8>>,
    open: bool,
    /// The last text that was parsed, for Execute.
    parsed: Vec<u8>,
    asked: u32,
}

impl Answering {
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while let Ok(Some(header)) = frame::header(&self.input) {
            if self.input.len() < header.total() {
                return;
            }
            let rest = self.input.split_off(header.total());
            let message = std::mem::replace(&mut self.input, rest);
            let answer = self.answer(header.tag, &message[HEADER..]);
            if !answer.is_empty() {
                self.owed.push_back(answer);
            }
        }
    }

    /// The answer to the oldest request.
    pub(crate) fn one(&mut self) -> Vec<u8> {
        self.owed.pop_front().unwrap_or_default()
    }

    /// Every answer that is owed.
    pub(crate) fn all(&mut self) -> Vec<u8> {
        self.owed.drain(..).flatten().collect()
    }

    fn answer(&mut self, tag: u8, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match tag {
            b'Q' => {
                let text = body.strip_suffix(b"\0").unwrap_or(body).to_vec();
                self.run(&text, &mut out);
                make::ready(&mut out, self.status());
            }
            b'P' => {
                self.parsed = read::parse(body).map(|parse| parse.text.to_vec()).unwrap_or_default();
                make::parse_complete(&mut out);
            }
            b'B' => make::bind_complete(&mut out),
            b'C' => make::close_complete(&mut out),
            b'D' => {
                if body.first() == Some(&b'S') {
                    out.extend_from_slice(b"t\0\0\0\x06\0\0");
                }
                out.extend_from_slice(b"n\0\0\0\x04");
            }
            b'E' => {
                let text = std::mem::take(&mut self.parsed);
                self.run(&text, &mut out);
            }
            b'F' => {
                out.extend_from_slice(b"V\0\0\0\x08\xff\xff\xff\xff");
                make::ready(&mut out, self.status());
            }
            b'S' => make::ready(&mut out, self.status()),
            _ => {}
        }
        out
    }

    fn run(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(text);
        if ["SELECT 's',", "SELECT 'd',", "SELECT 'p',"].iter().any(|question| text.starts_with(question)) {
            return self.left_behind(&text, out);
        }
        let text = text.to_ascii_lowercase();
        let first = text.split(|c: char| !c.is_ascii_alphabetic()).find(|word| !word.is_empty()).unwrap_or_default();
        match first {
            "begin" => self.open = true,
            "commit" | "rollback" => self.open = false,
            _ => {}
        }
        if first.is_empty() {
            make::empty_query(out);
        } else {
            make::command_complete(out, &first.to_ascii_uppercase());
        }
    }

    fn left_behind(&mut self, question: &str, out: &mut Vec<u8>) {
        self.asked += 1;
        make::row_description(out, &["kind", "name", "value"].map(|name| Column { name, oid: 25, size: -1 }));
        for part in question.split(" UNION ALL ") {
            let mut quoted = part.split('\'').skip(1).step_by(2);
            match (quoted.next(), quoted.next()) {
                (Some("s"), Some(name)) => make::data_row(out, &[Some(b"s"), Some(name.as_bytes()), Some(b"x")]),
                (Some("p"), Some(name)) if self.asked.is_multiple_of(2) => {
                    make::data_row(out, &[Some(b"p"), Some(name.as_bytes()), None]);
                }
                _ => {}
            }
        }
        make::command_complete(out, "SELECT 1");
    }

    fn status(&self) -> u8 {
        if self.open { b'T' } else { b'I' }
    }
}
