//! What a pooler's file says and its running process does not have: drift, or a change that is still to be made.
//!
//! A file is compared with every source that tells the settings of a process of its kind. Where there are several files of a
//! kind, a process is the one's that it agrees with most. Only keys that both have are compared, and those limits of PgBouncer
//! whose defaults never changed, for a line that was taken out leaves its default behind. A file called `NAME.proposed.EXT` is
//! not meant to run yet.

use crate::catalogue::CATALOGUE;
use crate::pgbouncer::{Section, find, value};
use crate::review::chain::{Bound, Kind, Pooler};
use crate::review::dossier::Dossier;
use crate::review::place::{Known, Place};
use crate::review::source::STEADY;

/// One setting that is not what runs.
#[derive(Clone, Debug)]
pub(super) struct Change<'a> {
    pub(super) pooler: &'a Pooler,
    /// Which of the dossier's facts are the running process's.
    pub(super) source: usize,
    pub(super) key: String,
    pub(super) file: Known<String>,
    pub(super) running: Known<String>,
    /// Whether a reload applies it.
    pub(super) live: bool,
}

impl Change<'_> {
    /// `max_db_connections: 50 in the file, 20 running`.
    pub(super) fn words(&self) -> String {
        format!("{}: {} in the file, {} running", self.key, self.file.value, self.running.value)
    }
}

/// A layer of the chain that a limit belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    /// Clients of an instance.
    Clients,
    /// How long clients wait.
    Waits,
    /// Sizes of pools.
    Pools,
    /// Limits of users and databases.
    Quotas,
    /// The host budget.
    Host,
}

impl Layer {
    /// In words.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Waits => "waits",
            Self::Pools => "pools",
            Self::Quotas => "users and databases",
            Self::Host => "the host budget",
        }
    }

    /// Of a setting; `None`: it is no limit of the chain.
    pub(super) fn of(kind: Kind, key: &str) -> Option<Self> {
        let (first, last) = (key.split('.').next().unwrap_or(key), key.rsplit('.').next().unwrap_or(key));
        match (kind, first, last) {
            (Kind::Poolwarden, "limits", "max_clients") | (Kind::PgBouncer, "max_client_conn", _) => {
                Some(Self::Clients)
            }
            (Kind::Poolwarden, "pools", "max_wait") | (Kind::PgBouncer, "query_wait_timeout", _) => Some(Self::Waits),
            (Kind::Poolwarden, "pools", "size" | "reserve")
            | (Kind::Poolwarden, "users", "pool_size")
            | (Kind::PgBouncer, "default_pool_size" | "reserve_pool_size", _) => Some(Self::Pools),
            (Kind::Poolwarden, "pools" | "users", "max_connections")
            | (Kind::Poolwarden, "servers", "max_user_connections")
            | (Kind::PgBouncer, "max_db_connections" | "max_user_connections", _) => Some(Self::Quotas),
            (Kind::Poolwarden, "servers", "max_connections") => Some(Self::Host),
            (Kind::Poolwarden | Kind::PgBouncer | Kind::RdsProxy | Kind::Odyssey, ..) => None,
        }
    }
}

/// A limit as a number, or unlimited; `None`: it is neither, `auto` for one.
pub(super) fn bound(kind: Kind, key: &str, text: &str) -> Option<Bound> {
    let zero_is_none = kind == Kind::PgBouncer && Layer::of(kind, key) == Some(Layer::Quotas);
    match text.trim() {
        "0" if zero_is_none => Some(Bound::Unlimited),
        "unlimited" => Some(Bound::Unlimited),
        number => number.parse().ok().map(Bound::Of),
    }
}

/// Whether the file is a proposal that nobody expects to run.
pub(super) fn is_proposed(pooler: &Pooler) -> bool {
    pooler.name.rsplit('/').next().unwrap_or(&pooler.name).contains(".proposed.")
}

/// Everything that differs, in the order of sources and of the file.
pub(super) fn changes(of: &Dossier) -> Vec<Change<'_>> {
    let mut all: Vec<Change<'_>> = (0..of.facts.len()).flat_map(|source| of_source(of, source)).collect();
    let at = |known: &Known<String>| match &known.place {
        Place::Text { file, span } => (*file, span.start),
        Place::Default(_) | Place::Told { .. } => (usize::MAX, 0),
    };
    all.sort_by_key(|change| (change.source, at(&change.file)));
    all
}

