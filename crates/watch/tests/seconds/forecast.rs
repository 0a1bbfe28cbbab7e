//! Hours of one pool: what it foresees.

use crate::world::World;
use poolwarden_watch::pool::Limit;
use poolwarden_watch::why::PoolState;
use poolwarden_watch::{CauseCode, Exhaustion, Forecast};

fn forecast(world: &World) -> Forecast {
    world.why().pools.remove(0).forecast
}

fn foreseen(world: &World) -> Exhaustion {
    let forecast = forecast(world);
    forecast.exhaustion.unwrap_or_else(|| panic!("{}", forecast.none))
}

/// Whether what came after `seconds` was foretold: within the interval, and a third of it either way.
fn foretold(of: &Exhaustion, seconds: f64) -> bool {
    let (soon, late) = of.interval_s;
    soon <= of.in_s && of.in_s <= late && soon * 0.67 <= seconds && seconds <= late * 1.5
}

#[test]
fn quiet_traffic_has_headroom_and_no_end() {
    let mut world = World::new(20);
    world.run(30, 200.0, 0.02, 0);
    assert!(forecast(&world).none.starts_with("no forecast: traffic was seen for 30 s"), "{:?}", forecast(&world));
    world.run(1_200, 200.0, 0.02, 0);
    let forecast = forecast(&world);
    // 20 connections carry a load of 12.8 with twice its square root besides; 4 are wanted.
    assert!(forecast.headroom.is_some_and(|headroom| (headroom - 3.2).abs() < 0.05), "{forecast:?}");
    assert_eq!((forecast.exhaustion, forecast.none.as_str()), (None, "nothing rises"));
}

#[test]
fn traffic_that_grows_is_foretold_with_the_size_that_is_enough() {
    let mut world = World::new(20);
    world.run(1_800, 200.0, 0.04, 0);
    for second in 0..720 {
        world.run(1, 200.0 + f64::from(second) / 6.0, 0.04, 0);
    }
    // 12.8 of 20 are wanted, 0.4 more each minute; at 17.8 half of the requests wait.
    let found = foreseen(&world);
    assert_eq!((found.cause, found.limit), (CauseCode::DemandGrowth, Limit::PoolSize));
    assert!(foretold(&found, 750.0), "{found:?}");
    assert!(found.next_step.starts_with("raise pools.app.size to "), "{found:?}");
    let why = world.why();
    assert!(why.pools[0].state <= PoolState::Tight && why.pools[0].next_step == found.next_step, "{:?}", why.pools[0]);
}

#[test]
fn a_users_limit_is_used_up_sooner_than_the_pool() {
    let mut world = World::new(40).limited(Limit::User, 20);
    world.run(600, 200.0, 0.04, 0);
    for second in 0..600 {
        world.run(1, 200.0 + f64::from(second) / 6.0, 0.04, 0);
    }
    let found = foreseen(&world);
    assert_eq!((found.cause, found.limit), (CauseCode::DemandGrowth, Limit::User));
    assert!(found.next_step.starts_with("raise users.web.max_connections to "), "{found:?}");
}

#[test]
fn a_statement_that_takes_longer_and_longer_is_named_and_the_size_is_not() {
    let mut world = World::new(20);
    let (mut report, mut quick) = (0.0, 0.0);
    let mut second = |world: &mut World, hold: f64| {
        // Half of the requests are the report; the rest takes what it took.
        report += 100.0 * (2.0 * hold - 0.04);
        quick += 100.0 * 0.04;
        world.statements([("select * from report", report), ("select 1", quick)]);
        world.run(1, 200.0, hold, 0);
    };
    (0..1_800).for_each(|_| second(&mut world, 0.04));
    (0..1_200).for_each(|at| second(&mut world, 0.04 + f64::from(at) * 2e-5));
    let found = foreseen(&world);
    assert_eq!((found.cause, found.limit), (CauseCode::SlowQuery, Limit::PoolSize));
    assert!(found.next_step.contains("select * from report"), "{found:?}");
    assert!(foretold(&found, 1_250.0), "{found:?}");
}

#[test]
fn forgotten_connections_tell_their_owner_after_a_few() {
    let mut world = World::new(20);
    world.run(1_200, 200.0, 0.04, 0);
    for _ in 0..3 {
        world.forget_one();
        world.run(240, 200.0, 0.04, 0);
    }
    // 17.8 of 20, of which 11 are wanted: seven more, one in four minutes.
    let found = foreseen(&world);
    assert_eq!(found.cause, CauseCode::Leak);
    assert!(foretold(&found, 6.8 * 240.0), "{found:?}");
    assert!(found.evidence[0].text.contains("\"shop\"") && found.next_step.contains("--stuck app"), "{found:?}");
}

#[test]
fn another_application_that_takes_postgresqls_connections_is_named() {
    let mut world = World::new(20);
    for second in 0..1_800_u32 {
        world.others(30 + second.saturating_sub(900) / 20);
        world.run(1, 200.0, 0.02, 0);
    }
    let found = foreseen(&world);
    assert_eq!((found.cause, found.limit), (CauseCode::PgSlots, Limit::PgSlots));
    // 97 for everybody, 75 are used, 3 more each minute
    assert!(foretold(&found, 22.0 * 20.0) && found.next_step.contains("\"nightly\""), "{found:?}");
}

#[test]
fn what_rises_and_stops_is_no_threat_any_more() {
    let mut world = World::new(20);
    world.run(1_200, 200.0, 0.04, 0);
    (0..600).for_each(|second| world.run(1, 200.0 + f64::from(second) / 6.0, 0.04, 0));
    assert!(forecast(&world).exhaustion.is_some());
    world.run(1_800, 300.0, 0.04, 0);
    assert_eq!(forecast(&world).exhaustion, None);
}
