//! The console against a made-up picture.

use super::*;
use crate::made_up;
use poolwarden_watch::{ProcessState, UsageKind, UsageView, Used};

const ADMIN: Asker = Asker { rights: Rights::Admin, voice: Voice::Own };
const READER: Asker = Asker { rights: Rights::Reader, voice: Voice::Own };
const PGBOUNCERS: Asker = Asker { rights: Rights::Admin, voice: Voice::PgBouncer };

fn sight(view: &View) -> Sight<'_> {
    Sight { view, holders: &[], pools: &[] }
}

fn ask(sql: &str) -> Answer {
    let holders = made_up::why::holders();
    answer(sql, Sight { view: &made_up::view(), holders: &holders, pools: &[] }, ADMIN)
}

fn rows(sql: &str) -> Rows {
    match ask(sql) {
        Answer::Rows { rows, .. } => rows,
        other @ (Answer::Done { .. } | Answer::Do(_) | Answer::Error { .. }) => panic!("{sql}: {other:?}"),
    }
}

fn refused(answer: Answer) -> (&'static str, String, String) {
    match answer {
        Answer::Error { sqlstate, message, hint } => (sqlstate, message, hint.unwrap_or_default()),
        other @ (Answer::Done { .. } | Answer::Do(_) | Answer::Rows { .. }) => panic!("{other:?}"),
    }
}

fn said(row: &Row) -> String {
    row.iter().map(|value| value.as_deref().unwrap_or("-")).collect::<Vec<_>>().join(" ")
}

/// PgBouncer's columns (July 2026) in its order with its letters for their types: s text, i int4, q int8, N numeric, b bytea.
const PGBOUNCER: [(&str, &str, &str); 21] = [
    (
        "POOLS",
        "ssiiiiiiiiiiiiiss",
        "database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active sv_active_cancel \
         sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us pool_mode load_balance_hosts",
    ),
    ("CLIENTS", SOCKET.0, SOCKET.1),
    ("SERVERS", SOCKET.0, SOCKET.1),
    ("SOCKETS", "ssssssisissiiississiqiiiiiii", DEBUG),
    ("ACTIVE_SOCKETS", "ssssssisissiiississiqiiiiiii", DEBUG),
    (
        "STATS",
        "sNNNNNNNNNNNNNNNNNNNNNNNN",
        "database total_server_assignment_count total_xact_count total_query_count total_received total_sent \
         total_xact_time total_query_time total_wait_time total_client_parse_count total_server_parse_count \
         total_bind_count total_client_login_count avg_server_assignment_count avg_xact_count avg_query_count avg_recv \
         avg_sent avg_xact_time avg_query_time avg_wait_time avg_client_parse_count avg_server_parse_count \
         avg_bind_count avg_client_login_count",
    ),
    ("STATS_TOTALS", "sNNNNNNNNNNNN", HALF),
    ("STATS_AVERAGES", "sNNNNNNNNNNNN", HALF),
    ("TOTALS", "sN", "name value"),
    (
        "DATABASES",
        "ssissiiiissiiiiii",
        "name host port database force_user pool_size min_pool_size reserve_pool_size server_lifetime pool_mode \
         load_balance_hosts max_connections current_connections max_client_connections current_client_connections \
         paused disabled",
    ),
    (
        "USERS",
        "ssssiiii",
        "name pool_size reserve_pool_size pool_mode max_user_connections current_connections \
         max_user_client_connections current_client_connections",
    ),
    ("LISTS", "si", "list items"),
    ("CONFIG", "ssss", "key value default changeable"),
    ("MEM", "sqqqq", "name size used free memtotal"), // int4 there, which 2 GiB overflow
    ("STATE", "ss", "key value"),
    ("VERSION", "s", "version"),
    ("PEERS", "isii", "peer_id host port pool_size"),
    ("PEER_POOLS", "iiiii", "peer_id cl_active_cancel_req cl_waiting_cancel_req sv_active_cancel sv_login"),
    ("DNS_HOSTS", "sqs", "hostname ttl addrs"),
    ("DNS_ZONES", "sqi", "zonename serial count"),
    (
        "FDS",
        "issssiqisssssbb",
        "fd task user database addr port cancel link client_encoding std_strings datestyle timezone password \
         scram_client_key scram_server_key",
    ),
];

