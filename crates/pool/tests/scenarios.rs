//! Scenarios as timelines: what the core is told on the left margin, what it does and says below it.
//!
//! Times are milliseconds. `advance` lets due timeouts ring at their own moments.

mod world;

use world::{Play, settings};

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
    play.expect(
        "
",
    );
}
