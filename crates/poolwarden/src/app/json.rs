//! The one piece of JSON this binary writes by itself: a quoted text.

use std::fmt::Write;

/// `text` as a JSON string, on one line, without control characters.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control.is_control() => {
                let mut units = [0; 2];
                for unit in control.encode_utf16(&mut units) {
                    // Writing to a string does not fail.
                    write!(out, "\\u{unit:04x}").unwrap_or_default();
                }
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_backslashes_and_control_characters_are_escaped() {
        assert_eq!(quote("a \"b\" \\ c\nd\u{1}\u{85}é"), "\"a \\\"b\\\" \\\\ c\\nd\\u0001\\u0085é\"");
    }
}
