//! Changes through `apply`, `confirm`, `rollback` and what `history` tells of them: on real traffic, over crashes, on a full disk.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use poolwarden_testbed::drawer;
use poolwarden_testbed::pooler::binary;
use poolwarden_testbed::{Bed, Plan, Pooler, Target, Wire, bed, disk, place, until};
use rustix::process::Signal;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

fn pooler(bed: &Bed) -> &Pooler {
    bed.pooler().expect("poolwarden")
}

/// A verb as it is typed: its exit code, what it says, its faults.
fn verb(pooler: &Pooler, arguments: &[&str]) -> (i32, String, String) {
    let at = format!("http://{}", pooler.http());
    let mut command = Command::new(binary());
    command.args(arguments).args(["--at", &at, "--token-file"]).arg(pooler.data().join("token")).env("USER", "alice");
    let out = command.output().expect("poolwarden starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().expect("it ends by itself"), text(&out.stdout), text(&out.stderr))
}

#[track_caller]
fn done(pooler: &Pooler, arguments: &[&str]) -> String {
    let (code, said, faults) = verb(pooler, arguments);
    assert_eq!(code, 0, "{arguments:?}: {faults}");
    said
}

fn history(pooler: &Pooler) -> Value {
    serde_json::from_str(&pooler.get("/api/v1/history?limit=1000")).expect("JSON")
}

/// Number and state of each version, newest first.
fn states(pooler: &Pooler) -> Vec<(u64, String)> {
    let history = history(pooler);
    let one = |of: &Value| (of["n"].as_u64().expect("a number"), of["state"].as_str().expect("a state").to_owned());
    history["versions"].as_array().expect("a list").iter().map(one).collect()
}

fn state(states: &[(u64, String)], n: u64) -> &str {
    &states.iter().find(|(number, _)| *number == n).unwrap_or_else(|| panic!("no version {n} in {states:?}")).1
}

fn setting(pooler: &Pooler, key: &str) -> String {
    let config: Value = serde_json::from_str(&pooler.get("/api/v1/config")).expect("JSON");
    let all = config["settings"].as_array().expect("a list");
    let found = all.iter().find(|of| of["key"] == key).unwrap_or_else(|| panic!("no {key}"));
    found["value"].as_str().expect("a text").to_owned()
}

fn file(pooler: &Pooler) -> String {
    fs::read_to_string(pooler.dir().join("poolwarden.toml")).expect("its file")
}

/// `clients` ask for `sql` again and again until the closure ends; how many answers, how many errors.
fn under_load<T>(bed: &Bed, clients: usize, sql: &str, act: impl FnOnce(&AtomicU64) -> T) -> (T, u64) {
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
        Ok(done) => (done, failed.into_inner()),
        Err(why) => std::panic::resume_unwind(why),
    }
}

/// The watcher has seen as much of the pool as it compares a change with.
fn seen_for(bed: &Bed, seconds: u64) {
    let started = bed.pool("cl_active"); // the pool is there
    let _there = started;
    let begin = std::time::Instant::now();
    until("the watcher to have seen enough", PATIENCE, || {
        (begin.elapsed() >= Duration::from_secs(seconds)).then_some(())
    });
}

