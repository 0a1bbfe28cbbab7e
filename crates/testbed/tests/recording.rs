//! What is recorded of real traffic: every checkout once, with times that fit the clients' own, over crashes and on a full disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use poolwarden_store::recording::{
    Anchor, Block, Checkout, Fault, Gap, NameKind, Outcome, Recording, Settings, State, tapes,
};
use poolwarden_testbed::wire::message;
use poolwarden_testbed::{Bed, Plan, Pooler, Target, Wire, bed, disk, place, template, until};
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(60);
const CHECKOUTS: &str = "poolwarden_recording_checkouts_total";
const FAILING: &str = "poolwarden_recording_failing";

fn pooler(bed: &Bed) -> &Pooler {
    bed.pooler().expect("poolwarden")
}

/// What all recordings of a directory say.
#[derive(Default)]
struct Told {
    files: usize,
    checkouts: Vec<Checkout>,
    names: BTreeMap<(NameKind, u16), String>,
    gaps: Vec<Gap>,
    anchors: Vec<Anchor>,
    settings: Vec<Settings>,
    states: Vec<State>,
    faults: Vec<Fault>,
}

impl Told {
    #[track_caller]
    fn read(dir: &Path) -> Told {
        let mut told = Told::default();
        for tape in tapes(dir).expect("the directory can be read") {
            // the oldest may go at any moment
            let Ok(bytes) = fs::read(&tape.path) else { continue };
            told.files += 1;
            // numbers are those of one file
            let mut named = BTreeMap::new();
            for block in Recording::open(&bytes).unwrap_or_else(|e| panic!("{}: {e}", tape.name)) {
                told.take(block, &mut named, &tape.name);
            }
            told.names.extend(named);
        }
        told
    }

    #[track_caller]
    fn take(&mut self, block: Result<Block, Fault>, named: &mut BTreeMap<(NameKind, u16), String>, file: &str) {
        match block {
            Ok(Block::Checkouts(all)) => {
                for of in &all {
                    let class = u16::from(of.class);
                    let used = [(NameKind::Pool, of.pool), (NameKind::Class, class)];
                    assert!(used.iter().all(|name| named.contains_key(name)), "{file}: a name comes before its use");
                    assert!(of.application == 0 || named.contains_key(&(NameKind::Application, of.application)));
                }
                self.checkouts.extend(all);
            }
            Ok(Block::Names(all)) => {
                named.extend(all.into_iter().map(|name| ((name.kind, name.number), name.text)));
            }
            Ok(Block::Gap(gap)) => self.gaps.push(gap),
            Ok(Block::Anchor(anchor)) => self.anchors.push(anchor),
            Ok(Block::Settings(settings)) => self.settings.push(settings),
            Ok(Block::State(state)) => self.states.push(state),
            Ok(Block::Unknown(kind)) => panic!("{file}: a block of kind {kind}"),
            Err(fault) => self.faults.push(fault),
        }
    }

    fn name(&self, kind: NameKind, number: u16) -> &str {
        self.names.get(&(kind, number)).map_or("", String::as_str)
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.checkouts.iter().filter(|of| of.outcome == outcome).count()
    }
}

/// The recordings' directory; the path of the machine, for a pooler without a disk of its own.
fn shelf(pooler: &Pooler) -> PathBuf {
    pooler.dir().join("data/recordings")
}

fn written(pooler: &Pooler) -> u64 {
    pooler.metric(CHECKOUTS, "") as u64
}

fn stat(bed: &Bed, column: &str) -> u64 {
    let rows = bed.show("STATS");
    let row = rows.iter().find(|row| row["database"] == "app").expect("the database was used");
    row[column].parse().unwrap_or_else(|e| panic!("{column}: {e}"))
}

