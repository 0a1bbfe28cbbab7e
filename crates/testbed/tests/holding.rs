//! Admission as its clients see it: classes, labels, deadlines, refusals in words, and the queue that nobody haunts.

use std::process::Stdio;
use std::time::{Duration, Instant};

use poolwarden_testbed::certificate::{Authority, Signature, Wanted};
use poolwarden_testbed::place::Place;
use poolwarden_testbed::say::tell;
use poolwarden_testbed::wire::{Address, Notice};
use poolwarden_testbed::{Bed, Fault, Plan, Sampler, Say, Target, Wire, bed, client, place, until};

/// Far above every limit here, far below a test's patience.
const SOON: Duration = Duration::from_secs(20);

const CLASSES: &str = "[classes.critical]\napplications = [\"shop*\"]\n[classes.batch]\nmax_wait = \"100ms\"\napplications = [\"report*\"]\n\n[console]\n";

fn one() -> Plan {
    Plan { size: 1, ..Plan::default() }
}

fn start(plan: Plan) -> Bed {
    Bed::start_as(Target::Poolwarden, plan)
}

/// A client of this pool of one that holds its connection.
fn holder(bed: &Bed) -> Wire {
    let mut wire = bed.client();
    wire.query("begin").expect("the only connection");
    wire
}

/// A client that came with these start-up parameters.
fn with(bed: &Bed, parameters: &[(&str, &str)]) -> Wire {
    let mut wire =
        Wire::connect_with(&bed.address(), &bed::login(), parameters).unwrap_or_else(|e| panic!("connect: {e}"));
    wire.patience(SOON).expect("a socket");
    wire
}

#[track_caller]
fn refused(wire: &mut Wire, sql: &str) -> Notice {
    match wire.query(sql) {
        Err(Fault::Server(notice)) => notice,
        other => panic!("{sql}: {other:?}"),
    }
}

#[test]
fn a_pool_of_one_with_every_default_serves_every_class() {
    let _machine = place::machine(false);
    let bed = start(one());
    let mut wire = bed.client();
    for class in ["critical", "default", "batch", "nobody"] {
        let sql = format!("select 1 /*poolwarden_class='{class}'*/");
        assert_eq!(wire.query(&sql).expect("served").value(), "1", "{class}");
    }
}

#[test]
fn a_made_up_name_gains_nothing_and_a_trusted_one_its_class() {
    let _machine = place::machine(false);
    for trusted in [false, true] {
        let trust = format!("[users.app]\ntrust_labels = {trusted}\n");
        let bed = start(
            one()
                .edit("max_wait = \"60s\"", "max_wait = \"150ms\"")
                .edit("[console]\n", CLASSES)
                .edit("[users.app]\n", &trust),
        );
        let mut reports = with(&bed, &[("application_name", "reports-7")]);
        let mut shop = with(&bed, &[("application_name", "shop-1")]);
        let mut plain = bed.client();
        let _holder = holder(&bed);
        let class = |wire: &mut Wire, sql: &str| {
            let notice = refused(wire, sql);
            assert_eq!(notice.code, "53300", "{notice:?}");
            let said = notice.detail.split(' ').find_map(|word| word.strip_prefix("class=")).map(str::to_owned);
            said.unwrap_or_else(|| panic!("no class in {notice:?}"))
        };
        let raised = if trusted { "critical" } else { "default" };
        assert_eq!(class(&mut plain, "select 1"), "default");
        assert_eq!(class(&mut reports, "select 1"), "batch");
        assert_eq!(class(&mut shop, "select 1"), raised);
        assert_eq!(class(&mut plain, "select 1 /*poolwarden_class='critical'*/"), raised);
        assert_eq!(class(&mut shop, "select 1 /*poolwarden_class='batch'*/;"), "batch");
    }
}

#[test]
fn a_request_is_refused_at_the_earliest_of_its_deadlines_and_postgresql_never_sees_ours() {
    let _machine = place::machine(false);
    let bed = start(one());
    let mut option = with(&bed, &[("options", "-c poolwarden.deadline_ms=300")]);
    let mut parameter = with(&bed, &[("poolwarden.deadline_ms", "300")]);
    let mut timeout = bed.client();
    timeout.query("set statement_timeout = '300ms'").expect("set");
    let mut plain = bed.client();
    let none = "select current_setting('poolwarden.deadline_ms', true)";
    for wire in [&mut option, &mut parameter] {
        assert_eq!(wire.query(none).expect("served").rows, [[None]]);
    }
    let _holder = holder(&bed);
    let after = |wire: &mut Wire, sql: &str| {
        let began = Instant::now();
        let notice = refused(wire, sql);
        assert!(notice.code == "53300" && notice.detail.contains("reason="), "{notice:?}");
        began.elapsed()
    };
    let tagged = "select 1 /*poolwarden_deadline_ms='300'*/";
    for (wire, sql) in
        [(&mut option, "select 1"), (&mut parameter, "select 1"), (&mut timeout, "select 1"), (&mut plain, tagged)]
    {
        let waited = after(wire, sql);
        assert!(waited >= Duration::from_millis(290) && waited < SOON, "{sql}: {waited:?}");
    }
}

#[test]
fn a_deadline_that_is_none_is_refused_at_login() {
    let _machine = place::machine(false);
    let bed = start(one());
    for value in ["soon", "-1", "1.5", "", "3000000000"] {
        match Wire::connect_with(&bed.address(), &bed::login(), &[("poolwarden.deadline_ms", value)]) {
            Err(Fault::Server(notice)) => {
                assert_eq!((&*notice.severity, &*notice.code), ("FATAL", "22023"), "{notice:?}");
                assert!(notice.message.contains("poolwarden.deadline_ms"), "{notice:?}");
            }
            other => panic!("{value:?}: {other:?}"),
        }
    }
}

