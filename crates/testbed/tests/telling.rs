//! What holders are said to do, by clients that know it: whose a connection is, its newest statement without values, its route.

use std::time::Duration;

use poolwarden_testbed::{Bed, Plan, Say, Target, Wire, bed, place, until};

const PATIENCE: Duration = Duration::from_secs(20);

fn named(bed: &Bed, application: &str) -> Wire {
    Wire::connect_with(&bed.address(), &bed::login(), &[("application_name", application)])
        .unwrap_or_else(|e| panic!("{application}: {e}"))
}

/// Application, state, route and statement of every holder, by application.
fn holders(bed: &Bed) -> Vec<[String; 4]> {
    let rows = bed.show("HOLDERS");
    let columns = ["application_name", "state", "route", "query"];
    let mut rows: Vec<_> = rows.iter().map(|row| columns.map(|column| row[column].clone())).collect();
    rows.sort();
    rows
}

fn are(bed: &Bed, expected: &[[&str; 4]]) {
    until("the holders", PATIENCE, || {
        let held = holders(bed);
        (held == expected).then_some(()).ok_or(held).map_err(|held| eprintln!("{held:?}")).ok()
    });
}

#[test]
fn holders_are_told_with_their_newest_statement_and_its_route_and_no_values() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 3, ..Plan::default() });
    let (mut shop, mut reports) = (named(&bed, "shop"), named(&bed, "reports"));
    shop.query("BEGIN /*route='%2Fcart',action='add'*/").expect("begun");
    reports.query("begin").expect("begun");
    are(&bed, &[["reports", "idle_in_transaction", "", "begin"], ["shop", "idle_in_transaction", "/cart", "begin"]]);
    shop.query("SELECT 'secret', 1 WHERE 2 IN (1, 2, 3) /* a comment */").expect("told");
    reports.send(&Say::new().query("select pg_sleep(600)").bytes).expect("sent");
    are(
        &bed,
        &[
            ["reports", "active", "", "select pg_sleep(?)"],
            ["shop", "idle_in_transaction", "", "select ?, ? where ? in (?)"],
        ],
    );
    let named = Say::new().parse("a", "select $1::text as \"Name\"").sync();
    shop.told(&named, 1);
    shop.query("select 2").expect("told");
    shop.told(&Say::new().run("a", &["secret"]).sync(), 1);
    are(
        &bed,
        &[
            ["reports", "active", "", "select pg_sleep(?)"],
            ["shop", "idle_in_transaction", "", "select ?::text as \"Name\""],
        ],
    );
    shop.query("commit").expect("committed");
    are(&bed, &[["reports", "active", "", "select pg_sleep(?)"]]);
}

#[test]
fn in_session_mode_a_prepared_statement_is_known_by_its_name() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { mode: bed::Mode::Session, ..Plan::default() });
    let mut shop = named(&bed, "shop");
    shop.told(&Say::new().parse("a", "SELECT 7 /*route='/cart'*/").sync(), 1);
    are(&bed, &[["shop", "idle", "/cart", "select ?"]]);
    shop.query("select now()").expect("told");
    are(&bed, &[["shop", "idle", "", "select now()"]]);
    shop.told(&Say::new().run("a", &[]).sync(), 1);
    are(&bed, &[["shop", "idle", "/cart", "select ?"]]);
}
