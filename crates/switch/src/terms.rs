//! The rules of the pools that the core does not need: swapped in whole, and the same for every loop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use poolwarden_pool::{ClassId, Guard, PoolKey};
use poolwarden_relay::{Keep, SessionState, Terms};

use crate::classes::ClassRules;
use crate::patience::{Limits, Patience, Whose};

/// The rules of a pool that the core does not need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTerms {
    /// How long a client keeps a connection.
    pub keep: Keep,
    /// Most statements prepared on one server connection; 0: they are not followed.
    pub statements: usize,
    /// Reported parameters followed beside the usual ones, lower case.
    pub track: Arc<[String]>,
    /// Run in session mode before another client gets the connection; empty: none.
    pub reset_query: String,
    /// The connection is reset after every lease, whatever the mode.
    pub reset_always: bool,
    /// What becomes of session state that no other connection can be given.
    pub session_state: SessionState,
    /// Settings every connection starts with, beside what clients ask for.
    pub startup: Vec<(String, String)>,
    /// How long its clients may take for what they do.
    pub patience: Patience,
    /// The class of its clients, but for users with one of their own.
    pub class: Option<ClassId>,
}

impl Default for PoolTerms {
    fn default() -> Self {
        Self {
            keep: Keep::Transaction,
            statements: 200,
            track: Arc::default(),
            reset_query: "DISCARD ALL".into(),
            reset_always: false,
            session_state: SessionState::Pin,
            startup: Vec::new(),
            patience: Patience::default(),
            class: None,
        }
    }
}

impl PoolTerms {
    pub(crate) fn lease(&self) -> Terms {
        Terms { keep: self.keep, statements: self.statements, state: self.session_state, ..Terms::default() }
    }

    /// What is run to reset a connection.
    pub(crate) fn reset_sql(&self) -> &str {
        if self.reset_query.is_empty() { "DISCARD ALL" } else { &self.reset_query }
    }
}

/// The terms of every pool, by the name of the database clients ask for, and then by user where a user has its own mode.
#[derive(Clone, Debug, Default)]
pub struct TermsBook {
    /// By database.
    pub databases: BTreeMap<String, PoolTerms>,
    /// Of any other database.
    pub any: PoolTerms,
    /// Users with terms of their own.
    pub users: BTreeMap<String, UserTerms>,
    /// Every class.
    pub classes: ClassRules,
    /// Whether clients are ended by rules that nobody wrote down.
    pub guard: Guard,
}

/// What one user has of its own in every pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserTerms {
    /// How long it keeps a connection.
    pub keep: Option<Keep>,
    /// Its time limits.
    pub patience: Patience,
    /// Its class.
    pub class: Option<ClassId>,
    /// What its clients say of themselves may raise their class.
    pub trust_labels: bool,
}

impl TermsBook {
    pub(crate) fn terms(&self, key: &PoolKey) -> PoolTerms {
        let mut terms = self.databases.get(&key.database).unwrap_or(&self.any).clone();
        terms.keep = self.users.get(&key.user).and_then(|own| own.keep).unwrap_or(terms.keep);
        terms
    }

    /// The shortest time limit of any pool, class or user; `None`: there is none.
    pub(crate) fn shortest(&self) -> Option<Duration> {
        let pools = self.databases.values().chain([&self.any]).map(|terms| terms.patience);
        let classes = self.classes.classes.iter().map(|class| class.patience);
        let users = self.users.values().map(|own| own.patience);
        pools.chain(classes).chain(users).filter_map(Patience::shortest).min()
    }

    /// What a client of this pool is held to: its user's limits, else its class's, else the pool's. A class that it chose itself
    /// (`class`, where by the rules it is of class `base`) makes no limit longer, unless its user is trusted.
    pub(crate) fn limits(&self, (database, user): (&str, &str), (base, class): (ClassId, ClassId)) -> Limits {
        let of_class = |id: ClassId| {
            let patience = self.classes.rule(id).map(|rule| rule.patience).unwrap_or_default();
            let own = self.users.get(user).map(|own| own.patience).unwrap_or_default();
            let pool = self.databases.get(database).unwrap_or(&self.any).patience;
            Limits::new([(own, Whose::User), (patience, Whose::Class(id)), (pool, Whose::Pool)])
        };
        let limits = of_class(class);
        if class == base || self.trusts(user) { limits } else { limits.shorter(of_class(base)) }
    }

    /// The setting of a limit, as it stands in the file.
    pub(crate) fn setting(&self, (database, user): (&str, &str), whose: Whose, name: &str) -> String {
        match whose {
            Whose::User => format!("users.{user}.{name}"),
            Whose::Class(class) => format!("classes.{}.{name}", self.classes.name(class)),
            Whose::Pool if self.databases.contains_key(database) => format!("pools.{database}.{name}"),
            Whose::Pool => format!("pools.\"*\".{name}"),
        }
    }
}
