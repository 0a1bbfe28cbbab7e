//! The look-up: how this client is to prove itself, what is known of its password, and what a login leaves behind.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use poolwarden_switch::relay::greet::{Fault, Found, GreetError, Method as Asked, Session, Who};
use poolwarden_switch::relay::pgwire::password::Secret;
use poolwarden_switch::relay::pgwire::scram;

use super::cache::{Key, Known, Outcome};
use super::query::{Job, Query, Trouble};
use super::{Demand, Reason, Source, hba, ident, system};
use crate::directory::{Directory, Method, is_console};
use crate::inner::{Inner, held};

/// A client at the door.
pub(crate) struct Visit<'a> {
    pub(crate) who: &'a Who,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) local: Option<SocketAddr>,
    /// The user of the process at the other end of the unix socket.
    pub(crate) peer_uid: Option<u32>,
    /// It came over the unix socket from a process of our own user.
    pub(crate) own_user: bool,
    /// Whom its certificate names: the common name and the DNS names; none without a verified one.
    pub(crate) names: Vec<&'a str>,
}

impl Visit<'_> {
    pub(crate) fn source(&self) -> Source {
        self.remote.map_or(Source::Local(self.peer_uid), |remote| Source::of(remote.ip()))
    }
}

/// What was found, and what is to be remembered of it once the login has ended.
pub(crate) struct Looked {
    pub(crate) found: Found,
    /// Why it is refused, where it is.
    pub(crate) reason: Option<Reason>,
    pub(crate) memo: Memo,
}

impl Looked {
    /// It is refused, whoever it is.
    pub(crate) fn refused(found: Found) -> Self {
        Self { found, reason: Some(Reason::Rule), memo: Memo::default() }
    }
}

/// Where the secret came from.
#[derive(Default)]
pub(crate) struct Memo {
    asked: Option<(Key, Arc<Query>)>,
    /// It is a SCRAM secret, which the server may keep as well.
    scram: bool,
}

/// Finds out how the client is to prove itself.
pub(crate) async fn look_up(inner: &Arc<Inner>, visit: &Visit<'_>) -> Looked {
    let directory = inner.directory();
    let who = visit.who;
    if visit.own_user && is_console(&who.database) {
        return plainly(Asked::Trust);
    }
    let most = directory.auth.failures_per_minute;
    if inner.auth.failures.exhausted(inner.clock.now(), visit.source(), &who.user, most) {
        let message = format!("too many failed logins of user \"{}\": try again later", who.user);
        return reject(Reason::Limited, "28P01", message);
    }
    let demand = match demand(&directory, visit) {
        Ok(demand) => demand,
        Err(message) => return reject(Reason::Rule, "28000", message),
    };
    match demand {
        Demand::Trust => trusted(inner, &directory, visit).await,
        Demand::Reject => reject(Reason::Rule, "28000", hba::refusal(&asked(visit), true)),
        Demand::Password => with_secret(inner, &directory, visit, Asked::Password).await,
        Demand::Md5 => with_secret(inner, &directory, visit, Asked::Md5).await,
        Demand::Scram => with_secret(inner, &directory, visit, Asked::Scram).await,
        Demand::Cert(map) => match by_certificate(&directory, visit, map.as_deref()) {
            Ok(()) => trusted(inner, &directory, visit).await,
            Err(refused) => *refused,
        },
        Demand::Peer(map) => match by_process(&directory, visit, map.as_deref()).await {
            Ok(()) => trusted(inner, &directory, visit).await,
            Err(refused) => *refused,
        },
    }
}

/// Needs no password; where the configuration says so, only if it is somebody.
async fn trusted(inner: &Arc<Inner>, directory: &Directory, visit: &Visit<'_>) -> Looked {
    let user = &visit.who.user;
    if !directory.auth.known_users || directory.users.contains_key(user) {
        return plainly(Asked::Trust);
    }
    let looked = with_secret(inner, directory, visit, Asked::Trust).await;
    match (&looked.reason, &looked.found.secret) {
        (None, Some(_)) => plainly(Asked::Trust),
        (None, None) => reject(Reason::Rule, "28000", format!("no such user: \"{user}\"")),
        (Some(_), _) => looked,
    }
}

