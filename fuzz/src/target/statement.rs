//! What a statement reads as without its values: any bytes read as something bounded that holds no value, reads as itself, and
//! does not heed what stands around it.

use poolwarden_relay::{MAX_QUERY, MAX_ROUTE, Reading};

/// So much of a text is read; what stands before it moves its end.
const MOST: usize = 16_000;

pub(crate) fn run(data: &[u8]) {
    let reading = Reading::of(data);
    assert!(reading.text.len() <= MAX_QUERY && !reading.text.contains(char::is_control), "{:?}", reading.text);
    assert!(reading.fingerprint != 0 || reading.text.is_empty());
    if let Some(route) = &reading.route {
        assert!((1..=MAX_ROUTE).contains(&route.name.len()) && !route.name.contains(char::is_control), "{route:?}");
    }
    if !data.contains(&b'"') {
        holds_no_value(&reading.text);
    }
    let shown_whole = reading.text.len() < MAX_QUERY - 3;
    if shown_whole
        && std::str::from_utf8(data).is_ok_and(|text| !text.contains(|c: char| c.is_control() && !c.is_ascii()))
    {
        assert_eq!(Reading::of(reading.text.as_bytes()).fingerprint, reading.fingerprint, "{:?}", reading.text);
    }
    if data.len() < MOST {
        let after = [b"/* a 'b */ -- \"c\n\t", data].concat();
        assert_eq!(Reading::of(&after).fingerprint, reading.fingerprint, "{:?}", reading.text);
    }
}

/// Without quoted names no quote is left, and no digit but in a name.
fn holds_no_value(text: &str) {
    assert!(!text.contains('\''), "{text:?}");
    let mut before = ' ';
    for c in text.chars() {
        let in_name = before.is_ascii_alphanumeric() || matches!(before, '_' | '$') || !before.is_ascii();
        assert!(!c.is_ascii_digit() || in_name, "{text:?}");
        before = c;
    }
}
