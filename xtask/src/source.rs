//! One Rust file as tokens, read just well enough to hold a wall.
//!
//! Comments and literals are set aside, so that a forbidden word in a sentence is not a finding;
//! every token knows its line and whether it stands in code that only tests compile.
//! Knows nothing of rules. Macros are read as the tokens they are written with, never expanded.

/// What a token is; literals keep no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    Punct,
    Literal,
    Lifetime,
}

#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// Counted from 1.
    pub(crate) line: usize,
    /// Inside `#[cfg(test)]` or `#[test]`.
    pub(crate) test: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Comment {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// A function with a body, from the line of `fn` to its closing brace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) tokens: Vec<Token>,
    pub(crate) comments: Vec<Comment>,
    pub(crate) lines: usize,
    /// Lines that only tests compile.
    pub(crate) test_lines: usize,
    /// `#[cfg(test)] mod NAME;`: the names, whose files are test code.
    pub(crate) test_modules: Vec<String>,
}

impl Source {
    pub(crate) fn read(text: &str) -> Source {
        let mut lexer = Lexer::new(text);
        lexer.run();
        let mut source =
            Source { tokens: lexer.tokens, comments: lexer.comments, lines: text.lines().count(), ..Source::default() };
        source.mark_tests();
        source
    }

    pub(crate) fn is(&self, at: usize, text: &str) -> bool {
        self.tokens.get(at).is_some_and(|t| t.kind != Kind::Literal && t.text == text)
    }

    pub(crate) fn matches(&self, at: usize, pattern: &[&str]) -> bool {
        pattern.iter().enumerate().all(|(i, text)| self.is(at + i, text))
    }

    /// The index of the bracket that closes the one at `open`; the last token if none does.
    pub(crate) fn closing(&self, open: usize) -> usize {
        let mut depth = 0usize;
        for (i, token) in self.tokens.iter().enumerate().skip(open) {
            if token.kind != Kind::Punct {
                continue;
            }
            match token.text.as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return i;
                    }
                }
                _ => {}
            }
        }
        self.tokens.len().saturating_sub(1)
    }

    pub(crate) fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        for at in 0..self.tokens.len() {
            let named = self.tokens.get(at + 1).is_some_and(|t| t.kind == Kind::Word);
            if !self.is(at, "fn") || !named {
                continue;
            }
            let Some(open) = self.body(at) else { continue };
            let first = self.tokens[at].line;
            let last = self.tokens[self.closing(open)].line;
            found.push(Function { name: self.tokens[at + 1].text.clone(), line: first, lines: last - first + 1 });
        }
        found
    }

    /// The brace that opens the body of the item at `at`, or nothing if it ends with `;` first.
    fn body(&self, at: usize) -> Option<usize> {
        let mut i = at;
        while i < self.tokens.len() {
            if self.is(i, "(") || self.is(i, "[") {
                i = self.closing(i);
            } else if self.is(i, "{") {
                return Some(i);
            } else if self.is(i, ";") {
                return None;
            }
            i += 1;
        }
        None
    }

    fn mark_tests(&mut self) {
        let mut in_test = vec![false; self.lines + 2];
        let mut at = 0;
        while at < self.tokens.len() {
            if self.matches(at, &["#", "!", "["]) && self.is_test_attribute(at + 2) {
                self.mark(0, self.tokens.len() - 1, &mut in_test);
                in_test.fill(true);
                break;
            }
            if !(self.matches(at, &["#", "["]) && self.is_test_attribute(at + 1)) {
                at += 1;
                continue;
            }
            let end = self.item_end(at);
            self.mark(at, end, &mut in_test);
            at = end + 1;
        }
        self.test_lines = in_test.iter().skip(1).take(self.lines).filter(|test| **test).count();
    }

    fn mark(&mut self, from: usize, to: usize, in_test: &mut [bool]) {
        for i in from..=to {
            self.tokens[i].test = true;
        }
        let (first, last) = (self.tokens[from].line, self.tokens[to].line);
        in_test[first..=last].fill(true);
        for i in from..to.saturating_sub(1) {
            if self.is(i, "mod") && self.is(i + 2, ";") {
                self.test_modules.push(self.tokens[i + 1].text.clone());
            }
        }
    }

    /// `open` is the bracket of an attribute: is it `cfg(test)`, `cfg(all(test, ..))` or `test`?
    fn is_test_attribute(&self, open: usize) -> bool {
        self.matches(open, &["[", "cfg", "(", "test", ")"])
            || self.matches(open, &["[", "cfg", "(", "all", "(", "test"])
            || self.matches(open, &["[", "test", "]"])
    }

    /// The last token of what the attribute at `at` stands on.
    fn item_end(&self, at: usize) -> usize {
        let last = self.tokens.len() - 1;
        let mut i = at;
        while self.matches(i, &["#", "["]) {
            i = self.closing(i + 1) + 1;
        }
        while self.is(i, "pub") {
            i += 1;
            if self.is(i, "(") {
                i = self.closing(i) + 1;
            }
        }
        const ITEMS: [&str; 15] = [
            "mod",
            "fn",
            "impl",
            "use",
            "struct",
            "enum",
            "const",
            "static",
            "type",
            "trait",
            "unsafe",
            "async",
            "extern",
            "macro_rules",
            "let",
        ];
        let is_item = ITEMS.iter().any(|word| self.is(i, word));
        while i <= last {
            if self.is(i, "(") || self.is(i, "[") {
                i = self.closing(i);
            } else if self.is(i, "{") {
                return self.closing(i);
            } else if self.is(i, ";") || (!is_item && self.is(i, ",")) {
                return i;
            } else if self.is(i, "}") {
                return i.saturating_sub(1);
            }
            i += 1;
        }
        last
    }
}

