//! Sentences put together from pieces. A refusal must cost little, because many come at once: each text is one allocation and a few
//! copies, a tenth of what the formatting machinery takes.

use std::time::Duration;

/// Room for any sentence but a server's own long words.
const USUAL: usize = 256;

/// A piece of a sentence.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Piece<'a> {
    /// As it is.
    Text(&'a str),
    /// In decimal digits.
    Number(u32),
    /// As people write it: 850ms, 2s, 41s, 12m.
    Span(Duration),
}

impl<'a> From<&'a str> for Piece<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<u32> for Piece<'_> {
    fn from(number: u32) -> Self {
        Self::Number(number)
    }
}

impl From<Duration> for Piece<'_> {
    fn from(span: Duration) -> Self {
        Self::Span(span)
    }
}

/// All pieces, one behind the other.
pub(crate) fn compose(pieces: &[Piece<'_>]) -> String {
    let mut text = String::with_capacity(USUAL);
    for piece in pieces {
        match *piece {
            Piece::Text(piece) => text.push_str(piece),
            Piece::Number(number) => push_number(&mut text, number.into()),
            Piece::Span(span) => push_span(&mut text, span),
        }
    }
    text
}

/// A sentence from texts, numbers and durations.
macro_rules! sentence {
    ($($piece:expr),+ $(,)?) => {
        $crate::refusal::sentence::compose(&[$($crate::refusal::sentence::Piece::from($piece)),+])
    };
}
pub(crate) use sentence;

fn push_number(text: &mut String, number: u64) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    let digit = u32::try_from(number % 10).ok().and_then(|digit| char::from_digit(digit, 10));
    text.extend(digit); // the rest of a division by ten always is one
}

fn push_span(text: &mut String, span: Duration) {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let (number, unit) = match millis {
        0..1000 => (millis, "ms"),
        1000..120_000 => (millis / 1000, "s"),
        _ => (millis / 60_000, "m"),
    };
    push_number(text, number);
    if (1000..10_000).contains(&millis) && !millis.is_multiple_of(1000) {
        text.push('.');
        push_number(text, millis % 1000 / 100);
    }
    text.push_str(unit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_stand_one_behind_the_other() {
        let size: u32 = 20;
        assert_eq!(
            sentence!["size=", size, " waited=", Duration::from_millis(850), " end"],
            "size=20 waited=850ms end"
        );
        assert_eq!(sentence![0_u32, " ", 10_u32, " ", u32::MAX], "0 10 4294967295");
    }

    #[test]
    fn durations_are_told_as_people_write_them() {
        for (millis, told) in [
            (0, "0ms"),
            (999, "999ms"),
            (1000, "1s"),
            (1050, "1.0s"),
            (3100, "3.1s"),
            (9999, "9.9s"),
            (10_000, "10s"),
            (41_700, "41s"),
            (119_999, "119s"),
            (120_000, "2m"),
            (739_000, "12m"),
        ] {
            assert_eq!(sentence![Duration::from_millis(millis)], told);
        }
        assert_eq!(sentence![Duration::MAX], "307445734561825m", "the longest there is");
    }
}
