//! Servers come, go and come back by a reload, while clients of another server work and notice nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use poolwarden_testbed::wire::cancel;
use poolwarden_testbed::{Bed, Fault, Login, Plan, Pooler, Postgres, Say, Settings, Target, Wire, bed, place, until};

const PATIENCE: Duration = Duration::from_secs(30);
/// Slots of the server that comes and goes; `main` has others, so that nobody's facts can be taken for another's.
const SLOTS: u32 = 60;

/// A pooler before one server, and a second server that it does not know yet.
struct Scene {
    bed: Bed,
    other: Postgres,
}

/// A server's tables with one pool on it.
fn tables(server: &str, pool: &str, of: &Postgres) -> String {
    format!(
        "[servers.{server}]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"disable\"\nmax_connections = 5\n\n\
         [servers.{server}.watch]\nuser = \"watch\"\npassword_env = \"WATCH_PASSWORD\"\ndatabase = \"app\"\n\n\
         [pools.{pool}]\nserver = \"{server}\"\ndatabase = \"app\"\nsize = 2\n\n[auth]\n",
        of.port()
    )
}

impl Scene {
    fn new() -> Scene {
        let bed = Bed::start_as(Target::Poolwarden, Plan { size: 4, ..Plan::default() });
        let other = Postgres::start(Settings { max_connections: SLOTS, more: Vec::new() });
        Scene { bed, other }
    }

    fn pooler(&self) -> &Pooler {
        self.bed.pooler().expect("poolwarden")
    }

    /// A reload with this server besides `main`, or with none; its pool is `old`.
    fn reload(&self, server: Option<&str>) {
        let plan = self.bed.plan().clone();
        let plan = server
            .map_or_else(|| plan.clone(), |name| plan.clone().edit("[auth]\n", &tables(name, "old", &self.other)));
        self.pooler().rewrite(&plan, self.bed.server());
        self.bed.console().query("RELOAD").expect("reloaded");
    }

    fn client(&self) -> Result<Wire, Fault> {
        Wire::connect(&self.bed.address(), &Login { database: "old".to_owned(), ..bed::login() })
    }

