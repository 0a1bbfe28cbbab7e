//! Does raising help? What `why` says that a higher limit would gain, and what it gains when it is raised.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::answer::Why;
use super::books::{Books, lock};
use super::crowd::{Client, QUICK, ms};
use super::stage::Stage;
use crate::Plan;
use crate::fault_proxy::Dice;
use crate::wire::Fault;

/// Between two questions of the story.
const PAUSE: Duration = Duration::from_millis(40);
/// The story's question is answered within this; waited for a little longer, to say by how much it is late.
const STORY_PATIENCE: Duration = Duration::from_secs(6);
/// Traffic is steady, and the answer is about steady traffic, after this.
const STEADY: Duration = Duration::from_secs(13);
/// Connections are opened and queues are gone after this.
const SETTLES: Duration = Duration::from_secs(3);
/// Served requests are counted over this.
const COUNTED: Duration = Duration::from_secs(8);

/// The story: a pool of 20, a user who may have 3, and somebody asks whether to raise the pool.
#[derive(Debug)]
pub struct Story {
    /// From the first waiting client to the first right answer.
    pub answered_after: Option<Duration>,
    /// The last answer.
    pub said: Value,
}

/// Plays the story once.
#[must_use]
#[track_caller]
pub fn story(seed: u64) -> Story {
    let mut dice = Dice(seed);
    let (clients, hold) = (super::crowd::pick(&mut dice, 12, 40), super::crowd::pick_ms(&mut dice, 20, 120));
    let plan = Plan { size: 20, user_limit: Some(3), budget: Some(60), ..Plan::default() };
    let mut stage = Stage::start(plan, false, seed);
    // Somebody was there before, as in life: the pool exists, and so does the answer about it.
    stage.crowd(1, "web", (ms(50), ms(100)), |client| client.once("select 1", QUICK).map(drop));
    std::thread::sleep(SETTLES);
    stage.books.arm();
    let sql = format!("select pg_sleep({})", hold.as_secs_f64());
    stage.crowd(clients, "web", (ms(0), ms(1)), move |client| client.once(&sql, hold).map(drop));
    let began = Instant::now();
    let mut said = Value::Null;
    let mut right = None;
    while right.is_none() && began.elapsed() < STORY_PATIENCE {
        let why = stage.why();
        if let Ok(why) = &why {
            right = says_user_binds(why).then(Instant::now);
            said = why.whole.clone();
        }
        std::thread::sleep(PAUSE);
    }
    // The books mark who has waited for 100 ms; without a mark, the first began to wait no later than all had come.
    let first =
        stage.books.onset().and_then(|onset| onset.checked_sub(ms(100))).map_or(began, |first| first.min(began));
    Story { answered_after: right.map(|at| at.saturating_duration_since(first)), said }
}

fn says_user_binds(why: &Why) -> bool {
    let pool_size = why.gain("pool_size");
    why.binding() == ("user", Some(3))
        && why.binds()
        && pool_size["gain"] == 0
        && pool_size["per_second"].as_f64() == Some(0.0)
        && pool_size["next_limit"] == "user"
}

/// How clients come.
#[derive(Debug, Clone, Copy)]
pub enum Arrive {
    /// So many clients, each again after a pause of so many milliseconds.
    Closed {
        /// Clients.
        clients: u32,
        /// Pause.
        think_ms: u64,
    },
    /// So many requests a second, whether those before were served or not.
    Open {
        /// Requests a second.
        rate: u32,
    },
}

/// Which limit is raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raised {
    /// The pool's size.
    Pool,
    /// The user's limit.
    User,
    /// The database's limit.
    Database,
    /// The host budget.
    Host,
}

/// One case in which raising helps.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What binds, and is raised.
    pub raised: Raised,
    /// Its size before.
    pub size: u32,
    /// How clients come.
    pub arrive: Arrive,
    /// How long each request holds its connection: from, to.
    pub hold_ms: (u64, u64),
    /// Whether the file is written and reloaded, or SET says it.
    pub reload: bool,
}