/// Waits until everything that was lent is recorded, and reads all of it.
#[track_caller]
fn all_recorded(bed: &Bed, refused: u64) -> Told {
    bed.at_rest();
    let lent = stat(bed, "total_server_assignment_count");
    until("every checkout to be recorded", PATIENCE, || (written(pooler(bed)) >= lent + refused).then_some(()));
    let told = Told::read(&shelf(pooler(bed)));
    let count = told.checkouts.iter().filter(|of| of.outcome.is_lent()).count() as u64;
    assert_eq!(count, lent, "each lease is recorded once");
    told
}

/// `clients` ask for `sql` again and again until the closure ends; how many answers, how many errors.
fn under_load<T>(bed: &Bed, clients: usize, sql: &str, act: impl FnOnce(&AtomicU64) -> T) -> (T, u64, u64) {
    let (stop, served, failed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let address = bed.address();
    let work = || {
        let mut wire = Wire::connect(&address, &bed::login()).expect("connect");
        while !stop.load(Ordering::Acquire) {
            let counter = if wire.query(sql).is_ok() { &served } else { &failed };
            counter.fetch_add(1, Ordering::AcqRel);
        }
    };
    let done = thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(work);
        }
        until("the load to flow", PATIENCE, || (served.load(Ordering::Acquire) > 50).then_some(()));
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(&served)));
        stop.store(true, Ordering::Release);
        done
    });
    match done {
        Ok(done) => (done, served.into_inner(), failed.into_inner()),
        Err(why) => std::panic::resume_unwind(why),
    }
}

/// What one client saw of its own requests: how many, and how long they took together, from the first byte to the last.
fn shop(bed: &Bed, application: &str, requests: u64) -> (u64, Duration) {
    let started = Instant::now();
    let mut wire =
        Wire::connect_with(&bed.address(), &bed::login(), &[("application_name", application)]).expect("connect");
    for _ in 0..requests {
        wire.query("select pg_sleep(0.01)").expect("served");
    }
    (requests, started.elapsed())
}

#[test]
fn each_checkout_of_real_traffic_is_recorded_once_with_times_that_fit_the_clients_own() {
    const REQUESTS: u64 = 40;
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 3, ..Plan::default() });
    let seen: Vec<(u64, Duration)> = thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|n| {
                let bed = &bed;
                scope.spawn(move || shop(bed, ["shop", "stock"][n % 2], REQUESTS))
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("it ends")).collect()
    });
    let told = all_recorded(&bed, 0);
    assert_eq!((told.faults.len(), told.gaps.len(), told.files), (0, 0, 1));
    // whose they are
    let mut clients: BTreeMap<u32, Vec<&Checkout>> = BTreeMap::new();
    for of in &told.checkouts {
        assert_eq!((of.outcome, of.attempt, of.barred), (Outcome::Served, 0, None));
        assert_eq!(told.name(NameKind::Pool, of.pool), "main\0app\0app");
        assert_eq!(told.name(NameKind::Class, of.class.into()), "default");
        clients.entry(of.client).or_default().push(of);
    }
    clients.retain(|_, all| all.len() as u64 >= REQUESTS); // the others are those of the test's own looks
    assert_eq!(clients.len(), seen.len());
    let mut served = BTreeMap::new();
    for of in &told.checkouts {
        *served.entry(told.name(NameKind::Application, of.application)).or_insert(0) += 1;
    }
    assert!(served["shop"] >= 3 * REQUESTS && served["stock"] >= 3 * REQUESTS, "{served:?}");
    // how long they waited and held, beside what the clients saw
    let sum =
        |of: fn(&Checkout) -> u64| Duration::from_micros(clients.values().flatten().map(|checkout| of(checkout)).sum());
    let (waited, held) = (sum(|of| of.waited_us), sum(|of| of.held_us));
    let elapsed: Duration = seen.iter().map(|(_, elapsed)| *elapsed).sum();
    let slept = Duration::from_millis(10) * (6 * REQUESTS as u32);
    assert!(held >= slept * 9 / 10, "held {held:?}, slept {slept:?}");
    assert!(waited + held <= elapsed, "waited {waited:?} and held {held:?} of {elapsed:?}");
    assert!(waited > slept / 4, "six clients and three connections: {waited:?}");
    let theirs = Duration::from_micros(stat(&bed, "total_wait_time"));
    assert!(waited <= theirs + Duration::from_millis(50), "{waited:?} {theirs:?}");
    // connects: at most one a connection
    let connects = told.checkouts.iter().filter(|of| of.connect_us.is_some()).count();
    assert!((1..=3).contains(&connects), "{connects}");
    // under what: with its number in the history, and no secret
    let settings = told.settings.last().expect("it says what is in force");
    assert_eq!(settings.version, Some(1));
    assert!(settings.text.contains("[pools.app]\n") && settings.hash.len() == 64, "{settings:?}");
    assert!(!format!("{:?}", told.settings).contains(template::PASSWORD));
    assert_eq!(told.name(NameKind::Limit, 15), "wait_time");
}

