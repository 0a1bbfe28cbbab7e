//! The emergency drawer, as somebody uses it at night: why, holders, cancel, terminate, pause, resume, bundle, explain, top.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use poolwarden_testbed::pooler::binary;
use poolwarden_testbed::screen::Screen;
use poolwarden_testbed::{Bed, Plan, Say, Target, Wire, bed, place, until};
use rustix::process::Signal;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);
/// What is answered while everything is exhausted.
const AT_ONCE: Duration = Duration::from_secs(1);

fn start(plan: Plan) -> Bed {
    Bed::start_as(Target::Poolwarden, Plan { max_wait: Duration::from_secs(600), ..plan })
}

/// The story's case: the pool has room, the user may have three.
fn the_story() -> (Bed, Vec<Wire>, Vec<Wire>) {
    let bed = start(Plan { size: 20, user_limit: Some(3), ..Plan::default() });
    let mut holding: Vec<Wire> = (0..3).map(|_| bed.client()).collect();
    for wire in &mut holding {
        wire.query("begin").expect("begun");
        wire.query("select 'a secret' as held").expect("held");
    }
    let mut waiting: Vec<Wire> = (0..4).map(|_| bed.client()).collect();
    for wire in &mut waiting {
        wire.send(&Say::new().query("select 7").bytes).expect("sent");
    }
    until("four to wait", PATIENCE, || (bed.pool("cl_waiting") == 4).then_some(()));
    (bed, holding, waiting)
}

/// A verb of the built binary that can read the operate token; its exit code, output and errors.
fn verb(bed: &Bed, args: &[&str]) -> (Option<i32>, String, String) {
    let token = bed.pooler().expect("poolwarden").dir().join("data/token");
    run(bed, args, &["--token-file", token.to_str().expect("a plain path")])
}

/// The same by somebody who cannot read it.
fn stranger(bed: &Bed, args: &[&str]) -> (Option<i32>, String, String) {
    run(bed, args, &[])
}

