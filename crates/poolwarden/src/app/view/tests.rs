//! A picture of a made-up moment: one server, one pool of `*`, a client and its server connection.

use poolwarden_pool::{Handled, HostId, Input, PoolKey};
use poolwarden_relay::{Doing, Pins, Reading};
use poolwarden_switch::{
    self as switch, ClientRow, Desk, LeaseRow, PoolShare, ServerRow, Shared, TermsBook, Totals, UsageName, UsageRow,
    WaiterRow,
};
use poolwarden_watch::{ClientState, LeaseState, ServerState, UsageKind, Used};

use super::*;
use crate::app::plan;

const MINUTE: u64 = 60_000_000_000;
/// 2024-08-15 08:00:00 UTC.
const NOW_MS: u64 = 1_723_708_800_000;
const FILE: &str = "[servers.main]\nhost = \"/run/pg\"\nport = 5433\n\
                    [pools.app]\ndatabase = \"app_production\"\nsize = 7\n[pools.\"*\"]\n\
                    [users.web]\nmax_connections = 3\npassword_env = \"WEB\"\n[limits]\nmax_clients = 50\n";

fn configs(start: &str, now: &str) -> Configs {
    let read = |text: &str| {
        let (config, findings) = Config::parse(text, |_| Ok("hunter2".to_owned()));
        Arc::new(config.unwrap_or_else(|| panic!("{findings:?}")))
    };
    Configs { now: read(now), start: read(start) }
}

struct World {
    shared: Shared<()>,
    seen: Seen,
}

impl World {
    /// Two minutes after the start.
    fn new(configs: &Configs) -> Self {
        let settings = plan::settings(&configs.now, [0; 32]);
        let cores = settings.hosts.into_iter().map(|host| host.core).collect();
        let shared = Shared::new(cores, 1, 1, TermsBook::default());
        let now = Time::from_nanos(2 * MINUTE);
        Self { shared, seen: Seen { now, now_ms: NOW_MS, started_at_ms: NOW_MS - 120_000, ..Seen::default() } }
    }

    fn pool(&self, database: &str, user: &str) -> Arc<PoolShare> {
        let key = PoolKey { database: database.to_owned(), user: user.to_owned() };
        let handled = self.shared.drive(self.seen.now, HostId(0), Input::Enter(key), &mut Desk::new(None));
        let Handled::Entered(id) = handled else { panic!("{handled:?}") };
        self.shared.pool(HostId(0), id).unwrap()
    }

    fn look(mut self, configs: &Configs) -> View {
        let snapshot = self.shared.snapshot(self.seen.now, HostId(0)).unwrap();
        let watch_error = Some("connection refused".to_owned());
        self.seen.hosts =
            BTreeMap::from([(HostId(0), HostSeen { snapshot, facts: None, watch_error, activity: None })]);
        view(configs, &self.seen)
    }
}

fn client(pool: &Arc<PoolShare>, state: switch::ClientState, link: Option<u64>) -> ClientRow {
    ClientRow {
        serial: 17,
        pool: Arc::clone(pool),
        user: "web".to_owned(),
        state,
        remote: Some("[::ffff:10.0.0.7]:5000".parse().unwrap()),
        local: None,
        tls: None,
        connected_at: MINUTE,
        requested_at: 2 * MINUTE - 1_500_000_000,
        application_name: "shop".to_owned(),
        link,
        statements: 2,
        received: 64,
        session: [Some("UTF8".to_owned()), None, None, Some("UTC".to_owned())],
    }
}

fn server(pool: &Arc<PoolShare>, fenced: bool) -> ServerRow {
    ServerRow {
        serial: 5,
        pool: Arc::clone(pool),
        state: if fenced { switch::ServerState::Idle } else { switch::ServerState::Active },
        fenced,
        remote: None,
        local: None,
        tls: None,
        opened_at: 0,
        used_at: 2 * MINUTE - 1_500_000_000,
        pid: Some(8123),
        lease: Some(LeaseRow {
            client: 17,
            application: "shop".to_owned(),
            remote: Some("[::ffff:10.0.0.7]:5000".parse().unwrap()),
            doing: Doing::IdleInTransaction {
                since: 2 * MINUTE - 1_500_000_000,
                transaction: 2 * MINUTE - 4_000_000_000,
            },
            statement: Some(Arc::new(Reading::of(b"SELECT 'secret' /*route='%2Fcart'*/"))),
        }),
        application_name: "shop".to_owned(),
        statements: 1,
        session: [None, None, None, None],
        pins: (Pins::NONE, 0),
        times: (5_000_000_000, 2_000_000_000, 1_500_000_000),
    }
}

