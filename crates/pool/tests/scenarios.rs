//! Scenarios as timelines: what the core is told stands at the margin, what it does and (says) below it.
//!
//! Times are milliseconds. `at` lets due timeouts ring at their own moments.

mod world;

use std::time::Duration;

use poolwarden_pool::{
    EndCause, Failure, Fitness, Guard, Handled, HostSettings, Input, Limit, ServerFacts, Time, UserSettings, Verb,
};
use world::{Play, settings};

/// A pool of `size` with all connections open and idle on loop 0, the timeline so far forgotten.
fn warm(settings: HostSettings, size: usize) -> Play {
    let mut play = Play::new(settings);
    play.enter("app", "alice");
    open(&mut play, 0, size);
    play.forget();
    play
}

/// Opens connections `from..from + count` for the current pool by as many requests, and leaves them idle.
fn open(play: &mut Play, from: usize, count: usize) {
    for at in from..from + count {
        play.checkout(&format!("w{at}"));
    }
    for at in from..from + count {
        play.opened(at);
    }
    for at in from..from + count {
        play.checkin(at);
    }
}

#[test]
fn a_cold_pool_opens_on_demand_and_hands_over_directly() {
    let mut play = Play::new(settings("app", |db| db.size = 2));
    play.enter("app", "alice");
    play.checkout("a");
    play.checkout("b");
    play.checkout("c");
    play.at(30).opened(0);
    play.at(40).checkin(0);
    play.at(45).opened(1);
    play.at(50).checkin(0);
    play.at(60).checkin(1);
    play.expect("cold");
}

#[test]
fn connects_double_with_each_round_of_successes() {
    let mut play = Play::new(settings("app", |db| db.size = 20));
    play.enter("app", "alice");
    for client in 0..32 {
        play.checkout(&format!("c{client}"));
    }
    let mut opened = 0;
    for (round, open) in [(1, 4), (2, 12), (3, 20)] {
        assert_eq!(play.opening(), open - opened, "connects in flight in round {round}");
        while opened < open {
            play.at(300 * round).opened(opened);
            opened += 1;
        }
    }
    assert_eq!(play.opening(), 0, "twenty are open after three connect times");
}

#[test]
fn a_stuck_connect_keeps_only_its_own_place() {
    let mut play = Play::new(settings("app", |db| db.size = 8));
    play.enter("app", "alice");
    for client in 0..8 {
        play.checkout(&format!("c{client}"));
    }
    for conn in 0..3 {
        play.at(10).opened(conn);
    }
    assert_eq!(play.opening(), 4, "three successes let three others begin beside the one that is stuck");
    play.opened(4);
    play.forget();
    play.at(7600);
    assert_eq!(
        play.host.snapshot(play.now()).connects.0,
        0,
        "after half of connect_timeout nothing occupies the pacing"
    );
}

#[test]
fn a_freed_connection_prefers_its_own_loop_within_bounds() {
    let mut rules = settings("app", |db| db.size = 1);
    rules.affinity_skips = 2;
    let mut play = warm(rules, 1);
    play.on(0).checkout("holder");
    play.on(1).checkout("old");
    for name in ["n1", "n2", "n3"] {
        play.on(0).checkout(name);
    }
    play.on(0).at(1).checkin(0);
    play.at(2).checkin(0);
    play.at(3).checkin(0);
    play.expect("affinity");
}

#[test]
fn nobody_past_half_of_its_deadline_is_skipped() {
    let mut play = warm(settings("app", |db| db.size = 1), 1);
    play.on(0).checkout("holder");
    play.on(1).checkout("old");
    play.on(0).checkout("near");
    play.at(1001).on(0).checkin(0);
    play.expect("half");
    // The same where the client's own deadline is the nearer one, and the pressed one is not the oldest.
    let mut play = warm(settings("app", |db| db.size = 1), 1);
    play.on(0).checkout("holder");
    play.on(1).checkout("old");
    play.on(2).deadline(100).checkout("pressed");
    play.on(0).checkout("near");
    play.at(51).on(0).checkin(0);
    play.expect("pressed");
}