#[test]
fn the_wrong_knob_is_called_that_before_and_the_history_says_it_after_with_numbers() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 20, user_limit: Some(3), ..Plan::default() });
    let ((), failed) = under_load(&bed, 9, "select pg_sleep(0.02)", |_| {
        seen_for(&bed, 4);
        let planned = done(pooler(&bed), &["plan", "--set", "pools.app.size=50"]);
        assert!(
            planned.contains("=> no effect: user binds pool app (app) at 3 (users.app.max_connections)"),
            "{planned}"
        );
        let applied = done(pooler(&bed), &["apply", "--set", "pools.app.size=50", "--reason", "customers wait"]);
        assert!(applied.contains("version 2 runs since"), "{applied}");
        assert!(applied.contains("=> no effect: user binds pool app (app) at 3"), "{applied}");
        assert!(applied.contains("raise users.app.max_connections"), "{applied}");
        assert!(file(pooler(&bed)).contains("size = 50\n"));
        let effect = until("its effect to be measured", PATIENCE, || {
            let versions = history(pooler(&bed))["versions"].clone();
            let effect = versions[0]["measured_effect"].clone();
            (effect["pools"][0]["after"]["window_ms"].as_u64()? >= 4_000).then_some(effect)
        });
        let said = effect["sentence"].as_str().expect("a sentence");
        assert!(said.starts_with("no effect: user binds pool app (app) at 3 (users.app.max_connections); "), "{said}");
        for side in ["before", "after"] {
            let measures = &effect["pools"][0][side];
            assert_eq!(measures["binding_limit"], "user", "{measures}");
            let waiting = measures["waiting"].as_f64().expect("a number");
            assert!((4.0..7.0).contains(&waiting), "six of nine wait: {measures}");
        }
        let told = done(pooler(&bed), &["history"]);
        assert!(told.contains("in force  by alice, http from 127.0.0.1:"), "{told}");
        assert!(
            told.contains(": customers wait\n    pools.app.size  20 -> 50\n    => no effect: user binds"),
            "{told}"
        );
    });
    assert_eq!(failed, 0);
}

#[test]
fn a_harmful_change_undoes_itself_once_and_who_insists_is_not_overruled() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 20, ..Plan::default() });
    let ((), failed) = under_load(&bed, 12, "select pg_sleep(0.02)", |_| {
        seen_for(&bed, 12);
        let before = file(pooler(&bed));
        done(pooler(&bed), &["apply", "--set", "pools.app.size=2", "--reason", "fewer is more"]);
        assert_eq!(file(pooler(&bed)), before.replace("size = 20", "size = 2"));
        until("the guard to undo it", PATIENCE, || (setting(pooler(&bed), "pools.app.size") == "20").then_some(()));
        until("the file to be as it was", PATIENCE, || (file(pooler(&bed)) == before).then_some(()));
        let told = until("the history to say so", PATIENCE, || {
            (state(&states(pooler(&bed)), 2) == "undone").then(|| done(pooler(&bed), &["history"]))
        });
        assert!(told.contains("version 3  ") && told.contains("in force  by guard: undoes version 2"), "{told}");
        assert!(told.contains("undone: requests wait for pool_size in pool app (app), and did not before: "), "{told}");
        assert_eq!(pooler(&bed).metric("poolwarden_config_drift", ""), 0.0);

        seen_for(&bed, 12);
        done(pooler(&bed), &["apply", "--set", "pools.app.size=2"]);
        until("the guard to say that it stays", PATIENCE, || {
            pooler(&bed).log().contains("it was undone once and came again: it stays").then_some(())
        });
        assert_eq!(setting(pooler(&bed), "pools.app.size"), "2");
        // that of a reload is undone, too, but its file is somebody else's
        done(pooler(&bed), &["rollback"]);
        assert_eq!(setting(pooler(&bed), "pools.app.size"), "20");
    });
    assert_eq!(failed, 0);
}

#[test]
fn in_observe_mode_the_guard_says_so_and_undoes_nothing() {
    let _machine = place::machine(false);
    let plan = Plan { size: 20, ..Plan::default() }.edit("[listen]", "guard = \"observe\"\n\n[listen]");
    let bed = Bed::start_as(Target::Poolwarden, plan);
    let ((), failed) = under_load(&bed, 12, "select pg_sleep(0.02)", |_| {
        seen_for(&bed, 12);
        pooler(&bed).rewrite_text(&file(pooler(&bed)).replace("size = 20", "size = 2"));
        pooler(&bed).signal(Signal::HUP);
        until("the guard to say it", PATIENCE, || {
            pooler(&bed).log().contains("does harm: requests wait for pool_size").then_some(())
        });
        assert_eq!(setting(pooler(&bed), "pools.app.size"), "2");
    });
    assert_eq!(failed, 0);
}

