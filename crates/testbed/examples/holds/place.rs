//! What a run stands on: a PostgreSQL, a pooler with the scenario's own settings before it, and the built binary that makes the load.

use std::fmt::Write;
use std::process::{Command, Stdio};

use poolwarden_testbed::ini::{Program, Running};
use poolwarden_testbed::place::Place;
use poolwarden_testbed::template::PASSWORD;
use poolwarden_testbed::{Plan, Pooler, Postgres, Settings, pooler};
use rustix::process::Pid;
use serde_json::Value;

use crate::machine;

/// Who logs in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Users {
    /// A user per class, all of them forced into one role, and so into one pool.
    ByClass,
    /// One role; its application_name tells the class.
    One,
}

/// What stands before PostgreSQL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pooling {
    /// poolwarden with the scenario's settings.
    Poolwarden,
    /// PgBouncer with the same longest wait.
    PgBouncer,
    /// PgBouncer with its own longest wait, two minutes.
    PgBouncerPatient,
}

impl Pooling {
    /// In the order in which they are run.
    pub(crate) const ALL: [Self; 3] = [Self::Poolwarden, Self::PgBouncer, Self::PgBouncerPatient];

    /// For tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Poolwarden => "poolwarden",
            Self::PgBouncer => "pgbouncer",
            Self::PgBouncerPatient => "pgbouncer_patient",
        }
    }
}

/// Roles of [`Users::ByClass`].
const ROLES: [&str; 3] = ["critical", "default", "batch"];

/// A pooler before a PostgreSQL of its own; dropped in this order.
pub(crate) struct Front {
    pooler: Either,
    _postgres: Postgres,
    place: Place,
}

enum Either {
    Ours(Box<Pooler>),
    Theirs(Running),
}

/// The text of a scenario, with another seed (0: its own) and its long phases of so many seconds.
pub(crate) fn scenario(name: &str, seed: u32, seconds: u32) -> String {
    let path = pooler::workspace().join(format!("examples/scenarios/{name}.toml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let text = text.replace("for = \"30s\"", &format!("for = \"{seconds}s\""));
    if seed == 0 { text } else { text.replacen("seed = ", &format!("seed = {seed}0"), 1) }
}

/// What `simulate` says of a scenario.
pub(crate) fn simulate(text: &str) -> Value {
    let place = Place::new("holds");
    let file = place.write("scenario.toml", text);
    let mut command = Command::new(pooler::binary());
    said(command.arg("simulate").arg(file).args(["--format", "json"]))
}

impl Front {
    /// Starts both as the scenario's `[pool]` says.
    pub(crate) fn start(pooling: Pooling, users: Users, text: &str) -> Front {
        let settings = Settings {
            max_connections: 150,
            more: vec![("log_connections", "off".to_owned()), ("log_disconnections", "off".to_owned())],
        };
        let postgres = Postgres::start(settings);
        if users == Users::ByClass {
            ROLES
                .iter()
                .for_each(|role| drop(postgres.sql(&format!("create role \"{role}\" login password '{PASSWORD}'"))));
        }
        postgres.sql("grant create on schema public to app");
        let pooler = match pooling {
            Pooling::Poolwarden => Either::Ours(Box::new(ours(users, text, &postgres))),
            Pooling::PgBouncer => Either::Theirs(theirs(text, &postgres, whole_seconds(text))),
            Pooling::PgBouncerPatient => Either::Theirs(theirs(text, &postgres, 120)),
        };
        Front { pooler, _postgres: postgres, place: Place::new("holds") }
    }

    /// poolwarden's process.
    pub(crate) fn pid(&self) -> Option<Pid> {
        match &self.pooler {
            Either::Ours(pooler) => Some(pooler.pid()),
            Either::Theirs(_) => None,
        }
    }

    /// What `drill run` says of a scenario before this pooler.
    pub(crate) fn drill(&self, text: &str) -> Value {
        let port = match &self.pooler {
            Either::Ours(pooler) => pooler.addr().port(),
            Either::Theirs(running) => running.port(),
        };
        let url = format!("postgres://app:{PASSWORD}@127.0.0.1:{port}/app");
        let file = self.place.write("scenario.toml", text);
        let mut command = Command::new(pooler::binary());
        let value = said(command.args(["drill", "run"]).arg(file).args(["--database", &url, "--format", "json"]));
        value["drills"][0].clone()
    }

    /// What it costs poolwarden to log the scenario's clients in: the same with a load of nothing, in seconds of a core.
    pub(crate) fn logins_seconds(&self) -> f64 {
        let nothing = self.place.path().join("scenario.toml");
        let text = std::fs::read_to_string(&nothing).unwrap_or_else(|e| panic!("{}: {e}", nothing.display()));
        let nothing = text.replace("rate = \"10000/s\"", "rate = \"0/s\"");
        let pid = self.pid().expect("poolwarden's own");
        let before = machine::cpu(pid);
        self.drill(&nothing);
        (machine::cpu(pid) - before).as_secs_f64()
    }
}

/// What the binary prints as JSON; a bound that was missed is the caller's to see.
fn said(command: &mut Command) -> Value {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("start {command:?}: {e}"));
    let value = serde_json::from_slice(&output.stdout);
    value.unwrap_or_else(|e| panic!("{command:?}: {e}\n{}", String::from_utf8_lossy(&output.stderr)))
}

