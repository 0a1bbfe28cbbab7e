//! What refused and dismissed clients are told: a true SQLSTATE, the pool and the reason, numbers, and the next step.

use std::borrow::Cow;
use std::time::Duration;

use poolwarden_pool::{ClassId, ConnectFailure, Limit, Reason, Refusal};
use poolwarden_relay::pgwire::{frame, make, read};
use poolwarden_relay::{Fault, Server};

mod sentence;
mod words;

pub(crate) use words::{Hearer, told, torn};

use crate::patience::Outlasted;
use crate::voice::{self, Saying, Voice};

/// A last or a next word to a client.
#[derive(Clone, Debug)]
pub(crate) struct Told<'a> {
    sqlstate: Cow<'a, str>,
    message: Cow<'a, str>,
    detail: Option<Cow<'a, str>>,
    hint: Option<Cow<'a, str>>,
    /// PgBouncer's text for it, if it has one.
    theirs: Option<Cow<'static, str>>,
}

const fn fixed(
    sqlstate: &'static str,
    message: &'static str,
    hint: Option<&'static str>,
    theirs: Option<Saying>,
) -> Told<'static> {
    let theirs = match theirs {
        Some(saying) => Some(Cow::Borrowed(saying.text)),
        None => None,
    };
    let hint = match hint {
        Some(hint) => Some(Cow::Borrowed(hint)),
        None => None,
    };
    Told { sqlstate: Cow::Borrowed(sqlstate), message: Cow::Borrowed(message), detail: None, hint, theirs }
}

/// The process is stopping.
pub(crate) const STOPPING: Told<'static> = fixed(
    "57P01",
    "poolwarden is shutting down",
    Some("connect again; another instance may already be serving"),
    Some(voice::SHUTTING_DOWN),
);
/// An operator ended the session.
pub(crate) const KILLED: Told<'static> =
    fixed("57P01", "terminating connection due to administrator command", Some("connect again"), Some(voice::FORCED));
/// An operator ended the lease.
pub(crate) const ENDED: Told<'static> = fixed(
    "57P01",
    "terminating connection: an operator ended it and gave its server connection back to others",
    Some("connect again; whoever operates poolwarden can say why: it stands in its log"),
    Some(voice::FORCED),
);
/// It does not read what it asked for, and others wait for what it holds.
pub(crate) const STALLED: Told<'static> = fixed(
    "57P01",
    "terminating connection: its replies are not being read while others wait for its server connection",
    Some("read results as they come, or fetch large ones in parts with a cursor"),
    None,
);
/// A waiting request was cancelled by its client.
pub(crate) const CANCELLED: Told<'static> =
    fixed("57014", "canceling statement due to user request: it was waiting for a server connection", None, None);
/// A pool that knows statements alone cannot serve replication.
pub(crate) const NO_REPLICATION: Told<'static> = fixed(
    "0A000",
    "replication connections are not served by a pool in statement mode",
    Some("ask for a pool with mode = \"transaction\" or \"session\""),
    None,
);
/// The server connection died under the client.
pub(crate) const SERVER_GONE: Told<'static> = fixed(
    "08006",
    "the server closed the connection unexpectedly; the transaction, if any, is lost",
    Some("connect again and repeat the transaction; the server's log says why it ended"),
    Some(voice::CRASHED),
);
/// A client has outlasted a time limit, which stands in the file as `setting`.
pub(crate) fn outlasted(which: Outlasted, limit: Duration, setting: &str) -> Told<'static> {
    let limit = words::written(limit);
    let (sqlstate, what, theirs) = match which {
        Outlasted::Query => ("57014", "a request ran", voice::QUERY),
        Outlasted::Transaction => ("25P04", "a transaction took", voice::TRANSACTION),
        Outlasted::IdleInTransaction => ("25P03", "a transaction was idle for", voice::IDLE_TRANSACTION),
        Outlasted::ClientIdle => ("57P05", "the session was idle for", voice::CLIENT_IDLE),
    };
    Told {
        sqlstate: sqlstate.into(),
        message: format!("terminating connection: {what} longer than {limit} ({setting} = {limit})").into(),
        detail: None,
        hint: Some(format!("{setting} sets this limit; 0s is none").into()),
        theirs: Some(theirs.text.into()),
    }
}