#[test]
fn what_nobody_confirms_is_announced_at_half_time_and_undone_at_its_end_and_never_was_in_the_file() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 20, ..Plan::default() });
    let pooler = pooler(&bed);
    let before = file(pooler);
    let said = done(pooler, &["apply", "--set", "pools.app.size=30", "--confirm-within", "4s"]);
    assert!(
        said.contains("version 2 is undone at ") && said.contains("unless confirmed: poolwarden confirm"),
        "{said}"
    );
    assert_eq!((setting(pooler, "pools.app.size"), file(pooler)), ("30".to_owned(), before.clone()));
    let (code, _, faults) = verb(pooler, &["apply", "--set", "pools.app.size=40"]);
    assert!(code == 1 && faults.contains("version 2 waits for its confirmation"), "{code} {faults}");
    let drift = until("the drift to be told", PATIENCE, || {
        let why = pooler.get("/api/v1/why?format=text&width=300");
        why.contains("drift").then_some(why)
    });
    assert!(drift.contains("pools.app.size is 30 and 20 there; a restart undoes it"), "{drift}");
    assert!(drift.contains("unconfirmed"), "{drift}");
    until("half time to be announced", PATIENCE, || pooler.log().contains("version 2 is undone in ").then_some(()));
    until("it to be undone", PATIENCE, || (setting(pooler, "pools.app.size") == "20").then_some(()));
    until("the history to say so", PATIENCE, || (state(&states(pooler), 2) == "undone").then_some(()));
    assert_eq!(file(pooler), before);
    assert!(done(pooler, &["history"]).contains("undone: nobody confirmed it within 4s"));
    until("the drift to end", PATIENCE, || (pooler.metric("poolwarden_config_drift", "") == 0.0).then_some(()));

    done(pooler, &["apply", "--set", "pools.app.size=30", "--confirm-within", "5m"]);
    done(pooler, &["confirm"]);
    assert_eq!(file(pooler), before.replace("size = 20", "size = 30"));
    let states = states(pooler);
    let states: Vec<&str> = states.iter().rev().map(|(_, state)| state.as_str()).collect();
    assert_eq!(states, ["superseded", "undone", "refused", "confirmed"]);
    let (code, _, faults) = verb(pooler, &["confirm"]);
    assert!(code == 1 && faults.contains("nothing waits for a confirmation"), "{faults}");
}

#[test]
fn an_operator_goes_back_to_any_version_and_one_that_is_not_there_is_refused() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 20, ..Plan::default() });
    let pooler = pooler(&bed);
    let first = file(pooler);
    for size in ["30", "40"] {
        done(pooler, &["apply", "--set", &format!("pools.app.size={size}")]);
    }
    done(pooler, &["rollback", "--reason", "too many"]);
    assert_eq!(
        (setting(pooler, "pools.app.size"), file(pooler)),
        ("30".to_owned(), first.replace("size = 20", "size = 30"))
    );
    done(pooler, &["rollback"]);
    assert_eq!(setting(pooler, "pools.app.size"), "20", "and further back");
    done(pooler, &["rollback", "3"]);
    assert_eq!(
        (setting(pooler, "pools.app.size"), file(pooler)),
        ("40".to_owned(), first.replace("size = 20", "size = 40"))
    );
    for (arguments, fault) in [
        (vec!["rollback", "6"], "version 6 is what runs"),
        (vec!["rollback", "77"], "there is no version 77"),
        (vec!["apply", "--set", "pools.app.sise=3"], "did you mean `size`?"),
        (vec!["apply", "--set", "size"], "write it as pools.app.size=40"),
        (vec!["apply", "--set", "pools.app.size=3", "--confirm-within", "5"], "--confirm-within 5m"),
    ] {
        let (code, _, faults) = verb(pooler, &arguments);
        assert!(code == 1 && faults.contains(fault), "{arguments:?}: {faults}");
    }
    let endless = format!("{}\n#{}", file(pooler), "x".repeat(4 << 20));
    let (status, answer) = drawer::order(pooler, "apply", &json!({"text": endless}));
    assert!(status == 409 && answer["error"].to_string().contains("is larger than"), "{status}");
    let shown = done(pooler, &["history", "1"]);
    assert!(shown.ends_with(&first), "{shown}");
    let deeds = done(pooler, &["history", "--audit"]);
    assert!(deeds.contains("rollback version 77: nothing was changed: there is no version 77, by alice"), "{deeds}");
    assert_eq!(setting(pooler, "pools.app.size"), "40");
}

