//! The guard: looks once a second whether a change on trial does harm, whether its confirmation is due, and whether the file and
//! what runs say the same. It undoes a change once; in observe mode it only says so.

use std::sync::Arc;
use std::time::Duration;

use poolwarden_config::{Guard, show_duration};
use poolwarden_console::rfc3339;
use poolwarden_store::{Effect, Which};
use poolwarden_watch::{Finding, Harm, Level, View};
use tokio::sync::{mpsc, watch};

use super::super::log::unix_ms;
use super::super::reload;
use super::super::running::{Running, held};
use super::file::{self, Mark};
use super::put::{put, undo_pending};
use super::standing::{Standing, Version};
use super::wanted::Wanted;
use super::{Order, Verb, effect, name};

/// What the guard calls itself.
const GUARD: &str = "guard";
/// What could not be undone is tried again after so long.
const AGAIN_MS: u64 = 10_000;

/// Looks at every picture that comes, until `stopping` says so. A look that takes long makes the next ones be left out.
pub(in crate::app) async fn keep(
    running: Arc<Running>,
    mut views: mpsc::Receiver<Arc<View>>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let view = tokio::select! {
            view = views.recv() => view,
            _said = stopping.wait_for(|stop| *stop) => return,
        };
        let Some(view) = view else { return };
        look(&running, &view).await;
    }
}

async fn look(running: &Arc<Running>, view: &View) {
    running.chronicle.tell(&running.log);
    running.chronicle.bound(running.config().history.max_size);
    try_on(running, view).await;
    confirmation(running).await;
    drift(running).await;
    speak(running);
}

/// What the newest picture says of the change on trial.
enum Seen {
    Nothing,
    Harmful(Box<Harmful>),
    Over(Option<Which>, Effect),
}

/// A change that does harm.
struct Harmful {
    harm: Harm,
    version: Version,
    before: Version,
    written: bool,
    /// Why it is not undone.
    stays: Option<&'static str>,
}

/// The change on trial takes the next picture.
async fn try_on(running: &Arc<Running>, view: &View) {
    let seen = observe(&mut held(&running.standing), view);
    match seen {
        Seen::Nothing => {}
        Seen::Over(which, effect) => {
            running.log.say(Level::Info, "measured", format!("{}: {}", name(running, which), effect.sentence));
            // what cannot be written is told by the store's news
            let _told = running.chronicle.effect(which, effect).await;
        }
        Seen::Harmful(found) => harmful(running, *found).await,
    }
}

/// All that is to be known of the trial at once: another change may take its place at any moment.
fn observe(standing: &mut Standing, view: &View) -> Seen {
    let Some(on_trial) = standing.trial.as_mut() else { return Seen::Nothing };
    match on_trial.trial.observe(view) {
        Finding::Going => Seen::Nothing,
        Finding::Over(effects) => {
            let over = standing.trial.take();
            let told = over.and_then(|over| Some((over.version.which, effect::effect(&over, &effects)?)));
            told.map_or(Seen::Nothing, |(which, effect)| Seen::Over(which, effect))
        }
        Finding::Harmful(harm) => {
            let came_again = standing.undone.as_ref() == Some(&on_trial.version.basis.hash());
            let stays = match (came_again, on_trial.is_way_back) {
                (true, _) => Some("it was undone once and came again"),
                (false, true) => Some("it is the way back"),
                (false, false) => None,
            };
            let (version, before) = (on_trial.version.clone(), on_trial.before.clone());
            Seen::Harmful(Box::new(Harmful { harm: *harm, version, before, written: on_trial.written, stays }))
        }
    }
}

async fn harmful(running: &Arc<Running>, found: Harmful) {
    let Harmful { harm, version, before, written, stays } = found;
    let (why, name) = (why(&harm), name(running, version.which));
    if running.config().poolwarden.guard == Guard::Observe {
        let message =
            format!("{name} does harm: {why}; guard = \"observe\": it is not undone: poolwarden rollback does it");
        return running.log.say(Level::Warn, "harmful", message);
    }
    if let Some(reason) = stays {
        let message = format!("{name} does harm: {why}; {reason}: it stays");
        return running.log.say(Level::Warn, "harmful", message);
    }
    running.log.say(Level::Warn, "harmful", format!("{name} does harm and is undone: {why}"));
    if let Err(faults) = undo(running, (&version, before), written, &why).await {
        let message = format!("{name} does harm and cannot be undone: {faults}; {why}");
        running.log.say(Level::Error, "harmful", message);
    }
}