#[test]
fn equal_flavor_is_preferred_among_idle_connections() {
    let mut play = warm(settings("app", |db| db.size = 3), 3);
    for conn in 0..3 {
        play.checkout(&format!("x{conn}"));
    }
    play.flavor(7).checkin(0);
    play.flavor(8).checkin(1);
    play.flavor(9).checkin(2);
    play.forget();
    play.flavor(7).checkout("seven");
    play.flavor(1).checkout("none");
    play.expect("flavor");
}

#[test]
fn a_refusal_names_the_limit_that_bound() {
    let mut rules = settings("app", |db| db.size = 20);
    rules.users.insert("alice".into(), UserSettings { max_connections: Some(1), ..UserSettings::default() });
    let mut play = warm(rules, 1);
    play.checkout("a");
    play.checkout("b");
    play.at(2100);
    play.checkin(0);
    play.expect("user");
    let snapshot = play.host.snapshot(play.now());
    let pool = &snapshot.pools[0];
    assert_eq!(pool.refused[Limit::User.index()], 1, "refusals are counted by what bound");
    assert_eq!(pool.wait_nanos[Limit::User.index()], 2_000_000_000, "a failed wait counts as much as any");
    assert_eq!(pool.wait_failed.iter().sum::<u64>(), 1);
}

#[test]
fn raising_one_limit_tells_the_next() {
    let rules = |size, budget| HostSettings { max_connections: Some(budget), ..settings("app", |db| db.size = size) };
    let mut play = warm(rules(1, 2), 1);
    for name in ["a", "b", "c"] {
        play.checkout(name);
    }
    play.apply(rules(50, 2));
    play.opened(1);
    play.apply(rules(50, 50));
    play.expect("raised");
}

#[test]
fn the_queue_is_bounded() {
    let mut play = warm(
        settings("app", |db| {
            db.size = 1;
            db.max_queue = 1;
        }),
        1,
    );
    play.checkout("a");
    play.checkout("b");
    play.checkout("c");
    play.expect("queue");
}

#[test]
fn the_reserve_opens_once_the_oldest_has_waited_for_it() {
    let mut play = warm(
        settings("app", |db| {
            db.size = 1;
            db.reserve = 1;
            db.reserve_after = Duration::from_millis(500);
        }),
        1,
    );
    play.checkout("a");
    play.checkout("b");
    play.at(600).opened(1);
    play.expect("reserve");
}

#[test]
fn a_cancelled_ticket_gives_its_place_back() {
    let mut play = warm(settings("app", |db| db.size = 1), 1);
    play.checkout("a");
    play.checkout("b");
    play.checkout("c");
    assert_eq!(play.cancel("b"), Handled::Cancelled);
    assert_eq!(play.cancel("b"), Handled::Stale, "a ticket is cancelled once");
    assert!(matches!(play.cancel("a"), Handled::AlreadyGranted(_)), "the grant is the caller's to check in");
    assert!(matches!(play.cancel("a"), Handled::AlreadyGranted(_)), "as long as the lease lasts");
    play.checkin(0);
    assert_eq!(play.cancel("a"), Handled::Stale, "the lease has ended");
    play.checkin(0);
    play.expect("cancel");
}

#[test]
fn waits_are_not_measured_while_the_pool_is_paused() {
    let mut play = warm(settings("app", |db| db.size = 1), 1);
    play.checkout("a");
    play.checkout("b");
    play.at(1500).admin(Verb::Pause, Some("app"));
    play.at(1600).checkin(0);
    play.at(30_000).admin(Verb::Resume, None);
    play.checkout("c");
    play.at(30_600);
    play.expect("pause");
    play.at(30_700).admin(Verb::Pause, None);
    play.checkout("d");
    play.at(95_000);
    play.expect("pause_wait");
}

