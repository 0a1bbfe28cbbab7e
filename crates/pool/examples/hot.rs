//! What one transaction costs in the core: nanoseconds per checkout and checkin, by how many wait and how they are mixed.
//!
//! Flat or logarithmic is what it must be: a queue of 100,000 is met in the very minute in which nobody has time for it.
//! `hot [ROUNDS]`; the last line is an object of JSON.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a program at the rim: it measures time")]

use std::collections::VecDeque;
use std::io::Write as _;
use std::time::{Duration, Instant};

use poolwarden_pool::{
    Action, Checkin, ClassId, ConnId, DatabaseSettings, Fitness, Handled, Host, HostSettings, Input, LoopId, Opened,
    Phases, PoolId, PoolKey, Request, Time,
};

/// Transactions per measurement, unless said otherwise.
const ROUNDS: u64 = 1_000_000;
/// Server connections of the pool.
const SIZE: u32 = 16;
/// How many wait.
const WAITING: [u64; 4] = [0, 10, 1_000, 100_000];
/// Of how many classes and tenants those who ask are.
const MIXES: [Mix; 3] = [
    Mix { name: "1 class, 1 tenant", classes: 1, tenants: 1 },
    Mix { name: "3 classes, 8 tenants", classes: 3, tenants: 8 },
    Mix { name: "3 classes, 1000 tenants", classes: 3, tenants: 1000 },
];

struct Mix {
    name: &'static str,
    classes: u8,
    tenants: u64,
}

/// A pool at work.
struct Bench<'a> {
    host: Host,
    pool: PoolId,
    mix: &'a Mix,
    lent: VecDeque<(ConnId, LoopId)>,
    now: u64,
    asked: u64,
}

fn main() -> std::io::Result<()> {
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let mut out = std::io::stdout();
    writeln!(out, "{:<26}{}", "ns per transaction", WAITING.map(|waiting| format!("{waiting:>9} wait")).concat())?;
    let mut cells = Vec::new();
    for mix in &MIXES {
        let costs = WAITING.map(|waiting| Bench::new(mix).measure(waiting, rounds));
        writeln!(out, "{:<26}{}", mix.name, costs.map(|ns| format!("{ns:>14.0}")).concat())?;
        for (waiting, ns) in WAITING.iter().zip(costs) {
            let Mix { classes, tenants, .. } = mix;
            let cell = format!(
                "{{\"waiting\":{waiting},\"classes\":{classes},\"tenants\":{tenants},\"ns_per_transaction\":{ns:.0}}}"
            );
            cells.push(cell);
        }
    }
    writeln!(out, "{{\"transactions\":{rounds},\"server_connections\":{SIZE},\"cells\":[{}]}}", cells.join(","))
}

impl<'a> Bench<'a> {
    fn new(mix: &'a Mix) -> Self {
        // Nobody's patience ends and no queue is full during the measurement: what is measured is lending, not refusing.
        let patient = Duration::from_secs(86_400);
        let app =
            DatabaseSettings { size: SIZE, max_wait: patient, max_queue: 1_000_000, ..DatabaseSettings::default() };
        let mut settings = HostSettings {
            databases: [("app".to_owned(), app)].into(),
            max_connections: Some(100),
            ..HostSettings::default()
        };
        settings.classes.iter_mut().for_each(|class| class.max_wait = Some(patient));
        let mut host = Host::new(settings, 1);
        let key = PoolKey { database: "app".into(), user: "app".into() };
        let entered = host.handle(Time::ZERO, Input::Enter(key));
        let Handled::Entered(pool) = entered else { panic!("the pool is configured: {entered:?}") };
        Self { host, pool, mix, lent: VecDeque::new(), now: 0, asked: 0 }
    }

    /// Each client asks again as soon as it was served, so that always so many wait.
    fn measure(mut self, waiting: u64, rounds: u64) -> f64 {
        for _ in 0..u64::from(SIZE) + waiting {
            self.ask();
        }
        // Every connection is open and the queue has its shape before the clock runs.
        self.turn(rounds / 2);
        let began = Instant::now();
        self.turn(rounds);
        let took = began.elapsed().as_nanos() as f64 / rounds as f64;
        assert_eq!(u64::from(self.host.waiting(self.pool)), waiting, "nobody was refused");
        took
    }

    fn turn(&mut self, rounds: u64) {
        let mut served = 0;
        while served < rounds {
            self.now += 1000;
            self.act();
            if let Some((conn, home)) = self.lent.pop_front() {
                let checkin = Checkin { fitness: Fitness::Clean, flavor: 0, home, phases: Phases::default() };
                self.host.handle(Time::from_nanos(self.now), Input::Checkin(conn, checkin));
                self.ask();
                served += 1;
            }
        }
        self.act();
    }

    fn act(&mut self) {
        let now = Time::from_nanos(self.now);
        while let Some(action) = self.host.poll_action() {
            match action {
                Action::Open { conn, near, .. } => {
                    let opened = Opened { home: near, flavor: 0, pid: Some(conn.index) };
                    self.host.handle(now, Input::Opened(conn, Ok(opened)));
                }
                Action::Grant { conn, to, .. } => self.lent.push_back((conn, to)),
                Action::Close { .. } | Action::Forget { .. } | Action::Reset { .. } | Action::Refuse { .. } => {}
            }
        }
        while self.host.poll_event().is_some() {}
        while self.host.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.host.handle(now, Input::Timeout);
        }
    }

    fn ask(&mut self) {
        self.asked += 1;
        let class = ClassId((self.asked % u64::from(self.mix.classes)) as u8); // below a u8
        // Multiplied by an odd number, so that tenants and classes are not in step.
        let tenant = self.asked.wrapping_mul(0x9e37_79b9_7f4a_7c15) % self.mix.tenants;
        let request = Request {
            pool: self.pool,
            class,
            tenant,
            attempt: 0,
            deadline: Time::NEVER,
            home: LoopId((self.asked % 2) as u16),
            flavor: 0,
            client: self.asked as u32,
        };
        self.host.handle(Time::from_nanos(self.now), Input::Checkout(request));
    }
}
