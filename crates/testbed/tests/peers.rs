//! Several instances behind one address: a cancel request finds the one that made its key, and never goes round in circles.

use std::time::Duration;

use poolwarden_testbed::bed::login;
use poolwarden_testbed::wire::{Address, cancel};
use poolwarden_testbed::{Bed, Fault, Mode, Plan, Pooler, Say, Target, Wire, place, until};

const PATIENCE: Duration = Duration::from_secs(15);

/// An instance's configuration: its id, and the ports of others by theirs.
fn plan(mode: Mode, id: u8, peers: &[(u8, u16)]) -> Plan {
    let mut tables = String::new();
    for (peer, port) in peers {
        tables.push_str(&format!("[peers.{peer}]\nhost = \"127.0.0.1\"\nport = {port}\n\n"));
    }
    let plan = Plan { mode, ..Plan::default() };
    plan.edit("[poolwarden]\n", &format!("[poolwarden]\ninstance_id = {id}\n"))
        .edit("[auth]\n", &format!("{tables}[auth]\n"))
}

fn console(pooler: &Pooler) -> Wire {
    let login = poolwarden_testbed::Login { database: "poolwarden".to_string(), ..login() };
    Wire::connect(&Address::Tcp(pooler.addr()), &login).expect("a console")
}

fn rows(pooler: &Pooler, what: &str) -> Vec<Vec<String>> {
    let answer = console(pooler).query(what).expect("answered");
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    answer.rows.iter().map(|row| row.iter().map(text).collect()).collect()
}

/// Two instances that know each other, before one PostgreSQL.
fn two(mode: Mode) -> (Bed, Pooler) {
    let bed = Bed::start_as(Target::Poolwarden, plan(mode, 1, &[]));
    let one = bed.pooler().expect("poolwarden").addr().port();
    let other = Pooler::start(&plan(mode, 2, &[(1, one)]), bed.postgres.address());
    tell(&bed, &plan(mode, 1, &[(2, other.addr().port())]));
    (bed, other)
}

/// Gives the bed's instance another configuration.
fn tell(bed: &Bed, plan: &Plan) {
    let pooler = bed.pooler().expect("poolwarden");
    pooler.rewrite(plan, bed.postgres.address());
    console(pooler).query("RELOAD").expect("reloaded");
}

fn sleeping(bed: &Bed, pooler: &Pooler) -> Wire {
    let mut wire = Wire::connect(&Address::Tcp(pooler.addr()), &login()).expect("connected");
    wire.send(&Say::new().query("select pg_sleep(60)").bytes).expect("sent");
    until("the query to run", PATIENCE, || {
        bed.postgres.backends().iter().any(|backend| backend.state == "active").then_some(())
    });
    wire
}

#[test]
fn a_cancel_that_reaches_the_wrong_instance_is_forwarded_to_the_right_one() {
    let _machine = place::machine(false);
    for mode in [Mode::Transaction, Mode::Session] {
        let (bed, other) = two(mode);
        let own = bed.pooler().expect("poolwarden");
        assert_eq!(rows(own, "SHOW PEERS")[0][..2], ["2", "127.0.0.1"]);
        assert_eq!(rows(own, "SHOW PEER_POOLS")[0], ["2", "0", "0", "0", "0"]);
        for (at, elsewhere) in [(own, &other), (&other, own)] {
            let mut wire = sleeping(&bed, at);
            let key = wire.key.clone();
            cancel(&Address::Tcp(elsewhere.addr()), &key).expect("closed without a word");
            match wire.answer() {
                Err(Fault::Server(notice)) => assert_eq!(notice.code, "57014"),
                other => panic!("not cancelled: {other:?}"),
            }
        }
    }
}

#[test]
fn mixed_up_ids_make_no_circle_and_cancel_nothing() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, plan(Mode::Transaction, 1, &[]));
    let own = bed.pooler().expect("poolwarden");
    // Instance 2 is said to be where instance 1 itself listens, and 3 where nobody does.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
    tell(&bed, &plan(Mode::Transaction, 1, &[(2, own.addr().port()), (3, nobody)]));
    let mut wire = sleeping(&bed, own);
    let (pid, secret) = wire.key.clone();
    assert_eq!(secret[0], 1, "the key names its instance");
    for instance in [2, 3, 4] {
        let foreign = [&[instance], &secret[1..]].concat();
        cancel(&bed.address(), &(pid, foreign)).expect("closed without a word");
    }
    assert!(wire.silent_for(Duration::from_millis(300)), "a key of another instance did something here");
    cancel(&bed.address(), &(pid, secret)).expect("closed without a word");
    match wire.answer() {
        Err(Fault::Server(notice)) => assert_eq!(notice.code, "57014"),
        other => panic!("not cancelled: {other:?}"),
    }
    bed.at_rest();
}
