//! PgBouncer's connection strings: `key=value key='value with ''quotes'''`, as in `[databases]`, `[users]` and `[peers]`.
//!
//! As in PgBouncer: blanks around `=` are allowed, values are never empty, only blanks separate, the last of a key counts.

use super::ini::{Spot, Word};

/// One `key=value`; the value's place includes its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) key: Word,
    pub(crate) value: Word,
}

/// What is wrong, where, and what to write.
pub(crate) type Fault = (Spot, String, String);

/// Splits a connection string.
pub(crate) fn pairs(string: &Word) -> Result<Vec<Pair>, Fault> {
    let mut cursor = Cursor { string, at: 0 };
    let mut pairs = Vec::new();
    loop {
        cursor.blanks();
        if cursor.rest().is_empty() {
            return Ok(pairs);
        }
        pairs.push(cursor.pair()?);
    }
}

struct Cursor<'a> {
    string: &'a Word,
    at: usize,
}

impl Cursor<'_> {
    fn pair(&mut self) -> Result<Pair, Fault> {
        let key = self.until(|c| c == '=' || c == ' ');
        self.blanks();
        if key.text.is_empty() || !self.rest().starts_with('=') {
            // Not the word itself: it may be the second half of a password.
            let message = "a word that is no key=value".to_owned();
            let fix = "a comment stands on a line of its own, and a value with blanks in single quotes".to_owned();
            return Err((key.spot, message, fix));
        }
        self.at += 1;
        self.blanks();
        let value = if self.rest().starts_with('\'') { self.quoted(&key)? } else { self.until(|c| c == ' ') };
        if value.text.is_empty() {
            return Err((key.spot, format!("{} has no value", key.text), format!("remove {}=", key.text)));
        }
        if value.text.contains('\t') && self.string.text[..self.at].ends_with(&value.text) {
            let fix = "put blanks between, or the value in single quotes".to_owned();
            return Err((value.spot, format!("a tab in the value of {}: it does not separate", key.text), fix));
        }
        Ok(Pair { key, value })
    }

    fn quoted(&mut self, key: &Word) -> Result<Word, Fault> {
        let start = self.at;
        let mut text = String::new();
        self.at += 1;
        loop {
            text.push_str(&self.until(|c| c == '\'').text);
            if self.rest().is_empty() {
                let message = format!("the value of {} has no closing quote", key.text);
                return Err((key.spot.clone(), message, "a quote within quotes is written twice".to_owned()));
            }
            self.at += 1;
            if !self.rest().starts_with('\'') {
                break;
            }
            self.at += 1;
            text.push('\'');
        }
        if !self.rest().is_empty() && !self.rest().starts_with(' ') {
            let message = format!("something stands right behind the closing quote of {}", key.text);
            return Err((key.spot.clone(), message, "put a blank between".to_owned()));
        }
        Ok(Word { text, spot: self.spot(start) })
    }

    fn until(&mut self, ends: impl Fn(char) -> bool) -> Word {
        let start = self.at;
        let rest = self.rest();
        self.at += rest.find(ends).unwrap_or(rest.len());
        Word { text: self.string.text[start..self.at].to_owned(), spot: self.spot(start) }
    }

    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches(' ').len();
    }

    fn rest(&self) -> &str {
        &self.string.text[self.at..]
    }

    /// A value's text is its file's text, byte for byte, so places add up.
    fn spot(&self, start: usize) -> Spot {
        let base = self.string.spot.span.start;
        Spot { file: self.string.spot.file, span: base + start..base + self.at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let word = Word { text: text.to_owned(), spot: Spot { file: 0, span: 7..7 + text.len() } };
        let told = |pair: Pair| (pair.key.text, pair.value.text);
        pairs(&word).map(|pairs| pairs.into_iter().map(told).collect()).map_err(|fault| fault.1)
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn strings_are_split_as_pgbouncer_splits_them() {
        assert_eq!(read(""), Ok(Vec::new()));
        assert_eq!(read("host = 1.1.1.1   port= 5"), Ok(owned(&[("host", "1.1.1.1"), ("port", "5")])));
        assert_eq!(read("dbname='x''y z' user=a=b"), Ok(owned(&[("dbname", "x'y z"), ("user", "a=b")])));
        assert_eq!(read("host=é'x"), Ok(owned(&[("host", "é'x")])));
    }

    #[test]
    fn faults_are_told_and_never_guessed_over() {
        for (text, expected) in [
            ("host=1.1.1.1 ; comment", "a word that is no key=value"),
            ("=x", "a word that is no key=value"),
            ("host=''", "host has no value"),
            ("host=", "host has no value"),
            ("connect_query='select 1", "no closing quote"),
            ("host='a'port=1", "right behind the closing quote"),
            ("host=a\tport=1", "a tab in the value of host"),
        ] {
            let fault = read(text).expect_err(text);
            assert!(fault.contains(expected), "{text}: {fault}");
        }
    }

    #[test]
    fn places_are_those_of_the_file() {
        let text = "host=h dbname='x y'";
        let word = Word { text: text.to_owned(), spot: Spot { file: 3, span: 100..100 + text.len() } };
        let pairs = pairs(&word).expect("well");
        assert_eq!(pairs[1].key.spot, Spot { file: 3, span: 107..113 });
        assert_eq!(pairs[1].value.spot, Spot { file: 3, span: 114..119 });
    }
}
