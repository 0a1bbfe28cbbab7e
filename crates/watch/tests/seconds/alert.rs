//! Whom it wakes, when, and with which words.

use poolwarden_watch::pool::Limit;
use poolwarden_watch::{Alert, CauseCode, Notice, Urgency};

use crate::world::World;

fn opened(world: &mut World) -> Option<(u64, Alert)> {
    world.told().into_iter().find_map(|(ago, notice)| match notice {
        Notice::Opened(alert) => Some((ago, alert)),
        Notice::Changed(_) | Notice::Resolved(_) => None,
    })
}

#[test]
fn waiting_clients_page_within_seconds_with_the_limit_and_the_next_step_and_once() {
    let mut world = World::new(20).limited(Limit::User, 3);
    world.run(60, 100.0, 0.02, 0);
    assert_eq!(world.told(), []);
    world.run(5, 400.0, 0.02, 40);
    let (ago, alert) = opened(&mut world).expect("a page");
    assert!(ago >= 2, "five seconds are enough: {ago} before the end of them");
    assert_eq!((alert.urgency, alert.cause), (Urgency::PageNow, Some(CauseCode::UserLimit)));
    assert!(
        alert.summary.contains("40 requests wait") && alert.summary.contains("users.web.max_connections"),
        "{alert:?}"
    );
    assert!(alert.next_step.contains("users.web.max_connections"), "{alert:?}");
    world.run(600, 400.0, 0.02, 40);
    assert!(world.told().is_empty(), "it is known");
    // two of three are wanted then: that is calm, and tight
    world.run(290, 100.0, 0.02, 0);
    assert!(world.told().is_empty(), "it has not been calm for long");
    world.run(20, 100.0, 0.02, 0);
    let told = world.told();
    let is_ticket = |of: &Alert| of.id == alert.id && of.urgency == Urgency::Ticket;
    assert!(matches!(&told[..], [(_, Notice::Changed(of))] if is_ticket(of)), "{told:?}");
    world.run(600, 20.0, 0.02, 0);
    let told = world.told();
    assert!(matches!(&told[..], [(_, Notice::Resolved(of))] if of.id == alert.id), "{told:?}");
}

#[test]
fn an_end_that_is_foreseen_pages_early_and_is_raised_when_it_comes() {
    let mut world = World::new(20);
    world.run(1_800, 200.0, 0.04, 0);
    assert!(world.told().is_empty());
    let mut rate = 200.0;
    while rate < 445.0 {
        rate += 0.1;
        world.run(1, rate, 0.04, 0);
    }
    let (ago, alert) = opened(&mut world).expect("a page");
    assert_eq!((alert.urgency, alert.cause), (Urgency::PageEarly, Some(CauseCode::DemandGrowth)));
    assert!(ago > 1_200, "twenty minutes before: {ago} s");
    assert!(
        alert.summary.contains("pool_size is used up in about") && alert.next_step.contains("pools.app.size"),
        "{alert:?}"
    );
    world.run(10, 600.0, 0.04, 30);
    let told = world.told();
    let raised = told.iter().any(
        |(_, notice)| matches!(notice, Notice::Changed(of) if of.id == alert.id && of.urgency == Urgency::PageNow),
    );
    assert!(raised, "{told:?}");
}

#[test]
fn little_room_is_a_ticket_after_five_minutes_and_part_of_a_change_is_none() {
    let mut world = World::new(20);
    world.run(290, 270.0, 0.04, 0);
    assert_eq!(world.told(), []);
    world.run(30, 270.0, 0.04, 0);
    let (_, alert) = opened(&mut world).expect("a ticket");
    assert_eq!((alert.urgency, alert.cause), (Urgency::Ticket, None));
    let mut world = World::new(40);
    world.run(60, 270.0, 0.04, 0);
    world.shrink(20, "pools.app.size");
    world.run(400, 270.0, 0.04, 0);
    assert_eq!(world.told(), [], "somebody knows: it was changed seven minutes ago");
    world.run(300, 270.0, 0.04, 0);
    assert_eq!(opened(&mut world).map(|(_, alert)| alert.urgency), Some(Urgency::Ticket));
}

#[test]
fn who_comes_and_goes_is_unstable_at_the_fourth_time() {
    let mut world = World::new(20);
    world.run(60, 100.0, 0.02, 0);
    let mut told = Vec::new();
    for _ in 0..5 {
        world.run(8, 900.0, 0.02, 30);
        world.run(900, 100.0, 0.02, 0);
        told.extend(world.told());
    }
    let opened = told.iter().filter_map(|(_, notice)| match notice {
        Notice::Opened(alert) => Some(alert.unstable),
        Notice::Changed(_) | Notice::Resolved(_) => None,
    });
    assert_eq!(opened.collect::<Vec<_>>(), [false, false, false, true], "the fifth time it is open still");
}

#[test]
fn a_lonely_request_wakes_nobody() {
    let mut world = World::new(20);
    world.run(60, 100.0, 0.02, 0);
    world.run(120, 0.2, 0.02, 1);
    assert_eq!(world.told(), []);
}
