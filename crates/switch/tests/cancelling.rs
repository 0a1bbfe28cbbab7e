//! A cancel request that PostgreSQL gets before it has read the query is followed by another.

#![allow(clippy::unwrap_used)] // a test may end where its premise fails

mod scene;

use std::time::Duration;

use poolwarden_switch::pool::Mode;
use poolwarden_switch::relay::Keep;
use poolwarden_switch::relay::pgwire::make;
use poolwarden_switch::{Errand, Mail};
use scene::{FIRST, SERVER, Scene, query};

/// The client asks for a cancel, which is carried out at once; tells how many were sent.
fn cancel(scene: &mut Scene) -> usize {
    let (place, secret) = (0, scene.secret());
    scene.mail(Mail::Cancel { place, secret, asker: None });
    carry_out(scene)
}

fn carry_out(scene: &mut Scene) -> usize {
    let mut sent = 0;
    for errand in scene.shared.errands() {
        let Errand::Cancel { host, conn, .. } = errand else { continue };
        sent += 1;
        scene.mail(Mail::Cancelling(host, conn));
        scene.mail(Mail::Cancelled(host, conn, true));
    }
    sent
}

/// Time passes up to the next thing to do, within a second; tells how many cancel requests were sent.
fn wait(scene: &mut Scene) -> usize {
    let end = scene.now + Duration::from_secs(1);
    match scene.switch.poll_timeout().filter(|at| *at < end) {
        Some(at) => {
            scene.now = at;
            scene.switch.timeout(at, &mut scene.world);
            carry_out(scene)
        }
        None => 0,
    }
}

fn answered(scene: &mut Scene) {
    let mut reply = Vec::new();
    make::command_complete(&mut reply, "SELECT 1");
    make::ready(&mut reply, b'I');
    scene.receive(SERVER, &reply);
}

#[test]
fn a_query_that_had_just_gone_out_is_cancelled_again_while_it_runs() {
    let mut scene = Scene::new(Keep::Transaction, Mode::Transaction);
    scene.receive(FIRST, &query("select 1"));
    assert_eq!(cancel(&mut scene), 1);
    assert_eq!(wait(&mut scene), 1, "it may have come too early");
    assert_eq!(wait(&mut scene), 1);
    assert_eq!(wait(&mut scene), 0, "by then the query had been read: it does not want to be cancelled");
}

#[test]
fn what_ran_longer_is_cancelled_once() {
    let mut scene = Scene::new(Keep::Transaction, Mode::Transaction);
    scene.receive(FIRST, &query("select 1"));
    scene.now = scene.now + Duration::from_millis(150);
    assert_eq!(cancel(&mut scene), 1);
    assert_eq!(wait(&mut scene), 0);
}

#[test]
fn the_next_query_is_never_cancelled_for_the_one_before_it() {
    for mode in [Mode::Transaction, Mode::Session] {
        let keep = if mode == Mode::Session { Keep::Session } else { Keep::Transaction };
        let mut scene = Scene::new(keep, mode);
        scene.receive(FIRST, &query("select 1"));
        assert_eq!(cancel(&mut scene), 1);
        scene.now = scene.now + Duration::from_millis(1);
        answered(&mut scene);
        scene.now = scene.now + Duration::from_millis(1);
        scene.receive(FIRST, &query("select 2"));
        assert_eq!(wait(&mut scene), 0, "{mode:?}");
    }
}

#[test]
fn a_request_that_waits_for_its_settings_is_cancelled_as_soon_as_it_goes_out() {
    let mut scene = Scene::new(Keep::Transaction, Mode::Transaction);
    let set = |scene: &mut Scene, zone: &str| {
        let mut reply = Vec::new();
        make::command_complete(&mut reply, "SET");
        make::parameter_status(&mut reply, "TimeZone", zone);
        make::ready(&mut reply, b'I');
        scene.receive(SERVER, &reply);
    };
    // a client with a time zone of its own is welcomed, which leaves the connection with it
    scene.join_as(3, None, vec![("timezone".into(), "Asia/Tokyo".into())]);
    set(&mut scene, "Asia/Tokyo");
    scene.world.sent.clear();
    scene.receive(FIRST, &query("select 1"));
    let setup = scene.world.sent[&SERVER].clone();
    assert!(!setup.ends_with(&query("select 1")), "the settings go first");
    assert_eq!(cancel(&mut scene), 0, "nothing of the client's runs yet");
    set(&mut scene, "UTC");
    assert_eq!(scene.said(SERVER, &setup), query("select 1"));
    assert_eq!(carry_out(&mut scene), 1);
    answered(&mut scene);
    scene.receive(FIRST, &query("select 2"));
    assert_eq!(carry_out(&mut scene), 0, "the next one is another");
}