#[test]
fn findings_of_level_error_stand_in_the_way_of_apply_and_of_nothing_else() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 20, ..Plan::default() });
    let pooler = pooler(&bed);
    let before = file(pooler);
    until("PostgreSQL's slots to be known", PATIENCE, || {
        pooler.get("/metrics").contains("\npoolwarden_pg_slots{").then_some(())
    });
    // more than PostgreSQL has slots
    let set = ["apply", "--set", "servers.main.max_connections=500", "--set", "pools.app.size=400"];
    let (code, said, faults) = verb(pooler, &set);
    assert!(code == 1 && said.is_empty() && faults.contains("CAP-01") && faults.contains("--force REASON"), "{faults}");
    assert_eq!((file(pooler), setting(pooler, "pools.app.size")), (before.clone(), "20".to_owned()));
    done(pooler, &[&set[..], &["--force", "the new server comes tonight"]].concat());
    assert_eq!(setting(pooler, "pools.app.size"), "400");
    assert!(done(pooler, &["history"]).contains("forced: the new server comes tonight"));
}

#[test]
fn an_edit_of_the_file_that_does_not_run_is_a_drift_and_is_neither_written_over_nor_slipped_in() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 20, ..Plan::default() });
    let pooler = pooler(&bed);
    let edited = file(pooler).replace("size = 20", "size = 25 # by hand");
    pooler.rewrite_text(&edited);
    until("the drift to be seen", PATIENCE, || (pooler.metric("poolwarden_config_drift", "") == 1.0).then_some(()));
    let why = pooler.get("/api/v1/why?format=text&width=300");
    assert!(why.contains("has changed since it was read: pools.app.size is 20 and 25 there"), "{why}");
    let (code, _, faults) = verb(pooler, &["apply", "--set", "pools.app.min_size=2"]);
    assert!(code == 1 && faults.contains("has changed since it was read, and that change does not run"), "{faults}");
    assert_eq!((file(pooler), setting(pooler, "pools.app.size")), (edited.clone(), "20".to_owned()));
    let path = pooler.dir().join("poolwarden.toml").display().to_string();
    let (code, _, faults) = verb(pooler, &["apply", &path, "--confirm-within", "5m"]);
    assert!(
        code == 1 && faults.contains("says it already: a restart would start with what nobody confirmed"),
        "{faults}"
    );
    assert_eq!(setting(pooler, "pools.app.size"), "20");
    let said = done(pooler, &["apply", &path]);
    assert!(said.contains("written to") && !said.contains("restart"), "{said}");
    assert_eq!((file(pooler), setting(pooler, "pools.app.size")), (edited.clone(), "25".to_owned()));
    until("the drift to end", PATIENCE, || (pooler.metric("poolwarden_config_drift", "") == 0.0).then_some(()));

    pooler.rewrite_text("[pools");
    until("the file to be called broken", PATIENCE, || {
        let why = pooler.get("/api/v1/why?format=text&width=300");
        why.contains("is broken, a restart would fail").then_some(())
    });
    pooler.rewrite_text(&edited);
    // SET holds for the process alone, and that is a drift as well
    bed.console().query("SET pools.app.size = 31").expect("set");
    until("the drift to be told", PATIENCE, || {
        let why = pooler.get("/api/v1/why?format=text&width=300");
        why.contains("pools.app.size is 31 and 25 there; a restart undoes it").then_some(())
    });
    assert!(done(pooler, &["history"]).contains("by SET by app"));
}

