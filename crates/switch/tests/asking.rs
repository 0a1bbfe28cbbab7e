//! What a request is asked with, and what becomes of who comes again, of what follows a refused BEGIN, and of idle transactions.

#![allow(clippy::unwrap_used)] // a test may end where its premise fails

mod scene;

use std::time::Duration;

use poolwarden_switch::pool::{ClassId, DatabaseSettings, Guard, HostId, HostSettings, Input, Request, Time};
use poolwarden_switch::relay::pgwire::{frame, make, read};
use poolwarden_switch::{Desk, Detail, IdlerEnd, Patience, Pattern, Peer, PoolTerms, TermsBook, UserTerms};
use scene::{FIRST, SECOND, SERVER, Scene, query};

const HOST: HostId = HostId(0);
const DEFAULT: ClassId = ClassId(0);
const BATCH: ClassId = ClassId(1);
const CRITICAL: ClassId = ClassId(2);

/// A pool of one connection where so many may wait, and as long as they like.
fn start(queue: u32, book: TermsBook) -> Scene {
    let max_wait = seconds(600);
    let (max_connections, guard) = (Some(10), book.guard);
    let scene = Scene::under(DatabaseSettings { size: 1, max_wait, ..Default::default() }, book);
    let any = Some(DatabaseSettings { size: 1, max_wait, max_queue: queue, ..Default::default() });
    let settings = HostSettings { any, max_connections, guard, ..HostSettings::default() };
    scene.shared.drive(scene.now, HOST, Input::Apply(Box::new(settings)), &mut Desk::new(None));
    scene.shared.inspect(HOST, |host| host.record(1000));
    scene
}

/// The last request that reached the core.
fn asked(scene: &Scene) -> Request {
    let log = scene.shared.inspect(HOST, |host| host.log().cloned()).flatten().unwrap();
    let request = |(_, input): &(Time, Input)| if let Input::Checkout(request) = input { Some(*request) } else { None };
    log.entries().iter().rev().find_map(request).unwrap()
}

/// The server answers what it was asked last.
fn answer(scene: &mut Scene, tag: &str, status: u8) {
    let mut reply = Vec::new();
    make::command_complete(&mut reply, tag);
    make::ready(&mut reply, status);
    scene.receive(SERVER, &reply);
}

/// SQLSTATE and message of the last error that `peer` was told since the last look; empty where it was told none.
fn told(scene: &mut Scene, peer: Peer) -> (String, String) {
    let said = scene.world.sent.remove(&peer).unwrap_or_default();
    let (mut left, mut last) = (&said[..], (String::new(), String::new()));
    while let Some(header) = frame::header(left).unwrap() {
        if header.tag == b'E' {
            let fields = read::report(&left[frame::HEADER..header.total()]);
            last = (fields.sqlstate.into_owned(), fields.message.into_owned());
        }
        left = &left[header.total()..];
    }
    last
}

