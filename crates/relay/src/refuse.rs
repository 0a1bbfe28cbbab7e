//! Refusing a client's requests without dropping the client: an error and a ReadyForQuery for each request already received.
//!
//! The one exception ends the session: where the refused request opens a transaction and more stands behind it,
//! the rest would run outside its transaction, which is worse than no session.

use poolwarden_pgwire::frame::{self, Header};
use poolwarden_pgwire::tag::client as tag;
use poolwarden_pgwire::{make, read};

use crate::client::{Body, Client};
use crate::server::Fault;
use crate::statement::text_of;

/// What a refused client's further input is measured against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Skip {
    /// Nothing was refused.
    #[default]
    No,
    /// A request of the extended protocol was refused: everything up to its Sync is skipped.
    ToSync,
}

/// How a refusal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Every request was answered; the session goes on.
    Answered,
    /// The session must end: the error is to be told as FATAL.
    Ends,
}

/// Whether a request belongs to a transaction whose beginning was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    /// No, or it ends it without a trace.
    No,
    /// It may: it was perhaps sent before that refusal could be read.
    Belongs,
}

impl Client {
    /// Answers every request in `pending` with `error` (a whole ErrorResponse) and its ReadyForQuery.
    ///
    /// # Errors
    /// A frame that cannot be.
    pub fn refuse(&mut self, error: &[u8], reply: &mut Vec<u8>) -> Result<Refused, Fault> {
        let pending = std::mem::take(&mut self.pending);
        let (at, refused) = self.refuse_all(&pending, error, reply)?;
        self.keep(&pending[at..]);
        Ok(refused)
    }

    /// What `input`, the next request of a client that was refused, has to do with a transaction whose beginning was.
    #[must_use]
    pub fn torn(&self, input: &[u8]) -> Torn {
        let verb = match frame::header(input) {
            // one that has not come whole is taken as it is: a BEGIN that is refused in pieces is said again
            Ok(Some(header)) => {
                let text = self.text(header, input).map(|text| text.strip_suffix(&[0]).unwrap_or(text));
                text.map_or(Verb::Other, |text| first_verb(text, true))
            }
            Ok(None) | Err(_) => Verb::Other,
        };
        match verb {
            Verb::Opens | Verb::RollsBack => Torn::No,
            Verb::Commits | Verb::Other if self.opened => Torn::Belongs,
            Verb::Commits | Verb::Other => Torn::No,
        }
    }

    /// It is served again: what was refused before is over.
    pub fn mend(&mut self) {
        (self.opened, self.reparsed) = (false, false);
    }

    fn refuse_all(&mut self, input: &[u8], error: &[u8], reply: &mut Vec<u8>) -> Result<(usize, Refused), Fault> {
        let mut at = 0;
        let mut opens = false;
        loop {
            at += self.discard(&input[at..]);
            let left = &input[at..];
            if self.body != Body::None || left.first().is_none_or(|kind| *kind == tag::TERMINATE) {
                return Ok((at, Refused::Answered));
            }
            if opens && self.skip == Skip::No {
                return Ok((at, Refused::Ends)); // as much as a byte behind it is the rest of its transaction
            }
            let Some(header) = frame::header(left)? else {
                return Ok((at, Refused::Answered));
            };
            if self.skip == Skip::ToSync {
                opens = (self.note(header, left) || opens) && self.opened;
                at += self.skip_message(header, reply);
            } else {
                opens = self.note(header, left);
                if !(opens && self.pipelined) {
                    self.refuse_message(header, error, reply);
                }
            }
            if opens && self.pipelined {
                return Ok((at, Refused::Ends));
            }
        }
    }

    fn refuse_message(&mut self, header: Header, error: &[u8], reply: &mut Vec<u8>) {
        match header.tag {
            tag::QUERY | tag::FUNCTION_CALL => {
                reply.extend_from_slice(error);
                make::ready(reply, b'I');
            }
            tag::SYNC => {
                self.reparsed = false;
                make::ready(reply, b'I');
            }
            tag::PARSE | tag::BIND | tag::DESCRIBE | tag::EXECUTE | tag::CLOSE => {
                reply.extend_from_slice(error);
                self.skip = Skip::ToSync;
            }
            _ => {} // COPY messages and Flush outside a request mean nothing
        }
        self.body = Body::Discard(header.total());
    }