/// Ten cases.
pub const CASES: [Case; 10] = [
    case(Raised::Pool, 3, Arrive::Closed { clients: 12, think_ms: 5 }, (40, 40), false),
    case(Raised::Pool, 4, Arrive::Closed { clients: 30, think_ms: 100 }, (30, 90), true),
    case(Raised::Pool, 2, Arrive::Open { rate: 120 }, (20, 60), false),
    case(Raised::Pool, 6, Arrive::Open { rate: 110 }, (60, 140), true),
    case(Raised::User, 3, Arrive::Closed { clients: 15, think_ms: 20 }, (50, 50), false),
    case(Raised::User, 2, Arrive::Open { rate: 100 }, (30, 30), true),
    case(Raised::Database, 3, Arrive::Closed { clients: 20, think_ms: 60 }, (20, 100), true),
    case(Raised::Database, 5, Arrive::Open { rate: 200 }, (20, 60), false),
    case(Raised::Host, 4, Arrive::Closed { clients: 24, think_ms: 0 }, (80, 120), false),
    case(Raised::Host, 5, Arrive::Open { rate: 110 }, (40, 80), true),
];

const fn case(raised: Raised, size: u32, arrive: Arrive, hold_ms: (u64, u64), reload: bool) -> Case {
    Case { raised, size, arrive, hold_ms, reload }
}

/// What a case came to; rates per second.
#[derive(Debug)]
pub struct Gained {
    /// The gain that was stated.
    pub stated: f64,
    /// The gain that was measured.
    pub measured: f64,
    /// The size that was said to be enough.
    pub enough: u64,
    /// The share of the requests that came later than they should have: a machine too busy to measure on.
    pub late: f64,
    /// Everything, for the record.
    pub record: Value,
}

impl Gained {
    /// By how much what was stated differs from what was measured, as a share of that.
    #[must_use]
    pub fn off(&self) -> f64 {
        (self.stated - self.measured).abs() / self.measured.abs().max(f64::MIN_POSITIVE)
    }
}

impl Raised {
    fn limit(self) -> &'static str {
        match self {
            Raised::Pool => "pool_size",
            Raised::User => "user",
            Raised::Database => "database",
            Raised::Host => "host_budget",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Raised::Pool => "pools.app.size",
            Raised::User => "users.app.max_connections",
            Raised::Database => "pools.app.max_connections",
            Raised::Host => "servers.main.max_connections",
        }
    }

    /// A plan in which it binds at this size, and nothing else does up to 60.
    fn plan(self, size: u32) -> Plan {
        const PLENTY: u32 = 60;
        let plan = Plan { size: PLENTY, budget: Some(PLENTY + 20), max_wait: ms(1_000), ..Plan::default() };
        match self {
            Raised::Pool => Plan { size, ..plan },
            Raised::User => Plan { user_limit: Some(size), ..plan },
            Raised::Database => plan.pool(&format!("max_connections = {size}")),
            Raised::Host => Plan { budget: Some(size), ..plan },
        }
    }
}

