//! The cancel race in small; `cargo xtask prove cancels` runs it in full and judges its times.

use poolwarden_testbed::race;
use poolwarden_testbed::{Bed, Mode, Plan, Target, place};

#[test]
fn clients_that_never_cancel_are_never_cancelled() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 4, ..Plan::default() });
    let raced = race::run(&bed, 400);
    eprintln!("{} of {} cancels met their query, {} queries of others", raced.hits, raced.cancels, raced.undisturbed);
    assert_eq!(raced.wrongly, 0, "clients that never cancelled were cancelled");
    assert!(raced.hits > 10 && raced.undisturbed > 100, "the race was not run: {raced:?}");
    bed.at_rest();
}

#[test]
fn in_session_mode_neither() {
    let _machine = place::machine(false);
    // As many connections as clients: each keeps its own.
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 10, mode: Mode::Session, ..Plan::default() });
    let raced = race::run(&bed, 200);
    assert_eq!(raced.wrongly, 0, "clients that never cancelled were cancelled");
    assert!(raced.hits > 5 && raced.undisturbed > 100, "the race was not run: {raced:?}");
}
