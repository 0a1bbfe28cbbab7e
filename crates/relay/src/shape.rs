//! What texts have in common that differ in plain numbers and strings alone: a hash, found in a few instructions per byte, so that
//! such texts need not be read again.
//!
//! Texts of one shape read alike. The contrary is not promised: whatever is not quite simple has no shape.

use crate::reading::{fold, fold_all};

/// A longer text is read instead.
const MOST: usize = 2048;
/// Where a number stood, and where a string.
const NUMBER: u64 = 0x6e75_6d62_6572_0001;
const STRING: u64 = 0x7374_7269_6e67_0002;
const START: u64 = 0x2545_f491_4f6c_dd1d;

/// What a byte may begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Nothing,
    Digit,
    Quote,
    Name,
    Dollar,
    Minus,
    Slash,
    Backslash,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Nothing; 256];
    let mut digit = b'0';
    while digit <= b'9' {
        classes[digit as usize] = Class::Digit;
        digit += 1;
    }
    classes[b'\'' as usize] = Class::Quote;
    classes[b'"' as usize] = Class::Name;
    classes[b'$' as usize] = Class::Dollar;
    classes[b'-' as usize] = Class::Minus;
    classes[b'/' as usize] = Class::Slash;
    classes[b'\\' as usize] = Class::Backslash;
    classes
};

/// The shape of a text; `None`: it must be read.
pub(crate) fn shape(text: &[u8]) -> Option<u64> {
    if text.len() > MOST {
        return None;
    }
    let (mut hash, mut run, mut at) = (START, 0, 0);
    while let Some(next) = text[at..].iter().position(|byte| CLASSES[usize::from(*byte)] != Class::Nothing) {
        at += next;
        let value = match CLASSES[usize::from(text[at])] {
            Class::Nothing => None,
            Class::Digit if is_in_name(text, at) => None,
            Class::Digit => Some((number(text, at)?, NUMBER)),
            Class::Quote => Some((string(text, at)?, STRING)),
            Class::Name => {
                at += 1 + memchr::memchr(b'"', &text[at + 1..])?;
                None
            }
            Class::Dollar if !is_in_name(text, at) && text.get(at + 1)?.is_ascii_digit() => None,
            Class::Minus if text.get(at + 1) != Some(&b'-') => None,
            Class::Slash if text.get(at + 1) != Some(&b'*') => None,
            Class::Slash => {
                at = comment(text, at)? - 1;
                None
            }
            Class::Dollar | Class::Minus | Class::Backslash => return None,
        };
        at += 1;
        if let Some((end, kind)) = value {
            hash = fold(fold_all(hash, &text[run..at - 1]), kind);
            (run, at) = (end, end);
        }
    }
    Some(fold_all(hash, &text[run..]))
}

/// Whether what stands at `at` goes on with a name or a parameter.
fn is_in_name(text: &[u8], at: usize) -> bool {
    let before = if at > 0 { text[at - 1] } else { b' ' };
    before.is_ascii_alphanumeric() || matches!(before, b'_' | b'$') || before >= 0x80
}

/// Where a number of nothing but digits ends.
fn number(text: &[u8], at: usize) -> Option<usize> {
    let end = at + text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let goes_on = text.get(end).is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
    (!goes_on).then_some(end)
}

/// Where a string ends in which nothing is escaped.
fn string(text: &[u8], at: usize) -> Option<usize> {
    if is_in_name(text, at) || text[..at].last() == Some(&b'&') {
        return None;
    }
    let mut end = at;
    loop {
        let close = end + 1 + memchr::memchr2(b'\'', b'\\', &text[end + 1..])?;
        if text[close] == b'\\' {
            return None;
        }
        end = close + 1;
        if text.get(end) != Some(&b'\'') {
            return Some(end);
        }
    }
}

/// Where a comment without another one in it ends.
fn comment(text: &[u8], at: usize) -> Option<usize> {
    let length = memchr::memmem::find(&text[at + 2..], b"*/")?;
    let inner = &text[at + 2..at + 2 + length];
    memchr::memmem::find(inner, b"/*").is_none().then_some(at + 2 + length + 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fingerprint::normalised;
    use crate::fingerprint::tests::text;
    use crate::sql::Dialect;

    fn same(one: &str, other: &str) -> bool {
        let shape = shape(one.as_bytes());
        shape.is_some() && shape == self::shape(other.as_bytes())
    }

    #[test]
    fn texts_that_differ_in_plain_values_have_one_shape() {
        for (one, other) in [
            ("select 1", "select 23456"),
            ("select a from t1 where b='x' and \"C 1\"=$1", "select a from t1 where b='it''s' and \"C 1\"=$1"),
            ("a=1.5,b=-2", "a=22.25,b=-3"),
            ("x /* a'1 */ 5", "x /* a'1 */ 7"),
            ("1", "22"),
        ] {
            assert!(same(one, other), "{one} | {other}");
        }
    }

    #[test]
    fn what_reads_differently_has_no_common_shape() {
        for (one, other) in [
            ("select a1", "select a2"),
            ("select \"a1\"", "select \"a2\""),
            ("select $1", "select $2"), // they read alike, but it is not worth finding out
            ("select 1", "select 1 /*route='/x'*/"),
            ("select 1 /*route='/x'*/", "select 1 /*route='/y'*/"),
            ("select 1", "select '1'"),
            ("select e'a'", "select e'b'"),
            ("select 0x1", "select 00x1"),
            ("select 'a\\'", "select 'b\\'"),
            ("select $$1$$", "select $$2$$"),
            ("select 1 -- x", "select 2 -- x"),
            ("select 'a", "select 'b"),
        ] {
            assert!(!same(one, other), "{one} | {other}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn texts_of_one_shape_read_alike(text in text(), digits in "[0-9]{1,4}", word in "[a-z ]{0,4}") {
            let numbered: String = text.split_inclusive(|c: char| !c.is_ascii_digit()).map(|part| {
                let end = part.trim_start_matches(|c: char| c.is_ascii_digit());
                if end.len() < part.len() { format!("{digits}{end}") } else { part.to_owned() }
            }).collect();
            for other in [numbered, text.replace("'a'", &format!("'{word}'")), text.replace("''", "'x'")] {
                if same(&text, &other) {
                    let normal = |text: &str| normalised(text.as_bytes(), Dialect::default());
                    prop_assert_eq!(normal(&text), normal(&other), "{} | {}", text, other);
                }
            }
        }
    }
}