/// Asks what raising would gain, raises to what is said to be enough, and measures.
///
/// # Errors
/// When the answer does not name the limit, or gives it no gain.
#[track_caller]
pub fn gained(case: &Case, seed: u64) -> Result<Gained, String> {
    let mut stage = Stage::start(case.raised.plan(case.size), false, seed);
    let late = Arc::new(Mutex::new(0_u32));
    arrive(&mut stage, case, seed, &late);
    std::thread::sleep(STEADY);
    let before = rate(&stage.books);
    let why = stage.why()?;
    let limit = case.raised.limit();
    let gain = why.gain(limit).clone();
    if why.binding().0 != limit || !why.binds() {
        return Err(format!("{limit} binds, not {:?}: {}", why.binding(), why.whole));
    }
    let (Some(stated), Some(enough)) = (gain["per_second"].as_f64(), gain["enough"].as_u64()) else {
        return Err(format!("no gain is stated for {limit}: {}", why.whole));
    };
    if gain["setting"] != case.raised.key() {
        return Err(format!("{limit} is set by {}, not by {}", case.raised.key(), gain["setting"]));
    }
    raise(&mut stage, case, u32::try_from(enough).unwrap_or(u32::MAX));
    std::thread::sleep(SETTLES);
    let after = rate(&stage.books);
    let (measured, late) = (after - before, *lock(&late));
    let record = json!({
        "raised": case.raised.key(), "from": case.size, "enough": enough, "arrive": format!("{:?}", case.arrive),
        "hold_ms": case.hold_ms, "by": if case.reload { "RELOAD" } else { "SET" },
        "before_per_second": round(before), "after_per_second": round(after), "stated_gain": round(stated),
        "measured_gain": round(measured), "late_arrivals": late, "why": why.whole,
    });
    let (served, refused) = stage.books.totals();
    let late = f64::from(late) / (served + refused).max(1) as f64;
    Ok(Gained { stated, measured, enough, late, record })
}

fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// Requests served per second, over a while.
fn rate(books: &Books) -> f64 {
    let (from, began) = (books.totals().0, Instant::now());
    std::thread::sleep(COUNTED);
    (books.totals().0 - from) as f64 / began.elapsed().as_secs_f64()
}

fn raise(stage: &mut Stage, case: &Case, to: u32) {
    if !case.reload {
        let sql = format!("SET {} = {to}", case.raised.key());
        stage.bed().console().query(&sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        return;
    }
    let raised = case.raised.plan(to);
    stage.reload(|plan| {
        plan.size = raised.size;
        plan.user_limit = raised.user_limit;
        plan.budget = raised.budget;
        plan.edits = raised.edits;
    });
}

fn arrive(stage: &mut Stage, case: &Case, seed: u64, late: &Arc<Mutex<u32>>) {
    /// Connections of an application that asks when its users do: most of them rest, however long some wait.
    const SENDERS: u32 = 500;
    let hold = case.hold_ms;
    match case.arrive {
        Arrive::Closed { clients, think_ms } => {
            let think = (ms(think_ms / 2), ms(think_ms + think_ms / 2));
            stage.crowd(clients, "web", think, move |client| held(client, hold));
        }
        Arrive::Open { rate } => {
            let schedule = Arc::new(Mutex::new(Schedule { next: None, dice: Dice(seed), rate }));
            let late = Arc::clone(late);
            stage.crowd(SENDERS, "web", (ms(0), ms(0)), move |client| {
                let due = lock(&schedule).take();
                let ahead = due.saturating_duration_since(Instant::now());
                client.signs.rest(ahead);
                // All senders were busy: the load was not what it says it is.
                *lock(&late) += u32::from(due.elapsed() > ms(100));
                held(client, hold)
            });
        }
    }
}

/// When the next request comes, as if by many clients that know nothing of each other.
struct Schedule {
    /// Nothing before the first of its clients has come.
    next: Option<Instant>,
    dice: Dice,
    rate: u32,
}

impl Schedule {
    /// Half to one and a half of the mean after the one before: uneven, and yet a rate that a few seconds can measure.
    fn take(&mut self) -> Instant {
        let share = 0.5 + self.dice.below(1 << 20) as f64 / f64::from(1 << 20);
        let next = self.next.unwrap_or_else(Instant::now) + Duration::from_secs_f64(share / f64::from(self.rate));
        *self.next.insert(next)
    }
}

/// One request; a refusal is an answer, and the next request comes at its time.
fn held(client: &mut Client, hold_ms: (u64, u64)) -> Result<(), Fault> {
    let hold = super::crowd::between(&mut client.dice, (ms(hold_ms.0), ms(hold_ms.1)));
    match client.once(&format!("select pg_sleep({})", hold.as_secs_f64()), hold + QUICK) {
        Ok(_) | Err(Fault::Server(_)) => Ok(()),
        Err(fault) => Err(fault),
    }
}
