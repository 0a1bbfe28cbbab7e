//! Who may log in, and where they go.

use std::collections::BTreeMap;

use poolwarden_switch::pool::{ClassId, HostId};
use poolwarden_switch::relay::greet;
use poolwarden_switch::relay::login::Password;
use poolwarden_switch::relay::pgwire::password::{Plain, Secret};

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Method {
    /// Not at all.
    Trust,
    /// Password in the clear.
    Password,
    /// MD5 challenge.
    Md5,
    /// SCRAM-SHA-256.
    #[default]
    Scram,
}

/// One user of the configuration.
#[derive(Clone, Debug, Default)]
pub struct UserEntry {
    /// What the user must know; also what logs in to PostgreSQL, where it can.
    pub secret: Option<Secret>,
    /// The user's class.
    pub class: ClassId,
}

/// Where the clients of one database go.
#[derive(Clone, Debug)]
pub struct Route {
    /// Which server.
    pub host: HostId,
    /// The database's own name; `None`: the name clients ask for.
    pub database: Option<String>,
    /// The role of its server connections; `None`: the client's own.
    pub user: Option<String>,
    /// That role's password.
    pub password: Option<String>,
    /// Parameters its server connections start with.
    pub startup: Vec<(String, String)>,
    /// The class of its clients; `None`: the user's.
    pub class: Option<ClassId>,
}

/// Who may log in, and where they go. Swapped as a whole.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// How clients prove who they are.
    pub method: Method,
    /// Users.
    pub users: BTreeMap<String, UserEntry>,
    /// Databases by the name clients ask for.
    pub routes: BTreeMap<String, Route>,
    /// Any other database.
    pub any: Option<Route>,
    /// Users who may change things on the SQL console; `*` is everybody.
    pub console_admins: Vec<String>,
    /// Users who may look; `*` is everybody.
    pub console_readers: Vec<String>,
}

/// The names of the SQL console's virtual database.
pub(crate) const CONSOLE: [&str; 2] = ["poolwarden", "pgbouncer"];

impl Directory {
    pub(crate) fn route(&self, database: &str) -> Option<&Route> {
        self.routes.get(database).or(self.any.as_ref())
    }

    /// What the greeting needs to know about a user.
    pub(crate) fn found(&self, user: &str) -> greet::Found {
        let method = match self.method {
            Method::Trust => greet::Method::Trust,
            Method::Password => greet::Method::Password,
            Method::Md5 => greet::Method::Md5,
            Method::Scram => greet::Method::Scram,
        };
        greet::Found { method, secret: self.users.get(user).and_then(|entry| entry.secret.clone()) }
    }

    pub(crate) fn class(&self, user: &str, route: &Route) -> ClassId {
        let own = self.users.get(user).map(|entry| entry.class);
        route.class.or(own).unwrap_or_default()
    }

    /// How server connections of this (database, user) log in: role, the database's own name, password.
    pub(crate) fn login(&self, database: &str, user: &str) -> Option<(String, String, Option<Password>)> {
        let route = self.route(database)?;
        let role = route.user.clone().unwrap_or_else(|| user.to_owned());
        let name = route.database.clone().unwrap_or_else(|| database.to_owned());
        let password = match &route.password {
            Some(password) => Some(Password::Plain(Plain::new(password), None)),
            None => self.users.get(&role).and_then(|entry| entry.secret.as_ref()).and_then(usable),
        };
        Some((role, name, password))
    }

    pub(crate) fn is_console_admin(&self, user: &str) -> bool {
        self.console_admins.iter().any(|name| name == "*" || name == user)
    }

    pub(crate) fn is_console_reader(&self, user: &str) -> bool {
        self.is_console_admin(user) || self.console_readers.iter().any(|name| name == "*" || name == user)
    }
}

/// What of a secret can log in to a server: a SCRAM secret alone cannot.
fn usable(secret: &Secret) -> Option<Password> {
    match secret {
        Secret::Plain(plain) => Some(Password::Plain(plain.clone(), None)),
        Secret::Md5(hash) => Some(Password::Md5(hash.clone())),
        Secret::Scram(_) => None,
    }
}
