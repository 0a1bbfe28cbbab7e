//! What logins cost poolwarden, and whom they slow: `logins [COUNT] [AT_ONCE] [ROUNDS]`.
//!
//! SCRAM logins with a salted password that is remembered on both sides, over TCP and the unix socket without TLS; the CPU is
//! that of poolwarden's process alone. Then, in turn so that the machine's moods fall on all alike: relayed transactions alone
//! and beside a storm of logins, and good logins alone and beside wrong passwords from another address. The last line is JSON.

#![allow(clippy::print_stdout, reason = "the result goes to standard output")]

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use poolwarden_testbed::wire::{Address, Wire, message, startup};
use poolwarden_testbed::{Bed, Plan, Target, bed};
use serde_json::json;

/// Logins a second of a storm: ten times a fleet of 300 clients that all reconnect within ten seconds.
const STORM: u32 = 300;
/// Most CPU of poolwarden that a login may cost, in microseconds.
const MOST_CPU_US: f64 = 300.0;
/// Most that others may be slower.
const MOST_SLOWER: f64 = 1.5;
/// The kernel's lowest priority, of a thread.
const LEAST_URGENT: i32 = 19;
/// Length of a turn.
const TURN: Duration = Duration::from_millis(800);
/// Where the wrong passwords come from.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Threads that send wrong passwords as fast as they are answered.
const LIARS: usize = 8;

fn main() {
    let arguments: Vec<u32> = std::env::args().skip(1).map(|text| text.parse().expect("a number")).collect();
    let pick = |place: usize, usual: u32| arguments.get(place).copied().unwrap_or(usual);
    let (count, at_once, rounds) = (pick(0, 4_000), pick(1, 8), pick(2, 10));
    let auth = "method = \"scram-sha-256\"\nfailure_delay = \"500ms\"\nfailures_per_minute = 60";
    let bed = Bed::start_as(Target::Poolwarden, Plan::default().auth(auth));
    let socket = Address::Unix(bed.pooler().expect("poolwarden").unix().expect("a unix socket").to_path_buf());
    log_in(&bed.address());
    let derivations = || bed.pooler().expect("poolwarden").metric("poolwarden_scram_derivations_total", "");
    let before = derivations();
    let tcp_us = cost(&bed, &bed.address(), count, at_once);
    let unix_us = cost(&bed, &socket, count, at_once);
    eprintln!("a login costs {tcp_us:.0} us of CPU over TCP, {unix_us:.0} us over the unix socket");
    let derived = derivations() - before;
    let (mut calm, mut stormy, mut alone, mut beside) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut stormed, mut lied) = (0, 0);
    for _ in 0..rounds {
        calm.extend(relayed(&bed));
        stormed += during(
            at_once as usize,
            |place, stop| storm(&bed.address(), (place, at_once), stop),
            || stormy.extend(relayed(&bed)),
        );
        alone.extend(good(&bed));
        lied += during(LIARS, |_, stop| lies(&bed, stop), || beside.extend(good(&bed)));
    }
    let (p99_calm, p99_stormy) = (quantile(&mut calm, 0.99), quantile(&mut stormy, 0.99));
    let (good_alone, good_beside) = (quantile(&mut alone, 0.5), quantile(&mut beside, 0.5));
    let found = json!({
        "logins": count, "at_once": at_once, "rounds": rounds,
        "cpu_us_per_login": { "tcp": tcp_us.round(), "unix": unix_us.round() },
        "derivations": derived,
        "relayed_p99_us": { "alone": p99_calm, "beside_logins": p99_stormy, "ratio": p99_stormy / p99_calm },
        "storm_logins_per_second": f64::from(stormed) / (TURN.as_secs_f64() * f64::from(rounds)),
        "login_p50_us": { "alone": good_alone, "beside_wrong_passwords": good_beside, "ratio": good_beside / good_alone },
        "wrong_passwords_per_second": f64::from(lied) / (TURN.as_secs_f64() * f64::from(rounds)),
    });
    println!("{found}");
    let bounds = [
        ("a login's CPU over TCP", tcp_us, MOST_CPU_US),
        ("a login's CPU over the unix socket", unix_us, MOST_CPU_US),
        ("keys derived", derived, 0.5),
        ("relayed p99 beside logins", p99_stormy / p99_calm, MOST_SLOWER),
        ("logins beside wrong passwords", good_beside / good_alone, MOST_SLOWER),
    ];
    let missed: Vec<_> = bounds.iter().filter(|(_, found, most)| *found > *most).collect();
    assert!(missed.is_empty(), "more than there may be: {missed:?}");
}

