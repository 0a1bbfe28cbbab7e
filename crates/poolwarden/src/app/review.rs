//! The review of the running process: at the start, after a change, and every `review.every`.
//!
//! What is reviewed is the text that was put in force, with what this process knows of itself and what its watch connections
//! have told: nobody is asked anything. It is done in a process of its own ([`child`]), so that nothing that goes wrong in it
//! is felt here; an attempt that comes to nothing leaves what was found before. What is new is said once ([`tickets`]).

mod tickets;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use poolwarden_console::review::{Reviewed, Severity, Ticket};
use poolwarden_pool::HostId;
use poolwarden_watch::Level;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::child;
use super::log::unix_ms;
use super::plan;
use super::reload::Read;
use super::running::{Running, held};
use super::web;
use crate::live;
use crate::review::Given;
use tickets::{Answer, Book};

/// How often it is asked whether a review is due, and so the least time between two.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After an attempt that came to nothing.
const AGAIN: Duration = Duration::from_secs(60);

/// Files by their names, as they were put in force; the first one names the others.
type Texts = Vec<(String, String)>;

/// What is to be reviewed, and what the newest review came to.
#[derive(Debug, Default)]
pub(super) struct Reviews {
    texts: Mutex<Arc<Texts>>,
    newest: Mutex<Option<Arc<Reviewed>>>,
    /// The last reload changed nothing.
    refused: AtomicBool,
    due: AtomicBool,
}

impl Reviews {
    /// These texts are in force.
    pub(super) fn obey(&self, texts: Texts) {
        *held(&self.texts) = Arc::new(texts);
    }

    /// A reload has ended, well or not.
    pub(super) fn reloaded(&self, well: bool) {
        self.refused.store(!well, Ordering::Release);
        self.due();
    }

    /// Something has changed.
    pub(super) fn due(&self) {
        self.due.store(true, Ordering::Release);
    }

    /// The newest review; `None`: there is no file to review.
    pub(super) fn newest(&self) -> Option<Arc<Reviewed>> {
        let texts = self.texts();
        let (file, _) = texts.first()?;
        let none = || Arc::new(Reviewed { file: file.clone(), ..Reviewed::default() });
        Some(held(&self.newest).clone().unwrap_or_else(none))
    }

    fn texts(&self) -> Arc<Texts> {
        Arc::clone(&held(&self.texts))
    }
}

