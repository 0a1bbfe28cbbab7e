//! One place where users are asked about: a connection, its questions, and its ends.

use std::sync::Arc;
use std::time::Duration;

use poolwarden_switch::pool::{HostId, Time};
use poolwarden_switch::relay::login::Credentials;
use poolwarden_switch::relay::pgwire::password::{Plain, Secret};
use poolwarden_switch::relay::pgwire::{frame, make, read, tag::server as tag};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::{Job, Query, Trouble};
use crate::address::Address;
use crate::auth::cache::Outcome;
use crate::connect;
use crate::inner::Inner;
use crate::stream::Stream;

type Place = (HostId, String);

/// A connection nobody asked on for so long is closed.
const IDLE: Duration = Duration::from_secs(300);
/// An answer, or a login, that takes longer means that the connection is of no use; PostgreSQL itself ends the query at 5 s.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a failure to connect, everybody is told so for this long, and PostgreSQL is left alone.
const REST: Duration = Duration::from_secs(1);
/// Questions sent in one go.
const BATCH: usize = 32;
/// Largest answer that is read: a row has a name and a secret.
const MAX_MESSAGE: u32 = 64 * 1024;

/// An open connection, and for which login it was opened.
struct Open {
    stream: Stream,
    query: Arc<Query>,
    /// Where the server was then.
    address: Address,
}

struct Asker {
    inner: Arc<Inner>,
    place: Place,
    open: Option<Open>,
    /// When a connect failed, and why.
    failed: Option<(Time, Trouble)>,
}

pub(super) async fn run(inner: Arc<Inner>, place: Place, mut jobs: mpsc::Receiver<Job>) {
    let mut closing = inner.closing.subscribe();
    let mut asker = Asker { inner: inner.clone(), place, open: None, failed: None };
    loop {
        let next = tokio::select! {
            next = tokio::time::timeout(asker.stays(), jobs.recv()) => next,
            _ = closing.wait_for(|closing| *closing) => Ok(None),
            () = asker.lost() => {
                asker.open = None;
                continue;
            }
        };
        match next {
            Ok(Some(first)) => {
                let mut batch = vec![first];
                while batch.len() < BATCH
                    && let Ok(job) = jobs.try_recv()
                {
                    batch.push(job);
                }
                asker.serve(batch).await;
            }
            Ok(None) => break,
            Err(_) if inner.auth.askers.leave(&asker.place, &jobs) => break,
            Err(_) => {}
        }
    }
    // nobody new comes in while the process stops; who waits is told
    jobs.close();
    while let Some(job) = jobs.recv().await {
        inner.auth.cache.land(inner.clock.now(), &job.key, &Err(Trouble::new("poolwarden is stopping")));
    }
    asker.goodbye().await;
}

impl Asker {
    /// How long it stays without a question.
    fn stays(&self) -> Duration {
        let failed = self.failed.as_ref().map(|(at, _)| *at);
        stays(self.inner.clock.now(), failed)
    }

    /// Waits until the connection ends or says something unasked, as a server does that stops; for ever without one.
    async fn lost(&self) {
        match &self.open {
            Some(open) => drop(open.stream.readable_now().await),
            None => std::future::pending().await,
        }
    }

    async fn goodbye(mut self) {
        if let Some(open) = &mut self.open {
            let mut bytes = Vec::new();
            make::terminate(&mut bytes);
            let _ = open.stream.write_all(&bytes).await; // it is closed either way
        }
    }

    /// Answers all of them, one way or the other.
    async fn serve(&mut self, mut batch: Vec<Job>) {
        while let Some(first) = batch.first() {
            // Settings may have changed between two questions: each is asked as its own says.
            let query = first.query.clone();
            let same = batch.iter().take_while(|job| job.query == query).count();
            let later = batch.split_off(same);
            let outcomes = self.ask_all(&query, &batch).await;
            for (job, outcome) in batch.iter().zip(outcomes) {
                if let Err(trouble) = &outcome {
                    let said = format!("users cannot be looked up in database \"{}\": {}", self.place.1, trouble.0);
                    self.inner.notes.add("auth_query", said, None);
                }
                self.inner.auth.cache.land(self.inner.clock.now(), &job.key, &outcome);
            }
            batch = later;
        }
    }

    async fn ask_all(&mut self, query: &Arc<Query>, batch: &[Job]) -> Vec<Outcome> {
        let all = |trouble: &Trouble| batch.iter().map(|_| Err(trouble.clone())).collect();
        let address = self.inner.plan(self.place.0).map(|plan| plan.address);
        self.open.take_if(|open| open.query != *query || Some(&open.address) != address.as_ref());
        let reused = self.open.is_some();
        match self.attempt(query, batch).await {
            Ok(outcomes) => outcomes,
            // A connection that was idle may have ended with its server: once more on a new one.
            Err(_) if reused => match self.attempt(query, batch).await {
                Ok(outcomes) => outcomes,
                Err(trouble) => all(&trouble),
            },
            Err(trouble) => all(&trouble),
        }
    }