#[test]
fn a_limit_of_a_class_says_that_it_is() {
    let _machine = place::machine(false);
    let class = "[classes.default]\nquery_timeout = \"300ms\"\n[console]\n";
    let bed = start(one().edit("[console]\n", class));
    let mut wire = bed.client();
    wire.patience(SOON).expect("a socket");
    let notice = refused(&mut wire, "select pg_sleep(60)");
    assert_eq!((&*notice.severity, &*notice.code), ("FATAL", "57014"));
    assert!(notice.message.contains("longer than 300ms (classes.default.query_timeout = 300ms)"), "{notice:?}");
}

#[test]
fn an_idle_transaction_is_said_once_from_five_seconds_on() {
    let _machine = place::machine(false);
    let bed = start(one());
    let mut idler = holder(&bed);
    let pooler = bed.pooler().expect("poolwarden");
    let said = || pooler.log().matches("idle in transaction for").count();
    until("the idle transaction to be said", SOON, || (said() > 0).then_some(()));
    assert!(idler.silent_for(Duration::from_millis(2_500)), "it is in nobody's way");
    assert_eq!(said(), 1, "{}", pooler.log());
    idler.query("commit").expect("left alone");
}

/// All the ways a whole transaction is said at once.
fn transactions() -> [(&'static str, Say, usize); 3] {
    let [begin, insert, commit] = ["begin", "insert into t values (1)", "commit"];
    let simple = Say::new().query(begin).query(insert).query(commit);
    let each = Say::new().once(begin).sync().once(insert).sync().once(commit).sync();
    [
        ("simple", simple, 3),
        ("a batch each", each, 3),
        ("one batch", Say::new().once(begin).once(insert).once(commit).sync(), 1),
    ]
}

#[test]
fn a_refused_pipelined_transaction_never_leaves_an_insert_behind_wherever_it_is_cut() {
    let _machine = place::machine(false);
    let bed = start(one());
    bed.postgres.sql("create table t (n int); grant all on t to app");
    let sampler = Sampler::start(&bed.postgres);
    let mut holder = bed.client();
    let mut refusals = 0;
    for (style, say, readies) in transactions() {
        // from the first whole header on it asks for a connection
        for cut in (5..=say.bytes.len()).step_by(if style == "simple" { 1 } else { 3 }) {
            let mut wire = with(&bed, &[("poolwarden.deadline_ms", "20")]);
            holder.query("begin").expect("the only connection");
            wire.send(&say.bytes[..cut]).expect("sent");
            let first = wire.up_to('E').unwrap_or_else(|e| panic!("{style}, {cut}: {e}"));
            assert!(tell(&first).contains("53300"), "{style}, {cut}: {}", tell(&first));
            holder.query("commit").expect("free again");
            // the connection is there for whatever would take it
            let _ = wire.send(&say.bytes[cut..]); // the session may have ended, as it must where more stood behind
            match wire.readies(readies) {
                Ok(rest) => {
                    refusals += 1;
                    assert!(!tell(&rest).contains("INSERT"), "{style}, {cut}: {}", tell(&rest));
                }
                Err(Fault::Closed | Fault::Io(_)) => {}
                Err(fault) => panic!("{style}, {cut}: {fault}"),
            }
        }
    }
    assert!(refusals > 50, "only {refusals} sessions lived to say the rest");
    assert_eq!(bed.client().query("select count(*) from t").expect("served").value(), "0");
    sampler.expect_at_most(bed.limit());
}

#[test]
fn who_vanishes_while_it_waits_leaves_the_queue_at_once_over_tcp_unix_and_tls() {
    let _machine = place::machine(false);
    let papers = Place::new("papers");
    let own = Authority::new(&papers, "authority", Signature::Sha256).issue(
        &papers,
        "pooler",
        &Wanted { common_name: "pooler", names: &["127.0.0.1"], days: 9 },
    );
    let tls = format!("[listen.tls]\ncertificate = {:?}\nkey = {:?}\n\n[console]\n", own.certificate, own.key);
    let bed = start(one().edit("[console]\n", &tls));
    let _holder = holder(&bed);
    let wait = |count: u64| {
        let began = Instant::now();
        until(&format!("{count} to wait"), SOON, || (bed.pool("cl_waiting") == count).then_some(()));
        began.elapsed()
    };
    let unix = Address::Unix(bed.pooler().and_then(|pooler| pooler.unix()).expect("a unix socket").to_path_buf());
    for (what, address, resets) in
        [("tcp", bed.address(), false), ("tcp, reset", bed.address(), true), ("unix", unix, false)]
    {
        let mut crowd: Vec<Wire> = (0..10).map(|_| Wire::connect(&address, &bed::login()).expect("connect")).collect();
        crowd.iter_mut().for_each(|wire| wire.send(&Say::new().query("select 1").bytes).expect("sent"));
        wait(10);
        crowd.into_iter().for_each(|wire| if resets { wire.reset() } else { drop(wire) });
        let after = wait(0);
        assert!(after < Duration::from_secs(2), "{what}: still there after {after:?}");
    }
    let mut psql = client::command("psql", &bed);
    psql.env("PGSSLMODE", "require").args(["-c", "select 1"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut waiting = psql.spawn().expect("psql");
    wait(1);
    waiting.kill().expect("killed");
    waiting.wait().expect("gone");
    let after = wait(0);
    assert!(after < Duration::from_secs(2), "tls: still there after {after:?}");
}
