//! Refusing a client's requests without dropping the client: an error and a ReadyForQuery for each request already received.
//!
//! The one exception ends the session: where the refused request opens a transaction and more stands behind it,
//! the rest would run outside its transaction, which is worse than no session.

use poolwarden_pgwire::frame::{self, Header};
use poolwarden_pgwire::tag::client as tag;
use poolwarden_pgwire::{make, read};

use crate::client::{Body, Client};
use crate::server::Fault;

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

    fn refuse_all(&mut self, input: &[u8], error: &[u8], reply: &mut Vec<u8>) -> Result<(usize, Refused), Fault> {
        let mut at = 0;
        let mut opens = false;
        loop {
            at += self.discard(&input[at..]);
            let Some(header) = frame::header(&input[at..])? else {
                return Ok((at, Refused::Answered));
            };
            if self.body != Body::None || header.tag == tag::TERMINATE {
                return Ok((at, Refused::Answered));
            }
            if opens && self.skip == Skip::No {
                return Ok((at, Refused::Ends));
            }
            if self.skip == Skip::ToSync {
                at += self.skip_message(header, reply);
                continue;
            }
            opens = self.opens(header, &input[at..]);
            if opens && self.pipelined {
                return Ok((at, Refused::Ends));
            }
            self.refuse_message(header, error, reply);
        }
    }

    fn refuse_message(&mut self, header: Header, error: &[u8], reply: &mut Vec<u8>) {
        match header.tag {
            tag::QUERY | tag::FUNCTION_CALL => {
                reply.extend_from_slice(error);
                make::ready(reply, b'I');
            }
            tag::SYNC => make::ready(reply, b'I'),
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
                self.skip = Skip::No;
                make::ready(reply, b'I');
            }
            _ => {}
        }
        self.body = Body::Discard(header.total());
        0
    }

    /// Whether the message at the front of `input` opens a transaction.
    fn opens(&self, header: Header, input: &[u8]) -> bool {
        let body = &input[frame::HEADER..header.total().min(input.len())];
        match header.tag {
            tag::QUERY => opens_transaction(body),
            tag::PARSE => read::cstr(body).is_some_and(|(_, text)| opens_transaction(text)),
            tag::BIND => read::bind(body).is_some_and(|bind| self.begins(bind.statement)),
            _ => false,
        }
    }
}

/// Whether a text's first word is BEGIN or START (white space and comments before it are skipped).
pub(crate) fn opens_transaction(text: &[u8]) -> bool {
    let word = skip_blank(text);
    [&b"begin"[..], b"start"].iter().any(|keyword| {
        word.get(..keyword.len()).is_some_and(|start| start.eq_ignore_ascii_case(keyword))
            && !word.get(keyword.len()).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
    })
}

fn skip_blank(mut text: &[u8]) -> &[u8] {
    loop {
        text = text.trim_ascii_start();
        if text.starts_with(b"--") {
            let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
            text = &text[end..];
        } else if text.starts_with(b"/*") {
            let end = text.windows(2).position(|pair| pair == b"*/").map_or(text.len(), |at| at + 2);
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
}