/// The last one is int4 there, which two thousand million clients overflow.
const SOCKET: (&str, &str) = (
    "ssssssisissiiississiq",
    "type user database replication state addr port local_addr local_port connect_time request_time wait wait_us \
     close_needed ptr link remote_pid tls application_name prepared_statements id",
);
const DEBUG: &str = "type user database replication state addr port local_addr local_port connect_time request_time \
                     wait wait_us close_needed ptr link remote_pid tls application_name prepared_statements id \
                     recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail send_avail";
const HALF: &str = "database server_assignment_count xact_count query_count bytes_received bytes_sent xact_time \
                    query_time wait_time client_parse_count server_parse_count bind_count client_login_count";

/// Behind PgBouncer's columns stand those that it had once and that Debian's exporter still reads.
const FORMER: [(&str, &str); 2] = [("STATS", "total_requests"), ("DATABASES", "reserve_pool")];

const fn letter(kind: Kind) -> char {
    match kind {
        Kind::Text => 's',
        Kind::Bytes => 'b',
        Kind::Int => 'i',
        Kind::Long => 'q',
        Kind::Numeric => 'N',
        Kind::Float => 'f',
        Kind::Bool => 'B',
    }
}

#[test]
fn columns_are_pgbouncers_in_its_order_with_its_types() {
    for (table, letters, columns) in PGBOUNCER {
        let former = FORMER.iter().filter(|(of, _)| *of == table).map(|(_, name)| *name);
        let expected: Vec<_> = columns.split(' ').chain(former).collect();
        let rows = rows(&format!("SHOW {table}"));
        let names: Vec<_> = rows.columns.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, expected, "SHOW {table}");
        let kinds: String = rows.columns.iter().map(|(_, kind)| letter(*kind)).take(letters.len()).collect();
        assert_eq!(kinds, letters, "SHOW {table}");
    }
}

#[test]
fn what_is_shown_is_described_without_a_picture() {
    for (table, ..) in PGBOUNCER {
        let sql = format!("show {table};");
        assert_eq!(describe(&sql, ADMIN), Some(rows(&sql).columns), "{sql}");
    }
    assert_eq!(describe("show clients", READER), None);
    assert_eq!((describe("reload", ADMIN), describe("nonsense", ADMIN), describe("", ADMIN)), (None, None, None));
}

#[test]
fn every_row_of_every_table_has_a_value_of_its_type_per_column() {
    for entry in &CATALOGUE {
        let (Does::Show(_) | Does::Holders) = entry.does else { continue };
        let table = rows(entry.name);
        for row in &table.rows {
            assert_eq!(row.len(), table.columns.len(), "{}", entry.name);
            for (value, (name, kind)) in row.iter().zip(table.columns) {
                let Some(value) = value else { continue };
                let fits = match kind {
                    Kind::Text => true,
                    Kind::Bytes => false,
                    Kind::Int => value.parse::<i32>().is_ok(),
                    Kind::Long | Kind::Numeric => value.parse::<i64>().is_ok(),
                    Kind::Float => value.parse::<f64>().is_ok(),
                    Kind::Bool => value == "t" || value == "f",
                };
                assert!(fits, "{} {name}: {value}", entry.name);
            }
        }
    }
}

#[test]
fn pools_count_clients_and_server_connections() {
    let rows = rows("show pools");
    assert_eq!(said(&rows.rows[0]), "app web 23 17 1 0 3 1 0 0 0 0 0 1 250007 transaction -");
    assert_eq!(said(&rows.rows[1]), "app batch 2 0 0 0 0 0 0 1 0 0 0 0 0 transaction -");
}

