//! A run as the pooler's own watcher sees it: one picture, of what the core knows, what clients hold, and what PostgreSQL would tell.

use std::collections::BTreeMap;

use poolwarden_switch::pool::{HostId, Input, PoolId, PoolKey, ServerFacts, Time};
use poolwarden_watch::{
    Activity, Backend, BackendState, HostView, LeaseState, LeaseView, PoolTraffic, ServerState, ServerView,
    SessionView, Traffic, UsageKind, UsageView, Used, Uses, View, WaiterView,
};

use super::backend::{Doing, RESERVED};
use super::demand::{Demand, Seat};
use super::run::{LOOKS, Place, Run};
use crate::scenario::HoldKind;

/// The only server.
const HOST: HostId = HostId(0);
/// Any beginning will do: a day in 2024, at midnight.
const EPOCH_MS: u64 = 1_717_200_000_000;
/// PostgreSQL is asked every so many looks, and at every look while somebody waits; facts are told as often.
const EVERY: u64 = 5;
/// Processes of others have numbers above this, and the pooler's below.
const FOREIGN_PIDS: u32 = 1_000_000;

impl<D: Demand> Run<D> {
    /// Looks: tells the core what PostgreSQL tells, and `watch` what there is to see.
    pub(super) fn look(&mut self, watch: &mut dyn FnMut(&View)) -> Result<(), String> {
        if self.watched.looks.is_multiple_of(EVERY) {
            let others: u32 = self.backends.foreigners().iter().map(|(_, slots)| slots).sum();
            let pids = self.backends.sessions().iter().map(|conn| conn.index).collect();
            let facts = ServerFacts {
                start_time: 1,
                pids,
                max_connections: self.backends.slots() + RESERVED,
                reserved: RESERVED,
                roles: Vec::new(),
                databases: Vec::new(),
                others,
            };
            self.watched.facts = Some(facts.clone());
            self.host.handle(self.now, Input::Facts(facts));
            self.settle()?;
        }
        let view = self.picture();
        watch(&view);
        self.watched.looks += 1;
        self.watched.next = self.now + LOOKS;
        Ok(())
    }

    fn picture(&mut self) -> View {
        let now_ms = EPOCH_MS + millis(self.now, Time::ZERO);
        let snapshot = self.host.snapshot(self.now);
        let waits = snapshot.pools.iter().any(|pool| pool.waiting > 0);
        if waits || self.watched.looks.is_multiple_of(EVERY) {
            self.watched.activity = Some(self.activity(now_ms));
        }
        let traffic = snapshot.pools.iter().map(|pool| PoolTraffic {
            host: HOST,
            pool: pool.id,
            key: pool.key.clone(),
            server_database: pool.key.database.clone(),
            totals: Traffic::default(),
            recent: Traffic::default(),
            query: [0; 16],
            idle_in_transaction: [0; 16],
        });
        let traffic = traffic.collect();
        let mut view = View {
            started_at_ms: EPOCH_MS,
            now_ms,
            traffic,
            servers: self.servers(now_ms),
            waiters: if waits { self.waiters() } else { Vec::new() },
            usage: self.usage(),
            ..View::default()
        };
        view.process.clients = Uses { used: self.clients.len() as u64, max: None };
        view.hosts = vec![HostView {
            id: HOST,
            name: "main".to_owned(),
            address: "127.0.0.1".to_owned(),
            port: 5432,
            snapshot,
            facts: self.watched.facts.clone(),
            activity: self.watched.activity.clone(),
            watch_error: None,
        }];
        view
    }

    fn servers(&self, now_ms: u64) -> Vec<ServerView> {
        let lent = self.leases.all().filter_map(|client| {
            let of = &self.clients[client as usize];
            let Place::Holding(conn) = of.place else { return None };
            Some((client, of, conn, self.backends.doing(conn)?))
        });
        lent.map(|(client, of, conn, doing)| {
            let seat = &self.seats[of.seat as usize];
            let held_us = micros(self.now, of.granted);
            let (state, state_us) = match doing {
                Doing::Runs { .. } | Doing::Waits => (LeaseState::Active, held_us),
                Doing::Idles(since) => (LeaseState::IdleInTransaction, micros(self.now, since)),
            };
            let idle_us = if state == LeaseState::IdleInTransaction { state_us } else { 0 };
            ServerView {
                id: u64::from(conn.index),
                user: seat.key.user.clone(),
                database: seat.key.database.clone(),
                state: ServerState::Active,
                addr: "127.0.0.1".to_owned(),
                port: 5432,
                local_addr: String::new(),
                local_port: 0,
                connected_at_ms: now_ms,
                requested_at_ms: now_ms,
                close_needed: false,
                remote_pid: Some(conn.index),
                link: Some(u64::from(client)),
                application_name: seat.application.clone(),
                prepared_statements: 0,
                tls: String::new(),
                session: SessionView::default(),
                lease: Some(LeaseView {
                    host: HOST,
                    pool: of.pool,
                    client: u64::from(client),
                    application: seat.application.clone(),
                    addr: address(client),
                    port: 1,
                    held_us,
                    state,
                    state_us,
                    on_server_us: held_us - idle_us,
                    idle_in_transaction_us: idle_us,
                    route: None,
                    fingerprint: u64::from(of.seat) + 1,
                    query: statement(seat),
                }),
            }
        })
        .collect()
    }

