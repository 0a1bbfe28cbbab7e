//! Faults of files that are read line by line (userlist, HBA, ident map), and their tokens.
//!
//! Knows nothing of what the tokens mean. A token remembers whether it was quoted: `"all"` is a name, `all` is a keyword.

use crate::finding::Severity;

/// A fault or remark about one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineFinding {
    /// From 1.
    pub line: usize,
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong and what to write instead: lower case, no full stop, never a secret.
    pub message: String,
}

impl LineFinding {
    pub(crate) fn error(line: usize, message: impl Into<String>) -> Self {
        Self { line, severity: Severity::Error, message: message.into() }
    }

    pub(crate) fn warning(line: usize, message: impl Into<String>) -> Self {
        Self { line, severity: Severity::Warning, message: message.into() }
    }
}

/// One word of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) quoted: bool,
}

impl Token {
    /// Whether it is this keyword: written so, and not in quotes.
    pub(crate) fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.text == keyword
    }
}

/// A line's number, and its fields of comma-separated tokens.
pub(crate) type Line = (usize, Vec<Vec<Token>>);

/// Lines with something on them: their numbers, and fields of comma-separated tokens. `#` begins a comment, `\` at the end of
/// a line continues it, quotes hold spaces and commas, and a quote within quotes is written twice: as PostgreSQL reads them.
pub(crate) fn fields(text: &str) -> (Vec<Line>, Vec<LineFinding>) {
    let (mut lines, mut findings) = (Vec::new(), Vec::new());
    let mut whole = String::new();
    let mut first = 1;
    let last = text.lines().count();
    for (number, line) in (1..).zip(text.lines()) {
        if whole.is_empty() {
            first = number;
        }
        match line.strip_suffix('\\') {
            Some(begun) if number < last => {
                whole.push_str(begun);
                whole.push(' ');
                continue;
            }
            Some(_) | None => whole.push_str(line),
        }
        match split(&whole) {
            Ok(fields) if fields.is_empty() => {}
            Ok(fields) => lines.push((first, fields)),
            Err(why) => findings.push(LineFinding::error(first, why)),
        }
        whole.clear();
    }
    (lines, findings)
}

fn split(line: &str) -> Result<Vec<Vec<Token>>, &'static str> {
    let mut fields: Vec<Vec<Token>> = Vec::new();
    let mut rest = line.trim_start();
    let mut more = false; // a comma came: the next token belongs to the same field
    while !rest.is_empty() && !rest.starts_with('#') {
        let (token, behind) = token(rest)?;
        if token.text.is_empty() && !token.quoted {
            return Err("a comma without a name before it");
        }
        match fields.last_mut() {
            Some(field) if more => field.push(token),
            Some(_) | None => fields.push(vec![token]),
        }
        more = behind.starts_with(',');
        rest = behind.strip_prefix(',').unwrap_or(behind).trim_start();
    }
    if more {
        return Err("a comma without a name behind it");
    }
    Ok(fields)
}

/// The token at the start, up to a space, a comma or a comment.
fn token(text: &str) -> Result<(Token, &str), &'static str> {
    let mut token = Token { text: String::new(), quoted: text.starts_with('"') };
    let mut inside = false;
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' if inside && chars.peek().is_some_and(|(_, next)| *next == '"') => {
                token.text.push('"');
                chars.next();
            }
            '"' => inside = !inside,
            ',' | '#' if !inside => return Ok((token, &text[at..])),
            space if space.is_whitespace() && !inside => return Ok((token, &text[at..])),
            other => token.text.push(other),
        }
    }
    if inside {
        return Err("a quote that does not end on its line");
    }
    Ok((token, ""))
}
