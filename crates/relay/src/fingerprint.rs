//! What a statement reads as without its literals: one form for all that differ in values, comments, white space and case.
//!
//! Strings, numbers (with their sign), bits and parameters become `?`; names and keywords stay, in lower case where they are not
//! quoted. In lists behind IN, in ARRAY[] and in rows of VALUES what reads as the element before it is left out, so that a list of any
//! length is one form; in those rows NULL, TRUE and FALSE are values too. It never fails, whatever the bytes, takes time linear in
//! them, and looks at the first [`MAX_READ`] of a text only. Its own result reads as itself.

use crate::sql::{Dialect, Kind, Token, Tokens};
use crate::statement::hash;

/// So much of a text is read, and covered by its fingerprint. Longer ones are lists of values, of which this is the shape; the bound
/// keeps a text that nobody has sent before below a tenth of a millisecond.
pub(crate) const MAX_READ: usize = 16 << 10;

/// Most bytes of a normalised statement that are kept for people.
pub const MAX_QUERY: usize = 400;

/// Lists within lists that are shortened; in deeper ones everything stays.
const MOST_LISTS: usize = 16;

/// Words behind which a sign belongs to the number that follows.
const BEFORE_VALUE: [&str; 29] = [
    "all",
    "and",
    "any",
    "between",
    "by",
    "case",
    "distinct",
    "else",
    "from",
    "having",
    "ilike",
    "in",
    "interval",
    "is",
    "like",
    "limit",
    "not",
    "offset",
    "on",
    "or",
    "return",
    "returning",
    "select",
    "set",
    "then",
    "to",
    "values",
    "when",
    "where",
];

/// Words that stand apart from the parenthesis behind them.
const APART: [&str; 22] = [
    "and", "as", "between", "by", "case", "else", "from", "having", "in", "into", "join", "not", "on", "or", "over",
    "select", "set", "then", "using", "values", "when", "where",
];

/// The fingerprint of a normalised statement; 0 is that of none.
pub(crate) fn fingerprint(normal: &[u8]) -> u64 {
    if normal.is_empty() { 0 } else { hash(normal).max(1) }
}

/// A text without its literals, whole.
pub(crate) fn normalised(text: &[u8], dialect: Dialect) -> Vec<u8> {
    let read = &text[..text.len().min(MAX_READ)];
    let mut normal = Normal::new(read.len());
    let mut tokens = Tokens::new(read, dialect);
    loop {
        let token = tokens.next();
        match token.kind {
            Kind::End => break,
            Kind::Word => normal.word(&read[token.start..token.end]),
            Kind::Quoted | Kind::Unicode => normal.quoted(&read[token.start..token.end]),
            Kind::Text | Kind::Parameter(_) => normal.literal(),
            Kind::Symbol(symbol) => normal.symbol(symbol, token, read, &mut tokens),
        }
    }
    normal.finish(text.len() > MAX_READ)
}

/// For people: at most [`MAX_QUERY`] bytes on one line.
pub(crate) fn shown(normal: &[u8]) -> Box<str> {
    let cut = &normal[..normal.len().min(MAX_QUERY)];
    let shown = |c: char| match c {
        _ if c.is_ascii_control() => ' ',
        _ if c.is_control() => char::REPLACEMENT_CHARACTER, // in a name, which it does not end
        _ => c,
    };
    let mut text: String = String::from_utf8_lossy(cut).chars().map(shown).collect();
    let room = if normal.len() > MAX_QUERY { MAX_QUERY - 3 } else { MAX_QUERY };
    if text.len() > room {
        let end = (0..=MAX_QUERY - 3).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text.into()
}

/// What was written last: it decides whether white space comes next, and what a sign means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// Nothing, an opening bracket, or something that what follows sticks to.
    Open,
    /// A name, a value or a closing bracket.
    Operand,
    /// A word behind which a value comes.
    Keyword,
    /// An operator, or anything else.
    Other,
}

/// A list of which repeated elements are left out.
struct List {
    /// Brackets that are open around an element.
    depth: usize,
    /// Rows of VALUES, which have brackets of their own.
    rows: bool,
    /// Where the element that is being written began.
    begun: usize,
    /// Where the one before it stands.
    before: Option<(usize, usize)>,
    /// Of rows: the next token may only be a comma.
    closed: bool,
}

struct Normal {
    out: Vec<u8>,
    last: Last,
    depth: usize,
    lists: Vec<List>,
    /// The last word, where a bracket behind it begins a list.
    lists_next: Option<bool>,
    /// Where a sign was written that belongs to a number, if one follows, and what stood before it.
    sign: Option<(usize, Last)>,
}

