//! Who may log in, and where they go.

use std::collections::BTreeMap;
use std::fmt;

use poolwarden_switch::pool::HostId;
use poolwarden_switch::relay::pgwire::password::Secret;

use crate::auth::AuthPlan;

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
    /// With a certificate that names the user.
    Cert,
    /// As the rules say.
    Hba,
    /// By being a process of the user of that name, over the unix socket.
    Peer,
}

/// One user of the configuration.
#[derive(Clone, Debug, Default)]
pub struct UserEntry {
    /// What the user must know; also what logs in to PostgreSQL, where it can.
    pub secret: Option<Secret>,
    /// Listed without a password: none fits, and nobody is asked for another.
    pub barred: bool,
}

/// Where the clients of one database go.
#[derive(Clone)]
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
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Route");
        shown.field("host", &self.host).field("database", &self.database).field("user", &self.user);
        shown.finish_non_exhaustive() // the password stays inside
    }
}

/// Who may log in, and where they go. Swapped as a whole.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// How clients prove who they are.
    pub method: Method,
    /// The rest of authentication.
    pub auth: AuthPlan,
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
const CONSOLE: [&str; 2] = ["poolwarden", "pgbouncer"];

/// Whether this database is the SQL console.
pub(crate) fn is_console(database: &str) -> bool {
    CONSOLE.contains(&database)
}

impl Directory {
    /// Where a database's clients go; the console is on no server.
    pub(crate) fn route(&self, database: &str) -> Option<&Route> {
        let route = self.routes.get(database).or(self.any.as_ref());
        route.filter(|_| !is_console(database))
    }

    pub(crate) fn is_console_admin(&self, user: &str) -> bool {
        self.console_admins.iter().any(|name| name == "*" || name == user)
    }

    pub(crate) fn is_console_reader(&self, user: &str) -> bool {
        self.is_console_admin(user) || self.console_readers.iter().any(|name| name == "*" || name == user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_shown_without_its_password() {
        let route = Route {
            host: HostId(3),
            database: Some("db".into()),
            user: Some("role".into()),
            password: Some("hunter2".into()),
            startup: Vec::new(),
        };
        let shown = format!("{route:?}");
        assert!(shown.contains("role") && !shown.contains("hunter2"), "{shown}");
    }
}