/// Puts back what ran before, unless somebody was faster.
async fn undo(
    running: &Arc<Running>,
    (version, before): (&Version, Version),
    written: bool,
    why: &str,
) -> Result<(), String> {
    let _alone = running.reloading.lock().await;
    let (now, pending) = {
        let standing = held(&running.standing);
        (standing.now.clone(), standing.pending.clone())
    };
    if now.basis != version.basis {
        return Ok(());
    }
    let undone = now.basis.hash();
    let done = match pending {
        Some(pending) => undo_pending(running, &pending, GUARD, why.to_owned()).await,
        None => {
            let reason = Some(format!("undoes {}", name(running, version.which)));
            let verb = Verb::Undo { why: why.to_owned(), write: written };
            put(running, Order { verb, wanted: Wanted::Back(before.basis), by: GUARD.to_owned(), reason }).await
        }
    };
    done.map_err(|refused| refused.faults().join("; "))?;
    held(&running.standing).undone = Some(undone);
    Ok(())
}

/// `requests wait for pool_size in pool app (web), and did not before: 14.2 waiting at 400/s, before 0.0 at 410/s`.
fn why(harm: &Harm) -> String {
    let Harm { limit, effect } = harm;
    let (before, after) = (&effect.before, &effect.after);
    let refused = if after.refused == 0 { String::new() } else { format!(", {} refused", after.refused) };
    format!(
        "requests wait for {} in pool {} ({}), and did not before: {:.1} waiting{refused} at {:.0}/s, before {:.1} at {:.0}/s",
        limit.name(),
        effect.pool.database,
        effect.pool.user,
        after.waiting,
        after.arrivals_per_s,
        before.waiting,
        before.arrivals_per_s
    )
}

/// Says that half of the time to confirm is over, and undoes at its end.
async fn confirmation(running: &Arc<Running>) {
    let now_ms = unix_ms();
    let (half, ended) = {
        let mut standing = held(&running.standing);
        let which = standing.now.which;
        let Some(pending) = standing.pending.as_mut() else { return };
        let half = !pending.said && now_ms >= pending.since_ms + (pending.until_ms - pending.since_ms) / 2;
        pending.said |= half;
        (half.then_some((which, pending.until_ms)), now_ms >= pending.until_ms)
    };
    if let Some((which, until_ms)) = half.filter(|_| !ended) {
        let left = show_duration(Duration::from_secs((until_ms - now_ms).div_ceil(1_000)));
        let (name, until) = (name(running, which), rfc3339(until_ms));
        let message = format!("{name} is undone in {left}, at {until}, unless confirmed: poolwarden confirm");
        running.log.say(Level::Warn, "unconfirmed", message);
    }
    if !ended {
        return;
    }
    let _alone = running.reloading.lock().await;
    // confirmed or taken back meanwhile
    let Some(pending) = held(&running.standing).pending.clone().filter(|pending| now_ms >= pending.until_ms) else {
        return;
    };
    let within = show_duration(Duration::from_millis(pending.until_ms - pending.since_ms));
    let why = format!("nobody confirmed it within {within}");
    if let Err(refused) = undo_pending(running, &pending, GUARD, why).await {
        if let Some(pending) = held(&running.standing).pending.as_mut() {
            pending.until_ms = now_ms + AGAIN_MS;
        }
        let message = format!("what nobody confirmed cannot be undone: {}", refused.faults().join("; "));
        running.log.say(Level::Error, "unconfirmed", message);
    }
}

/// Compares the file with what runs where either may have changed.
async fn drift(running: &Arc<Running>) {
    let config = running.config();
    let Ok(file) = reload::file(&running.origin, &config) else { return };
    let (seen, known, now, drift) = {
        let standing = held(&running.standing);
        let basis = standing.now.basis.clone();
        (standing.seen, Arc::clone(&standing.file), basis, standing.drift.clone())
    };
    let since_ms = drift.as_ref().map_or_else(unix_ms, |drift| drift.since_ms);
    let compared = now.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let mark = Mark::of(&file);
        let is_known = mark.is_some() && mark == seen;
        (!is_known).then(|| (mark, file::drift(&file, &known, &compared, &config, since_ms)))
    });
    let Ok(Some((mark, found))) = looked.await else { return };
    let mut standing = held(&running.standing);
    if standing.now.basis == now {
        (standing.seen, standing.drift) = (mark, found); // else another one runs by now: the next look compares that
    }
}

/// A drift that lasts is said once, and that it has ended.
fn speak(running: &Running) {
    let said = {
        let mut standing = held(&running.standing);
        let lasting = standing.drift.as_ref().filter(|drift| drift.lasts(unix_ms())).map(|drift| drift.why.clone());
        match (&standing.drift, lasting) {
            (None, _) => standing.drift_said.take().map(|_| (Level::Info, "the file says what runs again".to_owned())),
            (Some(_), Some(why)) if standing.drift_said.as_ref() != Some(&why) => {
                standing.drift_said = Some(why.clone());
                Some((Level::Warn, why))
            }
            (Some(_), Some(_) | None) => None,
        }
    };
    if let Some((level, message)) = said {
        running.log.say(level, "drift", message);
        running.reviews.due();
    }
}
