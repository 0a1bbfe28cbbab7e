//! A change on its way: read, judged, put in force, written into the file, recorded. Whoever calls holds `Running::reloading`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use poolwarden_config::{Change, Config, diff};
use poolwarden_console::review::Ticket;
use poolwarden_console::rfc3339;
use poolwarden_pool::{HostId, HostSnapshot, Limit, PoolKey};
use poolwarden_proxy::{Proxy, Reload};
use poolwarden_store::{NewVersion, VersionState};
use poolwarden_switch::Detail;
use poolwarden_watch::{Level, View};

use super::super::log::unix_ms;
use super::super::reload::{self, Read, Refused};
use super::super::review;
use super::super::running::{Origin, Running, held};
use super::super::servers;
use super::standing::{OnTrial, Pending, Version};
use super::{Basis, Done, Found, Order, Outlook, Verb, Wanted, chronicle, effect, file, name, outlook, read};

/// Findings that a refusal names; the rest is counted.
const MAX_FINDINGS: usize = 10;
/// Rules about a file that is not what runs: of what is only proposed that is true, and no fault; what it comes to, if anything, is
/// said in its effect.
const OF_THE_DIFFERENCE: [&str; 3] = ["EFF-01", "EFF-05", "EFF-08"];

/// Reads, judges, puts in force, writes, records. Whoever calls it holds `reloading`.
pub(super) async fn put(running: &Arc<Running>, order: Order) -> Result<Done, Refused> {
    let proxy = running.proxy().ok_or_else(|| Refused::one("poolwarden is starting"))?;
    let (before, known, waits) = {
        let standing = held(&running.standing);
        (standing.now.clone(), Arc::clone(&standing.file), standing.pending.is_some())
    };
    if waits && !matches!(order.verb, Verb::Undo { .. }) {
        let waits = format!("{} waits for its confirmation", name(running, before.which));
        return Err(Refused::with_fix((waits, "poolwarden confirm keeps it, poolwarden rollback ends it".to_owned())));
    }
    let mut found = read(running, order.wanted.clone(), before.basis.clone()).await?;
    let configs = running.configs();
    let changes = diff(&configs.now, &found.read.config);
    match &order.verb {
        Verb::Set => {
            if let Some(change) = changes.iter().find(|change| !change.live) {
                return Err(Refused::one(reload::waits(change)));
            }
        }
        Verb::Apply { force, .. } => {
            found.file = unchanged(running, &order, &known, &found).await?;
            if !force {
                judge(running, &found).await?;
            }
        }
        Verb::Reload | Verb::Rollback { .. } | Verb::Undo { .. } => {}
    }
    let Found { read, basis, file } = found;
    if basis == before.basis && changes.is_empty() {
        proxy.reload(read.reload); // a certificate or a secret may be another one behind the same words
        running.reloads.fetch_add(1, Ordering::Relaxed);
        seen(running, file);
        // what could not be written before may be written now
        let writes = matches!(order.verb, Verb::Apply { confirm_within: None, .. });
        let notes: Vec<String> = if writes { write(running).await.into_iter().collect() } else { Vec::new() };
        reload::log(running, &order.by, &[], &read.remarks, &notes);
        return Ok(Done { changes, effect: "no effect: nothing differs from what runs".to_owned(), notes });
    }
    let Put { view, after, outlook: Outlook { effect, pools, notes } } =
        enforce(running, proxy, read.reload, (&read.config, &changes, order.verb.name())).await;
    reviews_obey(running, read.texts);
    let mut done = Done { changes, effect, notes };
    let version = settle(running, &order, (before.clone(), basis, file), &mut done).await;
    let also = |key: &PoolKey| shorter(&configs.now, &read.config, key);
    let on_trial = OnTrial {
        trial: held(&running.watch).try_change(&view, &after, also),
        version,
        before,
        since_ms: view.now_ms,
        moved: pools.into_iter().map(|pool| (pool.server, pool.moved)).collect(),
        expected: done.effect.clone(),
        written: matches!(order.verb, Verb::Apply { confirm_within: None, .. }),
        is_way_back: matches!(order.verb, Verb::Undo { .. } | Verb::Rollback { .. }),
    };
    held(&running.standing).trial = Some(on_trial);
    reload::log(running, &order.by, &done.changes, &read.remarks, &done.notes);
    Ok(done)
}

/// What was put in force, and what it was before.
struct Put {
    /// Of just before.
    view: View,
    /// Of just after, of the servers that are there.
    after: BTreeMap<HostId, HostSnapshot>,
    outlook: Outlook,
}

/// From now on it is obeyed, and what was on trial until now has had the effect it had.
async fn enforce(
    running: &Running,
    proxy: &Proxy,
    reload: Reload,
    (config, changes, verb): (&Arc<Config>, &[Change], &str),
) -> Put {
    let view = running.view(Detail::Servers).await;
    let old = running.config();
    let before = reload::snapshots(proxy, &old);
    proxy.reload(reload);
    let after = reload::snapshots(proxy, config);
    let outlook = outlook((&old, config), changes, &before, &after);
    running.obey(Arc::clone(config));
    servers::arrived(proxy, &old, config, &held(&running.said).clone(), &before);
    running.changes.note(unix_ms(), verb, changes);
    running.reloads.fetch_add(1, Ordering::Relaxed);
    finish_trial(running, &view).await;
    Put { view, after, outlook }
}

