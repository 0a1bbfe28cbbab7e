//! A server's message as one line, with everything in it but what differs from run to run.
//!
//! What is left out, and nothing else: process ids and cancel secrets (their length stays), numbers of objects
//! made since `initdb`; the place in PostgreSQL's source is shown and not compared. Values beyond 200 bytes are told by
//! length and checksum. Before PostgreSQL 14, reports of a parameter that tell no other value (`oracle`).

use std::collections::hash_map::DefaultHasher;
use std::fmt::Write;
use std::hash::{Hash, Hasher};

use crate::corpus::Depth;

/// Objects made by tests have numbers from here on.
const FIRST_NORMAL_OID: u32 = 16_384;
/// A value longer than this is told by its checksum.
const LONG: usize = 200;
/// What stands before the place in PostgreSQL's source.
pub const PLACE: &str = " @";

/// The line for one message.
#[must_use]
pub fn line(tag: u8, body: &[u8], depth: Depth) -> String {
    let mut reader = Reader { rest: body };
    let told = match tag {
        b'T' => columns(&mut reader),
        b'D' => row(&mut reader),
        b't' => {
            let count = reader.short();
            (0..count).map(|_| oid(reader.long())).collect::<Vec<_>>().join(" ")
        }
        b'E' | b'N' => return format!("{}({}", char::from(tag), error(&mut reader, depth)),
        b'S' => format!("{}={}", reader.text(), reader.text()),
        b'K' => {
            reader.long();
            let secret = std::mem::take(&mut reader.rest);
            format!("process and a secret of {} bytes", secret.len())
        }
        b'A' => {
            reader.long();
            format!("process {} {:?}", reader.text(), reader.text())
        }
        b'G' | b'H' | b'W' => {
            let overall = reader.byte();
            let count = reader.short();
            let formats = (0..count).map(|_| reader.short().to_string()).collect::<Vec<_>>().join("");
            format!("{overall}:{formats}")
        }
        b'V' => reader.value(),
        b'v' => {
            let minor = reader.long();
            let count = reader.long();
            let options = (0..count).map(|_| reader.text()).collect::<Vec<_>>().join(" ");
            format!("{minor} {options}")
        }
        b'C' => reader.text(),
        b'Z' | b'd' => shown(std::mem::take(&mut reader.rest)),
        // The rest has no body, and whatever stands in one after all is compared as it is.
        _ => shown(std::mem::take(&mut reader.rest)),
    };
    // What follows the fields of a message is no part of the protocol: it shows as a difference.
    let left = if reader.rest.is_empty() { String::new() } else { format!(" and {}", shown(reader.rest)) };
    if told.is_empty() && left.is_empty() { name(tag).to_string() } else { format!("{}({told}{left})", name(tag)) }
}

/// Both lines are the same but for the place in PostgreSQL's source: a statement that had to be prepared again on another
/// connection may be refused by another routine with the same words.
#[must_use]
pub fn agree(one: &str, other: &str) -> bool {
    let said = |line: &str| line.split_once(PLACE).map_or(line.len(), |(said, _)| said.len());
    one[..said(one)] == other[..said(other)]
}

fn name(tag: u8) -> char {
    char::from(tag)
}

fn columns(reader: &mut Reader<'_>) -> String {
    let count = reader.short();
    let columns = (0..count).map(|_| {
        let name = reader.text();
        let (table, number) = (oid(reader.long()), reader.short());
        let (kind, size, modifier, format) = (oid(reader.long()), reader.short(), reader.long(), reader.short());
        // Sizes and modifiers are signed.
        let (size, modifier) = (size.cast_signed(), modifier.cast_signed());
        format!("{name:?} {table}.{number} {kind}/{size}/{modifier}/{format}")
    });
    columns.collect::<Vec<_>>().join(", ")
}

fn row(reader: &mut Reader<'_>) -> String {
    let count = reader.short();
    (0..count).map(|_| reader.value()).collect::<Vec<_>>().join(", ")
}

