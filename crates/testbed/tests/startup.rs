//! Start-up parameters: what PostgreSQL takes is in force from the first statement on, what it refuses ends the login in its words.

use std::time::Duration;

use poolwarden_testbed::bed::login;
use poolwarden_testbed::wire::Address;
use poolwarden_testbed::{Bed, Fault, Mode, Plan, Target, Wire, place};

type Parameters = &'static [(&'static str, &'static str)];

/// What PostgreSQL takes, and what to ask it for then.
const TAKEN: &[(Parameters, &[&str])] = &[
    (&[], &["work_mem", "search_path", "TimeZone"]),
    (&[("DateStyle", "german")], &["DateStyle"]),
    (&[("datestyle", "ISO, DMY"), ("TimeZone", "Europe/Paris")], &["DateStyle", "TimeZone"]),
    (&[("client_encoding", "latin1")], &["client_encoding"]),
    (&[("application_name", "")], &["application_name"]),
    (&[("application_name", "caf\u{e9}")], &["application_name"]),
    (&[("extra_float_digits", "3"), ("search_path", "pg_catalog, public")], &["extra_float_digits", "search_path"]),
    (&[("options", "-c work_mem=7MB --geqo=off -c my.own=it\\ is")], &["work_mem", "geqo", "my.own"]),
    (&[("default_transaction_read_only", "1")], &["default_transaction_read_only", "transaction_read_only"]),
    (&[("IntervalStyle", "iso_8601"), ("my.other", "x")], &["intervalstyle", "my.other"]),
];

/// What PostgreSQL refuses.
const REFUSED: &[Parameters] = &[
    &[("DateStyle", "nonsense")],
    &[("no_such_setting", "1")],
    &[("work_mem", "banana")],
    &[("max_connections", "5")],
    &[("client_encoding", "klingon")],
    &[("TimeZone", "Mars/Olympus")],
    &[("options", "-c statement_timeout=abc")],
    &[("log_statement", "all")],
];

fn direct(bed: &Bed, more: Parameters) -> Result<Wire, Fault> {
    Wire::connect_with(&Address::Tcp(bed.postgres.address()), &login(), more)
}

fn pooled(bed: &Bed, more: Parameters) -> Result<Wire, Fault> {
    Wire::connect_with(&bed.address(), &login(), more)
}

/// What was reported last of each parameter, without those that every connection has its own of.
fn reported(wire: &Wire) -> std::collections::BTreeMap<String, String> {
    wire.parameters.iter().cloned().collect()
}

fn shown(wire: &mut Wire, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| wire.query(&format!("show {name}")).expect("shown").value()).collect()
}

#[test]
fn what_the_server_takes_is_told_and_in_force_as_on_a_connection_of_ones_own() {
    let _machine = place::machine(false);
    for mode in [Mode::Transaction, Mode::Session] {
        let bed = Bed::start_as(Target::Poolwarden, Plan { mode, size: 3, ..Plan::default() });
        bed.postgres
            .sql("alter role app set work_mem = '9MB'; alter role app in database app set search_path = 'public'");
        for round in 0..2 {
            for (parameters, names) in TAKEN {
                let (mut own, mut through) = match (direct(&bed, parameters), pooled(&bed, parameters)) {
                    (Ok(own), Ok(through)) => (own, through),
                    (own, through) => panic!("{parameters:?}: direct {own:?}, pooled {through:?}"),
                };
                assert_eq!(reported(&through), reported(&own), "round {round}, {mode:?}: {parameters:?}");
                assert_eq!(
                    shown(&mut through, names),
                    shown(&mut own, names),
                    "round {round}, {mode:?}: {parameters:?}"
                );
            }
        }
    }
}

#[test]
fn what_the_server_refuses_ends_the_login_in_its_words_and_costs_no_connection() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 1, ..Plan::default() });
    let before = bed.client().query("select pg_backend_pid()").expect("served").value();
    for parameters in REFUSED {
        match (direct(&bed, parameters), pooled(&bed, parameters)) {
            (Err(Fault::Server(own)), Err(Fault::Server(through))) => {
                let words = |notice: &poolwarden_testbed::wire::Notice| {
                    (notice.severity.clone(), notice.code.clone(), notice.message.clone())
                };
                assert_eq!(words(&through), words(&own), "{parameters:?}");
            }
            (own, through) => panic!("{parameters:?}: direct {own:?}, pooled {through:?}"),
        }
    }
    let mut after = bed.client();
    assert_eq!(after.query("select pg_backend_pid()").expect("served").value(), before);
    assert_eq!(shown(&mut after, &["DateStyle"]), ["ISO, MDY"]);
}

#[test]
fn what_works_at_a_connections_start_alone_is_refused_with_the_way_out() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan::default());
    match pooled(&bed, &[("ignore_system_indexes", "on")]) {
        Err(Fault::Server(notice)) => {
            assert_eq!(notice.code, "55P02");
            assert_eq!(notice.message, "parameter \"ignore_system_indexes\" cannot be set after connection start");
            assert!(notice.hint.contains("ALTER ROLE"), "{}", notice.hint);
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn settings_that_were_good_once_need_no_connection_at_the_next_login() {
    let _machine = place::machine(false);
    let plan = Plan { size: 1, max_wait: Duration::from_secs(1), ..Plan::default() };
    let bed = Bed::start_as(Target::Poolwarden, plan);
    let known: Parameters = &[("DateStyle", "german"), ("search_path", "pg_catalog")];
    drop(pooled(&bed, known).expect("proven"));
    let mut holder = bed.client();
    holder.query("begin").expect("the only connection");
    let again = pooled(&bed, known).expect("known to be good");
    assert_eq!(reported(&again)["DateStyle"], "German, DMY");
    match pooled(&bed, &[("search_path", "public")]) {
        Err(Fault::Server(notice)) => assert_eq!((notice.severity.as_str(), notice.code.as_str()), ("FATAL", "53300")),
        other => panic!("not refused: {other:?}"),
    }
    // After a RECONNECT nothing is known of the servers any more.
    bed.console().query("RECONNECT app").expect("done");
    match pooled(&bed, known) {
        Err(Fault::Server(notice)) => assert_eq!(notice.code, "53300"),
        other => panic!("not refused: {other:?}"),
    }
    holder.query("commit").expect("undisturbed");
    drop(pooled(&bed, known).expect("proven anew"));
}
