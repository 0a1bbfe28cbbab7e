//! A made-up server with one pool, second by second.

use std::time::Duration;

use poolwarden_watch::pool::{
    ConnectFailure, Failure, HostId, HostSnapshot, Limit, LimitUse, Mode, PoolId, PoolKey, PoolSnapshot, ServerFacts,
    Slots,
};
use poolwarden_watch::why::Why;
use poolwarden_watch::{
    Activity, Alerts, Backend, BackendState, ChangeView, HostView, LeaseState, LeaseView, Notice, ProbeResult,
    ProbeView, Quota, ServerState, ServerView, SessionView, UsageKind, UsageView, Used, View, Watch,
};

/// How some of the connections are used from now on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Busy {
    pub(crate) stuck: u32,
    pub(crate) idle: u32,
    pub(crate) slow: u32,
    pub(crate) locked: u32,
}

pub(crate) struct World {
    watch: Watch,
    view: View,
    busy: Busy,
    binding: Limit,
    seconds: u64,
    /// PostgreSQL answers nothing any more, and nothing ends.
    frozen: bool,
    /// Since when the transactions that `Busy::stuck` counts have been idle: so many seconds before the newest picture.
    idle_s: Option<u64>,
    /// How long the oldest waits, in milliseconds.
    oldest_ms: u64,
    /// PostgreSQL is not asked about its backends.
    untold: bool,
    /// The second in which connections began to be used so.
    busy_at: u64,
    /// Seconds in which a connection was forgotten each, where they were forgotten one by one.
    forgotten_at: Vec<u64>,
    /// Backends of another application.
    others: u32,
    alerts: Alerts,
    /// What was told, and in which second.
    notices: Vec<(u64, Notice)>,
}

impl World {
    pub(crate) fn new(size: u32) -> Self {
        let host = HostView {
            id: HostId(0),
            name: "main".into(),
            address: "db".into(),
            port: 5432,
            snapshot: HostSnapshot {
                pools: vec![pool(size)],
                budget: 80,
                used: 0,
                connects: (0, 4),
                down: false,
                moved: 0,
                evicted: 0,
                retired: (0, 0, 0),
                shed: Vec::new(),
            },
            facts: Some(ServerFacts { others: 3, max_connections: 100, ..ServerFacts::default() }),
            activity: Some(Activity { took_us: 400, max_connections: 100, reserved: 3, ..Activity::default() }),
            watch_error: None,
        };
        let view = View { now_ms: 1_000_000, hosts: vec![host], ..View::default() };
        let mut world = Self {
            watch: Watch::default(),
            view,
            busy: Busy::default(),
            binding: Limit::PoolSize,
            seconds: 0,
            frozen: false,
            idle_s: None,
            oldest_ms: 900,
            untold: false,
            busy_at: 0,
            forgotten_at: Vec::new(),
            others: 0,
            alerts: Alerts::default(),
            notices: Vec::new(),
        };
        world.watch.observe(&world.view);
        world
    }

    pub(crate) fn limited(mut self, limit: Limit, size: u32) -> Self {
        for of in &mut self.pool().limits {
            if of.limit == limit {
                of.size = Some(size);
            }
        }
        self.binding = limit;
        self
    }

    pub(crate) fn busy(&mut self, busy: Busy) {
        self.busy = busy;
        self.busy_at = self.seconds;
    }

    /// From now on the stuck ones have just begun to be idle, and grow older second by second.
    pub(crate) fn forget(&mut self, count: u32) {
        self.busy.stuck = count;
        self.idle_s = Some(0);
    }

    /// One more is forgotten from now on.
    pub(crate) fn forget_one(&mut self) {
        self.forgotten_at.push(self.seconds);
        self.busy.stuck = self.forgotten_at.len() as u32;
    }

    /// What was told since this was asked last, and how many seconds ago.
    pub(crate) fn told(&mut self) -> Vec<(u64, Notice)> {
        let seconds = self.seconds;
        std::mem::take(&mut self.notices).into_iter().map(|(at, notice)| (seconds - at, notice)).collect()
    }

    /// So many backends are an application's that does not come through here.
    pub(crate) fn others(&mut self, others: u32) {
        self.others = others;
    }

    /// The totals of two statements: of each the connections it has held in the mean, and for how many seconds.
    pub(crate) fn statements(&mut self, held: [(&str, f64); 2]) {
        let usage = |(query, held_s): (&str, f64)| UsageView {
            host: HostId(0),
            pool: PoolId(0),
            kind: UsageKind::Query,
            name: Some(format!("{:016x}", query.len())),
            query: query.to_owned(),
            used: Used { leases: 1_000, held_us: (held_s * 1e6) as u64, ..Used::default() },
        };
        self.view.usage = held.into_iter().map(usage).collect();
    }