    async fn attempt(&mut self, query: &Arc<Query>, batch: &[Job]) -> Result<Vec<Outcome>, Trouble> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.connect(query).await?,
        };
        let asked = tokio::time::timeout(PATIENCE, converse(&mut open, batch)).await;
        let outcomes = asked.map_err(|_| Trouble::new(format!("no answer within {PATIENCE:?}")))??;
        self.open = Some(open);
        Ok(outcomes)
    }

    async fn connect(&mut self, query: &Arc<Query>) -> Result<Open, Trouble> {
        let now = self.inner.clock.now();
        if let Some((at, trouble)) = &self.failed
            && now.since(*at) < REST
        {
            return Err(trouble.clone());
        }
        match self.dial(query).await {
            Ok((stream, address)) => {
                self.failed = None;
                Ok(Open { stream, query: query.clone(), address })
            }
            Err(trouble) => {
                self.failed = Some((self.inner.clock.now(), trouble.clone()));
                Err(trouble)
            }
        }
    }

    async fn dial(&self, query: &Query) -> Result<(Stream, Address), Trouble> {
        let plan = self.inner.plan(self.place.0).ok_or_else(|| Trouble::new("the server is not configured"))?;
        let patience = plan.connect_timeout.min(PATIENCE);
        let role = (self.place.0, query.user.clone());
        let plain = query.password.as_deref().map(Plain::new);
        let password = plain.clone().map(|plain| self.inner.auth.keys.known(&role, plain));
        let mut settings = vec![
            ("application_name".to_owned(), "poolwarden auth".to_owned()),
            ("client_encoding".to_owned(), "UTF8".to_owned()),
            ("statement_timeout".to_owned(), "5000".to_owned()),
        ];
        settings.extend(query.search_path.clone().map(|path| ("search_path".to_owned(), path)));
        let database = self.place.1.clone();
        let credentials = Credentials { user: query.user.clone(), database, password, settings };
        let work = async {
            let session = connect::session(&self.inner, self.place.0, &plan, credentials, true).await;
            let (stream, welcome) = session.map_err(|failure| Trouble::new(&failure.message))?;
            if let (Some(plain), Some(derived)) = (plain, welcome.derived) {
                self.inner.auth.keys.learn(role, plain, derived);
            }
            Ok(stream)
        };
        let done = tokio::time::timeout(patience, work).await;
        let stream =
            done.map_err(|_| Trouble::new(format!("no answer from {} within {patience:?}", plan.address)))??;
        Ok((stream, plan.address))
    }
}

/// Places are few: one that failed to connect, as in a database that a client made up, goes as soon as it need not remember that.
fn stays(now: Time, failed: Option<Time>) -> Duration {
    failed.map_or(IDLE, |at| REST.saturating_sub(now.since(at)))
}

/// Sends all questions and reads all answers; an error is the connection's end.
async fn converse(open: &mut Open, batch: &[Job]) -> Result<Vec<Outcome>, Trouble> {
    let gone = |why: std::io::Error| Trouble::new(why.to_string());
    let mut questions = Vec::new();
    for job in batch {
        question(&mut questions, &open.query.sql, &job.key.user);
    }
    open.stream.write_all(&questions).await.map_err(gone)?;
    let mut reader = Reader::default();
    let mut buffer = vec![0; 8 * 1024];
    let mut held = Vec::new();
    while reader.outcomes.len() < batch.len() {
        let count = open.stream.read(&mut buffer).await.map_err(gone)?;
        if count == 0 {
            let said = reader
                .failed
                .take()
                .map_or_else(|| "the server closed the connection".to_owned(), |said| said.0.to_string());
            return Err(Trouble::new(said));
        }
        held.extend_from_slice(&buffer[..count]);
        let mut at = 0;
        while let Some(header) = frame::header(&held[at..]).map_err(|why| Trouble::new(why.to_string()))? {
            if header.body > MAX_MESSAGE {
                return Err(Trouble::new(format!("an answer of {} bytes", header.body)));
            }
            let Some(body) = held.get(at + frame::HEADER..at + header.total()) else { break };
            reader.take(header.tag, body);
            at += header.total();
        }
        held.drain(..at);
    }
    Ok(reader.outcomes)
}

/// The query with the name as its one parameter; its own Sync, so that one that fails spoils no other.
fn question(out: &mut Vec<u8>, sql: &str, user: &str) {
    make::parse(out, "", sql, &[]);
    let mut bind = Vec::with_capacity(user.len() + 24);
    bind.extend_from_slice(b"\0\0"); // portal, statement: both unnamed
    bind.extend_from_slice(&0u16.to_be_bytes()); // parameters are text
    bind.extend_from_slice(&1u16.to_be_bytes());
    bind.extend_from_slice(&u32::try_from(user.len()).unwrap_or(0).to_be_bytes()); // a name has at most 63 bytes
    bind.extend_from_slice(user.as_bytes());
    bind.extend_from_slice(&0u16.to_be_bytes()); // results are text
    message(out, b'B', &bind);
    message(out, b'E', b"\0\0\0\0\0");
    make::sync(out);
}

