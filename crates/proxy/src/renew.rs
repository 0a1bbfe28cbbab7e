//! Who logs in otherwise after a reload: server connections opened with what held before are replaced as they come back.
//!
//! So a password that is rotated is in use at once, and the one before can be taken away.

use std::collections::BTreeSet;

use poolwarden_switch::pool::{Input, Verb};

use crate::directory::{Directory, Route};
use crate::inner::Inner;

/// Whose server connections are opened otherwise than before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Renewed {
    /// Roles with another secret.
    users: BTreeSet<String>,
    /// Databases, by the name clients ask for, with another role, password, name or other start-up parameters.
    databases: BTreeSet<String>,
    /// Likewise whatever `*` serves.
    any: bool,
}

impl Renewed {
    pub(crate) fn between(old: &Directory, new: &Directory) -> Self {
        let names = old.users.keys().chain(new.users.keys());
        let secret = |of: &Directory, name: &str| of.users.get(name).and_then(|entry| entry.secret.clone());
        let users = names.filter(|name| secret(old, name) != secret(new, name)).cloned().collect();
        let both = old.routes.iter().filter_map(|(name, before)| Some((name, before, new.routes.get(name)?)));
        let databases = both.filter(|(_, before, now)| is_other(before, now)).map(|(name, ..)| name.clone()).collect();
        let any = old.any.as_ref().zip(new.any.as_ref()).is_some_and(|(before, now)| is_other(before, now));
        Self { users, databases, any }
    }

    /// Tells the cores, which obey the new settings already.
    pub(crate) fn carry_out(self, inner: &Inner) {
        for host in inner.shared.hosts() {
            for user in &self.users {
                inner.drive(host, Input::Renew(user.clone()));
            }
            for database in self.databases.iter().cloned().chain(self.served_by_any(inner, host)) {
                inner.drive(host, Input::Admin(Verb::Reconnect, Some(database)));
            }
        }
    }

    fn served_by_any(&self, inner: &Inner, host: poolwarden_switch::pool::HostId) -> BTreeSet<String> {
        let snapshot = self.any.then(|| inner.shared.snapshot(inner.clock.now(), host)).flatten();
        let names = snapshot.into_iter().flat_map(|host| host.pools).map(|pool| pool.key.database);
        let routes = inner.directory();
        names.filter(|name| !routes.routes.contains_key(name)).collect()
    }
}

/// Whether server connections are opened with other words; another server is another matter.
fn is_other(before: &Route, now: &Route) -> bool {
    (&before.database, &before.user, &before.password, &before.startup)
        != (&now.database, &now.user, &now.password, &now.startup)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use poolwarden_switch::pool::HostId;
    use poolwarden_switch::relay::pgwire::password::Secret;

    use super::*;
    use crate::auth::AuthPlan;
    use crate::directory::{Method, UserEntry};

    fn route(password: &str, startup: &str) -> Route {
        Route {
            host: HostId(0),
            database: None,
            user: None,
            password: Some(password.to_owned()),
            startup: vec![("application_name".to_owned(), startup.to_owned())],
        }
    }

    fn directory(secrets: &[(&str, &str)], routes: &[(&str, Route)], any: Option<Route>) -> Directory {
        let entry = |secret: &str| UserEntry { secret: Some(Secret::parse(secret)), barred: false };
        Directory {
            method: Method::Scram,
            auth: AuthPlan::default(),
            users: secrets.iter().map(|(name, secret)| ((*name).to_owned(), entry(secret))).collect(),
            routes: routes.iter().map(|(name, route)| ((*name).to_owned(), route.clone())).collect::<BTreeMap<_, _>>(),
            any,
            console_admins: Vec::new(),
            console_readers: Vec::new(),
        }
    }

    #[test]
    fn another_secret_another_password_and_other_parameters_are_renewed_and_nothing_else() {
        let old = directory(
            &[("web", "old"), ("batch", "same"), ("gone", "x")],
            &[("app", route("p", "a")), ("shop", route("p", "a")), ("last", route("p", "a"))],
            Some(route("p", "a")),
        );
        assert_eq!(Renewed::between(&old, &old), Renewed::default());
        let new = directory(
            &[("web", "new"), ("batch", "same")],
            &[("app", route("q", "a")), ("shop", route("p", "b")), ("first", route("r", "a"))],
            Some(Route { host: HostId(1), ..route("p", "a") }),
        );
        let renewed = Renewed::between(&old, &new);
        let names = |of: &BTreeSet<String>| of.iter().cloned().collect::<Vec<_>>();
        assert_eq!(
            (names(&renewed.users), names(&renewed.databases)),
            (vec!["gone".to_owned(), "web".to_owned()], vec!["app".to_owned(), "shop".to_owned()],)
        );
        assert!(!renewed.any, "where it goes is another matter");
    }
}
