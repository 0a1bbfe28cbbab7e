//! The history as the process writes it: each change a version, each deed of an operator an entry. Its disk may hang or be
//! full: nothing waits for it but who asked, and that not for long.

use std::path::Path;
use std::sync::Arc;

use poolwarden_config::{Change, Config, diff};
use poolwarden_store::{
    Effect, Entry, KeyChange, Limits, NewVersion, News, State, Store, Unread, Unwritten, Version, VersionState, Which,
};
use poolwarden_watch::Level;

use super::super::log::{Log, unix_ms};
use super::wanted::Basis;
use crate::discover;

/// The database's name in the data directory.
const FILE: &str = "history.db";
/// More versions than these are not looked through for one to go back to: nobody goes back further.
const MOST_BACK: u32 = 1_000;

/// The history of this process's data directory.
#[derive(Clone, Debug)]
pub(in crate::app) struct Chronicle(Arc<Store>);

/// Where a write has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// By what the version is known from now on; `None`: it is lost.
    pub(super) which: Option<Which>,
    /// What to tell who asked; `None`: it is on the disk.
    pub(super) note: Option<String>,
}

impl Chronicle {
    pub(in crate::app) fn open(dir: &Path, max_size: u64) -> Self {
        Self(Arc::new(Store::open(&dir.join(FILE), Limits { max_size, ..Limits::default() })))
    }

    /// The bytes its files may take.
    pub(super) fn bound(&self, max_size: u64) {
        self.0.bound(max_size);
    }

    /// Ends it; what could not be written is said.
    pub(in crate::app) fn close(&self, log: &Log) {
        if let Err(left) = self.0.close(Limits::default().patience) {
            log.say(Level::Error, "history", left.to_string());
        }
    }

    /// Adds a deed of an operator.
    pub(in crate::app) fn audit(&self, by: &str, verb: &str, target: &str, outcome: &str) {
        let text = str::to_owned;
        let entry =
            Entry { at_ms: unix_ms(), by: text(by), verb: text(verb), target: text(target), outcome: text(outcome) };
        self.0.audit(entry);
    }

    /// Says loudly what happened to the history's file.
    pub(in crate::app) fn tell(&self, log: &Log) {
        for news in self.0.news() {
            let (level, message) = told(&news);
            log.say(level, "history", message);
        }
    }

    /// Whether what is given to it is kept; else why not, and how much is lost.
    pub(in crate::app) fn trouble(&self) -> Option<String> {
        match self.0.state() {
            State::Working => None,
            State::ReadOnly { why, .. } | State::Failing { why, .. } => Some(why),
        }
    }

    /// Writes that will never be kept.
    pub(in crate::app) fn lost(&self) -> u64 {
        self.0.dropped_total()
    }

    /// The number of a version, once it has one.
    pub(in crate::app) fn number(&self, which: Option<Which>) -> Option<u64> {
        match which? {
            Which::Number(n) => Some(n),
            Which::Ticket(ticket) => self.0.number(ticket),
        }
    }

    pub(super) async fn record(&self, version: NewVersion) -> Kept {
        kept(self.aside(move |store| store.record(version)).await)
    }

    /// What became of a version; a note where that is not on the disk.
    pub(super) async fn mark(&self, which: Option<Which>, state: VersionState) -> Option<String> {
        let which = which?;
        kept(self.aside(move |store| store.mark(which, state)).await).note
    }

    pub(super) async fn effect(&self, which: Option<Which>, effect: Effect) -> Option<String> {
        let which = which?;
        kept(self.aside(move |store| store.effect(which, effect)).await).note
    }

    /// The newest versions, below `before` if that is given.
    pub(in crate::app) async fn versions(&self, limit: u32, before: Option<u64>) -> Result<Vec<Version>, Unread> {
        self.aside(move |store| store.versions(limit, before)).await
    }

    pub(super) async fn version(&self, n: u64) -> Result<Option<Version>, Unread> {
        self.aside(move |store| store.version(n)).await
    }

    /// The newest deeds.
    pub(in crate::app) async fn audits(&self, limit: u32) -> Result<Vec<Entry>, Unread> {
        self.aside(move |store| store.audits(limit)).await
    }

