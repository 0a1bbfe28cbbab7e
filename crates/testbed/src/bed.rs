//! What one test stands on: a PostgreSQL, and before it the target the environment names.

use std::net::SocketAddr;
use std::time::Duration;

use crate::delay::Delay;
use crate::fault_proxy::FaultProxy;
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
    /// How long each new connection to PostgreSQL takes; with anything but nothing (the default)
    /// there is a relay between pooler and PostgreSQL.
    pub connect_time: Duration,
    /// Replacements in poolwarden's file: what stands there, and what takes its place
    /// (`{dir}` is the pooler's directory, `{sockets}` the one of PostgreSQL's unix socket).
    pub edits: Vec<(&'static str, String)>,
    /// Files beside poolwarden's: name and text.
    pub files: Vec<(&'static str, String)>,
    /// Further settings of PostgreSQL.
    pub postgres: Vec<(&'static str, String)>,
    /// poolwarden's hard limit of open files, the machine's by default.
    pub open_files: Option<u64>,
    /// poolwarden's data directory is a file system of its own of that many KiB ([`crate::disk`]).
    pub disk_kib: Option<u32>,
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
            edits: Vec::new(),
            files: Vec::new(),
            postgres: Vec::new(),
            open_files: None,
            disk_kib: None,
        }
    }
}

impl Plan {
    /// The plan with lines added to `[pools.app]`.
    #[must_use]
    pub fn pool(mut self, lines: &str) -> Plan {
        self.edits.push(("[auth]\n", format!("{lines}\n\n[auth]\n")));
        self
    }

    /// The plan with lines added to `[auth]`.
    #[must_use]
    pub fn auth(self, lines: &str) -> Plan {
        self.edit("[auth]\nmethod = \"scram-sha-256\"\n", &format!("[auth]\n{lines}\n"))
    }

    /// The plan with a file beside poolwarden's.
    #[must_use]
    pub fn file(mut self, name: &'static str, text: &str) -> Plan {
        self.files.push((name, text.to_string()));
        self
    }

    /// The plan with a piece of poolwarden's file replaced by another.
    #[must_use]
    pub fn edit(mut self, from: &'static str, to: &str) -> Plan {
        self.edits.push((from, to.to_string()));
        self
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
    pub fn start_as(target: Target, mut plan: Plan) -> Bed {
        let settings = Settings { max_connections: plan.max_connections, more: plan.postgres.clone() };
        let postgres = Postgres::start(settings);
        let sockets = postgres.socket_dir().display().to_string();
        plan.edits.iter_mut().for_each(|(_, to)| *to = to.replace("{sockets}", &sockets));
        let delay = (!plan.connect_time.is_zero()).then(|| Delay::start(postgres.address(), plan.connect_time));
        let server = delay.as_ref().map_or(postgres.address(), Delay::addr);
        let front = Front::start(target, &plan, server);
        Bed { front, plan, delay, postgres }
    }

    /// Starts both with poolwarden, and between it and PostgreSQL a line that can be harmed.
    #[must_use]
    #[track_caller]
    pub fn start_behind(plan: Plan, seed: u64) -> (Bed, FaultProxy) {
        let settings = Settings { max_connections: plan.max_connections, more: plan.postgres.clone() };
        let postgres = Postgres::start(settings);
        let proxy = FaultProxy::start(postgres.address(), seed);
        let front = Front::start(Target::Poolwarden, &plan, proxy.addr());
        (Bed { front, plan, delay: None, postgres }, proxy)
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

    /// The running poolwarden, for tests that only it can pass.
    #[must_use]
    #[track_caller]
    pub fn poolwarden(&mut self) -> &mut Pooler {
        match &mut self.front {
            Front::Poolwarden(pooler) => pooler,
            Front::Direct | Front::PgBouncer(_) => panic!("the test is about poolwarden itself"),
        }
    }

    /// The running PgBouncer.
    #[must_use]
    #[track_caller]
    pub fn pgbouncer(&self) -> &PgBouncer {
        match &self.front {
            Front::PgBouncer(pgbouncer) => pgbouncer,
            Front::Direct | Front::Poolwarden(_) => panic!("the test is about PgBouncer itself"),
        }
    }

    /// The relay before PostgreSQL, where the plan has one.
    #[must_use]
    #[track_caller]
    pub fn relay(&self) -> &Delay {
        self.delay.as_ref().expect("the plan has a connect time")
    }

    /// The rows of a console's SHOW, as texts by column.
    #[must_use]
    #[track_caller]
    pub fn show(&self, what: &str) -> Vec<std::collections::BTreeMap<String, String>> {
        let answer = self.console().query(&format!("SHOW {what}")).unwrap_or_else(|e| panic!("SHOW {what}: {e}"));
        let named = |row: &Vec<Option<String>>| {
            let values = row.iter().map(|value| value.clone().unwrap_or_default());
            answer.columns.iter().cloned().zip(values).collect()
        };
        answer.rows.iter().map(named).collect()
    }

    /// One number of SHOW POOLS for the user `app` of the database `app`.
    #[must_use]
    #[track_caller]
    pub fn pool(&self, column: &str) -> u64 {
        let rows = self.show("POOLS");
        let row = rows.iter().find(|row| row["database"] == "app" && row["user"] == "app");
        row.map_or(0, |row| row[column].parse().unwrap_or_else(|e| panic!("{column}: {e}")))
    }

    /// Waits until nothing of the pool is lent, nobody waits, and PostgreSQL's own count agrees with the pooler's.
    #[track_caller]
    pub fn at_rest(&self) {
        crate::until("the pool to be at rest with an exact count", Duration::from_secs(15), || {
            let rows = self.show("POOLS");
            let row = rows.iter().find(|row| row["database"] == "app" && row["user"] == "app")?;
            let busy = ["cl_waiting", "sv_active"].iter().any(|column| row[*column] != "0");
            let backends = self.postgres.backends();
            let dirty = backends.iter().any(|backend| backend.state != "idle");
            let held: usize =
                ["sv_idle", "sv_used"].iter().filter_map(|column| row[*column].parse::<usize>().ok()).sum();
            (!busy && !dirty && held == backends.len()).then_some(())
        });
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

    /// A raw client of the user `app`, or why it was not let in.
    ///
    /// # Errors
    /// The refusal.
    pub fn client_or_refusal(&self) -> Result<Wire, crate::Fault> {
        Wire::connect(&self.address(), &login())
    }

    /// A raw client of the SQL console.
    #[must_use]
    #[track_caller]
    pub fn console(&self) -> Wire {
        let database = if matches!(self.front, Front::PgBouncer(_)) { "pgbouncer" } else { "poolwarden" };
        let login = Login { database: database.to_string(), ..login() };
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