#[test]
fn limits_say_which_binds_and_what_to_raise() {
    let rows = rows("show limits");
    assert_eq!(said(&rows.rows[0]), "app web main pool_size 3 20 f pools.app.size -");
    assert_eq!(
        said(&rows.rows[1]),
        "app web main user 3 3 t users.web.max_connections raise users.web.max_connections, or shorten the hold time"
    );
    assert_eq!(said(&rows.rows[2]), "app web main database 5 - f pools.app.max_connections -");
    assert_eq!(said(&rows.rows[3]), "- - - max_clients 42 10000 f limits.max_clients -");
}

#[test]
fn waits_name_the_limit_that_bound() {
    let rows: Vec<_> = rows("show waits").rows.iter().map(said).collect();
    let expected = [
        "app web main user 12.345678 17 0",
        "app web main connects 0.040000 0 0",
        "app web main wait_time 0.000000 0 4",
        "- - - max_clients 0.000000 0 3",
    ];
    assert_eq!(rows, expected);
}

#[test]
fn stats_sum_the_pools_of_a_database_and_divide_afterwards() {
    let stats = rows("show stats");
    assert_eq!(stats.rows.len(), 1);
    assert_eq!(
        said(&stats.rows[0]),
        "app 2400 3600 7200 360000 720000 2400000 480000 360000 240 0 4800 240 \
         20 30 60 3000 6000 666 66 150 2 0 40 2 7200"
    );
    assert_eq!(
        said(&rows("show stats_totals").rows[0]),
        "app 2400 3600 7200 360000 720000 2400000 480000 360000 240 0 4800 240"
    );
    assert_eq!(said(&rows("show stats_averages").rows[0]), "app 20 30 60 3000 6000 666 66 150 2 0 40 2");
    let grand = rows("show totals");
    assert_eq!(
        (grand.rows.len(), said(&grand.rows[1]), said(&grand.rows[13])),
        (24, "total_xact_count 3600".into(), "avg_xact_count 30".into())
    );
}

#[test]
fn clients_and_servers_point_at_each_other() {
    assert_eq!(
        said(&rows("show clients").rows[0]),
        "C web app none active 10.0.0.7 50123 127.0.0.1 6432 2024-08-15 07:59:00 UTC 2024-08-15 07:59:59 UTC 0 0 0 \
         c17 s5 0  shop 2 17"
    );
    assert_eq!(
        said(&rows("show servers").rows[0]),
        "S web app none active 10.0.0.9 5432 10.0.0.1 40000 2024-08-15 07:58:40 UTC 2024-08-15 07:59:59 UTC 0 0 0 \
         s5 c17 8123  shop 2 5"
    );
}

#[test]
fn the_small_tables() {
    assert_eq!(
        said(&rows("show databases").rows[0]),
        "app db.internal 5432 app_production - 20 0 0 3600 transaction - 0 5 0 40 0 0 0"
    );
    assert_eq!(said(&rows("show users").rows[0]), "web   - 3 0 0 0");
    assert_eq!(said(&rows("show config").rows[0]), "pools.app.size 20 20 yes");
    assert_eq!(said(&rows("show version").rows[0]), "poolwarden 0.1.0");
    let lists: Vec<_> = rows("show lists").rows.iter().map(said).collect();
    assert!(lists.contains(&"used_clients 42".to_owned()) && lists.contains(&"used_servers 5".to_owned()));
    let state: Vec<_> = rows("show state").rows.iter().map(said).collect();
    assert_eq!(state, ["active yes", "paused no", "suspended no", "draining no"]);
}

