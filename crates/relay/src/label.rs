//! What a statement says of itself in a comment at its end, as sqlcommenter writes it: `/*poolwarden_class='batch',route='/cart'*/`.
//!
//! Only the last kilobyte is looked at, once per text that is known again (see `reading`). How a request is to be treated counts
//! where it begins a request of a client without a server connection; statements that have not come whole by then say nothing.

use std::sync::Arc;
use std::time::Duration;

use poolwarden_pgwire::frame::HEADER;
use poolwarden_pgwire::read;
use poolwarden_pgwire::tag::client as tag;

use crate::client::Client;
use crate::statement::{Texts, What};

/// How much of a text's end is looked at.
pub(crate) const MOST: usize = 1024;

/// Most bytes of a route that are kept.
pub const MAX_ROUTE: usize = 100;

/// How a statement wants to be treated, by its own word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// `poolwarden_class`: of which class it is.
    pub class: Option<Box<str>>,
    /// `poolwarden_deadline_ms`: how long it may wait.
    pub deadline: Option<Duration>,
}

/// All that a text says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) label: Option<Arc<Label>>,
    pub(crate) route: Option<Arc<str>>,
}

impl Client {
    /// What the statement says of itself that begins `input`, the requests of a client without a server connection.
    #[inline]
    #[must_use]
    pub fn label(&self, texts: &mut Texts, input: &[u8]) -> Option<Arc<Label>> {
        let (&[kind, a, b, c, d], rest) = input.split_first_chunk::<HEADER>()?;
        let body = rest.get(..(u32::from_be_bytes([a, b, c, d]) as usize).checked_sub(4)?)?;
        let silent = match kind {
            tag::QUERY => body.len().checked_sub(2).is_none_or(|last| !may_end(body[last])),
            // without parameter types, which is how most drivers prepare
            tag::PARSE => matches!(body, [.., last, 0, 0, 0] if !may_end(*last)),
            tag::BIND => !texts.is_labelled() && !body.starts_with(&[0, 0]),
            _ => true, // a byte, not an enum of ours: no other message has a statement
        };
        if silent { None } else { self.read_label(texts, kind, body) }
    }

    #[cold]
    fn read_label(&self, texts: &mut Texts, kind: u8, body: &[u8]) -> Option<Arc<Label>> {
        let text = match kind {
            tag::QUERY => body.strip_suffix(&[0])?,
            tag::PARSE => read::parse(body)?.text,
            _ => {
                let name = read::bind(body)?.statement;
                if !name.is_empty() {
                    return match &self.named(name)?.what {
                        What::Shared(statement) => statement.about.reading.label.clone(),
                        What::Pinned(_) => None,
                    };
                }
                self.bound(name)?
            }
        };
        texts.read(text, || self.dialect()).label.clone()
    }
}

/// Whether a text that ends in this byte may end in a comment; a NUL is no end of a text, and says nothing.
fn may_end(last: u8) -> bool {
    matches!(last, b'/' | b';' | 0) || last.is_ascii_whitespace()
}

/// What a whole text says of itself.
pub(crate) fn read_text(text: &[u8]) -> Said {
    let Some(comment) = last_comment(text) else { return Said::default() };
    let (mut label, mut route) = (Label::default(), None);
    for (key, value) in comment.split(',').filter_map(|pair| pair.split_once('=')) {
        let value = value.trim().strip_prefix('\'').and_then(|value| value.strip_suffix('\''));
        let Some(value) = value.and_then(decoded) else { continue };
        match decoded(key.trim()).as_deref() {
            Some("poolwarden_class") => label.class = Some(value.into()),
            Some("poolwarden_deadline_ms") => label.deadline = value.parse().ok().map(Duration::from_millis),
            Some("route") => route = clean(&value),
            Some(_) | None => {}
        }
    }
    Said { label: (label != Label::default()).then(|| Arc::new(label)), route }
}

