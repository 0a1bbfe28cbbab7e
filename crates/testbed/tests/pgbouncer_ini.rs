//! One pgbouncer.ini, read by PgBouncer and by poolwarden: the same logins, the same databases, the same console.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use poolwarden_testbed::ini::{Program, Running};
use poolwarden_testbed::template::PASSWORD;
use poolwarden_testbed::{Postgres, Settings, Target, place, pooler, until};
use rustix::process::Signal;

const ROLES: &str = "create role lookup superuser login password 'wardens-secret'; \
    create role late login password 'late-secret'; \
    create role expired login password 'late-secret' valid until '2001-01-01'; \
    create role outsider login password 'late-secret'; \
    create role sleeper nologin password 'late-secret'";

const HBA: &str = "# as it grew over the years\n\
    host  all      outsider  127.0.0.1/32  reject\n\
    host  open     all       127.0.0.1/32  trust\n\
    local all      all                     md5\n\
    host  all      all       127.0.0.1/32  md5\n";

fn userlist() -> String {
    format!("\"app\" \"{PASSWORD}\"\n\"lookup\" \"{PASSWORD}\"\n; nobody else\n\"listed\" \"in-clear\"\n")
}

fn ini(postgres: &Postgres) -> String {
    let server = postgres.port();
    format!(
        ";; a file like many\n[databases]\n\
         app = host=127.0.0.1 port={server} dbname=app\n\
         forced = host=127.0.0.1 port={server} dbname=app user=app password={PASSWORD} pool_size=3 timezone=Asia/Tokyo\n\
         open = host=127.0.0.1 port={server} dbname=app user=app password='{PASSWORD}'\n\
         * = host=127.0.0.1 port={server}\n\n\
         [users]\nlisted = pool_mode=transaction max_user_connections=2\n\n\
         [pgbouncer]\n%include {{dir}}/more.ini\n\
         auth_type = hba\nauth_hba_file = {{dir}}/hba.conf\nauth_file = {{dir}}/userlist.txt\nauth_user = lookup\n\
         admin_users = app\nstats_users = listed\npool_mode = session\n\
         logfile = {{dir}}/pooler.log\npidfile = {{dir}}/pooler.pid\n\
         server_login_retry = 1\nignore_startup_parameters = extra_float_digits\nserver_check_query = select 1\n"
    )
}

const MORE: &str = "; where it listens\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir = {dir}\n";

fn start(program: Program, postgres: &Postgres) -> Running {
    program.start(&[
        ("pgbouncer.ini", &ini(postgres)),
        ("more.ini", MORE),
        ("hba.conf", HBA),
        ("userlist.txt", &userlist()),
    ])
}

fn chosen() -> bool {
    let chosen = Target::chosen() == Target::Poolwarden;
    if !chosen {
        eprintln!("these tests start both poolers themselves");
    }
    chosen
}

/// User, password, database, and whether the login succeeds. `open` trusts everybody there is.
const LOGINS: [(&str, &str, &str, bool); 17] = [
    ("app", PASSWORD, "app", true),
    ("app", "wrong", "app", false),
    ("app", "", "app", false),
    ("app", PASSWORD, "postgres", true),
    ("app", PASSWORD, "nowhere", false),
    ("app", PASSWORD, "forced", true),
    ("listed", "in-clear", "forced", true),
    ("listed", "in-clear", "app", false),
    ("late", "late-secret", "app", true),
    ("late", "wrong", "app", false),
    ("expired", "late-secret", "app", false),
    ("outsider", "late-secret", "app", false),
    ("sleeper", "late-secret", "app", false),
    ("nobody-at-all", "x", "app", false),
    ("listed", "", "open", true),
    ("late", "", "open", true),
    ("nobody-at-all", "", "open", false),
];

