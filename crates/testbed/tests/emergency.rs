//! The operator's drawer on a running pool: who holds what is cancelled, ended, paused and kept for later, and all of it is in the log.

use std::time::Duration;

use poolwarden_testbed::drawer::{bundle, holders, order, post};
use poolwarden_testbed::{Bed, Plan, Pooler, Say, Target, Wire, place, until};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

fn start(size: u32) -> Bed {
    Bed::start_as(Target::Poolwarden, Plan { size, ..Plan::default() })
}

fn pooler(bed: &Bed) -> &Pooler {
    bed.pooler().expect("poolwarden")
}

/// The only holder, once its state is this one.
fn holder(bed: &Bed, state: &str) -> Value {
    until("the holder to be told", PATIENCE, || {
        let all = holders(pooler(bed));
        all.first().filter(|of| all.len() == 1 && of["state"] == state).cloned()
    })
}

fn logged(bed: &Bed, line: &str) {
    until(line, PATIENCE, || pooler(bed).log().contains(line).then_some(()));
}

fn waits(bed: &Bed) -> Wire {
    let mut waits = bed.client();
    waits.send(&Say::new().query("select 'served'").bytes).expect("sent");
    until("it to wait", PATIENCE, || (bed.pool("cl_waiting") == 1).then_some(()));
    waits
}

#[test]
fn a_cancel_ends_what_runs_and_leaves_the_session() {
    let _machine = place::machine(false);
    let bed = start(1);
    let mut slow = bed.client();
    slow.send(&Say::new().query("select pg_sleep(600)").bytes).expect("sent");
    let held = holder(&bed, "active");
    let (status, said) = order(pooler(&bed), "cancel", &json!({"conn": held["conn"]}));
    assert_eq!(status, 200, "{said}");
    let done = &said["done"][0];
    assert_eq!(
        (&done["conn"], &done["pid"], &done["client"]),
        (&held["conn"], &held["pid"], &held["client"]),
        "{said}"
    );
    assert_eq!(
        (&done["pool"], &done["user"], &done["server"]),
        (&json!("app"), &json!("app"), &json!("main")),
        "{said}"
    );
    let fault = slow.answer().expect_err("cancelled").to_string();
    assert!(fault.contains("57014"), "{fault}");
    assert_eq!(slow.query("select 'here'").expect("its session goes on").value(), "here");
    logged(&bed, &format!("cancel server connection {} by http from 127.0.0.1:", held["conn"]));
}

#[test]
fn a_terminate_ends_the_client_and_its_server_connection_and_serves_who_waited() {
    let _machine = place::machine(false);
    let bed = start(1);
    let mut forgot = bed.client();
    forgot.query("begin").expect("begun");
    forgot.query("create table half_done (id int)").expect("done in the transaction");
    let held = holder(&bed, "idle_in_transaction");
    let mut waits = waits(&bed);
    let (status, said) = order(pooler(&bed), "cancel", &json!({"conn": held["conn"]}));
    assert!(status == 409 && said["fix"].as_str().is_some_and(|fix| fix.contains("terminate")), "{status} {said}");
    let (status, said) = order(pooler(&bed), "terminate", &json!({"conn": held["conn"]}));
    assert!(status == 200 && said["done"][0]["conn"] == held["conn"], "{status} {said}");
    assert_eq!(forgot.last_words(), "E(FATAL 57P01)");
    assert_eq!(waits.answer().expect("on a new connection").value(), "served");
    let pids: Vec<String> = bed.postgres.backends().iter().map(|backend| backend.pid.to_string()).collect();
    assert!(!pids.contains(&held["pid"].to_string()), "its server connection is closed: {pids:?}");
    assert_eq!(bed.postgres.sql("select to_regclass('half_done') is null").value(), "t", "rolled back");
    logged(&bed, &format!("terminate server connection {} by http from 127.0.0.1:", held["conn"]));
    bed.at_rest();
}

#[test]
fn a_terminate_cancels_what_runs_in_postgresql_too() {
    let _machine = place::machine(false);
    let bed = start(2);
    let mut slow = bed.client();
    slow.send(&Say::new().query("select pg_sleep(600)").bytes).expect("sent");
    let held = holder(&bed, "active");
    let (status, said) = order(pooler(&bed), "terminate", &json!({"conn": held["conn"]}));
    assert_eq!(status, 200, "{said}");
    assert_eq!(slow.last_words(), "E(FATAL 57P01)");
    until("the query to be gone", PATIENCE, || {
        bed.postgres.backends().iter().all(|backend| backend.state != "active").then_some(())
    });
}

#[test]
fn all_that_are_stuck_are_ended_at_once_and_who_works_is_not() {
    let _machine = place::machine(false);
    let bed = start(3);
    let mut stuck: Vec<Wire> = (0..2).map(|_| bed.client()).collect();
    for wire in &mut stuck {
        wire.query("begin").expect("begun");
        wire.query("select 1").expect("and forgotten");
    }
    let mut works = bed.client();
    works.query("begin").expect("begun");
    works.send(&Say::new().query("select pg_sleep(60)").bytes).expect("sent");
    let called = || holders(pooler(&bed)).iter().filter(|of| of["stuck"] == true).count();
    until("both to be called stuck", Duration::from_secs(90), || (called() == 2).then_some(()));
    let (status, said) = order(pooler(&bed), "terminate", &json!({"stuck": "app"}));
    assert!(status == 200 && said["done"].as_array().is_some_and(|done| done.len() == 2), "{status} {said}");
    for wire in &mut stuck {
        assert_eq!(wire.last_words(), "E(FATAL 57P01)");
    }
    holder(&bed, "active"); // who works goes on
    let (status, said) = order(pooler(&bed), "terminate", &json!({"stuck": "app"}));
    assert!(status == 200 && said["done"] == json!([]), "nobody is left: {status} {said}");
    logged(&bed, "terminate all that are stuck in pool \"app\" by http from 127.0.0.1:");
}

