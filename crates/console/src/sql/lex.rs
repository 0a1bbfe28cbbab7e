//! A console text as words: comments dropped, quoted names and texts kept whole.

/// One piece of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A bare word, as written: a keyword, a name or a number.
    Word(String),
    /// `"Name"`, without its quotes.
    Quoted(String),
    /// `'text'`, without its quotes.
    Text(String),
    /// Any other character.
    Sign(char),
}

impl Token {
    /// Whether this is the keyword or sign, whatever its case.
    pub(super) fn is(&self, keyword: &str) -> bool {
        match self {
            Self::Word(word) => word.eq_ignore_ascii_case(keyword),
            Self::Sign(sign) => keyword.chars().eq([*sign]),
            Self::Quoted(_) | Self::Text(_) => false,
        }
    }

    /// The name it stands for. A bare name keeps its case: names in the file have one.
    pub(super) fn name(&self) -> Option<String> {
        match self {
            Self::Word(name) | Self::Quoted(name) => Some(name.clone()),
            Self::Sign('*') => Some("*".to_owned()),
            Self::Text(_) | Self::Sign(_) => None,
        }
    }

    /// For a message: what was written, more or less.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Word(word) => word.clone(),
            Self::Quoted(name) => format!("\"{name}\""),
            Self::Text(text) => format!("'{text}'"),
            Self::Sign(sign) => sign.to_string(),
        }
    }
}

/// Splits a text; the error names what was not closed.
pub(super) fn tokens(sql: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
        } else if rest.starts_with("--") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if rest.starts_with("/*") {
            rest = after_comment(rest).ok_or("/* comment")?;
        } else if first == '"' {
            let (name, tail) = quoted(rest, '"').ok_or("quoted identifier")?;
            tokens.push(Token::Quoted(name));
            rest = tail;
        } else if first == '\'' {
            let (text, tail) = quoted(rest, '\'').ok_or("quoted string")?;
            tokens.push(Token::Text(text));
            rest = tail;
        } else if in_word(first) {
            let end = rest.find(|c| !in_word(c)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        } else {
            tokens.push(Token::Sign(first));
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(tokens)
}

/// Names in configuration files have dots and hyphens; nothing here subtracts.
fn in_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '$')
}

/// What follows a comment, which may hold others, as in PostgreSQL.
fn after_comment(text: &str) -> Option<&str> {
    let (mut rest, mut depth) = (text, 0_usize);
    loop {
        if let Some(tail) = rest.strip_prefix("/*") {
            depth += 1;
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix("*/") {
            depth -= 1;
            rest = tail;
            if depth == 0 {
                return Some(rest);
            }
        } else {
            rest = &rest[rest.chars().next()?.len_utf8()..];
        }
    }
}

/// The text between quotes, a doubled quote being one, and what follows.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut inside = String::new();
    let mut rest = text.strip_prefix(quote)?;
    loop {
        let end = rest.find(quote)?;
        inside.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix(quote) {
            Some(tail) => {
                inside.push(quote);
                rest = tail;
            }
            None => return Some((inside, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(sql: &str) -> String {
        tokens(sql).unwrap().iter().map(Token::text).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn comments_vanish_and_quotes_hold_together() {
        assert_eq!(said("/* a /* b */ c */ show -- x\n pools;"), "show|pools|;");
        assert_eq!(said("pause \"My \"\"Db\"\" -- é\";"), "pause|\"My \"Db\" -- é\"|;");
        assert_eq!(said("set a='it''s';"), "set|a|=|'it's'|;");
        assert_eq!(said("kill my-db.prod"), "kill|my-db.prod");
        assert_eq!(said("  -- nothing"), "");
    }

    #[test]
    fn what_is_not_closed_is_named() {
        assert_eq!(tokens("/* /* */"), Err("/* comment"));
        assert_eq!(tokens("pause \"x"), Err("quoted identifier"));
        assert_eq!(tokens("select 'é"), Err("quoted string"));
    }
}