    /// Whoever waits does so for a short time only.
    pub(crate) fn brief(&mut self, oldest_ms: u64) {
        self.oldest_ms = oldest_ms;
    }

    pub(crate) fn untold(&mut self, untold: bool) {
        self.untold = untold;
    }

    pub(crate) fn freeze(&mut self) {
        self.frozen = true;
    }

    /// The database's own limit in PostgreSQL, of which others use so much.
    pub(crate) fn database_limit(&mut self, size: u32, others: u32) {
        let quota = Quota { name: "app".into(), size, used: size };
        let activity = self.view.hosts[0].activity.as_mut().expect("it answers");
        activity.databases = vec![quota];
        let of = LimitUse { limit: Limit::PgDatabase, used: 0, size: Some(size - others), binds: true };
        self.pool().limits.push(of);
        self.binding = Limit::PgDatabase;
    }

    /// The answer when another server stands before this one in the picture, with a pool of the same number.
    pub(crate) fn why_beside(&self, name: &str) -> Why {
        let mut view = self.view.clone();
        let mut other = view.hosts[0].clone();
        (other.id, other.name) = (HostId(1), name.to_owned());
        other.snapshot.pools = vec![pool(10)];
        view.hosts.insert(0, other);
        self.watch.why(&view, None)
    }

    pub(crate) fn probe(&mut self, database: bool) {
        self.view.probes = vec![ProbeView {
            name: "home".into(),
            url: "http://web/".into(),
            database: Some(database),
            ..ProbeView::default()
        }];
    }

    pub(crate) fn down(&mut self, said: &str) {
        self.view.hosts[0].snapshot.down = true;
        let failure = ConnectFailure { kind: Failure::Down, sqlstate: *b"08001", message: said.into() };
        self.pool().failure = Some(failure);
        self.binding = Limit::Breaker;
    }

    pub(crate) fn shrink(&mut self, size: u32, key: &str) {
        let pool = self.pool();
        let from = std::mem::replace(&mut pool.size, size);
        pool.limits[0].size = Some(size);
        self.view.changes.push(ChangeView {
            at_ms: self.view.now_ms,
            key: key.into(),
            from: Some(from.to_string()),
            to: Some(size.to_string()),
            by: "reload".into(),
        });
    }

    pub(crate) fn why(&self) -> Why {
        self.watch.why(&self.view, None)
    }

    fn pool(&mut self) -> &mut PoolSnapshot {
        &mut self.view.hosts[0].snapshot.pools[0]
    }

    /// So many seconds in which `rate` requests per second come that hold a connection for `hold` seconds, while `waiting` wait.
    pub(crate) fn run(&mut self, seconds: u64, rate: f64, hold: f64, waiting: u32) {
        for _second in 0..seconds {
            self.second(rate, hold, waiting);
        }
    }

    fn second(&mut self, rate: f64, hold: f64, waiting: u32) {
        self.seconds += 1;
        self.view.now_ms += 1_000;
        self.idle_s = self.idle_s.map(|seconds| seconds + 1);
        let (busy, binding, seconds, idle_s) = (self.busy, self.binding, self.seconds, self.idle_s);
        let oldest_ms = self.oldest_ms;
        let rate = if self.frozen { 0.0 } else { rate };
        let pool = self.pool();
        let odd = busy.stuck + busy.idle + busy.slow + busy.locked;
        let most = pool.limits.iter().filter_map(|of| of.size).min().unwrap_or(pool.size);
        let ordinary = if waiting > 0 { most.saturating_sub(odd) } else { (rate * hold).round() as u32 };
        let served = if waiting > 0 { (f64::from(ordinary) / hold).min(rate) } else { rate };
        pool.granted += served as u64;
        pool.leases += served as u64;
        pool.hold[bucket(hold)] += served as u64;
        pool.lent_nanos += u64::from(odd + ordinary) * 1_000_000_000;
        pool.wait_nanos[binding.index()] += u64::from(waiting) * 1_000_000_000;
        pool.refused[binding.index()] += (rate - served) as u64;
        pool.waiting = waiting;
        pool.oldest_wait = Duration::from_millis(if waiting > 0 { oldest_ms } else { 0 });
        pool.binding = (waiting > 0).then_some(binding);
        pool.clients = 100;
        pool.slots = Slots { lent: odd + ordinary, ..Slots::default() };
        let lent = odd + ordinary;
        for of in &mut pool.limits {
            of.used = if of.limit == Limit::Breaker { 0 } else { lent };
            of.binds = of.limit == binding;
        }
        let idle_s = |at: u32| self.forgotten_at.get(at as usize).map(|from| seconds - from).or(idle_s);
        self.view.servers = (0..lent).map(|at| server(at, busy, seconds - self.busy_at, idle_s(at))).collect();
        if !self.frozen && !self.untold {
            self.activity(busy);
        }
        self.probes();
        self.watch.observe(&self.view);
        let told = self.alerts.take(&self.view, &self.watch.why(&self.view, None));
        self.notices.extend(told.into_iter().map(|notice| (self.seconds, notice)));
    }