#[test]
fn a_paused_pool_lets_clients_wait_until_it_is_resumed() {
    let _machine = place::machine(false);
    let bed = start(2);
    let mut first = bed.client();
    first.query("select 1").expect("served");
    let (status, said) = order(pooler(&bed), "pause", &json!({"pool": "app"}));
    assert_eq!((status, &said["done"], &said["lent"]), (200, &json!([{"pool": "app", "state": "paused"}]), &json!(0)));
    assert!(bed.postgres.backends().is_empty(), "as PAUSE of the console does");
    let mut waits = waits(&bed);
    let (status, said) = order(pooler(&bed), "resume", &json!({"pool": null}));
    assert_eq!((status, &said["done"][0]["state"]), (200, &json!("active")), "{said}");
    assert_eq!(waits.answer().expect("resumed").value(), "served");
    logged(&bed, "pause pool \"app\" by http from 127.0.0.1:");
    logged(&bed, "resume all pools by http from 127.0.0.1:");
}

#[test]
fn a_pause_answers_soon_and_tells_what_is_still_lent() {
    let _machine = place::machine(false);
    let bed = start(2);
    let mut busy = bed.client();
    busy.query("begin").expect("begun");
    let (status, said) = order(pooler(&bed), "pause", &json!({"pool": "app"}));
    assert_eq!((status, &said["lent"]), (200, &json!(1)), "{said}");
    busy.query("commit").expect("what is lent ends as it likes");
    until("its connection to be closed all the same", PATIENCE, || bed.postgres.backends().is_empty().then_some(()));
}

#[test]
fn what_is_not_there_is_refused_with_the_next_step_and_is_in_the_log_too() {
    let _machine = place::machine(false);
    let bed = start(1);
    bed.client().query("select 1").expect("served");
    let idle = until("its connection to be free", PATIENCE, || {
        bed.show("SERVERS").first().filter(|row| row["state"] == "idle").map(|row| row["id"].clone())
    });
    let idle: u64 = idle.parse().expect("a number");
    let cases = [
        ("cancel", json!({"conn": 999_999}), 404, "there is no server connection 999999"),
        ("terminate", json!({"conn": idle}), 409, "is lent to nobody now"),
        ("terminate", json!({"stuck": "ap"}), 404, "no such pool: ap"),
        ("pause", json!({"pool": "ap"}), 404, "no such pool: ap"),
        ("cancel", json!({}), 400, "which connection is meant"),
    ];
    for (verb, body, expected, error) in cases {
        let (status, said) = order(pooler(&bed), verb, &body);
        assert_eq!(status, expected, "{verb} {body}: {said}");
        assert!(said["error"].as_str().is_some_and(|text| text.contains(error)), "{verb} {body}: {said}");
        assert!(said["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{verb} {body}: {said}");
    }
    logged(&bed, "nothing was done: there is no server connection 999999");
}

#[test]
fn a_bundle_has_everything_and_no_secret_and_no_value_of_a_statement() {
    let _machine = place::machine(false);
    let bed = start(2);
    let mut client = bed.client();
    client.query("begin").expect("begun");
    client.query("select 'hunter2', 4711").expect("a statement with values");
    bed.console().query("SET pools.app.size = 3").expect("set");
    until("PostgreSQL's own view", PATIENCE, || {
        pooler(&bed).get("/metrics").contains("poolwarden_pg_slots_free{").then_some(())
    });
    holder(&bed, "idle_in_transaction");
    let files = bundle(pooler(&bed));
    for name in [
        "versions.txt",
        "why.json",
        "why.txt",
        "holders.json",
        "metrics.txt",
        "log.txt",
        "configuration.txt",
        "changes.txt",
        "postgresql/main.txt",
        "show/pools.txt",
        "show/clients.txt",
        "show/servers.txt",
        "show/stats.txt",
        "show/limits.txt",
        "show/waits.txt",
    ] {
        assert!(files.get(name).is_some_and(|text| !text.is_empty()), "{name}: {:?}", files.keys());
    }
    assert!(files["changes.txt"].contains(" set: pools.app.size was 2 and is 3\n"), "{}", files["changes.txt"]);
    assert!(files["configuration.txt"].contains("pools.app.size = 3\n"));
    assert!(files["configuration.txt"].contains("users.app.scram_file = <set>\n"));
    assert!(files["log.txt"].contains("event=listening") && files["metrics.txt"].ends_with("# EOF\n"));
    let told: Value = serde_json::from_str(&files["holders.json"]).expect("JSON");
    assert_eq!(told["holders"][0]["query"], "select ?, ?", "{told}");
    let all = format!("{files:?}");
    for secret in ["hunter2", "4711'", "wardens-secret", &poolwarden_testbed::drawer::token(pooler(&bed))] {
        assert!(!all.contains(secret), "{secret} is in the bundle");
    }
    logged(&bed, "bundle by http from 127.0.0.1:");
    let (status, _) = post(pooler(&bed), "/api/v1/bundle", &Value::Null);
    assert_eq!(status, 200, "what is asked for says nothing more");
}