#[test]
fn an_old_file_runs_unchanged_and_lets_in_whom_pgbouncer_lets_in() {
    if !chosen() {
        return;
    }
    let postgres = Postgres::start(Settings::default());
    postgres.sql(ROLES);
    let asked = "select current_user, current_database(), current_setting('timezone')";
    let mut seen: BTreeMap<usize, Vec<(Program, bool, String)>> = BTreeMap::new();
    for program in Program::both() {
        let pooler = start(program, &postgres);
        for (n, (user, password, database, _)) in LOGINS.iter().enumerate() {
            let said = pooler.psql(user, password, database, asked);
            eprintln!("{program:?} {user} {database}: {} {}", said.rows, said.errors);
            seen.entry(n).or_default().push((program, said.well, said.rows));
        }
    }
    for (n, (user, _, database, expected)) in LOGINS.iter().enumerate() {
        let all = &seen[&n];
        assert!(all.iter().all(|(_, well, _)| well == expected), "{user} in {database}: {all:?}");
        assert!(all.iter().all(|(.., rows)| *rows == all[0].2), "{user} in {database}: {all:?}");
    }
}

#[test]
fn the_console_the_pid_file_and_the_log_file_are_where_the_file_says() {
    if !chosen() {
        return;
    }
    let postgres = Postgres::start(Settings::default());
    postgres.sql(ROLES);
    for program in Program::both() {
        let pooler = start(program, &postgres);
        let said = pooler.psql("app", PASSWORD, "pgbouncer", "show databases");
        assert!(said.well && said.rows.contains("forced|127.0.0.1|"), "{program:?}: {said:?}");
        let said = pooler.psql("listed", "in-clear", "pgbouncer", "show pools");
        assert!(said.well, "{program:?}: readers may look: {said:?}");
        let said = pooler.psql("listed", "in-clear", "pgbouncer", "reload");
        assert!(!said.well, "{program:?}: readers may change nothing: {said:?}");
        let said = pooler.psql("lookup", PASSWORD, "pgbouncer", "show pools");
        assert!(!said.well, "{program:?}: nobody else may look: {said:?}");
        let pid = std::fs::read_to_string(pooler.dir().join("pooler.pid")).expect("a pid file");
        assert!(pid.trim().parse::<u32>().is_ok(), "{program:?}: {pid}");
        let log = std::fs::read_to_string(pooler.dir().join("pooler.log")).expect("a log file");
        assert!(!log.is_empty(), "{program:?} logs into its file");
        assert!(pooler.dir().join(format!(".s.PGSQL.{}", pooler.port())).exists(), "{program:?} has its socket");
    }
}

#[test]
fn users_who_are_forced_into_one_role_share_its_pool() {
    if !chosen() {
        return;
    }
    let postgres = Postgres::start(Settings::default());
    postgres.sql(ROLES);
    for program in Program::both() {
        let pooler = start(program, &postgres);
        let pid = |user, password| {
            let said = pooler.psql(user, password, "forced", "select pg_backend_pid()");
            assert!(said.well, "{program:?}: {said:?}");
            said.rows
        };
        // each has left before the next one comes, so that the connection is free
        let (first, second) = (pid("app", PASSWORD), pid("listed", "in-clear"));
        assert_eq!(first, second, "{program:?}: one role, one pool, one connection");
        let said = pooler.psql("app", PASSWORD, "pgbouncer", "show pools");
        let rows: Vec<&str> = said.rows.lines().filter(|row| row.starts_with("forced|")).collect();
        assert!(matches!(rows[..], [row] if row.starts_with("forced|app|")), "{program:?}: {said:?}");
    }
}

/// The size of a pool as the console tells it.
fn size(pooler: &Running) -> String {
    let said = pooler.psql("app", PASSWORD, "pgbouncer", "show databases");
    let row = said.rows.lines().find(|row| row.starts_with("forced|")).unwrap_or_else(|| panic!("{said:?}"));
    row.split('|').nth(5).unwrap_or_default().to_owned()
}

