//! Numbers and lines as people read them.

use std::fmt::Write;

/// A length of time in microseconds, with two digits that count: `850 us`, `1.3 s`, `4m 12s`.
#[must_use]
pub fn span(us: f64) -> String {
    span_us(us)
}

/// `text` without line breaks and control characters: what comes from a client must not move the cursor of who looks.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

pub(super) fn span_us(us: f64) -> String {
    let ms = us / 1_000.0;
    if !us.is_finite() {
        "for ever".to_owned()
    } else if us < 1_000.0 {
        format!("{us:.0} us")
    } else if ms < 9.95 {
        format!("{ms:.1} ms")
    } else if ms < 999.5 {
        format!("{ms:.0} ms")
    } else if ms < 9_950.0 {
        format!("{:.1} s", ms / 1_000.0)
    } else {
        whole_seconds((ms / 1_000.0).round() as u64)
    }
}

pub(super) fn span_ms(ms: u64) -> String {
    span_us(ms as f64 * 1_000.0)
}

fn whole_seconds(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {:02}m", seconds / 3_600, seconds % 3_600 / 60),
        86_400.. => format!("{}d {:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A rate: whole above ten, with one digit behind the point below.
pub(super) fn rate(per_second: f64) -> String {
    if per_second == 0.0 || per_second.abs() >= 9.95 {
        format!("{per_second:.0}/s")
    } else {
        format!("{per_second:.1}/s")
    }
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// `1 connection`, `2 connections`.
pub(super) fn count(number: impl Into<u64>, of: &str) -> String {
    let number = number.into();
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}

pub(super) fn size(size: Option<u32>) -> String {
    size.map_or("unlimited".to_owned(), |size| size.to_string())
}

/// `text` in at most `most` characters, its end cut off. Line breaks and control characters become spaces: what comes from a
/// client must not move the cursor of who looks.
pub(super) fn cut(text: &str, most: usize) -> String {
    let mut plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let head: String = plain.by_ref().take(most).collect();
    if plain.next().is_none() {
        return head;
    }
    let kept: String = head.chars().take(most.saturating_sub(2)).collect();
    format!("{}..", kept.trim_end())
}

/// A heading of its own width, and beside it the text, broken at spaces.
pub(crate) fn paragraph(out: &mut String, heading: &str, text: &str, width: usize) {
    const MARGIN: usize = 10; // the longest heading, two spaces before it and one behind
    let room = width.saturating_sub(MARGIN).max(20);
    for (at, line) in broken(text, room).iter().enumerate() {
        let heading = if at == 0 { heading } else { "" };
        // Writing to a String does not fail.
        let _ = writeln!(out, "  {heading:<7} {line}");
    }
}

/// Lines of at most `room` characters; a word that is longer is cut to pieces.
fn broken(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut length = 0;
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().filter(|c| !c.is_control()).collect();
        for piece in letters.chunks(room) {
            let space = usize::from(length > 0);
            if length + space + piece.len() > room {
                lines.push(String::new());
                length = 0;
            } else if space == 1 {
                lines.last_mut().map(|line| line.push(' ')).unwrap_or_default();
                length += 1;
            }
            lines.last_mut().map(|line| line.extend(piece)).unwrap_or_default();
            length += piece.len();
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_digits_that_count() {
        let table = [
            (0.0, "0 us"),
            (850.0, "850 us"),
            (1_340.0, "1.3 ms"),
            (45_600.0, "46 ms"),
            (999_600.0, "1.0 s"),
            (9_940_000.0, "9.9 s"),
            (12_400_000.0, "12 s"),
            (252_000_000.0, "4m 12s"),
            (7_380_000_000.0, "2h 03m"),
            (180_000_000_000.0, "2d 02h"),
            (f64::INFINITY, "for ever"),
        ];
        for (us, said) in table {
            assert_eq!(span_us(us), said);
        }
        assert_eq!([rate(0.0), rate(0.34), rate(9.96), rate(412.3)], ["0/s", "0.3/s", "10/s", "412/s"]);
    }

    #[test]
    fn what_a_client_says_neither_breaks_lines_nor_moves_the_cursor() {
        assert_eq!(cut("a\nb\u{1b}[2Jc", 20), "a b [2Jc");
        assert_eq!(cut("0123456789", 10), "0123456789");
        assert_eq!(cut("01234567 901", 10), "01234567..");
        assert_eq!(cut("éééééééééééé", 4), "éé..");
    }

    #[test]
    fn a_paragraph_keeps_to_its_width() {
        let mut out = String::new();
        paragraph(&mut out, "cause", &format!("one two {} three four five six", "y".repeat(70)), 60);
        assert!(out.lines().all(|line| line.chars().count() <= 60), "{out}");
        assert!(out.starts_with("  cause   one two\n          yyy"), "{out}");
        assert_eq!(out.matches('y').count(), 70);
    }
}
