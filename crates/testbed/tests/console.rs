//! The SQL console beside PgBouncer's own: the same tables with the same types, the same counts, its tools and drivers;
//! and the verbs, against a real PostgreSQL.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use poolwarden_testbed::pgbouncer::PgBouncer;
use poolwarden_testbed::place::{self, Place, Port};
use poolwarden_testbed::pooler::http_get;
use poolwarden_testbed::template::{PASSWORD, programs};
use poolwarden_testbed::wire::Address;
use poolwarden_testbed::{Bed, Fault, Login, Plan, Say, Target, Wire, bed, child, client, until};

const PATIENCE: Duration = Duration::from_secs(20);

/// Every table of PgBouncer.
const TABLES: [&str; 21] = [
    "CONFIG",
    "DATABASES",
    "POOLS",
    "PEER_POOLS",
    "USERS",
    "PEERS",
    "CLIENTS",
    "SERVERS",
    "SOCKETS",
    "ACTIVE_SOCKETS",
    "LISTS",
    "MEM",
    "STATE",
    "STATS",
    "STATS_TOTALS",
    "STATS_AVERAGES",
    "TOTALS",
    "DNS_HOSTS",
    "DNS_ZONES",
    "FDS",
    "VERSION",
];
/// Our own.
const OWN: [&str; 3] = ["HELP", "LIMITS", "WAITS"];

fn start(size: u32) -> Bed {
    Bed::start_as(Target::Poolwarden, Plan { size, ..Plan::default() })
}

fn console(address: &Address) -> Wire {
    let login = Login { database: "pgbouncer".to_string(), ..bed::login() };
    Wire::connect(address, &login).expect("the console")
}

/// Names and type oids of a table's columns; `None` where there is no such table.
fn header(wire: &mut Wire, table: &str) -> Option<Vec<(String, u32)>> {
    wire.send(&Say::new().query(&format!("SHOW {table}")).bytes).expect("sent");
    let messages = wire.readies(1).expect("an answer");
    let (_, body) = messages.into_iter().find(|(tag, _)| *tag == b'T')?;
    let mut rest = &body[2..];
    let mut columns = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        let name = String::from_utf8(rest[..end].to_vec()).expect("a name");
        let oid: [u8; 4] = rest[end + 7..end + 11].try_into().expect("four bytes");
        columns.push((name, u32::from_be_bytes(oid)));
        rest = &rest[end + 19..];
    }
    Some(columns)
}

/// PgBouncer 1.18's columns that were renamed since, or widened here, with what became of them.
fn since(table: &str, (name, oid): &(String, u32)) -> (String, u32) {
    const INT8: u32 = 20;
    match (table, name.as_str()) {
        ("DATABASES", "reserve_pool") => ("reserve_pool_size".to_string(), *oid),
        ("MEM", "size" | "used" | "free" | "memtotal") => (name.clone(), INT8),
        _ => (name.clone(), *oid),
    }
}

#[test]
fn the_columns_of_an_older_pgbouncer_stand_in_every_table_in_its_order_with_its_types() {
    let _machine = place::machine(false);
    let bed = start(2);
    let other = PgBouncer::start(bed.plan(), bed.server());
    let (mut own, mut theirs) = (console(&bed.address()), console(&Address::Tcp(other.addr())));
    let mut compared = 0;
    for table in TABLES {
        let own = header(&mut own, table).unwrap_or_else(|| panic!("SHOW {table} is missing"));
        let Some(theirs) = header(&mut theirs, table) else { continue }; // newer than that PgBouncer
        compared += 1;
        let mut left = own.iter();
        for column in &theirs {
            let wanted = since(table, column);
            assert!(left.any(|column| *column == wanted), "SHOW {table}: {wanted:?} is not in its place: {own:?}");
        }
    }
    assert!(compared >= 18, "only {compared} tables could be compared");
}

/// Transactions of three statements, single statements, and both through the extended protocol.
const SCRIPTS: [(&str, &str); 4] = [
    ("simple", "begin;\nselect 1;\nselect 2;\ncommit;\n"),
    ("simple", "select 1;\n"),
    ("extended", "begin;\nselect 1;\ncommit;\n"),
    ("extended", "select 1;\n"),
];

