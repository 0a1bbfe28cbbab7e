//! What a client without a server connection can be answered at once: preparing a statement that is known to be good, closing one,
//! and a Sync with nothing to end.
//!
//! A driver that prepares before it executes (and blocks while it does) thus takes no connection for it, and cannot stand in the way
//! of its own other sessions. A text is known to be good when a server of the same pool has parsed it before.

use poolwarden_pgwire::frame::{self, HEADER, Header};
use poolwarden_pgwire::tag::client as tag;
use poolwarden_pgwire::{make, read};

use crate::client::{Body, Client};
use crate::refuse::Skip;
use crate::server::Fault;
use crate::statement::{Named, Texts, What};

/// The place of a Parse that was answered here: none, so that no error of a later lease takes it back.
const NO_PLACE: u64 = u64::MAX;

impl Client {
    /// Answers what can be answered of `input`, the requests of an idle client in transaction mode; returns how many bytes that took.
    ///
    /// # Errors
    /// A frame that cannot be.
    pub fn answer_alone(&mut self, texts: &mut Texts, input: &[u8], reply: &mut Vec<u8>) -> Result<usize, Fault> {
        let mut at = 0;
        while self.body == Body::None && self.skip == Skip::No {
            let Some(header) = frame::header(&input[at..])? else { break };
            let Some(body) = input.get(at + HEADER..at + header.total()) else { break };
            if !self.answer_message(texts, header, body, reply) {
                break;
            }
            at += header.total();
        }
        Ok(at)
    }

    fn answer_message(&mut self, texts: &mut Texts, header: Header, body: &[u8], reply: &mut Vec<u8>) -> bool {
        match header.tag {
            tag::SYNC => {
                make::ready(reply, b'I');
                true
            }
            tag::PARSE => {
                let prepared = read::parse(body).is_some_and(|parse| self.prepare_known(texts, &parse));
                if prepared {
                    make::parse_complete(reply);
                }
                prepared
            }
            tag::CLOSE => {
                let closed = matches!(read::named(body), Some((b'S', name)) if self.close_shared(texts, name));
                if closed {
                    make::close_complete(reply);
                }
                closed
            }
            _ => false,
        }
    }

    /// Names a statement whose text is known to be good; false where a server must be asked.
    fn prepare_known(&mut self, texts: &mut Texts, parse: &read::Parse<'_>) -> bool {
        if parse.name.is_empty() || self.named(parse.name).is_some() {
            return false;
        }
        let Some(statement) = texts.known(self.circle(), parse.rest) else { return false };
        if !statement.is_good() || !texts.charge(parse.name.len()) {
            return false;
        }
        let named = Named { what: What::Shared(statement), described: None, made_at: NO_PLACE };
        self.book().named.insert(parse.name.into(), named);
        true
    }

    /// Forgets a shared statement; false where there is none of that name.
    fn close_shared(&mut self, texts: &mut Texts, name: &[u8]) -> bool {
        let Some(Named { what: What::Shared(_), .. }) = self.named(name) else { return false };
        self.book().named.remove(name);
        texts.refund(name.len());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use crate::statement::About;

    fn known_good(texts: &mut Texts, sql: &str) {
        let rest = [sql.as_bytes(), b"\0\0\0"].concat();
        texts.share(0, &rest, About::default()).unwrap().prove();
    }

    fn answer(client: &mut Client, texts: &mut Texts, ask: impl Fn(&mut Vec<u8>)) -> (usize, Vec<u8>) {
        let (mut input, mut reply) = (Vec::new(), Vec::new());
        ask(&mut input);
        let taken = client.answer_alone(texts, &input, &mut reply).unwrap();
        (input.len() - taken, reply)
    }

    #[test]
    fn a_statement_known_to_be_good_is_prepared_without_a_server() {
        let (mut client, mut texts) = (Client::default(), Texts::new(0, 1 << 20));
        known_good(&mut texts, "select 1");
        let (left, reply) = answer(&mut client, &mut texts, |input| {
            make::parse(input, "a", "select 1", &[]);
            make::sync(input);
        });
        assert_eq!((left, &*reply), (0, &b"1\0\0\0\x04Z\0\0\0\x05I"[..]));
        let (left, reply) = answer(&mut client, &mut texts, |input| make::close(input, b'S', "a"));
        assert_eq!((left, &*reply), (0, &b"3\0\0\0\x04"[..]));
        assert_eq!(client.statements(), 0);
    }

    #[test]
    fn what_a_server_must_judge_is_left_to_it() {
        let (mut client, mut texts) = (Client::default(), Texts::new(0, 1 << 20));
        known_good(&mut texts, "select 1");
        for (name, sql, types) in [("a", "select 2", &[][..]), ("", "select 1", &[]), ("a", "select 1", &[23])] {
            let (left, reply) = answer(&mut client, &mut texts, |input| make::parse(input, name, sql, types));
            assert!(left > 0 && reply.is_empty(), "{name:?} {sql}");
        }
        answer(&mut client, &mut texts, |input| make::parse(input, "a", "select 1", &[]));
        let (left, _) = answer(&mut client, &mut texts, |input| make::parse(input, "a", "select 1", &[]));
        assert!(left > 0, "a name that is taken is the server's to refuse");
        client.settings = Settings::new([("application_name", "psql")]);
        let (left, _) = answer(&mut client, &mut texts, |input| make::parse(input, "b", "select 1", &[]));
        assert_eq!(left, 0, "it means the same");
        client.settings = Settings::new([("timezone", "Asia/Tokyo")]);
        let (left, _) = answer(&mut client, &mut texts, |input| make::parse(input, "c", "select 1", &[]));
        assert!(left > 0, "what time a literal stands for depends on the client");
        client = Client { scope: 1, ..Client::default() };
        let (left, _) = answer(&mut client, &mut texts, |input| make::parse(input, "b", "select 1", &[]));
        assert!(left > 0, "good in one pool says nothing of another");
    }
}
