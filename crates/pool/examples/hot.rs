//! What one transaction costs in the core: nanoseconds per checkout and checkin, without and with a queue.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a program at the rim: it measures time")]

use std::io::Write as _;
use std::time::Instant;

use poolwarden_pool::{
    Action, Checkin, ClassId, ConnId, DatabaseSettings, Fitness, Handled, Host, HostSettings, Input, LoopId, Opened,
    Phases, PoolId, PoolKey, Request, Time,
};

/// Transactions per measurement.
const ROUNDS: u64 = 2_000_000;

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout();
    for (name, clients) in [("idle connections", 8), ("a queue of 48", 64), ("a queue of 4,000", 4016)] {
        writeln!(out, "{name}: {:.0} ns per transaction", measure(clients))?;
    }
    Ok(())
}

/// `clients` clients over 16 connections and 2 loops, each asking again as soon as it was served.
fn measure(clients: u64) -> f64 {
    let settings = HostSettings {
        databases: [("app".to_owned(), DatabaseSettings { size: 16, ..DatabaseSettings::default() })].into(),
        max_connections: Some(100),
        ..HostSettings::default()
    };
    let mut host = Host::new(settings, 1);
    let key = PoolKey { database: "app".into(), user: "app".into() };
    let Handled::Entered(pool) = host.handle(Time::ZERO, Input::Enter(key)) else { return f64::NAN };
    let mut now = 0;
    for client in 0..clients {
        ask(&mut host, now, pool, client);
    }
    let (mut lent, mut served, mut began) = (std::collections::VecDeque::<(ConnId, LoopId)>::new(), 0, Instant::now());
    while served < ROUNDS {
        now += 1000;
        while let Some(action) = host.poll_action() {
            match action {
                Action::Open { conn, near, .. } => {
                    let opened = Opened { home: near, flavor: 0, pid: Some(conn.index) };
                    host.handle(Time::from_nanos(now), Input::Opened(conn, Ok(opened)));
                }
                Action::Grant { conn, to, .. } => lent.push_back((conn, to)),
                Action::Close { .. } | Action::Forget { .. } | Action::Reset { .. } | Action::Refuse { .. } => {}
            }
        }
        while host.poll_event().is_some() {}
        while host.poll_timeout().is_some_and(|(at, _)| at.as_nanos() <= now) {
            host.handle(Time::from_nanos(now), Input::Timeout);
        }
        if let Some((conn, home)) = lent.pop_front() {
            let checkin = Checkin { fitness: Fitness::Clean, flavor: 0, home, phases: Phases::default() };
            host.handle(Time::from_nanos(now), Input::Checkin(conn, checkin));
            ask(&mut host, now, pool, served);
            served += 1;
        }
        if served == ROUNDS / 2 {
            began = Instant::now();
        }
    }
    began.elapsed().as_nanos() as f64 / (ROUNDS / 2) as f64
}

fn ask(host: &mut Host, now: u64, pool: PoolId, client: u64) {
    let home = LoopId((client % 2) as u16);
    let request = Request { pool, class: ClassId(0), tenant: 0, attempt: 0, deadline: Time::NEVER, home, flavor: 0 };
    host.handle(Time::from_nanos(now), Input::Checkout(request));
}