#[test]
fn a_known_workload_is_counted_as_pgbouncer_counts_it() {
    let _machine = place::machine(false);
    let bed = start(4);
    let other = PgBouncer::start(bed.plan(), bed.server());
    let place = Place::new("counts");
    let columns = ["total_xact_count", "total_query_count"];
    let counts = |address: &Address| -> [u64; 2] {
        let answer = console(address).query("SHOW STATS").expect("the counts");
        let row = answer.rows.iter().find(|row| row[0].as_deref() == Some("app"));
        columns.map(|column| {
            let at = answer.columns.iter().position(|name| name == column).expect("the column");
            row.map_or(0, |row| row[at].as_ref().expect("a number").parse().expect("a number"))
        })
    };
    for (mode, script) in SCRIPTS {
        let file = place.write("script.sql", script);
        let growth = [bed.address(), Address::Tcp(other.addr())].map(|address| {
            let before = counts(&address);
            let Address::Tcp(tcp) = &address else { panic!("TCP") };
            let mut pgbench = Command::new(programs().join("pgbench"));
            pgbench.args(["-n", "-c", "3", "-t", "20", "-M", mode, "-f"]).arg(&file).env("PGPASSWORD", PASSWORD);
            pgbench.args(["-h", &tcp.ip().to_string(), "-p", &tcp.port().to_string(), "-U", "app", "app"]);
            child::run(&mut pgbench);
            // A client's last transaction is counted when its connection is back, a moment after its end.
            until("the counts to be whole", PATIENCE, || (counts(&address)[0] - before[0] >= 60).then_some(()));
            let after = counts(&address);
            [after[0] - before[0], after[1] - before[1]]
        });
        assert_eq!(growth[0], growth[1], "{mode} {script:?}: transactions and queries, here and in PgBouncer");
    }
}

#[test]
fn debians_exporter_reads_it() {
    let _machine = place::machine(false);
    let bed = start(7);
    let mut holder = bed.client();
    holder.query("begin").expect("lent");
    let (port, address) = (Port::claim(), bed.addr());
    let place = Place::new("exporter");
    let program = std::path::Path::new("/usr/bin/prometheus-pgbouncer-exporter");
    assert!(program.exists(), "install the package prometheus-pgbouncer-exporter: scripts/setup.sh test");
    let mut command = child::command(child::Who::Myself, "KILL", program);
    command.args(["--host", "127.0.0.1", "--port", &port.number.to_string(), "--pgbouncer-user", "app"]);
    command.args(["--pgbouncer-host", "127.0.0.1", "--pgbouncer-port", &address.port().to_string()]);
    command.env("PGPASSWORD", PASSWORD);
    child::log_to(&mut command, &place.path().join("log"));
    let mut exporter = child::spawn(&mut command);
    let listening = std::net::SocketAddr::from(([127, 0, 0, 1], port.number));
    until("the exporter to listen", PATIENCE, || {
        let ended = exporter.try_wait().expect("a child");
        assert!(ended.is_none(), "the exporter gave up:\n{}", place.tail("log", 20));
        std::net::TcpStream::connect(listening).ok()
    });
    let metrics = http_get(listening, "/metrics");
    for line in [
        "pgbouncer_active_clients{database=\"app\",user=\"app\"} 1.0",
        "pgbouncer_waiting_clients{database=\"app\",user=\"app\"} 0.0",
        "pgbouncer_pool_size{database=\"app\"} 7.0",
        "pgbouncer_pools 1.0",
        "pgbouncer_requests_total{database=\"app\"}",
    ] {
        assert!(metrics.lines().any(|said| said.starts_with(line)), "no {line} in\n{metrics}");
    }
    child::signal(child::pid(&exporter), rustix::process::Signal::KILL);
    exporter.wait().expect("it ended");
}