/// A transaction was idle while others waited, and nobody wrote down for how long it may.
pub(crate) fn idled(idle: Duration) -> Told<'static> {
    let idle = idle.as_secs();
    Told {
        sqlstate: "25P03".into(),
        message: format!("terminating connection: idle in transaction for {idle}s while others wait (60s rule)").into(),
        detail: None,
        hint: Some("end transactions before waiting for anything else; idle_in_transaction_timeout of the user, class or pool sets another limit".into()),
        theirs: Some(voice::IDLE_TRANSACTION.text.into()),
    }
}

/// More start-up settings than any driver sends.
pub(crate) const TOO_MANY_SETTINGS: Told<'static> = fixed(
    "54000",
    "too many settings in the startup packet",
    Some("set them in the role or the database instead"),
    None,
);

/// Bytes of an ErrorResponse around its texts, and some.
const AROUND: usize = 64;

impl Told<'_> {
    fn report(&self, severity: &str, voice: Voice) -> Vec<u8> {
        let theirs = self.theirs.as_deref().filter(|_| voice == Voice::PgBouncer);
        let both;
        let detail = match (theirs, self.detail.as_deref()) {
            (Some(_), Some(detail)) => {
                both = format!("{}; {detail}", self.message);
                Some(&*both)
            }
            (Some(_), None) => Some(&*self.message),
            (None, detail) => detail,
        };
        let report = make::Report {
            severity,
            sqlstate: &self.sqlstate,
            message: theirs.unwrap_or(&self.message),
            detail,
            hint: self.hint.as_deref(),
        };
        let length = |text: Option<&str>| text.map_or(0, str::len);
        let texts = report.message.len() + length(report.detail) + length(report.hint);
        let mut bytes = Vec::with_capacity(AROUND + texts);
        make::error(&mut bytes, &report);
        bytes
    }

    /// The message.
    pub(crate) fn spoken(&self, voice: Voice) -> &str {
        self.theirs.as_deref().filter(|_| voice == Voice::PgBouncer).unwrap_or(&self.message)
    }

    /// As the end of a request.
    pub(crate) fn error(&self, voice: Voice) -> Vec<u8> {
        self.report("ERROR", voice)
    }

    /// As the end of the session.
    pub(crate) fn fatal(&self, voice: Voice) -> Vec<u8> {
        self.report("FATAL", voice)
    }
}

/// What a breach of the rules is called.
pub(crate) fn of_fault(fault: &Fault) -> Told<'static> {
    let (sqlstate, hint) = match fault {
        Fault::Client(_) => ("08P01", None),
        Fault::Server(_) => {
            ("58000", Some("connect again; if it repeats, please report the message with the statement"))
        }
        Fault::Block => ("0A000", Some("use mode = \"transaction\" for this pool")),
        Fault::Leaves => ("57P01", None),
    };
    let theirs = matches!(fault, Fault::Block).then(|| voice::NO_BLOCKS.text.into());
    Told {
        sqlstate: Cow::Borrowed(sqlstate),
        message: Cow::Owned(fault.to_string()),
        detail: None,
        hint: hint.map(Cow::Borrowed),
        theirs,
    }
}

/// The server's own ErrorResponse, told as the end of the session.
pub(crate) fn as_fatal(response: &[u8]) -> Vec<u8> {
    let fields = read::report(response.get(frame::HEADER..).unwrap_or_default());
    let hint = some(fields.hint);
    Told { sqlstate: fields.sqlstate, message: fields.message, detail: some(fields.detail), hint, theirs: None }
        .fatal(Voice::Own)
}

