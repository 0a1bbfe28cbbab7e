//! What a loop tells: whose a lent connection is and what it does, who waits, and who used what.
#![allow(clippy::unwrap_used, missing_docs)] // a test may end where its premise fails

mod scene;

use std::time::Duration;

use poolwarden_switch::pool::{DatabaseSettings, HostId, Mode, PoolKey, Time};
use poolwarden_switch::relay::pgwire::make;
use poolwarden_switch::relay::{Doing, Keep};
use poolwarden_switch::{
    Detail, Joining, LeaseRow, LoopReport, Mail, Peer, PoolTerms, ServerState, TermsBook, UsageKind, UsageName, Used,
};
use scene::{FIRST, SECOND, SERVER, Scene, query};

const A_SECOND: Duration = Duration::from_secs(1);

fn ready(status: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    make::command_complete(&mut bytes, "SELECT 1");
    make::ready(&mut bytes, status);
    bytes
}

/// Clients of these names in place of the scene's own two.
fn scene(applications: [&str; 2]) -> Scene {
    under(applications, Duration::from_secs(600))
}

fn under(applications: [&str; 2], max_wait: Duration) -> Scene {
    let any = DatabaseSettings { size: 1, mode: Mode::Transaction, max_wait, ..Default::default() };
    let terms = PoolTerms { keep: Keep::Transaction, ..PoolTerms::default() };
    let mut scene = Scene::under(any, TermsBook { any: terms, ..TermsBook::default() });
    for (peer, application) in [FIRST, SECOND].into_iter().zip(applications) {
        scene.receive(peer, b"X\0\0\0\x04");
        join(&mut scene, application, 10 + u64::try_from(application.len()).unwrap());
        if scene.world.sent.contains_key(&SERVER) {
            scene.receive(SERVER, &ready(b'I')); // its settings are proven there
        }
        scene.world.sent.clear();
    }
    scene
}

/// Somebody says something; what the next lease sets on the connection is taken.
fn hear(scene: &mut Scene, peer: Peer, bytes: &[u8]) {
    scene.receive(peer, bytes);
    let sent = scene.world.sent.remove(&SERVER).unwrap_or_default();
    if sent.windows(16).any(|part| part == b"application_name") {
        scene.receive(SERVER, &ready(b'I'));
    }
}

/// Somebody of this name comes in.
fn join(scene: &mut Scene, application: &str, serial: u64) {
    let joining = Joining {
        host: HostId(0),
        key: PoolKey { database: "app".into(), user: "app".into() },
        user: None,
        deadline: None,
        settings: vec![("application_name".into(), application.into())],
        leftover: Vec::new(),
        alone: None,
        secret: scene.secret(),
        serial,
        connected_at: 0,
        remote: Some("10.1.2.3:5000".parse().unwrap()),
        local: None,
        tls: None,
    };
    scene.mail(Mail::Join(Box::new(joining), ()));
}

fn told(scene: &Scene) -> LoopReport {
    scene.switch.report(scene.now, Detail::Servers)
}

fn lease(scene: &Scene) -> Option<LeaseRow> {
    told(scene).servers[0].lease.clone()
}

fn used(scene: &Scene, kind: UsageKind, name: &str) -> Option<Used> {
    let rows = told(scene).usage;
    let of = |row: &Option<UsageName>| match row {
        Some(UsageName::Text(text)) => Some(text.to_string()),
        Some(UsageName::Query(reading)) => Some(reading.text.to_string()),
        None => None,
    };
    rows.iter().find(|row| row.kind == kind && of(&row.name).as_deref() == Some(name)).map(|row| row.used)
}

fn parse_bind(statement: &str, text: Option<&str>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(text) = text {
        make::parse(&mut bytes, statement, text, &[]);
    }
    let bind = [b"\0", statement.as_bytes(), b"\0\0\0\0\0\0\0"].concat();
    bytes.push(b'B');
    bytes.extend_from_slice(&u32::try_from(bind.len() + 4).unwrap().to_be_bytes());
    bytes.extend_from_slice(&bind);
    bytes.extend_from_slice(b"E\0\0\0\x09\0\0\0\0\0");
    make::sync(&mut bytes);
    bytes
}