fn log_in(address: &Address) {
    let mut wire = Wire::connect(address, &bed::login()).unwrap_or_else(|e| panic!("login: {e}"));
    wire.send(&message(b'X', b"")).unwrap_or_else(|e| panic!("goodbye: {e}"));
}

/// CPU of poolwarden per login, in microseconds, less what it uses while nothing happens.
fn cost(bed: &Bed, address: &Address, count: u32, at_once: u32) -> f64 {
    let pid = bed.pooler().expect("poolwarden").pid();
    let (idle_from, idle_began) = (cpu(pid), Instant::now());
    thread::sleep(Duration::from_secs(1));
    let idle = (cpu(pid) - idle_from).as_secs_f64() / idle_began.elapsed().as_secs_f64();
    let (from, began) = (cpu(pid), Instant::now());
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| (0..count / at_once).for_each(|_| log_in(address)));
        }
    });
    let used = (cpu(pid) - from).as_secs_f64() - idle * began.elapsed().as_secs_f64();
    used * 1e6 / f64::from(count / at_once * at_once)
}

/// CPU that the process has used, over all its threads: nanoseconds as the scheduler counts them.
fn cpu(pid: rustix::process::Pid) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).expect("the process lives");
    let nanos = |task: std::io::Result<std::fs::DirEntry>| -> Option<u64> {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse().ok()
    };
    Duration::from_nanos(tasks.filter_map(nanos).sum())
}

/// Runs `work` while `threads` others do something until they are told to stop; gives the sum of what those say.
fn during(threads: usize, other: impl Fn(u32, &AtomicBool) -> u32 + Sync, work: impl FnOnce()) -> u32 {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (other, stop) = (&other, &stop);
        let running: Vec<_> = (0..).take(threads).map(|place| scope.spawn(move || other(place, stop))).collect();
        work();
        stop.store(true, Ordering::Relaxed);
        running.into_iter().map(|thread| thread.join().expect("it ends")).sum()
    })
}

/// One thread's part of a storm: all of them together come at an even pace, none with another.
fn storm(address: &Address, (place, at_once): (u32, u32), stop: &AtomicBool) -> u32 {
    // Those who log in would be on other machines: here they must not take the processor from whom they are measured against.
    rustix::process::nice(LEAST_URGENT).unwrap_or_else(|e| panic!("nice: {e}"));
    let pace = Duration::from_secs(1) * at_once / STORM;
    thread::sleep(pace * place / at_once);
    let (mut count, began) = (0, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        log_in(address);
        count += 1;
        thread::sleep((pace * count).saturating_sub(began.elapsed()));
    }
    count
}

/// Wrong passwords, as fast as the refusals come.
fn lies(bed: &Bed, stop: &AtomicBool) -> u32 {
    let login = poolwarden_testbed::Login { password: "wrong".to_string(), ..bed::login() };
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut wire = Wire::dial_from(ELSEWHERE, bed.addr()).unwrap_or_else(|e| panic!("connect: {e}"));
        wire.send(&startup(&login)).unwrap_or_else(|e| panic!("send: {e}"));
        assert!(wire.log_in(&login).is_err(), "a wrong password is let in");
        count += 1;
    }
    count
}

/// How long each of a turn's transactions took, in microseconds.
fn relayed(bed: &Bed) -> Vec<f64> {
    let mut client = bed.client();
    timed(|| drop(client.query("select 1").unwrap_or_else(|e| panic!("query: {e}"))))
}

/// How long each of a turn's logins took.
fn good(bed: &Bed) -> Vec<f64> {
    let address = bed.address();
    timed(|| {
        log_in(&address);
        thread::sleep(Duration::from_millis(2)); // a client now and then, not a storm
    })
}

fn timed(mut work: impl FnMut()) -> Vec<f64> {
    let until = Instant::now() + TURN;
    let mut times = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        work();
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    times
}

fn quantile(times: &mut [f64], share: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    let last = times.len().saturating_sub(1) as f64;
    times.get((last * share) as usize).copied().unwrap_or(f64::NAN).round()
}