#[test]
fn an_outage_backs_off_and_waiters_are_served_after_it() {
    let mut play = Play::new(settings("app", |db| db.size = 1));
    play.enter("app", "alice");
    play.checkout("a");
    play.at(1).failed(0, Failure::Down);
    play.at(900).failed(1, Failure::Down);
    play.at(5000).opened(2);
    play.at(5001).checkin(2);
    play.expect("outage");
    // Longer than anybody waits for an outage to end.
    let mut play = Play::new(settings("app", |db| db.size = 1));
    play.enter("app", "alice");
    play.checkout("a");
    play.at(1).failed(0, Failure::Down);
    play.at(16_000);
    play.expect("down_wait");
}

#[test]
fn capacity_is_a_fact_and_not_an_outage() {
    let mut play = warm(settings("app", |db| db.size = 5), 2);
    for name in ["a", "b", "c"] {
        play.checkout(name);
    }
    play.at(1).failed(2, Failure::Capacity(Limit::PgRole));
    play.at(3000);
    play.checkout("d");
    play.at(9000).checkout("e");
    play.at(10_100).opened(3);
    play.expect("capacity");
}

#[test]
fn a_configured_password_that_fails_is_final_until_settings_change() {
    let rules = || settings("app", |db| db.size = 2);
    let mut play = Play::new(rules());
    play.enter("app", "alice");
    play.checkout("a");
    play.failed(0, Failure::Password { configured: true });
    play.checkout("b");
    play.apply(rules());
    play.checkout("c");
    play.failed(1, Failure::Password { configured: false });
    play.checkout("d");
    play.expect("password");
}

#[test]
fn a_wrong_password_shuts_nobody_out_as_long_as_a_connection_serves() {
    let mut play = warm(settings("app", |db| db.size = 2), 1);
    play.checkout("a");
    play.checkout("b");
    play.failed(1, Failure::Password { configured: true });
    play.checkout("c");
    play.checkin(0);
    play.checkin(0);
    play.checkout("d");
    play.checkout("e");
    play.checkin_as(0, Fitness::Broken);
    play.expect("last");
}

#[test]
fn a_database_that_cannot_be_had_fails_its_waiters_at_once() {
    let mut play = Play::new(settings("app", |db| db.size = 2));
    play.enter("app", "alice");
    play.checkout("a");
    play.checkout("b");
    play.failed(0, Failure::Database);
    play.opened(1);
    play.expect("database");
}

fn shares_three_places(guard: Guard) -> HostSettings {
    let rules = settings("app", |db| {
        db.size = 3;
        db.max_wait = Duration::from_secs(10);
    });
    HostSettings { max_connections: Some(3), guard, ..rules }
}

#[test]
fn an_idle_connection_of_another_pool_is_evicted_under_a_shared_limit() {
    let mut play = warm(shares_three_places(Guard::Observe), 3);
    play.at(1000).enter("app", "bob");
    play.checkout("b1");
    play.checkout("b2");
    play.at(5500).closed(0, EndCause::Eof);
    play.opened(3);
    play.expect("evict");
    assert_eq!(play.host.snapshot(play.now()).evicted, 2);
}

#[test]
fn an_idle_connection_that_its_pool_does_not_need_is_evicted_for_one_that_waits_at_once() {
    let mut play = warm(shares_three_places(Guard::Enforce), 3);
    play.at(1000).enter("app", "bob");
    play.checkout("b1");
    play.checkout("b2");
    play.at(1005).closed(0, EndCause::Eof);
    play.at(1010).opened(3);
    play.expect("spare");
    assert_eq!(play.host.snapshot(play.now()).evicted, 2);
}

#[test]
fn a_freed_place_goes_to_the_pool_that_waited_longest() {
    let mut rules = settings("app", |db| db.size = 3);
    rules.max_connections = Some(1);
    let mut play = warm(rules, 1);
    play.checkout("holder");
    play.enter("app", "bob");
    play.at(1).enter("app", "carol");
    play.pool(2).at(2).checkout("carol");
    play.pool(1).at(3).checkout("bob");
    play.at(4).checkin_as(0, Fitness::Broken);
    play.at(5).closed(0, EndCause::Eof);
    play.expect("place");
}

