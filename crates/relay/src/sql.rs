//! What a text may do to the session: a scan that raises suspicion, and decides nothing.
//!
//! It knows PostgreSQL's tokens (nested comments, strings, dollar quotes, quoted names) and first words, no grammar. It never fails,
//! and takes time linear in the text. What it suspects is put to PostgreSQL itself; what it cannot see (settings made inside functions)
//! is what `reset = "always"` is for. [`is_plain`] is the hot path: most texts are told from suspicious ones without a token.

mod call;
mod glance;
mod token;
mod unread;

pub(crate) use glance::is_plain;
pub(crate) use token::{Dialect, Kind, Pairs, Token, Tokens};
pub(crate) use unread::says_set;

use crate::session::{Pin, Pins};

/// What a text may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touch {
    /// Settings that may be given a value.
    pub(crate) sets: Vec<Name>,
    /// Settings that may be taken back to what the session began with.
    pub(crate) resets: Vec<Box<str>>,
    /// All settings may be.
    pub(crate) resets_all: bool,
    /// State that may come to be.
    pub(crate) makes: Pins,
    /// It runs what it does not say.
    pub(crate) anything: bool,
    /// State that may end.
    pub(crate) ends: Pins,
    /// Statements that are named in SQL: DEALLOCATE and EXECUTE.
    pub(crate) uses: Vec<Use>,
    /// How many statements the text has.
    pub(crate) statements: u32,
}

/// The name of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// Said, in lower case.
    Is(Box<str>),
    /// The value of this parameter, from 1.
    Parameter(u16),
}

/// A prepared statement that a text names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    /// DEALLOCATE, not EXECUTE.
    pub(crate) deallocates: bool,
    pub(crate) name: Box<[u8]>,
    /// Where the name stands in the text.
    pub(crate) at: (usize, usize),
    /// Where its statement begins.
    pub(crate) start: usize,
    /// Which statement of the text it is, from 0.
    pub(crate) number: u32,
}

impl Touch {
    /// Whether there is nothing to suspect.
    pub(crate) fn is_nothing(&self) -> bool {
        let settings = self.sets.is_empty() && self.resets.is_empty() && !self.resets_all;
        settings && !self.anything && self.makes.is_empty() && self.ends.is_empty() && self.uses.is_empty()
    }
}

/// Reads a text. `None`: there is nothing to suspect.
pub(crate) fn read(text: &[u8], dialect: Dialect) -> Option<Box<Touch>> {
    if is_plain(text) {
        return None;
    }
    let mut reader =
        Reader { tokens: Tokens::new(text, dialect), dialect, start: 0, touch: Touch::default(), depth: 0 };
    reader.statements();
    Some(Box::new(reader.touch)).filter(|touch| !touch.is_nothing())
}

/// A body of DO is read as a text of its own; one inside another is not (nobody writes them by hand).
const DEEPEST: u8 = 1;

struct Reader<'a> {
    tokens: Tokens<'a>,
    dialect: Dialect,
    /// Where the statement begins.
    start: usize,
    touch: Touch,
    depth: u8,
}

impl<'a> Reader<'a> {
    fn statements(&mut self) {
        loop {
            let first = self.tokens.next();
            self.start = first.start;
            match first.kind {
                Kind::End => return,
                Kind::Symbol(b';') => {}
                Kind::Word => {
                    self.statement(first);
                    self.touch.statements += 1;
                }
                Kind::Quoted | Kind::Text | Kind::Parameter(_) | Kind::Symbol(_) | Kind::Unicode => {
                    self.rest(first);
                    self.touch.statements += 1;
                }
            }
        }
    }

    /// A statement that begins with this word.
    fn statement(&mut self, first: Token<'a>) {
        let word = first.lower();
        match word.as_str() {
            "set" => self.set(),
            "reset" => self.reset(),
            "discard" => self.discard(),
            "prepare" => self.prepare(first),
            "execute" => self.named(false),
            "deallocate" => self.named(true),
            "listen" => self.makes(Pin::Listen),
            "unlisten" => self.ends(Pin::Listen),
            "load" => self.makes(Pin::Load),
            "close" => self.ends(Pin::HoldCursor),
            "drop" => self.ends(Pin::TempTable),
            "create" => self.create(),
            "declare" => self.declare(),
            "explain" => self.explain(),
            "do" => self.block(),
            _ => self.rest(first),
        }
    }

    fn makes(&mut self, pin: Pin) {
        self.touch.makes.add(pin);
        self.skip();
    }

    fn ends(&mut self, pin: Pin) {
        self.touch.ends.add(pin);
        self.skip();
    }

    fn sets(&mut self, name: Name) {
        if !self.touch.sets.contains(&name) {
            self.touch.sets.push(name);
        }
    }

