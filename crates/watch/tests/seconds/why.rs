//! What it answers.

use crate::world::{Busy, World};
use poolwarden_watch::CauseCode;
use poolwarden_watch::pool::Limit;
use poolwarden_watch::why::{PoolState, Verdict};

fn top(world: &World) -> Option<(CauseCode, f64)> {
    let why = world.why();
    let first = why.pools[0].causes.first().filter(|cause| cause.verdict == Verdict::Supported);
    first.map(|cause| (cause.code, (cause.share * 100.0).round() / 100.0))
}

fn supported(world: &World) -> Vec<CauseCode> {
    let why = world.why();
    let causes = why.pools[0].causes.iter().filter(|cause| cause.verdict == Verdict::Supported);
    causes.map(|cause| cause.code).collect()
}

#[test]
fn quiet_traffic_has_no_cause_and_nothing_to_do() {
    let mut world = World::new(20);
    world.run(30, 200.0, 0.02, 0);
    let why = world.why();
    assert_eq!(why.pools[0].state, PoolState::Calm);
    assert_eq!(supported(&world), []);
    assert_eq!(why.pools[0].next_step, "nothing to do");
    assert!(why.pools[0].rates.usual_hold_us.is_some_and(|hold| (hold - 20_000.0).abs() < 1_500.0));
}

#[test]
fn the_storys_user_limit_is_named_within_a_second_and_the_pools_size_gains_nothing() {
    let mut world = World::new(20).limited(Limit::User, 3);
    world.run(1, 150.0, 0.02, 40);
    let why = world.why();
    let pool = &why.pools[0];
    assert_eq!(top(&world), Some((CauseCode::UserLimit, 1.0)));
    assert_eq!(pool.binding.as_ref().map(|of| (of.limit, of.size)), Some((Limit::User, Some(3))));
    let size = pool.gains.iter().find(|gain| gain.limit == Limit::PoolSize).unwrap();
    assert_eq!((size.connections, size.per_second, size.next), (Some(0), 0.0, Some(Limit::User)));
    let user = pool.gains.iter().find(|gain| gain.limit == Limit::User).unwrap();
    assert_eq!((user.connections, user.next), (Some(17), Some(Limit::PoolSize)));
    assert!(pool.next_step.contains("users.web.max_connections = "), "{}", pool.next_step);
}

#[test]
fn ordinary_work_that_does_not_fit_is_a_pool_too_small() {
    let mut world = World::new(10);
    world.run(5, 500.0, 0.02, 30);
    assert_eq!(top(&world), Some((CauseCode::PoolTooSmall, 1.0)));
    assert_eq!(supported(&world), [CauseCode::PoolTooSmall]);
}

#[test]
fn forgotten_transactions_are_a_leak_and_the_size_is_innocent() {
    let mut world = World::new(10);
    world.run(20, 100.0, 0.02, 0);
    world.busy(Busy { stuck: 8, ..Busy::default() });
    world.run(8, 100.0, 0.02, 5);
    assert_eq!(supported(&world), [CauseCode::Leak]);
    let why = world.why();
    assert!(why.pools[0].next_step.contains("terminate --stuck app"), "{}", why.pools[0].next_step);
    assert_eq!(why.pools[0].holders.iter().filter(|holder| holder.stuck).count(), 8);
}

#[test]
fn what_is_known_of_a_server_stays_its_own_when_another_comes_before_it() {
    let mut world = World::new(10);
    world.run(20, 100.0, 0.02, 0);
    world.busy(Busy { stuck: 8, ..Busy::default() });
    world.run(8, 100.0, 0.02, 5);
    let (alone, both) = (world.why(), world.why_beside("archive"));
    let of = |server: &str| both.pools.iter().find(|pool| pool.server == server).expect("it is there");
    assert_eq!(of("main"), &alone.pools[0]);
    assert_eq!((of("archive").holders.len(), of("archive").waiting), (0, 0), "nothing there is main's");
}

#[test]
fn idle_in_transaction_and_a_slow_statement_together_are_mixed() {
    let mut world = World::new(10);
    world.run(20, 100.0, 0.02, 0);
    world.busy(Busy { idle: 4, slow: 5, ..Busy::default() });
    world.run(6, 60.0, 0.02, 12);
    let why = world.why();
    let mut codes = supported(&world);
    codes.sort();
    assert_eq!(codes, [CauseCode::IdleInTransaction, CauseCode::SlowQuery]);
    assert!(why.pools[0].mixed);
}

#[test]
fn one_slow_statement_is_named() {
    let mut world = World::new(10);
    world.run(20, 100.0, 0.02, 0);
    world.busy(Busy { slow: 9, ..Busy::default() });
    world.run(6, 60.0, 0.02, 12);
    assert_eq!(supported(&world), [CauseCode::SlowQuery]);
    assert!(world.why().pools[0].next_step.contains("select * from report"), "{}", world.why().pools[0].next_step);
}

#[test]
fn those_who_wait_for_a_lock_are_a_convoy_and_its_head_is_told() {
    let mut world = World::new(10);
    world.run(20, 100.0, 0.02, 0);
    world.busy(Busy { locked: 9, ..Busy::default() });
    world.run(4, 60.0, 0.02, 12);
    assert_eq!(supported(&world), [CauseCode::LockConvoy]);
    let why = world.why();
    assert!(why.pools[0].next_step.contains("pg_terminate_backend(999)"), "{}", why.pools[0].next_step);
}

#[test]
fn a_web_tier_that_fails_alone_is_upstream() {
    let mut world = World::new(20);
    world.probe(false);
    world.run(15, 50.0, 0.02, 0);
    assert_eq!(supported(&world), [CauseCode::Upstream]);
    let why = world.why();
    let at_fault: Vec<_> = why.layers.iter().filter(|layer| layer.verdict == Verdict::Supported).collect();
    assert_eq!(at_fault.len(), 1);
    assert_eq!(at_fault[0].name, "web tier");
}