/// The value of `key` in the scenario's `[pool]`, as it is written there.
fn written<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let pool = text.split("[pool]").nth(1)?.split("\n[").next()?;
    let line = pool.lines().find(|line| line.split('=').next().is_some_and(|name| name.trim() == key))?;
    Some(line.split_once('=')?.1.split('#').next()?.trim())
}

fn number(text: &str, key: &str) -> Option<u32> {
    written(text, key)?.parse().ok()
}

fn ours(users: Users, text: &str, postgres: &Postgres) -> Pooler {
    let mut sections = String::new();
    match users {
        Users::ByClass => ROLES.iter().for_each(|role| {
            writeln!(sections, "[users.{role}]\nscram_file = \"{{dir}}/app.password\"\nclass = \"{role}\"\n")
                .expect("writing to a string");
        }),
        Users::One => sections.push_str(
            "[classes.critical]\napplications = [\"checkout\"]\n\n[classes.batch]\napplications = [\"reports\"]\n\n",
        ),
    }
    let trust = if users == Users::One { "[users.app]\ntrust_labels = true\n" } else { "[users.app]\n" };
    let wait = written(text, "max_wait").expect("the scenario's max_wait");
    let min_size = number(text, "min_size").unwrap_or(0);
    let size = number(text, "size").expect("the scenario's size");
    let plan = Plan { size, budget: number(text, "budget"), max_clients: 8_000, ..Plan::default() };
    let role = match users {
        Users::ByClass => "\nuser = \"app\"\nscram_file = \"{dir}/app.password\"",
        Users::One => "",
    };
    let plan = plan.edit("max_wait = \"60s\"", &format!("max_wait = {wait}\nmin_size = {min_size}{role}"));
    Pooler::start(&plan.edit("[users.app]\n", &format!("{sections}{trust}")), postgres.address())
}

/// The scenario's longest wait in whole seconds, as PgBouncer has it.
fn whole_seconds(text: &str) -> u32 {
    let wait = written(text, "max_wait").expect("the scenario's max_wait");
    wait.trim_matches('"').strip_suffix('s').and_then(|seconds| seconds.parse().ok()).unwrap_or(1)
}

/// PgBouncer with the same pool and the same budget: a role per user, since it logs in nobody as another by their SCRAM secret. It is given the roles' SCRAM secrets, which makes its logins cheapest.
fn theirs(text: &str, postgres: &Postgres, wait: u32) -> Running {
    let budget = number(text, "budget").expect("the scenario's budget");
    let size = number(text, "size").expect("the scenario's size");
    let ini = format!(
        "[databases]\napp = host=127.0.0.1 port={} dbname=app\n\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {{port}}\nunix_socket_dir =\n\
         auth_type = scram-sha-256\nauth_file = {{dir}}/users\npool_mode = transaction\ndefault_pool_size = {size}\n\
         max_db_connections = {budget}\nmax_client_conn = 8000\nquery_wait_timeout = {wait}\n\
         log_connections = 0\nlog_disconnections = 0\n",
        postgres.address().port(),
    );
    let secrets = postgres.sql("select rolname, rolpassword from pg_authid where rolpassword is not null");
    let text = |value: &Option<String>| value.clone().expect("it is not null");
    let lines: Vec<String> =
        secrets.rows.iter().map(|row| format!("\"{}\" \"{}\"\n", text(&row[0]), text(&row[1]))).collect();
    Program::PgBouncer.start(&[("pgbouncer.ini", &ini), ("users", &lines.concat())])
}
