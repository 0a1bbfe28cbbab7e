//! Replication connections: PostgreSQL's own tools through poolwarden, each on a server connection that is its own.

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use poolwarden_testbed::bed::login;
use poolwarden_testbed::place::Place;
use poolwarden_testbed::wire::cancel;
use poolwarden_testbed::{Bed, Fault, Login, Mode, Plan, Say, Target, Wire, child, client, place, template, until};

const PATIENCE: Duration = Duration::from_secs(30);

fn plan() -> Plan {
    let settings = [("wal_level", "logical"), ("max_wal_senders", "4"), ("max_replication_slots", "4")];
    let postgres = settings.map(|(name, value)| (name, value.to_string())).to_vec();
    // What asks for the whole server asks for the database of this name.
    let plan = Plan { postgres, ..Plan::default() };
    plan.edit("[auth]\n", "[pools.replication]\nserver = \"main\"\n\n[auth]\n")
}

fn start(plan: Plan) -> Bed {
    let bed = Bed::start_as(Target::Poolwarden, plan);
    bed.postgres.sql("alter role app replication; create table t (n int); grant all on t to app");
    bed
}

fn tool(name: &str, bed: &Bed) -> Command {
    let mut command = client::command(template::programs().join(name), bed);
    command.env_remove("PGDATABASE");
    command
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let (well, said) = client::run(command);
    assert!(well, "{command:?} said:\n{said}");
    said
}

/// A client that replicates what changes in the database `app`.
fn logical(bed: &Bed) -> Result<Wire, Fault> {
    Wire::connect_with(&bed.address(), &login(), &[("replication", "database")])
}

/// Runs a tool that goes on until it is told to stop.
fn goes_on(mut command: Command, log: &Path) -> Child {
    child::log_to(&mut command, log);
    child::spawn(&mut command)
}

fn walsenders(bed: &Bed) -> String {
    bed.postgres.sql("select count(*) from pg_stat_replication").value()
}

#[test]
fn a_base_backup_with_its_log_comes_through_whole() {
    let _machine = place::machine(false);
    let bed = start(plan());
    bed.postgres.sql("insert into t select generate_series(1, 100000)");
    let place = Place::new("backup");
    let dir = place.path().join("copy");
    let mut command = tool("pg_basebackup", &bed);
    succeeds(command.arg("-D").arg(&dir).args(["-X", "stream", "-c", "fast"]));
    succeeds(Command::new(template::programs().join("pg_verifybackup")).arg(&dir));
    until("its server connections to end", PATIENCE, || (walsenders(&bed) == "0").then_some(()));
    assert_eq!(bed.pool("sv_idle"), 0, "nobody gets a connection that has replicated");
}

#[test]
fn the_log_is_received_as_it_is_written_and_a_drain_lets_go_of_who_follows_it() {
    let _machine = place::machine(false);
    let mut bed = start(plan());
    let place = Place::new("wal");
    let dir = place.path().join("wal");
    std::fs::create_dir(&dir).expect("a directory");
    succeeds(tool("pg_receivewal", &bed).arg("-D").arg(&dir).args(["-S", "follower", "--create-slot"]));
    let mut follow = tool("pg_receivewal", &bed);
    follow.arg("-D").arg(&dir).args(["-S", "follower", "--synchronous", "--no-loop"]);
    let mut follower = goes_on(follow, &place.path().join("log"));
    until("it to stream", PATIENCE, || (walsenders(&bed) == "1").then_some(()));
    bed.postgres.sql("insert into t select generate_series(1, 1000); select pg_switch_wal()");
    until("a segment to be complete", PATIENCE, || {
        let mut names = std::fs::read_dir(&dir).expect("listed").flatten();
        let whole = |name: std::fs::DirEntry| !name.file_name().to_string_lossy().ends_with(".partial");
        names.any(whole).then_some(())
    });
    let rows = bed.show("POOLS");
    let row = rows.iter().find(|row| row["database"] == "replication/replication").expect("a row of its own");
    assert_eq!((row["sv_active"].as_str(), row["cl_active"].as_str()), ("1", "1"));
    let began = std::time::Instant::now();
    bed.poolwarden().stop();
    assert!(began.elapsed() < Duration::from_secs(15), "a stream never ends by itself: {:?}", began.elapsed());
    assert!(child::wait(&mut follower, PATIENCE).is_some(), "the follower has heard of it");
}