#[test]
fn commands_in_any_case_with_comments_quotes_and_semicolons() {
    let app = || Some("app".to_owned());
    let set = |key: &str, value: &str, quoted| Command::Set { key: key.into(), value: value.into(), quoted };
    let cases = [
        ("RELOAD", Command::Reload),
        ("  reload ; ; ", Command::Reload),
        ("/* now */ Pause -- all\n;", Command::Pause(None)),
        ("PAUSE app;", Command::Pause(app())),
        ("resume \"app\"", Command::Resume(app())),
        ("reconnect", Command::Reconnect(None)),
        ("KILL app", Command::Kill(app())),
        ("disable app", Command::Disable("app".into())),
        ("enable app", Command::Enable("app".into())),
        ("kill_client 17;", Command::KillClient(17)),
        ("Suspend", Command::Suspend),
        ("WAIT_CLOSE", Command::WaitClose(None)),
        ("wait_close app", Command::WaitClose(app())),
        ("SET pools.app.size = 40", set("pools.app.size", "40", false)),
        ("set pools.app.max_wait to '2s';", set("pools.app.max_wait", "2s", true)),
        ("SET verbose=2", set("verbose", "2", false)),
        ("shutdown", Command::Shutdown(Shutdown::Now)),
        ("SHUTDOWN WAIT_FOR_SERVERS", Command::Shutdown(Shutdown::WaitForServers)),
        ("shutdown wait_for_clients", Command::Shutdown(Shutdown::WaitForClients)),
    ];
    for (sql, command) in cases {
        assert_eq!(ask(sql), Answer::Do(command), "{sql}");
    }
}

#[test]
fn what_is_wrong_is_named_with_the_nearest_command() {
    let cases = [
        ("show pool", "42601", "no such command: show pool", "did you mean SHOW POOLS?"),
        ("select * from pg_class", "42601", "no such command: select * from pg_class", "SHOW HELP"),
        ("show", "42601", "no such command: show", "SHOW HELP"),
        ("pause one two", "42601", "PAUSE is written PAUSE [database]", "lend no more"),
        ("show pools app", "42601", "SHOW POOLS is written SHOW POOLS", "clients and server connections"),
        ("disable", "42601", "DISABLE is written DISABLE database", "refuse new clients"),
        ("pause nope", "3D000", "no such database: \"nope\"", "SHOW DATABASES"),
        ("pause 'app'", "42601", "not a database name: 'app'", ""),
        ("reload; pause", "42601", "the console takes one command at a time", "on its own"),
        ("pause \"app", "42601", "unterminated quoted identifier", ""),
        ("set", "42601", "SET is written SET key = value", "change a live setting"),
        ("set pool_mode = a b", "42601", "SET is written SET key = value", ""),
        ("kill_client app", "22023", "not a client's id: app", "SHOW CLIENTS"),
        ("kill_client 99", "42704", "no client has the id 99", "SHOW CLIENTS"),
        ("kill_client", "42601", "KILL_CLIENT is written KILL_CLIENT id", ""),
    ];
    for (sql, sqlstate, message, hint) in cases {
        let said = refused(ask(sql));
        assert_eq!((said.0, said.1.as_str()), (sqlstate, message), "{sql}");
        assert!(said.2.contains(hint), "{sql}: {}", said.2);
    }
}

#[test]
fn readers_see_aggregates_and_command_nothing() {
    let view = made_up::view();
    for entry in &CATALOGUE {
        let sql = entry.usage().replace("[database]", "").replace("database", "app");
        let sql = sql.replace(" id", " 17").replace(" class ", " batch ");
        let sql = sql.replace(" [WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS]", "");
        let open = matches!(answer(&sql, sight(&view), READER), Answer::Rows { .. });
        assert_eq!(open, entry.needs == Rights::Reader, "{sql}");
        if !open {
            let (sqlstate, _, hint) = refused(answer(&sql, sight(&view), READER));
            assert!(sqlstate == "42501" && hint.contains("[console] admins"), "{sql}");
        }
    }
    let closed: Vec<_> = CATALOGUE.iter().filter(|entry| entry.needs == Rights::Admin).map(|e| e.name).collect();
    assert_eq!(
        closed.join(", "),
        "SHOW USAGE, SHOW PINS, SHOW CLIENTS, SHOW SERVERS, SHOW SOCKETS, SHOW ACTIVE_SOCKETS, SHOW FDS, SHOW CONFIG, RELOAD, \
         PAUSE, RESUME, RECONNECT, KILL, DISABLE, ENABLE, KILL_CLIENT, SUSPEND, WAIT_CLOSE, SET, SHED, SHUTDOWN"
    );
}