#[test]
fn a_web_tier_that_fails_with_its_pool_is_not_accused() {
    let mut world = World::new(10);
    world.probe(true);
    world.run(6, 500.0, 0.02, 30);
    assert_eq!(supported(&world), [CauseCode::PoolTooSmall]);
    assert!(world.why().layers.iter().all(|layer| layer.verdict != Verdict::Supported));
}

#[test]
fn a_server_that_is_down_explains_everything() {
    let mut world = World::new(10);
    world.run(10, 100.0, 0.02, 0);
    world.down("connection refused");
    world.run(3, 0.0, 0.02, 20);
    assert_eq!(supported(&world), [CauseCode::PgDown]);
    assert_eq!(world.why().pools[0].state, PoolState::Down);
    world.down("connect: network is unreachable");
    assert_eq!(supported(&world), [CauseCode::Network]);
}

#[test]
fn a_change_of_what_binds_is_told_with_the_way_back() {
    let mut world = World::new(20);
    world.run(20, 500.0, 0.02, 0);
    world.shrink(5, "pools.app.size");
    world.run(5, 500.0, 0.02, 50);
    let codes = supported(&world);
    assert_eq!(codes, [CauseCode::PoolTooSmall, CauseCode::ConfigurationChange]);
    assert_eq!(world.why().pools[0].changes.len(), 1);
}

#[test]
fn every_cause_is_judged_once_in_every_answer() {
    let mut world = World::new(10);
    world.run(3, 500.0, 0.02, 30);
    let why = world.why();
    let mut codes: Vec<_> = why.pools[0].causes.iter().map(|cause| cause.code).collect();
    codes.sort();
    assert_eq!(codes, CauseCode::ALL);
    assert!(why.pools[0].causes.iter().all(|cause| !cause.evidence.is_empty()), "a verdict without a reason");
}

#[test]
fn what_turns_out_to_be_forgotten_was_so_from_its_first_second() {
    let mut world = World::new(5);
    world.run(20, 100.0, 0.02, 0);
    world.forget(4);
    world.run(2, 100.0, 0.02, 5);
    assert_eq!(supported(&world), [CauseCode::IdleInTransaction], "nobody can know yet");
    world.run(3, 100.0, 0.02, 5);
    assert_eq!(supported(&world), [CauseCode::Leak]);
}

#[test]
fn a_server_that_stands_still_is_down_though_it_takes_connections() {
    let mut world = World::new(10);
    world.run(10, 300.0, 0.02, 0);
    world.freeze();
    world.run(5, 0.0, 0.02, 20);
    assert_eq!(supported(&world), [CauseCode::PgDown]);
    let why = world.why();
    assert_eq!(why.pools[0].state, PoolState::Down);
    let server = why.layers.iter().find(|layer| layer.name == "postgresql main").unwrap();
    assert_eq!(server.verdict, Verdict::Supported);
}

#[test]
fn a_limit_of_postgresqls_is_told_as_postgresql_counts_it() {
    let mut world = World::new(20);
    world.database_limit(4, 1);
    world.run(5, 300.0, 0.02, 30);
    assert_eq!(supported(&world), [CauseCode::PgDatabaseLimit]);
    let why = world.why();
    let binding = why.pools[0].binding.as_ref().unwrap();
    assert_eq!((binding.limit, binding.used, binding.size), (Limit::PgDatabase, 4, Some(4)));
    let gain = why.pools[0].gains.iter().find(|gain| gain.limit == Limit::PgDatabase).unwrap();
    assert_eq!((gain.size, gain.enough.map(|enough| enough > 4)), (Some(4), Some(true)));
}

#[test]
fn who_always_has_short_waits_is_saturated_and_a_burst_is_not() {
    let mut world = World::new(20);
    world.run(20, 500.0, 0.02, 0);
    world.brief(20);
    world.run(2, 1_000.0, 0.02, 20);
    assert_eq!(world.why().pools[0].state, PoolState::Tight, "two seconds are a burst");
    world.run(2, 1_000.0, 0.02, 20);
    assert_eq!(world.why().pools[0].state, PoolState::Saturated);
    assert_eq!(supported(&world), [CauseCode::PoolTooSmall]);
}

#[test]
fn who_turns_out_to_wait_for_a_lock_was_not_slow_before_postgresql_told() {
    let mut world = World::new(10);
    world.run(20, 100.0, 0.02, 0);
    world.untold(true);
    world.busy(Busy { locked: 9, ..Busy::default() });
    world.run(4, 60.0, 0.02, 12);
    assert_eq!(supported(&world), [CauseCode::SlowQuery], "as far as anybody can see");
    world.untold(false);
    world.run(1, 60.0, 0.02, 12);
    assert_eq!(supported(&world), [CauseCode::LockConvoy]);
}

#[test]
fn in_the_first_moments_ordinary_work_is_not_told_from_what_holds_on() {
    let mut world = World::new(10);
    world.run(20, 100.0, 0.02, 0);
    world.run(2, 600.0, 0.02, 30);
    let why = world.why();
    assert_eq!((supported(&world), why.pools[0].state), (vec![], PoolState::Saturated));
    assert!(why.pools[0].next_step.contains("look again"), "{}", why.pools[0].next_step);
    assert_eq!(why.pools[0].binding.as_ref().map(|of| of.limit), Some(Limit::PoolSize), "what binds is known at once");
    world.run(2, 600.0, 0.02, 30);
    assert_eq!(supported(&world), [CauseCode::PoolTooSmall]);
}