#[test]
fn a_connection_is_counted_until_it_is_really_gone() {
    let mut rules = settings("app", |db| db.size = 1);
    rules.ghost_timeout = Duration::from_secs(60);
    let mut play = warm(rules, 1);
    play.deadline(1_000_000).checkout("a");
    play.checkin_as(0, Fitness::Broken);
    play.enter("app", "alice");
    play.deadline(1_000_000);
    let mut patient = settings("app", |db| {
        db.size = 1;
        db.max_wait = world::LONG;
    });
    patient.ghost_timeout = Duration::from_secs(60);
    play.apply(patient);
    play.checkout("b");
    play.at(10_000);
    play.facts(&[1000]);
    play.at(15_000).facts(&[]);
    play.expect("ghost");
}

#[test]
fn an_unknown_process_is_counted_until_the_timeout() {
    let mut play = warm(settings("app", |db| db.size = 1), 0);
    play.checkout("a");
    play.opened_without_pid(0);
    play.checkin_as(0, Fitness::Broken);
    play.at(20_000).facts(&[]);
    play.facts(&[]);
    play.at(75_000);
    play.expect("unknown");
}

#[test]
fn a_reset_socket_leaves_a_ghost_and_an_end_of_file_none() {
    let mut play = warm(settings("app", |db| db.size = 2), 2);
    play.checkout("a");
    play.closed(1, EndCause::Failed);
    assert_eq!(play.checkin(1), Handled::Stale, "the lease ended with the connection");
    play.closed(0, EndCause::Eof);
    play.expect("reset");
}

#[test]
fn a_restarted_server_has_no_ghosts_of_the_old_one() {
    let mut play = warm(settings("app", |db| db.size = 1), 1);
    play.facts(&[1000]);
    play.closed(0, EndCause::Failed);
    let facts = ServerFacts { start_time: 2, pids: vec![1000], ..ServerFacts::default() };
    play.say("facts of a new server", Input::Facts(facts));
    play.expect("restart");
}

#[test]
fn a_fenced_connection_is_not_lent() {
    let mut play = warm(settings("app", |db| db.size = 1), 1);
    play.checkout("a");
    play.fence(0);
    play.fence(0);
    play.checkin(0);
    play.checkout("b");
    play.at(10).unfence(0);
    play.at(20).unfence(0);
    play.expect("fence");
}

#[test]
fn a_session_is_reset_before_another_client_gets_it() {
    let mut play = warm(settings("app", |db| db.size = 1), 1);
    play.checkout("a");
    play.checkin_as(0, Fitness::NeedsReset);
    play.checkout("b");
    play.at(5).reset_done(0);
    play.checkin_as(0, Fitness::NeedsReset);
    play.checkin_as(0, Fitness::Broken);
    play.expect("session");
}

#[test]
fn idle_and_old_connections_go_and_the_minimum_is_kept() {
    let mut play = warm(
        settings("app", |db| {
            db.size = 3;
            db.min_size = 1;
            db.idle_timeout = Duration::from_secs(10);
            db.lifetime = Duration::from_secs(60);
        }),
        3,
    );
    play.at(10_100).closed(0, EndCause::Eof);
    play.closed(1, EndCause::Eof);
    play.at(15_000);
    play.expect("idle");
    play.at(70_000);
    play.expect("lifetime");
}

#[test]
fn a_removed_database_is_drained_and_retired() {
    let mut play = warm(settings("app", |db| db.size = 2), 2);
    play.checkout("a");
    play.checkout("b");
    play.checkout("c");
    play.checkin(0);
    play.leave();
    play.apply(settings("other", |_| {}));
    play.checkin(1);
    play.checkin(0);
    play.closed(0, EndCause::Eof);
    play.closed(1, EndCause::Eof);
    play.checkout("d");
    play.expect("removed");
}

#[test]
fn shrinking_closes_idle_now_and_lent_at_checkin() {
    let mut play = warm(settings("app", |db| db.size = 4), 4);
    play.checkout("a");
    play.checkout("b");
    play.apply(settings("app", |db| db.size = 1));
    play.checkin(2);
    play.checkin(3);
    play.expect("shrink");
}