#[test]
fn what_cannot_be_written_runs_all_the_same_and_that_a_restart_undoes_it_is_said() {
    let _machine = place::machine(false);
    let mut bed = Bed::start_as(Target::Poolwarden, Plan { size: 20, ..Plan::default() });
    let before = file(pooler(&bed));
    // where the new text would be written first stands something that cannot be replaced
    let pid = pooler(&bed).pid().as_raw_nonzero();
    let occupied = pooler(&bed).dir().join(format!(".poolwarden.toml.{pid}.new"));
    fs::create_dir(&occupied).expect("a directory");
    fs::write(occupied.join("a"), "").expect("a file in it");
    let said = done(pooler(&bed), &["apply", "--set", "pools.app.size=30"]);
    assert!(said.contains("not written: ") && said.contains("a restart undoes this"), "{said}");
    assert!(!said.contains("written to"), "{said}");
    assert_eq!((setting(pooler(&bed), "pools.app.size"), file(pooler(&bed))), ("30".to_owned(), before.clone()));
    until("the drift to be told", PATIENCE, || {
        (pooler(&bed).metric("poolwarden_config_drift", "") == 1.0).then_some(())
    });
    // once it can be written, the same again writes it
    fs::remove_dir_all(&occupied).expect("removed");
    let said = done(pooler(&bed), &["apply", "--set", "pools.app.size=30"]);
    assert!(said.contains("=> no effect: nothing differs from what runs") && said.contains("written to"), "{said}");
    assert_eq!(file(pooler(&bed)), before.replace("size = 20", "size = 30"));
    until("the drift to end", PATIENCE, || (pooler(&bed).metric("poolwarden_config_drift", "") == 0.0).then_some(()));

    let plan = bed.plan().clone();
    bed.poolwarden().kill();
    pooler(&bed).rewrite_text(&before);
    bed.poolwarden().start_again(&plan);
    assert_eq!(setting(pooler(&bed), "pools.app.size"), "20");
    let told = done(pooler(&bed), &["history"]);
    assert!(told.contains("by start: the file was another one at the start\n    pools.app.size  30 -> 20"), "{told}");
}

#[test]
fn killed_between_apply_and_confirm_it_starts_with_the_last_confirmed_version() {
    let _machine = place::machine(false);
    let mut bed = Bed::start_as(Target::Poolwarden, Plan { size: 20, ..Plan::default() });
    let plan = bed.plan().clone();
    done(pooler(&bed), &["apply", "--set", "pools.app.size=30"]);
    let confirmed = file(pooler(&bed));
    done(pooler(&bed), &["apply", "--set", "pools.app.size=40", "--confirm-within", "10m"]);
    assert_eq!(setting(pooler(&bed), "pools.app.size"), "40");
    bed.poolwarden().kill();
    assert_eq!(file(pooler(&bed)), confirmed);
    bed.poolwarden().start_again(&plan);
    assert_eq!((setting(pooler(&bed), "pools.app.size"), file(pooler(&bed))), ("30".to_owned(), confirmed));
    let states = states(pooler(&bed));
    let states: Vec<(u64, &str)> = states.iter().map(|(n, state)| (*n, state.as_str())).collect();
    assert_eq!(states, [(3, "interrupted"), (2, "confirmed"), (1, "superseded")]);
    assert!(done(pooler(&bed), &["history"]).contains("version 2  "), "and it is in force");
}

#[test]
fn killed_at_any_moment_of_many_changes_the_file_is_whole_and_the_history_has_all_that_was_acknowledged() {
    let _machine = place::machine(false);
    let mut bed = Bed::start_as(Target::Poolwarden, Plan { size: 20, ..Plan::default() });
    let plan = bed.plan().clone();
    let first = file(pooler(&bed));
    let mut acknowledged: Vec<(u64, u32)> = Vec::new();
    for round in 0..6_u32 {
        let enough = 3 + 2 * round as usize;
        let (http, token) = (pooler(&bed).http(), drawer::token(pooler(&bed)));
        let (answers, answered) = std::sync::mpsc::channel();
        let changing = thread::spawn(move || {
            for size in 0.. {
                let size = 21 + (round * 1_000 + size) % 40;
                let body = json!({"set": [format!("pools.app.size={size}")]});
                // until the process is killed
                let Ok((200, answer)) = drawer::try_order(http, &token, "apply", &body) else { break };
                let n = answer["versions"][0]["n"].as_u64().expect("it is in the history");
                answers.send((n, size)).expect("somebody counts");
            }
        });
        let mut answered: Vec<(u64, u32)> = {
            let first: Vec<_> = (0..enough).map_while(|_| answered.recv_timeout(PATIENCE).ok()).collect();
            bed.poolwarden().kill();
            changing.join().expect("it ends with its server");
            first.into_iter().chain(answered.try_iter()).collect()
        };
        answered.dedup();
        assert!(answered.len() >= enough, "round {round}: {answered:?}");
        let text = file(pooler(&bed));
        let size = text.split_once("\nsize = ").and_then(|(_, rest)| rest.lines().next()).expect("a size").to_owned();
        assert_eq!(text, first.replace("size = 20", &format!("size = {size}")), "the file is whole");
        acknowledged.extend(answered);
        bed.poolwarden().start_again(&plan);
        assert_eq!(setting(pooler(&bed), "pools.app.size"), size);
        let history = history(pooler(&bed));
        let versions = history["versions"].as_array().expect("a list");
        for (n, size) in &acknowledged {
            let version =
                versions.iter().find(|version| version["n"] == *n).unwrap_or_else(|| panic!("no version {n}"));
            assert_eq!(version["diff"][0]["to"], size.to_string(), "version {n}");
        }
        let in_force: Vec<_> = versions.iter().filter(|version| version["in_force"] == true).collect();
        assert_eq!(in_force.len(), 1, "one version runs");
        let confirmed = versions.iter().filter(|version| version["state"] == "confirmed").count();
        assert!(confirmed >= 1 && in_force[0]["state"] == "confirmed", "{in_force:?}");
    }
    let left: Vec<_> = fs::read_dir(pooler(&bed).dir())
        .expect("its directory")
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|name| name.ends_with(".new"))
        .collect();
    assert!(left.len() <= 6, "at most one unfinished file per kill: {left:?}");
}