/// What is demanded of this client, or PostgreSQL's words for one that no rule fits.
fn demand(directory: &Directory, visit: &Visit<'_>) -> Result<Demand, String> {
    match directory.method {
        Method::Trust => Ok(Demand::Trust),
        Method::Password => Ok(Demand::Password),
        Method::Md5 => Ok(Demand::Md5),
        Method::Scram => Ok(Demand::Scram),
        Method::Cert => Ok(Demand::Cert(None)),
        Method::Peer => Ok(Demand::Peer(None)),
        Method::Hba => {
            let asked = asked(visit);
            let rule = hba::first(&directory.auth.rules, &asked);
            rule.map(|rule| rule.demand.clone()).ok_or_else(|| hba::refusal(&asked, false))
        }
    }
}

fn asked<'a>(visit: &Visit<'a>) -> hba::Asked<'a> {
    hba::Asked {
        user: &visit.who.user,
        database: &visit.who.database,
        replication: visit.who.replication,
        tls: visit.who.tls,
        remote: visit.remote.map(|remote| remote.ip()),
        local: visit.local.map(|local| local.ip()),
    }
}

fn plainly(method: Asked) -> Looked {
    Looked { found: Found { method, secret: None }, reason: None, memo: Memo::default() }
}

fn reject(reason: Reason, sqlstate: &'static str, message: String) -> Looked {
    let method = Asked::Reject { sqlstate: Cow::Borrowed(sqlstate), message };
    Looked { reason: Some(reason), ..plainly(method) }
}

fn by_certificate(directory: &Directory, visit: &Visit<'_>, map: Option<&str>) -> Result<(), Box<Looked>> {
    let user = &visit.who.user;
    let mut names = visit.names.iter().filter(|name| !name.is_empty());
    let named = names.any(|name| ident::allows(&directory.auth.maps, map, name, user));
    if named {
        return Ok(());
    }
    let message = format!("certificate authentication failed for user \"{user}\"");
    Err(Box::new(reject(Reason::Rule, "28000", message)))
}

async fn by_process(directory: &Directory, visit: &Visit<'_>, map: Option<&str>) -> Result<(), Box<Looked>> {
    let user = &visit.who.user;
    let name = match visit.peer_uid {
        // a file of this machine, but a file
        Some(uid) => tokio::task::spawn_blocking(move || system::name(uid)).await.ok().and_then(Result::ok).flatten(),
        None => None,
    };
    if name.is_some_and(|name| ident::allows(&directory.auth.maps, map, &name, user)) {
        return Ok(());
    }
    Err(Box::new(reject(Reason::Rule, "28000", format!("Peer authentication failed for user \"{user}\""))))
}

async fn with_secret(inner: &Arc<Inner>, directory: &Directory, visit: &Visit<'_>, method: Asked) -> Looked {
    let user = &visit.who.user;
    let (secret, asked) = if let Some(listed) = directory.users.get(user).and_then(|entry| entry.secret.clone()) {
        (Some(inner.auth.with_verifier(user, listed)), None)
    } else if let Some((query, key)) = question(directory, &visit.who.database, user) {
        match ask(inner, &query, &key).await {
            Ok(answer) => (answer, Some((key, query))),
            Err(_) => {
                let message = format!("user \"{user}\" cannot be looked up now: try again later");
                return reject(Reason::Lookup, "57P03", message);
            }
        }
    } else {
        (None, None)
    };
    let memo = Memo { asked, scram: matches!(secret, Some(Secret::Scram(_))) };
    Looked { found: Found { method, secret }, reason: None, memo }
}

/// Who is to be asked about a user that is not listed, and where; `None` where nobody can be, or is to be. A database that does not exist
/// is asked about nowhere, so that its users are as unknown as anybody.
pub(super) fn question(directory: &Directory, database: &str, user: &str) -> Option<(Arc<Query>, Key)> {
    let route = directory.route(database);
    let barred = directory.users.get(user).is_some_and(|entry| entry.barred);
    let query = directory.auth.query.as_ref().filter(|_| !barred)?;
    let host = query.host.or_else(|| Some(route?.host)).unwrap_or_default();
    let own = || Some(route?.database.clone().unwrap_or_else(|| database.to_owned()));
    let place = query.database.clone().or_else(own)?;
    Some((query.clone(), Key { host, database: place, user: user.to_owned() }))
}

