//! The binding limit is named wherever one asks, and raising another one is answered with it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use poolwarden_testbed::wire::{Address, Answer};
use poolwarden_testbed::{Bed, Plan, Pooler, Sampler, Target, Wire, bed, place, until};

const CLIENTS: usize = 16;
const USER_LIMIT: u32 = 3;

/// A load that the user's three server connections cannot carry.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    served: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

impl Load {
    fn client(&self, address: &Address) {
        let mut wire = Wire::connect(address, &bed::login()).expect("connect");
        while !self.stop.load(Ordering::Acquire) {
            match wire.query("select pg_sleep(0.005)") {
                Ok(_) => {
                    self.served.fetch_add(1, Ordering::AcqRel);
                }
                Err(fault) => {
                    self.failed.lock().expect("no client panicked").push(fault.to_string());
                    return;
                }
            }
        }
    }

    /// Waits until `more` further requests were served.
    fn flow(&self, more: usize) {
        let before = self.served.load(Ordering::Acquire);
        until("the load to flow", Duration::from_secs(20), || {
            (self.served.load(Ordering::Acquire) >= before + more).then_some(())
        });
    }
}

struct StopOnDrop<'a>(&'a Load);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Release);
    }
}

#[test]
fn the_user_limit_is_named_by_show_waits_show_limits_and_metrics_and_by_the_notice() {
    let _machine = place::machine(false);
    let plan = Plan { size: 20, user_limit: Some(USER_LIMIT), ..Plan::default() };
    let bed = Bed::start(plan.clone());
    let sampler = Sampler::start(&bed.postgres);
    let (address, load) = (bed.address(), Load::default());
    thread::scope(|scope| {
        let stop = StopOnDrop(&load);
        for _ in 0..CLIENTS {
            scope.spawn(|| load.client(&address));
        }
        load.flow(200);
        if let Some(pooler) = bed.pooler() {
            names_the_user_limit(&bed, pooler);
            let answer = raise(&bed, pooler, &Plan { size: 50, ..plan });
            let says = answer.notices.iter().map(|n| format!("{} {} {}", n.message, n.detail, n.hint));
            let says: Vec<String> = says.collect();
            let binding = |text: &String| text.contains("user") && text.contains(&USER_LIMIT.to_string());
            assert!(says.iter().any(binding), "no notice names the user limit of {USER_LIMIT}: {says:?}");
            eprintln!("the notice says: {says:?}");
        } else {
            assert!(Target::chosen() != Target::Poolwarden);
        }
        load.flow(200);
        drop(stop);
    });
    assert_eq!(*load.failed.lock().expect("no client panicked"), [""; 0]);
    sampler.expect_at_most(bed.limit());
}

fn raise(bed: &Bed, pooler: &Pooler, plan: &Plan) -> Answer {
    pooler.rewrite(plan, bed.server());
    bed.console().query("RELOAD").expect("reloaded")
}

/// The row of the limit `user`, as a look-up by column.
#[track_caller]
fn user_row(answer: &Answer) -> impl Fn(&str) -> String {
    let cell = |row: &[Option<String>], name: &str| {
        let place = answer.columns.iter().position(|column| column == name);
        place.and_then(|place| row[place].clone()).unwrap_or_default()
    };
    let found = answer.rows.iter().find(|row| cell(row, "limit") == "user" && cell(row, "user") == "app");
    let found = found.unwrap_or_else(|| panic!("no row of the limit user: {:?} {:?}", answer.columns, answer.rows));
    move |name| cell(found, name)
}

fn names_the_user_limit(bed: &Bed, pooler: &Pooler) {
    let mut console = bed.console();
    let waits = console.query("SHOW WAITS").expect("SHOW WAITS");
    let waited: f64 = user_row(&waits)("wait_seconds").parse().expect("seconds");
    assert!(waited > 0.0, "SHOW WAITS: no wait for user: {:?}", waits.rows);
    // Between two requests the limit is not full: the look is repeated until it is seen binding.
    let size = USER_LIMIT.to_string();
    until("SHOW LIMITS to name the user limit as binding", Duration::from_secs(10), || {
        let limits = console.query("SHOW LIMITS").expect("SHOW LIMITS");
        let of = user_row(&limits);
        assert_eq!(of("size"), size, "{:?}", limits.rows);
        (of("used") == size && ["t", "true", "yes", "1"].contains(&of("binds").as_str())).then_some(())
    });
    until("/metrics to name the user limit as binding", Duration::from_secs(10), || {
        let metrics = pooler.get("/metrics");
        let positive = |name: &str, label: &str| {
            let of = |line: &&str| line.starts_with(&format!("{name}{{")) && line.contains(label);
            let value = |line: &str| line.rsplit(' ').next().and_then(|number| number.parse::<f64>().ok());
            metrics.lines().filter(of).filter_map(value).any(|value| value > 0.0)
        };
        let waited = positive("poolwarden_queue_seconds_total", "reason=\"user\"");
        (waited && positive("poolwarden_capacity_binding", "limit=\"user\"")).then_some(())
    });
}

#[test]
fn a_broken_file_is_refused_by_reload_and_nothing_changes() {
    let _machine = place::machine(false);
    let plan = Plan { size: 4, ..Plan::default() };
    let bed = Bed::start(plan.clone());
    let mut client = bed.client();
    assert_eq!(client.query("select 1").expect("served").value(), "1");
    let Some(pooler) = bed.pooler() else {
        assert!(Target::chosen() != Target::Poolwarden);
        return;
    };
    let before = bed.console().query("SHOW CONFIG").expect("SHOW CONFIG").rows;
    // The new size is valid, the unknown key is not: neither may be applied.
    let broken = poolwarden_testbed::pooler::configuration(&Plan { size: 9, ..plan }, bed.server(), pooler.dir());
    pooler.rewrite_text(&broken.replace("[limits]", "[limits]\nmax_cliens = 7"));
    let refused = bed.console().query("RELOAD").expect_err("a broken file was accepted").to_string();
    assert!(refused.contains("max_clients"), "the refusal does not name the nearest key: {refused}");
    assert_eq!(bed.console().query("SHOW CONFIG").expect("SHOW CONFIG").rows, before);
    assert_eq!(client.query("select 2").expect("served").value(), "2");
}