    /// The version that ran before the one in force: the newest one that ran, was not taken back, and says something else.
    pub(super) async fn previous(&self, now: &Basis) -> Result<Option<Version>, Unread> {
        let hash = now.hash();
        let versions = self.versions(MOST_BACK, None).await?;
        let ran = |version: &Version| matches!(version.state, VersionState::Confirmed | VersionState::Superseded);
        Ok(versions.into_iter().find(|version| ran(version) && version.hash != hash && !version.text.is_empty()))
    }

    /// What runs from now on, at the start of the process; the version it is.
    ///
    /// What waited for its confirmation when the process ended was never in the file, or is there now.
    pub(in crate::app) fn begin(&self, now: &Basis, config: &Config, directory: &Path) -> Option<Which> {
        let (hash, newest) = (now.hash(), self.0.versions(MOST_BACK, None).ok()?);
        let waited = |version: &&Version| matches!(version.state, VersionState::Tentative { .. });
        let mut is_found = false;
        for version in newest.iter().filter(waited) {
            let is_this = !is_found && version.hash == hash;
            is_found |= is_this;
            let state = if is_this { VersionState::Confirmed } else { VersionState::Interrupted };
            // what cannot be written is told by the store's news
            let _told = self.0.mark(version.n, state);
        }
        let last = self.0.last_confirmed().ok()?;
        if let Some(last) = last.as_ref().filter(|last| last.hash == hash) {
            return Some(last.n.into());
        }
        let reason = if last.is_none() { "the first start" } else { "the file was another one at the start" };
        let changes = last.as_ref().and_then(|last| {
            let old = discover::parse("an earlier version", &last.text, directory).ok()?;
            Some(changes(&diff(&old.config, config)))
        });
        let version = NewVersion {
            at_ms: unix_ms(),
            by: "start".to_owned(),
            reason: Some(reason.to_owned()),
            changes: changes.unwrap_or_default(),
            text: now.text.to_string(),
            hash,
            state: VersionState::Confirmed,
            earlier: last.into_iter().map(|last| (last.n.into(), VersionState::Superseded)).collect(),
        };
        kept(self.0.record(version)).which
    }

    /// On a thread that may wait.
    async fn aside<T: Send + 'static>(&self, ask: impl FnOnce(&Store) -> T + Send + 'static) -> T {
        let store = Arc::clone(&self.0);
        match tokio::task::spawn_blocking(move || ask(&store)).await {
            Ok(answer) => answer,
            // a panic there has ended the process already, where it is built to abort
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }
}

fn kept(written: Result<u64, Unwritten>) -> Kept {
    match written {
        Ok(n) => Kept { which: Some(n.into()), note: None },
        Err(why) => {
            let which = match &why {
                Unwritten::Kept { ticket, .. } => Some((*ticket).into()),
                Unwritten::Lost { .. } | Unwritten::Unknown { .. } => None,
            };
            Kept { which, note: Some(why.to_string()) }
        }
    }
}

fn told(news: &News) -> (Level, String) {
    match news {
        News::Failing { why } => (
            Level::Error,
            format!("the history is not written: {why}; pooling goes on, changes are kept in memory until it can be"),
        ),
        News::Recovered { after_ms, dropped } => {
            let lost =
                if *dropped == 0 { "nothing was lost".to_owned() } else { format!("{dropped} writes were lost") };
            (Level::Info, format!("the history is written again after {}s, {lost}", after_ms / 1_000))
        }
        News::PutAside { to, why } => (
            Level::Error,
            format!("the history was broken ({why}): a new one is begun, the old one is {}", to.display()),
        ),
        News::Vanished { path } => {
            (Level::Error, format!("the history {} was taken away: a new one is begun", path.display()))
        }
        News::ReadOnly { why } => (Level::Error, format!("the history is not written: {why}")),
    }
}

/// Changed settings as the history keeps them; secrets say no more than that they are others.
pub(super) fn changes(of: &[Change]) -> Vec<KeyChange> {
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    of.iter().map(|of| KeyChange { key: of.key.clone(), from: said(&of.from), to: said(&of.to) }).collect()
}
