//! As much of Python as calls with literal arguments need: tokens with their bytes, brackets and what stands between commas.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::setting::Setting;

/// The longest file that is read.
const MOST_BYTES: usize = 4 << 20;
/// How far constants may name each other.
const MOST_HOPS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Word,
    Number,
    /// Its letters without prefix and quotes are `Token::inner`.
    Text,
    Sign,
}

#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    span: Range<usize>,
    /// Without quotes.
    inner: Range<usize>,
    /// Of an opening bracket: the token that closes it.
    close: usize,
}

/// A file's tokens and its constants.
pub(super) struct Source<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    /// Names that are assigned a value, and its tokens; the last assignment holds.
    constants: BTreeMap<&'a str, Range<usize>>,
}

/// One call: whom its result is given to, its place, and the tokens between its brackets.
pub(super) struct Call {
    pub(super) name: String,
    pub(super) place: Range<usize>,
    pub(super) inner: Range<usize>,
}

/// What stands between two commas: a name, if it has one, and the tokens of its value.
#[derive(Clone, Debug)]
pub(super) struct Argument {
    pub(super) name: Option<String>,
    pub(super) value: Range<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn of(text: &'a str) -> Result<Self, String> {
        if text.len() > MOST_BYTES {
            return Err(format!("longer than {MOST_BYTES} bytes: give the file that makes the engine"));
        }
        let mut source = Self { text, tokens: tokens(text), constants: BTreeMap::new() };
        let mut at = 0;
        while at + 2 < source.tokens.len() {
            let is_name = source.tokens[at].kind == Kind::Word && source.is(at + 1, "=");
            let mut value = at + 2;
            // `NAME: int = 5`
            let typed = source.tokens[at].kind == Kind::Word && source.is(at + 1, ":") && source.is(at + 3, "=");
            if typed {
                value = at + 4;
            }
            if (is_name || typed) && source.begins_line(at) {
                let end = source.value_end(value);
                source.constants.insert(&text[source.tokens[at].span.clone()], value..end);
                at = value;
            } else {
                at += 1;
            }
        }
        Ok(source)
    }