#[test]
fn pins_name_who_why_and_since_when() {
    let shown = rows("show pins");
    let names: Vec<_> = shown.columns.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.join(" "), "pool user server client addr port application_name pid reason since held_seconds");
    let row: Vec<_> = shown.rows[0].iter().map(|value| value.clone().unwrap_or_default()).collect();
    assert_eq!(
        row.join(" "),
        "app web main c17 10.0.0.7 40017 worker 4711 advisory_lock,listen 2024-08-15 07:59:30 UTC 30.500000"
    );
}

#[test]
fn classes_are_shown_per_pool_with_reasons_in_their_order_and_those_never_seen_without_one() {
    let shown = rows("show classes");
    let refused = shown.columns.iter().filter_map(|(name, _)| name.strip_prefix("refused_"));
    assert_eq!(refused.collect::<Vec<_>>(), poolwarden_watch::pool::Reason::ALL.map(|reason| reason.name()));
    let rows: Vec<_> = shown.rows.iter().map(said).collect();
    assert_eq!(
        rows,
        [
            "- - - default 4 0 0 0 0 0 0 0 0 0 0 0 0 f 0.000000 -",
            "app web main batch 1 0 3 17 1000 4 30 0 200 5 0 3 60 t 12.500000 2024-08-15 08:02:00 UTC",
            "- - - critical 8 1 0 0 0 0 0 0 0 0 0 0 0 f 0.000000 -",
        ]
    );
}

#[test]
fn shedding_is_sent_up_with_its_length_and_a_misspelt_class_is_answered_with_the_nearest() {
    let shed = |class: &str, length: &str| Answer::Do(Command::Shed { class: class.into(), length: length.into() });
    assert_eq!(ask("SHED batch FOR '10m';"), shed("batch", "10m"));
    assert_eq!(ask("shed \"batch\" for '0s'"), shed("batch", "0s"));
    let (sqlstate, message, hint) = refused(ask("shed bacth for '10m'"));
    assert_eq!((sqlstate, message.as_str()), ("42704", "no such class: bacth"));
    assert!(hint.starts_with("did you mean batch?"), "{hint}");
    assert_eq!(refused(ask("shed reporting for '10m'")).2, "the classes are: default, batch, critical");
    for sql in ["shed", "shed batch", "shed batch for 10m", "shed batch until '10m'"] {
        assert_eq!(refused(ask(sql)).1, "SHED is written SHED class FOR '10m'", "{sql}");
    }
}

#[test]
fn select_of_a_table_shows_it() {
    assert_eq!(rows("select pools;"), rows("show pools"));
    assert!(matches!(ask("select nonsense"), Answer::Error { sqlstate: "42601", .. }));
}