#[test]
fn how_requests_end_is_told_with_what_refused_them() {
    let _machine = place::machine(false);
    let plan = Plan { size: 1, max_wait: Duration::from_secs(1), ..Plan::default() }.pool("max_queue = 1");
    let bed = Bed::start_as(Target::Poolwarden, plan);
    let mut holder = bed.client();
    let (mut late, mut turned_away) = (bed.client(), bed.client());
    holder.query("begin").expect("served");
    late.send(&message(b'Q', b"select 1\0")).expect("sent");
    until("one to wait", PATIENCE, || (bed.pool("cl_waiting") == 1).then_some(()));
    turned_away.query("select 2").expect_err("the queue is full");
    late.answer().expect_err("its time is up");
    holder.query("commit").expect("served");
    let mut impatient = bed.client();
    holder.query("begin").expect("served");
    impatient.send(&message(b'Q', b"select 3\0")).expect("sent");
    until("one to wait", PATIENCE, || (bed.pool("cl_waiting") == 1).then_some(()));
    drop(impatient);
    until("it to be gone", PATIENCE, || (bed.pool("cl_waiting") == 0).then_some(()));
    holder.query("select pg_terminate_backend(pg_backend_pid())").expect_err("its connection ends");
    let told = all_recorded(&bed, 3);
    assert_eq!(told.faults, []);
    let of = |outcome| {
        let mut found = told.checkouts.iter().filter(|of| of.outcome == outcome);
        let (first, none) = (found.next(), found.next());
        assert!(none.is_none(), "one {outcome:?}");
        *first.unwrap_or_else(|| panic!("no {outcome:?}"))
    };
    let limits = |of: Checkout| {
        let barred = of.barred.expect("it was refused");
        (told.name(NameKind::Limit, barred.limit.into()), told.name(NameKind::Limit, barred.binding.into()))
    };
    assert_eq!(limits(of(Outcome::Refused)), ("queue_length", "pool_size"));
    assert_eq!(limits(of(Outcome::TimedOut)), ("wait_time", "pool_size"));
    assert_eq!(of(Outcome::Refused).waited_us, 0);
    assert!((1_000_000..5_000_000).contains(&of(Outcome::TimedOut).waited_us), "{:?}", of(Outcome::TimedOut));
    assert!(of(Outcome::Abandoned).waited_us > 0);
    let lost = told.count(Outcome::Lost) + told.count(Outcome::Broken);
    assert_eq!(lost, 1, "the connection that was ended");
    let held = told.checkouts.iter().filter(|of| of.outcome == Outcome::Served).max_by_key(|of| of.held_us);
    let held = held.expect("the holder's");
    assert!(held.held_us >= 1_000_000 && held.idled_us >= held.held_us * 9 / 10, "{held:?}");
}

