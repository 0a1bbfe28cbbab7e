//! What a statement says of itself in a comment at its end, as sqlcommenter writes it: `/*poolwarden_class='batch'*/`.
//!
//! Looked at is only what begins a request of a client without a server connection, only where its text ends in a comment, and
//! only the last kilobyte; a text that is kept is looked at once. Statements that have not come whole by then say nothing.

use std::sync::Arc;
use std::time::Duration;

use poolwarden_pgwire::frame::HEADER;
use poolwarden_pgwire::read;
use poolwarden_pgwire::tag::client as tag;

use crate::client::Client;
use crate::statement::{Texts, What};

/// How much of a text's end is looked at.
const MOST: usize = 1024;

/// What a statement says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// `poolwarden_class`: of which class it is.
    pub class: Option<Box<str>>,
    /// `poolwarden_deadline_ms`: how long it may wait.
    pub deadline: Option<Duration>,
}

impl Client {
    /// What the statement says of itself that begins `input`, the requests of a client without a server connection.
    #[inline]
    #[must_use]
    pub fn label(&self, texts: &Texts, input: &[u8]) -> Option<Arc<Label>> {
        let (&[kind, a, b, c, d], rest) = input.split_first_chunk::<HEADER>()?;
        let body = rest.get(..(u32::from_be_bytes([a, b, c, d]) as usize).checked_sub(4)?)?;
        let silent = match kind {
            tag::QUERY => body.len().checked_sub(2).is_none_or(|last| !may_end(body[last])),
            // without parameter types, which is how most drivers prepare
            tag::PARSE => matches!(body, [.., last, 0, 0, 0] if !may_end(*last)),
            tag::BIND => !texts.is_labelled() && !body.starts_with(&[0, 0]),
            _ => true, // a byte, not an enum of ours: no other message has a statement
        };
        if silent { None } else { self.read_label(kind, body) }
    }

    #[cold]
    fn read_label(&self, kind: u8, body: &[u8]) -> Option<Arc<Label>> {
        match kind {
            tag::QUERY => read_text(body.strip_suffix(&[0])?),
            tag::PARSE => read_text(read::parse(body)?.text),
            _ => {
                let name = read::bind(body)?.statement;
                if name.is_empty() {
                    return read_text(self.bound(name)?);
                }
                match &self.named(name)?.what {
                    What::Shared(statement) => statement.label.clone(),
                    What::Pinned(_) => None,
                }
            }
        }
    }
}

/// Whether a text that ends in this byte may end in a comment; a NUL is no end of a text, and says nothing.
fn may_end(last: u8) -> bool {
    matches!(last, b'/' | b';' | 0) || last.is_ascii_whitespace()
}

/// What a whole text says of itself.
pub(crate) fn read_text(text: &[u8]) -> Option<Arc<Label>> {
    let end = &text[text.len().saturating_sub(MOST)..];
    let is_blank = |byte: &u8| *byte == b';' || byte.is_ascii_whitespace();
    let end = &end[..end.iter().rposition(|byte| !is_blank(byte))? + 1];
    let inner = end.strip_suffix(b"*/")?;
    let begin = memchr::memmem::rfind(inner, b"/*")? + 2;
    let comment = std::str::from_utf8(&inner[begin..]).ok()?;
    let mut label = Label::default();
    for (key, value) in comment.split(',').filter_map(|pair| pair.split_once('=')) {
        let value = value.trim().strip_prefix('\'').and_then(|value| value.strip_suffix('\''));
        let Some(value) = value.and_then(decoded) else { continue };
        match decoded(key.trim()).as_deref() {
            Some("poolwarden_class") => label.class = Some(value.into()),
            Some("poolwarden_deadline_ms") => label.deadline = value.parse().ok().map(Duration::from_millis),
            Some(_) | None => {}
        }
    }
    (label != Label::default()).then(|| Arc::new(label))
}