    /// One message of a refused batch; returns how many bytes are done with at once.
    pub(crate) fn skip_message(&mut self, header: Header, reply: &mut Vec<u8>) -> usize {
        match header.tag {
            tag::TERMINATE => {
                self.skip = Skip::No;
                return 0;
            }
            tag::SYNC => {
                (self.skip, self.reparsed) = (Skip::No, false);
                make::ready(reply, b'I');
            }
            _ => {}
        }
        self.body = Body::Discard(header.total());
        0
    }

    /// Notes what a refused message does to a transaction; true: it opens one.
    pub(crate) fn note(&mut self, header: Header, input: &[u8]) -> bool {
        let whole = header.total() <= input.len();
        self.reparsed |= header.tag == tag::PARSE && input.get(frame::HEADER).is_none_or(|first| *first == 0);
        let verb = match self.text(header, input) {
            Some(text) => last_verb(text, whole),
            // its name has not come yet, and so not what it prepares or runs
            None if !whole && header.tag == tag::PARSE => Verb::Opens,
            None if !whole && header.tag == tag::BIND && !self.reparsed => Verb::Opens,
            None => Verb::Other,
        };
        match verb {
            Verb::Opens => self.opened = true,
            Verb::Commits | Verb::RollsBack => self.opened = false,
            Verb::Other => {}
        }
        verb == Verb::Opens
    }

    /// The text that the message at the front of `input` prepares or runs, as far as it has come.
    fn text<'a>(&'a self, header: Header, input: &'a [u8]) -> Option<&'a [u8]> {
        let body = &input[frame::HEADER..header.total().min(input.len())];
        match header.tag {
            tag::QUERY => Some(body),
            tag::PARSE => read::cstr(body).map(|(_, rest)| text_of(rest)),
            // the unnamed one that was skipped has been looked at as it came
            tag::BIND => read::bind(body)
                .map(|bind| bind.statement)
                .filter(|name| !(self.reparsed && name.is_empty()))
                .and_then(|name| self.bound(name)),
            _ => None,
        }
    }
}

/// What a statement does to transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Opens,
    Commits,
    RollsBack,
    Other,
}

/// The words by which statements do it.
const VERBS: [(&[u8], Verb); 6] = [
    (b"begin", Verb::Opens),
    (b"start", Verb::Opens),
    (b"commit", Verb::Commits),
    (b"end", Verb::Commits),
    (b"rollback", Verb::RollsBack),
    (b"abort", Verb::RollsBack),
];

/// What the first statement of a text does (white space and comments before it are skipped). Of a text that has not come `whole`,
/// what may still become BEGIN is taken for it.
fn first_verb(text: &[u8], whole: bool) -> Verb {
    let text = skip_blank(text);
    let end = text.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    let begins = |keyword: &[u8]| keyword.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    let comes = end.is_none() || matches!(text, b"/" | b"-"); // perhaps a comment
    if comes && !whole && VERBS[..2].iter().any(|(keyword, _)| begins(keyword)) {
        return Verb::Opens;
    }
    let found = VERBS.iter().find(|(keyword, _)| keyword.eq_ignore_ascii_case(word)).map(|(_, verb)| *verb);
    let goes_on = |phrase: &[u8]| {
        let words = rest.split(|byte| !byte.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).take(4);
        words.into_iter().any(|word| word.eq_ignore_ascii_case(phrase))
    };
    match found {
        Some(Verb::Commits | Verb::RollsBack) if goes_on(b"chain") && !goes_on(b"no") => Verb::Opens,
        Some(Verb::RollsBack) if goes_on(b"to") => Verb::Other, // a savepoint
        Some(verb) => verb,
        None => Verb::Other,
    }
}

/// What a text with perhaps several statements does last. It is cut at every semicolon, be that in a string or not: what is
/// taken for BEGIN wrongly does no harm, and a text with quotes is not believed to end anything.
fn last_verb(text: &[u8], whole: bool) -> Verb {
    let text = text.strip_suffix(&[0]).unwrap_or(text);
    let quoted = || text.iter().any(|byte| matches!(byte, b'\'' | b'"' | b'$'));
    let mut last = Verb::Other;
    let mut statements = text.split(|byte| *byte == b';').peekable();
    while let Some(statement) = statements.next() {
        let closed = whole || statements.peek().is_some();
        match first_verb(statement, closed) {
            Verb::Opens => last = Verb::Opens,
            verb @ (Verb::Commits | Verb::RollsBack) if !quoted() => last = verb,
            Verb::Commits | Verb::RollsBack | Verb::Other => {}
        }
    }
    last
}