fn run_answer(parsed: bool, status: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    if parsed {
        make::parse_complete(&mut bytes);
    }
    make::bind_complete(&mut bytes);
    bytes.extend_from_slice(&ready(status));
    bytes
}

#[test]
fn a_holder_is_told_with_its_newest_statement_and_what_it_does() {
    let mut scene = scene(["shop", "reports"]);
    assert!(lease(&scene).is_none());
    hear(&mut scene, FIRST, &query("BEGIN /*route='%2Fcart'*/"));
    hear(&mut scene, SERVER, &ready(b'T'));
    scene.now = Time::ZERO + A_SECOND;
    let idle = lease(&scene).unwrap();
    assert_eq!((idle.client, idle.application.as_str()), (14, "shop"));
    assert_eq!(idle.remote, Some("10.1.2.3:5000".parse().unwrap()));
    assert_eq!(idle.doing, Doing::IdleInTransaction { since: 0, transaction: 0 });
    let statement = idle.statement.unwrap();
    assert_eq!((&*statement.text, &*statement.route.as_ref().unwrap().name), ("begin", "/cart"));

    hear(&mut scene, FIRST, &query("UPDATE stock SET left = left - 1 WHERE id IN (1, 2, 3)"));
    scene.now = scene.now + A_SECOND;
    let active = lease(&scene).unwrap();
    assert_eq!(active.doing, Doing::Request { since: 1_000_000_000, transaction: 0 });
    assert_eq!(&*active.statement.unwrap().text, "update stock set left = left - ? where id in (?)");
    let row = &told(&scene).servers[0];
    assert_eq!((row.state, row.times), (ServerState::Active, (2_000_000_000, 1_000_000_000, 1_000_000_000)));
    assert!(scene.switch.report(scene.now, Detail::Totals).servers.is_empty());
    assert!(told(&scene).clients.is_empty());
    assert_eq!(scene.switch.report(scene.now, Detail::Everything).clients.len(), 2);
}

#[test]
fn who_waits_is_told_by_application_and_address_with_the_oldest_wait() {
    let mut scene = scene(["shop", "reports"]);
    hear(&mut scene, FIRST, &query("begin"));
    hear(&mut scene, SERVER, &ready(b'T'));
    assert!(told(&scene).waiters.is_empty());
    scene.now = Time::ZERO + A_SECOND;
    hear(&mut scene, SECOND, &query("select 1"));
    scene.join(30);
    scene.now = scene.now + A_SECOND;
    hear(&mut scene, Peer::Client(2), &query("select 1"));
    let report = told(&scene);
    let groups: Vec<_> = report
        .waiters
        .iter()
        .map(|row| (row.application.as_str(), row.remote.is_some(), row.count, row.since))
        .collect();
    assert_eq!(groups, [("reports", true, 1, 1_000_000_000), ("", false, 1, 2_000_000_000)]);
}

#[test]
fn of_many_groups_the_largest_are_told() {
    let mut scene = scene(["shop", "reports"]);
    hear(&mut scene, FIRST, &query("begin"));
    hear(&mut scene, SERVER, &ready(b'T'));
    for number in 0..100 {
        join(&mut scene, &format!("application {}", number % 80), 100 + number);
        hear(&mut scene, Peer::Client(2 + u32::try_from(number).unwrap()), &query("select 1"));
    }
    let counts: Vec<u32> = told(&scene).waiters.iter().map(|row| row.count).collect();
    assert_eq!(counts, [vec![2; 20], vec![1; 44]].concat());
}

