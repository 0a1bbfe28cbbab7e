//! Changes of what is in force: each is read, judged and put in force as a whole or not at all, is a version of the history, and
//! is watched for a while.
//!
//! ```text
//!             reads                 judged  writes the file           undone by the guard
//! reload      the file              no      no                        what runs, not the file
//! SET         what runs + 1         no      no                        what runs
//! apply       a text, or what       yes     at once; with             what runs and the file
//!             runs + settings               confirm_within: at confirm
//! rollback    an earlier version    no      yes                       no: it is the way out
//! ```
//!
//! One change at a time (`Running::reloading`), and none while one waits for its confirmation.

mod chronicle;
mod effect;
mod file;
mod guard;
mod outlook;
mod standing;
mod wanted;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use poolwarden_config::{Change, Config, diff, parse_duration, show_duration};
use poolwarden_console::history::History;
use poolwarden_console::http::{Applied, ApplyOrder, ConfirmOrder, Past, RollbackOrder, Untold};
use poolwarden_console::review::Ticket;
use poolwarden_console::rfc3339;
use poolwarden_pool::{Limit, PoolKey};
use poolwarden_store::{NewVersion, Unread, VersionState, Which};
use poolwarden_switch::Detail;
use poolwarden_watch::{Level, View};

pub(super) use chronicle::Chronicle;
pub(super) use guard::keep;
pub(super) use outlook::{Outlook, outlook};
pub(super) use standing::Standing;
pub(super) use wanted::{Basis, Found, Wanted, first, read};

use super::edit::Edit;
use super::log::unix_ms;
use super::reload::{self, Refused};
use super::review;
use super::running::{Origin, Running, held};
use standing::{OnTrial, Pending, Version};

/// A change that nobody confirms within a day was forgotten.
const LONGEST_CONFIRM: Duration = Duration::from_secs(24 * 3600);
/// Findings that a refusal names; the rest is counted.
const MAX_FINDINGS: usize = 10;
/// Rules about a file that is not what runs: of what is only proposed that is true, and no fault; what it comes to, if anything, is
/// said in its effect.
const OF_THE_DIFFERENCE: [&str; 3] = ["EFF-01", "EFF-05", "EFF-08"];

/// How a change came here, and what follows from that.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verb {
    Reload,
    Set,
    Apply { force: bool, confirm_within: Option<Duration> },
    Rollback { to: u64 },
    Undo { why: String, write: bool },
}

impl Verb {
    const fn name(&self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Set => "set",
            Self::Apply { .. } => "apply",
            Self::Rollback { .. } => "rollback",
            Self::Undo { .. } => "guard",
        }
    }
}

/// A change, asked for.
#[derive(Debug)]
struct Order {
    verb: Verb,
    wanted: Wanted,
    by: String,
    reason: Option<String>,
}

/// A change, made.
#[derive(Debug)]
struct Done {
    changes: Vec<Change>,
    effect: String,
    /// What there is to say besides.
    notes: Vec<String>,
}

/// Reads the file again and puts it in force; `by` is for the log.
pub(super) async fn reload(running: &Arc<Running>, by: &str) -> Result<Vec<String>, Refused> {
    let _alone = running.reloading.lock().await;
    let order = Order { verb: Verb::Reload, wanted: Wanted::File, by: by.to_owned(), reason: None };
    let done = put(running, order).await;
    running.reviews.reloaded(done.is_ok());
    Ok(refusal(running, by, done).await?.notes)
}

/// Puts one setting in force until the next reload, if it is one that can change while it runs.
pub(super) async fn set(running: &Arc<Running>, edit: Edit, by: String) -> Result<Vec<String>, Refused> {
    let _alone = running.reloading.lock().await;
    let order = Order { verb: Verb::Set, wanted: Wanted::Set(vec![edit]), by, reason: None };
    let done = put(running, order).await;
    running.reviews.due();
    Ok(refusal(running, "SET", done).await?.notes)
}

