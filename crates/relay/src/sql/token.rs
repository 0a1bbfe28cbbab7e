//! PostgreSQL's tokens, as far as they tell where a text has words and where not.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A bare name or keyword.
    Word,
    /// A name in double quotes.
    Quoted,
    /// A name with unicode escapes (`U&"..."`), which is not read.
    Unicode,
    /// A string, of whatever kind.
    Text,
    /// `$1`.
    Parameter(u16),
    /// One byte of anything else; numbers are such bytes.
    Symbol(u8),
    /// The end of the text.
    End,
}

/// How a client's texts are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// A backslash means something in a plain string (`standard_conforming_strings` is off).
    pub(crate) escapes: bool,
    pub(crate) pairs: Pairs,
}

/// The bytes that begin a character whose second byte may be a backslash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pairs {
    /// There are no such characters.
    #[default]
    None,
    /// Every byte that is not ASCII.
    All,
    /// Those of Shift JIS, where half of the katakana are one byte.
    ShiftJis,
}

/// Encodings whose characters may end with a backslash, in PostgreSQL's words for them; only clients may have them. (JOHAB is none
/// of them as PostgreSQL reads it.)
const TWO_BYTES: [&str; 10] =
    ["big5", "win950", "windows950", "gbk", "win936", "windows936", "gb18030", "uhc", "win949", "windows949"];
const SHIFT_JIS: [&str; 6] = ["sjis", "mskanji", "shiftjis", "win932", "windows932", "shiftjis2004"];

impl Pairs {
    /// Those of a `client_encoding`.
    pub(crate) fn of(encoding: &str) -> Self {
        let letters = encoding.chars().filter(char::is_ascii_alphanumeric);
        let name: String = letters.map(|letter| letter.to_ascii_lowercase()).collect();
        if TWO_BYTES.contains(&&*name) {
            Self::All
        } else if SHIFT_JIS.contains(&&*name) {
            Self::ShiftJis
        } else {
            Self::None
        }
    }

    fn begins(self, byte: u8) -> bool {
        match self {
            Self::None => false,
            Self::All => byte >= 0x80,
            Self::ShiftJis => byte >= 0x80 && !matches!(byte, 0xa1..=0xdf),
        }
    }
}

/// One token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
    text: &'a [u8],
}

impl<'a> Token<'a> {
    /// Whether it ends a statement.
    pub(super) fn ends(self) -> bool {
        matches!(self.kind, Kind::End | Kind::Symbol(b';'))
    }

    /// Whether it is this keyword, given in lower case.
    pub(super) fn is(self, word: &str) -> bool {
        match self.kind {
            Kind::Word => self.text[self.start..self.end].eq_ignore_ascii_case(word.as_bytes()),
            Kind::Quoted => self.inner() == word.as_bytes(),
            Kind::Unicode | Kind::Text | Kind::Parameter(_) | Kind::Symbol(_) | Kind::End => false,
        }
    }

    /// What stands between the quotes; all of it, where there are none. Escapes are left as they are.
    pub(super) fn inner(self) -> &'a [u8] {
        let whole = &self.text[self.start..self.end];
        let open = match self.kind {
            Kind::Quoted => 1,
            Kind::Text if whole.first() == Some(&b'$') => {
                1 + whole.iter().skip(1).position(|byte| *byte == b'$').map_or(0, |at| at + 1)
            }
            Kind::Text => whole.iter().position(|byte| *byte == b'\'').map_or(0, |at| at + 1),
            Kind::Word | Kind::Unicode | Kind::Parameter(_) | Kind::Symbol(_) | Kind::End => return whole,
        };
        let close = if whole.first() == Some(&b'$') { open } else { 1 };
        whole.get(open..whole.len().saturating_sub(close)).unwrap_or_default()
    }

    /// The name it stands for, in lower case (settings and functions: nobody has two that differ in case).
    pub(super) fn lower(self) -> String {
        String::from_utf8_lossy(self.inner()).to_ascii_lowercase()
    }

    /// The name of a statement it stands for, as PostgreSQL folds it.
    pub(super) fn name(self) -> Box<[u8]> {
        if self.kind == Kind::Quoted {
            let inner = self.inner();
            let mut name = Vec::with_capacity(inner.len());
            let mut quote = false;
            for byte in inner {
                quote = *byte == b'"' && !quote;
                if !quote {
                    name.push(*byte);
                }
            }
            return name.into();
        }
        self.inner().to_ascii_lowercase().into()
    }

    /// Whether `pg_temp` is part of it.
    pub(super) fn says_temp(self) -> bool {
        self.inner().windows(7).any(|seven| seven.eq_ignore_ascii_case(b"pg_temp"))
    }

    /// Whether it says yes, as a boolean.
    pub(super) fn is_true(self) -> bool {
        let said = self.lower();
        match self.kind {
            Kind::Word => said == "true",
            Kind::Text => matches!(said.as_str(), "t" | "tr" | "tru" | "true" | "y" | "ye" | "yes" | "on" | "1"),
            Kind::Quoted | Kind::Unicode | Kind::Parameter(_) | Kind::Symbol(_) | Kind::End => false,
        }
    }
}