/// A text whose bytes may be written `%2F`; `None` where that is no text. A backslash stands before a quote, as sqlcommenter puts it.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut left = text.as_bytes();
    while let Some((first, rest)) = left.split_first() {
        let hex = (*first == b'%').then(|| rest.get(..2).and_then(|pair| std::str::from_utf8(pair).ok())).flatten();
        match (first, hex.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (_, Some(byte)) => {
                bytes.push(byte);
                left = &rest[2..];
            }
            (b'\\', None) if rest.first() == Some(&b'\'') => left = rest,
            (byte, None) => {
                bytes.push(*byte);
                left = rest;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// A span as PostgreSQL writes one in a setting: a number, and a unit or none (then milliseconds). `None`: none, or no limit.
#[must_use]
pub fn span(text: &str) -> Option<Duration> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic() && c != 'e').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let micros = match unit {
        "us" => 1.0,
        "" | "ms" => 1e3,
        "s" => 1e6,
        "min" => 60e6,
        "h" => 3600e6,
        "d" => 86_400e6,
        _ => return None,
    };
    let number: f64 = number.trim().parse().ok()?;
    let millis = (number * micros / 1e3).round(); // PostgreSQL keeps whole milliseconds
    (1.0..=f64::from(i32::MAX)).contains(&millis).then(|| Duration::from_secs_f64(millis / 1e3))
}

#[cfg(test)]
mod tests {
    use poolwarden_pgwire::make;

    use super::*;

    fn read(text: &str) -> (Option<String>, Option<u64>) {
        let label = read_text(text.as_bytes());
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap();
        label.map_or((None, None), |label| (label.class.as_deref().map(str::to_owned), label.deadline.map(millis)))
    }

    #[test]
    fn a_comment_at_the_end_is_read_as_sqlcommenter_writes_it() {
        let batch = || Some("batch".to_owned());
        for (text, class, deadline) in [
            ("select 1 /*poolwarden_class='batch'*/", batch(), None),
            ("select 1/*poolwarden_deadline_ms='500'*/ ;\n", None, Some(500)),
            (
                "select 1 /* a */ /*action='%2Fx',poolwarden_class='bat%63h', poolwarden_deadline_ms='9'*/;",
                batch(),
                Some(9),
            ),
            ("/*poolwarden_class='batch'*/", batch(), None),
            ("select 1 /*poolwarden_class='it%27s'*/", Some("it's".into()), None),
            ("select 1 /*poolwarden_class='it\\'s'*/", Some("it's".into()), None),
        ] {
            assert_eq!(read(text), (class, deadline), "{text}");
        }
    }

    #[test]
    fn what_is_no_such_comment_says_nothing() {
        let far = format!("select 1 /*poolwarden_class='batch',x='{}'*/", "y".repeat(2000));
        for text in [
            "",
            "*/",
            ";;",
            "select 1",
            "/*poolwarden_class='batch'*/ select 1",
            "select 1 /*poolwarden_class=batch*/",
            "select 1 /*poolwarden_class='batch*/",
            "select 1 /*poolwarden_deadline_ms='soon'*/",
            "select 1 /*poolwarden_deadline_ms='-1'*/",
            "select 1 /*class='batch'*/",
            "select 1 /*poolwarden_class='%ff'*/",
            "select '/*poolwarden_class=''batch''*/'",
            &far,
        ] {
            assert_eq!(read(text), (None, None), "{text}");
        }
    }

    #[test]
    fn the_first_statement_is_found_in_every_kind_of_request() {
        let tagged = "select 1 /*poolwarden_class='batch'*/";
        let (mut texts, mut client) = (Texts::new(0, 1 << 20), Client::default());
        let class = |client: &Client, texts: &Texts, input: &[u8]| {
            client.label(texts, input).and_then(|label| label.class.clone()).map(String::from)
        };
        let mut input = Vec::new();
        make::query(&mut input, tagged);
        assert_eq!(class(&client, &texts, &input).as_deref(), Some("batch"));
        assert_eq!(class(&client, &texts, &input[..input.len() - 1]), None, "it has not come whole");
        for types in [&[][..], &[23], &[0], &[0x2a2f_0000, 0]] {
            let mut input = Vec::new();
            make::parse(&mut input, "", tagged, types);
            assert_eq!(class(&client, &texts, &input).as_deref(), Some("batch"), "{types:?}");
            let mut input = Vec::new();
            make::parse(&mut input, "", "select 1", types);
            assert_eq!(class(&client, &texts, &input), None, "{types:?}");
        }
        texts.share(0, &[tagged.as_bytes(), b"\0\0\0"].concat(), None).unwrap().prove();
        let mut prepare = Vec::new();
        make::parse(&mut prepare, "a", tagged, &[]);
        assert_eq!(client.answer_alone(&mut texts, &prepare, &mut Vec::new()).unwrap(), prepare.len());
        assert_eq!(class(&client, &texts, b"B\0\0\0\x0d\0a\0\0\0\0\0\0\0").as_deref(), Some("batch"));
        assert_eq!(class(&client, &texts, b"B\0\0\0\x0d\0b\0\0\0\0\0\0\0"), None);
        client.keep_unnamed(&mut texts, &[tagged.as_bytes(), b"\0\0\0"].concat(), 0).unwrap();
        assert_eq!(class(&client, &Texts::new(0, 0), b"B\0\0\0\x0c\0\0\0\0\0\0\0\0").as_deref(), Some("batch"));
    }

    #[test]
    fn spans_are_read_as_postgresql_reads_them() {
        let millis = |text| span(text).map(|span| span.as_millis());
        for (text, expected) in [
            ("5s", Some(5000)),
            ("500ms", Some(500)),
            ("1min", Some(60_000)),
            (" 2 h ", Some(7_200_000)),
            ("1d", Some(86_400_000)),
            ("250", Some(250)),
            ("1.5s", Some(1500)),
            ("2e3", Some(2000)),
            ("1500us", Some(2)),
            ("0", None),
            ("", None),
            ("-1", None),
            ("5 weeks", None),
            ("99999d", None),
            ("nan", None),
            ("inf", None),
        ] {
            assert_eq!(millis(text), expected, "{text}");
        }
    }
}
