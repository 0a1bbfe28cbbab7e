//! What networks do to connections, on both sides of poolwarden: nothing is lost, leaked or told to the wrong client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use poolwarden_testbed::corpus;
use poolwarden_testbed::fault_proxy::{Dice, FaultProxy, Harm, Harms};
use poolwarden_testbed::oracle::{Player, difference};
use poolwarden_testbed::wire::Address;
use poolwarden_testbed::{Bed, Fault, Mode, Plan, Target, Wire, bed, place, until};

/// Clients at work at once, and how long each test goes on.
const CLIENTS: usize = 12;
const ROUNDS: u64 = 10;

/// A bed whose server connections go through a proxy.
fn before_server(plan: Plan) -> (Bed, FaultProxy) {
    Bed::start_behind(plan, 1)
}

/// Each conversation of the corpus with pieces of a byte on this side; those of megabytes are cut up by other tests. Breaches of the
/// protocol are left out: who goes on sending behind one may lose the last word to a reset, with PostgreSQL as well.
#[track_caller]
fn alike_in_bytes(bed: &Bed, front: Address) {
    let mut held = 0;
    for talk in corpus::all() {
        let fits = talk.modes.contains(&Mode::Transaction) && talk.pools.contains(&2) && talk.known.is_empty();
        let right = (talk.since..=talk.until).contains(&poolwarden_testbed::version::major());
        if !fits || !right || talk.is_large() || talk.name.starts_with("broken/") {
            continue;
        }
        let play = |address: Address| Player { address, postgres: &bed.postgres, mutation: None }.play(&talk);
        let direct = play(Address::Tcp(bed.postgres.address()));
        if let Some(found) = difference(&direct, &play(front.clone())) {
            panic!("{}:\n{found}", talk.name);
        }
        held += 1;
    }
    assert!(held > 100, "only {held} conversations were held");
}

#[test]
fn the_corpus_is_answered_alike_when_clients_bytes_come_one_by_one() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 2, ..Plan::default() });
    let proxy = FaultProxy::start(bed.addr(), 1);
    proxy.harm(Harms::both(Harm::Split(1)));
    alike_in_bytes(&bed, Address::Tcp(proxy.addr()));
}

#[test]
fn the_corpus_is_answered_alike_when_the_servers_bytes_come_one_by_one() {
    let _machine = place::machine(false);
    let (bed, proxy) = before_server(Plan { size: 2, ..Plan::default() });
    proxy.harm(Harms::both(Harm::Split(1)));
    // The connections there were before are let go, so that all of them are cut up.
    proxy.reset_all();
    alike_in_bytes(&bed, bed.address());
    assert!(proxy.accepted() >= 2, "nothing went through the proxy");
}

#[test]
fn made_up_conversations_are_answered_alike_in_pieces_of_any_size_on_both_sides() {
    let _machine = place::machine(false);
    let (bed, behind) = before_server(Plan { size: 2, ..Plan::default() });
    let before = FaultProxy::start(bed.addr(), 2);
    for proxy in [&before, &behind] {
        proxy.harm(Harms::both(Harm::Shred(40)));
    }
    behind.reset_all();
    for seed in 0..60 {
        let talk = poolwarden_testbed::corpus_random::conversation(seed, 1);
        let play = |address: Address| Player { address, postgres: &bed.postgres, mutation: None }.play(&talk);
        let (direct, pooled) = (play(Address::Tcp(bed.postgres.address())), play(Address::Tcp(before.addr())));
        assert_eq!(difference(&direct, &pooled), None, "seed {seed}");
    }
}

/// What the clients under fire have seen.
#[derive(Default)]
struct Seen {
    right: AtomicU64,
    broken: AtomicU64,
    refused: AtomicU64,
    wrong: std::sync::Mutex<Vec<String>>,
}

impl Seen {
    fn wrong(&self, what: String) {
        self.wrong.lock().expect("no holder panics").push(what);
    }
}

