//! What is too long to be read: whether it says `set` at all.
//!
//! A setting of the client's own that PostgreSQL does not list is made by SET or `set_config`; statements of that size are data,
//! and those that say neither need no doubt.

/// Whether bytes hold the word `set`, or `set_config`, in any case; the bytes may begin and end in the middle of a word.
pub(crate) fn says_set(bytes: &[u8]) -> bool {
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
    memchr::memchr2_iter(b's', b'S', bytes).any(|at| {
        let (before, word) = (&bytes[..at], &bytes[at..]);
        let Some((three, behind)) = word.split_first_chunk::<3>() else { return false };
        let ends = !behind.first().is_some_and(in_name) || behind.starts_with(b"_");
        three.eq_ignore_ascii_case(b"set") && !before.last().is_some_and(in_name) && ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_found_wherever_it_begins_and_no_other() {
        for text in ["set a = 1", ";SET a", "x; Set", "select SET_CONFIG(", "a.set_config", "set/**/a"] {
            assert!(says_set(text.as_bytes()), "{text}");
        }
        for text in ["", "s", "se", "select", "offset", "settings", "sets", "reset_at", "asset 1", "('s','e','t')"] {
            assert!(!says_set(text.as_bytes()), "{text}");
        }
    }
}