fn run(bed: &Bed, args: &[&str], more: &[&str]) -> (Option<i32>, String, String) {
    let pooler = bed.pooler().expect("poolwarden");
    let mut command = Command::new(binary());
    command.args(args).args(["--at", &format!("http://{}", pooler.http())]).args(more);
    command.current_dir(pooler.dir()).env_clear().env("HOME", pooler.dir()).stdin(Stdio::null());
    let output = command.output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn json(bed: &Bed, args: &[&str]) -> Value {
    let (code, said, wrong) = verb(bed, &[args, &["--format", "json"]].concat());
    assert_eq!(code, Some(0), "{args:?}: {wrong}");
    serde_json::from_str(&said).unwrap_or_else(|e| panic!("{args:?}: {e}: {said}"))
}

/// PostgreSQL's processes of the pool's server connections.
fn pids(bed: &Bed) -> Vec<u64> {
    let rows = bed.show("SERVERS");
    let mut pids: Vec<u64> = rows.iter().filter_map(|row| row["remote_pid"].parse().ok()).collect();
    pids.sort_unstable();
    pids
}

#[test]
fn why_names_the_limit_that_binds_and_that_a_larger_pool_helps_nobody() {
    let _machine = place::machine(false);
    let (bed, _holding, _waiting) = the_story();
    let why = until("waits long enough to be called so", PATIENCE, || {
        let why = json(&bed, &["why", "app"]);
        (why["pools"][0]["state"] != "calm").then_some(why)
    });
    let pool = &why["pools"][0];
    assert_eq!(
        (&pool["state"], &pool["lent"], &pool["waiting"]),
        (&"saturated".into(), &3.into(), &4.into()),
        "{why:#}"
    );
    let binding = &pool["binding_limit"];
    assert_eq!(
        (&binding["name"], &binding["size"], &binding["used"]),
        (&"user".into(), &3.into(), &3.into()),
        "{why:#}"
    );
    let gain = |limit: &str| {
        let gains = pool["gains"].as_array().expect("a list");
        gains.iter().find(|gain| gain["limit"] == limit).unwrap_or_else(|| panic!("no {limit}: {why:#}"))["gain"]
            .clone()
    };
    assert_eq!((gain("pool_size"), gain("user") != 0), (0.into(), true), "{why:#}");
    let mut held: Vec<u64> =
        pool["holders"].as_array().expect("a list").iter().filter_map(|of| of["pid"].as_u64()).collect();
    held.sort_unstable();
    assert_eq!(held, pids(&bed), "{why:#}");

    let (code, text, wrong) = stranger(&bed, &["why"]);
    assert_eq!(code, Some(0), "{wrong}");
    assert!(text.contains("NEXT") && !text.contains("as held"), "{text}");
    let (_, text, _) = verb(&bed, &["why"]);
    assert!(text.contains("as held") && !text.contains("a secret"), "statements have no literals: {text}");
}

/// Twelve clients at work where three may be.
fn under_load<T>(bed: &Bed, act: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    let work = || {
        let mut wire = bed.client();
        while !stop.load(Ordering::Acquire) {
            assert_eq!(wire.query("select 7 from pg_sleep(0.02)").expect("served").value(), "7");
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..12).map(|_| scope.spawn(work)).collect();
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        stop.store(true, Ordering::Release);
        for worker in workers {
            worker.join().expect("no client failed");
        }
        acted.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn the_story_is_told_in_ten_lines_with_the_next_step_first_and_as_a_screen() {
    let _machine = place::machine(false);
    let bed = start(Plan { size: 20, user_limit: Some(3), ..Plan::default() });
    under_load(&bed, || {
        let text = until("the limit and the cause to be named", PATIENCE, || {
            let (code, text, wrong) = verb(&bed, &["why"]);
            assert_eq!(code, Some(0), "{wrong}");
            text.contains("cause   user_limit").then_some(text)
        });
        let first: Vec<&str> = text.lines().take(2).collect();
        assert!(first[0].starts_with("app (user app, server main): SATURATED"), "{text}");
        assert!(first[1].contains("NEXT") && first[1].contains("users.app.max_connections"), "{text}");
        assert!(text.contains("limit   user binds: 3 of 3 used, set by users.app.max_connections"), "{text}");
        assert!(text.contains("pool_size") && text.contains("no effect, user binds at 3"), "{text}");
        keep(&bed, "why.txt", &text);
        let demand = until("three seconds of demand to be remembered", PATIENCE, || {
            let demand = json(&bed, &["why", "app"])["pools"][0]["demand"].as_array()?.clone();
            (demand.len() >= 4).then_some(demand)
        });
        assert!(demand[1..].iter().all(|of| of.as_u64().is_some_and(|of| (11..=12).contains(&of))), "{demand:?}");
        let screen = top(&bed, (100, 30));
        // a captured one is to show some of the past
        let blocks = if std::env::var_os("TESTBED_CAPTURE").is_some() { 5 } else { 1 };
        let shown = until("the screen to show the same", 4 * PATIENCE, || {
            let shown = screen.text();
            let line = shown.lines().find(|line| line.starts_with("app/app"))?;
            let demand = line.chars().filter(|c| ('▁'..='█').contains(c)).count();
            (demand >= blocks && shown.contains("cause   user_limit")).then_some(shown)
        });
        assert!(row(&shown).contains(&"user") && shown.contains("users.app.max_connections"), "{shown}");
        keep(&bed, "top.txt", &shown);
    });
}

#[test]
fn who_holds_is_listed_and_one_of_them_is_ended_so_that_another_is_served() {
    let _machine = place::machine(false);
    let (bed, mut holding, mut waiting) = the_story();
    let all = json(&bed, &["holders", "app"]);
    let holders = all["holders"].as_array().expect("a list");
    assert_eq!(holders.len(), 3, "{all:#}");
    assert!(holders.iter().all(|of| of["state"] == "idle_in_transaction" && of["application"].is_string()), "{all:#}");
    let (conn, client) = (holders[0]["conn"].to_string(), holders[0]["client"].to_string());
    let rows = bed.show("CLIENTS");
    let port: u16 = rows.iter().find(|row| row["id"] == client).expect("it is there")["port"].parse().expect("a port");

    let (code, said, wrong) = stranger(&bed, &["terminate", &conn]);
    assert!(code == Some(2) && wrong.contains("token") && said.is_empty(), "{said}{wrong}");
    let (code, said, wrong) = verb(&bed, &["terminate", &conn]);
    assert_eq!(code, Some(0), "{wrong}");
    assert!(said.contains(&format!("closed connection {conn} (pool app")), "{said}");
    let at = holding.iter().position(|wire| wire.local_port() == port).expect("one of ours");
    assert!(holding.remove(at).query("select 1").is_err(), "its session has ended");
    until("one of those who wait to be served", PATIENCE, || (bed.pool("cl_waiting") < 4).then_some(()));
    assert_eq!(waiting[0].answer().expect("the oldest").value(), "7");
    let (code, _, wrong) = verb(&bed, &["terminate", "999999"]);
    assert!(code == Some(2) && wrong.contains("999999"), "{wrong}");
}

#[test]
fn what_runs_is_cancelled_and_its_client_stays() {
    let _machine = place::machine(false);
    let bed = start(Plan { size: 2, ..Plan::default() });
    let mut wire = bed.client();
    wire.send(&Say::new().query("select pg_sleep(600)").bytes).expect("sent");
    let runs = "select count(*) from pg_stat_activity where state = 'active' and query like 'select pg_sleep(600)%'";
    until("PostgreSQL to run it", PATIENCE, || (bed.postgres.sql(runs).value() == "1").then_some(()));
    let conn = until("it to run", PATIENCE, || {
        let all = json(&bed, &["holders"]);
        let running = all["holders"].as_array()?.iter().find(|of| of["state"] == "active")?.clone();
        Some(running["conn"].to_string())
    });
    let (code, said, wrong) = verb(&bed, &["cancel", &conn]);
    assert_eq!(code, Some(0), "{wrong}");
    assert!(said.contains(&format!("cancelled what ran on connection {conn}")), "{said}");
    let fault = wire.answer().expect_err("cancelled").to_string();
    assert!(fault.contains("57014"), "{fault}");
    assert_eq!(wire.query("select 2").expect("its session goes on").value(), "2");
}

#[test]
fn pools_are_paused_and_resumed_and_a_bundle_is_written_once() {
    let _machine = place::machine(false);
    let bed = start(Plan { size: 2, ..Plan::default() });
    bed.client().query("select 1").expect("served");
    let paused = || bed.show("DATABASES").iter().any(|row| row["name"] == "app" && row["paused"] != "0");
    let (code, said, wrong) = verb(&bed, &["pause", "app"]);
    assert_eq!((code, said.contains("app: lend no more")), (Some(0), true), "{said}{wrong}");
    until("it to be paused", PATIENCE, || paused().then_some(()));
    assert_eq!(json(&bed, &["why", "app"])["pools"][0]["state"], "paused");
    assert_eq!(verb(&bed, &["resume"]).0, Some(0));
    until("it to be resumed", PATIENCE, || (!paused()).then_some(()));
    let (code, _, wrong) = verb(&bed, &["pause", "nope"]);
    assert!(code == Some(2) && wrong.contains("nope"), "{wrong}");

    let file = bed.pooler().expect("poolwarden").dir().join("x.tar.gz");
    let (code, said, wrong) = verb(&bed, &["bundle", "--out", "x.tar.gz"]);
    assert_eq!((code, said.contains("wrote x.tar.gz")), (Some(0), true), "{said}{wrong}");
    let bytes = std::fs::read(&file).expect("it is there");
    assert!(bytes.starts_with(&[0x1f, 0x8b]), "a gzip file");
    assert_eq!(std::fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    let (code, _, wrong) = verb(&bed, &["bundle", "--out", "x.tar.gz"]);
    assert!(code == Some(2) && wrong.contains("--out"), "{wrong}");
}

#[test]
fn metrics_speak_pgbouncers_names_as_well_where_that_is_wanted() {
    let _machine = place::machine(false);
    let named = "pgbouncer_pools_server_active_connections{database=\"app\",user=\"app\"} 1";
    for wanted in [false, true] {
        let http = "http = \"127.0.0.1:0\"\n";
        let plan = Plan { size: 2, ..Plan::default() };
        let bed = start(if wanted { plan.edit(http, &format!("{http}pgbouncer_metrics = true\n")) } else { plan });
        let mut holder = bed.client();
        holder.query("begin").expect("held");
        let text = bed.pooler().expect("poolwarden").get("/metrics");
        assert_eq!(text.lines().any(|line| line == named), wanted, "{text}");
    }
}

#[test]
fn what_cannot_be_answered_says_why_and_exits_with_2() {
    let _machine = place::machine(false);
    let bed = start(Plan { size: 2, ..Plan::default() });
    let (code, said, wrong) = stranger(&bed, &["why", "ap"]);
    assert!(
        code == Some(2) && said.is_empty() && wrong.contains("no such pool: ap; did you mean app?"),
        "{said}{wrong}"
    );
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    for args in [&["why"][..], &["top"], &["holders", "--format", "json"]] {
        let output =
            Command::new(binary()).args(args).args(["--at", &format!("http://{nobody}")]).stdin(Stdio::null()).output();
        let output = output.expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let wrong = String::from_utf8_lossy(&output.stderr);
        assert!(wrong.contains("nothing listens at") || wrong.contains("needs a terminal"), "{args:?}: {wrong}");
    }
    let explain = |code: &[&str]| Command::new(binary()).arg("explain").args(code).output().expect("it runs");
    assert!(String::from_utf8_lossy(&explain(&["user_limit"]).stdout).contains("raise users.USER.max_connections"));
    assert_eq!(explain(&["user_limt"]).status.code(), Some(2));
    assert!(explain(&[]).stdout.len() > 1_000);
}

/// `top` in a terminal of this size.
fn top(bed: &Bed, size: (u16, u16)) -> Screen {
    let pooler = bed.pooler().expect("poolwarden");
    let mut command = Command::new(binary());
    command.args(["top", "--at", &format!("http://{}", pooler.http()), "--token-file"]);
    Screen::start(command.arg(pooler.dir().join("data/token")), size)
}

/// The row of the pool: its words.
fn row(screen: &str) -> Vec<&str> {
    let line = screen.lines().find(|line| line.starts_with("app/app")).unwrap_or_else(|| panic!("no row:\n{screen}"));
    line.split_whitespace().collect()
}

#[test]
fn top_shows_what_the_process_says_and_leaves_the_terminal_as_it_was() {
    let _machine = place::machine(false);
    let (bed, mut holding, mut waiting) = the_story();
    let mut screen = top(&bed, (100, 30));
    let shown = screen.showing("SATURATED");
    let words = row(&shown);
    let pool = bed.show("POOLS").into_iter().find(|row| row["database"] == "app").expect("it is there");
    assert_eq!(words[1..4], ["SATURATED", &format!("{}/20", pool["sv_active"]), &pool["cl_waiting"]], "{shown}");
    assert!(words.contains(&"user") && shown.contains("NEXT"), "{shown}");
    screen.press("\t");
    let shown = screen.showing("STATEMENT");
    for pid in pids(&bed) {
        assert!(shown.contains(&pid.to_string()), "{pid} is missing:\n{shown}");
    }
    screen.press("\t");
    assert!(screen.showing("RAISING GAINS").contains("no effect"));

    for wire in &mut holding {
        wire.query("commit").expect("given back");
    }
    for wire in &mut waiting {
        assert_eq!(wire.answer().expect("served").value(), "7");
    }
    until("the screen to see it", PATIENCE, || {
        let shown = screen.text();
        let words = row(&shown);
        (words[2] == "0/20" && words[3] == "0").then_some(())
    });
    screen.press("q");
    assert_eq!(screen.end().code(), Some(0));
    screen.is_given_back();
}

#[test]
fn top_gives_the_terminal_back_however_it_is_ended() {
    let _machine = place::machine(false);
    let bed = start(Plan { size: 2, ..Plan::default() });
    bed.client().query("select 1").expect("served");
    type End = fn(&mut Screen);
    let ends: [(&str, End); 4] = [
        ("ctrl-c", |screen| screen.press("\u{3}")),
        ("SIGTERM", |screen| screen.signal(Signal::TERM)),
        ("SIGHUP", |screen| screen.signal(Signal::HUP)),
        ("SIGINT", |screen| screen.signal(Signal::INT)),
    ];
    for (name, end) in ends {
        let mut screen = top(&bed, (80, 24));
        assert!(screen.showing("q quit").contains("app/app"), "{name}");
        end(&mut screen);
        assert_eq!(screen.end().code(), Some(0), "{name}");
        screen.is_given_back();
    }
}

/// For the documentation: what was shown, where `TESTBED_CAPTURE` names a directory; with the usual port, not this test's.
fn keep(bed: &Bed, name: &str, shown: &str) {
    let Some(directory) = std::env::var_os("TESTBED_CAPTURE") else { return };
    let pooler = bed.pooler().expect("poolwarden");
    let shown = shown.replace(&pooler.http().to_string(), "127.0.0.1:9432");
    // a long path stands on a line of its own
    let file = pooler.dir().join("poolwarden.toml").display().to_string();
    let lines: Vec<&str> = shown.lines().map(str::trim).collect();
    let own = lines.iter().position(|line| *line == file);
    let shown = own.map_or_else(
        || shown.clone(),
        |at| {
            let mut lines: Vec<String> = shown.lines().map(str::to_owned).collect();
            lines.remove(at);
            lines[at - 1].push_str(" poolwarden.toml");
            lines.join("\n")
        },
    );
    let shown = shown.replace(&file, "poolwarden.toml");
    let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
    let text = format!("{}\n", lines.join("\n").trim_end());
    std::fs::write(Path::new(&directory).join(name), text).expect("written");
}

const POOLS: u32 = 50;
const WAITING: u32 = 5_000;

/// Fifty pools of one connection each.
fn fifty() -> Plan {
    let pool =
        |at| format!("[pools.tenant{at:02}]\nserver = \"main\"\ndatabase = \"app\"\nsize = 1\nmax_wait = \"600s\"\n");
    let pools: String = (0..POOLS).map(pool).collect();
    let plan = Plan { size: 1, budget: Some(60), max_connections: 100, max_clients: 10_000, ..Plan::default() };
    plan.edit("[auth]\nmethod = \"scram-sha-256\"\n", &format!("{pools}\n[auth]\nmethod = \"trust\"\n"))
}

#[test]
fn everything_answers_at_once_while_fifty_pools_are_exhausted_and_five_thousand_clients_wait() {
    let _machine = place::machine(true);
    let bed = start(fifty());
    let client = |at: u32| {
        let login = poolwarden_testbed::Login { database: format!("tenant{:02}", at % POOLS), ..bed::login() };
        Wire::connect(&bed.address(), &login).unwrap_or_else(|e| panic!("client {at}: {e}"))
    };
    let mut holding: Vec<Wire> = (0..POOLS).map(client).collect();
    for wire in &mut holding {
        wire.query("begin").expect("begun");
    }
    let mut waiting: Vec<Wire> = (0..WAITING).map(client).collect();
    for wire in &mut waiting {
        wire.send(&Say::new().query("select 7").bytes).expect("sent");
    }
    let count = || bed.show("POOLS").iter().filter_map(|row| row["cl_waiting"].parse::<u32>().ok()).sum::<u32>();
    until("all to wait", Duration::from_secs(60), || (count() == WAITING).then_some(()));
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let busy = AtomicBool::new(true);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while busy.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| all_answer(&bed)));
        busy.store(false, Ordering::Relaxed);
        asked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// Each question three times: the slowest counts.
fn all_answer(bed: &Bed) {
    let timed = |what: &str, ask: &dyn Fn()| {
        for _ in 0..3 {
            let started = Instant::now();
            ask();
            let took = started.elapsed();
            assert!(took < AT_ONCE, "{what} took {took:?}");
            eprintln!("{what}: {took:?}");
        }
    };
    timed("why", &|| {
        let why = json(bed, &["why"]);
        let pools = why["pools"].as_array().expect("a list");
        let waiting: u64 = pools.iter().filter_map(|pool| pool["waiting"].as_u64()).sum();
        assert_eq!(waiting, u64::from(WAITING));
        assert_eq!(pools.iter().filter(|pool| pool["binding_limit"]["name"] == "pool_size").count(), POOLS as usize);
    });
    timed("why as text", &|| assert!(verb(bed, &["why"]).1.contains("NEXT")));
    timed("why of one pool", &|| assert!(verb(bed, &["why", "tenant07"]).1.contains("100 waiting")));
    timed("holders", &|| assert_eq!(json(bed, &["holders"])["holders"].as_array().map(Vec::len), Some(POOLS as usize)));
    timed("metrics", &|| assert!(bed.pooler().expect("poolwarden").get("/metrics").contains("poolwarden_verdict")));
    for table in ["LIMITS", "HOLDERS", "WAITS", "POOLS"] {
        timed(table, &|| assert!(bed.show(table).len() >= POOLS as usize));
    }
    timed("top", &|| {
        let mut screen = top(bed, (100, 30));
        let shown = screen.showing("SATURATED");
        assert!(shown.contains("50 not calm"), "{shown}");
        screen.press("q");
        assert_eq!(screen.end().code(), Some(0));
    });
}
