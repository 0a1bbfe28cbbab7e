//! What is told of requests that ended: once each, with the time they waited and held, and what stopped them.

#[allow(dead_code, reason = "the stage is that of the scenarios, which use more of it")]
mod world;

use std::time::Duration;

use poolwarden_pool::{
    Checkin, CheckoutOutcome, CheckoutRecord, EndCause, Fitness, Input, LeaseEnd, Limit, LoopId, Phases, Reason, Time,
    Verb,
};
use world::{LONG, Play, settings};

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A pool of one connection, which is opened within 30 ms; everything is recorded from the start.
fn play() -> Play {
    let mut play = Play::new(settings("app", |db| {
        (db.size, db.max_wait) = (1, LONG);
    }));
    play.host.keep_records(100);
    play.enter("app", "alice");
    play
}

fn taken(play: &mut Play) -> Vec<CheckoutRecord> {
    let mut taken = Vec::new();
    assert_eq!(play.host.take_records(&mut taken), 0);
    taken
}

#[track_caller]
fn lease(record: &CheckoutRecord) -> poolwarden_pool::LeaseRecord {
    match record.outcome {
        CheckoutOutcome::Lent(lease) => lease,
        CheckoutOutcome::Refused { .. } | CheckoutOutcome::Abandoned => panic!("{record:?}"),
    }
}

#[test]
fn a_lease_tells_its_wait_its_hold_and_its_connect_and_the_next_one_no_connect() {
    let mut play = play();
    play.at(100).checkout("a");
    play.at(130).opened(0);
    assert_eq!(taken(&mut play), [], "it has not ended");
    play.at(140).checkout("b");
    let phases = Phases { on_server: ms(3), idle_in_transaction: ms(7) };
    let checkin = Checkin { fitness: Fitness::Clean, flavor: 0, home: LoopId(0), phases };
    let conn = play.conn_id(0);
    play.at(150).say("checkin", Input::Checkin(conn, checkin));
    play.at(155).checkin_as(0, Fitness::Broken);
    let told = taken(&mut play);
    let [first, second] = told[..] else { panic!("{told:?}") };
    assert_eq!((first.arrived, first.waited()), (Time::ZERO + ms(100), ms(30)));
    let one = lease(&first);
    assert_eq!((first.held(), one.idle_in_transaction, one.end), (ms(20), ms(7), LeaseEnd::Served));
    assert_eq!(one.connect, Some(ms(30)));
    assert_eq!((second.arrived, second.waited()), (Time::ZERO + ms(140), ms(10)));
    let two = lease(&second);
    assert_eq!((second.held(), two.end, two.connect, two.conn), (ms(5), LeaseEnd::Broken, None, one.conn));
}

#[test]
fn who_was_refused_gave_up_or_lost_its_connection_is_told_and_who_withdrew_is_not() {
    let mut play = Play::new(settings("app", |db| {
        (db.size, db.max_wait, db.max_queue) = (1, ms(50), 3);
    }));
    play.host.keep_records(100);
    play.enter("app", "alice");
    play.at(100).checkout("holder");
    play.at(110).opened(0);
    for name in ["refused later", "gives up", "withdrawn"] {
        play.checkout(name);
    }
    play.at(120).checkout("refused at once");
    play.at(130).cancel("gives up");
    let withdrawn = play.ticket("withdrawn");
    play.say("withdraw", Input::Withdraw(withdrawn));
    play.at(200).closed(0, EndCause::Eof);
    let told = taken(&mut play);
    let [at_once, left, later, lost] = told[..] else { panic!("{told:?}") };
    let (limit, binding) = (Limit::QueueLength, Limit::PoolSize);
    let refused = CheckoutOutcome::Refused { at_once: true, reason: Reason::Queue, limit, binding };
    assert_eq!((at_once.outcome, at_once.waited()), (refused, Duration::ZERO));
    assert_eq!((left.outcome, left.waited()), (CheckoutOutcome::Abandoned, ms(20)));
    let (limit, binding) = (Limit::WaitTime, Limit::PoolSize);
    let refused = CheckoutOutcome::Refused { at_once: false, reason: Reason::Time, limit, binding };
    assert_eq!((later.outcome, later.waited()), (refused, ms(50)));
    assert_eq!((lease(&lost).end, lost.held()), (LeaseEnd::Lost, ms(90)));
}

#[test]
fn who_is_killed_while_it_holds_a_connection_is_told_once() {
    let mut play = play();
    play.checkout("a");
    play.at(10).opened(0);
    play.at(25).admin(Verb::Kill, None);
    play.at(30).checkin(0); // too late
    play.at(40).closed(0, EndCause::Eof);
    let told = taken(&mut play);
    let [killed] = told[..] else { panic!("{told:?}") };
    assert_eq!((lease(&killed).end, killed.held()), (LeaseEnd::Broken, ms(15)));
}

#[test]
fn without_room_they_are_counted_and_nothing_is_kept_unless_asked_for() {
    let mut play = Play::new(settings("app", |db| db.disabled = false));
    play.enter("app", "alice");
    let mut taken = Vec::new();
    let serve = |play: &mut Play, times: u64| {
        for _ in 0..times {
            play.checkout("a");
            if play.opening() > 0 {
                play.opened(0);
            }
            play.checkin(0);
        }
    };
    serve(&mut play, 3);
    assert_eq!((play.host.take_records(&mut taken), taken.len()), (0, 0), "nobody asked");
    play.host.keep_records(2);
    serve(&mut play, 5);
    assert_eq!(play.host.rehearse(play.now(), play.host.settings().clone()).pools.len(), 1);
    assert_eq!((play.host.take_records(&mut taken), taken.len()), (3, 2));
    assert_eq!(lease(&taken[0]).connect, None, "its connect was that of an earlier lease");
    assert_eq!((play.host.take_records(&mut taken), taken.len()), (0, 0));
    serve(&mut play, 1);
    play.host.keep_records(0);
    serve(&mut play, 1);
    assert_eq!((play.host.take_records(&mut taken), taken.len()), (0, 0), "nobody asks any more");
}