    fn word(&self, at: usize) -> &'a str {
        self.tokens.get(at).map_or("", |token| &self.text[token.span.clone()])
    }

    fn is(&self, at: usize, sign: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind == Kind::Sign) && self.word(at) == sign
    }

    fn begins_line(&self, at: usize) -> bool {
        let before = &self.text.as_bytes()[..self.tokens[at].span.start];
        let blank = before.iter().rev().find(|byte| !matches!(byte, b' ' | b'\t'));
        blank.is_none_or(|byte| *byte == b'\n')
    }

    /// The token behind a value: one on a new line outside of brackets, or one that ends an argument.
    fn value_end(&self, from: usize) -> usize {
        let mut at = from;
        while let Some(token) = self.tokens.get(at) {
            let before = if at == from { token.span.start } else { self.tokens[at - 1].span.end };
            if self.text[before..token.span.start].contains('\n') || self.closes(at) || self.is(at, ",") {
                break;
            }
            at = if token.close > at { token.close + 1 } else { at + 1 };
        }
        at.min(self.tokens.len())
    }

    fn closes(&self, at: usize) -> bool {
        [")", "]", "}"].iter().any(|sign| self.is(at, sign))
    }

    /// Calls of functions of these names, `sqlalchemy.create_engine(…)` too; not where they are defined.
    pub(super) fn calls(&self, names: &[&str]) -> Vec<Call> {
        let mut out = Vec::new();
        for at in 0..self.tokens.len() {
            let is_call = names.contains(&self.word(at)) && self.is(at + 1, "(");
            if !is_call || at > 0 && ["def", "class"].contains(&self.word(at - 1)) {
                continue;
            }
            let close = self.tokens[at + 1].close;
            if close <= at + 1 {
                continue;
            }
            let mut first = at;
            while first >= 2 && self.is(first - 1, ".") && self.tokens[first - 2].kind == Kind::Word {
                first -= 2;
            }
            let given = first >= 2 && self.is(first - 1, "=") && self.tokens[first - 2].kind == Kind::Word;
            let name = if given { self.word(first - 2) } else { self.word(at) };
            out.push(Call { name: name.to_owned(), place: self.tokens[at].span.clone(), inner: at + 2..close });
        }
        out
    }

    /// The tokens that `**` stands before.
    pub(super) fn spread(&self, argument: &Argument) -> Option<Range<usize>> {
        self.is(argument.value.start, "**").then(|| argument.value.start + 1..argument.value.end)
    }

    /// What these names are given, where it is a dictionary: the name and the tokens within.
    pub(super) fn assigned(&self, names: &[&str]) -> Vec<(String, Range<usize>)> {
        let found = names.iter().filter_map(|name| Some((name, self.constants.get(name)?.clone())));
        found.filter_map(|(name, value)| Some(((*name).to_owned(), self.dictionary(value)?))).collect()
    }

    /// A constant's value.
    pub(super) fn constant(&self, name: &str) -> Option<Setting> {
        Some(self.value(name, self.constants.get(name)?.clone()))
    }

    /// What stands between the commas of `inner`: `a=1`, `"a": 1`, `1`.
    pub(super) fn arguments(&self, inner: Range<usize>) -> Vec<Argument> {
        let (mut out, mut at) = (Vec::new(), inner.start);
        while at < inner.end {
            let start = at;
            while at < inner.end && !self.is(at, ",") {
                let close = self.tokens[at].close;
                at = if close > at { close + 1 } else { at + 1 };
            }
            let end = at.min(inner.end);
            let named = start + 1 < end && (self.is(start + 1, "=") || self.is(start + 1, ":"));
            let name = named.then(|| self.text[self.tokens[start].inner.clone()].to_owned());
            let value = if named { start + 2 } else { start };
            if value < end {
                out.push(Argument { name, value: value..end });
            }
            at += 1;
        }
        out
    }

    /// The tokens within a dictionary: `{…}`, `dict(…)`, `**{…}`, or a constant that is one.
    pub(super) fn dictionary(&self, value: Range<usize>) -> Option<Range<usize>> {
        let mut value = value;
        for _ in 0..MOST_HOPS {
            let at = if self.word(value.start) == "dict" && self.is(value.start + 1, "(") {
                value.start + 1
            } else {
                value.start
            };
            if self.is(at, "{") || at > value.start {
                let close = self.tokens[at].close;
                return (close > at && close + 1 == value.end).then_some(at + 1..close);
            }
            value = self.constants.get(self.word(value.start)).filter(|_| value.len() == 1)?.clone();
        }
        None
    }

    /// A value: a literal at its own bytes, a constant's literal at its, the default of `os.getenv("X", 5)`; else its code.
    pub(super) fn value(&self, key: &str, value: Range<usize>) -> Setting {
        let mut at = value.clone();
        for _ in 0..MOST_HOPS {
            if let Some(set) = self.literal(key, &at) {
                return set;
            }
            match self.inner_value(&at) {
                Some(inner) if inner != at => at = inner,
                _ => break,
            }
        }
        let span = self.span(&value);
        Setting { key: key.to_owned(), value: self.text[span.clone()].to_owned(), span }
    }

    fn span(&self, tokens: &Range<usize>) -> Range<usize> {
        let start = self.tokens.get(tokens.start).map_or(self.text.len(), |token| token.span.start);
        let end =
            tokens.end.checked_sub(1).and_then(|last| self.tokens.get(last)).map_or(start, |token| token.span.end);
        start..end.max(start)
    }

    fn literal(&self, key: &str, value: &Range<usize>) -> Option<Setting> {
        let set = |text: &str, span: Range<usize>| Some(Setting { key: key.to_owned(), value: text.to_owned(), span });
        let first = self.tokens.get(value.start)?;
        let is_signed =
            value.len() == 2 && self.is(value.start, "-") && self.tokens.get(value.start + 1)?.kind == Kind::Number;
        if value.len() == 1 && first.kind == Kind::Text {
            return set(&self.text[first.inner.clone()], first.span.clone());
        }
        // texts that stand beside each other are one
        if value.len() > 1 && self.tokens.get(value.clone())?.iter().all(|token| token.kind == Kind::Text) {
            let whole: String =
                self.tokens[value.clone()].iter().map(|token| &self.text[token.inner.clone()]).collect();
            return set(&whole, self.span(value));
        }
        let is_word = ["None", "True", "False"].contains(&self.word(value.start));
        let is_bare = value.len() == 1 && (first.kind == Kind::Number || is_word);
        let span = self.span(value);
        if is_bare || is_signed { set(&self.text[span.clone()], span) } else { None }
    }

    /// What a value comes to in one step: `int(x)`, `os.getenv("X", x)`, `x or 5` of one name, `NAME`.
    fn inner_value(&self, value: &Range<usize>) -> Option<Range<usize>> {
        let last = value.end.checked_sub(1)?;
        if value.len() == 1 {
            return self.constants.get(self.word(value.start)).cloned();
        }
        if value.len() > 2 && self.word(value.end - 2) == "or" {
            return Some(last..value.end);
        }
        let opening = value.clone().find(|at| self.is(*at, "("))?;
        if self.tokens[opening].close != last {
            return None;
        }
        let called: String = (value.start..opening).map(|at| self.word(at)).collect();
        let arguments = self.arguments(opening + 1..last);
        match called.as_str() {
            "int" | "float" | "str" | "bool" => Some(arguments.first()?.value.clone()),
            "os.getenv" | "getenv" | "os.environ.get" | "environ.get" | "config" | "env" | "env.int" | "env.str" => {
                Some(arguments.get(1)?.value.clone())
            }
            _ => None,
        }
    }

    /// Every text that a name is given: `NAME = "…"`, `name="…"`, `"name": "…"`.
    pub(super) fn literals(&self) -> impl Iterator<Item = Setting> {
        (0..self.tokens.len()).filter_map(|at| {
            let token = &self.tokens[at];
            let named = at >= 2 && token.kind == Kind::Text && (self.is(at - 1, "=") || self.is(at - 1, ":"));
            named.then(|| {
                let key = self.text[self.tokens[at - 2].inner.clone()].to_owned();
                Setting { key, value: String::new(), span: token.inner.clone() }
            })
        })
    }
}

