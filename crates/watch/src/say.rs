//! How numbers are said to people: three figures, a unit, nothing to decipher.

/// A length of time given in microseconds: `850 us`, `2.3 ms`, `41 s`, `12 min`, `3.5 h`.
#[must_use]
pub fn span(us: f64) -> String {
    let (value, unit) = match us {
        us if us < 1e3 => (us, "us"),
        us if us < 1e6 => (us / 1e3, "ms"),
        us if us < 120e6 => (us / 1e6, "s"),
        us if us < 7_200e6 => (us / 60e6, "min"),
        us => (us / 3_600e6, "h"),
    };
    if value < 10.0 && unit != "us" { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// A ratio as percent.
#[must_use]
pub fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}

/// A name or a statement in quotes, shortened; what is empty is said to be.
#[must_use]
pub fn quoted(text: &str) -> String {
    const MOST: usize = 80; // a line of a terminal has room for it and some words
    if text.is_empty() {
        return "a client without a name".to_owned();
    }
    let shown: String = text.chars().take(MOST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let more = if text.chars().count() > MOST { "..." } else { "" };
    format!("\"{shown}{more}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let said: Vec<String> = [0.0, 850.0, 2_340.0, 41e6, 12.0 * 60e6, 3.5 * 3_600e6].into_iter().map(span).collect();
        assert_eq!(said, ["0 us", "850 us", "2.3 ms", "41 s", "12 min", "3.5 h"]);
        assert_eq!(percent(0.974), "97 %");
        assert_eq!(quoted("a\nb"), "\"a b\"");
        assert_eq!(quoted(""), "a client without a name");
    }
}