#[test]
fn in_pgbouncers_voice_errors_have_its_texts_and_senseless_commands_are_refused() {
    let active = made_up::view();
    let mut paused = made_up::view();
    paused.state = ProcessState::Paused;
    let mut one_paused = made_up::view();
    one_paused.databases[0].paused = true;
    let cases = [
        (&active, "show pool", "42601", "invalid command 'show pool', use SHOW HELP;"),
        (&active, "show pools app", "42601", "invalid command 'SHOW POOLS app', use SHOW HELP;"),
        (&active, "pause nope", "3D000", "no such database: nope"),
        (&active, "disable", "42601", "a database is required"),
        (&active, "kill_client x", "22023", "invalid client pointer supplied"),
        (&active, "kill_client 99", "42704", "client not found"),
        (&active, "resume", "55000", "pooler is not paused/suspended"),
        (&active, "resume app", "55000", "database app is not paused"),
        (&paused, "pause", "55000", "already suspended/paused"),
        (&paused, "kill app", "55000", "already suspended/paused"),
        (&paused, "suspend", "55000", "already suspended/paused"),
        (&one_paused, "suspend", "55000", "cannot suspend with paused databases"),
    ];
    for (view, sql, sqlstate, message) in cases {
        let said = refused(answer(sql, sight(view), PGBOUNCERS));
        assert_eq!((said.0, said.1.as_str()), (sqlstate, message), "{sql}");
    }
    let reader = Asker { rights: Rights::Reader, ..PGBOUNCERS };
    assert_eq!(refused(answer("reload", sight(&active), reader)).1, "admin access needed: RELOAD");
    assert_eq!(answer("resume", sight(&paused), PGBOUNCERS), Answer::Do(Command::Resume(None)));
    assert_eq!(answer("resume app", sight(&one_paused), PGBOUNCERS), Answer::Do(Command::Resume(Some("app".into()))));
    assert_eq!(answer("resume", sight(&active), ADMIN), Answer::Do(Command::Resume(None)), "natively it does no harm");
}

#[test]
fn sockets_count_what_waits_and_descriptors_stay_inside() {
    let sockets: Vec<_> = rows("show sockets").rows.iter().map(said).collect();
    assert!(sockets[0].contains(" none cl_active ") && sockets[0].ends_with(" 0 0 0 0 0 64 0"), "{}", sockets[0]);
    assert!(sockets[2].contains(" none sv_active ") && sockets[2].ends_with(" 0 0 0 0 0 0 0"), "{}", sockets[2]);
    assert_eq!(rows("show active_sockets").rows.len(), 3);
    let fds: Vec<_> = rows("show fds").rows.iter().map(said).collect();
    assert_eq!(fds[0], "- client web app 10.0.0.7 50123 - - UTF8 - - UTC - - -");
    assert_eq!(fds[2], "- server web app 10.0.0.9 5432 - - UTF8 - - UTC - - -");
}

#[test]
fn drivers_probes_are_answered() {
    let one = |sql: &str| said(&rows(sql).rows[0]);
    assert_eq!(one("SHOW client_encoding"), "UTF8");
    assert_eq!(one("show DateStyle;"), "ISO, MDY");
    assert_eq!(one("SHOW TIME ZONE"), "UTC");
    assert_eq!(one("show transaction isolation level"), "read committed");
    assert_eq!(one("SELECT 1"), "1");
    assert_eq!(one("show server_version"), "15.0");
    assert_eq!(one("SHOW extra_float_digits"), "1");
    assert_eq!(one("select current_schema()"), "public");
    assert!(one("select pg_catalog.version()").contains("poolwarden 0.1.0"));
    assert!(matches!(ask("select 1"), Answer::Rows { tag, .. } if tag == "SELECT 1"));
    let done = |tag: &str| Answer::Done { tag: tag.to_owned() };
    assert_eq!(ask("set extra_float_digits = 3"), done("SET"));
    assert_eq!(ask("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"), done("SET"));
    assert_eq!(ask("SET application_name TO 'psql'"), done("SET"));
    assert_eq!(ask("BEGIN"), done("BEGIN"));
    assert_eq!(ask("commit;"), done("COMMIT"));
    assert_eq!(ask("DISCARD ALL"), done("DISCARD"));
    for empty in ["", " ; ", "-- ping"] {
        assert_eq!(ask(empty), done(""));
    }
}

