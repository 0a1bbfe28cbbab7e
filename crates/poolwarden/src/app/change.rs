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
mod put;
mod standing;
mod wanted;

use std::sync::Arc;
use std::time::Duration;

use poolwarden_config::{Change, parse_duration, show_duration};
use poolwarden_console::history::History;
use poolwarden_console::http::{Applied, ApplyOrder, ConfirmOrder, Past, RollbackOrder, Untold};
use poolwarden_store::{Unread, VersionState, Which};
use poolwarden_switch::Detail;
use poolwarden_watch::Level;

pub(super) use chronicle::Chronicle;
pub(super) use guard::keep;
pub(super) use outlook::{Outlook, outlook};
pub(super) use standing::Standing;
pub(super) use wanted::{Basis, Found, Wanted, first, read};

use super::edit::Edit;
use super::reload::Refused;
use super::running::{Origin, Running, held};
use put::{put, refusal, undo_pending, write};

/// A change that nobody confirms within a day was forgotten.
const LONGEST_CONFIRM: Duration = Duration::from_secs(24 * 3600);
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
    Ok(History { versions, audit, standing: running.told(&standing), texts: asked.version.is_some() })
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
    let standing = running.stands();
    Ok(Applied { version, standing, file, effect: done.effect, notes: done.notes })
}
