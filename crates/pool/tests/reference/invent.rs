//! What happens next in the random world.

use std::time::Duration;

use poolwarden_pool::{
    Checkin, ClassId, ConnId, ConnectFailure, EndCause, Failure, Fitness, Input, Limit, LoopId, Opened, Phases, PoolId,
    PoolKey, Request, ServerFacts, Ticket, Time, Verb,
};

use super::dice::settings;
use super::model::{NEVER, S};
use super::world::{LIFE, World};

impl World {
    /// What happens next.
    pub(super) fn invent(&mut self) -> Input {
        if self.step == LIFE - 80 {
            return Input::Admin(Verb::Drain, None);
        }
        match self.dice.below(1000) {
            0..330 => self.checkout(),
            330..560 => self.checkin(),
            560..740 => self.connect_ends(),
            740..800 => self.end_seen(),
            800..840 => self.cancel(),
            840..870 => self.client(),
            870..900 => self.reset(),
            900..930 => self.fence(),
            930..960 => self.socket_ends(),
            960..975 => self.facts(),
            975..983 => {
                self.bad = [0, 0, 10, 90][self.dice.below(4) as usize];
                Input::Timeout
            }
            983..990 => Input::Apply(Box::new(settings(&mut self.dice))),
            990..999 => self.operator(),
            _ => self.stale(),
        }
    }

    fn pool(&mut self) -> Option<usize> {
        let pools: Vec<usize> = (0..self.model.pools.len()).filter(|&at| !self.model.pools[at].retired).collect();
        self.dice.of(&pools)
    }

    fn client(&mut self) -> Input {
        let pool = self.pool();
        if let Some(pool) = pool.filter(|_| self.dice.chance(50)) {
            return Input::Leave(PoolId(pool as u32));
        }
        let names: &[&str] = if self.dice.chance(15) { &["x1", "x2", "x3"] } else { &["a", "b", "c"] };
        let (database, user) = (self.dice.of(names), self.dice.of(&["u", "v"]));
        Input::Enter(PoolKey { database: database.expect("names").to_owned(), user: user.expect("names").to_owned() })
    }

    fn checkout(&mut self) -> Input {
        let Some(pool) = self.pool() else { return self.client() };
        if self.model.pools[pool].queue.len() > 12 {
            return self.checkin();
        }
        let deadline = match self.dice.below(10) {
            0 => self.now + self.dice.below(100_000_000),
            1 => self.now + self.dice.below(2_000_000_000),
            _ => NEVER,
        };
        Input::Checkout(Request {
            pool: PoolId(pool as u32),
            class: ClassId(0),
            tenant: 0,
            attempt: 0,
            deadline: Time::from_nanos(deadline),
            home: LoopId(self.dice.below(3) as u16),
            flavor: self.dice.below(3),
            client: self.step as u32,
        })
    }

    fn conn(&mut self, fits: impl Fn(S) -> bool) -> Option<ConnId> {
        let fitting: Vec<usize> = (0..self.model.conns.len()).filter(|&at| fits(self.model.conns[at].state)).collect();
        self.dice.of(&fitting).map(|at| self.names[&at])
    }

    fn checkin(&mut self) -> Input {
        let Some(conn) = self.conn(|state| matches!(state, S::Lent(_))) else { return self.connect_ends() };
        let fitness = match self.dice.below(20) {
            0 => Fitness::Broken,
            1..4 => Fitness::NeedsReset,
            _ => Fitness::Clean,
        };
        let home = LoopId(self.model.conns[self.conns[&conn]].home);
        let flavor = self.dice.below(3);
        let idle_in_transaction = Duration::from_nanos(self.now % 1_000);
        let phases = Phases { idle_in_transaction, ..Phases::default() };
        Input::Checkin(conn, Checkin { fitness, flavor, home, phases })
    }

    fn connect_ends(&mut self) -> Input {
        let Some(conn) = self.conn(|state| matches!(state, S::Opening { .. })) else { return self.checkout_or_wait() };
        if !self.dice.chance(self.bad.max(3)) {
            self.next_pid += 1;
            let pid = self.dice.chance(90).then_some(self.next_pid);
            let home = LoopId(self.dice.below(3) as u16);
            return Input::Opened(conn, Ok(Opened { home, flavor: self.dice.below(3), pid }));
        }
        let kind = match self.dice.below(20) {
            0 => Failure::Capacity(Limit::PgRole),
            1 => Failure::Capacity(Limit::PgDatabase),
            2 => Failure::Capacity(Limit::PgSlots),
            3 => Failure::Password { configured: self.dice.chance(30) },
            4 => Failure::Database,
            _ => Failure::Down,
        };
        Input::Opened(conn, Err(ConnectFailure { kind, sqlstate: *b"08006", message: "no".into() }))
    }

