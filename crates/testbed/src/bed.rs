//! What one test stands on: a PostgreSQL, and before it the target the environment names.

use std::net::SocketAddr;
use std::time::Duration;

use crate::delay::Delay;
use crate::pgbouncer::PgBouncer;
use crate::pooler::Pooler;
use crate::postgres::{Postgres, Settings};
use crate::template::PASSWORD;
use crate::wire::{Address, Login, Wire};

/// What the clients speak to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// PostgreSQL itself: proves that a test asks nothing impossible.
    Direct,
    /// PgBouncer in the plan's mode.
    PgBouncer,
    /// The product.
    Poolwarden,
}

/// When a server connection goes back to its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// When the client leaves.
    Session,
    /// After each transaction.
    Transaction,
    /// After each statement.
    Statement,
}

/// What a test wants between its clients and PostgreSQL.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The pool's size, in server connections.
    pub size: u32,
    /// The pool's mode.
    pub mode: Mode,
    /// How long a request may wait.
    pub max_wait: Duration,
    /// The user's limit of server connections, if any.
    pub user_limit: Option<u32>,
    /// The host budget; `None` is ten more than the pool's size.
    pub budget: Option<u32>,
    /// The most clients connected.
    pub max_clients: u32,
    /// PostgreSQL's own limit.
    pub max_connections: u32,
    /// How long each new connection to PostgreSQL takes, nothing by default.
    pub connect_time: Duration,
}

/// PostgreSQL and the target before it.
#[derive(Debug)]
pub struct Bed {
    // The order of the fields is the order of dropping: the pooler goes before its server.
    front: Front,
    plan: Plan,
    delay: Option<Delay>,
    /// The server.
    pub postgres: Postgres,
}

#[derive(Debug)]
enum Front {
    Direct,
    PgBouncer(PgBouncer),
    Poolwarden(Pooler),
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            size: 10,
            mode: Mode::Transaction,
            max_wait: Duration::from_secs(60),
            user_limit: None,
            budget: None,
            max_clients: 5_000,
            max_connections: 150,
            connect_time: Duration::ZERO,
        }
    }
}

impl Mode {
    /// As configuration files write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Session => "session",
            Mode::Transaction => "transaction",
            Mode::Statement => "statement",
        }
    }
}

impl Target {
    /// The target of `TESTBED_TARGET`, poolwarden unless said otherwise.
    #[must_use]
    #[track_caller]
    pub fn chosen() -> Target {
        match std::env::var("TESTBED_TARGET").as_deref() {
            Err(_) | Ok("poolwarden") => Target::Poolwarden,
            Ok("pgbouncer") => Target::PgBouncer,
            Ok("direct") => Target::Direct,
            Ok(other) => panic!("TESTBED_TARGET {other:?}: say poolwarden, pgbouncer or direct"),
        }
    }

    /// `number` of clients, a hundredth of it where each one is a process of PostgreSQL.
    #[must_use]
    pub fn crowd(self, number: u32) -> u32 {
        match self {
            Target::Direct => number / 100,
            Target::PgBouncer | Target::Poolwarden => number,
        }
    }
}

impl Bed {
    /// Starts both, before them the target of `TESTBED_TARGET`.
    #[must_use]
    #[track_caller]
    pub fn start(plan: Plan) -> Bed {
        Bed::start_as(Target::chosen(), plan)
    }

    /// Starts both, with a target of the test's own choice.
    #[must_use]
    #[track_caller]
    pub fn start_as(target: Target, plan: Plan) -> Bed {
        let settings = Settings { max_connections: plan.max_connections, ..Settings::default() };
        let postgres = Postgres::start(settings);
        let delay = (!plan.connect_time.is_zero()).then(|| Delay::start(postgres.address(), plan.connect_time));
        let server = delay.as_ref().map_or(postgres.address(), Delay::addr);
        let front = Front::start(target, &plan, server);
        Bed { front, plan, delay, postgres }
    }

    /// Where the target finds PostgreSQL.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        self.delay.as_ref().map_or(self.postgres.address(), Delay::addr)
    }

    /// Where clients connect.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        match &self.front {
            Front::Direct => self.server(),
            Front::PgBouncer(pgbouncer) => pgbouncer.addr(),
            Front::Poolwarden(pooler) => pooler.addr(),
        }
    }

    /// Where raw clients connect.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::Tcp(self.addr())
    }

    /// The URL clients are given.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://app:{PASSWORD}@{}/app", self.addr())
    }

    /// The most backends of the user `app` there may ever be.
    #[must_use]
    pub fn limit(&self) -> usize {
        let limit = match &self.front {
            Front::Direct => self.plan.max_connections,
            Front::PgBouncer(_) | Front::Poolwarden(_) => self.plan.size.min(self.plan.user_limit.unwrap_or(u32::MAX)),
        };
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    /// The running poolwarden; `None` when the target is another.
    #[must_use]
    pub fn pooler(&self) -> Option<&Pooler> {
        match &self.front {
            Front::Poolwarden(pooler) => Some(pooler),
            Front::Direct | Front::PgBouncer(_) => None,
        }
    }

    /// The plan it was started with.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// A raw client of the user `app`, logged in.
    #[must_use]
    #[track_caller]
    pub fn client(&self) -> Wire {
        Wire::connect(&self.address(), &login()).unwrap_or_else(|e| panic!("connect: {e}"))
    }

    /// A raw client of the SQL console.
    #[must_use]
    #[track_caller]
    pub fn console(&self) -> Wire {
        let login = Login { database: "poolwarden".to_string(), ..login() };
        Wire::connect(&self.address(), &login).unwrap_or_else(|e| panic!("connect to the console: {e}"))
    }
}

impl Front {
    #[track_caller]
    fn start(target: Target, plan: &Plan, server: SocketAddr) -> Front {
        match target {
            Target::Direct => Front::Direct,
            Target::PgBouncer => Front::PgBouncer(PgBouncer::start(plan, server)),
            Target::Poolwarden => Front::Poolwarden(Pooler::start(plan, server)),
        }
    }
}

/// The login every test uses.
#[must_use]
pub fn login() -> Login {
    Login { user: "app".to_string(), password: PASSWORD.to_string(), database: "app".to_string() }
}
