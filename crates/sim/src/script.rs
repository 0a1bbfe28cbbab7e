//! What a client says next: exchanges made up from its own chance, as real drivers would send them.

use poolwarden_switch::relay::Keep;
use poolwarden_switch::relay::pgwire::make;

use crate::backend::copy_data;
use crate::client::Client;
use crate::round::{Fate, Round, Want};
use crate::sql::Token;

/// Statements prepared under a name, the same texts for everybody.
const PREPARED: u64 = 6;

/// What one exchange sends, and what it waits for.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    pub(crate) bytes: Vec<u8>,
    pub(crate) rounds: Vec<Round>,
}

impl Exchange {
    fn simple(&mut self, sql: &str, round: Round) {
        make::query(&mut self.bytes, sql);
        self.rounds.push(round);
    }
}

impl Client {
    /// What the client does next, from where it stands.
    pub(crate) fn exchange(&mut self) -> Exchange {
        let mut exchange = Exchange::default();
        match self.status {
            b'I' if self.pipelines => self.pipelined_transaction(&mut exchange),
            b'E' => self.end(&mut exchange),
            b'T' if self.random.once_in(3) => self.end(&mut exchange),
            b'T' if self.random.once_in(8) => self.rename(&mut exchange),
            b'T' => self.statement(&mut exchange),
            _ => self.outside(&mut exchange),
        }
        exchange
    }

    /// Something outside of any transaction.
    fn outside(&mut self, exchange: &mut Exchange) {
        let blocks = self.keep != Keep::Statement;
        match self.random.below(14) {
            0..3 if blocks || self.random.once_in(20) => self.begin(exchange),
            3 if blocks => self.whole_transaction(exchange),
            4 => {
                for _ in 0..self.random.between(2, 6) {
                    self.statement(exchange);
                }
            }
            5 => self.rename(exchange),
            6 => self.copy_in(exchange),
            7 => self.copy_out(exchange),
            8 => self.forget(exchange),
            _ => self.statement(exchange),
        }
    }

    /// One round that runs statements of its own.
    fn statement(&mut self, exchange: &mut Exchange) {
        match self.random.below(8) {
            0..3 => self.select(exchange),
            3 => self.fail(exchange),
            4 => self.unnamed(exchange),
            5 => self.duplicate(exchange),
            _ => self.prepared(exchange),
        }
    }

    fn token(&mut self) -> Token {
        self.number += 1;
        Token { owner: self.id, number: self.number }
    }

    fn one(&self, token: Token, want: impl IntoIterator<Item = Want>) -> Round {
        Round::new((token.number, token.number), want)
    }

    fn hold(&mut self) -> u64 {
        if self.random.once_in(15) { self.random.below(self.holds * 20 + 1) } else { self.random.below(self.holds + 1) }
    }

    fn rows(&mut self) -> (u32, u64) {
        let rows = if self.random.once_in(10) { self.random.between(5, 40) } else { self.random.below(4) };
        let size = if self.random.once_in(12) { self.random.below(3000) } else { self.random.below(30) };
        (u32::try_from(rows).unwrap_or(0), size) // at most 40
    }

    fn select(&mut self, exchange: &mut Exchange) {
        let token = self.token();
        let (hold, (rows, size)) = (self.hold(), self.rows());
        let want = [Want::Is(b'T'), Want::Rows { token, left: rows }, Want::Complete(format!("SELECT {rows}"))];
        let round = self.one(token, want);
        let tag = self.tag();
        exchange.simple(&format!("select {token} {hold} {rows} {size}{tag}"), round);
    }

    /// What it says of a statement in a comment.
    fn tag(&mut self) -> String {
        let class = ["batch", "critical", "nobody"][self.labels.place(3)];
        let millis = self.labels.between(1, 500);
        match self.labels.below(8) {
            0 => format!(" /*poolwarden_class='{class}'*/"),
            1 => format!(" /*poolwarden_class='{class}',poolwarden_deadline_ms='{millis}'*/"),
            _ => String::new(),
        }
    }

    /// All of a transaction at once, with statements that must not run outside of it: by simple queries, by a batch for each
    /// statement, or by one batch for all.
    fn pipelined_transaction(&mut self, exchange: &mut Exchange) {
        let style = self.random.below(3);
        let inserts = self.random.between(1, 3);
        let first = self.number + 1;
        let mut all = Vec::new();
        for at in 0..=inserts + 1 {
            let token = self.token();
            let hold = self.hold();
            let (sql, told) = match at {
                0 => (format!("begin -- {token}{}", self.tag()), "BEGIN"),
                at if at <= inserts => (format!("insert {token} {hold}"), "SELECT 0"),
                _ => (format!("commit -- {token}"), "COMMIT"),
            };
            let is_row = told == "SELECT 0";
            let told = Want::Complete(told.to_owned());
            if style == 0 {
                let want = is_row.then_some(Want::Is(b'T')).into_iter().chain([told]);
                let round = self.one(token, want);
                exchange.simple(&sql, round);
                continue;
            }
            make::parse(&mut exchange.bytes, "", sql, &[]);
            exchange.bytes.extend_from_slice(&[b'B', 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0]);
            execute(&mut exchange.bytes, 0);
            let want = [Want::Parsed(String::new()), Want::Is(b'2'), told];
            if style == 1 {
                make::sync(&mut exchange.bytes);
                exchange.rounds.push(self.one(token, want));
            } else {
                all.extend(want);
            }
        }
        if style == 2 {
            make::sync(&mut exchange.bytes);
            exchange.rounds.push(Round::new((first, self.number), all));
        }
    }