#[test]
fn psql_and_python_drivers_speak_to_it() {
    let _machine = place::machine(false);
    let bed = start(2);
    let address = bed.addr();
    let mut psql = Command::new(programs().join("psql"));
    psql.args(["-X", "-A", "-t", "-h", "127.0.0.1", "-p", &address.port().to_string(), "-U", "app", "pgbouncer"]);
    psql.args(["-c", "SHOW VERSION;", "-c", "show client_encoding", "-c", "SET extra_float_digits = 3"]);
    psql.args(["-c", "select 1", "-c", "SHOW STATE"]).env("PGPASSWORD", PASSWORD);
    let said = child::run(&mut psql);
    assert!(said.starts_with("poolwarden ") && said.contains("UTF8\nSET\n1\nactive|yes\n"), "{said}");
    let url = format!("postgresql://app:{PASSWORD}@{address}/pgbouncer");
    for script in [PSYCOPG, ASYNCPG] {
        let mut python = Command::new(client::installed("python/bin/python"));
        python.args(["-B", "-c", script, &url]);
        assert_eq!(child::run(&mut python), "served\n", "{script}");
    }
}

/// Its own `begin`, the extended protocol in text and in binary, an error in the middle.
const PSYCOPG: &str = r#"
import decimal, psycopg, sys
with psycopg.connect(sys.argv[1]) as connection:
    rows = connection.execute("SHOW POOLS").fetchall()
    connection.commit()
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        cursor.execute("SHOW LISTS")
        assert all(isinstance(name, str) and isinstance(items, int) for name, items in cursor.fetchall())
        cursor.execute("SHOW STATS")
        assert all(isinstance(value, decimal.Decimal) for row in cursor.fetchall() for value in row[1:])
    try:
        connection.execute("SHOW NONSENSE")
        raise SystemExit("no error")
    except psycopg.errors.SyntaxError as error:
        assert "SHOW HELP" in error.diag.message_hint, error.diag.message_hint
    assert connection.execute("RELOAD").statusmessage == "RELOAD"
print("served")
"#;

/// Named statements, everything in binary.
const ASYNCPG: &str = r#"
import asyncio, asyncpg, sys
async def main():
    connection = await asyncpg.connect(sys.argv[1])
    for _ in range(3):
        rows = await connection.fetch("SHOW DATABASES")
        assert rows[0]["name"] == "app" and rows[0]["pool_size"] == 2, rows
    assert await connection.fetchval("SHOW VERSION")
    assert await connection.execute("RELOAD") == "RELOAD"
    await connection.close()
asyncio.run(main())
print("served")
"#;

#[test]
fn pgjdbc_speaks_to_it_in_both_query_modes() {
    let _machine = place::machine(false);
    let bed = start(2);
    let place = Place::new("jdbc");
    let source = place.write("Console.java", JAVA);
    for mode in ["simple", "extended", "extendedForPrepared"] {
        let url = format!("jdbc:postgresql://{}/pgbouncer?preferQueryMode={mode}", bed.addr());
        let mut java = Command::new("java");
        java.args(["-XX:TieredStopAtLevel=1", "-cp", "/usr/share/java/postgresql.jar"]).arg(&source);
        java.args([&url, "app", PASSWORD]);
        assert_eq!(child::run(&mut java), "served\n", "{mode}");
    }
}

const JAVA: &str = r#"
import java.sql.*;
public class Console {
    public static void main(String[] arguments) throws Exception {
        try (Connection connection = DriverManager.getConnection(arguments[0], arguments[1], arguments[2]);
             Statement statement = connection.createStatement()) {
            try (ResultSet rows = statement.executeQuery("SHOW DATABASES")) {
                if (!rows.next() || rows.getInt("pool_size") != 2) throw new Exception("no pool size");
                if (!(rows.getObject("pool_size") instanceof Integer)) throw new Exception("not an int4");
            }
            try (ResultSet rows = statement.executeQuery("SHOW STATS_TOTALS")) {
                while (rows.next()) rows.getBigDecimal("xact_count").longValueExact();
            }
            statement.execute("RELOAD");
            if (!connection.isValid(5)) throw new Exception("not valid");
            System.out.println("served");
        }
    }
}
"#;

