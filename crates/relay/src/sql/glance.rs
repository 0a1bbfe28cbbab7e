//! The hot path: whether a text needs no reading, in a few instructions per sixteen bytes.
//!
//! Plain is a text that begins with a word of everyday and has no second statement, no call of a function with such a name,
//! and no `temp`. What is not plain is not suspicious yet: it is read.

/// There is a parenthesis.
const PAREN: u8 = 1;
/// There is a semicolon.
const SEMICOLON: u8 = 2;
/// There is `mp`, as in `temp`.
const MP: u8 = 4;

/// Bytes looked at together: what the machines we run on compare at once without asking for more.
const LANES: usize = 16;

/// Whether a text certainly leaves the session as it is.
pub(crate) fn is_plain(text: &[u8]) -> bool {
    if !begins_plainly(text) {
        return false;
    }
    let marks = marks(text);
    marks == 0 || is_harmless(text, marks)
}

/// The first words that do nothing to a session by themselves, by their first letters (what a longer word means, no server knows).
fn begins_plainly(text: &[u8]) -> bool {
    let text = if text.first().is_some_and(u8::is_ascii_whitespace) { text.trim_ascii_start() } else { text };
    let Some(start) = text.first_chunk::<8>() else { return is_short_and_plain(text) };
    let word = u64::from_le_bytes(*start) | 0x2020_2020_2020_2020;
    let six = word & 0xffff_ffff_ffff;
    if six == first(b"select") {
        return true;
    }
    let five = word & 0xff_ffff_ffff;
    let four = word & 0xffff_ffff;
    if six == first(b"update") {
        return !may_update_settings(text);
    }
    if five == first(b"with ") {
        return !names_settings(text); // an UPDATE may follow
    }
    six == first(b"insert")
        || six == first(b"delete")
        || six == first(b"commit")
        || word == first(b"rollback")
        || five == first(b"begin")
        || five == first(b"start")
        || five == first(b"fetch")
        || four == first(b"copy")
        || four == first(b"show")
        || four == first(b"save")
        || six == first(b"values")
        || six == first(b"releas")
}

/// Whether an UPDATE may be one of `pg_settings`, which sets them. What is updated mostly stands behind the word at once, and is
/// another table.
fn may_update_settings(text: &[u8]) -> bool {
    let (space, table) = (text.get(6), text.get(7..10).unwrap_or_default());
    let other =
        space == Some(&b' ') && table.iter().all(u8::is_ascii_alphanumeric) && !table.eq_ignore_ascii_case(b"onl");
    !other && names_settings(text)
}

fn names_settings(text: &[u8]) -> bool {
    let name = b"pg_settings";
    memchr::memchr2_iter(b'p', b'P', text)
        .any(|at| text.get(at..at + name.len()).is_some_and(|word| word.eq_ignore_ascii_case(name)))
}

/// A text too short for anything that matters; `end` and `begin` are among them.
fn is_short_and_plain(text: &[u8]) -> bool {
    ["begin", "end", "commit", "abort"].iter().any(|word| text.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

/// Up to eight letters as a number.
const fn first(word: &[u8]) -> u64 {
    let (mut number, mut at) = (0, 0);
    while at < word.len() && at < 8 {
        number |= (word[at] as u64) << (8 * at);
        at += 1;
    }
    number
}

fn marks(text: &[u8]) -> u8 {
    const STEP: usize = LANES + 1; // `mp` may stand across two pieces: the byte behind a piece is seen with it
    let Some(last) = text.last_chunk::<STEP>() else { return marks_of_short(text) };
    let mut found = [0_u8; LANES];
    let mut rest = text;
    while let Some(piece) = rest.first_chunk::<STEP>() {
        mark(&mut found, piece);
        rest = &rest[LANES..];
    }
    mark(&mut found, last);
    if u128::from_ne_bytes(found) == 0 { 0 } else { found.iter().fold(0, |all, one| all | one) }
}

fn marks_of_short(text: &[u8]) -> u8 {
    let mut piece = [0; LANES + 1];
    piece[..text.len()].copy_from_slice(text);
    let mut found = [0_u8; LANES];
    mark(&mut found, &piece);
    found.iter().fold(0, |all, one| all | one)
}

/// Looks at all but the last byte of a piece, which is looked at as the next of the one before. Written without a branch, so that
/// all lanes are compared at once.
#[inline]
fn mark(found: &mut [u8; LANES], piece: &[u8; LANES + 1]) {
    let (here, next): (&[u8; LANES], &[u8; LANES]) =
        (piece[..LANES].try_into().unwrap_or(&[0; LANES]), piece[1..].try_into().unwrap_or(&[0; LANES]));
    for lane in 0..LANES {
        let paren = if here[lane] == b'(' { PAREN } else { 0 };
        let semicolon = if here[lane] == b';' { SEMICOLON } else { 0 };
        let m = if here[lane] | 0x20 == b'm' { MP } else { 0 };
        let p = if next[lane] | 0x20 == b'p' { MP } else { 0 };
        found[lane] |= paren | semicolon | (m & p);
    }
}

/// Whether what was marked means nothing.
fn is_harmless(text: &[u8], marks: u8) -> bool {
    if marks & SEMICOLON != 0
        && let Some(at) = memchr::memchr(b';', text)
        && text[at..].iter().any(|byte| !matches!(byte, b';' | b' ' | b'\n' | b'\r' | b'\t' | 0))
    {
        return false;
    }
    if marks & MP != 0 && text.windows(4).any(|four| four.eq_ignore_ascii_case(b"temp")) {
        return false;
    }
    if marks & PAREN != 0 {
        // the functions that matter are set_config, pg_advisory_lock and pg_advisory_unlock, or hide behind U&"
        for at in memchr::memchr2_iter(b'_', b'&', text) {
            let before = if at > 0 { text[at - 1] | 0x20 } else { 0 };
            let after = text.get(at + 1).copied().unwrap_or(0);
            let suspicious = match text[at] {
                b'&' => after == b'"',
                _ => matches!((before, after | 0x20), (b't', b'c') | (b'y', b'l' | b'u')),
            };
            if suspicious {
                return false;
            }
        }
    }
    true
}