#[test]
fn use_is_added_up_by_application_user_network_first_route_and_longest_statement() {
    let mut scene = scene(["shop", "reports"]);
    hear(&mut scene, FIRST, &query("begin"));
    hear(&mut scene, SERVER, &ready(b'T'));
    hear(&mut scene, SECOND, &query("select 1"));
    scene.now = Time::ZERO + A_SECOND;
    hear(&mut scene, FIRST, &query("select pg_sleep(2) /*route='/first'*/"));
    scene.now = scene.now + 2 * A_SECOND;
    hear(&mut scene, SERVER, &ready(b'T'));
    hear(&mut scene, FIRST, &query("commit /*route='/later'*/"));
    scene.now = scene.now + A_SECOND;
    hear(&mut scene, SERVER, &ready(b'I'));
    hear(&mut scene, SERVER, &ready(b'I')); // the other's
    let second = 1_000_000_000;
    let whole =
        Used { leases: 1, held: 4 * second, on_server: 3 * second, idle_in_transaction: second, ..Used::default() };
    assert_eq!(used(&scene, UsageKind::Application, "shop"), Some(whole));
    assert_eq!(used(&scene, UsageKind::Route, "/first"), Some(whole));
    assert_eq!(used(&scene, UsageKind::Route, "/later"), None);
    assert_eq!(used(&scene, UsageKind::Query, "select pg_sleep(?)"), Some(whole));
    assert_eq!(used(&scene, UsageKind::Query, "commit"), None);
    let other = used(&scene, UsageKind::Application, "reports").unwrap();
    assert_eq!((other.held, other.waited, other.refused), (0, 4 * second, 0));
    assert_eq!(used(&scene, UsageKind::Query, "select ?").unwrap().waited, 4 * second);
    let network = used(&scene, UsageKind::Network, "10.1.2.0/24").unwrap();
    assert_eq!((network.held, network.waited), (4 * second, 4 * second));
    let user = used(&scene, UsageKind::User, "app").unwrap();
    assert_eq!((user.held, user.waited), (network.held, network.waited));
}

#[test]
fn a_prepared_statement_is_known_whenever_it_is_used() {
    let mut scene = scene(["shop", "reports"]);
    for (name, text, expected) in [
        ("a", Some("select name from t where id = $1"), "select name from t where id = ?"),
        ("", Some("select $1"), "select ?"),
    ] {
        hear(&mut scene, FIRST, &parse_bind(name, text));
        assert_eq!(&*lease(&scene).unwrap().statement.unwrap().text, expected);
        hear(&mut scene, SERVER, &run_answer(true, b'I'));
        assert!(lease(&scene).is_none());
    }
    hear(&mut scene, FIRST, &parse_bind("a", None));
    assert_eq!(&*lease(&scene).unwrap().statement.unwrap().text, "select name from t where id = ?");
    hear(&mut scene, SERVER, &run_answer(false, b'I'));
    assert_eq!(used(&scene, UsageKind::Query, "select name from t where id = ?").unwrap().leases, 2);
    hear(&mut scene, FIRST, &parse_bind("unknown", None));
    assert_eq!(lease(&scene).unwrap().statement, None, "nobody knows what that is");
}

#[test]
fn a_refused_request_is_counted_for_who_asked() {
    let mut scene = under(["shop", "reports"], A_SECOND);
    hear(&mut scene, FIRST, &query("begin"));
    hear(&mut scene, SERVER, &ready(b'T'));
    hear(&mut scene, SECOND, &query("select 1"));
    scene.now = Time::ZERO + 2 * A_SECOND;
    let mut desk = poolwarden_switch::Desk::new(None);
    scene.shared.clock(scene.now, &mut desk);
    scene.switch.mail(scene.now, &mut scene.world);
    assert!(told(&scene).waiters.is_empty());
    assert_eq!(used(&scene, UsageKind::Application, "reports").unwrap().refused, 1);
    assert_eq!(used(&scene, UsageKind::User, "app").unwrap().refused, 1);
    assert_eq!(used(&scene, UsageKind::Application, "shop").unwrap().refused, 0);
}

#[test]
fn the_use_of_a_client_that_leaves_is_its_own_to_the_end() {
    let mut scene = scene(["shop", "reports"]);
    hear(&mut scene, FIRST, &query("begin"));
    hear(&mut scene, SERVER, &ready(b'T'));
    scene.now = Time::ZERO + A_SECOND;
    hear(&mut scene, FIRST, b"X\0\0\0\x04");
    scene.now = scene.now + A_SECOND;
    hear(&mut scene, SERVER, &ready(b'I')); // it is rolled back
    let shop = used(&scene, UsageKind::Application, "shop").unwrap();
    assert_eq!((shop.held, shop.on_server, shop.idle_in_transaction), (2_000_000_000, 1_000_000_000, 1_000_000_000));
}
