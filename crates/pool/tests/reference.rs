//! The core against the slow, obvious pool: a million random steps, every action, event and number compared.

#[path = "reference/mod.rs"]
mod obvious;

/// A quarter of the million, so that the test runner can use its cores.
const STEPS: u64 = 250_000;

#[test]
fn the_core_does_what_the_obvious_pool_does_seed_1() {
    obvious::compare(STEPS, 1);
}

#[test]
fn the_core_does_what_the_obvious_pool_does_seed_2() {
    obvious::compare(STEPS, 2);
}

#[test]
fn the_core_does_what_the_obvious_pool_does_seed_3() {
    obvious::compare(STEPS, 3);
}

#[test]
fn the_core_does_what_the_obvious_pool_does_seed_4() {
    obvious::compare(STEPS, 4);
}

/// An empty pool of `*` begins a connect in one step, which fails in the next: it is empty from then on, not from before.
#[test]
fn a_failed_connect_begins_the_time_of_an_empty_pool_anew() {
    obvious::replay(20_000, 7_229_058_645_790_391_319);
}

#[test]
fn the_recorded_inputs_give_the_same_actions_and_events_again() {
    for seed in 1..=5 {
        obvious::replay(5_000, seed);
    }
}

#[test]
fn the_random_world_reaches_every_decision() {
    let told: String = (11..=16).map(|seed| obvious::replay(20_000, seed)).collect();
    for action in ["Open {", "Close {", "Forget {", "Reset {", "Grant {", "Refuse {"] {
        assert!(told.matches(action).count() > 50, "{action} is rare in the random world");
    }
    for reason in ["Broken", "Idle", "Lifetime", "Evicted", "Shrunk", "Reconnect", "Killed", "Draining", "Retired"] {
        assert!(told.contains(&format!("reason: {reason}")), "nothing was closed: {reason}");
    }
    for limit in [
        "PoolSize",
        "Reserve",
        "User",
        "Database",
        "HostBudget",
        "Connects",
        "Breaker",
        "PgRole",
        "PgDatabase",
        "PgSlots",
    ] {
        let bound = format!(" limit: {limit},");
        let times = told
            .split("Binding { pool:")
            .skip(1)
            .filter(|event| event.split(" size:").next().is_some_and(|told| told.contains(&bound)))
            .count();
        assert!(times > 5, "{limit} never binds");
    }
    for event in
        ["PoolMade", "PoolRetired", "Cleared", "Connected", "ServerDown", "ServerUp", "Ghost", "Paused", "Applied"]
    {
        assert!(told.contains(event), "no {event}");
    }
    for handled in ["AlreadyGranted", "Cancelled", "Stale", "Refused(", "QueueLength", "no_such_database: true"] {
        assert!(told.contains(handled), "no {handled}");
    }
}