/// Limits that bind earlier by what no snapshot shows: how long requests may wait, by their pool or by any class.
fn shorter(old: &Config, new: &Config, key: &PoolKey) -> BTreeSet<Limit> {
    let pool = |config: &Config| config.pool(&key.database).map(|pool| pool.settings.max_wait);
    let is_shorter = |then: Option<Duration>, now: Option<Duration>| match (then, now) {
        (Some(then), Some(now)) => now < then,
        (None, Some(_)) => true,
        (_, None) => false,
    };
    let by_class = new
        .classes
        .iter()
        .any(|(name, class)| old.classes.get(name).is_some_and(|then| is_shorter(then.max_wait, class.max_wait)));
    (by_class || is_shorter(pool(old), pool(new))).then_some(Limit::WaitTime).into_iter().collect()
}

/// The file's text, where it is written: an edit that nobody has put in force is not written over, nor put in force unseen.
async fn unchanged(
    running: &Running,
    order: &Order,
    known: &Arc<str>,
    found: &Found,
) -> Result<Option<Arc<str>>, Refused> {
    let Ok(file) = reload::file(&running.origin, &running.config()) else { return Ok(None) };
    let name = file.path().display().to_string();
    let text = tokio::task::spawn_blocking(move || file::text(&file)).await;
    let Ok(Ok(text)) = text else { return Ok(None) }; // that it cannot be read is no edit, and is told as drift
    let is_new = text == found.basis.text;
    if is_new && text != *known && matches!(order.verb, Verb::Apply { confirm_within: Some(_), .. }) {
        return Err(Refused::with_fix((
            format!("{name} says it already: a restart would start with what nobody confirmed"),
            format!(
                "put {name} back as it was (poolwarden history prints what runs), and apply the new text from another file"
            ),
        )));
    }
    if is_new || text == *known {
        return Ok(Some(text));
    }
    Err(Refused::with_fix((
        format!("{name} has changed since it was read, and that change does not run"),
        format!(
            "put it in force first with poolwarden apply (without a file), or take it back; poolwarden plan {name} shows it"
        ),
    )))
}

/// Findings of level error stand in the way.
async fn judge(running: &Running, found: &Found) -> Result<(), Refused> {
    let insist = "put it right, or insist with --force REASON".to_owned();
    let errors = review::errors(running, &found.read).await;
    let errors =
        errors.map_err(|why| Refused::with_fix((format!("the review came to nothing: {why}"), insist.clone())))?;
    let errors: Vec<Ticket> =
        errors.into_iter().filter(|error| !OF_THE_DIFFERENCE.contains(&error.code.as_str())).collect();
    if errors.is_empty() {
        return Ok(());
    }
    let line = |of: &Ticket| format!("{} {}: {}; {}", of.place, of.code, of.message, of.fix);
    let mut lines: Vec<String> = errors.iter().take(MAX_FINDINGS).map(line).collect();
    if errors.len() > MAX_FINDINGS {
        lines.push(format!("and {} more: poolwarden check lists all", errors.len() - MAX_FINDINGS));
    }
    lines.push(insist);
    Err(Refused::all(lines))
}

