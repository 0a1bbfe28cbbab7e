//! Scenes in which the trouble is not in the pool: PostgreSQL is gone, the web tier fails by itself, or all is well.

use std::time::Duration;

use serde_json::json;

use super::{Act, LEISURE, Scene, turn};
use crate::Plan;
use crate::causes::crowd::{QUICK, ms, pick, pick_ms};
use crate::causes::judge::Truth;
use crate::causes::stage::Stage;
use crate::fault_proxy::Dice;

/// An application that leaves the pool mostly idle.
fn light(stage: &mut Stage, count: u32, hold: Duration) {
    let sql = format!("select pg_sleep({})", hold.as_secs_f64());
    stage.crowd(count, "web", LEISURE, move |client| client.once(&sql, hold + QUICK).map(drop));
}

/// How PostgreSQL stops.
#[derive(Debug, Clone, Copy)]
enum Stop {
    /// It is shut down: connections end, connects are refused.
    Shutdown,
    /// It hangs: nothing ends, nothing answers.
    Frozen,
}

pub(super) fn postgres_stopped(seed: u64, dice: &mut Dice) -> Scene {
    let (size, hold) = (pick(dice, 4, 10), pick_ms(dice, 5, 20));
    let clients = pick(dice, size, size * 3);
    // In pairs, because every second seed has no quiet time: each way with and without one.
    let stop = if (seed / 2).is_multiple_of(2) { Stop::Shutdown } else { Stop::Frozen };
    let truth = Truth {
        causes: vec!["pg_down"],
        allowed: Vec::new(),
        binding: None,
        guilty: Some("postgresql"),
        states: &["down", "saturated"],
    };
    let plan = Plan { size, budget: Some(size + 20), ..Plan::default() };
    let set: Act = Box::new(move |stage| {
        light(stage, clients, hold);
        // There is something to stop only once it works.
        stage.signs.rest(ms(1_500));
    });
    let strike: Act = Box::new(move |stage| match stop {
        Stop::Shutdown => {
            stage.blind();
            stage.bed_mut().postgres.stop();
        }
        Stop::Frozen => stage.freeze(),
    });
    let chosen = json!({ "size": size, "clients": clients, "hold_ms": hold.as_millis(), "stop": format!("{stop:?}") });
    Scene { plan, web: true, truth, chosen, set, strike }
}

/// Which of the web server's routes fail.
#[derive(Debug, Clone, Copy)]
enum Broken {
    /// The one that needs no database.
    Health,
    /// The one that does, before it asks any.
    Orders,
    /// All.
    Both,
}

pub(super) fn web_tier(seed: u64, dice: &mut Dice) -> Scene {
    let (size, hold, clients) = (pick(dice, 6, 12), pick_ms(dice, 2, 10), pick(dice, 2, 8));
    let broken = turn(seed, [Broken::Health, Broken::Orders, Broken::Both]);
    let truth = Truth {
        causes: vec!["upstream"],
        allowed: Vec::new(),
        binding: None,
        guilty: Some("web tier"),
        states: &["calm", "tight"],
    };
    let plan = Plan { size, budget: Some(size + 20), ..Plan::default() };
    let set: Act = Box::new(move |stage| light(stage, clients, hold));
    let strike: Act = Box::new(move |stage| {
        let web = stage.web.as_ref().expect("the scene has one");
        let routes: &[usize] = match broken {
            Broken::Health => &[0],
            Broken::Orders => &[1],
            Broken::Both => &[0, 1],
        };
        routes.iter().for_each(|route| web.break_route(*route, true));
    });
    let chosen =
        json!({ "size": size, "clients": clients, "hold_ms": hold.as_millis(), "broken": format!("{broken:?}") });
    Scene { plan, web: true, truth, chosen, set, strike }
}

pub(super) fn nothing_wrong(dice: &mut Dice) -> Scene {
    let (size, hold) = (pick(dice, 6, 12), pick_ms(dice, 3, 10));
    let (clients, burst, pause) = (pick(dice, size / 2, size), pick(dice, size, size * 2), pick_ms(dice, 800, 2_000));
    let truth =
        Truth { causes: Vec::new(), allowed: Vec::new(), binding: None, guilty: None, states: &["calm", "tight"] };
    let plan = Plan { size, budget: Some(size + 20), ..Plan::default() };
    let set: Act = Box::new(move |stage| {
        light(stage, clients, hold);
        // They rest equally long and so come all at once: a burst that is over after two or three holds.
        let sql = format!("select pg_sleep({})", hold.as_secs_f64());
        stage.crowd(burst, "cron", (pause, pause), move |client| client.once(&sql, hold * 3 + QUICK).map(drop));
    });
    let chosen = json!({
        "size": size, "clients": clients, "hold_ms": hold.as_millis(), "burst": burst, "burst_every_ms": pause.as_millis(),
    });
    Scene { plan, web: true, truth, chosen, set, strike: Box::new(|_| {}) }
}
