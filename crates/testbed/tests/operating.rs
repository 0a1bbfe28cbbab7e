//! What operators do while applications work: stop, reload, pause, replace, look.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use poolwarden_testbed::wire::Address;
use poolwarden_testbed::{Bed, Fault, Plan, Sampler, Say, Target, Wire, bed, place, until};
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(20);

fn start(size: u32) -> Bed {
    Bed::start_as(Target::Poolwarden, Plan { size, ..Plan::default() })
}

/// Clients at work until the closure ends; none of them may fail.
fn under_load<T>(bed: &Bed, clients: usize, act: impl FnOnce(&dyn Fn(usize)) -> T) -> T {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let (stop, served, address) = (AtomicBool::new(false), AtomicUsize::new(0), bed.address());
    let work = |number: usize| {
        let mut wire = Wire::connect(&address, &bed::login()).expect("connect");
        while !stop.load(Ordering::Acquire) {
            for sql in ["begin", "select pg_sleep(0.002)", "commit"] {
                wire.query(sql).unwrap_or_else(|e| panic!("client {number} at {sql}: {e}"));
            }
            served.fetch_add(1, Ordering::AcqRel);
        }
    };
    thread::scope(|scope| {
        let (guard, work) = (Stop(&stop), &work);
        let workers: Vec<_> = (0..clients).map(|number| scope.spawn(move || work(number))).collect();
        let flow = |more: usize| {
            let before = served.load(Ordering::Acquire);
            until("the load to flow", PATIENCE, || {
                let failed = workers.iter().any(thread::ScopedJoinHandle::is_finished);
                (failed || served.load(Ordering::Acquire) >= before + more).then_some(())
            });
        };
        flow(50);
        let done = act(&flow);
        flow(50);
        drop(guard);
        for worker in workers {
            worker.join().expect("no client failed");
        }
        done
    })
}

#[test]
fn sigterm_lets_transactions_end_tells_idle_clients_and_exits_with_0() {
    let _machine = place::machine(false);
    let mut bed = start(2);
    let (mut idle, mut busy) = (bed.client(), bed.client());
    idle.query("select 1").expect("served");
    busy.query("begin").expect("begun");
    let address = bed.addr();
    let finishing = thread::spawn(move || {
        assert_eq!(idle.last_words(), "E(FATAL 57P01)");
        until("new clients to be turned away", PATIENCE, || std::net::TcpStream::connect(address).err());
        assert_eq!(busy.query("select 2").expect("the transaction goes on").value(), "2");
        busy.query("commit").expect("committed");
        busy.last_words()
    });
    let status = bed.poolwarden().stop();
    assert_eq!(finishing.join().expect("both were treated well"), "E(FATAL 57P01)");
    assert_eq!(status.code(), Some(0), "{status}");
    until("its connections to be gone", PATIENCE, || bed.postgres.backends().is_empty().then_some(()));
}

#[test]
fn a_reload_under_load_resizes_the_pool_and_disturbs_nobody() {
    let _machine = place::machine(false);
    let bed = start(2);
    let plan = bed.plan().clone();
    let pooler = bed.pooler().expect("poolwarden");
    under_load(&bed, 12, |flow| {
        for size in [10, 3, 6] {
            pooler.rewrite(&Plan { size, budget: Some(20), ..plan.clone() }, bed.server());
            pooler.signal(Signal::HUP);
            until("the pool to have its new size", PATIENCE, || {
                (bed.postgres.backends().len() == usize::try_from(size).expect("small")).then_some(())
            });
            flow(50);
        }
    });
}

#[test]
fn a_process_that_was_stopped_blames_nobody_for_the_gap() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 1, max_wait: Duration::from_secs(2), ..Plan::default() });
    let mut holder = bed.client();
    holder.query("begin").expect("the only connection");
    let mut waiting: Vec<Wire> = (0..5).map(|_| bed.client()).collect();
    for wire in &mut waiting {
        wire.send(&Say::new().query("select 1").bytes).expect("sent");
    }
    until("all to wait", PATIENCE, || (bed.pool("cl_waiting") == 5).then_some(()));
    let pooler = bed.pooler().expect("poolwarden");
    pooler.signal(Signal::STOP);
    thread::sleep(Duration::from_secs(3)); // the gap itself, longer than anybody may wait
    pooler.signal(Signal::CONT);
    holder.query("commit").expect("goes on");
    for wire in &mut waiting {
        assert_eq!(wire.answer().expect("nobody is refused for the gap").value(), "1");
    }
}