/// What is in force stands as its verb says: in the file, in the history. Returns the version it is.
async fn settle(
    running: &Arc<Running>,
    order: &Order,
    (before, basis, file): (Version, Basis, Option<Arc<str>>),
    done: &mut Done,
) -> Version {
    let now_ms = unix_ms();
    let confirm_within = match &order.verb {
        Verb::Apply { confirm_within, .. } => *confirm_within,
        Verb::Reload | Verb::Set | Verb::Rollback { .. } | Verb::Undo { .. } => None,
    };
    let until_ms = confirm_within.map(|within| now_ms + u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
    {
        let mut standing = held(&running.standing);
        standing.now = Version { which: None, basis: basis.clone() };
        standing.pending =
            until_ms.map(|until_ms| Pending { before: before.clone(), since_ms: now_ms, until_ms, said: false });
    }
    seen(running, file);
    let writes = match &order.verb {
        Verb::Apply { .. } => confirm_within.is_none(),
        Verb::Rollback { .. } => true,
        Verb::Undo { write, .. } => *write,
        Verb::Reload | Verb::Set => false,
    };
    if writes {
        done.notes.extend(write(running).await);
    }
    let state = |state| before.which.map(|which| (which, state)).into_iter().collect();
    let earlier = match &order.verb {
        Verb::Apply { confirm_within: Some(_), .. } => Vec::new(),
        Verb::Reload | Verb::Set | Verb::Apply { confirm_within: None, .. } => state(VersionState::Superseded),
        Verb::Rollback { to } => state(VersionState::RolledBack { to: *to }),
        Verb::Undo { why, .. } => state(VersionState::Undone { why: why.clone() }),
    };
    let version = NewVersion {
        at_ms: now_ms,
        by: order.by.clone(),
        reason: order.reason.clone(),
        changes: chronicle::changes(&done.changes),
        text: basis.text.to_string(),
        hash: basis.hash(),
        state: until_ms.map_or(VersionState::Confirmed, |until_ms| VersionState::Tentative { until_ms }),
        earlier,
    };
    let kept = running.chronicle.record(version).await;
    done.notes.extend(kept.note);
    let version = Version { which: kept.which, basis };
    held(&running.standing).now.which = kept.which;
    if let Some(until_ms) = until_ms {
        let name = name(running, kept.which);
        done.notes.push(format!("{name} is undone at {} unless confirmed: poolwarden confirm", rfc3339(until_ms)));
    }
    version
}

/// The file was read: this is what it says.
fn seen(running: &Running, file: Option<Arc<str>>) {
    let mut standing = held(&running.standing);
    if let Some(file) = file {
        standing.file = file;
    }
    standing.seen = None; // compared at the next look
}

/// Writes what is in force into the file; what keeps it from there is told, and is a drift from now on.
pub(super) async fn write(running: &Running) -> Option<String> {
    let file = match reload::file(&running.origin, &running.config()) {
        Ok(file) => file,
        Err(_) => return Some("there is no file to write it to: a restart undoes this".to_owned()),
    };
    let (known, text) = {
        let standing = held(&running.standing);
        (Arc::clone(&standing.file), Arc::clone(&standing.now.basis.text))
    };
    if known == text {
        return None;
    }
    let put = Arc::clone(&text);
    let written = tokio::task::spawn_blocking(move || file::write(&file, &known, &put)).await;
    let done = written.unwrap_or_else(|_| Err("writing the file ended early".to_owned()));
    let mut standing = held(&running.standing);
    standing.seen = None;
    match done {
        Ok(()) => {
            standing.file = text;
            None
        }
        Err(why) => Some(format!("not written: {why}; a restart undoes this")),
    }
}

/// What waits for its confirmation ends: what ran before runs again. The file knows nothing of it.
pub(super) async fn undo_pending(
    running: &Arc<Running>,
    pending: &Pending,
    by: &str,
    why: String,
) -> Result<Done, Refused> {
    let proxy = running.proxy().ok_or_else(|| Refused::one("poolwarden is starting"))?;
    let undone = held(&running.standing).now.clone();
    let found = read(running, Wanted::Back(pending.before.basis.clone()), undone.basis.clone()).await?;
    let changes = diff(&running.config(), &found.read.config);
    let Read { config, reload, remarks, texts } = found.read;
    let Put { outlook: Outlook { effect, notes, .. }, .. } =
        enforce(running, proxy, reload, (&config, &changes, "rollback")).await;
    reviews_obey(running, texts);
    {
        let mut standing = held(&running.standing);
        standing.now = pending.before.clone();
        standing.pending = None;
        standing.seen = None;
    }
    let mut done = Done { changes, effect, notes };
    done.notes.extend(running.chronicle.mark(undone.which, VersionState::Undone { why: why.clone() }).await);
    running.log.say(Level::Warn, "undone", format!("{} is undone: {why}", name(running, undone.which)));
    reload::log(running, by, &done.changes, &remarks, &done.notes);
    Ok(done)
}

/// What is in force is reviewed, where it stands in a file.
fn reviews_obey(running: &Running, texts: Vec<(String, String)>) {
    if !matches!(running.origin, Origin::Made(_)) {
        running.reviews.obey(texts);
    }
}

/// What was on trial until now has had the effect it had.
async fn finish_trial(running: &Running, view: &View) {
    let Some(on_trial) = held(&running.standing).trial.take() else { return };
    let effects = on_trial.trial.effects(view);
    if let Some(effect) = effect::effect(&on_trial, &effects) {
        // what cannot be written is told by the store's news
        let _told = running.chronicle.effect(on_trial.version.which, effect).await;
    }
}

/// A refusal is said, counted, and stands in the history: once, however often the same is tried again.
pub(super) async fn refusal(running: &Running, by: &str, done: Result<Done, Refused>) -> Result<Done, Refused> {
    let why = match &done {
        Ok(_) => {
            held(&running.standing).refused = None;
            return done;
        }
        Err(refused) => refused.faults().join("; "),
    };
    running.reloads_failed.fetch_add(1, Ordering::Relaxed);
    let message = format!("{by}: the configuration is refused, nothing was changed");
    running.log.say(Level::Error, "reload_refused", message);
    for fault in done.as_ref().err().into_iter().flat_map(Refused::faults) {
        running.log.say(Level::Error, "reload_refused", fault.clone());
    }
    if held(&running.standing).refused.replace(why.clone()).as_ref() == Some(&why) {
        return done;
    }
    let version = NewVersion {
        at_ms: unix_ms(),
        by: by.to_owned(),
        reason: None,
        changes: Vec::new(),
        text: String::new(), // it may hold what nobody should read: a password where none belongs is refused
        hash: String::new(),
        state: VersionState::Refused { why },
        earlier: Vec::new(),
    };
    running.chronicle.record(version).await;
    done
}
