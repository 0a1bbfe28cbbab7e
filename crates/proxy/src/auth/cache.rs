//! What PostgreSQL answered about users: how long an answer counts, and who waits for one that is under way.
//!
//! An answer is fresh for `fresh`; for as long again it is used while a newer one is fetched; older ones wait for the newer one
//! and serve only if PostgreSQL does not answer, up to `max_stale`. So what counts is never older than twice `fresh` while
//! PostgreSQL answers. That a user is unknown counts shortly, and never crowds out users who are known.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use poolwarden_switch::pool::{HostId, Time};
use poolwarden_switch::relay::pgwire::password::Secret;
use poolwarden_switch::relay::pgwire::scram;
use tokio::sync::oneshot;

use super::bounded::Bounded;
use super::query::{Query, Trouble};
use crate::inner::held;

/// Who is asked about, and where: names mean different users on different servers, and a query may read a database's tables.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) host: HostId,
    pub(crate) database: String,
    pub(crate) user: String,
}

/// A user's secret; `None`: no such user, or none that may log in.
pub(crate) type Answer = Option<Secret>;
pub(crate) type Outcome = Result<Answer, Trouble>;

/// What is known.
#[derive(Debug, PartialEq)]
pub(crate) enum Known {
    /// This counts.
    Fresh(Answer),
    /// This counts, and a newer one is to be fetched.
    Aging(Answer),
    /// A new answer must be had; where there is none, this may do.
    Nothing(Option<Answer>),
}

/// Users kept, in each of two generations; a SCRAM secret and its names are some 300 bytes.
const KEPT: usize = 8192;
/// Unknown users kept likewise.
const KEPT_UNKNOWN: usize = 2048;
/// That a user is unknown counts so long: one just created may log in soon.
const UNKNOWN_COUNTS: Duration = Duration::from_secs(2);
/// A wrong password makes an answer doubtful that is older than this; so failures ask PostgreSQL once a second per user at most.
const DOUBT_AFTER: Duration = Duration::from_secs(1);

struct Entry {
    secret: Secret,
    at: Time,
    doubted: bool,
}

pub(crate) struct Cache {
    users: Mutex<Bounded<Key, Entry>>,
    unknown: Mutex<Bounded<Key, Time>>,
    /// Those who wait for an answer that is under way.
    flights: Mutex<BTreeMap<Key, Vec<oneshot::Sender<Outcome>>>>,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            users: Mutex::new(Bounded::new(KEPT)),
            unknown: Mutex::new(Bounded::new(KEPT_UNKNOWN)),
            flights: Mutex::default(),
        }
    }
}

impl Cache {
    pub(crate) fn look(&self, now: Time, key: &Key, query: &Query) -> Known {
        if let Some(entry) = held(&self.users).get(key) {
            let age = now.since(entry.at);
            let answer = Some(entry.secret.clone());
            return if age <= query.fresh && !entry.doubted {
                Known::Fresh(answer)
            } else if age <= query.fresh * 2 && !entry.doubted {
                Known::Aging(answer)
            } else {
                Known::Nothing((age <= query.max_stale).then_some(answer))
            };
        }
        let unknown = held(&self.unknown).get(key).is_some_and(|at| now.since(*at) <= UNKNOWN_COUNTS);
        if unknown { Known::Fresh(None) } else { Known::Nothing(None) }
    }

    /// Waits for the answer that is under way; true if none is, so that the caller must fetch it.
    pub(crate) fn board(&self, key: &Key) -> (oneshot::Receiver<Outcome>, bool) {
        let (reply, answer) = oneshot::channel();
        let mut flights = held(&self.flights);
        let first = !flights.contains_key(key);
        flights.entry(key.clone()).or_default().push(reply);
        (answer, first)
    }

    /// An answer has come, or none will.
    pub(crate) fn land(&self, now: Time, key: &Key, outcome: &Outcome) {
        match outcome {
            Ok(Some(secret)) => {
                held(&self.unknown).remove(key);
                held(&self.users).put(key.clone(), Entry { secret: secret.clone(), at: now, doubted: false });
            }
            Ok(None) => {
                held(&self.users).remove(key);
                held(&self.unknown).put(key.clone(), now);
            }
            Err(_) => {}
        }
        let waiting = held(&self.flights).remove(key).unwrap_or_default();
        for reply in waiting {
            let _ = reply.send(outcome.clone()); // who left does not need it any more
        }
    }

