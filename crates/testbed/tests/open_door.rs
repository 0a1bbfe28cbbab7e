//! The administrator's lane: the console answers while no client is let in any more, and while the login lane is full of others.

use std::time::Duration;

use poolwarden_testbed::wire::{Login, Notice, startup};
use poolwarden_testbed::{Bed, Fault, Plan, Target, Wire, bed, place, until};

const PATIENCE: Duration = Duration::from_secs(20);

/// More than the door aside has places.
const CROWD: usize = 100;

/// Clients that have said who they are, have been asked to prove it, and say no more.
fn talkers(bed: &Bed, database: &str, count: usize) -> Vec<Wire> {
    let login = Login { database: database.to_string(), ..bed::login() };
    let talk = |_| {
        let mut wire = Wire::dial(&bed.address()).expect("a connection");
        wire.patience(PATIENCE).expect("a socket");
        wire.send(&startup(&login)).expect("sent");
        let (tag, _) = wire.receive().expect("a challenge");
        assert_eq!(tag, b'R', "it is asked for its proof");
        wire
    };
    (0..count).map(talk).collect()
}

fn refusal(bed: &Bed) -> Notice {
    match bed.client_or_refusal() {
        Err(Fault::Server(notice)) => notice,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_console_answers_when_no_client_is_let_in_any_more() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 1, max_clients: 3, ..Plan::default() });
    let mut clients = [bed.client(), bed.client(), bed.client()];
    clients[0].query("begin").expect("the only connection");
    let told = refusal(&bed);
    assert!(told.code == "53300" && told.message.contains("max_clients"), "{told:?}");
    let mut console = bed.console();
    assert!(!console.query("SHOW POOLS").expect("answered").rows.is_empty());
}

#[test]
fn the_console_lets_its_own_in_while_the_login_lane_is_full_of_others() {
    let _machine = place::machine(false);
    let plan = Plan { size: 1, ..Plan::default() }.edit("[limits]\n", "[limits]\nmax_logins = 3\n");
    let bed = Bed::start_as(Target::Poolwarden, plan);
    let crowd = talkers(&bed, "app", 3);
    let told = refusal(&bed);
    assert!(told.code == "53300" && told.message.contains("too many clients are logging in"), "{told:?}");
    let mut console = bed.console();
    assert!(!console.query("SHOW STATE").expect("answered").rows.is_empty());
    // and while the lane's own door is full as well, of those who want to go there and never prove that they may
    let aside = talkers(&bed, "poolwarden", CROWD);
    for _ in 0..5 {
        assert!(!bed.console().query("SHOW STATE").expect("answered").rows.is_empty());
    }
    drop((crowd, aside));
    until("the usual places to be free again", PATIENCE, || bed.client_or_refusal().ok());
}