#[tokio::test(flavor = "current_thread")]
async fn tokio_postgres_speaks_to_it() {
    let bed = start(2);
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(bed.addr().port()).user("app").password(PASSWORD).dbname("pgbouncer");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("connected");
    let driving = tokio::spawn(connection);
    let rows = client.query("SHOW DATABASES", &[]).await.expect("rows");
    assert_eq!((rows[0].get::<_, &str>("name"), rows[0].get::<_, i32>("pool_size")), ("app", 2));
    let lists = client.prepare("SHOW LISTS").await.expect("prepared");
    for _ in 0..2 {
        assert!(client.query(&lists, &[]).await.expect("rows").len() > 10);
    }
    client.execute("RELOAD", &[]).await.expect("a command");
    let refused = client.query("SHOW NONSENSE", &[]).await.expect_err("no such table");
    assert_eq!(refused.code().map(tokio_postgres::error::SqlState::code), Some("42601"));
    drop(client);
    driving.await.expect("ended").expect("in peace");
}

#[test]
fn pause_closes_every_server_connection_so_that_a_database_can_be_dropped() {
    let _machine = place::machine(false);
    let bed = start(3);
    let mut held = bed.client();
    held.query("begin").expect("lent");
    bed.client().query("select 1").expect("another connection");
    let pausing = thread::spawn({
        let mut console = bed.console();
        move || console.query("PAUSE").expect("paused").notices
    });
    until("the pause", PATIENCE, || (bed.show("STATE")[1]["value"] == "yes").then_some(()));
    held.query("commit").expect("the transaction ends");
    assert_eq!(pausing.join().expect("answered"), []);
    assert_eq!(bed.postgres.backends().len(), 0, "connections are left open");
    bed.console().query("RESUME").expect("resumed");
    assert_eq!(held.query("select 2").expect("served again").value(), "2");
}

#[test]
fn wait_close_answers_when_what_reconnect_replaces_is_gone() {
    let _machine = place::machine(false);
    let bed = start(2);
    let mut held = bed.client();
    held.query("begin").expect("lent");
    assert!(bed.console().query("WAIT_CLOSE app").is_ok(), "nothing is to be closed");
    bed.console().query("RECONNECT").expect("begun");
    assert!(bed.show("SERVERS").iter().all(|row| row["close_needed"] == "1"), "{:?}", bed.show("SERVERS"));
    let mut waiting = bed.console();
    waiting.send(&Say::new().query("WAIT_CLOSE").bytes).expect("sent");
    assert!(waiting.silent_for(Duration::from_millis(200)), "answered while the connection is held");
    held.query("commit").expect("given back");
    waiting.answer().expect("closed");
    assert!(bed.show("SERVERS").iter().all(|row| row["close_needed"] == "0"));
}

