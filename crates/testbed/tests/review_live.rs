//! The review of a running poolwarden: tickets in its log, in metrics, in `why` and over HTTP, as the file and what runs change.

use std::process::Command;
use std::time::Duration;

use poolwarden_testbed::ini::Program;
use poolwarden_testbed::pooler::{Pooler, binary};
use poolwarden_testbed::template::PASSWORD;
use poolwarden_testbed::{Bed, Plan, Target, until};
use rustix::process::Signal;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

/// PostgreSQL has few slots, and the pools may open many more connections: CAP-01 once the watch has told of the slots.
fn greedy() -> Plan {
    Plan { size: 400, budget: Some(400), max_connections: 30, ..Plan::default() }
}

fn modest() -> Plan {
    Plan { size: 2, budget: Some(10), ..greedy() }
}

fn review(pooler: &Pooler) -> Value {
    serde_json::from_str(&pooler.get("/api/v1/review")).expect("JSON")
}

/// The first review that began after `begun` and is so.
fn reviewed(pooler: &Pooler, begun: f64, what: &str, so: impl Fn(&Value) -> bool) -> Value {
    until(what, PATIENCE, || {
        let review = at(pooler).filter(|at| *at > begun).map(|_| review(pooler))?;
        so(&review).then_some(review)
    })
}

/// When the newest review began.
fn last(pooler: &Pooler) -> f64 {
    until("the first review", PATIENCE, || at(pooler))
}

/// The same; `None`: there was none yet.
fn at(pooler: &Pooler) -> Option<f64> {
    let text = pooler.get("/metrics");
    text.lines().find_map(|line| line.strip_prefix("poolwarden_review_last_timestamp_seconds ")?.parse().ok())
}

/// Its configuration file is read again, and that has been said.
fn reload(pooler: &Pooler, event: &str) {
    let said =
        |log: &str| log.matches(&format!("event={event} ")).count() + log.matches(&format!("event={event}\n")).count();
    let before = said(&pooler.log());
    pooler.signal(Signal::HUP);
    until("the reload", PATIENCE, || (said(&pooler.log()) > before).then_some(()));
}

fn has(review: &Value, code: &str) -> bool {
    review["findings"].as_array().expect("findings").iter().any(|finding| finding["code"] == code)
}

/// Lines of the log about a rule.
fn tickets(pooler: &Pooler, code: &str) -> Vec<String> {
    let about = format!("code={code} ");
    pooler.log().lines().filter(|line| line.contains(&about)).map(str::to_owned).collect()
}

/// As many lines about a rule, and no more: the log is written a moment after a review has come to an end.
fn so_many(pooler: &Pooler, code: &str, count: usize) -> Vec<String> {
    let said = until("the log", PATIENCE, || Some(tickets(pooler, code)).filter(|said| said.len() >= count));
    assert_eq!(said.len(), count, "{said:#?}");
    said
}