#[test]
fn killed_it_leaves_all_that_it_had_written_and_begins_another_recording() {
    let _machine = place::machine(false);
    let mut bed = Bed::start_as(Target::Poolwarden, Plan { size: 4, ..Plan::default() });
    let plan = bed.plan().clone();
    let address = bed.address();
    let work = move || {
        let mut wire = Wire::connect(&address, &bed::login()).expect("connect");
        while wire.query("select 1").is_ok() {} // until it is killed
    };
    let clients: Vec<_> = (0..4).map(|_| thread::spawn(work.clone())).collect();
    until("some to be recorded", PATIENCE, || (written(pooler(&bed)) > 1_000).then_some(()));
    let known = written(pooler(&bed));
    bed.poolwarden().kill();
    clients.into_iter().for_each(|client| client.join().expect("it ends with its server"));
    let before = Told::read(&shelf(pooler(&bed)));
    assert!(before.checkouts.len() as u64 >= known, "{} of {known}", before.checkouts.len());
    assert!(before.faults.len() <= 1, "at most the end of it is torn: {:?}", before.faults);
    let first = tapes(&shelf(pooler(&bed))).expect("readable").remove(0);
    bed.poolwarden().start_again(&plan);
    bed.client().query("select 1").expect("served");
    until("it to record again", PATIENCE, || (written(pooler(&bed)) > 0).then_some(()));
    let all = tapes(&shelf(pooler(&bed))).expect("readable");
    assert_eq!((all.len(), &all[0]), (2, &first), "what was there is as it was");
}

#[test]
fn ended_well_it_leaves_nothing_out() {
    let _machine = place::machine(false);
    let mut bed = Bed::start_as(Target::Poolwarden, Plan { size: 2, ..Plan::default() });
    let mut wire = bed.client();
    for _ in 0..100 {
        wire.query("select 1").expect("served");
    }
    drop(wire);
    bed.at_rest();
    let lent = stat(&bed, "total_server_assignment_count");
    bed.poolwarden().stop();
    let told = Told::read(&shelf(pooler(&bed)));
    assert_eq!((told.checkouts.len() as u64, told.faults.len()), (lent, 0));
    let last = told.checkouts.iter().map(|of| of.arrived_us + of.waited_us + of.held_us).max().expect("some");
    assert!(told.anchors.last().expect("one at the end").clock_us >= last);
}

#[test]
fn turned_off_and_on_while_it_runs_it_says_what_it_left_out() {
    let _machine = place::machine(false);
    let plan = Plan { size: 2, ..Plan::default() }.edit("[limits]\n", "[recording]\nenabled = true\n\n[limits]\n");
    let bed = Bed::start_as(Target::Poolwarden, plan);
    let file = fs::read_to_string(pooler(&bed).dir().join("poolwarden.toml")).expect("its file");
    let reload = |enabled: bool| {
        pooler(&bed).rewrite_text(&file.replace("enabled = true", &format!("enabled = {enabled}")));
        let reloads = pooler(&bed).metric("poolwarden_config_reloads_total", "result=\"ok\"");
        pooler(&bed).signal(Signal::HUP);
        until("the reload", PATIENCE, || {
            (pooler(&bed).metric("poolwarden_config_reloads_total", "result=\"ok\"") > reloads).then_some(())
        });
    };
    let ask = || {
        bed.client().query("select 1").expect("served");
        bed.at_rest();
    };
    ask();
    let before = all_recorded(&bed, 0);
    reload(false);
    until("the recording to be left", PATIENCE, || {
        let told = Told::read(&shelf(pooler(&bed)));
        (told.anchors.len() > before.anchors.len()).then_some(())
    });
    ask();
    reload(true);
    until("another one to be begun", PATIENCE, || (tapes(&shelf(pooler(&bed))).ok()?.len() == 2).then_some(()));
    let known = written(pooler(&bed));
    ask();
    let told = until("it to record again", PATIENCE, || {
        let told = Told::read(&shelf(pooler(&bed)));
        (written(pooler(&bed)) > known && told.checkouts.len() > before.checkouts.len()).then_some(told)
    });
    let [gap] = told.gaps[..] else { panic!("one gap: {:?}", told.gaps) };
    assert!(gap.from_us < gap.until_us && gap.lost == 0, "{gap:?}");
    let inside = |of: &&Checkout| of.arrived_us > gap.from_us && of.arrived_us + of.held_us < gap.until_us;
    assert_eq!(told.checkouts.iter().find(inside), None);
    let texts: Vec<bool> = told.settings.iter().map(|of| of.text.contains("enabled = true")).collect();
    assert_eq!(texts.last(), Some(&true));
}