    /// Behind everything else it asks for something that takes very long; to be used by those who will not wait for it.
    pub(crate) fn stares(&mut self, hold: u64) {
        let is_rows = |want: &Want| matches!(want, Want::CopyBegin(rows) if !rows.is_empty());
        if self.rounds.iter().any(|round| round.want.iter().any(is_rows)) {
            return; // its rows come first
        }
        let mut exchange = Exchange::default();
        let token = self.token();
        let round = self.one(token, []);
        exchange.simple(&format!("select {token} {hold} 0 0"), round);
        self.outbox.extend_from_slice(&exchange.bytes);
        self.rounds.extend(exchange.rounds);
    }

    fn fail(&mut self, exchange: &mut Exchange) {
        let token = self.token();
        let hold = self.hold();
        let round = self.one(token, []).with(Fate::Fails);
        exchange.simple(&format!("fail {token} {hold}"), round);
    }

    fn begin(&mut self, exchange: &mut Exchange) {
        self.word("begin", exchange);
    }

    fn end(&mut self, exchange: &mut Exchange) {
        let word = if self.random.once_in(3) { "rollback" } else { "commit" };
        self.word(word, exchange);
    }

    /// One word about the transaction, in either protocol.
    fn word(&mut self, word: &str, exchange: &mut Exchange) {
        let token = self.token();
        let sql = format!("{word} -- {token}");
        let told = Want::Complete(word.to_ascii_uppercase());
        if self.random.once_in(2) {
            let round = self.one(token, [told]);
            return exchange.simple(&sql, round);
        }
        make::parse(&mut exchange.bytes, "", sql, &[]);
        exchange.bytes.extend_from_slice(&[b'B', 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0]);
        execute(&mut exchange.bytes, 0);
        make::sync(&mut exchange.bytes);
        let round = self.one(token, [Want::Parsed(String::new()), Want::Is(b'2'), told]);
        exchange.rounds.push(round);
    }

    fn forget(&mut self, exchange: &mut Exchange) {
        let token = self.token();
        let round = self.one(token, [Want::Complete("DEALLOCATE ALL".into())]);
        exchange.simple(&format!("deallocate all -- {token}"), round);
    }

    /// All of a transaction at once.
    fn whole_transaction(&mut self, exchange: &mut Exchange) {
        self.begin(exchange);
        for _ in 0..self.random.between(1, 4) {
            self.statement(exchange);
        }
        self.end(exchange);
        exchange.rounds[0].begins = true;
        exchange.rounds[1..].iter_mut().for_each(|round| round.inside = true);
    }

    fn rename(&mut self, exchange: &mut Exchange) {
        let token = self.token();
        let name = if self.random.once_in(3) { "common".into() } else { format!("n{}", self.random.below(4)) };
        let mut round = self.one(token, [Want::Complete("SET".into())]);
        round.name = Some(name.clone());
        exchange.simple(&format!("set application_name to {name} -- {token}"), round);
    }

    fn copy_in(&mut self, exchange: &mut Exchange) {
        let token = self.token();
        let rows = self.random.below(8);
        let mut copy = Vec::new();
        for _ in 0..rows {
            copy_data(&mut copy, format!("{token}\n{}", "y".repeat(self.random.place(200))).as_bytes());
        }
        let gives_up = self.random.once_in(5);
        if gives_up {
            make::copy_fail(&mut copy, "no more");
        } else {
            copy.extend_from_slice(&[b'c', 0, 0, 0, 4]);
        }
        let at_once = self.random.once_in(2);
        let later = if at_once { Vec::new() } else { copy.clone() };
        let mut round = self.one(token, [Want::CopyBegin(later)]);
        if gives_up {
            round.fate = Fate::GivesUp;
        } else {
            round.want.push_back(Want::Complete(format!("COPY {rows}")));
        }
        exchange.simple(&format!("copy-in {token}"), round);
        if at_once {
            exchange.bytes.extend_from_slice(&copy);
        }
    }

    fn copy_out(&mut self, exchange: &mut Exchange) {
        let token = self.token();
        let rows = u32::try_from(self.random.below(30)).unwrap_or(0); // below 30
        let want = [
            Want::Is(b'H'),
            Want::CopyRows { token, left: rows },
            Want::Is(b'c'),
            Want::Complete(format!("COPY {rows}")),
        ];
        let round = self.one(token, want);
        exchange.simple(&format!("copy-out {token} {rows}"), round);
    }

