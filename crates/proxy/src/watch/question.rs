//! What PostgreSQL is asked, and how its answer is read. The answer may be of any of its versions from 13 on.
//!
//! The question reads shared memory and three small catalogues, and is one transaction: all its parts speak of the same moment.

use std::borrow::Cow;
use std::str::FromStr;

use poolwarden_switch::pool::ServerFacts;
use poolwarden_switch::relay::pgwire::{frame, make, read, tag::server as tag};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::activity::{Activity, Backend, BackendState, MAX_BACKENDS, MAX_QUERY, Quota};
use crate::stream::Stream;

/// What the session obeys: a question is given up before it is in anybody's way, and means PostgreSQL's own functions.
pub(super) const SESSION: [(&str, &str); 4] = [
    ("application_name", "poolwarden watch"),
    ("statement_timeout", "5000"),
    ("lock_timeout", "1000"),
    ("search_path", "pg_catalog"),
];

/// `pg_blocking_pids` takes every lock of the lock manager for a moment: it is asked of so many backends at most, those
/// in the oldest transactions.
const MAX_BLOCKED: usize = 50;
/// Roles and databases with a CONNECTION LIMIT, the most used first.
const MAX_QUOTAS: usize = 10_000;

/// Who is a client's backend. Whom the watch user's role may not see shows no more than a role.
const CLIENTS: &str = "coalesce(backend_type, case when usesysid is not null and datid is not null then 'client backend' end) = 'client backend'";
/// Who counts against a CONNECTION LIMIT: workers do not.
const COUNTED: &str = "coalesce(backend_type, case when usesysid is not null and datid is not null then 'client backend' end) in ('client backend', 'walsender')";

/// The question. `reserved_connections` exists from version 16 on. A query is sent as bytes: it may be of a database with
/// another encoding, and must not be looked at as text.
fn question() -> String {
    format!(
        "select 'start', (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint;\n\
         select 'slots', current_setting('max_connections'), current_setting('superuser_reserved_connections')::bigint \
          + coalesce(current_setting('reserved_connections', true)::bigint, 0);\n\
         select 'sees', pg_has_role('pg_read_all_stats', 'usage')::int;\n\
         select 'pids', string_agg(pid::text, ' ') from pg_stat_activity where {CLIENTS} and pid <> pg_backend_pid();\n\
         select 'role', rolname, rolconnlimit, coalesce(used, 0) from pg_roles r left join \
          (select usesysid, count(*) as used from pg_stat_activity where {COUNTED} group by 1) a on a.usesysid = r.oid \
          where rolconnlimit >= 0 order by 4 desc limit {MAX_QUOTAS};\n\
         select 'database', datname, datconnlimit, coalesce(used, 0) from pg_database d left join \
          (select datid, count(*) as used from pg_stat_activity where {COUNTED} group by 1) a on a.datid = d.oid \
          where datconnlimit >= 0 order by 4 desc limit {MAX_QUOTAS};\n\
         with b as materialized (select *, row_number() over (partition by wait_event_type = 'Lock' order by xact_start) \
          as place from pg_stat_activity where {CLIENTS} and pid <> pg_backend_pid() order by xact_start limit {MAX_BACKENDS}) \
         select 'backend', pid, usename, datname, application_name, host(client_addr), state, \
          (extract(epoch from clock_timestamp() - state_change) * 1000000)::bigint, \
          (extract(epoch from clock_timestamp() - xact_start) * 1000000)::bigint, wait_event_type, wait_event, \
          case when wait_event_type = 'Lock' and place <= {MAX_BLOCKED} then array_to_string(pg_blocking_pids(pid), ' ') end, \
          encode(substring(textsend(query) from 1 for {MAX_QUERY}), 'hex') from b"
    )
}

/// What PostgreSQL answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// For the core; `others` is not known here.
    pub(super) facts: ServerFacts,
    /// For people; whose the backends are, and when it was, is not known here.
    pub(super) activity: Activity,
    /// The watch user's role may see what other roles' backends do.
    pub(super) sees_all: bool,
}

