//! Foreign drivers in transaction mode, with SCRAM, over ten server connections.
//!
//! Each is a script of `clients/` with the same checks; `scripts/setup-drivers.sh` installs them.

use std::process::Command;

use poolwarden_testbed::{Bed, Plan, Sampler, client, place};

const CHECKS: [&str; 10] = [
    "simple",
    "parameters",
    "prepared",
    "rollback",
    "error_then_reuse",
    "copy_in",
    "copy_out",
    "cancel",
    "large_row",
    "hundred_connections",
];

fn with(extra: &'static str) -> Vec<&'static str> {
    CHECKS.into_iter().chain([extra]).collect()
}

fn python(script: &str, checks: &[&str]) {
    let _machine = place::machine(false);
    let bed = Bed::start(Plan::default());
    let sampler = Sampler::start(&bed.postgres);
    let mut command = client::command(client::installed("python/bin/python"), &bed);
    client::expect(command.arg("-B").arg(client::script("python").join(script)), checks);
    sampler.expect_at_most(bed.limit());
}

fn node(script: &str) {
    let _machine = place::machine(false);
    let bed = Bed::start(Plan::default());
    let sampler = Sampler::start(&bed.postgres);
    let mut command = client::command("node", &bed);
    command.env("NODE_PATH", client::installed("node/node_modules"));
    client::expect(command.arg(client::script("node").join(script)), &CHECKS);
    sampler.expect_at_most(bed.limit());
}

#[test]
fn psycopg_works_in_transaction_mode_and_in_pipeline_mode() {
    python("psycopg_client.py", &with("pipeline"));
}

#[test]
fn asyncpg_works_in_transaction_mode() {
    python("asyncpg_client.py", &CHECKS);
}

#[test]
fn sqlalchemy_works_in_transaction_mode() {
    python("sqlalchemy_client.py", &CHECKS);
}

#[test]
fn node_postgres_works_in_transaction_mode() {
    node("pg_client.js");
}

#[test]
fn postgres_js_works_in_transaction_mode() {
    node("postgres_client.js");
}

#[test]
fn pgjdbc_works_in_transaction_mode() {
    let _machine = place::machine(false);
    let bed = Bed::start(Plan::default());
    let sampler = Sampler::start(&bed.postgres);
    let jar = std::env::var("POSTGRES_JAR").unwrap_or_else(|_| "/usr/share/java/postgresql.jar".to_string());
    let jar = client::installed(&jar);
    let mut command: Command = client::command("java", &bed);
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m", "-cp"]).arg(jar);
    client::expect(command.arg(client::script("java/Client.java")), &with("portals"));
    sampler.expect_at_most(bed.limit());
}