#[test]
fn connections_are_shown_with_their_times_by_the_wall_clock() {
    let configs = configs(FILE, FILE);
    let mut world = World::new(&configs);
    let pool = world.pool("app", "web");
    let rows = |state, link, fenced| LoopReport {
        clients: vec![client(&pool, state, link)],
        servers: vec![server(&pool, fenced)],
        ..LoopReport::default()
    };
    world.seen.reports =
        vec![rows(switch::ClientState::Active, Some(5), false), rows(switch::ClientState::Waiting, None, true)];
    let view = world.look(&configs);
    let [active, waiting] = &view.clients[..] else { panic!("two clients") };
    assert_eq!((active.state, active.wait_us, active.link), (ClientState::Active, 0, Some(5)));
    assert_eq!((active.addr.as_str(), active.port, active.local_addr.as_str()), ("10.0.0.7", 5000, "unix"));
    assert_eq!((active.connected_at_ms, active.requested_at_ms), (NOW_MS - 60_000, NOW_MS - 1_500));
    assert_eq!((waiting.state, waiting.wait_us), (ClientState::Waiting, 1_500_000));
    let [used, fenced] = &view.servers[..] else { panic!("two server connections") };
    assert_eq!((used.state, fenced.state), (ServerState::Active, ServerState::BeingCanceled));
    assert_eq!((used.addr.as_str(), used.port, used.remote_pid), ("unix", 5433, Some(8123)));
    assert_eq!((used.connected_at_ms, used.requested_at_ms), (NOW_MS - 120_000, NOW_MS - 1_500));
}

#[test]
fn a_lease_tells_whose_it_is_and_what_goes_on_without_values() {
    let configs = configs(FILE, FILE);
    let mut world = World::new(&configs);
    let pool = world.pool("app", "web");
    world.seen.reports = vec![LoopReport { servers: vec![server(&pool, false)], ..LoopReport::default() }];
    let view = world.look(&configs);
    let lease = view.servers[0].lease.as_ref().unwrap();
    assert_eq!((lease.host, lease.pool, lease.client, lease.application.as_str()), (HostId(0), pool.id, 17, "shop"));
    assert_eq!((lease.addr.as_str(), lease.port), ("10.0.0.7", 5000));
    assert_eq!((lease.state, lease.state_us, lease.held_us), (LeaseState::IdleInTransaction, 1_500_000, 5_000_000));
    assert_eq!((lease.on_server_us, lease.idle_in_transaction_us), (2_000_000, 1_500_000));
    assert_eq!((lease.route.as_deref(), lease.query.as_str()), (Some("/cart"), "select ?"));
    assert_ne!(lease.fingerprint, 0);
    assert_eq!(view.servers[0].link, Some(17));
}

#[test]
fn who_waits_and_who_used_what_is_added_up_over_the_loops() {
    let configs = configs(FILE, FILE);
    let mut world = World::new(&configs);
    let pool = world.pool("app", "web");
    let waiter = |application: &str, count, since| WaiterRow {
        pool: Arc::clone(&pool),
        application: application.to_owned(),
        remote: Some("::ffff:10.0.0.7".parse().unwrap()),
        count,
        since,
    };
    let used =
        switch::Used { leases: 2, held: 5_000, on_server: 4_000, waited: 3_000, refused: 1, idle_in_transaction: 0 };
    let statement = Arc::new(Reading::of(b"select 7"));
    let usage = |kind, name| UsageRow { pool: Arc::clone(&pool), kind, name, used };
    let report = |waiters| LoopReport {
        waiters,
        usage: vec![
            usage(switch::UsageKind::Application, Some(UsageName::Text("shop".into()))),
            usage(switch::UsageKind::Application, None),
            usage(switch::UsageKind::Query, Some(UsageName::Query(Arc::clone(&statement)))),
        ],
        ..LoopReport::default()
    };
    let late = 2 * MINUTE - 1_000_000_000;
    world.seen.reports =
        vec![report(vec![waiter("shop", 2, late)]), report(vec![waiter("shop", 2, MINUTE), waiter("batch", 3, late)])];
    let view = world.look(&configs);
    let groups: Vec<_> = view.waiters.iter().map(|of| (of.application.as_str(), of.count, of.oldest_us)).collect();
    assert_eq!(groups, [("shop", 4, 60_000_000), ("batch", 3, 1_000_000)]);
    assert_eq!((view.waiters[0].addr.as_str(), view.waiters[0].pool), ("10.0.0.7", pool.id));
    let names: Vec<_> = view.usage.iter().map(|of| (of.kind, of.name.clone(), of.query.as_str())).collect();
    let hex = Some(format!("{:016x}", statement.fingerprint));
    let shop = Some("shop".to_owned());
    assert_eq!(
        names,
        [(UsageKind::Application, None, ""), (UsageKind::Application, shop, ""), (UsageKind::Query, hex, "select ?")]
    );
    let sums = Used { leases: 4, held_us: 10, on_server_us: 8, idle_in_transaction_us: 0, waited_us: 6, refused: 2 };
    assert!(view.usage.iter().all(|of| of.used == sums && (of.host, of.pool) == (HostId(0), pool.id)));
}