/// Asks once and reads the answer.
pub(super) async fn ask(stream: &mut Stream) -> Result<Answer, String> {
    let mut asked = Vec::new();
    make::query(&mut asked, question());
    stream.write_all(&asked).await.map_err(|why| why.to_string())?;
    let (mut received, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
    let mut answer = Answer::default();
    let mut failed = None;
    loop {
        let count = stream.read(&mut buffer).await.map_err(|why| why.to_string())?;
        if count == 0 {
            return Err(failed.unwrap_or_else(|| "the server closed the watch connection".into()));
        }
        received.extend_from_slice(&buffer[..count]);
        let mut at = 0;
        while let Some(header) = frame::header(&received[at..]).map_err(|why| why.to_string())? {
            let Some(body) = received.get(at + frame::HEADER..at + header.total()) else { break };
            match header.tag {
                tag::DATA_ROW => answer.note(body).ok_or("an answer that makes no sense")?,
                tag::ERROR => failed = Some(read::report(body).message.into_owned()),
                tag::READY => return failed.map_or_else(|| Ok(answer.whole()), Err),
                _ => {}
            }
            at += header.total();
        }
        received.drain(..at);
    }
}

/// The fields of a row, NULL as `None`. Names may be of another encoding.
fn fields(row: &[u8]) -> Option<Vec<Option<Cow<'_, str>>>> {
    let mut rest = row.get(2..)?;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let length = i32::from_be_bytes(rest.get(..4)?.try_into().ok()?);
        rest = rest.get(4..)?;
        let Ok(length) = usize::try_from(length) else {
            fields.push(None);
            continue;
        };
        fields.push(Some(String::from_utf8_lossy(rest.get(..length)?)));
        rest = rest.get(length..)?;
    }
    Some(fields)
}

fn number<T: FromStr>(field: Option<Option<&str>>) -> Option<T> {
    field??.parse().ok()
}

fn text(field: Option<Option<&str>>) -> Option<String> {
    Some(field?.unwrap_or_default().to_owned())
}

/// Clocks may step back between two readings.
fn span(field: Option<Option<&str>>) -> Option<Option<u64>> {
    let Some(text) = field? else { return Some(None) };
    let span: i64 = text.parse().ok()?;
    Some(Some(u64::try_from(span).unwrap_or(0)))
}

fn pids(field: Option<Option<&str>>) -> Option<Vec<u32>> {
    field?.unwrap_or_default().split_ascii_whitespace().map(|pid| pid.parse().ok()).collect()
}

/// A query from its bytes in hexadecimal digits; a character that was cut in two is left out.
fn query(field: Option<Option<&str>>) -> Option<String> {
    let digits = field?.unwrap_or_default().as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes: Option<Vec<u8>> =
        digits.chunks(2).map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect();
    let mut bytes = bytes?;
    if let Err(fault) = std::str::from_utf8(&bytes)
        && fault.error_len().is_none()
    {
        bytes.truncate(fault.valid_up_to());
    }
    let mut query = String::from_utf8_lossy(&bytes).into_owned();
    let mut end = query.len().min(MAX_QUERY); // what is no UTF-8 has become longer
    while !query.is_char_boundary(end) {
        end -= 1;
    }
    query.truncate(end);
    Some(query)
}

impl Answer {
    /// Notes one row; its first field says what it is.
    fn note(&mut self, row: &[u8]) -> Option<()> {
        let fields = fields(row)?;
        let mut fields = fields.iter().map(Option::as_deref);
        let mut next = || fields.next();
        match next()?? {
            "start" => self.facts.start_time = number(next())?,
            "slots" => (self.facts.max_connections, self.facts.reserved) = (number(next())?, number(next())?),
            "sees" => self.sees_all = number::<u8>(next())? == 1,
            "pids" => self.facts.pids = pids(next())?,
            "role" => {
                self.activity.roles.push(Quota { name: text(next())?, size: number(next())?, used: number(next())? })
            }
            "database" => {
                self.activity.databases.push(Quota {
                    name: text(next())?,
                    size: number(next())?,
                    used: number(next())?,
                });
            }
            "backend" => self.activity.backends.push(backend(next)?),
            _ => return None,
        }
        Some(())
    }

    /// All rows have been noted.
    fn whole(mut self) -> Self {
        let limits = |quotas: &[Quota]| quotas.iter().map(|of| (of.name.clone(), of.size, of.used)).collect();
        self.facts.pids.sort_unstable();
        self.facts.roles = limits(&self.activity.roles);
        self.facts.databases = limits(&self.activity.databases);
        self.activity.max_connections = self.facts.max_connections;
        self.activity.reserved = self.facts.reserved;
        let unlisted = self.facts.pids.len().saturating_sub(self.activity.backends.len());
        self.activity.unlisted = u32::try_from(unlisted).unwrap_or(u32::MAX);
        self
    }
}