#[test]
fn holders_say_who_what_and_how_long_and_readers_see_no_statement() {
    let shown = rows("show holders");
    let names: Vec<_> = shown.columns.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names.join(" "),
        "conn pool user server application_name client addr port age_ms state idle_in_transaction_ms pid blocked_by \
         stuck route query"
    );
    let lines: Vec<_> = shown.rows.iter().map(said).collect();
    let statement = "select * from orders where customer = $1 for update";
    assert_eq!(
        lines[0],
        format!("5 app web main migrate c17 10.0.0.7 40005 3700000 idle_in_transaction 3330000 8123  t - {statement}")
    );
    assert!(lines[1].contains(" 8124 8123 f /checkout select"), "{}", lines[1]);
    let holders = made_up::why::holders();
    let view = made_up::view();
    let Answer::Rows { rows, .. } =
        answer("SHOW HOLDERS", Sight { view: &view, holders: &holders, pools: &[] }, READER)
    else {
        panic!("readers may look")
    };
    assert!(rows.rows.iter().all(|row| row[15].is_none() && row[14].is_some() == (row[4].as_deref() == Some("shop"))));
    assert_eq!(describe("show holders", READER), Some(rows.columns));
}

#[test]
fn forecasts_say_when_and_why_or_why_not() {
    let (_, why) = made_up::why::situations().into_iter().find(|(name, _)| *name == "it_comes_to_its_end").unwrap();
    let view = made_up::view();
    let Answer::Rows { rows, .. } =
        answer("show forecast", Sight { view: &view, holders: &[], pools: &why.pools }, READER)
    else {
        panic!("readers may look")
    };
    let lines: Vec<_> = rows.rows.iter().map(said).collect();
    assert!(lines[0].starts_with("app web main 1.00 742.0 601.0 980.0 demand_growth pool_size 12.8 of 20 connections"));
    assert!(lines[0].ends_with(
        "; next: raise pools.app.size to 42 (now 20), which is enough for another hour of this, or shed what can wait"
    ));
    assert_eq!(lines[1], "calm00 web main 9.50 - - - - - nothing rises");
    assert_eq!(describe("show forecast", READER), Some(rows.columns));
}

#[test]
fn usage_says_who_used_most_and_adds_up_the_rest() {
    let mut view = made_up::view();
    let one = view.usage[0].clone();
    let used = |held_us| Used { leases: 1, held_us, waited_us: 2_000, ..Used::default() };
    let route = |at: u64| UsageView {
        kind: UsageKind::Route,
        name: Some(format!("/route{at}")),
        used: used(at * 1_000),
        ..one.clone()
    };
    view.usage.extend((0..30).map(route));
    view.usage.push(UsageView { kind: UsageKind::Route, name: None, used: used(5_000), ..one.clone() });
    let query = "select * from stock where id = ?".to_owned();
    view.usage.push(UsageView { kind: UsageKind::Query, name: Some("0a1b".into()), query, used: used(7_000), ..one });
    let Answer::Rows { rows, .. } = answer("SHOW USAGE", Sight { view: &view, holders: &[], pools: &[] }, ADMIN) else {
        panic!("admins may look")
    };
    let lines: Vec<_> = rows.rows.iter().map(said).collect();
    assert_eq!(lines[0], "app web main application shop 900 9000 0 0 3000 0 81 -");
    assert_eq!(lines[2], "app web main application - 3 0 0 0 500 0 0 -", "everybody else");
    let routes: Vec<_> = lines.iter().filter(|line| line.contains(" route ")).collect();
    assert_eq!(routes.len(), 21);
    assert_eq!(*routes[0], "app web main route /route29 1 29 0 0 2 0 6 -");
    // 0 to 9, and what had no name
    assert_eq!(*routes[20], "app web main route - 11 50 0 0 22 0 11 -");
    assert_eq!(lines.last().unwrap(), "app web main query 0a1b 1 7 0 0 2 0 100 select * from stock where id = ?");
    assert!(matches!(
        answer("SHOW USAGE", Sight { view: &view, holders: &[], pools: &[] }, READER),
        Answer::Error { .. }
    ));
}