/// A text's tokens, one after the other; comments and white space are none.
#[derive(Clone, Debug)]
pub(crate) struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
    dialect: Dialect,
}

fn begins_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn in_name(byte: u8) -> bool {
    begins_name(byte) || byte.is_ascii_digit() || byte == b'$'
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(text: &'a [u8], dialect: Dialect) -> Self {
        Self { text, at: 0, dialect }
    }

    fn byte(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_while(&mut self, takes: impl Fn(u8) -> bool) {
        while self.at < self.text.len() && takes(self.text[self.at]) {
            self.at += 1;
        }
    }

    /// Goes on behind `at`, where somebody else has read up to there.
    pub(crate) fn go_on(&mut self, at: usize) {
        self.at = at;
    }

    pub(crate) fn next(&mut self) -> Token<'a> {
        self.skip_blank();
        let start = self.at;
        let kind = if start >= self.text.len() { Kind::End } else { self.take() };
        Token { kind, start, end: self.at, text: self.text }
    }

    fn take(&mut self) -> Kind {
        let (first, second) = (self.byte(0), self.byte(1));
        match first {
            b'\'' => self.string(self.dialect.escapes, 0),
            b'e' | b'E' if second == b'\'' => self.string(true, 1),
            b'b' | b'B' | b'x' | b'X' | b'n' | b'N' if second == b'\'' => self.string(self.dialect.escapes, 1),
            b'u' | b'U' if second == b'&' && self.byte(2) == b'\'' => self.string(false, 2),
            b'u' | b'U' if second == b'&' && self.byte(2) == b'"' => {
                self.at += 2;
                self.until_quote(b'"', false);
                Kind::Unicode
            }
            b'"' => {
                self.until_quote(b'"', false);
                Kind::Quoted
            }
            b'$' if second.is_ascii_digit() => {
                self.at += 1;
                let from = self.at;
                self.skip_while(|byte| byte.is_ascii_digit());
                let digits = std::str::from_utf8(&self.text[from..self.at]).unwrap_or_default();
                Kind::Parameter(digits.parse().unwrap_or(0))
            }
            b'$' => self.dollar(),
            _ if begins_name(first) => {
                self.skip_while(in_name);
                Kind::Word
            }
            b'0'..=b'9' => {
                self.skip_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                Kind::Symbol(b'0')
            }
            other => {
                self.at += 1;
                Kind::Symbol(other)
            }
        }
    }

    fn string(&mut self, escapes: bool, prefix: usize) -> Kind {
        self.at += prefix;
        self.until_quote(b'\'', escapes);
        Kind::Text
    }

    /// From an opening quote to behind the closing one; a doubled quote is none.
    fn until_quote(&mut self, quote: u8, escapes: bool) {
        self.at += 1;
        while self.at < self.text.len() {
            let byte = self.text[self.at];
            if (byte == b'\\' && escapes) || self.dialect.pairs.begins(byte) {
                self.at += 1;
            } else if byte == quote {
                if self.byte(1) != quote {
                    self.at += 1;
                    return;
                }
                self.at += 1;
            }
            self.at += 1;
        }
        self.at = self.text.len();
    }

    /// `$tag$ ... $tag$`, or a lone dollar.
    fn dollar(&mut self) -> Kind {
        let open = &self.text[self.at + 1..];
        let length = open.iter().position(|byte| !in_name(*byte) || *byte == b'$').unwrap_or(open.len());
        if open.get(length) != Some(&b'$') {
            self.at += 1;
            return Kind::Symbol(b'$');
        }
        let tag = &self.text[self.at..self.at + length + 2];
        self.at += tag.len();
        let mut rest = &self.text[self.at..];
        while let Some(dollar) = memchr::memchr(b'$', rest) {
            self.at += dollar;
            rest = &rest[dollar..];
            if rest.starts_with(tag) {
                self.at += tag.len();
                return Kind::Text;
            }
            self.at += 1;
            rest = &rest[1..];
        }
        self.at = self.text.len();
        Kind::Text
    }

    fn skip_blank(&mut self) {
        loop {
            self.skip_while(|byte| byte.is_ascii_whitespace() || byte == 0x0b);
            match (self.byte(0), self.byte(1)) {
                (b'-', b'-') => self.skip_while(|byte| byte != b'\n' && byte != b'\r'),
                (b'/', b'*') => self.skip_comment(),
                _ => return,
            }
        }
    }

    fn skip_comment(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.text.len() {
            match (self.byte(0), self.byte(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.at += 1,
            }
        }
        self.at = self.text.len();
    }
}
