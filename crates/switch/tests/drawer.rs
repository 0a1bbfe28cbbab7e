//! An operator's word to one lease reaches that lease alone: cancelled, or ended with both its ends.

#![allow(clippy::unwrap_used)] // a test may end where its premise fails

mod scene;

use poolwarden_switch::pool::Mode;
use poolwarden_switch::relay::Keep;
use poolwarden_switch::relay::pgwire::{frame, make, read};
use poolwarden_switch::{Errand, Lease, Mail};
use scene::{FIRST, SECOND, SERVER, Scene, query};

/// The server connection's serial is 9, the clients' are 1 and 2.
const LEASE: Lease = Lease { server: 9, client: 1 };
const OTHERS: [Lease; 2] = [Lease { server: 9, client: 2 }, Lease { server: 8, client: 1 }];

fn scene() -> Scene {
    let mut scene = Scene::new(Keep::Transaction, Mode::Transaction);
    scene.receive(FIRST, &query("select 1"));
    scene
}

fn cancels(scene: &Scene) -> usize {
    scene.shared.errands().iter().filter(|errand| matches!(errand, Errand::Cancel { .. })).count()
}

fn answer(scene: &mut Scene, tag: &str, state: u8) {
    let mut reply = Vec::new();
    make::command_complete(&mut reply, tag);
    make::ready(&mut reply, state);
    scene.receive(SERVER, &reply);
}

#[test]
fn a_cancel_goes_to_what_the_named_lease_runs_and_to_nothing_else() {
    let mut scene = scene();
    OTHERS.into_iter().for_each(|lease| scene.mail(Mail::CancelLease(lease)));
    assert_eq!(cancels(&scene), 0, "somebody else's");
    scene.mail(Mail::CancelLease(LEASE));
    assert_eq!(cancels(&scene), 1);
    assert!(!scene.world.closed.contains(&FIRST), "its session goes on");
}

#[test]
fn between_two_statements_there_is_nothing_to_cancel() {
    let mut scene = Scene::new(Keep::Transaction, Mode::Transaction);
    scene.receive(FIRST, &query("begin"));
    answer(&mut scene, "BEGIN", b'T');
    scene.mail(Mail::CancelLease(LEASE));
    assert_eq!(cancels(&scene), 0);
}

#[test]
fn an_ended_lease_tells_its_client_cancels_what_runs_and_closes_the_connection() {
    let mut scene = scene();
    scene.receive(SECOND, &query("select 2"));
    OTHERS.into_iter().for_each(|lease| scene.mail(Mail::EndLease(lease)));
    assert!(scene.world.closed.is_empty() && cancels(&scene) == 0, "somebody else's");
    scene.mail(Mail::EndLease(LEASE));
    let word = scene.said(FIRST, b"");
    let header = frame::header(word).unwrap().unwrap();
    let fields = read::report(&word[frame::HEADER..]);
    assert_eq!(header.total(), word.len());
    assert_eq!((&*fields.severity, &*fields.sqlstate), ("FATAL", "57P01"));
    assert!(fields.message.contains("an operator ended it"), "{}", fields.message);
    assert!(scene.world.closed.contains(&FIRST) && !scene.world.closed.contains(&SECOND));
    assert_eq!(cancels(&scene), 1);
    let mut terminate = Vec::new();
    make::terminate(&mut terminate);
    assert!(scene.world.sent[&SERVER].ends_with(&terminate), "and it is not lent to the second client");
}

#[test]
fn a_lease_that_only_holds_a_transaction_open_is_ended_and_rolled_back_with_its_connection() {
    let mut scene = Scene::new(Keep::Transaction, Mode::Transaction);
    let begin = query("begin");
    scene.receive(FIRST, &begin);
    answer(&mut scene, "BEGIN", b'T');
    scene.mail(Mail::EndLease(LEASE));
    assert!(scene.world.closed.contains(&FIRST));
    let mut terminate = Vec::new();
    make::terminate(&mut terminate);
    assert_eq!(scene.said(SERVER, &begin), terminate);
    assert_eq!(cancels(&scene), 0);
}