#[test]
fn paused_clients_wait_and_are_served_by_resume() {
    let _machine = place::machine(false);
    let bed = start(2);
    let mut console = bed.console();
    let mut inside = bed.client();
    inside.query("begin").expect("begun");
    let pausing = thread::spawn({
        let mut console = bed.console();
        move || console.query("PAUSE app").map(|_| ()).map_err(|e| e.to_string())
    });
    until("the pool to be paused", PATIENCE, || {
        bed.show("DATABASES").iter().any(|row| row["name"] == "app" && row["paused"] != "0").then_some(())
    });
    let mut waiting: Vec<Wire> = (0..4).map(|_| Wire::dial(&bed.address()).expect("connect")).collect();
    for wire in &mut waiting {
        wire.send(&poolwarden_testbed::wire::startup(&bed::login())).expect("sent");
        wire.log_in(&bed::login()).expect("a login takes no place");
        wire.send(&Say::new().query("select 1").bytes).expect("sent");
    }
    until("them to wait", PATIENCE, || (bed.pool("cl_waiting") == 4).then_some(()));
    assert_eq!(inside.query("select 2").expect("a transaction goes on").value(), "2");
    inside.query("commit").expect("and ends");
    pausing.join().expect("ended").expect("paused");
    assert!(waiting[0].silent_for(Duration::from_millis(100)), "served while paused");
    console.query("RESUME app").expect("resumed");
    for wire in &mut waiting {
        assert_eq!(wire.answer().expect("served").value(), "1");
    }
}

#[test]
fn reconnect_replaces_every_connection_under_load_without_an_error() {
    let _machine = place::machine(false);
    let bed = start(4);
    let sampler = Sampler::start(&bed.postgres);
    under_load(&bed, 12, |flow| {
        for _ in 0..3 {
            let before: Vec<i32> = bed.postgres.backends().iter().map(|backend| backend.pid).collect();
            bed.console().query("RECONNECT").expect("begun");
            until("all to be replaced", PATIENCE, || {
                let now = bed.postgres.backends();
                (now.len() == 4 && now.iter().all(|backend| !before.contains(&backend.pid))).then_some(())
            });
            flow(20);
        }
    });
    sampler.expect_at_most(bed.limit());
}

#[test]
fn kill_ends_everything_at_once_and_resume_begins_anew() {
    let _machine = place::machine(false);
    let bed = start(2);
    let mut busy = bed.client();
    busy.send(&Say::new().query("select pg_sleep(60)").bytes).expect("sent");
    until("it to run", PATIENCE, || bed.postgres.backends().iter().any(|b| b.state == "active").then_some(()));
    let asked = Instant::now();
    bed.console().query("KILL app").expect("killed");
    let told = busy.last_words();
    assert!(told.contains("FATAL"), "{told}");
    until("PostgreSQL to have ended them", PATIENCE, || bed.postgres.backends().is_empty().then_some(()));
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    bed.console().query("RESUME app").expect("resumed");
    assert_eq!(bed.client().query("select 3").expect("served").value(), "3");
    bed.at_rest();
}

#[test]
fn a_disabled_database_refuses_new_clients_and_lends_nothing_until_it_is_enabled() {
    let _machine = place::machine(false);
    let bed = start(2);
    let mut old = bed.client();
    bed.console().query("DISABLE app").expect("disabled");
    let refused = Wire::connect(&bed.address(), &bed::login()).expect_err("a new client").to_string();
    assert!(refused.contains("disabled"), "{refused}");
    let refused = old.query("select 1").expect_err("nothing is lent").to_string();
    assert!(refused.contains("disabled"), "{refused}");
    bed.console().query("ENABLE app").expect("enabled");
    assert_eq!(old.query("select 1").expect("goes on").value(), "1");
    assert_eq!(bed.client().query("select 2").expect("served").value(), "2");
}

