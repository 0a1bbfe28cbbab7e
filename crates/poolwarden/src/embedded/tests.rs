//! Against the installed PostgreSQL, in a directory of their own; psql looks in from outside.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use super::*;

/// As private as the default: PostgreSQL is let through it, even where it runs as another user.
fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("pw").tempdir_in("/tmp").expect("a temporary directory")
}

fn psql(dir: &Path, user: &str, database: &str, query: &str) -> Result<String, String> {
    let password = fs::read_to_string(dir.join(format!("{user}.password"))).expect("a password file");
    let role = if user == "watch" { cluster::WATCH_USER } else { user };
    let output = Command::new("psql")
        .args(["-XAtqw", "-h"])
        .arg(dir.join("socket"))
        .args(["-p", "5432", "-U", role, "-d", database, "-c", query])
        .env("PGPASSWORD", password.trim_end())
        .output()
        .expect("psql runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn it_starts_answers_stops_keeps_its_data_and_leaves_nothing_behind() {
    let dir = directory();
    let embedded = Embedded::start(dir.path()).expect("a first start");
    let pid = embedded.server.id();
    assert_eq!(psql(dir.path(), "app", "app", "create table t as select 7 as n; select n from t").as_deref(), Ok("7"));
    assert_eq!(psql(dir.path(), "app", "app", "show listen_addresses").as_deref(), Ok(""));
    assert_eq!(psql(dir.path(), "app", "app", "show max_connections").as_deref(), Ok("100"));
    let watch =
        "select pg_has_role(current_user, 'pg_monitor', 'member'), rolsuper from pg_roles where rolname = current_user";
    assert_eq!(psql(dir.path(), "watch", "postgres", watch).as_deref(), Ok("t|f"));
    for user in ["app", "watch", "superuser"] {
        let mode = fs::metadata(dir.path().join(format!("{user}.password"))).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{user}");
    }
    let password = fs::read_to_string(dir.path().join("app.password")).expect("a password");
    let url = format!("postgres://app:{}@127.0.0.1:{}/app", password.trim(), embedded.port);
    assert!(embedded.banner().contains(&url), "{}", embedded.banner());
    embedded.shutdown().expect("a clean end");
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    let left: Vec<_> = fs::read_dir(dir.path().join("socket")).expect("the directory").collect();
    assert!(left.is_empty(), "{left:?}");

    let again = Embedded::start(dir.path()).expect("a second start");
    assert_eq!(psql(dir.path(), "app", "app", "select n from t").as_deref(), Ok("7"));
    let route = again.config().route("app", "app").expect("a pool");
    assert_eq!(route.secret.map(poolwarden_config::Secret::reveal), Some(password.trim()));
    let host = &again.config().servers[0].host;
    assert_eq!(*host, poolwarden_config::Host::Socket(dir.path().join("socket").display().to_string()));
    again.shutdown().expect("a clean end");
}

#[test]
fn it_ends_when_the_thread_that_started_it_ends_and_a_successor_takes_over() {
    let dir = directory();
    let path = dir.path().to_owned();
    let pid = std::thread::spawn(move || {
        let embedded = Embedded::start(&path).expect("a start");
        let pid = embedded.server.id();
        // As after kill -9: nobody says goodbye.
        std::mem::forget(embedded);
        pid
    });
    let pid = pid.join().expect("the thread");
    let successor = Embedded::start(dir.path()).expect("it waits for its predecessor's end");
    assert_ne!(successor.server.id(), pid);
    successor.shutdown().expect("a clean end");
}

#[test]
fn a_half_made_cluster_is_thrown_away() {
    let dir = directory();
    fs::create_dir(dir.path().join("postgres.new")).expect("a directory");
    fs::write(dir.path().join("postgres.new/junk"), "x").expect("a file");
    Embedded::start(dir.path()).expect("a start").shutdown().expect("a clean end");
    assert!(!dir.path().join("postgres.new").exists());
}

#[test]
fn a_start_that_fails_says_what_postgres_said() {
    let dir = directory();
    Embedded::start(dir.path()).expect("a start").shutdown().expect("a clean end");
    fs::write(dir.path().join("postgres/postgresql.conf"), "nonsense = 1\n").expect("a broken file");
    let began = Instant::now();
    let error = Embedded::start(dir.path()).map(|_| ()).expect_err("it cannot start").to_string();
    assert!(error.contains("nonsense"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(60), "it waited for what cannot come");
}

#[test]
fn a_path_too_long_for_a_socket_is_refused_before_anything_is_made() {
    let dir = directory();
    let long = dir.path().join("x".repeat(100));
    let error = Embedded::start(&long).map(|_| ()).expect_err("too long").to_string();
    assert!(error.contains("too long for a unix socket"), "{error}");
    assert_eq!(fs::read_dir(&long).expect("the directory").count(), 0);
}

#[test]
fn a_used_port_is_left_alone() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = taken.local_addr().expect("its address").port();
    if port < u16::MAX - 1000 {
        assert_ne!(free_port(port).expect("a neighbour"), port);
    }
}
