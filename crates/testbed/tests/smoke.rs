//! The bed itself: both ends start, answer, and leave nothing behind.

use std::path::Path;

use poolwarden_testbed::wire::Address;
use poolwarden_testbed::{Bed, Plan, Pooler, Postgres, Settings, Target, Wire, bed};

#[test]
fn a_client_is_answered_through_the_target() {
    let bed = Bed::start(Plan::default());
    let mut client = bed.client();
    assert_eq!(client.query("select 6 * 7").expect("an answer").value(), "42");
    assert!(!bed.postgres.backends().is_empty());
}

#[test]
fn a_killed_server_comes_back_with_its_data() {
    let mut postgres = Postgres::start(Settings::default());
    postgres.sql("create table kept as select 1 as n");
    postgres.sql("checkpoint");
    postgres.kill9();
    postgres.restart();
    assert_eq!(postgres.sql("select n from kept").value(), "1");
    postgres.stop();
    postgres.restart();
    assert_eq!(postgres.sql("select n from kept").value(), "1");
}

#[test]
fn a_stopped_pooler_ends_well_and_leaves_no_socket_and_no_backend() {
    if Target::chosen() != Target::Poolwarden {
        eprintln!("only poolwarden is stopped here");
        return;
    }
    let postgres = Postgres::start(Settings::default());
    let mut pooler = Pooler::start(&Plan::default(), postgres.address());
    let socket = pooler.unix().expect("the plan asks for a unix socket").to_path_buf();
    let mut client =
        Wire::connect(&Address::Unix(socket.clone()), &bed::login()).expect("connect over the unix socket");
    assert_eq!(client.query("select 6 * 7").expect("an answer").value(), "42");
    assert!(!pooler.get("/healthz").is_empty());
    let ended = pooler.stop();
    assert!(ended.success(), "ended with {ended}:\n{}", pooler.log());
    assert!(!Path::new(&socket).exists(), "the unix socket is still there");
    assert_eq!(postgres.backends(), []);
    assert!(client.query("select 1").is_err());
}