    fn checkout_or_wait(&mut self) -> Input {
        if self.dice.chance(50) { self.checkout_once() } else { Input::Timeout }
    }

    fn checkout_once(&mut self) -> Input {
        match self.pool() {
            Some(pool) if self.model.pools[pool].queue.len() <= 12 => Input::Checkout(Request {
                pool: PoolId(pool as u32),
                class: ClassId(0),
                tenant: 0,
                attempt: 0,
                deadline: Time::NEVER,
                home: LoopId(0),
                flavor: 0,
                client: self.step as u32,
            }),
            Some(_) | None => Input::Timeout,
        }
    }

    fn end_seen(&mut self) -> Input {
        let Some(conn) = self.conn(|state| matches!(state, S::Ending(_) | S::Ghost(..))) else {
            return self.checkin();
        };
        let cause = if self.dice.chance(10) { EndCause::Failed } else { EndCause::Eof };
        Input::Closed(conn, cause)
    }

    fn cancel(&mut self) -> Input {
        let waiting: Vec<u64> = self.model.pools.iter().flat_map(|p| p.queue.iter().map(|wait| wait.number)).collect();
        let known: Vec<u64> = self.ticket_names.keys().copied().collect();
        let number = if self.dice.chance(70) { self.dice.of(&waiting) } else { self.dice.of(&known) };
        match number.and_then(|number| self.ticket_names.get(&number)) {
            Some(&ticket) if self.dice.chance(20) => Input::Withdraw(ticket),
            Some(&ticket) => Input::Cancel(ticket),
            None => Input::Timeout,
        }
    }

    fn reset(&mut self) -> Input {
        let Some(conn) = self.conn(|state| state == S::Resetting) else { return self.checkin() };
        if self.dice.chance(80) {
            return Input::ResetDone(conn);
        }
        let checkin = Checkin { fitness: Fitness::Broken, flavor: 0, home: LoopId(0), phases: Phases::default() };
        Input::Checkin(conn, checkin)
    }

    fn fence(&mut self) -> Input {
        let fenced: Vec<usize> = (0..self.model.conns.len())
            .filter(|&at| self.model.conns[at].fences > 0 && self.model.conns[at].state != S::Gone)
            .collect();
        match self.dice.of(&fenced) {
            Some(at) if self.dice.chance(75) => Input::Unfence(self.names[&at]),
            Some(_) | None => match self.conn(|state| state != S::Gone) {
                Some(conn) => Input::Fence(conn),
                None => Input::Timeout,
            },
        }
    }

    fn socket_ends(&mut self) -> Input {
        if self.dice.chance(60) {
            return self.checkin();
        }
        let cause = if self.dice.chance(40) { EndCause::Failed } else { EndCause::Eof };
        match self.conn(|state| state != S::Gone) {
            Some(conn) => Input::Closed(conn, cause),
            None => Input::Timeout,
        }
    }

    fn facts(&mut self) -> Input {
        self.start_time += u64::from(self.dice.chance(5));
        let alive = |at: &usize| self.model.conns[*at].state != S::Gone;
        let mut pids: Vec<u32> =
            (0..self.model.conns.len()).filter(alive).filter_map(|at| self.model.conns[at].pid).collect();
        pids.retain(|_| self.dice.chance(70));
        pids.sort_unstable();
        let roles = if self.dice.chance(40) { vec![("u".to_owned(), 3, self.dice.below(4) as u32)] } else { vec![] };
        let databases =
            if self.dice.chance(40) { vec![("b".to_owned(), 4, self.dice.below(4) as u32)] } else { vec![] };
        Input::Facts(ServerFacts {
            start_time: self.start_time,
            pids,
            max_connections: [0, 8, 14, 40][self.dice.below(4) as usize],
            reserved: 3,
            roles,
            databases,
            others: self.dice.below(4) as u32,
        })
    }

    fn operator(&mut self) -> Input {
        if self.dice.chance(5) {
            return Input::Renew(self.dice.of(&["u", "v", "nobody"]).unwrap_or("u").to_owned());
        }
        let name = self.dice.of(&["a", "b", "c", "x1", "nowhere"]).map(str::to_owned).filter(|_| self.dice.chance(60));
        let verb = match self.dice.below(20) {
            0..3 => Verb::Pause,
            3..9 => Verb::Resume,
            9..12 => Verb::Reconnect,
            12..14 => Verb::Disable,
            14..18 => Verb::Enable,
            18 => Verb::Kill,
            _ if name.as_deref() == Some("x1") => Verb::Drain,
            _ => Verb::Resume,
        };
        Input::Admin(verb, name)
    }

    fn stale(&mut self) -> Input {
        match self.dice.of(&self.past.clone()) {
            Some(conn) => Input::Closed(conn, EndCause::Eof),
            None => Input::Cancel(Ticket { index: 0, generation: 77_777 }),
        }
    }
}
