//! An end that is foreseen, live: connections that are forgotten one after another.

use std::time::Duration;

use poolwarden_testbed::{Bed, Plan, Say, Target, place, until};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn forgotten_connections_are_foreseen_to_use_up_the_pool_wherever_one_looks() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 6, ..Plan::default() });
    let pooler = bed.pooler().expect("poolwarden");
    let forecast = || bed.show("forecast").into_iter().find(|row| row["pool"] == "app");
    let mut first = bed.client();
    first.send(&Say::new().query("begin").bytes).expect("sent");
    let row = until("the pool to be seen", PATIENCE, forecast);
    assert_eq!((row["cause"].as_str(), row["exhausted_in_s"].as_str()), ("", ""), "one is no rate: {row:?}");
    assert!(row["forecast"].starts_with("no forecast: "), "{row:?}");

    let mut second = bed.client();
    until("the first to have been idle for a while", PATIENCE, || {
        let holders = bed.show("holders");
        holders.iter().any(|row| row["idle_in_transaction_ms"].parse::<u64>().is_ok_and(|ms| ms > 2_000)).then_some(())
    });
    second.send(&Say::new().query("begin").bytes).expect("sent");
    let row = until("the leak to be foreseen", PATIENCE, || forecast().filter(|row| row["cause"] == "leak"));
    assert_eq!(row["limit"], "pool_size", "{row:?}");
    let number = |column: &str| row[column].parse::<f64>().unwrap_or_else(|e| panic!("{column}: {e}: {row:?}"));
    assert!(number("soonest_s") <= number("exhausted_in_s") && number("exhausted_in_s") > 0.0, "{row:?}");
    assert!(
        row["forecast"].contains("has forgotten 2 connections") && row["forecast"].contains("terminate --stuck app")
    );

    let why: Value = serde_json::from_str(&pooler.get("/api/v1/why")).expect("JSON");
    let told = &why["pools"][0]["forecast"];
    assert_eq!((&told["cause"], &told["limit"]), (&"leak".into(), &"pool_size".into()), "{told}");
    assert!(
        told["exhausted_in_s"].as_f64() > Some(0.0) && told["interval_s"].as_array().is_some_and(|of| of.len() == 2)
    );
    assert!(told["headroom"].as_f64() > Some(0.0), "{told}");
    until("the next scrape", PATIENCE, || {
        let metrics = pooler.get("/metrics");
        let has = |name: &str, label: &str, value: &str| {
            metrics.lines().any(|line| line.starts_with(name) && line.contains(label) && line.ends_with(value))
        };
        (has("poolwarden_forecast{", "cause=\"leak\"", " 1") && has("poolwarden_forecast{", "cause=\"pg_slots\"", " 0"))
            .then_some(())
    });

    // they end their transactions: nothing is foreseen any more
    for client in [&mut first, &mut second] {
        client.send(&Say::new().query("commit").bytes).expect("sent");
    }
    until("nothing to be foreseen", PATIENCE, || forecast().filter(|row| row["cause"].is_empty()));
}