    /// SET, with everything it may be about. A keyword before a dot is a name like any other (`session.tenant`).
    fn set(&mut self) {
        let mut token = self.tokens.next();
        if token.is("session") && !self.is_dotted() {
            let next = self.tokens.next();
            if next.is("authorization") {
                return self.set_to("session_authorization", self.tokens.clone().next());
            }
            if next.is("characteristics") {
                for name in ["isolation", "read_only", "deferrable"] {
                    self.sets(Name::Is(format!("default_transaction_{name}").into()));
                }
                return self.skip();
            }
            token = next;
        }
        if !self.is_dotted() {
            if token.is("local") || token.is("transaction") || token.is("constraints") {
                return self.value();
            }
            if token.is("time") {
                self.tokens.next(); // ZONE
                return self.set_to("timezone", self.tokens.clone().next());
            }
            let fixed =
                [("role", "role"), ("names", "client_encoding"), ("schema", "search_path"), ("xml", "xmloption")];
            if let Some((_, name)) = fixed.iter().find(|(word, _)| token.is(word)) {
                let mut ahead = self.tokens.clone();
                let next = ahead.next();
                let sign = next.is("to") || next.kind == Kind::Symbol(b'=');
                return self.set_to(name, if sign { ahead.next() } else { next });
            }
        }
        let Some((name, after)) = self.setting(token) else { return self.makes(Pin::Setting) };
        let to = if after.is("to") || after.kind == Kind::Symbol(b'=') { self.tokens.clone().next() } else { after };
        self.set_to(&name, to);
    }

    /// Whether a dot comes next.
    fn is_dotted(&self) -> bool {
        self.tokens.clone().next().kind == Kind::Symbol(b'.')
    }

    fn set_to(&mut self, name: &str, value: Token<'_>) {
        if value.is("default") || value.is("local") {
            self.touch.resets.push(name.into());
        } else {
            self.sets(Name::Is(name.into()));
        }
        self.value();
    }

    /// What a setting is set to: where `pg_temp` is part of a search path, what is made next may be temporary.
    fn value(&mut self) {
        loop {
            let token = self.tokens.next();
            if token.ends() {
                return;
            }
            self.touch.anything |= token.says_temp();
        }
    }

    /// The name of a setting that begins with `first`, and what follows it; `None` where escapes hide the name.
    fn setting(&mut self, first: Token<'a>) -> Option<(String, Token<'a>)> {
        let (mut name, mut part) = (String::new(), first);
        loop {
            if part.kind == Kind::Unicode {
                return None;
            }
            name.push_str(&part.lower());
            let next = self.tokens.next();
            if next.kind != Kind::Symbol(b'.') {
                return Some((name, next));
            }
            name.push('.');
            part = self.tokens.next();
        }
    }

    fn reset(&mut self) {
        let token = self.tokens.next();
        let keyword = !self.is_dotted();
        if keyword && token.is("all") {
            self.touch.resets_all = true;
        } else if keyword && token.is("session") {
            self.touch.resets.push("session_authorization".into());
        } else if keyword && token.is("time") {
            self.touch.resets.push("timezone".into());
        } else if keyword && token.is("transaction") {
            // the transaction's own level
        } else {
            let Some((name, after)) = self.setting(token) else { return self.makes(Pin::Setting) };
            self.touch.resets.push(name.into());
            if after.kind == Kind::Symbol(b';') {
                return;
            }
        }
        self.skip();
    }

    fn discard(&mut self) {
        let token = self.tokens.next();
        if token.is("all") {
            self.touch.resets_all = true;
            self.touch.resets.push("role".into());
            self.touch.resets.push("session_authorization".into());
            self.touch.ends = Pins::all();
        } else if token.is("temp") || token.is("temporary") {
            self.touch.ends.add(Pin::TempTable);
        }
        self.skip();
    }

    /// PREPARE: of a statement, which stands behind it, or of a transaction.
    fn prepare(&mut self, first: Token<'a>) {
        if self.tokens.clone().next().is("transaction") {
            return self.skip();
        }
        self.touch.makes.add(Pin::Prepare);
        self.rest(first);
    }

    /// DEALLOCATE and EXECUTE.
    fn named(&mut self, deallocates: bool) {
        let mut token = self.tokens.next();
        if deallocates && token.is("prepare") {
            let next = self.tokens.clone().next();
            if matches!(next.kind, Kind::Word | Kind::Quoted) {
                token = self.tokens.next();
            }
        }
        self.touch.ends.add(Pin::Prepare);
        let named = matches!(token.kind, Kind::Word | Kind::Quoted) && !(deallocates && token.is("all"));
        if named && self.depth == 0 {
            let name = token.name();
            let number = self.touch.statements;
            self.touch.uses.push(Use { deallocates, name, at: (token.start, token.end), start: self.start, number });
        } else {
            self.touch.anything |= !deallocates;
        }
        if !token.ends() {
            let next = self.tokens.next();
            self.rest(next);
        }
    }