#[test]
fn the_console_and_metrics_answer_within_a_second_while_500_clients_wait() {
    let _machine = place::machine(false);
    let bed = start(2);
    let mut holders = [bed.client(), bed.client()];
    for wire in &mut holders {
        wire.query("begin").expect("its connection");
    }
    let mut waiting: Vec<Wire> = (0..500).map(|_| bed.client()).collect();
    for wire in &mut waiting {
        wire.send(&Say::new().query("select 1").bytes).expect("sent");
    }
    until("all to wait", PATIENCE, || (bed.pool("cl_waiting") == 500).then_some(()));
    let pooler = bed.pooler().expect("poolwarden");
    for command in ["POOLS", "LIMITS", "WAITS", "CLIENTS", "SERVERS", "STATS", "LISTS", "DATABASES"] {
        let asked = Instant::now();
        assert!(!bed.show(command).is_empty(), "SHOW {command} is empty");
        assert!(asked.elapsed() < Duration::from_secs(1), "SHOW {command} with its login took {:?}", asked.elapsed());
    }
    for path in ["/metrics", "/healthz", "/readyz"] {
        let asked = Instant::now();
        assert!(!pooler.get(path).is_empty(), "{path} is empty");
        assert!(asked.elapsed() < Duration::from_secs(1), "{path} took {:?}", asked.elapsed());
    }
    for wire in &mut holders {
        wire.query("commit").expect("gives its connection back");
    }
    for wire in &mut waiting {
        assert_eq!(wire.answer().expect("served").value(), "1");
    }
}

#[test]
fn any_database_is_served_by_the_star_and_one_that_is_not_there_is_told() {
    let _machine = place::machine(false);
    let plan =
        Plan { size: 2, ..Plan::default() }.edit("[auth]\n", "[pools.\"*\"]\nserver = \"main\"\nsize = 1\n\n[auth]\n");
    let bed = Bed::start_as(Target::Poolwarden, plan);
    let of = |database: &str| poolwarden_testbed::Login { database: database.to_string(), ..bed::login() };
    for name in ["postgres", "template1"] {
        let mut wire = Wire::connect(&bed.address(), &of(name)).expect("any database");
        assert_eq!(wire.query("select current_database()").expect("served").value(), name);
    }
    match Wire::connect(&bed.address(), &of("nowhere")).and_then(|mut wire| wire.query("select 1")) {
        Err(Fault::Server(notice)) => assert_eq!(notice.code, "3D000", "{}", notice.message),
        other => panic!("{other:?}"),
    }
    assert_eq!(bed.client().query("select 1").expect("undisturbed").value(), "1");
}

#[test]
fn unix_sockets_serve_on_both_sides() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(
        Target::Poolwarden,
        Plan { size: 2, ..Plan::default() }.edit("host = \"127.0.0.1\"", "host = \"{sockets}\""),
    );
    let socket = bed.pooler().and_then(|pooler| pooler.unix()).expect("a unix socket").to_path_buf();
    let mut wire = Wire::connect(&Address::Unix(socket.clone()), &bed::login()).expect("connect");
    let ask = "select client_addr is null from pg_stat_activity where pid = pg_backend_pid()";
    assert_eq!(wire.query(ask).expect("served").value(), "t", "the server side is no unix socket");
    // Who has the same user as the process is the console's admin, whatever name it gives, and without a password.
    let nobody =
        poolwarden_testbed::Login { user: "whoever".into(), password: String::new(), database: "poolwarden".into() };
    let mut console = Wire::connect(&Address::Unix(socket), &nobody).expect("the console");
    let clients = console.query("SHOW CLIENTS").expect("an admin's command");
    assert!(clients.rows.iter().flatten().flatten().any(|cell| cell.contains("unix")), "{:?}", clients.rows);
    bed.at_rest();
}
