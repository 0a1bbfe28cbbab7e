//! The words of a line of the corpus: bare, or in double quotes with escapes for any byte.

/// One word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What it stands for.
    pub bytes: Vec<u8>,
    /// Whether it stood in quotes: a quoted null is four letters.
    pub quoted: bool,
}

impl Word {
    /// The empty word.
    #[must_use]
    pub fn empty() -> Word {
        Word { bytes: Vec::new(), quoted: true }
    }

    /// As text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// As a parameter's value: a bare `null` is none.
    #[must_use]
    pub fn value(&self) -> Option<Vec<u8>> {
        (self.quoted || self.bytes != b"null").then(|| self.bytes.clone())
    }
}

/// The words of a line; `--` outside of quotes begins a remark.
pub fn words(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with("--") {
        let (word, after) = word(rest)?;
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

/// A word may begin bare and go on in quotes: `options="-c a=b"`.
fn word(text: &str) -> Result<(Word, &str), String> {
    let mut word = Word { bytes: Vec::new(), quoted: false };
    let mut rest = text;
    while let Some(first) = rest.chars().next().filter(|c| !c.is_whitespace()) {
        if first == '"' {
            rest = quoted(&rest[1..], &mut word.bytes)?;
            word.quoted = true;
        } else {
            let end = first.len_utf8();
            word.bytes.extend(&rest.as_bytes()[..end]);
            rest = &rest[end..];
        }
    }
    Ok((word, rest))
}

/// Up to the closing quote: `\n \r \t \0 \" \\ \xHH`, and `\{text*1000}` for a text so many times.
fn quoted<'a>(text: &'a str, into: &mut Vec<u8>) -> Result<&'a str, String> {
    let mut rest = text;
    loop {
        let at = rest.find(['"', '\\']).ok_or("a quote does not end")?;
        into.extend(&rest.as_bytes()[..at]);
        if rest[at..].starts_with('"') {
            return Ok(&rest[at + 1..]);
        }
        rest = escaped(&rest[at + 1..], into)?;
    }
}

fn escaped<'a>(text: &'a str, into: &mut Vec<u8>) -> Result<&'a str, String> {
    let first = text.chars().next().ok_or("a line ends with \\")?;
    match first {
        'n' => into.push(b'\n'),
        'r' => into.push(b'\r'),
        't' => into.push(b'\t'),
        '0' => into.push(0),
        // `\#` is the number of a repetition, and a sign of its own outside of one.
        '"' | '\\' | '#' => into.extend(first.to_string().as_bytes()),
        'x' => {
            let digits = text.get(1..3).ok_or("\\x needs two digits")?;
            into.push(u8::from_str_radix(digits, 16).map_err(|_| format!("\\x{digits}?"))?);
            return Ok(&text[3..]);
        }
        '{' => {
            let (inner, after) = text[1..].split_once('}').ok_or("\\{ does not end")?;
            let (piece, times) = inner.rsplit_once('*').ok_or("\\{text*times}")?;
            let times: usize = times.parse().map_err(|_| format!("{times} times?"))?;
            let mut bytes = Vec::new();
            quoted(&format!("{piece}\""), &mut bytes)?;
            into.extend(bytes.repeat(times));
            return Ok(after);
        }
        other => return Err(format!("\\{other} means nothing")),
    }
    Ok(&text[1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        words(line).expect("well formed").iter().map(Word::text).collect()
    }

    #[test]
    fn words_are_bare_or_quoted_with_escapes() {
        assert_eq!(texts(r#"parse s "select 'x' \"y\"" 23 -- a remark"#), ["parse", "s", "select 'x' \"y\"", "23"]);
        assert_eq!(texts(r#"data "1\t\{ab*3}\n\x41""#), ["data", "1\tababab\nA"]);
        assert_eq!(texts(r#"connect options="-c a=b -- c" x="#), ["connect", "options=-c a=b -- c", "x="]);
        assert!(words(r#"query "select"#).is_err() && words(r#"query "\q""#).is_err());
    }

    #[test]
    fn a_bare_null_is_none_and_a_quoted_one_is_a_word() {
        let words = words(r#"null "null""#).expect("well formed");
        assert_eq!(words.iter().map(Word::value).collect::<Vec<_>>(), [None, Some(b"null".to_vec())]);
    }
}