impl Normal {
    fn new(room: usize) -> Self {
        let out = Vec::with_capacity(room + room / 4);
        Self { out, last: Last::Open, depth: 0, lists: Vec::new(), lists_next: None, sign: None }
    }

    /// Writes something of its own, with white space before it where there must be some.
    fn put(&mut self, bytes: &[u8], last: Last) {
        self.end_rows(false);
        if self.last != Last::Open {
            self.out.push(b' ');
        }
        self.out.extend_from_slice(bytes);
        self.last = last;
        (self.lists_next, self.sign) = (None, None);
    }

    /// Writes something that sticks to what stands before it.
    fn stick(&mut self, bytes: &[u8], last: Last) {
        self.out.extend_from_slice(bytes);
        self.last = last;
        (self.lists_next, self.sign) = (None, None);
    }

    fn literal(&mut self) {
        self.put(b"?", Last::Operand);
    }

    /// A number: the sign before it is its own.
    fn number(&mut self) {
        if let Some((at, last)) = self.sign {
            self.out.truncate(at);
            self.last = last;
        }
        self.literal();
    }

    fn word(&mut self, word: &[u8]) {
        let is = |other: &str| word.eq_ignore_ascii_case(other.as_bytes());
        let in_row = self.lists.last().is_some_and(|list| list.rows && self.depth > list.depth);
        if in_row && (is("null") || is("true") || is("false")) {
            return self.literal();
        }
        if is("select") || is("with") || is("values") {
            // what seemed a list is a query
            self.lists.pop_if(|list| !list.rows && list.before.is_none() && list.begun == self.out.len());
        }
        let keyword = word.len() <= 9 && BEFORE_VALUE.iter().any(|other| is(other));
        self.put(word, if keyword { Last::Keyword } else { Last::Operand });
        let from = self.out.len() - word.len();
        self.out[from..].make_ascii_lowercase();
        self.lists_next = match &self.out[from..] {
            b"in" | b"array" => Some(false),
            b"values" => Some(true),
            _ => None,
        };
    }

    fn quoted(&mut self, name: &[u8]) {
        self.put(name, Last::Operand);
        let from = self.out.len() - name.len();
        for byte in self.out[from..].iter_mut().filter(|byte| byte.is_ascii_control()) {
            *byte = b' ';
        }
    }

    fn symbol(&mut self, symbol: u8, token: Token<'_>, text: &[u8], tokens: &mut Tokens<'_>) {
        let next = text.get(token.end).copied().unwrap_or(0);
        match symbol {
            b'0' => {
                tokens.go_on(number_end(text, token.start));
                self.number();
            }
            b'.' if next.is_ascii_digit() => {
                tokens.go_on(number_end(text, token.start));
                self.number();
            }
            b'.' | b':' => {
                self.end_rows(false);
                self.stick(&[symbol], Last::Open);
            }
            b'(' | b'[' => self.open(symbol),
            b')' | b']' => self.close(symbol),
            b',' => self.comma(),
            b';' => {
                self.end_rows(false);
                self.stick(b";", Last::Other);
            }
            _ if is_operator(symbol) => {
                let end = token.end + text[token.end..].iter().take_while(|byte| is_operator(**byte)).count();
                let end = token.start + comment_at(&text[token.start..end]);
                tokens.go_on(end);
                self.operators(&text[token.start..end]);
            }
            control if control.is_ascii_control() => {}
            other => self.put(&[other], Last::Other),
        }
    }

    /// A run of operators' characters: as PostgreSQL reads it, a sign at its end stands for itself.
    fn operators(&mut self, run: &[u8]) {
        if run == b"?" {
            return self.literal(); // as written here
        }
        let special =
            run.iter().any(|byte| matches!(byte, b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'%'));
        let signs = if special { 0 } else { run.iter().rev().take_while(|byte| matches!(byte, b'+' | b'-')).count() };
        let signs = signs.min(run.len() - 1);
        let (operator, signs) = run.split_at(run.len() - signs);
        if let [sign @ (b'+' | b'-')] = operator {
            self.plus_or_minus(*sign);
        } else {
            self.put(operator, Last::Other);
        }
        for sign in signs {
            self.plus_or_minus(*sign);
        }
    }

    fn plus_or_minus(&mut self, sign: u8) {
        self.end_rows(false);
        let before = self.sign.or_else(|| (self.last != Last::Operand).then_some((self.out.len(), self.last)));
        self.put(&[sign], Last::Other);
        self.sign = before;
    }