#[test]
fn kill_closes_lent_connections_and_pauses() {
    let mut play = warm(settings("app", |db| db.size = 2), 2);
    play.checkout("a");
    play.admin(Verb::Kill, Some("app"));
    assert_eq!(play.checkin(1), Handled::Stale);
    play.checkout("b");
    play.closed(0, EndCause::Eof);
    play.admin(Verb::Resume, Some("app"));
    play.expect("kill");
}

#[test]
fn reconnect_replaces_every_connection_when_it_is_free() {
    let mut play = warm(settings("app", |db| db.size = 2), 2);
    play.checkout("a");
    play.admin(Verb::Reconnect, None);
    play.checkout("b");
    play.checkin(1);
    play.expect("reconnect");
}

#[test]
fn another_password_replaces_every_connection_of_its_user_when_it_is_free() {
    let mut play = warm(settings("app", |db| db.size = 2), 2);
    play.checkout("a");
    assert_eq!(play.say("renew nobody", Input::Renew("nobody".into())), Handled::Stale);
    assert_eq!(play.say("renew alice", Input::Renew("alice".into())), Handled::Done);
    play.checkout("b");
    play.checkin(1);
    play.expect("renew");
}

#[test]
fn a_login_that_was_under_way_with_the_old_password_says_nothing_of_the_new_one() {
    let mut play = Play::new(settings("app", |db| db.size = 2));
    play.enter("app", "alice");
    play.checkout("a");
    assert_eq!(play.say("renew alice", Input::Renew("alice".into())), Handled::Done);
    play.failed(0, Failure::Password { configured: true });
    play.opened(1);
    play.expect("outdated");
}

#[test]
fn a_drain_finishes_what_is_lent() {
    let mut play = warm(settings("app", |db| db.size = 2), 2);
    play.checkout("a");
    play.admin(Verb::Drain, None);
    play.checkout("b");
    play.enter("app", "bob");
    assert!(!play.host.drained());
    play.checkin(1);
    play.closed(0, EndCause::Eof);
    assert!(!play.host.drained(), "an ending connection is waited for");
    play.closed(1, EndCause::Eof);
    assert!(play.host.drained());
    play.expect("drain");
}

#[test]
fn a_word_to_a_database_holds_for_pools_made_later() {
    let mut play = Play::new(settings("app", |_| {}));
    play.admin(Verb::Pause, Some("app"));
    play.enter("app", "alice");
    play.checkout("a");
    play.admin(Verb::Disable, Some("app"));
    play.enter("app", "bob");
    play.admin(Verb::Enable, None);
    play.enter("app", "bob");
    assert_eq!(play.admin(Verb::Pause, Some("nowhere")), Handled::Stale);
    play.expect("words");
}

#[test]
fn pools_of_any_database_are_bounded_and_retired() {
    let mut rules = settings("app", |_| {});
    rules.any = Some(rules.databases["app"].clone());
    rules.max_any_pools = 1;
    rules.any_idle = Duration::from_secs(10);
    let mut play = Play::new(rules);
    play.enter("one", "alice");
    play.enter("two", "alice");
    play.leave();
    play.at(1000).enter("two", "alice");
    play.leave();
    play.at(12_000);
    play.enter("nowhere", "alice");
    play.expect("any");
}

#[test]
fn a_pool_of_any_database_is_kept_from_the_end_of_its_last_connect() {
    let mut rules = settings("app", |_| {});
    rules.any = settings("one", |db| db.min_size = 1).databases.remove("one");
    rules.any_idle = Duration::from_secs(10);
    let mut play = Play::new(rules);
    play.enter("one", "alice");
    play.leave();
    play.failed(0, Failure::Database);
    play.admin(Verb::Disable, Some("one"));
    // A connect under way is a connection: what it was kept before counts no more, though nothing comes of it.
    play.at(8000).admin(Verb::Enable, Some("one"));
    play.at(9000).failed(1, Failure::Database);
    play.admin(Verb::Disable, Some("one"));
    play.at(20_000);
    play.expect("any_kept");
}

