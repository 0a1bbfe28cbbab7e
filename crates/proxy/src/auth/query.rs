//! Asking PostgreSQL about users: a connection of its own per server and database, opened when needed and closed when idle.
//!
//! It never sees a client's settings (CVE-2025-12819): its own are fixed at start-up, and the user's name travels as a
//! parameter. It is a task of its own, so no client's leaving disturbs it. PostgreSQL counts the connection among the
//! others, as it does the watch connection.

mod ask;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use poolwarden_switch::pool::HostId;
use tokio::sync::mpsc;

use super::cache::Key;
use crate::inner::{Inner, held};

/// How users are looked up.
#[derive(Clone, PartialEq, Eq)]
pub struct Query {
    /// The query: `$1` is the user's name; it gives the name and the secret, or no row. No secret: may not log in.
    pub sql: String,
    /// The role that asks.
    pub user: String,
    /// Its password.
    pub password: Option<String>,
    /// Where it asks; `None`: in the database the client wants.
    pub database: Option<String>,
    /// On which server; `None`: on that of the client's pool.
    pub host: Option<HostId>,
    /// Its search_path; `None` is the server's default for the role.
    pub search_path: Option<String>,
    /// How long an answer counts.
    pub fresh: Duration,
    /// How long it serves while PostgreSQL does not answer.
    pub max_stale: Duration,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            sql: "select rolname, case when rolvaliduntil < now() then null else rolpassword end \
                  from pg_authid where rolname = $1 and rolcanlogin"
                .to_owned(),
            user: String::new(),
            password: None,
            database: None,
            host: None,
            search_path: Some("pg_catalog".to_owned()),
            fresh: Duration::from_secs(60),
            max_stale: Duration::from_secs(3600),
        }
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query").field("sql", &self.sql).field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why there is no answer: for the log, never for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble(pub(crate) Arc<str>);

impl Trouble {
    pub(crate) fn new(why: impl AsRef<str>) -> Self {
        Self(Arc::from(why.as_ref()))
    }
}

/// One question.
pub(crate) struct Job {
    pub(crate) key: Key,
    pub(crate) query: Arc<Query>,
}

/// Databases asked at once: each has a connection. More come of clients that make database names up.
const MOST_PLACES: usize = 16;
/// Questions waiting per place; each stands for a login, and those are bounded as well.
const MOST_WAITING: usize = 4096;

/// The connections' tasks.
#[derive(Default)]
pub(crate) struct Askers(Mutex<BTreeMap<(HostId, String), mpsc::Sender<Job>>>);

impl Askers {
    /// Asks; the answer lands in the cache, for all who wait for it.
    pub(crate) fn ask(&self, inner: &Arc<Inner>, job: Job) {
        let place = (job.key.host, job.key.database.clone());
        let mut askers = held(&self.0);
        let sender = match askers.get(&place) {
            Some(sender) => Some(sender.clone()),
            None if askers.len() >= MOST_PLACES => None,
            None => {
                let (sender, jobs) = mpsc::channel(MOST_WAITING);
                askers.insert(place.clone(), sender.clone());
                tokio::spawn(ask::run(inner.clone(), place, jobs));
                Some(sender)
            }
        };
        let sent = match sender {
            Some(sender) => {
                sender.try_send(job).map_err(|unsent| (unsent.into_inner(), "too many users are asked about"))
            }
            None => Err((job, "users are asked about in too many databases: set auth.database")),
        };
        drop(askers);
        if let Err((job, why)) = sent {
            let now = inner.clock.now();
            inner.auth.cache.land(now, &job.key, &Err(Trouble::new(why)));
        }
    }

    /// Ends a place, unless somebody asks just now: who asks holds the same lock.
    fn leave(&self, place: &(HostId, String), jobs: &mpsc::Receiver<Job>) -> bool {
        let mut askers = held(&self.0);
        let idle = jobs.is_empty();
        if idle {
            askers.remove(place);
        }
        idle
    }
}
