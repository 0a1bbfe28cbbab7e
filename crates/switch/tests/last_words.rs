//! What is said last: to a client that must go, and to the server connection it leaves behind.

#![allow(clippy::unwrap_used)] // a test may end where its premise fails

mod scene;

use poolwarden_switch::pool::Mode;
use poolwarden_switch::relay::Keep;
use poolwarden_switch::relay::pgwire::{frame, make, read};
use poolwarden_switch::{PoolTerms, Rules, TermsBook};
use scene::{FIRST, SECOND, SERVER, Scene, query};

/// The first client asks, does not read its reply, which is `reply`, and the second waits, until the first one's time is up.
fn stall(scene: &mut Scene, reply: &[u8]) {
    scene.receive(FIRST, &query("select 1"));
    scene.world.deaf.insert(FIRST);
    scene.receive(SERVER, reply);
    scene.receive(SECOND, &query("select 2"));
    let until = scene.now + Rules::default().stall;
    while scene.now < until {
        scene.now = scene.switch.poll_timeout().unwrap();
        scene.switch.timeout(scene.now, &mut scene.world);
    }
    assert!(scene.world.closed.contains(&FIRST), "it still holds what the second waits for");
}

fn row() -> Vec<u8> {
    let mut bytes = Vec::new();
    make::data_row(&mut bytes, &[Some(b"12345")]);
    bytes
}

#[test]
fn nothing_is_said_behind_half_a_request_of_a_client_that_broke_the_rules() {
    let mut scene = Scene::new(Keep::Statement, Mode::Statement);
    let mut both = query("begin");
    let half = b"E\0\0\0\x09\0\0\0\0\0"; // an Execute, which needs no reading; a query is held until it was read
    both.extend_from_slice(&half[..half.len() - 2]);
    scene.receive(FIRST, &both);
    let mut reply = Vec::new();
    make::command_complete(&mut reply, "BEGIN");
    make::ready(&mut reply, b'T');
    scene.receive(SERVER, &reply);
    assert!(scene.world.closed.contains(&FIRST), "statement mode knows no transactions");
    assert_eq!(scene.said(SERVER, &both), b"", "it would be taken for the rest of the request");
    assert!(scene.world.finished.contains(&SERVER), "the end of the stream is the end of the request");
}

#[test]
fn a_server_connection_that_waits_for_nothing_is_told_to_end() {
    let mut scene = Scene::new(Keep::Statement, Mode::Statement);
    let begin = query("begin");
    scene.receive(FIRST, &begin);
    let mut reply = Vec::new();
    make::command_complete(&mut reply, "BEGIN");
    make::ready(&mut reply, b'T');
    scene.receive(SERVER, &reply);
    let mut terminate = Vec::new();
    make::terminate(&mut terminate);
    assert_eq!(scene.said(SERVER, &begin), terminate);
}

#[test]
fn a_client_that_does_not_read_while_others_wait_is_told_why_it_goes() {
    let mut scene = Scene::new(Keep::Transaction, Mode::Transaction);
    stall(&mut scene, &row());
    let word = scene.said(FIRST, &row());
    let header = frame::header(word).unwrap().unwrap();
    let fields = read::report(&word[frame::HEADER..]);
    assert_eq!((header.tag, header.total()), (b'E', word.len()));
    assert_eq!((&*fields.severity, &*fields.sqlstate), ("FATAL", "57P01"));
    assert!(fields.message.contains("not being read"), "{}", fields.message);
}

#[test]
fn a_client_that_stopped_reading_in_the_middle_of_a_row_is_told_nothing_in_it() {
    let mut scene = Scene::new(Keep::Transaction, Mode::Transaction);
    let row = row();
    let half = &row[..row.len() - 2];
    stall(&mut scene, half);
    assert_eq!(scene.said(FIRST, half), b"");
}

#[test]
fn what_a_session_left_is_reset_under_the_terms_it_had() {
    let mut scene = Scene::new(Keep::Session, Mode::Session);
    let shared = PoolTerms { keep: Keep::Transaction, reset_query: String::new(), ..PoolTerms::default() };
    scene.shared.retune(TermsBook { any: shared, ..TermsBook::default() });
    scene.receive(FIRST, b"X\0\0\0\x04");
    assert!(scene.world.closed.contains(&FIRST));
    assert_eq!(
        scene.said(SERVER, b""),
        query("DISCARD ALL"),
        "those who share the connection from now on find nothing of it"
    );
}

/// PostgreSQL 18 fails the statement after such a batch, be it another client's.
#[test]
fn a_connection_whose_batch_a_query_cut_short_is_not_lent_again() {
    let mut scene = Scene::new(Keep::Transaction, Mode::Transaction);
    let mut both = Vec::new();
    make::parse(&mut both, "", "select 1", &[]);
    both.extend_from_slice(b"B\0\0\0\x0c\0\0\0\0\0\0\0\0E\0\0\0\x09\0\0\0\0\0");
    both.extend_from_slice(&query("select 2"));
    scene.receive(FIRST, &both);
    let mut reply = b"1\0\0\0\x042\0\0\0\x04".to_vec();
    make::command_complete(&mut reply, "SELECT 1");
    make::command_complete(&mut reply, "SELECT 1");
    make::ready(&mut reply, b'I');
    scene.receive(SERVER, &reply);
    assert_eq!(scene.said(FIRST, b""), reply, "its own client is unharmed");
    let mut terminate = Vec::new();
    make::terminate(&mut terminate);
    assert_eq!(scene.said(SERVER, &both), terminate);
}