/// All fields by letter; file, line and routine behind the closing bracket, because it is not compared.
fn error(reader: &mut Reader<'_>, depth: Depth) -> String {
    let mut told = String::new();
    let mut place = String::new();
    while let Some(field) = Some(reader.byte()).filter(|field| *field != 0) {
        let text = reader.text();
        let letter = char::from(field);
        let target = if "FLR".contains(letter) { &mut place } else { &mut told };
        if depth == Depth::Whole || "SVC".contains(letter) {
            // Writing to a String cannot fail.
            let _ = write!(target, "{}{letter}={}", if target.is_empty() { "" } else { " " }, pids_hidden(&text));
        }
    }
    let left = if reader.rest.is_empty() { String::new() } else { format!(" and {}", shown(reader.rest)) };
    if place.is_empty() { format!("{told}{left})") } else { format!("{told}{left}){PLACE}{place}") }
}

/// `process 1234`, `PID 1234` without the number.
fn pids_hidden(text: &str) -> String {
    let mut told = text.to_string();
    for before in ["process ", "PID ", "pid "] {
        let mut from = 0;
        while let Some(at) = told[from..].find(before).map(|at| from + at + before.len()) {
            let digits = told[at..].bytes().take_while(u8::is_ascii_digit).count();
            told.replace_range(at..at + digits, if digits > 0 { "?" } else { "" });
            from = at;
        }
    }
    told
}

fn oid(number: u32) -> String {
    if number < FIRST_NORMAL_OID { number.to_string() } else { "own".to_string() }
}

fn shown(bytes: &[u8]) -> String {
    if bytes.len() > LONG {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        return format!("{} bytes {:016x}", bytes.len(), hasher.finish());
    }
    bytes.escape_ascii().to_string()
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Fewer where the message is cut short: what is missing shows as zero, and as a difference.
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn short(&mut self) -> u16 {
        self.take(2).iter().fold(0, |number, byte| number << 8 | u16::from(*byte))
    }

    fn long(&mut self) -> u32 {
        self.take(4).iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
    }

    fn text(&mut self) -> String {
        let end = self.rest.iter().position(|byte| *byte == 0).unwrap_or(self.rest.len());
        let text = self.take(end);
        self.take(1);
        shown(text)
    }

    fn value(&mut self) -> String {
        match usize::try_from(self.long().cast_signed()) {
            Err(_) => "null".to_string(),
            Ok(length) => format!("'{}'", shown(self.take(length))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_every_field_and_its_place_is_shown_and_not_compared() {
        let body = b"SERROR\0VERROR\0C22012\0Mdivision by process 12\0Fint.c\0L1\0Rf\0\0";
        let whole = line(b'E', body, Depth::Whole);
        assert_eq!(whole, "E(S=ERROR V=ERROR C=22012 M=division by process ?) @F=int.c L=1 R=f");
        assert!(agree(&whole, "E(S=ERROR V=ERROR C=22012 M=division by process ?)"));
        assert!(agree(&whole, "E(S=ERROR V=ERROR C=22012 M=division by process ?) @F=other.c L=2 R=g"));
        assert!(!agree(&whole, "E(S=ERROR V=ERROR C=22012 M=division) @F=int.c L=1 R=f"));
        assert_eq!(line(b'E', body, Depth::Code), "E(S=ERROR V=ERROR C=22012)");
    }

    #[test]
    fn bytes_behind_a_message_show() {
        assert_eq!(line(b'C', b"SELECT 1\0", Depth::Whole), "C(SELECT 1)");
        assert_eq!(line(b'C', b"SELECT 1\0x", Depth::Whole), "C(SELECT 1 and x)");
        assert_eq!(line(b'D', &[0, 1, 0, 0, 0, 1, b'7', 9], Depth::Whole), "D('7' and \\t)");
        assert_eq!(line(b'2', b"", Depth::Whole), "2");
    }

    #[test]
    fn numbers_of_own_objects_are_left_out_and_types_are_not() {
        let column = [b"\0\x01a\0\0\0\x40\x01\0\x02", &[0, 0, 0, 23, 0, 4, 255, 255, 255, 255, 0, 0][..]].concat();
        assert_eq!(line(b'T', &column, Depth::Whole), "T(\"a\" own.2 23/4/-1/0)");
    }
}