    fn create(&mut self) {
        let mut token = self.tokens.next();
        while token.is("or") || token.is("replace") || token.is("local") || token.is("global") {
            token = self.tokens.next();
        }
        if token.is("temp") || token.is("temporary") {
            self.touch.makes.add(Pin::TempTable);
        }
        let mut ahead = self.tokens.clone();
        let (mut next, mut depth) = (token, 0_i32);
        while !next.ends() && (depth != 0 || !next.is("as")) {
            depth += i32::from(next.kind == Kind::Symbol(b'(')) - i32::from(next.kind == Kind::Symbol(b')'));
            next = ahead.next();
        }
        if next.is("as") && ahead.next().is("execute") {
            self.tokens = ahead;
            return self.named(false);
        }
        self.rest(token);
    }

    fn declare(&mut self) {
        let mut with = false;
        let mut token = self.tokens.next();
        loop {
            if with && token.is("hold") {
                self.touch.makes.add(Pin::HoldCursor);
            }
            if token.is("for") || token.ends() {
                return self.rest(token);
            }
            with = token.is("with");
            token = self.tokens.next();
        }
    }

    /// EXPLAIN: what it explains may run.
    fn explain(&mut self) {
        let mut token = self.tokens.next();
        if token.kind == Kind::Symbol(b'(') {
            while !token.ends() && token.kind != Kind::Symbol(b')') {
                token = self.tokens.next();
            }
            token = self.tokens.next();
        }
        while token.is("analyze") || token.is("analyse") || token.is("verbose") {
            token = self.tokens.next();
        }
        if token.ends() {
            return;
        }
        if token.kind == Kind::Word && !token.is("explain") { self.statement(token) } else { self.rest(token) }
    }

    /// DO: its body is a text in the text.
    fn block(&mut self) {
        loop {
            let token = self.tokens.next();
            if token.ends() {
                return;
            }
            if token.kind == Kind::Text && self.depth < DEEPEST {
                self.body(token.inner());
            }
        }
    }

    /// The words of a body: functions anywhere, and what its statements begin with, wherever a statement can begin.
    fn body(&mut self, text: &'a [u8]) {
        let dialect = Dialect { escapes: false, ..self.dialect };
        let tokens = Tokens::new(text, dialect);
        let mut inner =
            Reader { tokens, dialect, start: 0, touch: std::mem::take(&mut self.touch), depth: self.depth + 1 };
        let statements = inner.touch.statements;
        inner.statements();
        inner.touch.statements = statements;
        // a word that is not at the beginning of what looks like a statement (`begin set x = 1; end`)
        inner.tokens = Tokens::new(text, dialect);
        loop {
            let token = inner.tokens.next();
            if token.kind == Kind::End {
                break;
            }
            if ["begin", "then", "else", "loop"].iter().any(|word| token.is(word)) {
                let ahead = inner.tokens.clone().next();
                if ahead.kind == Kind::Word {
                    inner.tokens.next();
                    inner.statement(ahead);
                }
            }
        }
        inner.touch.statements = statements;
        self.touch = inner.touch;
    }

    /// The rest of a statement, from `token` on: functions, tables made on the way, and `pg_temp`.
    fn rest(&mut self, mut token: Token<'a>) {
        let mut updates = false;
        loop {
            if token.ends() {
                return;
            }
            match token.kind {
                Kind::Word | Kind::Quoted => {
                    if token.is("into") {
                        let mut ahead = self.tokens.clone();
                        let mut next = ahead.next();
                        if next.is("local") || next.is("global") {
                            next = ahead.next();
                        }
                        if next.is("temp") || next.is("temporary") {
                            self.touch.makes.add(Pin::TempTable);
                        }
                    } else if self.tokens.clone().next().kind == Kind::Symbol(b'(') {
                        self.call(token);
                    } else if token.is("pg_temp") {
                        self.touch.makes.add(Pin::TempTable);
                    }
                    updates |= token.is("update");
                    self.touch.anything |= updates && token.is("pg_settings"); // its rule calls set_config
                }
                Kind::Unicode => {
                    let next = self.tokens.clone().next();
                    if next.kind == Kind::Symbol(b'(') || next.is("uescape") {
                        self.touch.makes.add(Pin::Setting); // a function in disguise
                    }
                }
                Kind::Text | Kind::Parameter(_) | Kind::Symbol(_) | Kind::End => {}
            }
            token = self.tokens.next();
        }
    }

    /// Up to the end of the statement.
    fn skip(&mut self) {
        while !self.tokens.next().ends() {}
    }
}

#[cfg(test)]
mod tests;
