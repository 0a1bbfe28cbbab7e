//! `[classes.NAME]`: read, and what contradicts itself between two of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use poolwarden_pool::ClassId;

use super::{Build, Scope};
use crate::finding::Severity;
use crate::model::{Class, Config, Pool};

impl Build<'_> {
    pub(super) fn classes(&mut self) -> BTreeMap<String, Class> {
        let mut classes = BTreeMap::from([
            ("critical".to_owned(), Class::new(8, None)),
            (Config::DEFAULT_CLASS.to_owned(), Class::new(4, None)),
            ("batch".to_owned(), Class::new(1, Some(Duration::from_secs(60)))),
        ]);
        let names = self.names("classes");
        for named in &names {
            let scope = Scope::named("classes", &named.name);
            let class = classes.entry(named.name.clone()).or_insert_with(|| Class::new(4, None));
            class.weight = self.number(&scope, "weight").unwrap_or(class.weight);
            class.reserve = self.number(&scope, "reserve").unwrap_or_default();
            class.max_wait = self.duration(&scope, "max_wait").or(class.max_wait);
            self.not_at_once(&scope, "max_wait", class.max_wait.unwrap_or(Duration::MAX));
            class.networks = self.networks(&scope, "networks");
            class.applications = self.list(&scope, "applications");
            class.patience = self.patience(&scope);
        }
        if classes.len() > Config::MAX_CLASSES {
            let message = format!("{} classes, and at most {} can be told apart", classes.len(), Config::MAX_CLASSES);
            let texts =
                (message, "let users share classes: within one, users and applications share fairly".to_owned());
            let span = names.last().map_or(self.end..self.end, |named| named.span.clone());
            self.finding(Severity::Error, "out-of-range", span, texts);
        }
        self.check_rules(&classes);
        classes
    }

    /// A request is of one class: no two may claim the same application or network.
    fn check_rules(&mut self, classes: &BTreeMap<String, Class>) {
        let mut claimed: BTreeMap<(&'static str, String), &str> = BTreeMap::new();
        for (name, class) in classes {
            let scope = Scope::named("classes", name);
            for pattern in &class.applications {
                self.check_pattern(&scope, pattern);
            }
            let applications = class.applications.iter().map(|pattern| ("applications", pattern.clone()));
            let networks = class.networks.iter().map(|network| ("networks", network.masked().to_string()));
            for claim in applications.chain(networks) {
                let (key, shown) = claim.clone();
                let Some(other) = claimed.insert(claim, name).filter(|other| other != name) else { continue };
                let message = format!("{}.{key}: \"{shown}\" is class {other}'s already", scope.path);
                let texts = (message, "keep it in one of the two".to_owned());
                self.finding(Severity::Error, "duplicate", self.span(&scope, key), texts);
            }
        }
    }

    fn check_pattern(&mut self, scope: &Scope, pattern: &str) {
        let stem = pattern.strip_suffix('*').unwrap_or(pattern);
        if pattern.is_empty() || stem.contains('*') {
            let message = format!("{}.applications: \"{pattern}\" is not a name, nor the start of one", scope.path);
            let texts = (message, "write a name in full, or its start and * at the end: \"reports*\"".to_owned());
            self.finding(Severity::Error, "wrong-value", self.span(scope, "applications"), texts);
        }
    }

    /// Reserves that a pool has no room for: others are never left below one connection, so that less is kept than is written.
    pub(super) fn check_reserves(&mut self, config: &Config) {
        if config.classes.values().all(|class| class.reserve == 0) {
            return;
        }
        let mut users: BTreeMap<(Option<&str>, Option<u32>), Option<&str>> = BTreeMap::from([((None, None), None)]);
        for (name, user) in &config.users {
            users.entry((user.class.as_deref(), user.settings.size)).or_insert(Some(name));
        }
        for (name, pool) in &config.pools {
            let all = users.iter().map(|((class, size), user)| reserved(config, (name, pool), *class, user.zip(*size)));
            let worst = all.max_by_key(|of| i64::from(of.reserved) - i64::from(of.size));
            if let Some(Reserved { place, size, reserved, classes }) = worst.filter(|of| of.reserved >= of.size) {
                let kept = size - 1; // a size is at least 1
                let message = format!(
                    "{}.{} ({size}): the reserves of its classes ({}) take {reserved} together, and one connection is \
                     always left for others: {kept} are kept",
                    place.0.path,
                    place.1,
                    classes.join(", ")
                );
                let fix = format!("write {} = {} or more, or smaller reserves", place.1, reserved.saturating_add(1));
                let span = self.place(&place, &classes);
                self.finding(Severity::Warning, "contradiction", span, (message, fix));
            }
        }
    }

    /// Where the size is written, else the first of the reserves that is.
    fn place(&self, size: &(Scope, &str), classes: &[String]) -> Range<usize> {
        let reserves = classes.iter().filter_map(|class| class.rsplit_once(' '));
        let reserves = reserves.map(|(class, _)| (Scope::named("classes", class), "reserve"));
        let places = std::iter::once(size.clone()).chain(reserves);
        let mut written = places.filter_map(|(scope, key)| self.written(&scope, key));
        written.next().map_or(self.end..self.end, |written| written.span.clone())
    }
}

/// What classes reserve of a pool.
struct Reserved {
    /// The size's key.
    place: (Scope, &'static str),
    size: u32,
    reserved: u32,
    /// Each with its reserve, for people.
    classes: Vec<String>,
}

/// What is reserved of one user's pool, where the user may have a class and a size of its own.
fn reserved(config: &Config, (name, pool): (&str, &Pool), class: Option<&str>, own: Option<(&str, u32)>) -> Reserved {
    let assigned: BTreeSet<ClassId> =
        [class, pool.class.as_deref()].into_iter().flat_map(|class| config.assigned(class)).collect();
    let kept = config.classes_by_id().filter(|(id, _, class)| assigned.contains(id) && class.reserve > 0);
    let (mut reserved, mut classes) = (0_u32, Vec::new());
    for (_, name, class) in kept {
        reserved = reserved.saturating_add(class.reserve);
        classes.push(format!("{name} {}", class.reserve));
    }
    let (place, size) = match own {
        Some((user, size)) => ((Scope::named("users", user), "pool_size"), size),
        None => ((Scope::named("pools", name), "size"), pool.settings.size),
    };
    Reserved { place, size, reserved, classes }
}
