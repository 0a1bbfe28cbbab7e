//! One run of one situation: the quiet time, the blow, the onset as the clients see it, and what `why` says from then on.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Situation;
use super::answer::Why;
use super::judge::{Known, Truth, compared, faults, slandered};
use super::scene::{self, Scene};
use super::stage::Stage;
use crate::fault_proxy::Dice;
use crate::place;

/// `why` is to be right so long after the onset.
const RIGHT_WITHIN: Duration = Duration::from_secs(10);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(200);
/// What goes wrong is felt by the clients within this, or nothing went wrong: leaks take their time.
const FELT_WITHIN: Duration = Duration::from_secs(30);
/// Connections are opened and the first pictures taken meanwhile.
const SETTLES: Duration = Duration::from_secs(2);
/// A comparison of numbers may fail this often, as a share: what is compared moves while it is asked for.
const MOVING: f64 = 0.34;

/// How long a run takes its time.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The quiet time before anything goes wrong; none in every second run where it is `Some`.
    pub quiet: Duration,
    /// `why` has to stay right for so long.
    pub stays: Duration,
    /// For so long nothing is to be found where nothing is wrong.
    pub calm: Duration,
}

impl Pace {
    /// For a test: short.
    pub const SHORT: Pace =
        Pace { quiet: Duration::from_secs(2), stays: Duration::from_millis(1_200), calm: Duration::from_secs(5) };
    /// For the proof.
    pub const LONG: Pace =
        Pace { quiet: Duration::from_secs(10), stays: Duration::from_secs(4), calm: Duration::from_secs(15) };
}

/// What a run came to.
#[derive(Debug)]
pub struct Played {
    /// What was played.
    pub situation: Situation,
    /// By which seed.
    pub seed: u64,
    /// The quiet time.
    pub quiet: Duration,
    /// What the seed chose.
    pub chosen: Value,
    /// From the onset to the first answer that was right and stayed so.
    pub right_after: Option<Duration>,
    /// Causes named before that.
    pub before: Vec<String>,
    /// What is wrong with it; nothing, if the run passed.
    pub faults: Vec<String>,
    /// How many comparisons of numbers were made, and how many of them differed.
    pub compared: (usize, usize),
    /// Everything, for the record.
    pub record: Value,
}

/// One answer, judged.
struct Look {
    after: Duration,
    why: Result<Why, String>,
    known: Known,
    faults: Vec<String>,
}

/// Plays a situation by a seed.
#[must_use]
#[track_caller]
pub fn play(situation: Situation, seed: u64, pace: Pace) -> Played {
    let place = Situation::ALL.iter().position(|one| *one == situation).unwrap_or(0);
    let mut dice = Dice(seed.wrapping_mul(1_000).wrapping_add(u64::try_from(place).unwrap_or(0)));
    dice.roll();
    // Every second run has no quiet time, so that nothing usual is known.
    let quiet = if seed.is_multiple_of(2) { Duration::ZERO } else { pace.quiet };
    let Scene { plan, web, truth, chosen, set, strike } = scene::make(situation, seed, &mut dice, !quiet.is_zero());
    let mut stage = Stage::start(plan, web, dice.roll());
    set(&mut stage);
    let mut run = Run { truth, looks: Vec::new(), faults: Vec::new(), early: Vec::new(), said_early: Value::Null };
    run.quiet(&mut stage, quiet);
    let early = stage.books.early();
    stage.books.arm();
    stage.signs.struck.store(true, Ordering::Release);
    strike(&mut stage);
    let healthy = situation == Situation::NothingWrong;
    let onset = if healthy { Some(Instant::now()) } else { felt(&stage) };
    let right_after = match onset {
        None => {
            run.faults.push("the clients felt nothing: the scene is at fault".to_string());
            None
        }
        Some(onset) if healthy => run.calm(&mut stage, onset, pace.calm),
        Some(onset) => run.watch(&mut stage, onset, pace.stays),
    };
    let said = stage.said();
    let compared = run.settle(right_after);
    let (served, refused) = stage.books.totals();
    let record = json!({
        "situation": situation.name(), "seed": seed, "quiet_s": quiet.as_secs_f64(), "chosen": chosen, "truth": run.truth.json(),
        "late_before_the_blow": early, "served": served, "refused": refused, "last_refusal": stage.books.last_refusal(),
        "right_after_ms": right_after.map(|span| span.as_millis()), "faults": run.faults,
        "said": said, "said_before_the_blow": run.said_early,
        "looks": run.looks.iter().map(Look::json).collect::<Vec<_>>(),
        "log": last_lines(&stage.bed().pooler().expect("poolwarden runs").log()),
    });
    let before = named_before(&run.looks, right_after);
    Played { situation, seed, quiet, chosen, right_after, before, faults: run.faults, compared, record }
}

