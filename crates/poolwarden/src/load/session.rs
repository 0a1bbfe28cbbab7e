//! One client's session as bytes in and values out: it logs in, asks, and hears.
//!
//! ```text
//!   LoggingIn ─► Ready ⇄ Asked
//! ```
//! It owns no socket. Rows are skipped unless they are wanted.

use poolwarden_relay::pgwire::password::Plain;
use poolwarden_relay::pgwire::tag::server as tag;
use poolwarden_relay::pgwire::{frame, make, read};

use super::login::{Keys, Login, Said};

/// What came of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is logged in and ready.
    In,
    /// The whole answer to what was asked: the first error in it, and whether a transaction is open behind it.
    Answer(Option<Said>, bool),
    /// The session is over, or what came is not the protocol.
    Over(Option<Said>),
}

enum Stage {
    LoggingIn(Login),
    Ready,
    /// So many ReadyForQuery are to come.
    Asked(u32),
}

/// A session.
pub(super) struct Session {
    stage: Stage,
    /// Bytes of a message that is not whole yet.
    input: Vec<u8>,
    said: Option<Said>,
    /// First columns of rows, where they are wanted.
    pub(super) rows: Option<Vec<String>>,
}

/// A message longer than this is none a load asks for.
const LONGEST: usize = 1 << 20;

impl Session {
    /// Begins one; the start-up packet goes to `out`.
    pub(super) fn start(params: &[(&str, &str)], out: &mut Vec<u8>) -> Self {
        make::startup(out, 0, params);
        Self { stage: Stage::LoggingIn(Login::default()), input: Vec::new(), said: None, rows: None }
    }

    /// Something was asked that is answered with so many ReadyForQuery.
    pub(super) fn asked(&mut self, answers: u32) {
        self.stage = Stage::Asked(answers);
        self.said = None;
    }

    /// Whether an answer is due.
    pub(super) fn is_asked(&self) -> bool {
        matches!(self.stage, Stage::Asked(_))
    }

    /// Whether it is logged in.
    pub(super) fn is_in(&self) -> bool {
        matches!(self.stage, Stage::Ready | Stage::Asked(_))
    }

    /// What these bytes say; answers of a login go to `out`.
    pub(super) fn hear(
        &mut self,
        bytes: &[u8],
        who: (&str, Option<&Plain>),
        keys: &mut Keys,
        out: &mut Vec<u8>,
    ) -> Option<Heard> {
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(bytes);
        let mut at = 0;
        let mut heard = None;
        while heard.is_none() {
            let header = match frame::header(&input[at..]) {
                Ok(Some(header)) if header.total() <= LONGEST => header,
                Ok(None) => break,
                Ok(Some(_)) | Err(_) => {
                    heard = Some(self.broken("a message that is none of PostgreSQL's"));
                    break;
                }
            };
            let Some(message) = input.get(at..at + header.total()) else { break };
            heard = self.message(header.tag, &message[frame::HEADER..], who, keys, out);
            at += header.total();
        }
        if at < input.len() {
            input.drain(..at);
            self.input = input;
        }
        heard
    }

    /// The peer has closed the connection.
    pub(super) fn closed(&mut self) -> Heard {
        Heard::Over(self.said.take())
    }

    fn broken(&mut self, what: &str) -> Heard {
        let said = Said { fatal: true, sqlstate: "08P01".to_owned(), message: what.to_owned(), detail: String::new() };
        Heard::Over(Some(said))
    }

    fn message(
        &mut self,
        tag: u8,
        body: &[u8],
        who: (&str, Option<&Plain>),
        keys: &mut Keys,
        out: &mut Vec<u8>,
    ) -> Option<Heard> {
        match tag {
            tag::AUTHENTICATION => match &mut self.stage {
                Stage::LoggingIn(login) => login.challenged(body, who, keys, out).err().map(|why| self.broken(&why)),
                Stage::Ready | Stage::Asked(_) => Some(self.broken("a login message behind the login")),
            },
            tag::ERROR => {
                let said = Said::read(body);
                if said.fatal {
                    return Some(Heard::Over(Some(said)));
                }
                self.said.get_or_insert(said);
                None
            }
            tag::DATA_ROW => {
                if let Some(rows) = &mut self.rows {
                    rows.push(first_column(body));
                }
                None
            }
            tag::READY => self.ready(body),
            _ => None, // a byte: notices, parameters, descriptions, nothing a load looks at
        }
    }

