//! Foreign drivers with SCRAM: in transaction mode over ten server connections, in clear and over TLS, and in session mode.
//!
//! Each is a script of `clients/` with the same checks; `scripts/setup-drivers.sh` installs them.

use std::process::Command;

use poolwarden_testbed::door::{OVER_TLS, WAYS, Way};
use poolwarden_testbed::{Bed, Plan, Sampler, client, place};

const IN_CLEAR: [Way; 1] = [WAYS[0]];

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

/// Runs a client's checks through each of these ways.
fn through(ways: &[Way], checks: &[&str], make: impl Fn(&Bed) -> Command) {
    let _machine = place::machine(false);
    for way in ways {
        let door = way.open(Plan::default());
        let sampler = Sampler::start(&door.bed.postgres);
        let mut command = make(&door.bed);
        door.tell(&mut command);
        client::expect(&mut command, checks);
        sampler.expect_at_most(door.bed.limit());
    }
}

fn python(ways: &[Way], script: &str, checks: &[&str]) {
    through(ways, checks, |bed| {
        let mut command = client::command(client::installed("python/bin/python"), bed);
        command.arg("-B").arg(client::script("python").join(script));
        command
    });
}

fn node(ways: &[Way], script: &str) {
    through(ways, &CHECKS, |bed| {
        let mut command = client::command("node", bed);
        command.env("NODE_PATH", client::installed("node/node_modules")).arg(client::script("node").join(script));
        command
    });
}

fn java(ways: &[Way], checks: &[&str]) {
    through(ways, checks, |bed| {
        let jar = std::env::var("POSTGRES_JAR").unwrap_or_else(|_| "/usr/share/java/postgresql.jar".to_string());
        let mut command = client::command("java", bed);
        command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m", "-cp"]).arg(client::installed(&jar));
        command.arg(client::script("java/Client.java"));
        command
    });
}

#[test]
fn psycopg_works_in_transaction_mode_and_in_pipeline_mode() {
    python(&IN_CLEAR, "psycopg_client.py", &with("pipeline"));
}

#[test]
fn psycopg_works_over_tls_in_both_modes() {
    python(&OVER_TLS, "psycopg_client.py", &with("pipeline"));
}

#[test]
fn asyncpg_works_in_transaction_mode() {
    python(&IN_CLEAR, "asyncpg_client.py", &CHECKS);
}

#[test]
fn asyncpg_works_over_tls_in_both_modes() {
    python(&OVER_TLS, "asyncpg_client.py", &CHECKS);
}

#[test]
fn sqlalchemy_works_in_transaction_mode() {
    python(&IN_CLEAR, "sqlalchemy_client.py", &CHECKS);
}

#[test]
fn sqlalchemy_works_over_tls_in_both_modes() {
    python(&OVER_TLS, "sqlalchemy_client.py", &CHECKS);
}

#[test]
fn node_postgres_works_in_transaction_mode() {
    node(&IN_CLEAR, "pg_client.js");
}

#[test]
fn node_postgres_works_over_tls_in_both_modes() {
    node(&OVER_TLS, "pg_client.js");
}

#[test]
fn postgres_js_works_in_transaction_mode() {
    node(&IN_CLEAR, "postgres_client.js");
}

#[test]
fn postgres_js_works_over_tls_in_both_modes() {
    node(&OVER_TLS, "postgres_client.js");
}

#[test]
fn pgjdbc_works_in_transaction_mode() {
    java(&IN_CLEAR, &with("portals"));
}

#[test]
fn pgjdbc_works_over_tls_in_both_modes() {
    java(&OVER_TLS, &with("portals"));
}