#[test]
fn recordings_take_no_more_room_than_they_may() {
    let _machine = place::machine(false);
    let plan =
        Plan { size: 4, ..Plan::default() }.edit("[limits]\n", "[recording]\nmax_size = \"256KiB\"\n\n[limits]\n");
    let bed = Bed::start_as(Target::Poolwarden, plan);
    let size = || tapes(&shelf(pooler(&bed))).expect("readable").iter().map(|tape| tape.size).sum::<u64>();
    let first = until("the first one", PATIENCE, || tapes(&shelf(pooler(&bed))).ok()?.first().cloned());
    let ((), _, failed) = under_load(&bed, 8, "select 1", |_| {
        until("the first one to be deleted", 4 * PATIENCE, || {
            assert!(size() <= 256 << 10, "{}", size());
            (!first.path.exists()).then_some(())
        });
    });
    assert_eq!(failed, 0);
    let told = Told::read(&shelf(pooler(&bed)));
    assert!(told.files >= 4 && told.faults.is_empty() && told.gaps.is_empty(), "{} {:?}", told.files, told.faults);
    let bytes = pooler(&bed).metric("poolwarden_recording_bytes", "");
    assert!((1.0..=f64::from(256 << 10)).contains(&bytes), "{bytes}");
}

#[test]
fn on_a_full_disk_pooling_goes_on_and_what_was_kept_in_memory_is_written_when_there_is_room() {
    let _machine = place::machine(false);
    if !disk::can_mount() {
        eprintln!("this user may not mount: what a full disk does to recordings is held by the tests of the recorder");
        return;
    }
    let plan = Plan { size: 4, disk_kib: Some(1_024), ..Plan::default() };
    let bed = Bed::start_as(Target::Poolwarden, plan);
    let ((), served, failed) = under_load(&bed, 2, "select pg_sleep(0.002)", |served| {
        until("some to be recorded", PATIENCE, || (written(pooler(&bed)) > 0).then_some(()));
        pooler(&bed).disk().fill();
        until("it to be said", PATIENCE, || {
            let why = pooler(&bed).get("/api/v1/why?format=text&width=300");
            (pooler(&bed).metric(FAILING, "") == 1.0
                && why.contains("traffic is not recorded: ")
                && pooler(&bed).log().contains("traffic is not recorded: "))
            .then_some(())
        });
        let before = served.load(Ordering::Acquire);
        until("traffic to go on", PATIENCE, || (served.load(Ordering::Acquire) > before + 100).then_some(()));
        pooler(&bed).disk().empty();
        until("it to be written again", PATIENCE, || (pooler(&bed).metric(FAILING, "") == 0.0).then_some(()));
    });
    assert_eq!(failed, 0, "no transaction is lost to a disk");
    assert_eq!(pooler(&bed).log().matches("traffic is not recorded: ").count(), 1, "said once");
    assert!(pooler(&bed).log().contains("traffic is recorded again after "));
    bed.at_rest();
    let lent = stat(&bed, "total_server_assignment_count");
    assert!(lent >= served);
    until("the rest to be written", PATIENCE, || (written(pooler(&bed)) >= lent).then_some(()));
    let told = Told::read(&pooler(&bed).data().join("recordings"));
    assert_eq!((told.checkouts.len() as u64, told.faults.len()), (lent, 0), "memory was enough");
    assert_eq!(pooler(&bed).metric("poolwarden_recording_lost_total", ""), 0.0);
}