/// The answer about a user, from what is known or from PostgreSQL.
pub(super) async fn ask(inner: &Arc<Inner>, query: &Arc<Query>, key: &Key) -> Outcome {
    match inner.auth.cache.look(inner.clock.now(), key, query) {
        Known::Fresh(answer) => Ok(answer),
        Known::Aging(answer) => {
            refresh(inner, query, key);
            Ok(answer)
        }
        Known::Nothing(stale) => {
            let (answer, fetch) = inner.auth.cache.board(key);
            if fetch {
                inner.auth.askers.ask(inner, Job { key: key.clone(), query: query.clone() });
            }
            let outcome = answer.await.unwrap_or_else(|_| Err(Trouble::new("the question was dropped")));
            outcome.or_else(|trouble| stale.ok_or(trouble))
        }
    }
}

/// Fetches a newer answer beside everything else.
pub(super) fn refresh(inner: &Arc<Inner>, query: &Arc<Query>, key: &Key) {
    let (_, fetch) = inner.auth.cache.board(key);
    if fetch {
        inner.auth.askers.ask(inner, Job { key: key.clone(), query: query.clone() });
    }
}

/// The client has proven who it is: what its login revealed is kept for server connections.
pub(crate) fn admitted(inner: &Arc<Inner>, memo: &Memo, session: &mut Session) {
    let Some(keys) = session.keys.take().filter(|_| memo.scram) else { return };
    let directory = inner.directory();
    let Some(route) = directory.route(&session.database) else { return };
    if inner.auth.keys.capture((route.host, session.user.clone()), keys) {
        // Its pools have given up for a while: they may try at once.
        inner.try_again(route.host);
    }
}

/// The client has not: its failure counts against its source, and a secret that was asked for may have changed.
pub(crate) fn failed(inner: &Arc<Inner>, visit: &Visit<'_>, memo: &Memo, error: &GreetError) {
    match error.fault {
        Fault::Credentials | Fault::Configuration => {}
        Fault::Client | Fault::Rule => return,
    }
    let now = inner.clock.now();
    let most = inner.directory().auth.failures_per_minute;
    inner.auth.failures.note(now, visit.source(), &visit.who.user, most);
    if let Some((key, query)) = &memo.asked
        && inner.auth.cache.doubt(now, key)
    {
        refresh(inner, query, key);
    }
}

impl Memo {
    /// The SCRAM secret that was made of the user's password in clear, so that it is not made again.
    pub(crate) fn keep_verifier(&self, inner: &Inner, secret: Option<&Secret>, user: &str, verifier: scram::Secret) {
        match (&self.asked, secret) {
            (Some((key, _)), _) => inner.auth.cache.keep_verifier(key, &verifier),
            (None, Some(Secret::Plain(plain))) => {
                held(&inner.auth.verifiers.0).put(user.to_owned(), (plain.clone(), verifier));
            }
            (None, Some(Secret::Md5(_) | Secret::Scram(_)) | None) => {}
        }
    }
}

impl super::Auth {
    /// A listed password with the SCRAM secret that was made of it at an earlier login.
    fn with_verifier(&self, user: &String, secret: Secret) -> Secret {
        match secret {
            Secret::Plain(plain) if plain.verifier().is_none() => {
                let mut verifiers = held(&self.verifiers.0);
                let known = verifiers.get(user).filter(|(of, _)| *of == plain).map(|(_, made)| made.clone());
                Secret::Plain(match known {
                    Some(made) => plain.keeping(made),
                    None => plain,
                })
            }
            secret @ (Secret::Plain(_) | Secret::Md5(_) | Secret::Scram(_)) => secret,
        }
    }
}

#[cfg(test)]
mod tests {
    use poolwarden_switch::pool::HostId;

    use super::*;
    use crate::directory::{Route, UserEntry};

    #[test]
    fn nobody_is_asked_about_a_user_that_is_listed_without_a_password_nor_for_the_console() {
        let route = Route { host: HostId(0), database: None, user: None, password: None, startup: vec![] };
        let mut directory = Directory { any: Some(route), ..Directory::default() };
        directory.auth.query = Some(Arc::new(Query::default()));
        let barred = UserEntry { barred: true, ..UserEntry::default() };
        directory.users.insert("barred".into(), barred);
        directory.users.insert("classed".into(), UserEntry::default());
        let asks = |directory: &Directory, database, user| question(directory, database, user).is_some();
        assert!(asks(&directory, "app", "anybody") && asks(&directory, "app", "classed"));
        assert!(!asks(&directory, "app", "barred"));
        assert!(!asks(&directory, "poolwarden", "anybody") && !asks(&directory, "pgbouncer", "anybody"));
        assert!(directory.route("app").is_some());
        assert!(directory.route("pgbouncer").is_none(), "what a login there reveals is no server's");
    }
}