#[test]
fn kill_client_ends_the_one_it_names() {
    let _machine = place::machine(false);
    let bed = start(2);
    let (mut one, mut other) = (bed.client(), bed.client());
    for wire in [&mut one, &mut other] {
        wire.query("select 1").expect("served");
    }
    let port = one.local_port().to_string();
    let row = bed.show("CLIENTS").into_iter().find(|row| row["port"] == port).expect("its row");
    bed.console().query(&format!("KILL_CLIENT {}", row["id"])).expect("killed");
    assert_eq!(one.last_words(), "E(FATAL 57P01)");
    assert_eq!(other.query("select 2").expect("undisturbed").value(), "2");
    match bed.console().query(&format!("KILL_CLIENT {}", row["id"])) {
        Err(Fault::Server(notice)) => assert_eq!(notice.code, "42704", "{}", notice.message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn suspend_lends_nothing_and_cuts_nobody_off() {
    let _machine = place::machine(false);
    let bed = start(2);
    let mut waiting = bed.client();
    waiting.query("select 1").expect("served");
    bed.console().query("SUSPEND").expect("suspended");
    let states: BTreeMap<_, _> =
        bed.show("STATE").into_iter().map(|row| (row["key"].clone(), row["value"].clone())).collect();
    assert_eq!((states["suspended"].as_str(), states["active"].as_str()), ("yes", "no"));
    waiting.send(&Say::new().query("select 2").bytes).expect("sent");
    assert!(waiting.silent_for(Duration::from_millis(200)), "served while suspended");
    bed.console().query("RESUME").expect("resumed");
    assert_eq!(waiting.answer().expect("served").value(), "2");
}

#[test]
fn set_changes_a_live_setting_until_the_next_reload_and_refuses_what_needs_a_restart() {
    let _machine = place::machine(false);
    let bed = start(2);
    let size = || bed.show("DATABASES")[0]["pool_size"].clone();
    bed.console().query("SET pools.app.size = 5").expect("set");
    assert_eq!(size(), "5");
    bed.console().query("SET pools.app.max_wait TO '3s'").expect("set");
    assert_eq!(size(), "5", "one SET does not take another back");
    let refused = |sql: &str| match bed.console().query(sql) {
        Err(Fault::Server(notice)) => notice.message,
        other => panic!("{sql}: {other:?}"),
    };
    let restart = refused("SET listen.http = 'off'");
    assert!(restart.contains("listen.http waits for a restart"), "{restart}");
    let unknown = refused("SET pools.app.sise = 5");
    assert!(unknown.contains("sise"), "{unknown}");
    bed.console().query("RELOAD").expect("reloaded");
    assert_eq!(size(), "2", "the file holds again");
}

#[test]
fn every_table_answers_within_a_second_while_the_pool_is_exhausted() {
    let _machine = place::machine(false);
    let bed = start(1);
    let mut holder = bed.client();
    holder.query("begin").expect("the only connection");
    let mut waiting: Vec<Wire> = (0..200).map(|_| bed.client()).collect();
    for wire in &mut waiting {
        wire.send(&Say::new().query("select 1").bytes).expect("sent");
    }
    until("all to wait", PATIENCE, || (bed.pool("cl_waiting") == 200).then_some(()));
    for table in TABLES.into_iter().chain(OWN) {
        let asked = Instant::now();
        let rows = bed.show(table);
        assert!(asked.elapsed() < Duration::from_secs(1), "SHOW {table} with its login took {:?}", asked.elapsed());
        for row in &rows {
            assert!(!row.values().any(|value| value.contains(PASSWORD)), "SHOW {table} tells a secret");
        }
    }
    let received = |row: &BTreeMap<String, String>| row["pkt_avail"].parse::<u64>().expect("a number");
    let sockets = bed.show("SOCKETS");
    assert_eq!(sockets.iter().filter(|row| row["state"] == "cl_waiting" && received(row) > 0).count(), 200);
    for verb in ["SET pools.app.max_wait = '30s'", "RELOAD", "DISABLE app", "ENABLE app", "RECONNECT"] {
        let asked = Instant::now();
        bed.console().query(verb).unwrap_or_else(|e| panic!("{verb}: {e}"));
        assert!(asked.elapsed() < Duration::from_secs(1), "{verb} took {:?}", asked.elapsed());
    }
    holder.query("commit").expect("given back");
}

#[test]
fn sessions_are_bounded_the_last_are_the_admins_and_an_ended_one_gives_its_place_back() {
    let plan = Plan::default().edit("admins = [\"app\"]", "readers = [\"*\"]");
    let bed = Bed::start_as(Target::Poolwarden, plan.auth("method = \"trust\""));
    let socket = Address::Unix(bed.pooler().expect("poolwarden").unix().expect("a unix socket").to_path_buf());
    let enter = |address: &Address| {
        let login = Login { database: "pgbouncer".to_string(), ..bed::login() };
        Wire::connect(address, &login)
    };
    let refused = |address: &Address| match enter(address) {
        Err(Fault::Server(notice)) => notice,
        Err(fault) => panic!("{fault}"),
        Ok(_) => panic!("it is let in"),
    };
    let mut readers: Vec<Wire> = (0..240).map(|_| enter(&bed.address()).expect("a reader")).collect();
    let told = refused(&bed.address());
    assert_eq!((told.code.as_str(), told.message.contains("240 of 240")), ("53300", true), "{told:?}");
    let mut admins: Vec<Wire> = (0..16).map(|_| enter(&socket).expect("an admin, from its own user")).collect();
    let told = refused(&socket);
    assert_eq!((told.code.as_str(), told.message.contains("256 of 256")), ("53300", true), "{told:?}");
    assert!(!readers[0].query("SHOW POOLS").expect("answers").columns.is_empty());
    let login = Login { database: "app".to_string(), ..bed::login() };
    let mut client = Wire::connect(&bed.address(), &login).expect("clients have places of their own");
    assert_eq!(client.query("select 1").expect("an answer").value(), "1");
    drop(admins.pop());
    until("the place to be free", PATIENCE, || enter(&socket).ok());
}
