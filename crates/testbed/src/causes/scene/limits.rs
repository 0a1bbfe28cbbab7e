//! Scenes in which a limit is too low for what is asked: poolwarden's own, and PostgreSQL's.

use std::time::Duration;

use serde_json::json;

use super::{Act, EAGER, LEISURE, PLENTY, REPORTING, Scene, saturated};
use crate::Plan;
use crate::causes::crowd::{pick, pick_ms};
use crate::causes::stage::Stage;
use crate::fault_proxy::Dice;

/// A request that sleeps in PostgreSQL for so long.
fn sleeps(stage: &mut Stage, count: u32, application: &'static str, (hold, think): (Duration, (Duration, Duration))) {
    let sql = format!("select pg_sleep({})", hold.as_secs_f64());
    stage
        .crowd(count, application, think, move |client| client.once(&sql, hold + super::super::crowd::QUICK).map(drop));
}

/// A few clients beforehand.
fn few(count: u32, hold: Duration) -> Act {
    Box::new(move |stage| sleeps(stage, count, "web", (hold, LEISURE)))
}

/// Many come at once.
fn many(count: u32, hold: Duration) -> Act {
    Box::new(move |stage| sleeps(stage, count, "web", (hold, EAGER)))
}

/// How a limit comes to be too low: more clients come, or it is lowered while they are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    MoreClients,
    Lowered,
}

fn way(dice: &mut Dice, quiet: bool) -> Way {
    // Without a quiet time nobody was there before.
    if quiet && dice.below(2) == 0 { Way::Lowered } else { Way::MoreClients }
}

pub(super) fn pool_too_small(dice: &mut Dice, quiet: bool) -> Scene {
    let (way, hold) = (way(dice, quiet), pick_ms(dice, 20, 80));
    let (size, web) = (pick(dice, 2, 5), dice.below(2) == 0);
    let mut truth = saturated("pool_too_small", ("pool_size", Some(size)));
    let clients = match way {
        Way::MoreClients => pick(dice, size * 4, size * 8),
        Way::Lowered => pick(dice, 16, 19),
    };
    truth.allowed = allowed(way);
    let plan = Plan { size: if way == Way::Lowered { PLENTY } else { size }, budget: Some(40), ..Plan::default() };
    let (set, strike): (Act, Act) = match way {
        Way::MoreClients => (few(1, hold), many(clients, hold)),
        Way::Lowered => (many(clients, hold), Box::new(move |stage| stage.reload(|plan| plan.size = size))),
    };
    let chosen =
        json!({ "size": size, "clients": clients, "hold_ms": hold.as_millis(), "way": format!("{way:?}"), "web": web });
    Scene { plan, web, truth, chosen, set, strike }
}

/// What may be called a cause beside the limit: that more came, or that the limit was changed.
fn allowed(way: Way) -> Vec<&'static str> {
    match way {
        Way::MoreClients => vec!["demand_growth", "scale_out"],
        Way::Lowered => vec!["configuration_change"],
    }
}

pub(super) fn user_limit(dice: &mut Dice, quiet: bool) -> Scene {
    let (way, hold) = (way(dice, quiet), pick_ms(dice, 20, 80));
    let (limit, size) = (pick(dice, 2, 5), pick(dice, 20, 30));
    let clients = if way == Way::Lowered { pick(dice, 16, 19) } else { pick(dice, limit * 4, limit * 8) };
    let mut truth = saturated("user_limit", ("user", Some(limit)));
    truth.allowed = allowed(way);
    let first = if way == Way::Lowered { None } else { Some(limit) };
    let plan = Plan { size, user_limit: first, budget: Some(size + 20), ..Plan::default() };
    let (set, strike): (Act, Act) = match way {
        Way::MoreClients => (few(1, hold), many(clients, hold)),
        Way::Lowered => {
            (many(clients, hold), Box::new(move |stage| stage.reload(|plan| plan.user_limit = Some(limit))))
        }
    };
    let chosen = json!({ "size": size, "user": limit, "clients": clients, "hold_ms": hold.as_millis(), "way": format!("{way:?}") });
    Scene { plan, web: true, truth, chosen, set, strike }
}