fn skip_blank(mut text: &[u8]) -> &[u8] {
    loop {
        text = text.trim_ascii_start();
        if text.starts_with(b"--") {
            let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
            text = &text[end..];
        } else if text.starts_with(b"/*") {
            let end = text[2..].windows(2).position(|pair| pair == b"*/").map_or(text.len(), |at| at + 4);
            text = &text[end..];
        } else {
            return text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Idle;

    fn error() -> Vec<u8> {
        let mut error = Vec::new();
        make::error(
            &mut error,
            &make::Report { severity: "ERROR", sqlstate: "53300", message: "full", detail: None, hint: None },
        );
        error
    }

    fn tags(mut reply: &[u8]) -> String {
        let mut tags = String::new();
        while let Ok(Some(header)) = frame::header(reply) {
            tags.push(char::from(header.tag));
            reply = &reply[header.total()..];
        }
        tags
    }

    #[test]
    fn each_request_received_gets_the_error_and_its_own_ready() {
        let mut client = Client::default();
        make::query(&mut client.pending, "select 1");
        make::query(&mut client.pending, "select 2");
        make::parse(&mut client.pending, "", "select 3", &[]);
        make::sync(&mut client.pending);
        let mut reply = Vec::new();
        assert_eq!(client.refuse(&error(), &mut reply).unwrap(), Refused::Answered);
        assert_eq!(tags(&reply), "EZEZEZ");
    }

    #[test]
    fn a_refused_batch_is_not_ready_before_its_sync() {
        let mut client = Client::default();
        make::parse(&mut client.pending, "", "select 3", &[]);
        let mut reply = Vec::new();
        client.refuse(&error(), &mut reply).unwrap();
        assert_eq!(tags(&reply), "E");
        let mut more = Vec::new();
        make::sync(&mut more);
        make::query(&mut more, "select 1");
        let (at, idle) = client.idle_input(&more, &mut reply).unwrap();
        assert_eq!((tags(&reply).as_str(), idle), ("EZ", Idle::Wants));
        assert_eq!(more[at], b'Q');
    }

    #[test]
    fn a_refused_begin_with_input_behind_it_ends_the_session() {
        for behind in [true, false] {
            let mut client = Client::default();
            make::query(&mut client.pending, " /* x */ BEGIN");
            if behind {
                make::query(&mut client.pending, "delete from t");
            }
            let refused = client.refuse(&error(), &mut Vec::new()).unwrap();
            assert_eq!(refused == Refused::Ends, behind);
        }
    }

    #[test]
    fn a_batch_that_opens_a_transaction_is_judged_at_its_sync() {
        let mut client = Client::default();
        make::parse(&mut client.pending, "", "start transaction", &[]);
        make::sync(&mut client.pending);
        let mut reply = Vec::new();
        assert_eq!(client.refuse(&error(), &mut reply).unwrap(), Refused::Answered);
        make::parse(&mut client.pending, "", "begin", &[]);
        make::sync(&mut client.pending);
        make::query(&mut client.pending, "insert");
        assert_eq!(client.refuse(&error(), &mut reply).unwrap(), Refused::Ends);
    }

    fn refused(client: &mut Client) -> (Refused, String) {
        let mut reply = Vec::new();
        let refused = client.refuse(&error(), &mut reply).unwrap();
        (refused, tags(&reply))
    }

    #[test]
    fn a_byte_behind_a_refused_begin_is_enough() {
        for begin in
            ["begin", "BEGIN; insert into t values (1)", "select 1; begin", "start transaction", "commit and chain"]
        {
            let mut client = Client::default();
            make::query(&mut client.pending, begin);
            client.pending.push(b'Q');
            assert_eq!(refused(&mut client).0, Refused::Ends, "{begin}");
        }
        for whole in ["begin; insert into t values (1); commit", "rollback", "commit", "beginning", "select 'begin'"] {
            let mut client = Client::default();
            make::query(&mut client.pending, whole);
            make::query(&mut client.pending, "select 1");
            assert_eq!(refused(&mut client), (Refused::Answered, "EZEZ".into()), "{whole}");
        }
    }

    #[test]
    fn the_rest_of_a_refused_transaction_belongs_to_it_until_it_ends() {
        let mut client = Client::default();
        let torn = |client: &Client, sql: &str| {
            let mut input = Vec::new();
            make::query(&mut input, sql);
            client.torn(&input)
        };
        assert_eq!(torn(&client, "insert"), Torn::No, "nothing was refused");
        make::query(&mut client.pending, "begin");
        assert_eq!(refused(&mut client).0, Refused::Answered);
        for sql in ["insert", "commit", "end", "savepoint a", "rollback to a", "insert; begin", ""] {
            assert_eq!(torn(&client, sql), Torn::Belongs, "{sql}");
        }
        for sql in ["begin", "start transaction", "rollback", "abort"] {
            assert_eq!(torn(&client, sql), Torn::No, "{sql}");
        }
        make::query(&mut client.pending, "insert into t values ('; commit')");
        assert_eq!(refused(&mut client), (Refused::Answered, "EZ".into()));
        assert_eq!(torn(&client, "insert"), Torn::Belongs);
        make::query(&mut client.pending, "commit");
        make::query(&mut client.pending, "select 1");
        assert_eq!(refused(&mut client), (Refused::Answered, "EZEZ".into()));
        assert_eq!(torn(&client, "insert"), Torn::No);
    }

    #[test]
    fn a_begin_that_comes_in_pieces_or_late_in_its_batch_is_one() {
        let mut whole = Vec::new();
        make::query(&mut whole, "/* x */ Begin");
        for cut in 5..whole.len() {
            let mut client = Client { pending: whole[..cut].to_vec(), ..Client::default() };
            assert_eq!(refused(&mut client), (Refused::Answered, "EZ".into()), "{cut}");
            let mut rest = whole[cut..].to_vec();
            make::query(&mut rest, "insert");
            let (at, idle) = client.idle_input(&rest, &mut Vec::new()).unwrap();
            assert_eq!((idle, client.torn(&rest[at..])), (Idle::Wants, Torn::Belongs), "{cut}");
        }
        let mut client = Client::default();
        make::parse(&mut client.pending, "", "select 1", &[]);
        assert_eq!(refused(&mut client), (Refused::Answered, "E".into()));
        let mut later = Vec::new();
        make::parse(&mut later, "", "begin", &[]);
        make::sync(&mut later);
        make::query(&mut later, "insert");
        let (at, idle) = client.idle_input(&later, &mut Vec::new()).unwrap();
        assert_eq!((idle, client.torn(&later[at..])), (Idle::Wants, Torn::Belongs));
    }

    #[test]
    fn the_unread_rest_of_a_long_message_is_no_pipeline() {
        let mut long = Vec::new();
        make::query(&mut long, "insert into t values ('a long text')");
        for (pending, ends) in [(&long[..long.len() - 1], false), (&long[..], true)] {
            let mut client = Client { pending: pending.to_vec(), ..Client::default() };
            client.has_sent_more();
            assert_eq!(refused(&mut client), (Refused::Answered, "EZ".into()));
            client.body = Body::None;
            make::query(&mut client.pending, "begin");
            assert_eq!(refused(&mut client).0 == Refused::Ends, ends);
        }
    }

    #[test]
    fn a_prepared_begin_may_come_in_pieces_too() {
        let mut whole = Vec::new();
        make::parse(&mut whole, "name", "begin", &[]);
        for cut in 5..whole.len() {
            let mut client = Client { pending: whole[..cut].to_vec(), ..Client::default() };
            assert_eq!(refused(&mut client).0, Refused::Answered);
            let mut insert = Vec::new();
            make::query(&mut insert, "insert");
            assert_eq!(client.torn(&insert), Torn::Belongs, "{cut}");
        }
    }

    #[test]
    fn a_batch_that_is_a_whole_transaction_leaves_nothing_open() {
        let mut client = Client::default();
        for sql in ["begin", "insert", "commit"] {
            make::parse(&mut client.pending, "", sql, &[]);
        }
        make::sync(&mut client.pending);
        make::query(&mut client.pending, "select 1");
        assert_eq!(refused(&mut client), (Refused::Answered, "EZEZ".into()));
    }
}