/// The comment a text ends in, if that is short.
fn last_comment(text: &[u8]) -> Option<&str> {
    let end = &text[text.len().saturating_sub(MOST)..];
    let is_blank = |byte: &u8| *byte == b';' || byte.is_ascii_whitespace();
    let end = &end[..end.iter().rposition(|byte| !is_blank(byte))? + 1];
    let inner = end.strip_suffix(b"*/")?;
    let begin = memchr::memmem::rfind(inner, b"/*")? + 2;
    std::str::from_utf8(&inner[begin..]).ok()
}

/// A route for people: on one line, and no longer than [`MAX_ROUTE`]; `None` where nothing is left.
fn clean(route: &str) -> Option<Arc<str>> {
    let mut kept = String::with_capacity(route.len().min(MAX_ROUTE));
    for c in route.trim().chars().filter(|c| !c.is_control()) {
        if kept.len() + c.len_utf8() > MAX_ROUTE {
            break;
        }
        kept.push(c);
    }
    (!kept.is_empty()).then(|| kept.into())
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
    use crate::sql::Dialect;
    use crate::statement::About;

    fn read(text: &str) -> (Option<String>, Option<u64>) {
        let label = read_text(text.as_bytes()).label;
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
    fn a_route_is_read_for_people() {
        let route = |text: &str| read_text(text.as_bytes()).route.map(|route| route.to_string());
        assert_eq!(route("select 1 /*route='%2Fcart%2F:id',poolwarden_class='x'*/").as_deref(), Some("/cart/:id"));
        assert_eq!(route("select 1 /*action='x', route='it\\'s%0A%1b[31m'*/").as_deref(), Some("it's[31m"));
        assert_eq!(route("select 1 /*route='%ff'*/"), None);
        assert_eq!(route("select 1 /*route=' %0a'*/"), None);
        assert_eq!(route("select 1 /*Route='x'*/ -- and more"), None);
        let long = route(&format!("select 1 /*route='{}'*/", "é".repeat(80))).unwrap();
        assert_eq!((long.len(), long.chars().count()), (MAX_ROUTE, MAX_ROUTE / 2));
        assert_eq!(read_text(b"select 1 /*route='/cart'*/").label, None, "it asks for nothing");
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
        let class = |client: &Client, texts: &mut Texts, input: &[u8]| {
            client.label(texts, input).and_then(|label| label.class.clone()).map(String::from)
        };
        let mut input = Vec::new();
        make::query(&mut input, tagged);
        assert_eq!(class(&client, &mut texts, &input).as_deref(), Some("batch"));
        assert_eq!(class(&client, &mut texts, &input[..input.len() - 1]), None, "it has not come whole");
        for types in [&[][..], &[23], &[0], &[0x2a2f_0000, 0]] {
            let mut input = Vec::new();
            make::parse(&mut input, "", tagged, types);
            assert_eq!(class(&client, &mut texts, &input).as_deref(), Some("batch"), "{types:?}");
            let mut input = Vec::new();
            make::parse(&mut input, "", "select 1", types);
            assert_eq!(class(&client, &mut texts, &input), None, "{types:?}");
        }
        let about = About { reading: texts.read(tagged.as_bytes(), Dialect::default), touch: None };
        texts.share(0, &[tagged.as_bytes(), b"\0\0\0"].concat(), about).unwrap().prove();
        let mut prepare = Vec::new();
        make::parse(&mut prepare, "a", tagged, &[]);
        assert_eq!(client.answer_alone(&mut texts, &prepare, &mut Vec::new()).unwrap(), prepare.len());
        assert_eq!(class(&client, &mut texts, b"B\0\0\0\x0d\0a\0\0\0\0\0\0\0").as_deref(), Some("batch"));
        assert_eq!(class(&client, &mut texts, b"B\0\0\0\x0d\0b\0\0\0\0\0\0\0"), None);
        client.keep_unnamed(&mut texts, &[tagged.as_bytes(), b"\0\0\0"].concat(), 0).unwrap();
        assert_eq!(class(&client, &mut Texts::new(0, 0), b"B\0\0\0\x0c\0\0\0\0\0\0\0\0").as_deref(), Some("batch"));
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