#[test]
fn a_reload_reads_the_ini_again_and_a_broken_one_changes_nothing() {
    if !chosen() {
        return;
    }
    let postgres = Postgres::start(Settings::default());
    let pooler = start(Program::Poolwarden, &postgres);
    assert_eq!(size(&pooler), "3");
    pooler.rewrite("pgbouncer.ini", &ini(&postgres).replace("pool_size=3", "pool_size=5"));
    pooler.signal(Signal::HUP);
    until("the new size", Duration::from_secs(20), || (size(&pooler) == "5").then_some(()));
    let broken =
        ini(&postgres).replace("pool_size=3", "pool_size=7").replace("pool_mode = session", "pool_mode = sesion");
    pooler.rewrite("pgbouncer.ini", &broken);
    let said = pooler.psql("app", PASSWORD, "pgbouncer", "reload");
    assert!(!said.well && said.errors.contains("sesion"), "{said:?}");
    assert_eq!(size(&pooler), "5");
    pooler.rewrite("pgbouncer.ini", &ini(&postgres).replace("pool_size=3", "pool_size=5"));
    let said = pooler.psql("app", PASSWORD, "pgbouncer", "set default_pool_size = 9");
    assert!(said.well, "{said:?}");
    let said = pooler.psql("app", PASSWORD, "pgbouncer", "show config");
    assert!(said.rows.lines().any(|row| row.starts_with("default_pool_size|9|20|")), "{said:?}");
}

#[test]
fn import_prints_what_runs_and_refuses_by_name() {
    if !chosen() {
        return;
    }
    let place = place::Place::new("import");
    let ini = place
        .write("pgbouncer.ini", "[databases]\na = host=db password=geheim user=x\n[pgbouncer]\nauth_type = trust\n");
    let import = |more: &[&str]| {
        let mut command = Command::new(pooler::binary());
        let output = command.arg("import").args(more).arg(&ini).current_dir(place.path()).output().expect("poolwarden");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, toml, errors) = import(&[]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(toml.contains("[pools.a]") && !toml.contains("geheim"), "{toml}");
    place.write("pgbouncer.ini", "[databases]\na = host=db password=geheim\n[pgbouncer]\nserver_round_robin = 1\n");
    let (code, toml, errors) = import(&[]);
    assert_eq!((code, toml.as_str()), (Some(1), ""), "{errors}");
    assert!(errors.contains("pgbouncer.ini:4:22") && errors.contains("server_round_robin"), "{errors}");
    let (code, json, _) = import(&["--format", "json"]);
    let told: serde_json::Value = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{e}: {json}"));
    assert_eq!((code, &told["findings"][0]["code"]), (Some(1), &serde_json::json!("refused")));
    std::fs::remove_file(&ini).expect("it was there");
    assert_eq!(import(&[]).0, Some(2));
}

#[test]
fn debians_own_file_is_understood() {
    let debians = std::path::Path::new("/etc/pgbouncer/pgbouncer.ini");
    if !chosen() || !debians.exists() {
        eprintln!("Debian's pgbouncer.ini is not installed");
        return;
    }
    let output = Command::new(pooler::binary()).arg("import").arg(debians).output().expect("poolwarden");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Name, default and whether a reload changes it, of each setting of PgBouncer 1.18; the list of settings is tested against it.
const SETTINGS_1_18: &str = include_str!("../../config/tests/pgbouncer/settings-1.18.txt");

#[test]
fn the_settings_our_list_is_held_against_are_the_real_ones() {
    if !chosen() || !Program::both().contains(&Program::PgBouncer) {
        eprintln!("PgBouncer is not installed");
        return;
    }
    let bare =
        "[databases]\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n";
    let pooler = Program::PgBouncer.start(&[("pgbouncer.ini", bare)]);
    let version = pooler.psql("x", "", "pgbouncer", "show version");
    if !version.rows.contains("1.18.") {
        eprintln!("{} is installed, and the list is of 1.18", version.rows);
        return;
    }
    let said = pooler.psql("x", "", "pgbouncer", "show config");
    let without_value = |row: &str| {
        let fields: Vec<&str> = row.split('|').collect();
        format!("{}|{}|{}", fields[0], fields[2], fields[3])
    };
    let told: Vec<String> = said.rows.lines().map(without_value).collect();
    assert_eq!(told, SETTINGS_1_18.lines().collect::<Vec<_>>());
}