    /// The unnamed statement, once.
    fn unnamed(&mut self, exchange: &mut Exchange) {
        let token = self.token();
        let (hold, (rows, size)) = (self.hold(), self.rows());
        let mut want = vec![Want::Parsed(String::new())];
        make::parse(&mut exchange.bytes, "", format!("select $1 {hold} {rows} {size}"), &[25]);
        if self.random.once_in(3) {
            make::describe(&mut exchange.bytes, b'S', "");
            want.extend([Want::Is(b't'), Want::Is(b'T')]);
        }
        bind(&mut exchange.bytes, "", token);
        want.push(Want::Is(b'2'));
        if self.random.once_in(2) {
            make::describe(&mut exchange.bytes, b'P', "");
            want.push(Want::Is(b'T'));
        }
        let first =
            if rows > 1 && self.random.once_in(3) { self.random.between(1, u64::from(rows) - 1) as u32 } else { 0 };
        if first > 0 {
            execute(&mut exchange.bytes, first);
            want.extend([Want::Rows { token, left: first }, Want::Is(b's')]);
        }
        if self.random.once_in(4) {
            make::flush(&mut exchange.bytes);
        }
        execute(&mut exchange.bytes, 0);
        let rows = rows - first;
        want.extend([Want::Rows { token, left: rows }, Want::Complete(format!("SELECT {rows}"))]);
        make::sync(&mut exchange.bytes);
        exchange.rounds.push(self.one(token, want));
    }

    /// A named statement, prepared where it is not yet, run a few times before one Sync, sometimes closed.
    fn prepared(&mut self, exchange: &mut Exchange) {
        let which = self.random.below(PREPARED);
        let name = format!("s{which}");
        let (hold, rows) = (which * 150, u32::try_from(which % 3).unwrap_or(0)); // below 3
        let mut want = Vec::new();
        if !self.knows(&name, exchange) {
            make::parse(&mut exchange.bytes, &name, format!("select $1 {hold} {rows} 5"), &[25]);
            want.push(Want::Parsed(name.clone()));
            if self.random.once_in(2) {
                make::describe(&mut exchange.bytes, b'S', &name);
                want.extend([Want::Is(b't'), Want::Is(b'T')]);
            }
        }
        let first = self.number + 1;
        for _ in 0..self.random.between(1, 3) {
            let token = self.token();
            bind(&mut exchange.bytes, &name, token);
            execute(&mut exchange.bytes, 0);
            want.extend([Want::Is(b'2'), Want::Rows { token, left: rows }, Want::Complete(format!("SELECT {rows}"))]);
        }
        if self.random.once_in(6) {
            make::close(&mut exchange.bytes, b'S', &name);
            want.push(Want::Closed(name));
        }
        make::sync(&mut exchange.bytes);
        exchange.rounds.push(Round::new((first, self.number), want));
    }

    /// A name that is taken is prepared once more.
    fn duplicate(&mut self, exchange: &mut Exchange) {
        let taken = self.statements.iter().next().cloned();
        let Some(name) = taken.filter(|_| exchange.rounds.is_empty()) else { return self.prepared(exchange) };
        make::parse(&mut exchange.bytes, name, "select $1 0 0 0", &[]);
        make::sync(&mut exchange.bytes);
        exchange.rounds.push(Round::new((0, 0), []).with(Fate::Duplicate));
    }

    /// Whether a name is prepared for sure by the time what is said now is read. While an earlier round of the same exchange
    /// could fail or touches the name, nothing is sure: then it is closed first.
    fn knows(&mut self, name: &str, exchange: &mut Exchange) -> bool {
        if exchange.rounds.is_empty() {
            return self.statements.contains(name);
        }
        make::close(&mut exchange.bytes, b'S', name);
        make::sync(&mut exchange.bytes);
        exchange.rounds.push(Round::new((0, 0), [Want::Closed(name.to_owned())]));
        false
    }
}

/// A Bind of the unnamed portal with one text parameter.
fn bind(out: &mut Vec<u8>, statement: &str, token: Token) {
    let mut body = vec![0];
    body.extend_from_slice(statement.as_bytes());
    body.extend_from_slice(&[0, 0, 0, 0, 1]);
    let value = token.to_string();
    let length = u32::try_from(value.len()).unwrap_or(0); // a token has a few characters
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(value.as_bytes());
    body.extend_from_slice(&[0, 0]);
    out.push(b'B');
    let length = u32::try_from(body.len() + 4).unwrap_or(0); // as above
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&body);
}

/// An Execute of the unnamed portal, so many rows; 0: all.
fn execute(out: &mut Vec<u8>, limit: u32) {
    out.extend_from_slice(&[b'E', 0, 0, 0, 9, 0]);
    out.extend_from_slice(&limit.to_be_bytes());
}