/// Puts a text, some settings, or the file as it is in force, unless the review objects.
pub(super) async fn apply(running: &Arc<Running>, order: ApplyOrder) -> Result<Applied, Refused> {
    let _alone = running.reloading.lock().await;
    let ApplyOrder { text, set, reason, confirm_within, force, by } = order;
    let wanted = match (text, set.is_empty()) {
        (Some(text), _) => Wanted::Text(text),
        (None, true) => Wanted::File,
        (None, false) => Wanted::Set(set.iter().map(|set| edit(set)).collect::<Result<_, _>>()?),
    };
    let confirm_within = confirm_within.as_deref().map(confirmation).transpose()?;
    let verb = Verb::Apply { force: force.is_some(), confirm_within };
    let reason = match (reason, force) {
        (reason, None) => reason,
        (None, Some(force)) => Some(format!("forced: {force}")),
        (Some(reason), Some(force)) => Some(format!("{reason}; forced: {force}")),
    };
    let done = put(running, Order { verb, wanted, by: by.clone(), reason }).await;
    reviewed_anew(running, &done);
    applied(running, refusal(running, &by, done).await?).await
}

/// What waits for its confirmation stays, and comes into the file.
pub(super) async fn confirm(running: &Arc<Running>, order: ConfirmOrder) -> Result<Applied, Refused> {
    let _alone = running.reloading.lock().await;
    let (pending, now) = {
        let mut standing = held(&running.standing);
        let nothing =
            || ("nothing waits for a confirmation".to_owned(), "poolwarden history tells what runs".to_owned());
        let pending = standing.pending.take().ok_or_else(|| Refused::with_fix(nothing()))?;
        if let Some(trial) = standing.trial.as_mut() {
            trial.written = true;
        }
        (pending, standing.now.clone())
    };
    let mut notes: Vec<String> = write(running).await.into_iter().collect();
    notes.extend(running.chronicle.mark(now.which, VersionState::Confirmed).await);
    notes.extend(running.chronicle.mark(pending.before.which, VersionState::Superseded).await);
    let effect = "it stays: nothing differs from what runs".to_owned();
    running.log.say(Level::Info, "confirmed", format!("{}: {} is confirmed", order.by, name(running, now.which)));
    applied(running, Done { changes: Vec::new(), effect, notes }).await
}

/// An earlier version runs again, and comes into the file.
pub(super) async fn rollback(running: &Arc<Running>, order: RollbackOrder) -> Result<Applied, Refused> {
    let _alone = running.reloading.lock().await;
    let RollbackOrder { to, reason, by } = order;
    let (pending, now) = {
        let standing = held(&running.standing);
        (standing.pending.clone(), standing.now.clone())
    };
    if let Some(pending) = pending {
        let before = running.chronicle.number(pending.before.which);
        if to.is_some() && to != before {
            let waits = format!("{} waits for its confirmation", name(running, now.which));
            return Err(Refused::with_fix((
                waits,
                "poolwarden rollback ends that first; then go further back".to_owned(),
            )));
        }
        let done = undo_pending(running, &pending, &by, format!("taken back by {by}")).await;
        return applied(running, refusal(running, &by, done).await?).await;
    }
    let version = match to {
        Some(n) => running.chronicle.version(n).await,
        None => running.chronicle.previous(&now.basis).await,
    };
    let unread = |why: poolwarden_store::Unread| {
        Refused::with_fix((why.to_string(), "put the text you want back with poolwarden apply FILE".to_owned()))
    };
    let see = || "poolwarden history lists them".to_owned();
    let version = version.map_err(unread)?.ok_or_else(|| match to {
        Some(n) => Refused::with_fix((format!("there is no version {n}"), see())),
        None => Refused::with_fix(("there is no earlier version to go back to".to_owned(), see())),
    })?;
    if running.chronicle.number(now.which) == Some(version.n) {
        return Err(Refused::with_fix((format!("version {} is what runs", version.n), see())));
    }
    if version.text.is_empty() {
        return Err(Refused::with_fix((format!("version {} never ran: its text is not kept", version.n), see())));
    }
    let wanted = Wanted::Back(Basis { text: version.text.into(), edits: Vec::new() });
    let reason = Some(reason.unwrap_or_else(|| format!("back to version {}", version.n)));
    let order = Order { verb: Verb::Rollback { to: version.n }, wanted, by: by.clone(), reason };
    let done = put(running, order).await;
    reviewed_anew(running, &done);
    applied(running, refusal(running, &by, done).await?).await
}

