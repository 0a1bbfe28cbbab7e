//! `[classes.NAME]`, and the numbers that classes go by everywhere below the configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_pool::{ClassId, ClassSettings};

use super::{Config, Patience};
use crate::value::Network;

/// `[classes.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Share when classes compete.
    pub weight: u32,
    /// Server connections of a pool kept for it.
    pub reserve: u32,
    /// Longest wait; `None`: the pool's.
    pub max_wait: Option<Duration>,
    /// Client networks of this class.
    pub networks: Vec<Network>,
    /// Names that applications give themselves, with `*` for any rest: their requests are of this class. No two classes share one.
    pub applications: Vec<String>,
    /// Time limits of its requests, where a user has none of its own and over the pool's.
    pub patience: Patience,
}

impl Class {
    pub(crate) const fn new(weight: u32, max_wait: Option<Duration>) -> Self {
        let patience = Patience { query: None, transaction: None, idle_in_transaction: None, client_idle: None };
        Self { weight, reserve: 0, max_wait, networks: Vec::new(), applications: Vec::new(), patience }
    }
}

impl Config {
    /// The class of whom no rule names another; its id is 0.
    pub const DEFAULT_CLASS: &'static str = "default";

    /// Most classes a file may have: an id has eight bits, and classes that nobody can tell apart share nothing fairly.
    pub const MAX_CLASSES: usize = 200;

    /// Every class in the order of the ids: `default` is 0, the others follow by name; behind a reload, those that were there
    /// before keep their ids ([`Config::keep_class_ids`]).
    pub fn classes_by_id(&self) -> impl Iterator<Item = (ClassId, &str, &Class)> {
        let kept = self.kept.iter().map(|(name, gone)| (name, self.classes.get(name).unwrap_or(gone)));
        let (first, others): (Vec<_>, Vec<_>) = self
            .classes
            .iter()
            .filter(|(name, _)| self.kept.iter().all(|(kept, _)| kept != *name))
            .partition(|(name, _)| *name == Self::DEFAULT_CLASS);
        let ordered = kept.chain(first).chain(others);
        (0..=u8::MAX).map(ClassId).zip(ordered).map(|(id, (name, class))| (id, name.as_str(), class))
    }

    /// Takes over the ids of the configuration that was in force, so that what is counted and shed under an id stays with its class.
    /// A class that is no more keeps its id too, with nothing of its own, while there is room.
    pub fn keep_class_ids(&mut self, before: &Self) {
        let known: Vec<(String, Class)> =
            before.classes_by_id().map(|(_, name, _)| (name.to_owned(), Class::new(4, None))).collect();
        let new = self.classes.keys().filter(|name| known.iter().all(|(known, _)| known != *name)).count();
        if known.len() + new <= usize::from(u8::MAX) {
            self.kept = known;
        }
    }

    /// The id of every class by its name.
    #[must_use]
    pub fn class_ids(&self) -> BTreeMap<&str, ClassId> {
        self.classes_by_id().map(|(id, name, _)| (name, id)).collect()
    }

    /// What the core is told of the classes, by id.
    pub(super) fn class_settings(&self) -> Vec<ClassSettings> {
        let settings = |(_, name, class): (ClassId, &str, &Class)| ClassSettings {
            name: name.to_owned(),
            weight: class.weight,
            reserve: class.reserve,
            max_wait: class.max_wait,
        };
        self.classes_by_id().map(settings).collect()
    }

    /// Classes that some rule assigns in a pool of this class: it, and those that networks and applications have wherever they go.
    pub(crate) fn assigned(&self, class: Option<&str>) -> Vec<ClassId> {
        let ids = self.classes_by_id().filter(|(_, name, settings)| {
            class == Some(*name) || !settings.networks.is_empty() || !settings.applications.is_empty()
        });
        ids.map(|(id, _, _)| id).collect()
    }
}