/// One session: every answer must carry the token of its question, whatever becomes of the connection.
fn session(address: &Address, client: usize, seen: &Seen, dice: &mut Dice) {
    let Ok(mut wire) = Wire::connect(address, &bed::login()) else {
        seen.broken.fetch_add(1, Ordering::Relaxed);
        return;
    };
    wire.patience(Duration::from_secs(20)).expect("a socket");
    for number in 0..1 + dice.below(20) {
        let token = format!("{client}-{:016x}-{number}", dice.roll());
        let sql = match dice.below(4) {
            0 => format!("begin; insert into heard values ('{token}'); select '{token}'; commit"),
            1 => format!("select '{token}' from generate_series(1, 400)"),
            2 => format!("select '{token}', pg_sleep(0.002)"),
            _ => format!("select '{token}'"),
        };
        match wire.query(&sql) {
            Ok(answer) => {
                let alien = answer.rows.iter().find(|row| row[0].as_deref() != Some(&*token));
                if let Some(alien) = alien {
                    seen.wrong(format!("client {client} asked for {token} and was told {alien:?}"));
                }
                if answer.rows.is_empty() {
                    seen.wrong(format!("client {client} asked for {token} and was told nothing"));
                }
                seen.right.fetch_add(1, Ordering::Relaxed);
            }
            // What the pooler says of a server that is gone; a session that goes on must go on in step.
            Err(Fault::Server(notice)) if notice.severity == "ERROR" => {
                seen.refused.fetch_add(1, Ordering::Relaxed);
            }
            Err(Fault::Server(_) | Fault::Closed | Fault::Io(_)) => {
                seen.broken.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Err(Fault::Protocol(what)) => return seen.wrong(format!("client {client}: {what}")),
        }
    }
}

/// Clients at work through `address` while the proxy does what `plan` says of each connection made.
fn under_fire(bed: &Bed, proxy: &FaultProxy, address: &Address, plan: impl Fn(&mut Dice) -> Harms) -> Arc<Seen> {
    bed.postgres.sql("create table heard (token text); grant all on heard to app");
    let seen = Arc::new(Seen::default());
    let over = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (seen, over, address) = (Arc::clone(&seen), Arc::clone(&over), address.clone());
            thread::spawn(move || {
                let mut dice = Dice(client as u64);
                while !over.load(Ordering::Acquire) {
                    session(&address, client, &seen, &mut dice);
                }
            })
        })
        .collect();
    let mut dice = Dice(7);
    for round in 0..ROUNDS {
        proxy.harm(plan(&mut dice));
        let (before, made) = (seen.right.load(Ordering::Relaxed), proxy.accepted());
        // A round is over when there was work in it, and connections that this round's plan is for. A plan that cuts everybody off
        // in his login lets nobody work, unless somebody is still at work from the round before: many such connections are enough.
        until("a round's work", Duration::from_secs(30), || {
            let worked = seen.right.load(Ordering::Relaxed) >= before + 12 || proxy.accepted() > made + 400;
            (worked && proxy.accepted() > made).then_some(()).or_else(|| {
                // Where all connections are well there is no reason for another: the oldest go.
                if worked {
                    proxy.reset_all();
                }
                None
            })
        });
        if round % 10 == 9 {
            proxy.heal();
        }
    }
    proxy.harm(Harms::default());
    proxy.heal();
    over.store(true, Ordering::Release);
    workers.into_iter().for_each(|worker| worker.join().expect("a client"));
    seen
}

#[track_caller]
fn judge(bed: &Bed, seen: &Seen) {
    let wrong = seen.wrong.lock().expect("nobody else is left");
    assert!(wrong.is_empty(), "{} answers were wrong: {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
    let (right, broken) = (count(&seen.right), count(&seen.broken));
    eprintln!("{right} right, {broken} broken off, {} refused", count(&seen.refused));
    assert!(right >= 12 * ROUNDS && broken > 2, "{right} right and {broken} broken off: nothing was tried");
    bed.at_rest();
    // A whole pool of clients at once: no place was lost.
    let mut all: Vec<Wire> = (0..bed.plan().size).map(|_| bed.client()).collect();
    for wire in &mut all {
        wire.query("begin").expect("a place for each");
    }
    for wire in &mut all {
        assert_eq!(wire.query("select 'clean'").expect("served").value(), "clean");
        wire.query("rollback").expect("served");
    }
    drop(all);
    bed.at_rest();
}

/// After so many bytes; small numbers end logins, larger ones sessions at work.
fn somewhere(dice: &mut Dice) -> u64 {
    let most = *dice.of(&[400, 3_000, 10_000, 60_000]);
    dice.roll() % most
}

#[test]
fn clients_cut_off_anywhere_by_the_network_leave_no_trace() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 4, ..Plan::default() });
    let proxy = FaultProxy::start(bed.addr(), 3);
    let seen = under_fire(&bed, &proxy, &Address::Tcp(proxy.addr()), |dice| {
        let at = somewhere(dice);
        let harm = *dice.of(&[Harm::Reset(at), Harm::HalfClose(at), Harm::Reset(at)]);
        let mut harms = Harms { up: vec![Harm::Shred(100)], down: vec![Harm::Shred(500)] };
        if dice.below(2) == 0 {
            harms.up.push(harm)
        } else {
            harms.down.push(harm)
        }
        harms
    });
    judge(&bed, &seen);
}

#[test]
fn servers_cut_off_anywhere_by_the_network_are_replaced_and_nobody_is_told_anothers_rows() {
    let _machine = place::machine(false);
    let (bed, proxy) = before_server(Plan { size: 4, ..Plan::default() });
    let seen = under_fire(&bed, &proxy, &bed.address(), |dice| {
        // Behind the login: a server that cannot be logged in to is the breaker's business.
        let at = 2_000 + somewhere(dice);
        let harm = *dice.of(&[Harm::Reset(at), Harm::HalfClose(at), Harm::Reset(at)]);
        match dice.below(4) {
            0 => Harms { up: vec![harm], down: vec![] },
            1 => Harms { up: vec![], down: vec![harm] },
            _ => Harms::default(),
        }
    });
    judge(&bed, &seen);
}