fn backend<'a>(mut next: impl FnMut() -> Option<Option<&'a str>>) -> Option<Backend> {
    Some(Backend {
        pid: number(next())?,
        role: text(next())?,
        database: text(next())?,
        application: text(next())?,
        addr: text(next())?,
        own: false,
        state: match next()? {
            Some("active") => BackendState::Active,
            Some("idle") => BackendState::Idle,
            Some("idle in transaction" | "idle in transaction (aborted)") => BackendState::IdleInTransaction,
            Some(_) | None => BackendState::Other,
        },
        state_us: span(next())?.unwrap_or(0),
        transaction_us: span(next())?,
        wait: (text(next())?, text(next())?),
        blocked_by: {
            let mut blocked_by = pids(next())?;
            blocked_by.sort_unstable();
            blocked_by.dedup(); // a parallel query's workers block together
            blocked_by
        },
        query: query(next())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(fields: &[Option<&str>]) -> Vec<u8> {
        let mut row = u16::try_from(fields.len()).unwrap().to_be_bytes().to_vec();
        for field in fields {
            match field {
                Some(text) => {
                    row.extend(i32::try_from(text.len()).unwrap().to_be_bytes());
                    row.extend(text.as_bytes());
                }
                None => row.extend((-1_i32).to_be_bytes()),
            }
        }
        row
    }

    fn said(rows: &[&[Option<&str>]]) -> Answer {
        let mut answer = Answer::default();
        rows.iter().for_each(|fields| answer.note(&row(fields)).unwrap());
        answer.whole()
    }

    #[test]
    fn the_rows_of_an_answer_become_facts_and_backends() {
        let answer = said(&[
            &[Some("start"), Some("1723708800000000")],
            &[Some("slots"), Some("100"), Some("3")],
            &[Some("sees"), Some("1")],
            &[Some("pids"), Some("42 17 99")],
            &[Some("role"), Some("app"), Some("5"), Some("4")],
            &[Some("database"), Some("app"), Some("50"), Some("6")],
            &[
                Some("backend"),
                Some("42"),
                Some("app"),
                Some("app"),
                Some("web"),
                Some("10.0.0.1"),
                Some("active"),
                Some("1500"),
                Some("2500"),
                Some("Lock"),
                Some("transactionid"),
                Some("17 17 99"),
                Some("73656c656374"),
            ],
            &[
                Some("backend"),
                Some("17"),
                Some("app"),
                Some("app"),
                Some(""),
                None,
                Some("idle in transaction (aborted)"),
                Some("-3"),
                None,
                Some("Client"),
                Some("ClientRead"),
                None,
                Some(""),
            ],
        ]);
        assert_eq!(answer.facts.pids, [17, 42, 99]);
        assert_eq!((answer.facts.start_time, answer.facts.max_connections), (1_723_708_800_000_000, 100));
        assert_eq!(answer.facts.roles, [("app".to_owned(), 5, 4)]);
        assert_eq!(answer.facts.databases, [("app".to_owned(), 50, 6)]);
        assert!(answer.sees_all);
        let [waits, idles] = &answer.activity.backends[..] else { panic!("{answer:?}") };
        assert_eq!((waits.state, waits.state_us, waits.transaction_us), (BackendState::Active, 1500, Some(2500)));
        assert_eq!((&waits.blocked_by[..], &*waits.query, &*waits.addr), (&[17, 99][..], "select", "10.0.0.1"));
        assert_eq!(waits.wait, ("Lock".to_owned(), "transactionid".to_owned()));
        assert_eq!((idles.state, idles.state_us, idles.transaction_us), (BackendState::IdleInTransaction, 0, None));
        assert_eq!(answer.activity.unlisted, 1);
    }

    #[test]
    fn what_a_role_may_not_see_is_other_and_an_answer_cut_short_is_none() {
        let hidden = [
            Some("backend"),
            Some("1"),
            Some("app"),
            Some("app"),
            None,
            None,
            None,
            None,
            None,
            None,
            None,
            None,
            Some("3c"),
        ];
        let answer = said(&[&hidden]);
        assert_eq!(answer.activity.backends[0].state, BackendState::Other);
        assert!(!answer.sees_all);
        let whole = row(&hidden);
        for end in 0..whole.len() {
            assert_eq!(Answer::default().note(&whole[..end]), None, "{end}");
        }
        assert_eq!(Answer::default().note(&row(&[Some("weather"), Some("1")])), None);
    }

    #[test]
    fn a_query_is_cut_between_characters_and_what_is_no_utf_8_is_shown_as_such() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let read = |bytes: &[u8]| query(Some(Some(&hex(bytes)))).unwrap();
        assert_eq!(read("sélect".as_bytes()), "sélect");
        assert_eq!(read(&"é".as_bytes()[..1]), "", "a character cut in two");
        assert_eq!(read(b"a\xe9b"), "a\u{fffd}b");
        let long = read(&[0xe9; MAX_QUERY]);
        assert!(long.len() <= MAX_QUERY && long.chars().all(|c| c == '\u{fffd}'), "{}", long.len());
        assert_eq!(query(Some(Some("6"))), None);
        assert_eq!(query(Some(None)), Some(String::new()));
    }
}