/// Reviews until `stopping` says so.
pub(super) async fn keep(running: Arc<Running>, mut stopping: watch::Receiver<bool>) {
    let mut clerk = Clerk::default();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            _said = stopping.wait_for(|stop| *stop) => return,
        }
        let texts = running.reviews.texts();
        if texts.is_empty() || !clerk.is_due(&running) {
            continue;
        }
        tokio::select! {
            () = clerk.review(&running, texts) => {}
            _said = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

/// Limits of one server: slots, reserved ones, and those of roles and databases by name.
type Slots = (u32, u32, Vec<(String, u32)>, Vec<(String, u32)>);

/// What is remembered from one review to the next.
#[derive(Default)]
struct Clerk {
    book: Book,
    /// What the newest review that came to an end was of.
    texts: Arc<Texts>,
    began: Option<Instant>,
    /// Why the newest attempt came to nothing.
    failed: Option<String>,
    /// The limits each server has told.
    slots: BTreeMap<HostId, Slots>,
}

impl Clerk {
    fn is_due(&mut self, running: &Running) -> bool {
        // All three are looked at each time: what has changed is to be seen once.
        let changed = running.reviews.due.swap(false, Ordering::AcqRel);
        let told = self.slots_changed(running);
        let every = running.config().review.every;
        let wait = if self.failed.is_some() { Some(every.map_or(AGAIN, |every| every.min(AGAIN))) } else { every };
        let late = self.began.is_none_or(|began| wait.is_some_and(|wait| began.elapsed() >= wait));
        changed || told || late
    }

    /// Whether a server has told limits for the first time, or others than before. One that is silent has changed nothing.
    fn slots_changed(&mut self, running: &Running) -> bool {
        let Some(proxy) = running.proxy() else { return false };
        let names = |of: Vec<(String, u32, u32)>| of.into_iter().map(|(name, size, _)| (name, size)).collect();
        let mut changed = false;
        for host in plan::host_ids(&running.config()) {
            let Some(facts) = proxy.host(host).and_then(|(_, facts, _)| facts) else { continue };
            let told = (facts.max_connections, facts.reserved, names(facts.roles), names(facts.databases));
            if self.slots.get(&host) != Some(&told) {
                self.slots.insert(host, told);
                changed = true;
            }
        }
        changed
    }

    async fn review(&mut self, running: &Running, texts: Arc<Texts>) {
        let (at_ms, began) = (unix_ms(), Instant::now());
        self.began = Some(began);
        let done = attempt(running, &texts).await;
        let file = texts.first().map(|(name, _)| name.clone()).unwrap_or_default();
        let before = held(&running.reviews.newest).clone().unwrap_or_default();
        let newest = match done {
            Ok((answer, document)) => {
                let same = *self.texts == *texts;
                self.book.take(answer, same).into_iter().for_each(|line| running.log.write(line));
                self.texts = texts;
                let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                let tickets = self.book.open().to_vec();
                Reviewed { file, at_ms: Some(at_ms), took_us, failed: None, tickets, document }
            }
            Err(why) => in_vain(&before, file, why),
        };
        self.tell(running, newest.failed.as_deref(), &newest.file);
        *held(&running.reviews.newest) = Some(Arc::new(newest));
    }

    /// Says when attempts begin to fail, and when they end well again.
    fn tell(&mut self, running: &Running, failed: Option<&str>, file: &str) {
        match failed {
            Some(why) if self.failed.as_deref() != Some(why) => {
                let message = format!("the review came to nothing: {why}; poolwarden check {file} does it by hand");
                running.log.say(Level::Warn, "review_failed", message);
            }
            None if self.failed.is_some() => {
                running.log.say(Level::Info, "reviewed", "the review comes to an end again")
            }
            Some(_) | None => {}
        }
        self.failed = failed.map(str::to_owned);
    }
}

/// An attempt came to nothing: what was found before stands, and its age grows.
fn in_vain(before: &Reviewed, file: String, why: String) -> Reviewed {
    Reviewed { file, failed: Some(why), ..before.clone() }
}

/// What a review of something that is not in force yet finds of level error.
pub(super) async fn errors(running: &Running, read: &Read) -> Result<Vec<Ticket>, String> {
    let (scrape, config) = (web::scrape(running).await, Arc::clone(&read.config));
    let facts = tokio::task::spawn_blocking(move || live::own(&config, &scrape, false)).await;
    let facts = facts.map_err(|_| "what this process knows of itself could not be gathered".to_owned())?;
    let document = document(&Given { texts: read.texts.clone(), facts }).await?;
    let answer = Answer::read(&document).ok_or("its answer is no review")?;
    Ok(answer.into_tickets().into_iter().filter(|ticket| ticket.severity == Severity::Error).collect())
}

/// One review: what is to be said, and the whole of it.
async fn attempt(running: &Running, texts: &Texts) -> Result<(Answer, serde_json::Value), String> {
    let (scrape, config) = (web::scrape(running).await, running.config());
    let failed = running.reviews.refused.load(Ordering::Acquire);
    // Metrics are written and read for it: that belongs on no worker of the runtime.
    let facts = tokio::task::spawn_blocking(move || live::own(&config, &scrape, failed)).await;
    let facts = facts.map_err(|_| "what this process knows of itself could not be gathered".to_owned())?;
    let document = document(&Given { texts: texts.clone(), facts }).await?;
    let answer = Answer::read(&document).ok_or("its answer is no review")?;
    Ok((answer, document))
}

/// The review, as `check --format json` writes it; else why there is none.
async fn document(given: &Given) -> Result<Value, String> {
    let answer = child::ask(child::myself().arg("review-given"), &given.json(), child::PATIENCE).await;
    serde_json::from_slice(&answer.map_err(|failed| failed.why)?).map_err(|_| "its answer is not JSON".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_file_there_is_nothing_to_review_and_before_the_first_review_nothing_is_known() {
        let reviews = Reviews::default();
        assert_eq!(reviews.newest(), None);
        reviews.obey(vec![("poolwarden.toml".to_owned(), String::new()), ("more".to_owned(), String::new())]);
        let newest = reviews.newest().expect("a file");
        assert_eq!((newest.file.as_str(), newest.at_ms), ("poolwarden.toml", None));
    }

    #[test]
    fn an_attempt_in_vain_leaves_what_was_found_and_when() {
        let before = Reviewed { at_ms: Some(7), took_us: 5, ..Reviewed::default() };
        let after = in_vain(&before, "b.toml".to_owned(), "it took longer than 30s".to_owned());
        assert_eq!((after.at_ms, after.took_us, after.tickets), (Some(7), 5, Vec::new()));
        assert_eq!((after.file.as_str(), after.failed.as_deref()), ("b.toml", Some("it took longer than 30s")));
    }

    #[test]
    fn a_refused_reload_is_remembered_until_one_ends_well() {
        let reviews = Reviews::default();
        reviews.reloaded(false);
        assert!(reviews.refused.load(Ordering::Acquire) && reviews.due.swap(false, Ordering::AcqRel));
        reviews.due();
        assert!(reviews.refused.load(Ordering::Acquire), "a setting that was set changes nothing of that");
        reviews.reloaded(true);
        assert!(!reviews.refused.load(Ordering::Acquire));
    }
}