fn pass(scene: &mut Scene, span: Duration) {
    let until = scene.now + span;
    while let Some(at) = scene.switch.poll_timeout().filter(|at| *at <= until) {
        scene.now = scene.now.max(at);
        scene.switch.timeout(scene.now, &mut scene.world);
    }
    scene.now = until;
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn classes(trusted: bool) -> TermsBook {
    let mut book = TermsBook::default();
    book.classes.classes[1].applications = vec![Pattern::new("report*")];
    book.classes.classes[2].applications = vec![Pattern::new("shop*")];
    book.users.insert("app".into(), UserTerms { trust_labels: trusted, ..UserTerms::default() });
    book
}

/// The class of a request that says `sql`.
fn class_of(scene: &mut Scene, sql: &str) -> ClassId {
    scene.receive(FIRST, &query(sql));
    let class = asked(scene).class;
    answer(scene, "SELECT 1", b'I');
    class
}

/// The client gives a setting this value, and the server says so when it is asked.
fn set(scene: &mut Scene, name: &str, value: &str) {
    scene.receive(FIRST, &query(&format!("set {name} = '{value}'")));
    answer(scene, "SET", b'I');
    let digits: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut row = Vec::new();
    make::data_row(&mut row, &[Some(b"s"), Some(name.as_bytes()), Some(digits.as_bytes())]);
    scene.receive(SERVER, &row);
    answer(scene, "SELECT 1", b'I');
}

fn rename(scene: &mut Scene, name: &str) {
    set(scene, "application_name", name);
}

#[test]
fn a_label_lowers_a_class_and_raises_it_for_the_trusted_alone() {
    for trusted in [false, true] {
        let mut scene = start(10, classes(trusted));
        let raised = if trusted { CRITICAL } else { DEFAULT };
        assert_eq!(class_of(&mut scene, "select 1"), DEFAULT);
        assert_eq!(class_of(&mut scene, "select 1 /*poolwarden_class='batch'*/"), BATCH);
        assert_eq!(class_of(&mut scene, "select 1 /*poolwarden_class='critical'*/"), raised);
        assert_eq!(class_of(&mut scene, "select 1"), DEFAULT, "a comment is about its own request");
        rename(&mut scene, "reports-7");
        assert_eq!(class_of(&mut scene, "select 1"), BATCH);
        rename(&mut scene, "shop");
        assert_eq!(class_of(&mut scene, "select 1"), raised, "a made-up name gains nothing");
    }
}

#[test]
fn new_rules_hold_for_who_is_there() {
    let mut scene = start(10, classes(false));
    rename(&mut scene, "reports");
    assert_eq!(class_of(&mut scene, "select 1"), BATCH);
    let any = PoolTerms { class: Some(CRITICAL), ..PoolTerms::default() };
    scene.shared.retune(TermsBook { any, ..TermsBook::default() });
    assert_eq!(class_of(&mut scene, "select 1"), CRITICAL);
}

#[test]
fn the_tenant_is_the_name_the_client_has_now() {
    let mut scene = start(10, TermsBook::default());
    let mut tenant = |name: &str| {
        rename(&mut scene, name);
        class_of(&mut scene, "select 1");
        asked(&scene).tenant
    };
    let (one, two, again) = (tenant("one"), tenant("two"), tenant("one"));
    assert!(one == again && one != two);
}

#[test]
fn the_earliest_deadline_counts() {
    let mut scene = start(10, TermsBook::default());
    scene.join_with(3, Some(Duration::from_millis(500)));
    let third = Peer::Client(2);
    let mut deadline = |sql: &str| {
        scene.receive(third, &query(sql));
        let until = asked(&scene).deadline.since(scene.now);
        answer(&mut scene, "SELECT 1", b'I');
        until
    };
    assert_eq!(deadline("select 1"), Duration::from_millis(500));
    assert_eq!(deadline("select 1 /*poolwarden_deadline_ms='100'*/"), Duration::from_millis(100));
    assert_eq!(deadline("select 1 /*poolwarden_deadline_ms='900'*/"), Duration::from_millis(500));
    assert_eq!(class_of(&mut scene, "select 1"), DEFAULT);
    assert_eq!(asked(&scene).deadline, Time::NEVER);
    set(&mut scene, "statement_timeout", "5s");
    class_of(&mut scene, "select 1");
    assert_eq!(asked(&scene).deadline, scene.now + seconds(5));
    set(&mut scene, "statement_timeout", "0");
    class_of(&mut scene, "select 1");
    assert_eq!(asked(&scene).deadline, Time::NEVER);
}

#[test]
fn who_comes_again_within_two_seconds_of_a_refusal_is_known_again() {
    let mut scene = start(0, TermsBook::default());
    scene.receive(FIRST, &query("begin"));
    answer(&mut scene, "BEGIN", b'T');
    let mut attempt = |wait: u64| {
        pass(&mut scene, Duration::from_millis(wait));
        scene.receive(SECOND, &query("select 1"));
        let (sqlstate, message) = told(&mut scene, SECOND);
        assert!(sqlstate == "53300" && message.contains("wait queue is full"), "{sqlstate} {message}");
        asked(&scene).attempt
    };
    assert_eq!([attempt(0), attempt(100), attempt(1900), attempt(2100), attempt(0)], [0, 1, 2, 0, 1]);
    scene.receive(FIRST, &query("commit"));
    answer(&mut scene, "COMMIT", b'I');
    for attempt in [2, 0] {
        scene.receive(SECOND, &query("select 1"));
        assert_eq!(asked(&scene).attempt, attempt, "what was granted is forgotten");
        answer(&mut scene, "SELECT 1", b'I');
    }
}

#[test]
fn what_was_sent_behind_a_refused_begin_is_refused_with_it_wherever_the_bytes_were_cut() {
    let words = ["begin", "insert into t values (1)", "commit"];
    for cut in 0..query("insert into t values (1)").len() {
        let mut scene = start(0, TermsBook::default());
        scene.receive(FIRST, &query("select 1"));
        scene.world.sent.clear();
        scene.receive(SECOND, &query(words[0]));
        assert_eq!(told(&mut scene, SECOND).0, "53300");
        answer(&mut scene, "SELECT 1", b'I'); // from now on there is a connection for it
        scene.world.sent.clear();
        let insert = query(words[1]);
        scene.receive(SECOND, &insert[..cut]);
        scene.receive(SECOND, &insert[cut..]);
        let (sqlstate, message) = told(&mut scene, SECOND);
        assert!(
            sqlstate == "53300" && message.contains("beginning of this transaction"),
            "{cut}: {sqlstate} {message}"
        );
        scene.receive(SECOND, &query(words[2]));
        assert_eq!(told(&mut scene, SECOND).0, "53300", "{cut}");
        assert!(!scene.world.sent.contains_key(&SERVER), "{cut}: nothing of it reached the server");
        scene.receive(SECOND, &query("insert into t values (2)"));
        assert_eq!(scene.said(SERVER, b""), query("insert into t values (2)"), "its end was seen");
    }
}

#[test]
fn a_refused_begin_is_over_when_another_begins_or_two_seconds_later() {
    for (next, wait) in [("begin", 0), ("rollback", 0), ("select 1", 2001)] {
        let mut scene = start(0, TermsBook::default());
        scene.receive(FIRST, &query("select 1"));
        scene.receive(SECOND, &query("begin"));
        answer(&mut scene, "SELECT 1", b'I');
        pass(&mut scene, Duration::from_millis(wait));
        scene.world.sent.clear();
        scene.receive(SECOND, &query(next));
        assert_eq!(scene.said(SERVER, b""), query(next));
    }
}

/// The first client has a transaction in which nothing happens; the second waits where `waits`.
fn idle(book: TermsBook, waits: bool) -> Scene {
    let mut scene = start(10, book);
    scene.receive(FIRST, &query("begin"));
    answer(&mut scene, "BEGIN", b'T');
    if waits {
        scene.receive(SECOND, &query("select 1"));
    }
    scene.world.sent.clear();
    scene
}

fn ends(scene: &Scene) -> Vec<IdlerEnd> {
    scene.shared.idlers().iter().map(|idler| idler.end).collect()
}

fn counted(scene: &Scene) -> (u64, u64, u64) {
    let report = scene.switch.report(scene.now, Detail::Totals);
    let totals = report.totals[0].1;
    (totals.idle_warned, totals.idle_ended, totals.idle_spared)
}

#[test]
fn an_idle_transaction_is_said_once_and_ended_after_a_minute_while_somebody_waits() {
    let mut scene = idle(TermsBook::default(), true);
    pass(&mut scene, Duration::from_millis(4_900));
    assert_eq!(ends(&scene), []);
    pass(&mut scene, seconds(2));
    assert_eq!(ends(&scene), [IdlerEnd::Warned]);
    pass(&mut scene, seconds(53));
    assert_eq!(ends(&scene), [], "once per transaction");
    assert!(!scene.world.closed.contains(&FIRST), "not yet a minute");
    pass(&mut scene, seconds(2));
    assert_eq!(ends(&scene), [IdlerEnd::Ended]);
    let (sqlstate, message) = told(&mut scene, FIRST);
    assert_eq!(sqlstate, "25P03");
    assert!(
        message.contains("idle in transaction for 6") && message.ends_with("while others wait (60s rule)"),
        "{message}"
    );
    assert_eq!(counted(&scene), (1, 1, 0));
}

#[test]
fn an_idle_transaction_in_nobodys_way_or_with_a_limit_of_its_own_is_left_alone() {
    let written = |span| {
        let patience = Patience { idle_in_transaction: Some(span), ..Patience::default() };
        TermsBook { any: PoolTerms { patience, ..PoolTerms::default() }, ..TermsBook::default() }
    };
    for (book, waits) in [(TermsBook::default(), false), (written(Duration::ZERO), true), (written(seconds(900)), true)]
    {
        let mut scene = idle(book, waits);
        pass(&mut scene, seconds(200));
        assert!(!scene.world.closed.contains(&FIRST));
        assert_eq!(counted(&scene), (1, 0, 0));
    }
}

#[test]
fn an_observing_guard_counts_whom_it_would_have_ended() {
    let mut scene = idle(TermsBook { guard: Guard::Observe, ..TermsBook::default() }, true);
    pass(&mut scene, seconds(200));
    assert!(!scene.world.closed.contains(&FIRST));
    assert_eq!(ends(&scene), [IdlerEnd::Warned, IdlerEnd::Spared]);
    assert_eq!(counted(&scene), (1, 0, 1));
}

#[test]
fn the_end_says_which_limit_how_long_and_whose() {
    let limit = |span| Patience { query: Some(seconds(span)), ..Patience::default() };
    let book = |user: Option<u64>, class: Option<u64>| {
        let any = PoolTerms { patience: limit(90), class: Some(BATCH), ..PoolTerms::default() };
        let mut book = TermsBook { any, ..TermsBook::default() };
        book.classes.classes[1].patience = class.map(limit).unwrap_or_default();
        book.users
            .insert("app".into(), UserTerms { patience: user.map(limit).unwrap_or_default(), ..UserTerms::default() });
        book
    };
    for (book, setting) in [
        (book(None, None), "(pools.\"*\".query_timeout = 90s)"),
        (book(None, Some(30)), "(classes.batch.query_timeout = 30s)"),
        (book(Some(120), Some(30)), "(users.app.query_timeout = 2m)"),
    ] {
        let mut scene = start(10, book);
        scene.receive(FIRST, &query("select pg_sleep(1000)"));
        scene.world.sent.clear();
        pass(&mut scene, seconds(130));
        let (sqlstate, message) = told(&mut scene, FIRST);
        assert!(sqlstate == "57014" && message.ends_with(setting), "{sqlstate} {message}");
    }
}