fn why(pooler: &Pooler, format: &str) -> String {
    let at = format!("http://{}", pooler.http());
    let output = Command::new(binary()).args(["why", "--at", &at, "--format", format]).output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether poolwarden is what is tested: nobody else reviews himself.
fn chosen() -> bool {
    Target::chosen() == Target::Poolwarden
}

#[test]
fn a_finding_is_one_ticket_until_it_is_put_right() {
    if !chosen() {
        return;
    }
    let bed = Bed::start_as(Target::Poolwarden, greedy());
    let pooler = bed.pooler().expect("poolwarden");
    let found = reviewed(pooler, 0.0, "CAP-01 to be found", |review| has(review, "CAP-01"));
    assert!(found["age_ms"].is_u64() && found["failed"].is_null() && found["chain"].is_array(), "{found:#}");
    let finding = found["findings"].as_array().expect("findings").iter().find(|of| of["code"] == "CAP-01").expect("it");
    assert!(finding["told"].to_string().contains("the watch connection of main"), "{finding:#}");
    let errors = pooler.metric("poolwarden_review_findings", "severity=\"error\"");
    assert!(errors >= 1.0, "{errors}");
    assert_eq!(pooler.metric("poolwarden_review_failed", ""), 0.0);
    assert!(pooler.metric("poolwarden_review_duration_seconds", "") > 0.0);

    let text = why(pooler, "text");
    let line = text.lines().find(|line| line.starts_with("  review ")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains("CAP-01") && text.contains("poolwarden check"), "{text}");
    let json: Value = serde_json::from_str(&why(pooler, "json")).expect("JSON");
    let ticket = json["review"]["findings"].as_array().expect("findings").iter().find(|of| of["code"] == "CAP-01");
    let ticket = ticket.unwrap_or_else(|| panic!("{json:#}"));
    assert!(
        json["review"]["age_ms"].is_u64() && ticket["fix"].is_string() && ticket["message"].is_string(),
        "{ticket}"
    );

    let line = &so_many(pooler, "CAP-01", 1)[0];
    assert!(line.contains(" ERROR CAP-01 at ") && line.contains("poolwarden.toml:"), "{line}");
    assert!(line.contains("event=ticket ") && line.contains(" severity=error ") && line.contains(" fix="), "{line}");

    pooler.rewrite(&modest(), bed.server());
    let before = last(pooler);
    reload(pooler, "reloaded");
    reviewed(pooler, before, "the modest file to be reviewed", |review| !has(review, "CAP-01"));
    let said = so_many(pooler, "CAP-01", 2);
    assert!(said[1].contains(" INFO  CAP-01 is put right: "), "{said:#?}");
    assert!(!why(pooler, "text").contains("CAP-01"));

    let (before, lines) = (last(pooler), pooler.log().matches("event=ticket").count());
    reload(pooler, "reloaded");
    reviewed(pooler, before, "the same file to be reviewed again", |_| true);
    assert_eq!(pooler.log().matches("event=ticket").count(), lines, "nothing is repeated:\n{}", pooler.log());
}

#[test]
fn a_refused_file_keeps_what_was_found_and_is_a_finding_until_a_reload_ends_well() {
    if !chosen() {
        return;
    }
    let bed = Bed::start_as(Target::Poolwarden, greedy());
    let pooler = bed.pooler().expect("poolwarden");
    reviewed(pooler, 0.0, "CAP-01 to be found", |review| has(review, "CAP-01"));
    let before = last(pooler);
    pooler.rewrite_text("[servers.main]\nhost = \n");
    reload(pooler, "reload_refused");
    let kept = reviewed(pooler, before, "the refused reload to be a finding", |review| has(review, "EFF-05"));
    assert!(has(&kept, "CAP-01"), "{kept:#}");
    so_many(pooler, "EFF-05", 1);
    so_many(pooler, "CAP-01", 1);

    let before = last(pooler);
    pooler.rewrite(&modest(), bed.server());
    reload(pooler, "reloaded");
    let right = reviewed(pooler, before, "the right file to be reviewed", |review| !has(review, "EFF-05"));
    assert!(!has(&right, "CAP-01"), "{right:#}");
    for code in ["CAP-01", "EFF-05"] {
        let said = so_many(pooler, code, 2);
        assert!(said[1].contains("event=ticket_closed "), "{said:#?}");
    }
}

#[test]
fn what_is_set_on_the_console_and_what_is_accepted_in_the_file_is_known() {
    if !chosen() {
        return;
    }
    let allowed = "[[review.allow]]\ncode = \"CAP-01\"\nreason = \"ticket 7\"\n\n[review]\nevery = \"1s\"\n\n[limits]";
    let plan = greedy().edit("[limits]", allowed);
    let bed = Bed::start_as(Target::Poolwarden, plan);
    let pooler = bed.pooler().expect("poolwarden");
    let found = reviewed(pooler, 0.0, "CAP-01 to be found", |review| has(review, "CAP-01"));
    let all = found["findings"].as_array().expect("findings");
    let finding = all.iter().find(|of| of["code"] == "CAP-01").expect("it");
    assert_eq!((&finding["state"], &finding["reason"]), (&"allowed".into(), &"ticket 7".into()));
    assert!(tickets(pooler, "CAP-01").is_empty() && !why(pooler, "text").contains("CAP-01"), "{}", pooler.log());

    let before = last(pooler);
    bed.console().query("set pools.app.max_wait = '7s'").expect("set");
    reviewed(pooler, before, "the drift to be found", |review| has(review, "EFF-01"));
    let mut newest = last(pooler);
    for _ in 0..2 {
        newest = until("another review", PATIENCE, || Some(last(pooler)).filter(|at| *at > newest));
    }
    so_many(pooler, "EFF-01", 1); // reviews by the clock repeat nothing
}

#[test]
fn an_ini_that_runs_is_reviewed_with_what_it_includes_under_pgbouncers_names() {
    if !chosen() {
        return;
    }
    // No server is needed: nobody asks for a connection.
    let ini = "[databases]\napp = host=127.0.0.1 port=1 dbname=app\n[pgbouncer]\n%include {dir}/more.ini\nlisten_addr = 127.0.0.1\n\
               listen_port = {port}\nunix_socket_dir =\nauth_type = plain\nauth_file = {dir}/userlist.txt\nadmin_users = app\n\
               default_pool_size = 25\nmax_db_connections = 50\nserver_lifetime = 3600\nlogfile = {dir}/pooler.log\n";
    let userlist = format!("\"app\" \"{PASSWORD}\"\n");
    let more = |backlog: u32| format!("listen_backlog = {backlog}\nquery_wait_timeout = 0\n");
    let pooler =
        Program::Poolwarden.start(&[("pgbouncer.ini", ini), ("more.ini", &more(128)), ("userlist.txt", &userlist)]);
    let said =
        |what: &str| until(what, PATIENCE, || pooler.log().lines().find(|line| line.contains(what)).map(str::to_owned));
    let line = said(" ERROR TMO-01 at ");
    assert!(line.contains("/more.ini:2:22: "), "the place is in the file that is included: {line}");
    assert!(!pooler.log().contains("EFF-0"), "the file is what runs: {}", pooler.log());
    assert!(!pooler.log().contains(PASSWORD));
    pooler.rewrite("more.ini", &more(256));
    pooler.signal(Signal::HUP);
    let line = said(" ERROR EFF-02 at ");
    assert!(line.contains("listen_backlog: 256 in the file, 128 running"), "{line}");
    let told = pooler.psql("app", PASSWORD, "pgbouncer", "show config");
    assert!(told.rows.lines().any(|row| row.starts_with("listen_backlog|128|")), "{told:?}");
}