/// What runs now is to be reviewed. What was refused here leaves no file behind that would fail again.
fn reviewed_anew(running: &Running, done: &Result<Done, Refused>) {
    if done.is_ok() {
        running.reviews.reloaded(true);
    }
}

/// Versions of the configuration and deeds of operators; what is on trial is told as it stands.
pub(super) async fn history(running: &Running, asked: Past) -> Result<History, Untold> {
    let chronicle = &running.chronicle;
    let unread =
        |why: Unread| (why.to_string(), "poolwarden goes on; the log says what is wrong with the file".to_owned());
    let mut versions = match asked.version {
        None => chronicle.versions(asked.limit, asked.before).await.map_err(unread)?,
        Some(n) => {
            let absent = || (format!("there is no version {n}"), "poolwarden history lists them".to_owned());
            vec![chronicle.version(n).await.map_err(unread)?.ok_or_else(absent)?]
        }
    };
    let audit = match asked.version {
        None => chronicle.audits(asked.limit).await.map_err(unread)?,
        Some(_) => Vec::new(),
    };
    let view = running.view(Detail::Servers).await;
    let standing = held(&running.standing);
    if let Some(on_trial) = &standing.trial {
        let n = chronicle.number(on_trial.version.which);
        if let Some(version) = versions.iter_mut().find(|version| Some(version.n) == n) {
            version.effect = effect::effect(on_trial, &on_trial.trial.effects(&view));
        }
    }
    Ok(History { versions, audit, standing: standing.told(chronicle), texts: asked.version.is_some() })
}

/// `pools.app.size=40`.
pub(super) fn edit(set: &str) -> Result<Edit, Refused> {
    let (key, value) =
        set.split_once('=').ok_or_else(|| Refused::one(format!("{set:?}: write it as pools.app.size=40")))?;
    let (key, value) = (key.trim().to_owned(), value.trim());
    let inside = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    Ok(Edit { key, value: inside.unwrap_or(value).to_owned(), quoted: inside.is_some() })
}

fn confirmation(text: &str) -> Result<Duration, Refused> {
    let fix = || "write a time with its unit: --confirm-within 5m".to_owned();
    let length = parse_duration(text).map_err(|why| Refused::with_fix((why, fix())))?;
    if length.is_zero() || length > LONGEST_CONFIRM {
        let longest = show_duration(LONGEST_CONFIRM);
        return Err(Refused::with_fix((
            format!("{text} is no time to confirm within"),
            format!("write {longest} or less, and more than none"),
        )));
    }
    Ok(length)
}