/// Tokens with brackets paired; comments and blanks left out.
fn tokens(text: &str) -> Vec<Token> {
    let (mut out, mut open, mut at): (Vec<Token>, Vec<(usize, u8)>, usize) = (Vec::new(), Vec::new(), 0);
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let (kind, length, inner) = if c.is_whitespace() || c == '\\' {
            at += c.len_utf8();
            continue;
        } else if c == '#' {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        } else if let Some((length, inner)) = quoted(rest) {
            (Kind::Text, length, inner)
        } else if c.is_alphabetic() || c == '_' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            (Kind::Word, end, 0..end)
        } else if c.is_ascii_digit() {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).unwrap_or(rest.len());
            (Kind::Number, end, 0..end)
        } else {
            let double = ["==", "!=", "<=", ">=", ":=", "**", "->"].iter().any(|sign| rest.starts_with(sign));
            let length = if double { 2 } else { c.len_utf8() };
            (Kind::Sign, length, 0..length)
        };
        let number = out.len();
        let byte = text.as_bytes()[at];
        if kind == Kind::Sign {
            match byte {
                b'(' => open.push((number, b')')),
                b'[' => open.push((number, b']')),
                b'{' => open.push((number, b'}')),
                b')' | b']' | b'}' => {
                    if let Some((opening, _)) = open.pop_if(|(_, close)| *close == byte) {
                        out[opening].close = number;
                    }
                }
                _ => {}
            }
        }
        out.push(Token { kind, span: at..at + length, inner: at + inner.start..at + inner.end, close: 0 });
        at += length;
    }
    out
}

/// A text with its prefix: `"…"`, `'…'`, `f"…"`, `"""…"""`; its length, and where its letters are.
fn quoted(rest: &str) -> Option<(usize, Range<usize>)> {
    let bytes = rest.as_bytes();
    let prefix = bytes.iter().take(3).position(|byte| matches!(byte, b'"' | b'\''))?;
    if !bytes[..prefix].iter().all(|byte| b"rRbBfFuU".contains(byte)) {
        return None;
    }
    let quote = bytes[prefix];
    let count = if bytes.get(prefix..prefix + 3) == Some(&[quote; 3]) { 3 } else { 1 };
    let start = prefix + count;
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        if *byte == b'\\' {
            at += 2;
        } else if bytes[at..].starts_with(&[quote; 3][..count]) {
            return Some((at + count, start..at));
        } else if *byte == b'\n' && count == 1 {
            return Some((at, start..at));
        } else {
            at += 1;
        }
    }
    Some((rest.len(), start.min(rest.len())..rest.len()))
}