/// The server's refusal of a client's settings, told as the end of the session.
pub(crate) fn settings(response: &[u8]) -> Vec<u8> {
    let fields = read::report(response.get(frame::HEADER..).unwrap_or_default());
    let mut hint = some(fields.hint);
    if hint.is_none() && fields.sqlstate == "55P02" && fields.message.ends_with("cannot be set after connection start")
    {
        hint = Some(
            "the pool's connections have started already: give it to all of them with startup of [pools.NAME], or to the role \
             with ALTER ROLE ... SET"
                .into(),
        );
    }
    Told { sqlstate: fields.sqlstate, message: fields.message, detail: some(fields.detail), hint, theirs: None }
        .fatal(Voice::Own)
}

/// What the client of this server connection can be told as the end of its session: nothing in the middle of another message,
/// the server's own last word where it has not seen that yet, nothing behind that, and `told` otherwise.
pub(crate) fn last_word(server: &mut Server, told: &Told<'_>, voice: Voice) -> Option<Vec<u8>> {
    if server.is_amid_reply() {
        return None;
    }
    if let Some(failure) = server.failure() {
        return Some(as_fatal(&failure)); // a query of ours met it
    }
    (!server.said_fatal()).then(|| told.fatal(voice))
}

fn some(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    (!text.is_empty()).then_some(text)
}

/// The pool a client had entered is not there any more.
pub(crate) fn pool_is_gone() -> Refusal {
    Refusal {
        reason: Reason::Server,
        class: ClassId::default(),
        limit: Limit::PoolSize,
        binding: Limit::PoolSize,
        size: 0,
        used: 0,
        lent: 0,
        waiting: 0,
        waited: Duration::ZERO,
        would_wait: Duration::ZERO,
        retry_after: Duration::ZERO,
        longest_held: Duration::ZERO,
        longest_pid: None,
        failure: None,
        no_such_database: true,
        stopping: false,
    }
}

