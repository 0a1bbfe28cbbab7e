//! `poolwarden check --live` against a real PostgreSQL, a real PgBouncer and a running poolwarden.

use std::process::Command;

use poolwarden_testbed::ini::Program;
use poolwarden_testbed::place::Place;
use poolwarden_testbed::template::PASSWORD;
use poolwarden_testbed::{Bed, Plan, Postgres, Settings, Target, pooler};
use serde_json::Value;

/// The review as JSON, its exit code, and what it said besides.
fn check(place: &Place, args: &[&str]) -> (Value, i32, String) {
    let mut command = Command::new(pooler::binary());
    command.args(["check", "--format", "json"]).args(args).current_dir(place.path());
    let output = command.env_remove("PGPASSWORD").output().expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!said.contains(PASSWORD) && !errors.contains(PASSWORD), "a password was shown:\n{said}\n{errors}");
    let json = serde_json::from_str(&said).unwrap_or(Value::Null);
    (json, output.status.code().expect("it ends by itself"), errors)
}

fn finding<'a>(review: &'a Value, code: &str) -> &'a Value {
    let all = review["findings"].as_array().expect("findings");
    all.iter().find(|finding| finding["code"] == code).unwrap_or_else(|| panic!("no {code} in {review:#}"))
}

fn chosen() -> bool {
    Target::chosen() == Target::Poolwarden
}

#[test]
fn postgresql_tells_its_slots_its_roles_and_who_else_is_there() {
    if !chosen() {
        return;
    }
    let postgres = Postgres::start(Settings::default());
    postgres.sql("alter role app connection limit 3");
    postgres.sql("alter role app set statement_timeout = '30s'");
    let port = postgres.port();
    let place = Place::new("check");
    let toml = format!(
        "[servers.main]\nhost = \"127.0.0.1\"\nport = {port}\nmax_connections = 5000\n[pools.app]\nserver = \"main\"\nsize = 5000\n\
         [users.app]\npassword_env = \"NOT_NEEDED\"\n[topology.pooler]\ninstances = 1\n"
    );
    place.write("poolwarden.toml", &toml);
    let url = format!("postgres://app:{PASSWORD}@127.0.0.1:{port}/app?sslmode=disable");
    let elsewhere = postgres.direct("postgres"); // a backend in a database that no pool serves
    let (review, code, errors) = check(&place, &["poolwarden.toml", "--live", &url, "--require", "live"]);
    drop(elsewhere);
    assert_eq!(code, 1, "{errors}\n{review:#}");
    let shown = format!("postgres://app@127.0.0.1:{port}/app?sslmode=disable");
    let told = finding(&review, "CAP-01")["told"].to_string();
    assert!(told.contains(&format!("pg.setting.max_connections, told by {shown}")), "{told}");
    let told = finding(&review, "CAP-07").to_string();
    assert!(told.contains(&format!("pg.role.app.connection_limit, told by {shown}")), "{told}");
    let unchecked = review["not_checked"].to_string();
    assert!(!unchecked.contains("\"pg_settings\"") && !unchecked.contains("roles and their limits"), "{unchecked}");
    let steps = review["chain"][0]["steps"].as_array().expect("steps");
    let slots = steps.iter().find(|step| step["limit"] == "pg_slots").expect("slots");
    assert!(slots["sentence"].as_str().is_some_and(|words| words.contains("1 of others")), "{slots}");
}

#[test]
fn a_console_and_a_running_poolwarden_tell_their_settings() {
    if !chosen() {
        return;
    }
    let postgres = Postgres::start(Settings::default());
    let place = Place::new("check");
    let port = postgres.port();
    let ini = format!(
        "[databases]\napp = host=127.0.0.1 port={port} dbname=app\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {{port}}\n\
         auth_type = plain\nauth_file = {{dir}}/userlist.txt\nadmin_users = app\nunix_socket_dir =\n\
         logfile = {{dir}}/pooler.log\npidfile = {{dir}}/pooler.pid\n"
    );
    let userlist = format!("\"app\" \"{PASSWORD}\"\n");
    for program in Program::both() {
        let running = program.start(&[("pgbouncer.ini", &ini), ("userlist.txt", &userlist)]);
        let url = format!("postgres://app:{PASSWORD}@127.0.0.1:{}/pgbouncer", running.port());
        let file = running.dir().join("pgbouncer.ini").display().to_string();
        let (review, code, errors) =
            check(&place, &[&file, "--live", &url, "--require", "live", "--fail-level", "error"]);
        assert_eq!(code, 0, "{program:?}: {errors}\n{review:#}");
        assert_eq!(review["inconclusive"], Value::Array(Vec::new()), "{program:?}");
        assert!(!review["not_checked"].to_string().contains("\"running pooler\""), "{program:?}: {review:#}");
        let wrong = format!("postgres://app:not-the-one@127.0.0.1:{}/pgbouncer", running.port());
        let (_, code, errors) = check(&place, &[&file, "--live", &wrong]);
        assert!(code == 2 && errors.contains("--live postgres://app@127.0.0.1:"), "{program:?}: {code} {errors}");
    }
}

#[test]
fn a_running_poolwarden_is_asked_over_http() {
    if !chosen() {
        return;
    }
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 2, ..Plan::default() });
    let mut client = bed.client();
    client.query("select 1").expect("an answer");
    let http = bed.pooler().expect("poolwarden").http();
    let config = poolwarden_testbed::pooler::http_get(http, "/api/v1/config");
    assert!(config.contains("\"key\":\"pools.app.size\"") && config.contains("\"value\":\"2\""), "{config}");
    assert!(!config.contains(PASSWORD), "{config}");
    let place = Place::new("check");
    let url = format!("http://{http}");
    let (review, code, errors) =
        check(&place, &["--live", &url, "--require", "live,recording", "--fail-level", "error"]);
    assert_eq!(code, 0, "{errors}\n{review:#}");
    assert_eq!(review["inconclusive"], Value::Array(Vec::new()));
    let (_, code, errors) = check(&place, &["--live", "http://127.0.0.1:1"]);
    assert!(code == 2 && errors.contains("nothing listens at 127.0.0.1:1"), "{errors}");
}