#[test]
fn the_auto_budget_follows_the_facts() {
    let mut rules = settings("app", |db| db.size = 100);
    rules.max_connections = None;
    rules.instances = 2;
    let mut play = Play::new(rules);
    assert_eq!(play.host.snapshot(play.now()).budget, 50, "unknown_budget while there are no facts");
    let facts = ServerFacts { max_connections: 100, reserved: 3, others: 10, ..ServerFacts::default() };
    play.say("facts", Input::Facts(facts));
    assert_eq!(play.host.snapshot(play.now()).budget, 42, "(100 - 3 - 10 - 2) / 2");
}

#[test]
fn one_call_makes_a_bounded_number_of_transitions() {
    let mut play = warm(settings("app", |db| db.size = 1), 1);
    play.checkout("holder");
    for client in 0..1000 {
        play.checkout(&format!("c{client}"));
    }
    play.forget();
    play.admin(Verb::Drain, None);
    let refused = play.host.snapshot(play.now()).pools[0].refused.iter().sum::<u64>();
    assert!((200..=256).contains(&refused), "{refused} refusals in one call");
    let (due, wake) = play.host.poll_timeout().expect("work was left over");
    assert_eq!((due, wake), (play.now(), poolwarden_pool::Wake::Upkeep));
    play.at(1);
    assert_eq!(play.host.snapshot(play.now()).pools[0].waiting, 0, "the rest is done by timeouts at once");
    // The same for deadlines that come all together.
    let mut play = warm(settings("app", |db| db.size = 1), 1);
    play.checkout("holder");
    for client in 0..1000 {
        play.checkout(&format!("c{client}"));
    }
    play.host.handle(Time::from_nanos(3_000_000_000), Input::Timeout);
    let left = play.host.snapshot(Time::from_nanos(3_000_000_000)).pools[0].waiting;
    assert!((744..=800).contains(&left), "{left} still wait");
    assert_eq!(play.host.poll_timeout().map(|(due, _)| due <= Time::from_nanos(3_000_000_000)), Some(true));
}

#[test]
fn time_never_goes_back() {
    let mut play = warm(settings("app", |db| db.size = 1), 1);
    play.at(100).checkout("a");
    let name = play.pool_id();
    play.host.handle(Time::from_nanos(5), Input::Leave(name));
    play.host.check_invariants();
    let pool = &play.host.snapshot(Time::ZERO).pools[0];
    assert_eq!(pool.lent_nanos, 0, "an earlier moment is taken for the last one");
    assert_eq!(play.host.log().expect("it records").entries().last().expect("an input").0, play.now());
}

#[test]
fn a_full_log_ends_with_a_mark() {
    let mut play = Play::new(settings("app", |_| {}));
    play.host.record(2);
    for _ in 0..3 {
        play.enter("app", "alice");
    }
    let log = play.host.log().expect("it records");
    assert_eq!((log.entries().len(), log.full()), (2, true));
}

#[test]
fn who_is_alone_gets_a_connection_that_nobody_else_gets_and_that_counts_for_all() {
    let mut all = settings("app", |db| db.max_connections = Some(3));
    all.users.insert("alice".into(), UserSettings { max_connections: Some(2), ..UserSettings::default() });
    let mut play = Play::new(all);
    play.enter("app", "alice");
    open(&mut play, 0, 1);
    play.forget();
    play.at(100).enter_alone("app", "alice");
    play.checkout("standby");
    play.opened(1);
    play.at(200).enter_alone("app", "alice"); // a pool of its own again, and the user has two already
    play.checkout("second");
    play.at(300).pool(1).checkin(1); // clean, and closed all the same
    play.leave();
    play.at(310).closed(1, EndCause::Eof);
    play.at(320).opened(2);
    play.at(330).enter_alone("app", "alice"); // the pool that was left is used again
    play.expect("alone");
}