    fn waiters(&self) -> Vec<WaiterView> {
        let mut all: Vec<WaiterView> = Vec::new();
        for (client, of) in (0..).zip(&self.clients) {
            if let Place::Waiting(_) = of.place {
                let application = self.seats[of.seat as usize].application.clone();
                let oldest_us = micros(self.now, of.asked);
                all.push(WaiterView {
                    host: HOST,
                    pool: of.pool,
                    application,
                    addr: address(client),
                    count: 1,
                    oldest_us,
                });
            }
        }
        all
    }

    /// What each kind of request used: a statement of its own.
    fn usage(&self) -> Vec<UsageView> {
        let mut all = Vec::new();
        let pools = |key: &PoolKey| self.course.pools.iter().position(|pool| pool.key == *key);
        for (number, (seat, (leases, held))) in (1_u64..).zip(self.seats.iter().zip(&self.used)) {
            let Some(pool) = pools(&seat.key) else { continue };
            all.push(UsageView {
                host: HOST,
                pool: PoolId(pool as u32),
                kind: UsageKind::Query,
                name: Some(format!("{number:016x}")),
                query: statement(seat),
                used: Used {
                    leases: *leases,
                    held_us: u64::try_from(held.as_micros()).unwrap_or(u64::MAX),
                    ..Used::default()
                },
            });
        }
        all
    }

    /// What PostgreSQL says of its sessions.
    fn activity(&self, now_ms: u64) -> Activity {
        let holds_lock = |conn| matches!(self.backends.doing(conn), Some(Doing::Runs { locks: true }));
        let sessions = self.backends.sessions();
        let root = sessions.iter().copied().find(|conn| holds_lock(*conn)).map(|conn| conn.index);
        let mut by_conn = BTreeMap::new();
        for client in self.leases.all() {
            let of = &self.clients[client as usize];
            if let Place::Holding(conn) = of.place {
                by_conn.insert(conn, of);
            }
        }
        let mut backends = Vec::new();
        for conn in sessions {
            let mut backend = Backend { pid: conn.index, own: true, ..Backend::default() };
            if let (Some(of), Some(doing)) = (by_conn.get(&conn), self.backends.doing(conn)) {
                let seat = &self.seats[of.seat as usize];
                (backend.role, backend.application) = (seat.key.user.clone(), seat.application.clone());
                backend.transaction_us = Some(micros(self.now, of.granted));
                (backend.state, backend.state_us) = match doing {
                    Doing::Runs { .. } | Doing::Waits => (BackendState::Active, micros(self.now, of.granted)),
                    Doing::Idles(since) => (BackendState::IdleInTransaction, micros(self.now, since)),
                };
                let works = of.work.kind == HoldKind::Cpu;
                match doing {
                    Doing::Waits => {
                        backend.wait = ("Lock".to_owned(), "advisory".to_owned());
                        backend.blocked_by = root.into_iter().collect();
                    }
                    Doing::Runs { .. } if !works => backend.wait = ("Timeout".to_owned(), "PgSleep".to_owned()),
                    Doing::Runs { .. } => {}
                    Doing::Idles(_) => backend.wait = ("Client".to_owned(), "ClientRead".to_owned()),
                }
            }
            backends.push(backend);
        }
        let mut pid = FOREIGN_PIDS;
        for (name, count) in self.backends.foreigners() {
            for _ in 0..count {
                pid += 1;
                backends.push(Backend {
                    pid,
                    role: name.to_owned(),
                    application: name.to_owned(),
                    ..Backend::default()
                });
            }
        }
        Activity {
            seen_at_ms: now_ms,
            took_us: 300,
            max_connections: self.backends.slots() + RESERVED,
            reserved: RESERVED,
            backends,
            ..Activity::default()
        }
    }
}

/// Every seat's requests are one statement.
fn statement(seat: &Seat) -> String {
    format!("select of {}", seat.name)
}

fn address(client: u32) -> String {
    format!("10.0.{}.{}", client / 250 % 250, client % 250)
}

fn micros(now: Time, since: Time) -> u64 {
    u64::try_from(now.since(since).as_micros()).unwrap_or(u64::MAX)
}

fn millis(now: Time, since: Time) -> u64 {
    micros(now, since) / 1_000
}
