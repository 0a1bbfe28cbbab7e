//! The bed itself: both ends start, answer, and leave nothing behind.

use poolwarden_testbed::{Bed, Plan, Postgres, Settings};

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