/// Reads, judges, puts in force, writes, records. Whoever calls it holds `reloading`.
async fn put(running: &Arc<Running>, order: Order) -> Result<Done, Refused> {
    let proxy = running.proxy().ok_or_else(|| Refused::one("poolwarden is starting"))?;
    let (before, known, waits) = {
        let standing = held(&running.standing);
        (standing.now.clone(), Arc::clone(&standing.file), standing.pending.is_some())
    };
    if waits && !matches!(order.verb, Verb::Undo { .. }) {
        let waits = format!("{} waits for its confirmation", name(running, before.which));
        return Err(Refused::with_fix((waits, "poolwarden confirm keeps it, poolwarden rollback ends it".to_owned())));
    }
    let found = read(running, order.wanted.clone(), before.basis.clone()).await?;
    let configs = running.configs();
    let changes = diff(&configs.now, &found.read.config);
    match &order.verb {
        Verb::Set => {
            if let Some(change) = changes.iter().find(|change| !change.live) {
                return Err(Refused::one(reload::waits(change)));
            }
        }
        Verb::Apply { force, .. } => {
            unchanged(running, &order.wanted, &known, &found).await?;
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
        reload::log(running, &order.by, &[], &read.remarks, &[]);
        return Ok(Done { changes, effect: "no effect: nothing differs from what runs".to_owned(), notes: Vec::new() });
    }
    let view = running.view(Detail::Servers).await;
    let snapshots = reload::snapshots(proxy, &read.config);
    proxy.reload(read.reload);
    let after = reload::snapshots(proxy, &read.config);
    let Outlook { effect, pools, notes } = outlook(&read.config, &changes, &snapshots, &after);
    running.obey(Arc::clone(&read.config));
    reviews_obey(running, read.texts);
    running.changes.note(unix_ms(), order.verb.name(), &changes);
    running.reloads.fetch_add(1, Ordering::Relaxed);
    finish_trial(running, &view).await;
    let mut done = Done { changes, effect, notes };
    let version = settle(running, &order, (before.clone(), basis, file), &mut done).await;
    if !matches!(order.verb, Verb::Undo { .. } | Verb::Rollback { .. }) {
        let after: Vec<_> = after.into_iter().flatten().collect();
        let also = |key: &PoolKey| shorter(&configs.now, &read.config, key);
        let on_trial = OnTrial {
            trial: held(&running.watch).try_change(&view, &after, also),
            version,
            before,
            since_ms: view.now_ms,
            moved: pools.into_iter().map(|pool| (pool.server, pool.moved)).collect(),
            expected: done.effect.clone(),
            written: matches!(order.verb, Verb::Apply { confirm_within: None, .. }),
        };
        held(&running.standing).trial = Some(on_trial);
    }
    reload::log(running, &order.by, &done.changes, &read.remarks, &done.notes);
    Ok(done)
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

/// Whether the file is still as it was read: an edit that nobody has put in force is not written over, nor put in force unseen.
async fn unchanged(running: &Running, wanted: &Wanted, known: &Arc<str>, found: &Found) -> Result<(), Refused> {
    let Ok(file) = reload::file(&running.origin, &running.config()) else { return Ok(()) };
    if matches!(wanted, Wanted::File) {
        return Ok(());
    }
    let name = file.path().display().to_string();
    let text = tokio::task::spawn_blocking(move || file::text(&file)).await;
    let Ok(Ok(text)) = text else { return Ok(()) }; // that it cannot be read is no edit, and is told as drift
    if text == *known || text == found.basis.text {
        return Ok(());
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
        Verb::Apply { .. } => confirm_within.is_none() && !matches!(order.wanted, Wanted::File),
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
async fn write(running: &Running) -> Option<String> {
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
async fn undo_pending(running: &Arc<Running>, pending: &Pending, by: &str, why: String) -> Result<Done, Refused> {
    let proxy = running.proxy().ok_or_else(|| Refused::one("poolwarden is starting"))?;
    let undone = held(&running.standing).now.clone();
    let found = read(running, Wanted::Back(pending.before.basis.clone()), undone.basis.clone()).await?;
    let changes = diff(&running.config(), &found.read.config);
    let view = running.view(Detail::Servers).await;
    let before = reload::snapshots(proxy, &found.read.config);
    proxy.reload(found.read.reload);
    let after = reload::snapshots(proxy, &found.read.config);
    let Outlook { effect, notes, .. } = outlook(&found.read.config, &changes, &before, &after);
    running.obey(found.read.config);
    reviews_obey(running, found.read.texts);
    running.changes.note(unix_ms(), "rollback", &changes);
    finish_trial(running, &view).await;
    {
        let mut standing = held(&running.standing);
        standing.now = pending.before.clone();
        standing.pending = None;
        standing.seen = None;
    }
    let mut done = Done { changes, effect, notes };
    done.notes.extend(running.chronicle.mark(undone.which, VersionState::Undone { why: why.clone() }).await);
    running.log.say(Level::Warn, "undone", format!("{} is undone: {why}", name(running, undone.which)));
    reload::log(running, by, &done.changes, &found.read.remarks, &done.notes);
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
async fn refusal(running: &Running, by: &str, done: Result<Done, Refused>) -> Result<Done, Refused> {
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

/// `version 5`.
fn name(running: &Running, which: Option<Which>) -> String {
    running.chronicle.number(which).map_or_else(|| "the change".to_owned(), |n| format!("version {n}"))
}

/// What is answered: the version that runs now, and what is to be said of it.
async fn applied(running: &Running, done: Done) -> Result<Applied, Refused> {
    let which = held(&running.standing).now.which;
    let n = running.chronicle.number(which);
    let version = match n {
        Some(n) => running.chronicle.version(n).await.ok().flatten(),
        None => None,
    };
    let file = match &running.origin {
        Origin::File(path) => Some(path.display().to_string()),
        Origin::Ini | Origin::Made(_) => None,
    };
    let standing = held(&running.standing).told(&running.chronicle);
    Ok(Applied { version, standing, file, effect: done.effect, notes: done.notes })
}