    fn activity(&mut self, busy: Busy) {
        let now_ms = self.view.now_ms;
        let Some(activity) = self.view.hosts[0].activity.as_mut() else { return };
        activity.seen_at_ms = now_ms;
        let first = busy.stuck + busy.idle + busy.slow;
        let blocked = |at: u32| Backend {
            pid: 100 + first + at,
            own: true,
            state: BackendState::Active,
            wait: ("Lock".into(), "relation".into()),
            blocked_by: vec![999],
            ..Backend::default()
        };
        activity.backends = (0..busy.locked).map(blocked).collect();
        let root = Backend { pid: 999, role: "dba".into(), application: "psql".into(), ..Backend::default() };
        activity.backends.extend((busy.locked > 0).then_some(root));
        let other = Backend { role: "etl".into(), application: "nightly".into(), ..Backend::default() };
        activity.backends.extend((0..self.others).map(|at| Backend { pid: 5_000 + at, ..other.clone() }));
    }

    fn probes(&mut self) {
        let now_ms = self.view.now_ms;
        for probe in &mut self.view.probes {
            probe.bad += 1;
            probe.last = Some(ProbeResult { at_ms: now_ms, took_us: 900, status: Some(500), ..ProbeResult::default() });
        }
    }
}

fn bucket(hold: f64) -> usize {
    poolwarden_watch::pool::WAIT_BUCKETS.partition_point(|&bound| (bound as f64) < hold * 1e9)
}

fn pool(size: u32) -> PoolSnapshot {
    let of = |limit, size| LimitUse { limit, used: 0, size, binds: false };
    PoolSnapshot {
        id: PoolId(0),
        key: PoolKey { database: "app".into(), user: "web".into() },
        alone: false,
        mode: Mode::Transaction,
        size,
        min_size: 0,
        reserve: 0,
        slots: Slots::default(),
        clients: 0,
        waiting: 0,
        oldest_wait: Duration::ZERO,
        paused: false,
        disabled: false,
        binding: None,
        limits: vec![
            of(Limit::PoolSize, Some(size)),
            of(Limit::User, None),
            of(Limit::Database, None),
            of(Limit::HostBudget, Some(80)),
        ],
        granted: 0,
        granted_after_wait: 0,
        refused: [0; 16],
        abandoned: 0,
        wait_nanos: [0; 16],
        wait_granted: [0; 16],
        wait_failed: [0; 16],
        hold: [0; 16],
        leases: 0,
        lent_nanos: 0,
        on_server_nanos: 0,
        idle_in_transaction_nanos: 0,
        occupancy: [0; 12],
        connects: 0,
        connect: [0; 16],
        connects_failed: 0,
        connect_failures: Vec::new(),
        closed: [0; 10],
        high_water: (0, 0),
        failure: None,
        classes: Vec::new(),
    }
}

/// The connection of this place: forgotten ones first, then idle, slow, locked and ordinary ones.
fn server(at: u32, busy: Busy, seconds: u64, idle_s: Option<u64>) -> ServerView {
    let long = seconds * 1_000_000;
    let (state, state_us, fingerprint, query) = if at < busy.stuck {
        (LeaseState::IdleInTransaction, idle_s.map_or(20_000_000, |seconds| seconds * 1_000_000), 1, "begin")
    } else if at < busy.stuck + busy.idle {
        (LeaseState::IdleInTransaction, 600_000, 2, "update cart set n = ?")
    } else if at < busy.stuck + busy.idle + busy.slow {
        (LeaseState::Active, 2_500_000, 3, "select * from report")
    } else if at < busy.stuck + busy.idle + busy.slow + busy.locked {
        (LeaseState::Active, long.max(10_000), 4, "update stock set n = ?")
    } else {
        (LeaseState::Active, 8_000, 5, "select ?")
    };
    ServerView {
        id: u64::from(at),
        user: "web".into(),
        database: "app".into(),
        state: ServerState::Active,
        addr: "db".into(),
        port: 5432,
        local_addr: "here".into(),
        local_port: 1,
        connected_at_ms: 0,
        requested_at_ms: 0,
        close_needed: false,
        remote_pid: Some(100 + at),
        link: Some(u64::from(at)),
        application_name: "shop".into(),
        prepared_statements: 0,
        tls: String::new(),
        session: SessionView::default(),
        lease: Some(LeaseView {
            client: u64::from(at),
            application: "shop".into(),
            addr: "10.0.0.1".into(),
            held_us: state_us.max(10_000),
            state,
            state_us,
            fingerprint,
            query: query.into(),
            ..LeaseView::default()
        }),
    }
}