    fn ready(&mut self, body: &[u8]) -> Option<Heard> {
        let idle = read::ready(body) == Some(b'I');
        match self.stage {
            Stage::LoggingIn(Login::Proven) => {
                self.stage = Stage::Ready;
                Some(Heard::In)
            }
            Stage::Asked(1) => {
                self.stage = Stage::Ready;
                Some(Heard::Answer(self.said.take(), !idle))
            }
            Stage::Asked(more) => {
                self.stage = Stage::Asked(more - 1);
                None
            }
            Stage::LoggingIn(_) | Stage::Ready => Some(self.broken("ready for a query nobody asked")),
        }
    }
}

/// The first column of a DataRow as text; nothing where it is null.
fn first_column(body: &[u8]) -> String {
    let length = body.get(2..6).and_then(|length| length.try_into().ok()).map_or(-1, i32::from_be_bytes);
    let length = usize::try_from(length).unwrap_or(0);
    String::from_utf8_lossy(body.get(6..6 + length).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(error: Option<&str>, status: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(sqlstate) = error {
            let report = make::Report { severity: "ERROR", sqlstate, message: "no", detail: None, hint: None };
            make::error(&mut bytes, &report);
        }
        make::ready(&mut bytes, status);
        bytes
    }

    fn logged_in() -> Session {
        let mut session = Session::start(&[("user", "app")], &mut Vec::new());
        let mut bytes = Vec::new();
        make::authentication_ok(&mut bytes);
        make::ready(&mut bytes, b'I');
        assert_eq!(hear(&mut session, &bytes), Some(Heard::In));
        session
    }

    fn hear(session: &mut Session, bytes: &[u8]) -> Option<Heard> {
        session.hear(bytes, ("app", None), &mut Keys::default(), &mut Vec::new())
    }

    #[test]
    fn an_answer_is_heard_wherever_its_bytes_are_cut() {
        let bytes = answer(Some("53300"), b'I');
        for cut in 1..bytes.len() {
            let mut session = logged_in();
            session.asked(1);
            assert_eq!(hear(&mut session, &bytes[..cut]), None, "{cut}");
            let Some(Heard::Answer(Some(said), false)) = hear(&mut session, &bytes[cut..]) else { panic!("{cut}") };
            assert_eq!(said.sqlstate, "53300");
        }
    }

    #[test]
    fn the_first_error_of_many_answers_counts_and_the_last_ready_ends_them() {
        let mut session = logged_in();
        session.asked(3);
        assert_eq!(hear(&mut session, &answer(None, b'T')), None);
        assert_eq!(hear(&mut session, &answer(Some("25P02"), b'E')), None);
        let heard = hear(&mut session, &answer(Some("53300"), b'E'));
        let Some(Heard::Answer(Some(said), true)) = heard else { panic!("{heard:?}") };
        assert_eq!(said.sqlstate, "25P02");
    }

    #[test]
    fn a_fatal_error_and_junk_end_the_session() {
        let mut bytes = Vec::new();
        make::error(
            &mut bytes,
            &make::Report { severity: "FATAL", sqlstate: "53300", message: "no", detail: None, hint: None },
        );
        let mut session = logged_in();
        session.asked(1);
        assert!(matches!(hear(&mut session, &bytes), Some(Heard::Over(Some(said))) if said.sqlstate == "53300"));
        assert!(matches!(hear(&mut logged_in(), b"HTTP/1.1 400"), Some(Heard::Over(Some(_)))));
        assert!(matches!(hear(&mut logged_in(), &answer(None, b'I')), Some(Heard::Over(Some(_)))), "nobody asked");
    }
}