#[test]
fn traffic_of_all_loops_is_added_up_by_pool_under_postgresqls_own_name() {
    let configs = configs(FILE, FILE);
    let mut world = World::new(&configs);
    let (app, other) = (world.pool("app", "web"), world.pool("other", "web"));
    let totals = Totals {
        transactions: 3,
        on_server_nanos: 5_000,
        idle_in_transaction_nanos: 2_000,
        to_server: 7,
        ..Totals::default()
    };
    let report = || LoopReport {
        totals: vec![(Arc::clone(&app), totals), (Arc::clone(&other), totals)],
        ..LoopReport::default()
    };
    world.seen.reports = vec![report(), report()];
    let view = world.look(&configs);
    let [first, second] = &view.traffic[..] else { panic!("two pools") };
    assert_eq!((first.server_database.as_str(), second.server_database.as_str()), ("app_production", "other"));
    assert_eq!((first.totals.xact_count, first.totals.bytes_received), (6, 14));
    assert_eq!((first.totals.xact_time_us, first.totals.query_time_us), (14, 10));
}

#[test]
fn databases_and_users_are_those_of_the_file_and_those_that_came() {
    let configs = configs(FILE, FILE);
    let mut world = World::new(&configs);
    world.pool("app", "web");
    world.pool("app", "batch");
    world.pool("other", "web");
    world.seen.said.pause(Some("app"), true);
    world.seen.said.disable("other", true);
    let view = world.look(&configs);
    let databases: Vec<_> = view.databases.iter().map(|of| (of.name.as_str(), of.database.as_deref())).collect();
    assert_eq!(databases, [("*", None), ("app", Some("app_production")), ("other", Some("other"))]);
    let [_, app, other] = &view.databases[..] else { panic!("three databases") };
    assert_eq!((app.pool_size, app.current_client_connections, app.paused, app.disabled), (7, 2, true, false));
    assert_eq!((other.current_client_connections, other.paused, other.disabled), (1, false, true));
    let users: Vec<_> =
        view.users.iter().map(|of| (of.name.as_str(), of.max_connections, of.current_client_connections)).collect();
    assert_eq!(users, [("web", Some(3), 2), ("batch", None, 1)]);
}

#[test]
fn settings_are_those_in_force_and_never_a_secret() {
    let changed = FILE.replace("max_clients = 50", "max_clients = 60\n[listen]\nhttp = \"off\"");
    let configs = configs(FILE, &changed);
    let view = World::new(&configs).look(&configs);
    let value = |key: &str| view.config.iter().find(|of| of.key == key).map(|of| (of.value.as_str(), of.changeable));
    assert_eq!(value("limits.max_clients"), Some(("60", true)));
    assert_eq!(value("listen.http"), Some(("127.0.0.1:9432", false)), "it waits for a restart");
    assert_eq!(value("users.web.password_env"), Some(("<set>", true)));
    assert!(!format!("{view:?}").contains("hunter2"));
    let same = World::new(&self::configs(FILE, FILE)).look(&self::configs(FILE, FILE));
    assert_ne!(view.process.config_hash, same.process.config_hash);
    assert_eq!(view.process.config_hash.len(), 16);
}

#[test]
fn the_process_says_what_it_is_doing_and_what_it_refused() {
    let configs = configs(FILE, FILE);
    let mut world = World::new(&configs);
    world.seen.figures.refused = vec![(Limit::MaxClients, 3), (Limit::Memory, 1)];
    world.seen.figures.max_clients = 50;
    world.seen.counts.reloads = 2;
    world.seen.said.pause(None, true);
    let view = world.look(&configs);
    assert_eq!(view.state, ProcessState::Paused);
    assert_eq!((view.process.refused_clients[8], view.process.refused_clients[13]), (3, 1));
    assert_eq!((view.process.clients.max, view.process.reloads), (Some(50), 2));
    assert_eq!((view.hosts[0].address.as_str(), view.hosts[0].port), ("/run/pg", 5433));
    assert_eq!(view.hosts[0].watch_error.as_deref(), Some("connection refused"));
    let mut draining = World::new(&configs);
    draining.seen.draining = true;
    draining.seen.said.pause(None, true);
    assert_eq!(draining.look(&configs).state, ProcessState::Draining);
}

#[test]
fn classes_stand_under_their_ids_and_say_until_when_they_are_shed() {
    let classes = "[classes.gold]\nweight = 9\nreserve = 2\n";
    let configs = configs(FILE, &format!("{FILE}{classes}"));
    let world = World::new(&configs);
    let id = configs.now.class_ids()["gold"];
    let until = world.seen.now + Duration::from_secs(600);
    world.shared.drive(world.seen.now, HostId(0), Input::Shed(id, until), &mut Desk::new(None));
    let view = world.look(&configs);
    let names: Vec<_> = view.classes.iter().map(|class| class.name.as_str()).collect();
    assert_eq!(names, ["default", "batch", "critical", "gold"]);
    let gold = &view.classes[usize::from(id.0)];
    assert_eq!((gold.weight, gold.reserve, gold.shed_until_ms), (9, 2, Some(NOW_MS + 600_000)));
    assert!(view.classes[..3].iter().all(|class| class.shed_until_ms.is_none()));
}
