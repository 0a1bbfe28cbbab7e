//! Drivers' own pools in front of the pooler, through restarts of PostgreSQL: requests wait for it or are refused with a
//! SQLSTATE that leaves the pool its connections, so that no restart of the server becomes a storm of logins.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use poolwarden_testbed::{Bed, Plan, Sampler, Target, client, place, until};

const CHECKS: [&str; 3] = ["fills", "waits_through_a_restart", "keeps_its_connections"];
const PATIENCE: Duration = Duration::from_secs(60);
/// What the second absence outlasts.
const DOWN_WAIT: &str = "down_wait = \"3s\"";

fn signalled(signals: &Path, name: &str) {
    let path = signals.join(name);
    until(&format!("the pool's signal {name}"), PATIENCE, || path.exists().then_some(()));
}

fn signal(signals: &Path, name: &str) {
    std::fs::write(signals.join(name), "").expect("a signal");
}

/// All connections of the driver's pool wait for the server.
fn all_wait(bed: &Bed) {
    until("eight clients to wait", PATIENCE, || (bed.pool("cl_waiting") == 8).then_some(()));
}

/// Runs a client that is a pool, while PostgreSQL goes and comes back twice.
fn through_restarts(make: impl FnOnce(&Bed) -> Command) {
    let _machine = place::machine(false);
    let mut bed = Bed::start_as(Target::Poolwarden, Plan { size: 4, ..Plan::default() }.pool(DOWN_WAIT));
    let place = place::Place::new("signals");
    let signals = place.path().to_path_buf();
    let mut command = make(&bed);
    command.env("SIGNALS", &signals);
    std::thread::scope(|scope| {
        let pool = scope.spawn(move || client::expect(&mut command, &CHECKS));
        signalled(&signals, "filled");
        bed.postgres.stop();
        signal(&signals, "stopped");
        signalled(&signals, "asking");
        all_wait(&bed);
        bed.postgres.launch();
        signalled(&signals, "served");
        bed.postgres.stop();
        signal(&signals, "stopped_again");
        signalled(&signals, "refused");
        bed.postgres.launch();
        let sampler = Sampler::start(&bed.postgres);
        until("the pooler to serve again", PATIENCE, || bed.client().query("select 1").ok());
        signal(&signals, "started");
        pool.join().expect("the pool's checks");
        sampler.expect_at_most(bed.limit());
    });
}

fn python(script: &str) {
    through_restarts(|bed| {
        let mut command = client::command(client::installed("python/bin/python"), bed);
        command.arg("-B").arg(client::script("python").join(script));
        command
    });
}

#[test]
fn sqlalchemys_pool_keeps_its_connections_through_restarts_of_postgresql() {
    python("sqlalchemy_pool.py");
}

#[test]
fn djangos_pool_keeps_its_connections_through_restarts_of_postgresql() {
    python("django_pool.py");
}

#[test]
fn hikaricp_keeps_its_connections_through_restarts_of_postgresql() {
    through_restarts(|bed| {
        let jars = ["postgresql.jar", "HikariCP.jar", "slf4j-api.jar", "slf4j-nop.jar"];
        let jars = jars.map(|jar| client::installed(&format!("/usr/share/java/{jar}")).display().to_string());
        let mut command = client::command("java", bed);
        command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "-cp"]).arg(jars.join(":"));
        command.arg(client::script("java/HikariPool.java"));
        command
    });
}