#[test]
fn on_a_full_disk_pooling_and_changes_go_on_loudly_and_with_room_again_the_history_is_whole() {
    let _machine = place::machine(false);
    if !disk::can_mount() {
        eprintln!("this user may not mount: what a full disk does to the history is held by the tests of the store");
        return;
    }
    let plan = Plan { size: 20, disk_kib: Some(1_024), ..Plan::default() };
    let mut bed = Bed::start_as(Target::Poolwarden, plan.clone());
    done(pooler(&bed), &["apply", "--set", "pools.app.size=21"]);
    let ((), failed) = under_load(&bed, 4, "select 1", |served| {
        pooler(&bed).disk().fill();
        let mut size = 21;
        until("the history to find no room", PATIENCE, || {
            size += 1;
            let said = done(pooler(&bed), &["apply", "--set", &format!("pools.app.size={size}")]);
            assert_eq!(setting(pooler(&bed), "pools.app.size"), size.to_string());
            said.contains("the history is not written yet, it is kept in memory").then_some(())
        });
        until("it to be said loudly", PATIENCE, || {
            let why = pooler(&bed).get("/api/v1/why?format=text&width=300");
            (pooler(&bed).metric("poolwarden_history_failing", "") == 1.0
                && why.contains("history")
                && pooler(&bed).log().contains("the history is not written"))
            .then_some(())
        });
        let before = served.load(Ordering::Acquire);
        until("traffic to go on", PATIENCE, || (served.load(Ordering::Acquire) > before + 100).then_some(()));
        pooler(&bed).disk().empty();
        until("it to be written again", PATIENCE, || {
            done(pooler(&bed), &["apply", "--set", "limits.max_clients=777"]);
            done(pooler(&bed), &["apply", "--set", "limits.max_clients=778"]);
            (pooler(&bed).metric("poolwarden_history_failing", "") == 0.0).then_some(())
        });
        let versions = history(pooler(&bed))["versions"].clone();
        for wanted in 21..=size {
            let to = wanted.to_string();
            let of = |version: &Value| version["diff"][0]["to"] == to.as_str();
            assert!(versions.as_array().expect("a list").iter().any(of), "no version of size {wanted}");
        }
    });
    assert_eq!(failed, 0);
    // killed with no room left it starts again, and with the last confirmed version
    pooler(&bed).disk().fill();
    let (confirmed, count) = (file(pooler(&bed)), states(pooler(&bed)).len());
    done(pooler(&bed), &["apply", "--set", "pools.app.size=50", "--confirm-within", "10m"]);
    bed.poolwarden().kill();
    bed.poolwarden().disk().empty();
    bed.poolwarden().start_again(&plan);
    assert_eq!(file(pooler(&bed)), confirmed);
    assert_ne!(setting(pooler(&bed), "pools.app.size"), "50");
    assert!(states(pooler(&bed)).len() >= count, "history whole");
}
