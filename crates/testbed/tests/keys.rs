//! Cancel keys of both protocols: 4 bytes of secret for 3.0, 32 from 3.2 on, and each ends what it is for.

use std::time::Duration;

use poolwarden_testbed::bed::login;
use poolwarden_testbed::wire::{cancel, startup};
use poolwarden_testbed::{Bed, Fault, Mode, Plan, Say, Target, Wire, place, until};

const PATIENCE: Duration = Duration::from_secs(15);

/// A client that speaks protocol 3.`minor`.
fn client(bed: &Bed, minor: u8) -> Wire {
    let mut wire = Wire::dial(&bed.address()).expect("connected");
    let mut packet = startup(&login());
    packet[7] = minor; // behind the length and the major version
    wire.send(&packet).expect("sent");
    wire.log_in(&login()).expect("logged in");
    wire
}

#[test]
fn keys_have_their_protocols_length_and_work_in_every_mode() {
    let _machine = place::machine(false);
    for mode in [Mode::Transaction, Mode::Session] {
        let bed = Bed::start_as(Target::Poolwarden, Plan { mode, ..Plan::default() });
        let mut clients = [client(&bed, 0), client(&bed, 2)];
        assert_eq!(clients.each_ref().map(|wire| wire.key.1.len()), [4, 32]);
        for wire in &mut clients {
            wire.send(&Say::new().query("select pg_sleep(60)").bytes).expect("sent");
        }
        until("both to run", PATIENCE, || {
            let active = bed.postgres.backends().iter().filter(|backend| backend.state == "active").count();
            (active == 2).then_some(())
        });
        for wire in &mut clients {
            let (pid, secret) = wire.key.clone();
            let mut wrong = secret.clone();
            *wrong.last_mut().expect("not empty") ^= 1;
            for guess in [wrong, secret[..3].to_vec(), [&secret[..], &[0; 4]].concat()] {
                cancel(&bed.address(), &(pid, guess)).expect("closed without a word");
            }
            assert!(wire.silent_for(Duration::from_millis(100)), "a wrong key did something");
            cancel(&bed.address(), &(pid, secret)).expect("closed without a word");
            match wire.answer() {
                Err(Fault::Server(notice)) => assert_eq!(notice.code, "57014"),
                other => panic!("not cancelled: {other:?}"),
            }
        }
        drop(clients);
        bed.at_rest();
    }
}

#[test]
fn no_two_clients_are_told_the_same_secret() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan::default());
    let mut secrets: Vec<Vec<u8>> = (0..50).map(|_| client(&bed, 2).key.1).collect();
    secrets.sort();
    secrets.dedup();
    assert_eq!(secrets.len(), 50);
}