/// When the first client waits for long or is refused.
fn felt(stage: &Stage) -> Option<Instant> {
    let began = Instant::now();
    while began.elapsed() < FELT_WITHIN {
        if let Some(onset) = stage.books.onset() {
            return Some(onset);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

struct Run {
    truth: Truth,
    looks: Vec<Look>,
    faults: Vec<String>,
    /// Causes named and layers accused while all was quiet.
    early: Vec<String>,
    /// The first answer that did so.
    said_early: Value,
}

impl Run {
    /// Before anything goes wrong nothing is a cause.
    fn quiet(&mut self, stage: &mut Stage, quiet: Duration) {
        let began = Instant::now();
        while began.elapsed() < quiet {
            std::thread::sleep(PAUSE);
            // On a machine too busy to serve at once even this is no quiet time.
            if began.elapsed() < SETTLES || stage.books.early() > 0 {
                continue;
            }
            let Ok(why) = stage.why() else { continue };
            let named: Vec<String> = why.supported().into_iter().map(|(code, _)| code).chain(why.accused()).collect();
            if self.early.is_empty() && !named.is_empty() {
                self.said_early = why.whole;
            }
            self.early.extend(named);
        }
        self.early.sort();
        self.early.dedup();
        if !self.early.is_empty() {
            self.faults.push(format!("before anything went wrong there was said: {:?}", self.early));
        }
    }

    fn look(&mut self, stage: &mut Stage, onset: Instant) -> bool {
        let mut known = stage.known();
        let why = stage.why();
        let after = Instant::now().saturating_duration_since(onset);
        stage.know_more(&mut known);
        let faults = match &why {
            Ok(why) => faults(why, &self.truth),
            Err(what) => vec![what.clone()],
        };
        let right = faults.is_empty();
        self.looks.push(Look { after, why, known, faults });
        right
    }

    /// Asks until the answer is right and stays so; says after how long it was right.
    fn watch(&mut self, stage: &mut Stage, onset: Instant, stays: Duration) -> Option<Duration> {
        let mut right_since: Option<Duration> = None;
        loop {
            let right = self.look(stage, onset);
            let after = self.looks.last().map_or(Duration::ZERO, |look| look.after);
            right_since = if right { right_since.or(Some(after)) } else { None };
            if right_since.is_some_and(|since| after >= since + stays) {
                return right_since;
            }
            if after > RIGHT_WITHIN && right_since.is_none() || after > RIGHT_WITHIN + stays {
                return None;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Asks for so long, while there is nothing to be found; bursts are not.
    fn calm(&mut self, stage: &mut Stage, began: Instant, span: Duration) -> Option<Duration> {
        let mut right = true;
        while began.elapsed() < span {
            std::thread::sleep(PAUSE);
            // The pool is known from its first request on.
            right &= self.look(stage, began) || began.elapsed() < SETTLES;
        }
        right.then_some(Duration::ZERO)
    }

    /// The verdict over all looks; says how many numbers were compared and how many differed.
    fn settle(&mut self, right_after: Option<Duration>) -> (usize, usize) {
        if self.faults.is_empty() && right_after.is_none() {
            let last = self.looks.iter().rev().find(|look| !look.faults.is_empty());
            self.faults.extend(last.map_or(Vec::new(), |look| look.faults.clone()));
        }
        let slander = self.looks.iter().filter_map(|look| look.why.as_ref().ok());
        let mut slander: Vec<String> = slander.flat_map(|why| slandered(why, &self.truth)).collect();
        slander.sort();
        slander.dedup();
        self.faults.extend(slander.into_iter().map(|layer| format!("{layer} was accused at some time")));
        let right = self.looks.iter().filter(|look| right_after.is_some_and(|since| look.after >= since));
        let compared: Vec<_> =
            right.filter_map(|look| Some(compared(look.why.as_ref().ok()?, &look.known))).flatten().collect();
        let differing = compared.iter().filter(|(_, differs)| differs.is_some()).count();
        let mut names: Vec<&str> = compared.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let of: Vec<&Option<String>> = compared.iter().filter(|(is, _)| *is == name).map(|(_, how)| how).collect();
            let wrong: Vec<&String> = of.iter().filter_map(|how| how.as_ref()).collect();
            if let Some(last) = wrong.last()
                && wrong.len() as f64 > of.len() as f64 * MOVING
            {
                self.faults.push(format!("{name}: {last} ({} of {} looks)", wrong.len(), of.len()));
            }
        }
        (compared.len(), differing)
    }
}

/// Causes that were first before the answer was right.
fn named_before(looks: &[Look], right_after: Option<Duration>) -> Vec<String> {
    let before = looks.iter().filter(|look| right_after.is_none_or(|since| look.after < since));
    let first = |look: &Look| look.why.as_ref().ok()?.supported().first().map(|(code, _)| code.clone());
    let mut codes: Vec<String> = before.filter_map(first).collect();
    codes.dedup();
    codes
}

impl Look {
    fn json(&self) -> Value {
        let why = match &self.why {
            Ok(why) => why.whole.clone(),
            Err(what) => json!(what),
        };
        json!({ "after_ms": self.after.as_millis(), "faults": self.faults, "known": self.known.json(), "why": why })
    }
}

fn last_lines(log: &str) -> Vec<&str> {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].to_vec()
}

impl Played {
    /// Keeps everything about the run in a file, and says which.
    #[must_use]
    pub fn keep(&self) -> PathBuf {
        let dir = std::env::var_os("CAUSES_KEEP").map_or_else(|| place::root().join("causes"), PathBuf::from);
        std::fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("create {}: {e}", dir.display()));
        let path = dir.join(format!("{}-{}.json", self.situation.name(), self.seed));
        std::fs::write(&path, format!("{:#}\n", self.record))
            .unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
        path
    }

    /// For the result.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "situation": self.situation.name(), "seed": self.seed, "quiet_s": self.quiet.as_secs_f64(), "chosen": self.chosen,
            "right_after_ms": self.right_after.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
            "named_before": self.before, "numbers_compared": self.compared.0, "numbers_differing": self.compared.1,
            "passed": self.faults.is_empty(), "faults": self.faults,
        })
    }
}