fn message(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    out.push(tag);
    out.extend_from_slice(&u32::try_from(body.len() + 4).unwrap_or(4).to_be_bytes()); // far below 4 GiB
    out.extend_from_slice(body);
}

/// Reads answers: one outcome per ReadyForQuery.
#[derive(Default)]
struct Reader {
    outcomes: Vec<Outcome>,
    row: Option<Outcome>,
    failed: Option<Trouble>,
}

impl Reader {
    fn take(&mut self, tag: u8, body: &[u8]) {
        match tag {
            tag::DATA_ROW => {
                let read = secret(body);
                self.row = Some(match self.row {
                    None => read,
                    Some(_) => Err(Trouble::new("the query gives more than one row for a user")),
                });
            }
            tag::ERROR => {
                let report = read::report(body);
                self.failed = Some(Trouble::new(format!("{}: {}", report.sqlstate, report.message)));
            }
            tag::READY => {
                let row = self.row.take().unwrap_or(Ok(None));
                self.outcomes.push(self.failed.take().map_or(row, Err));
            }
            _ => {} // any other byte: completions, notices, parameters
        }
    }
}

/// The second column of a row: a secret, or none.
fn secret(row: &[u8]) -> Outcome {
    let wrong = || Trouble::new("the query must give two columns: the name and the secret");
    let columns = row.first_chunk::<2>().map_or(0, |count| u16::from_be_bytes(*count));
    if columns < 2 {
        return Err(wrong());
    }
    let (_name, rest) = value(&row[2..]).ok_or_else(wrong)?;
    let (secret, _) = value(rest).ok_or_else(wrong)?;
    let Some(secret) = secret.filter(|secret| !secret.is_empty()) else { return Ok(None) };
    let text = std::str::from_utf8(secret).map_err(|_| Trouble::new("a secret that is not UTF-8 text"))?;
    Ok(Some(Secret::parse(text)))
}

/// A column's value, `None` for null, and what follows.
fn value(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    match usize::try_from(i32::from_be_bytes(*length)) {
        Ok(length) => rest.split_at_checked(length).map(|(value, rest)| (Some(value), rest)),
        Err(_) => Some((None, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut message = Vec::new();
        make::data_row(&mut message, values);
        message[frame::HEADER..].to_vec()
    }

    #[test]
    fn a_row_gives_a_secret_or_none() {
        assert_eq!(secret(&row(&[Some(b"app"), Some(b"hunter2")])), Ok(Some(Secret::parse("hunter2"))));
        assert_eq!(secret(&row(&[Some(b"app"), None])), Ok(None), "VALID UNTIL is over");
        assert_eq!(secret(&row(&[Some(b"app"), Some(b"")])), Ok(None), "nobody logs in with nothing");
        assert_eq!(secret(&row(&[None, Some(b"x"), Some(b"y")])), Ok(Some(Secret::parse("x"))));
        assert!(secret(&row(&[Some(b"hunter2")])).is_err());
        assert!(secret(&row(&[Some(b"app"), Some(b"\xff")])).is_err());
        assert!(secret(b"\0\x02\0\0").is_err());
    }

    #[test]
    fn a_place_that_cannot_connect_is_free_again_after_a_rest() {
        let at = |ms: u64| Time::from_nanos(ms * 1_000_000);
        assert_eq!(stays(at(5_000), None), IDLE);
        assert_eq!(stays(at(5_000), Some(at(5_000))), REST);
        assert_eq!(
            stays(at(5_900), Some(at(5_000))),
            Duration::from_millis(100),
            "questions meanwhile do not prolong it"
        );
        assert_eq!(stays(at(7_000), Some(at(5_000))), Duration::ZERO);
    }

    #[test]
    fn answers_are_told_apart_by_ready_for_query() {
        let mut reader = Reader::default();
        let whole = row(&[Some(b"app"), Some(b"one")]);
        reader.take(tag::DATA_ROW, &whole);
        reader.take(tag::READY, b"I");
        reader.take(tag::READY, b"I");
        reader.take(tag::ERROR, b"SERROR\0C42501\0Mpermission denied\0\0");
        reader.take(tag::READY, b"I");
        reader.take(tag::DATA_ROW, &whole);
        reader.take(tag::DATA_ROW, &whole);
        reader.take(tag::READY, b"I");
        let denied = Trouble::new("42501: permission denied");
        assert_eq!(reader.outcomes[..3], [Ok(Some(Secret::parse("one"))), Ok(None), Err(denied)]);
        assert!(reader.outcomes[3].is_err(), "two rows");
    }

    #[test]
    fn the_name_is_a_parameter_and_no_part_of_the_query() {
        let mut bytes = Vec::new();
        question(&mut bytes, "select $1", "'; drop table x --");
        let mut tags = Vec::new();
        let mut at = 0;
        while let Ok(Some(header)) = frame::header(&bytes[at..]) {
            let body = &bytes[at + frame::HEADER..at + header.total()];
            let names_it = body.windows(4).any(|part| part == b"drop");
            tags.push((char::from(header.tag), names_it));
            at += header.total();
        }
        assert_eq!(tags, [('P', false), ('B', true), ('E', false), ('S', false)]);
    }
}