#[test]
fn changes_are_decoded_and_followed() {
    let _machine = place::machine(false);
    let bed = start(plan());
    let place = Place::new("logical");
    let out = place.path().join("changes");
    let slot = ["-d", "app", "-S", "decoder"];
    succeeds(tool("pg_recvlogical", &bed).args(slot).args(["--create-slot", "-P", "test_decoding"]));
    let mut follow = tool("pg_recvlogical", &bed);
    follow.args(slot).args(["--start", "--no-loop", "-F", "0", "-f"]).arg(&out);
    let mut follower = goes_on(follow, &place.path().join("log"));
    bed.client().query("insert into t values (4711)").expect("through the same pooler");
    until("the change to come", PATIENCE, || {
        std::fs::read_to_string(&out).ok().filter(|text| text.contains("n[integer]:4711"))
    });
    child::signal(child::pid(&follower), rustix::process::Signal::INT);
    assert!(child::wait(&mut follower, PATIENCE).expect("it ends").success());
    until("its server connection to end", PATIENCE, || (walsenders(&bed) == "0").then_some(()));
}

#[test]
fn each_is_counted_under_the_host_budget_and_goes_with_its_client() {
    let _machine = place::machine(false);
    let bed = start(Plan { budget: Some(2), max_wait: Duration::from_secs(1), ..plan() });
    let mut one = logical(&bed).expect("replicates");
    let told = one.query("IDENTIFY_SYSTEM").expect("a command of replication");
    assert_eq!(told.columns[0], "systemid");
    assert_eq!(one.query("select pg_backend_pid()").expect("SQL as well").value(), one.key.0.to_string());
    let two = logical(&bed).expect("the second place");
    let answered = bed.client_or_refusal().and_then(|mut wire| wire.query("select 1").map(|answer| answer.value()));
    match answered {
        Err(Fault::Server(notice)) => {
            assert_eq!(notice.code, "53300");
            assert!(notice.detail.contains("binding=host_budget"), "{}", notice.detail);
        }
        other => panic!("a third connection under a budget of two: {other:?}"),
    }
    drop(two);
    until("its place to be free", PATIENCE, || bed.client_or_refusal().ok()?.query("select 1").ok().map(|_| ()));
    drop(one);
}

#[test]
fn what_runs_on_one_can_be_cancelled_and_the_server_refuses_in_its_own_words() {
    let _machine = place::machine(false);
    let bed = start(plan());
    let mut wire = logical(&bed).expect("replicates");
    wire.send(&Say::new().query("select pg_sleep(60)").bytes).expect("sent");
    until("it to run", PATIENCE, || {
        bed.postgres.sql("select count(*) from pg_stat_activity where query like '%pg_sleep%' and state = 'active' and pid <> pg_backend_pid()");
        let busy = bed.postgres.sql("select count(*) from pg_stat_activity where usename = 'app' and state = 'active'");
        (busy.value() == "1").then_some(())
    });
    cancel(&bed.address(), &wire.key.clone()).expect("closed without a word");
    match wire.answer() {
        Err(Fault::Server(notice)) => assert_eq!(notice.code, "57014"),
        other => panic!("not cancelled: {other:?}"),
    }
    drop(wire);
    bed.postgres.sql("alter role app noreplication");
    let direct = Login { ..login() };
    let (through, straight) = (logical(&bed), {
        let address = poolwarden_testbed::wire::Address::Tcp(bed.postgres.address());
        Wire::connect_with(&address, &direct, &[("replication", "database")])
    });
    match (through, straight) {
        (Err(Fault::Server(through)), Err(Fault::Server(straight))) => {
            assert_eq!((through.code, through.message), (straight.code, straight.message));
        }
        other => panic!("a role that may not replicate: {other:?}"),
    }
}

#[test]
fn a_pool_in_statement_mode_says_that_it_does_not_replicate() {
    let _machine = place::machine(false);
    let bed = start(Plan { mode: Mode::Statement, ..plan() });
    match logical(&bed) {
        Err(Fault::Server(notice)) => assert_eq!((notice.severity.as_str(), notice.code.as_str()), ("FATAL", "0A000")),
        other => panic!("not refused: {other:?}"),
    }
}