/// The pooler whose process a source is: of its kind the only one, or the one it agrees with most.
pub(super) fn whose(of: &Dossier, source: usize) -> Option<&Pooler> {
    let told = |pooler: &&Pooler| prefix(pooler.kind).is_some_and(|prefix| tells(of, source, prefix));
    let mut ranked: Vec<(usize, &Pooler)> =
        of.poolers.iter().filter(told).map(|pooler| (agreements(of, source, pooler), pooler)).collect();
    ranked.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    match ranked.as_slice() {
        [] => None,
        [(_, only)] => Some(only),
        [(most, first), (next, _), ..] => (most > next).then_some(first),
    }
}

/// The settings of a running process, by the beginning of their keys.
pub(super) const fn prefix(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Poolwarden => Some("poolwarden.config."),
        Kind::PgBouncer => Some("pgbouncer.config."),
        Kind::RdsProxy | Kind::Odyssey => None,
    }
}

/// Whether a source tells any fact that begins so.
pub(super) fn tells(of: &Dossier, source: usize, prefix: &str) -> bool {
    of.facts.get(source).is_some_and(|facts| facts.facts.keys().any(|key| key.starts_with(prefix)))
}

/// One fact of one source.
pub(super) fn told(of: &Dossier, source: usize, key: &str) -> Option<Known<String>> {
    let value = of.facts.get(source)?.facts.get(key)?.clone();
    Some(Known { value, place: Place::Told { source, key: key.to_owned() } })
}

fn agreements(of: &Dossier, source: usize, pooler: &Pooler) -> usize {
    let Some(prefix) = prefix(pooler.kind) else { return 0 };
    let same = |(key, known): &(&String, &Known<String>)| {
        let there = told(of, source, &format!("{prefix}{key}"));
        there.is_some_and(|there| alike(pooler.kind, key, &known.value, &there.value))
    };
    pooler.written.iter().filter(same).count()
}

fn of_source(of: &Dossier, source: usize) -> Vec<Change<'_>> {
    let Some((pooler, prefix)) = whose(of, source).and_then(|pooler| Some((pooler, prefix(pooler.kind)?))) else {
        return Vec::new();
    };
    let left_out = STEADY.iter().filter(|key| pooler.kind == Kind::PgBouncer && !pooler.written.contains_key(**key));
    let defaults = left_out.filter_map(|key| {
        let default = find(Section::Pgbouncer, key)?.default;
        Some(((*key).to_owned(), Known::default_of(default.to_owned(), "PgBouncer's")))
    });
    let written = pooler.written.iter().filter(|(key, _)| runs(pooler.kind, key));
    let all = written.map(|(key, known)| (key.clone(), known.clone())).chain(defaults);
    all.filter_map(|(key, file)| {
        let running = told(of, source, &format!("{prefix}{key}"))?;
        let differs = running.value != "<set>" && !alike(pooler.kind, &key, &file.value, &running.value);
        differs.then(|| Change { pooler, source, live: is_live(pooler.kind, &key), key, file, running })
    })
    .collect()
}

/// Whether a process has such a setting: what is declared for the review is none, and a PgBouncer tells only its main section.
fn runs(kind: Kind, key: &str) -> bool {
    match kind {
        Kind::Poolwarden => !(key.starts_with("topology") || key.starts_with("review")),
        Kind::PgBouncer => !key.contains('.'),
        Kind::RdsProxy | Kind::Odyssey => false,
    }
}

fn alike(kind: Kind, key: &str, a: &str, b: &str) -> bool {
    let entry = find(Section::Pgbouncer, key).filter(|_| kind == Kind::PgBouncer);
    a.trim() == b.trim() || entry.is_some_and(|entry| value::alike(entry, a, b))
}

fn is_live(kind: Kind, key: &str) -> bool {
    match kind {
        Kind::PgBouncer => find(Section::Pgbouncer, key).is_none_or(|entry| entry.live),
        Kind::Poolwarden => !CATALOGUE.iter().any(|setting| !setting.live && fits(setting.key, key)),
        Kind::RdsProxy | Kind::Odyssey => true,
    }
}

/// Whether a key is one of a pattern's: `NAME` stands for any name.
fn fits(pattern: &str, key: &str) -> bool {
    let (parts, names) = (pattern.split('.'), key.split('.'));
    parts.clone().count() == names.clone().count()
        && parts.zip(names).all(|(part, name)| part == "NAME" || part == name)
}