/// What the server said to a connect that was one client's own, in its words.
pub(crate) fn servers_own(failure: &ConnectFailure) -> Told<'static> {
    let sqlstate = String::from_utf8_lossy(&failure.sqlstate).into_owned();
    // what the log says of it names severity and code before the server's words
    let words = failure.message.split_once(&format!(" {sqlstate}: ")).map_or(&*failure.message, |(_, words)| words);
    Told { message: words.to_owned().into(), sqlstate: sqlstate.into(), detail: None, hint: None, theirs: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(response: &[u8]) -> (String, String, String) {
        let fields = read::report(&response[frame::HEADER..]);
        (fields.sqlstate.into_owned(), fields.message.into_owned(), fields.detail.into_owned())
    }

    fn refusal(limit: Limit) -> Refusal {
        Refusal {
            reason: if limit == Limit::QueueLength { Reason::Queue } else { Reason::Time },
            limit,
            no_such_database: false,
            waited: Duration::from_secs(2),
            size: 20,
            used: 20,
            lent: 20,
            ..pool_is_gone()
        }
    }

    const HEARER: Hearer<'static> =
        Hearer { database: "shop", user: "web", class: "batch", patience: None, starting: false, draining: false };

    #[test]
    fn in_pgbouncers_voice_the_message_is_its_text_and_ours_is_the_detail() {
        let told = told(&refusal(Limit::WaitTime), HEARER);
        let (sqlstate, own, detail) = fields(&told.error(Voice::Own));
        assert!(sqlstate == "53300" && own.starts_with("pool \"shop\": no server connection within 2s"), "{own}");
        let theirs = fields(&told.error(Voice::PgBouncer));
        assert_eq!(theirs, (sqlstate, "query_wait_timeout".to_owned(), format!("{own}; {detail}")));
        let full = super::told(&refusal(Limit::QueueLength), HEARER);
        assert_eq!(
            full.error(Voice::PgBouncer),
            full.error(Voice::Own),
            "what PgBouncer does not know is told in our words"
        );
    }

    #[test]
    fn each_reason_has_its_words_and_the_hint_ends_with_when_to_come_again() {
        let say = |reason, limit, hearer| {
            let refusal = Refusal {
                reason,
                would_wait: Duration::from_millis(3_100),
                retry_after: Duration::from_millis(340),
                ..refusal(limit)
            };
            let response = told(&refusal, hearer).error(Voice::Own);
            let hint = read::report(&response[frame::HEADER..]).hint.into_owned();
            let (sqlstate, message, detail) = fields(&response);
            assert_eq!(sqlstate, "53300");
            assert!(hint.ends_with("; retry after 340ms"), "{hint}");
            let named = format!("class=batch reason={} ", reason.name());
            assert!(detail.contains(&named) && detail.contains("would_wait=3.1s"), "{detail}");
            message
        };
        let patient = |seconds| Hearer { patience: Some(Duration::from_secs(seconds)), ..HEARER };
        assert_eq!(
            say(Reason::Hopeless, Limit::WaitTime, patient(2)),
            "pool \"shop\": would wait 3.1s for a server connection, longer than the 2s it may: refused at once"
        );
        assert_eq!(
            say(Reason::Hopeless, Limit::WaitTime, patient(9)),
            "pool \"shop\": would wait 3.1s for a server connection, longer than its max_wait: refused at once"
        );
        assert_eq!(
            say(Reason::Shed, Limit::ClassShare, HEARER),
            "pool \"shop\": class \"batch\" is being shed by an operator"
        );
        let overloaded = say(Reason::Overload, Limit::WaitTime, HEARER);
        assert!(overloaded.starts_with("pool \"shop\": overloaded: no server connection within 2s"), "{overloaded}");
        let full = say(Reason::Queue, Limit::QueueLength, HEARER);
        assert!(full.contains("the wait queue is full"), "{full}");
        let never = told(&refusal(Limit::WaitTime), HEARER).error(Voice::Own);
        assert!(!read::report(&never[frame::HEADER..]).hint.contains("retry"), "nobody can tell");
    }

    #[test]
    fn every_text_is_said_when_its_moment_comes() {
        let mut nowhere = refusal(Limit::PoolSize);
        nowhere.no_such_database = true;
        let mut shut = refusal(Limit::PoolSize);
        shut.stopping = true;
        let starting = Hearer { starting: true, ..HEARER };
        let draining = Hearer { draining: true, ..HEARER };
        let limit = Duration::from_secs(5);
        let cases = [
            (told(&nowhere, starting), "3D000", "no such database: shop"),
            (told(&shut, starting), "57P03", "database \"shop\" is disabled"),
            (told(&shut, HEARER), "55000", "database \"shop\" is disabled"),
            (told(&shut, draining), "57P01", "pooler is shutting down"),
            (told(&refusal(Limit::Breaker), starting), "57P03", "client_login_timeout (server down)"),
            (
                told(&refusal(Limit::Breaker), HEARER),
                "58000",
                "server login has been failing, cached error: no connection to the server (server_login_retry)",
            ),
            (outlasted(Outlasted::Query, limit, "pools.shop.x"), "57014", "query timeout"),
            (outlasted(Outlasted::Transaction, limit, "pools.shop.x"), "25P04", "transaction timeout"),
            (outlasted(Outlasted::IdleInTransaction, limit, "pools.shop.x"), "25P03", "idle transaction timeout"),
            (outlasted(Outlasted::ClientIdle, limit, "pools.shop.x"), "57P05", "client_idle_timeout"),
            (STOPPING, "57P01", "pooler is shutting down"),
            (KILLED, "57P01", "admin forced disconnect"),
            (SERVER_GONE, "08006", "server conn crashed?"),
            (of_fault(&Fault::Block), "0A000", "transaction blocks not allowed in statement pooling mode"),
        ];
        for (told, sqlstate, message) in cases {
            let (said, text, detail) = fields(&told.fatal(Voice::PgBouncer));
            assert_eq!((said.as_str(), text.as_str()), (sqlstate, message));
            assert!(!detail.is_empty(), "{message}: our own words are its detail");
        }
    }

    #[test]
    fn a_session_that_lives_on_is_told_nothing_on_which_pools_throw_connections_away() {
        for limit in Limit::ALL {
            let (sqlstate, ..) = fields(&told(&refusal(limit), HEARER).error(Voice::PgBouncer));
            assert!(
                !sqlstate.starts_with("08") && !["57P01", "57P02", "57P03"].contains(&sqlstate.as_str()),
                "{sqlstate}"
            );
        }
    }
}
