//! With what a server connection logs in: a password that is configured, a secret that was looked up, or a captured key.

use std::sync::Arc;

use poolwarden_switch::pool::{ConnectFailure, Failure, HostId};
use poolwarden_switch::relay::login::{Credentials, Password};
use poolwarden_switch::relay::pgwire::password::{Plain, Secret};
use poolwarden_switch::relay::pgwire::scram::{Derived, Keys};

use super::keys::Role;
use super::look;
use crate::connect::failure;
use crate::inner::Inner;

/// A login towards a server.
pub(crate) struct Outward {
    /// The role.
    pub(crate) user: String,
    /// The database's own name.
    pub(crate) database: String,
    pub(crate) password: Option<Password>,
    /// The password stands in the configuration: if it is wrong, trying again is of no use.
    pub(crate) configured: bool,
    /// The captured key that is used.
    captured: Option<Keys>,
}

impl Outward {
    /// What the login says, with these further start-up parameters.
    pub(crate) fn credentials(&self, settings: Vec<(String, String)>) -> Credentials {
        let (user, database, password) = (self.user.clone(), self.database.clone(), self.password.clone());
        Credentials { user, database, password, settings }
    }

    /// Keeps what the login derived, so that the next one need not.
    pub(crate) fn learn(&self, inner: &Inner, host: HostId, derived: Option<Derived>) {
        if let (Some(Password::Plain(plain, _)), Some(derived)) = (&self.password, derived) {
            inner.auth.keys.learn((host, self.user.clone()), plain.clone(), derived);
        }
    }
}

/// How server connections of this (database, user) log in; an error where they cannot yet.
pub(crate) async fn outward(
    inner: &Arc<Inner>,
    host: HostId,
    database: &str,
    user: &str,
) -> Result<Outward, ConnectFailure> {
    let directory = inner.directory();
    let gone = || failure(Failure::Database, "3D000", "the pool is not configured any more");
    let route = directory.route(database).ok_or_else(gone)?;
    let role = (host, route.user.clone().unwrap_or_else(|| user.to_owned()));
    let name = route.database.clone().unwrap_or_else(|| database.to_owned());
    let login = |password, configured, captured| Outward {
        user: role.1.clone(),
        database: name.clone(),
        password,
        configured,
        captured,
    };
    if let Some(password) = &route.password {
        return Ok(login(Some(inner.auth.keys.known(&role, Plain::new(password))), true, None));
    }
    let listed = directory.users.get(&role.1).and_then(|entry| entry.secret.clone());
    let configured = listed.is_some();
    let secret = match listed {
        Some(secret) => Some(secret),
        None => match look::question(&directory, database, &role.1) {
            // A captured key serves without asking: with PostgreSQL away there is nothing to log in to anyway.
            Some(_) if inner.auth.keys.captured(&role).is_some() => None,
            Some((query, key)) => match look::ask(inner, &query, &key).await {
                Ok(answer) => answer,
                Err(trouble) => {
                    let message = format!("role \"{}\" cannot be looked up: {}", role.1, trouble.0);
                    return Err(failure(Failure::Password { configured: false }, "28000", &message));
                }
            },
            None => return Ok(login(None, false, None)),
        },
    };
    match secret {
        Some(Secret::Plain(plain)) => Ok(login(Some(inner.auth.keys.known(&role, plain)), configured, None)),
        Some(Secret::Md5(hash)) => Ok(login(Some(Password::Md5(hash)), configured, None)),
        Some(Secret::Scram(_)) | None => match inner.auth.keys.captured(&role) {
            Some(keys) => Ok(login(Some(Password::Keys(keys.clone())), false, Some(keys))),
            None if secret.is_none() => Ok(login(None, false, None)),
            None => Err(wait(inner, &role)),
        },
    }
}

/// There is a SCRAM secret and no key yet: only a client's login brings one.
fn wait(inner: &Inner, role: &Role) -> ConnectFailure {
    let message = format!(
        "connections as role \"{0}\" wait for the first login of user \"{0}\": its SCRAM key comes with it",
        role.1
    );
    if inner.auth.keys.wait(role) {
        inner.notes.add("login", message.clone(), None);
    }
    failure(Failure::Password { configured: false }, "28000", &message)
}

/// The server refused the login: a captured key goes, and the secret it came from is fetched anew.
pub(crate) fn refused(
    inner: &Arc<Inner>,
    host: HostId,
    database: &str,
    outward: &Outward,
    why: ConnectFailure,
) -> ConnectFailure {
    let Some(keys) = outward.captured.as_ref().filter(|_| &why.sqlstate == b"28P01") else { return why };
    let role = (host, outward.user.clone());
    if inner.auth.keys.drop_captured(&role, keys) {
        inner.auth.keys.wait(&role);
        inner.notes.add(
            "login",
            format!("PostgreSQL refuses the key of role \"{}\": the next login of that user brings another", role.1),
            None,
        );
        let directory = inner.directory();
        if let Some((query, key)) = look::question(&directory, database, &role.1)
            && inner.auth.cache.doubt(inner.clock.now(), &key)
        {
            look::refresh(inner, &query, &key);
        }
    }
    let message =
        format!("{}; the password of role \"{}\" has changed: log in again with the new one", why.message, role.1);
    failure(why.kind, "28P01", &message)
}