    fn open(&mut self, bracket: u8) {
        let list = self.lists_next.take();
        let rows_go_on = self.lists.last().is_some_and(|list| list.rows && list.depth == self.depth && !list.closed);
        if !rows_go_on {
            self.end_rows(false);
        }
        let sticks = match self.last {
            Last::Operand => !self.ends_apart(),
            Last::Open => true,
            Last::Keyword | Last::Other => false,
        };
        if !sticks {
            self.out.push(b' ');
        }
        if list == Some(true) && bracket == b'(' {
            self.begin(self.depth, true);
        }
        self.stick(&[bracket], Last::Open);
        self.depth += 1;
        if list == Some(false) {
            self.begin(self.depth, false);
        }
    }

    /// Whether the word before a bracket stands apart from it.
    fn ends_apart(&self) -> bool {
        let tail = &self.out[self.out.len().saturating_sub(8)..];
        let start = tail.iter().rposition(|byte| !byte.is_ascii_lowercase()).map_or(0, |at| at + 1);
        tail.last() == Some(&b'?') || APART.iter().any(|word| word.as_bytes() == &tail[start..])
    }

    fn begin(&mut self, depth: usize, rows: bool) {
        if self.lists.len() < MOST_LISTS {
            self.lists.push(List { depth, rows, begun: self.out.len(), before: None, closed: false });
        }
    }

    fn close(&mut self, bracket: u8) {
        self.end_rows(false);
        if self.lists.last().is_some_and(|list| !list.rows && list.depth == self.depth) {
            self.end_element();
            self.lists.pop();
        }
        self.stick(&[bracket], Last::Operand);
        self.depth = self.depth.saturating_sub(1);
        let depth = self.depth;
        while self.lists.pop_if(|list| list.depth > depth).is_some() {}
        if self.lists.last().is_some_and(|list| list.rows && list.depth == depth) {
            self.end_element(); // a row
        }
    }

    fn comma(&mut self) {
        self.end_rows(true);
        if self.lists.last().is_some_and(|list| !list.rows && list.depth == self.depth) {
            self.end_element();
        }
        self.stick(b", ", Last::Open);
        let (depth, begun) = (self.depth, self.out.len());
        if let Some(list) = self.lists.last_mut().filter(|list| list.depth == depth) {
            (list.begun, list.closed) = (begun, false);
        }
    }

    /// Rows of VALUES end where something else than a comma stands behind one, or something else than a row behind a comma.
    fn end_rows(&mut self, comma: bool) {
        let depth = self.depth;
        while self.lists.pop_if(|list| list.rows && list.depth == depth && !(comma && list.closed)).is_some() {}
    }

    /// An element is complete: it goes if it reads as the one before it.
    fn end_element(&mut self) {
        let Some(list) = self.lists.last_mut() else { return };
        let written = (list.begun.min(self.out.len()), self.out.len());
        match list.before {
            Some((from, to)) if self.out[from..to] == self.out[written.0..written.1] => self.out.truncate(to),
            Some(_) | None => list.before = Some(written),
        }
        list.closed = list.rows;
    }

    fn finish(mut self, cut: bool) -> Vec<u8> {
        if cut {
            // the element that was cut off is none
            if let Some(list) = self.lists.first()
                && let Some((_, to)) = list.before
            {
                self.out.truncate(to);
            }
            self.out.extend_from_slice(b" ...");
        }
        let end = self.out.iter().rposition(|byte| !matches!(byte, b';' | b' ')).map_or(0, |at| at + 1);
        self.out.truncate(end);
        self.out
    }
}

fn is_operator(byte: u8) -> bool {
    matches!(
        byte,
        b'+' | b'-'
            | b'*'
            | b'/'
            | b'<'
            | b'>'
            | b'='
            | b'~'
            | b'!'
            | b'@'
            | b'#'
            | b'%'
            | b'^'
            | b'&'
            | b'|'
            | b'`'
            | b'?'
    )
}

/// Where a comment begins in a run of operators' characters; its end where none does. Its first character begins none.
fn comment_at(run: &[u8]) -> usize {
    let begins = |pair: &[u8]| pair == b"--" || pair == b"/*";
    run.windows(2).position(begins).unwrap_or(run.len()).max(1)
}

/// Where the number ends that begins at `from` with a digit or a point.
fn number_end(text: &[u8], from: usize) -> usize {
    let run =
        |at: usize| at + text[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    let byte = |at: usize| text.get(at).copied().unwrap_or(0);
    let mut end = run(from);
    if byte(end) == b'.' && byte(end + 1) != b'.' {
        end = run(end + 1);
    }
    let is_decimal = !matches!(byte(from + 1), b'x' | b'X');
    let has_exponent = is_decimal && end > from && matches!(byte(end - 1), b'e' | b'E');
    if has_exponent && matches!(byte(end), b'+' | b'-') && byte(end + 1).is_ascii_digit() {
        end = run(end + 1);
    }
    end
}

#[cfg(test)]
pub(crate) mod tests;