    /// What a server's own metric says; `None` where it has none.
    fn slots(&self, server: &str) -> Option<String> {
        let text = self.pooler().get("/metrics");
        let sample = format!("poolwarden_pg_slots{{host=\"{server}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&sample)).map(str::to_owned)
    }

    /// Everybody is watched, and is told of what is its own.
    fn watched(&self, server: &str) {
        until("the watch connections to tell of their own servers", PATIENCE, || {
            (self.slots(server)? == (SLOTS - 3).to_string() && self.slots("main")? == "147").then_some(())
        });
    }

    /// Nothing of this server is left anywhere one looks, and nothing of ours on it.
    fn vanished(&self, server: &str) {
        let ours = "select count(*) from pg_stat_activity where usename in ('app', 'watch')";
        until("its connections to end", PATIENCE, || (self.other.sql(ours).value() == "0").then_some(()));
        for what in ["POOLS", "SERVERS", "DATABASES"] {
            let named = |row: &std::collections::BTreeMap<String, String>| row.values().any(|value| value == "old");
            // a connection is listed until its end has been seen here too
            until(what, PATIENCE, || (!self.bed.show(what).iter().any(named)).then_some(()));
        }
        let (metrics, why) = (self.pooler().get("/metrics"), self.pooler().get("/api/v1/why"));
        assert!(!metrics.contains(server) && metrics.contains("host=\"main\""), "/metrics names {server}:\n{metrics}");
        assert!(!why.contains(server), "{why}");
    }
}

#[track_caller]
fn is_unknown(answer: Result<impl std::fmt::Debug, Fault>) {
    match answer {
        Err(Fault::Server(notice)) => assert_eq!(notice.code, "3D000", "{}", notice.message),
        other => panic!("{other:?}"),
    }
}

/// Where the pool leads: the server's own port.
#[track_caller]
fn port(wire: &mut Wire) -> String {
    wire.query("select inet_server_port()").unwrap_or_else(|e| panic!("not served: {e}")).value()
}

/// Clients of `main` at work while `act` happens; none of them may fail, and they go on after it.
fn under_load(bed: &Bed, act: impl FnOnce()) {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let (stop, served, address) = (AtomicBool::new(false), AtomicUsize::new(0), bed.address());
    let work = || {
        let mut wire = Wire::connect(&address, &bed::login()).expect("connect");
        while !stop.load(Ordering::Acquire) {
            for sql in ["begin", "select pg_sleep(0.002)", "commit"] {
                wire.query(sql).unwrap_or_else(|e| panic!("a client of main at {sql}: {e}"));
            }
            served.fetch_add(1, Ordering::AcqRel);
        }
    };
    thread::scope(|scope| {
        let guard = Stop(&stop);
        let workers: Vec<_> = (0..6).map(|_| scope.spawn(work)).collect();
        let flow = || {
            let before = served.load(Ordering::Acquire);
            until("the load to flow", PATIENCE, || {
                let failed = workers.iter().any(thread::ScopedJoinHandle::is_finished);
                (failed || served.load(Ordering::Acquire) >= before + 50).then_some(())
            });
        };
        flow();
        act();
        flow();
        drop(guard);
        for worker in workers {
            worker.join().expect("no client failed");
        }
    });
}

#[test]
fn a_server_comes_goes_and_comes_back_while_clients_of_another_work() {
    let _machine = place::machine(false);
    let scene = Scene::new();
    let theirs = scene.other.port().to_string();
    under_load(&scene.bed, || {
        is_unknown(scene.client());
        // Its name stands before `main` in the file's order: nobody is to be known by a place.
        scene.reload(Some("archive"));
        let mut client = scene.client().expect("its pool is there");
        assert_eq!(port(&mut client), theirs);
        scene.watched("archive");

        client.query("begin").expect("begun");
        let mut waiting = [scene.client().expect("in"), scene.client().expect("in")];
        waiting[0].query("begin").expect("the last connection");
        waiting[1].send(&Say::new().query("select 1").bytes).expect("sent");
        until("it to wait", PATIENCE, || {
            scene.bed.show("POOLS").iter().any(|row| row["database"] == "old" && row["cl_waiting"] == "1").then_some(())
        });
        scene.reload(None);
        is_unknown(waiting[1].answer());
        assert_eq!(client.query("select 7").expect("its transaction goes on").value(), "7");
        let lent = scene.bed.show("SERVERS").iter().filter(|row| row["database"] == "old").count();
        assert_eq!(lent, 2, "what is still lent is listed, and nothing else");
        client.query("commit").expect("and ends well");
        waiting[0].send(&Say::new().query("select pg_sleep(60)").bytes).expect("sent");
        until("it to run", PATIENCE, || scene.other.backends().iter().any(|b| b.state == "active").then_some(()));
        cancel(&scene.bed.address(), &waiting[0].key).expect("its server can still be asked to cancel");
        match waiting[0].answer() {
            Err(Fault::Server(notice)) => assert_eq!(notice.code, "57014", "{}", notice.message),
            other => panic!("{other:?}"),
        }
        waiting[0].query("rollback").expect("and this one ends");
        is_unknown(client.query("select 1"));
        is_unknown(scene.client());
        scene.vanished("archive");

        scene.reload(Some("archive"));
        assert_eq!(port(&mut scene.client().expect("it is back")), theirs);
        assert_eq!(port(&mut client), theirs, "who stayed is served again");
        scene.watched("archive");
    });
}

#[test]
fn a_renamed_server_begins_anew_and_its_old_name_is_gone() {
    let _machine = place::machine(false);
    let scene = Scene::new();
    let theirs = scene.other.port().to_string();
    under_load(&scene.bed, || {
        scene.reload(Some("archive"));
        let mut client = scene.client().expect("its pool is there");
        client.query("begin").expect("begun");
        scene.watched("archive");
        scene.reload(Some("reports"));
        assert_eq!(port(&mut scene.client().expect("under the new name")), theirs);
        assert_eq!(port(&mut client), theirs, "its transaction goes on where it began");
        client.query("commit").expect("and ends well");
        scene.watched("reports");
        until("the old name to be gone", PATIENCE, || scene.slots("archive").is_none().then_some(()));
        let metrics = scene.pooler().get("/metrics");
        assert!(!metrics.contains("archive"), "{metrics}");
        scene.reload(None);
        drop(client);
        scene.vanished("reports");
    });
}

#[test]
fn a_server_that_comes_hears_that_all_is_paused_and_one_that_comes_back_that_it_is_not() {
    let _machine = place::machine(false);
    let scene = Scene::new();
    let mut console = scene.bed.console();
    scene.reload(Some("archive"));
    let mut client = scene.client().expect("in");
    client.query("select 1").expect("served");
    scene.reload(None);
    console.query("PAUSE").expect("paused, while it is not there");
    scene.reload(Some("archive"));
    client.send(&Say::new().query("select 2").bytes).expect("sent");
    until("it to wait", PATIENCE, || {
        scene.bed.show("POOLS").iter().any(|row| row["database"] == "old" && row["cl_waiting"] == "1").then_some(())
    });
    assert!(client.silent_for(Duration::from_millis(100)), "served while paused");
    scene.reload(None);
    is_unknown(client.answer());
    console.query("RESUME").expect("resumed, while it is not there");
    scene.reload(Some("archive"));
    assert_eq!(client.query("select 3").expect("nothing is paused").value(), "3");
}

#[test]
fn a_server_that_moves_is_asked_and_watched_where_it_is_now() {
    let _machine = place::machine(false);
    let scene = Scene::new();
    scene.reload(Some("archive"));
    let mut client = scene.client().expect("in");
    let other = port(&mut client);
    scene.watched("archive");
    let theirs = scene.other.port().to_string();
    let moved = tables("archive", "old", &scene.other).replace(&theirs, &scene.bed.server().port().to_string());
    scene.pooler().rewrite(&scene.bed.plan().clone().edit("[auth]\n", &moved), scene.bed.server());
    scene.bed.console().query("RELOAD").expect("reloaded");
    let now = port(&mut client);
    assert_eq!((other, now), (theirs, scene.bed.server().port().to_string()), "no connection to where it was is lent");
    until("its own facts", PATIENCE, || (scene.slots("archive")? == "147").then_some(()));
}