#[test]
fn clients_that_stall_hold_nobody_up_and_go_on_where_they_were() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 2, ..Plan::default() });
    let proxy = FaultProxy::start(bed.addr(), 4);
    // Every one of these stalls in the middle of its second query's message, outside of any transaction.
    let mut stalled: Vec<Wire> = Vec::new();
    let mut plain = Wire::connect(&Address::Tcp(proxy.addr()), &bed::login()).expect("connect");
    let sent = proxy.bytes();
    plain.query("select 'measured'").expect("served");
    assert!(proxy.bytes() > sent);
    for at in [1, 5, 9, 20] {
        let mut wire = Wire::connect(&Address::Tcp(proxy.addr()), &bed::login()).expect("connect");
        drop(wire.query("select 1").expect("served"));
        proxy.harm(Harms { up: vec![Harm::Stall(at)], down: vec![] });
        let again = Wire::dial(&Address::Tcp(proxy.addr())).expect("connect");
        proxy.harm(Harms::default());
        stalled.push(wire);
        stalled.push(again);
    }
    let login = poolwarden_testbed::wire::startup(&bed::login());
    for wire in stalled.iter_mut().skip(1).step_by(2) {
        wire.send(&login).expect("sent");
    }
    for number in 0..50 {
        let mut other = bed.client();
        assert_eq!(other.query(&format!("select {number}")).expect("nobody is held up").value(), number.to_string());
    }
    proxy.heal();
    for wire in stalled.iter_mut().skip(1).step_by(2) {
        wire.log_in(&bed::login()).expect("it goes on where it stalled");
        assert_eq!(wire.query("select 'goes on'").expect("served").value(), "goes on");
    }
    bed.at_rest();
}

#[test]
fn a_stalled_result_goes_on_where_it_stopped_and_holds_its_own_connection_alone() {
    let _machine = place::machine(false);
    let (bed, proxy) = before_server(Plan { size: 2, ..Plan::default() });
    proxy.harm(Harms { up: vec![], down: vec![Harm::Stall(200_000)] });
    proxy.reset_all();
    let mut slow = bed.client();
    slow.patience(Duration::from_secs(30)).expect("a socket");
    let rows = "select n || repeat('x', 90) from generate_series(1, 20000) n";
    slow.send(&poolwarden_testbed::Say::new().query(rows).bytes).expect("sent");
    slow.up_to('D').expect("the first rows come");
    proxy.harm(Harms::default());
    for number in 0..20 {
        assert_eq!(
            bed.client().query(&format!("select {number}")).expect("another connection").value(),
            number.to_string()
        );
    }
    proxy.heal();
    let rest = slow.readies(1).expect("the rest of the rows");
    assert_eq!(rest.iter().filter(|(tag, _)| *tag == b'D').count(), 19_999);
    bed.at_rest();
}

#[test]
fn a_byte_turned_on_its_way_from_the_server_harms_its_own_session_alone() {
    let _machine = place::machine(false);
    let (bed, proxy) = before_server(Plan { size: 3, ..Plan::default() });
    let mut dice = Dice(11);
    for _ in 0..6 {
        proxy.harm(Harms { up: vec![], down: vec![Harm::Corrupt(1_500 + dice.roll() % 1_500)] });
        proxy.reset_all();
        let mut victim = bed.client();
        victim.patience(Duration::from_secs(3)).expect("a socket");
        for number in 0..25 {
            // Whatever it is told, it is its own: wrong bytes may be in its rows, or its session ends.
            if victim.query(&format!("select 'victim {number}', repeat('x', 30)")).is_err() {
                break;
            }
        }
        drop(victim);
        proxy.harm(Harms::default());
        proxy.reset_all();
        let mut other = bed.client();
        let token = format!("{:x}", dice.roll());
        let told = until("an answer over a healthy connection", Duration::from_secs(20), || {
            match other.query(&format!("select '{token}'")) {
                Ok(answer) => Some(answer.value()),
                // The connection it was given is one of those that were reset just now.
                Err(_) => {
                    other = bed.client();
                    None
                }
            }
        });
        assert_eq!(told, token);
    }
    bed.at_rest();
}

#[test]
fn slow_and_thin_lines_on_both_sides_change_nothing_but_time() {
    let _machine = place::machine(false);
    let (bed, behind) = before_server(Plan { size: 1, ..Plan::default() });
    let before = FaultProxy::start(bed.addr(), 5);
    before.harm(Harms { up: vec![Harm::Delay(Duration::from_millis(2))], down: vec![Harm::Bandwidth(4 << 20)] });
    behind.harm(Harms { up: vec![Harm::Delay(Duration::from_millis(1))], down: vec![Harm::Bandwidth(8 << 20)] });
    behind.reset_all();
    let talks: Vec<_> = ["data/many-rows", "copy/in", "flow/error-in-mid-pipeline", "data/large-row"]
        .iter()
        .map(|name| corpus::all().into_iter().find(|talk| talk.name == *name).expect("it is in the corpus"))
        .collect();
    for talk in &talks {
        let play = |address: Address| Player { address, postgres: &bed.postgres, mutation: None }.play(talk);
        let (direct, pooled) = (play(Address::Tcp(bed.postgres.address())), play(Address::Tcp(before.addr())));
        assert_eq!(difference(&direct, &pooled), None, "{}", talk.name);
    }
}