    /// A password did not fit the answer, or the server refused a key made with it: perhaps there is a newer one.
    /// True if it is to be fetched.
    pub(crate) fn doubt(&self, now: Time, key: &Key) -> bool {
        let mut users = held(&self.users);
        let old = users.get(key).filter(|entry| now.since(entry.at) > DOUBT_AFTER && !entry.doubted);
        old.map(|entry| entry.doubted = true).is_some()
    }

    /// The SCRAM secret made of a password in clear, so that it is not made again.
    pub(crate) fn keep_verifier(&self, key: &Key, verifier: &scram::Secret) {
        if let Some(entry) = held(&self.users).get(key)
            && let Secret::Plain(plain) = &entry.secret
        {
            entry.secret = Secret::Plain(plain.clone().keeping(verifier.clone()));
        }
    }

    /// Another server stands there now: nothing is known of its users.
    pub(crate) fn forget(&self, host: HostId) {
        held(&self.users).retain(|key| key.host != host);
        held(&self.unknown).retain(|key| key.host != host);
    }

    pub(crate) fn clear(&self) {
        held(&self.users).clear();
        held(&self.unknown).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_nanos(seconds * 1_000_000_000)
    }

    fn key() -> Key {
        Key { host: HostId(0), database: "db".into(), user: "app".into() }
    }

    fn query() -> Query {
        let (fresh, max_stale) = (Duration::from_secs(60), Duration::from_secs(3600));
        Query { fresh, max_stale, ..Query::default() }
    }

    fn secret() -> Answer {
        Some(Secret::parse("hunter2"))
    }

    #[test]
    fn an_answer_ages_and_serves_beyond_that_only_where_there_is_no_newer_one() {
        let cache = Cache::default();
        assert_eq!(cache.look(at(1000), &key(), &query()), Known::Nothing(None));
        cache.land(at(1000), &key(), &Ok(secret()));
        assert_eq!(cache.look(at(1060), &key(), &query()), Known::Fresh(secret()));
        assert_eq!(cache.look(at(1061), &key(), &query()), Known::Aging(secret()));
        assert_eq!(cache.look(at(1121), &key(), &query()), Known::Nothing(Some(secret())));
        assert_eq!(cache.look(at(4601), &key(), &query()), Known::Nothing(None));
        cache.land(at(4601), &key(), &Err(Trouble::new("away")));
        assert_eq!(cache.look(at(1121), &key(), &query()), Known::Nothing(Some(secret())), "no answer changes nothing");
    }

    #[test]
    fn an_unknown_user_counts_shortly_and_a_dropped_one_is_forgotten() {
        let cache = Cache::default();
        cache.land(at(10), &key(), &Ok(secret()));
        cache.land(at(11), &key(), &Ok(None));
        assert_eq!(cache.look(at(13), &key(), &query()), Known::Fresh(None));
        assert_eq!(cache.look(at(14), &key(), &query()), Known::Nothing(None));
        cache.land(at(14), &key(), &Ok(secret()));
        assert_eq!(cache.look(at(14), &key(), &query()), Known::Fresh(secret()));
    }

    #[test]
    fn what_is_known_of_a_server_that_moved_is_forgotten_and_nothing_else() {
        let cache = Cache::default();
        let other = Key { host: HostId(1), ..key() };
        cache.land(at(10), &key(), &Ok(secret()));
        cache.land(at(10), &other, &Ok(secret()));
        cache.forget(HostId(0));
        assert_eq!(cache.look(at(10), &key(), &query()), Known::Nothing(None));
        assert_eq!(cache.look(at(10), &other, &query()), Known::Fresh(secret()));
    }

    #[test]
    fn doubt_asks_once_and_not_about_what_was_just_asked() {
        let cache = Cache::default();
        cache.land(at(10), &key(), &Ok(secret()));
        assert!(!cache.doubt(at(11), &key()), "it was asked a second ago");
        assert!(cache.doubt(at(12), &key()));
        assert!(!cache.doubt(at(12), &key()), "it is being fetched");
        assert_eq!(cache.look(at(12), &key(), &query()), Known::Nothing(Some(secret())));
        cache.land(at(12), &key(), &Ok(secret()));
        assert_eq!(cache.look(at(12), &key(), &query()), Known::Fresh(secret()));
    }

    #[test]
    fn many_wait_for_one_answer() {
        let cache = Cache::default();
        let (mut first, fetch) = cache.board(&key());
        let (mut second, again) = cache.board(&key());
        assert!(fetch && !again);
        cache.land(at(1), &key(), &Ok(secret()));
        assert_eq!(first.try_recv(), Ok(Ok(secret())));
        assert_eq!(second.try_recv(), Ok(Ok(secret())));
        assert!(cache.board(&key()).1, "the next one fetches anew");
    }
}