struct Lexer<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
    line: usize,
    tokens: Vec<Token>,
    comments: Vec<Comment>,
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str) -> Self {
        Lexer { bytes: text.as_bytes(), text, at: 0, line: 1, tokens: Vec::new(), comments: Vec::new() }
    }

    fn run(&mut self) {
        while self.at < self.bytes.len() {
            let byte = self.bytes[self.at];
            match byte {
                b'\n' => self.step(),
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'/' if self.peek(1) == b'/' => self.line_comment(),
                b'/' if self.peek(1) == b'*' => self.block_comment(),
                b'"' => self.string(),
                b'\'' => self.quote(),
                _ if is_word(byte) => self.word(),
                _ => {
                    self.push(Kind::Punct, self.at, self.at + 1, self.line);
                    self.at += 1;
                }
            }
        }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn step(&mut self) {
        if self.peek(0) == b'\n' {
            self.line += 1;
        }
        self.at += 1;
    }

    fn push(&mut self, kind: Kind, from: usize, to: usize, line: usize) {
        let text = match kind {
            Kind::Literal => String::new(),
            Kind::Word | Kind::Punct | Kind::Lifetime => self.text.get(from..to).unwrap_or("").to_owned(),
        };
        self.tokens.push(Token { kind, text, line, test: false });
    }

    fn line_comment(&mut self) {
        let from = self.at;
        while self.at < self.bytes.len() && self.bytes[self.at] != b'\n' {
            self.at += 1;
        }
        self.comments.push(Comment { line: self.line, text: self.text[from..self.at].to_owned() });
    }

    fn block_comment(&mut self) {
        let (from, line) = (self.at, self.line);
        let mut depth = 0usize;
        while self.at < self.bytes.len() {
            if self.peek(0) == b'/' && self.peek(1) == b'*' {
                depth += 1;
                self.at += 2;
            } else if self.peek(0) == b'*' && self.peek(1) == b'/' {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    break;
                }
            } else {
                self.step();
            }
        }
        self.comments.push(Comment { line, text: self.text[from..self.at].to_owned() });
    }

    fn string(&mut self) {
        let line = self.line;
        self.at += 1;
        while self.at < self.bytes.len() && self.bytes[self.at] != b'"' {
            if self.bytes[self.at] == b'\\' {
                self.at += 1;
            }
            self.step();
        }
        self.at += 1;
        self.push(Kind::Literal, 0, 0, line);
    }

    /// `r"..."`, `r#"..."#`: `self.at` stands on the first `#` or quote.
    fn raw_string(&mut self) {
        let line = self.line;
        let mut hashes = 0;
        while self.peek(0) == b'#' {
            hashes += 1;
            self.at += 1;
        }
        self.at += 1;
        while self.at < self.bytes.len() {
            let closes = self.peek(0) == b'"' && (1..=hashes).all(|i| self.peek(i) == b'#');
            if closes {
                self.at += 1 + hashes;
                break;
            }
            self.step();
        }
        self.push(Kind::Literal, 0, 0, line);
    }

    /// A character literal or a lifetime.
    fn quote(&mut self) {
        let rest = &self.text[self.at + 1..];
        let mut chars = rest.chars();
        let first = chars.next().unwrap_or('\0');
        if first == '\\' {
            let line = self.line;
            self.at += 3;
            while self.at < self.bytes.len() && self.bytes[self.at] != b'\'' {
                self.at += 1;
            }
            self.at += 1;
            self.push(Kind::Literal, 0, 0, line);
        } else if chars.next() == Some('\'') {
            self.push(Kind::Literal, 0, 0, self.line);
            self.at += 2 + first.len_utf8();
        } else {
            let from = self.at;
            self.at += 1;
            while is_word(self.peek(0)) {
                self.at += 1;
            }
            self.push(Kind::Lifetime, from, self.at, self.line);
        }
    }

    fn word(&mut self) {
        let from = self.at;
        while self.at < self.bytes.len() && is_word(self.bytes[self.at]) {
            self.at += 1;
        }
        let word = &self.text[from..self.at];
        let next = self.peek(0);
        let raw = matches!(word, "r" | "br" | "cr")
            && (next == b'"' || (next == b'#' && matches!(self.peek(1), b'"' | b'#')));
        if raw {
            self.raw_string();
        } else if matches!(word, "b" | "c") && next == b'"' {
            self.string();
        } else if word == "b" && next == b'\'' {
            self.quote();
        } else if word == "r" && next == b'#' {
            self.at += 1;
            self.word();
        } else {
            self.push(Kind::Word, from, self.at, self.line);
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_comments_and_literals_are_not_tokens() {
        let source = Source::read(
            "// tokio\n/* mio /* x */ y */ let a = \"tokio\"; let b = r#\"mio \" \"#; let c = '\\''; let d = b'x';",
        );
        assert!(source.tokens.iter().all(|t| t.text != "tokio" && t.text != "mio"));
        assert_eq!(source.comments.len(), 2);
        assert!(source.tokens.iter().any(|t| t.text == "d"));
    }

    #[test]
    fn test_modules_are_told_from_the_rest() {
        let source =
            Source::read("fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nmod far;\n");
        let tests: Vec<_> =
            source.tokens.iter().filter(|t| t.test && t.kind == Kind::Word).map(|t| t.text.as_str()).collect();
        assert!(tests.contains(&"b") && !tests.contains(&"c"));
        assert_eq!((source.lines, source.test_lines), (8, 6));
        assert_eq!(source.test_modules, ["far"]);
    }

    #[test]
    fn functions_are_measured_to_their_closing_brace() {
        let source = Source::read(
            "trait T { fn none(&self); }\nfn one(a: [u8; 3]) -> fn(u8) {\n let x = '{';\n if true {\n }\n}\n",
        );
        assert_eq!(source.functions(), [Function { name: "one".into(), line: 2, lines: 5 }]);
    }

    #[test]
    fn lifetimes_do_not_swallow_code() {
        let source = Source::read("fn f<'a>(x: &'a str) -> &'a str { x }\nstruct S<'b>(&'b u8);");
        assert!(source.tokens.iter().any(|t| t.text == "S"));
    }
}