pub(super) fn host_budget(dice: &mut Dice) -> Scene {
    let hold = pick_ms(dice, 20, 80);
    let (budget, neighbours) = (pick(dice, 4, 7), pick(dice, 0, 1));
    let clients = pick(dice, budget * 4, budget * 7);
    let mut truth = saturated("host_budget", ("host_budget", Some(budget)));
    truth.allowed = allowed(Way::MoreClients);
    let neighbour = "[pools.batch]\nserver = \"main\"\ndatabase = \"app\"\nsize = 20\nmax_wait = \"60s\"\n\n";
    let plan = Plan { size: PLENTY, budget: Some(budget), ..Plan::default() }
        .edit("[auth]\n", &format!("{neighbour}[auth]\n"));
    let strike: Act = Box::new(move |stage| {
        sleeps(stage, clients, "web", (hold, EAGER));
        let sql = format!("select pg_sleep({})", hold.as_secs_f64());
        let usual = hold + super::super::crowd::QUICK;
        stage.crowd_at(neighbours * 6, ("batch", "batch"), EAGER, move |client| client.once(&sql, usual).map(drop));
    });
    let chosen =
        json!({ "budget": budget, "clients": clients, "neighbours": neighbours * 6, "hold_ms": hold.as_millis() });
    Scene { plan, web: false, truth, chosen, set: few(1, hold), strike }
}

/// PostgreSQL is told its own limit when things go wrong; what the pool has by then stays within it.
fn told(sql: String, clients: u32, hold: Duration) -> Act {
    Box::new(move |stage| {
        stage.sql(&sql);
        sleeps(stage, clients, "web", (hold, EAGER));
    })
}

pub(super) fn role_limit(dice: &mut Dice) -> Scene {
    let (limit, size, hold) = (pick(dice, 3, 6), pick(dice, 12, 25), pick_ms(dice, 20, 80));
    let (clients, web) = (pick(dice, limit * 4, limit * 7), dice.below(2) == 0);
    let mut truth = saturated("pg_role_limit", ("pg_role", Some(limit)));
    truth.allowed = allowed(Way::MoreClients);
    let plan = Plan { size, budget: Some(size + 20), ..Plan::default() };
    let chosen = json!({ "limit": limit, "size": size, "clients": clients, "hold_ms": hold.as_millis(), "web": web });
    let strike = told(format!("alter role app connection limit {limit}"), clients, hold);
    Scene { plan, web, truth, chosen, set: few(1, hold), strike }
}

pub(super) fn database_limit(dice: &mut Dice) -> Scene {
    // poolwarden's own watcher sits in that database as well.
    let (limit, size, hold) = (pick(dice, 4, 7), pick(dice, 12, 25), pick_ms(dice, 20, 80));
    let clients = pick(dice, limit * 4, limit * 7);
    let mut truth = saturated("pg_database_limit", ("pg_database", Some(limit)));
    truth.allowed = allowed(Way::MoreClients);
    let plan = Plan { size, budget: Some(size + 20), ..Plan::default() };
    let chosen = json!({ "limit": limit, "size": size, "clients": clients, "hold_ms": hold.as_millis() });
    let strike = told(format!("alter database app connection limit {limit}"), clients, hold);
    Scene { plan, web: false, truth, chosen, set: few(1, hold), strike }
}

pub(super) fn others_slots(dice: &mut Dice) -> Scene {
    const RESERVED: u32 = 3;
    let (slots, left, hold) = (pick(dice, 25, 45), pick(dice, 3, 5), pick_ms(dice, 20, 80));
    // What is reserved, the watcher, and the superuser who looks on take their part.
    let others = slots - RESERVED - left - 2;
    let clients = pick(dice, left * 5, left * 8);
    let mut truth = saturated("pg_slots", ("pg_slots", None));
    truth.allowed = allowed(Way::MoreClients);
    let plan = Plan { size: PLENTY, budget: Some(slots), max_connections: slots, ..Plan::default() };
    let strike: Act = Box::new(move |stage| {
        stage.others(others, "reporter", REPORTING);
        sleeps(stage, clients, "web", (hold, EAGER));
    });
    let set: Act = Box::new(move |stage| {
        stage.sql("create role reporter login");
        sleeps(stage, 1, "web", (hold, LEISURE));
    });
    let chosen = json!({ "max_connections": slots, "others": others, "left": left, "clients": clients, "hold_ms": hold.as_millis() });
    Scene { plan, web: false, truth, chosen, set, strike }
}
