//! Rules about settings of libraries, on applications as readers of files make them.

use crate::review::chain::{App, Bound, Library, Limit};
use crate::review::dossier::Facts;
use crate::review::place::Known;
use crate::review::{Dossier, Input, gather, review};
use std::time::Duration;

const TOPOLOGY: &str =
    "[topology.postgres]\nmax_connections = 100\n\n[[topology.app]]\nname = \"web\"\npool = \"app\"\n";

/// One application, changed by `change`, with what `facts` tell.
fn dossier(facts: &[(&str, &str)], change: impl FnOnce(&mut App)) -> Dossier {
    let file = Input::File { name: "topology.toml".to_owned(), text: TOPOLOGY.to_owned() };
    let mut told = Facts { name: "test".to_owned(), ..Facts::default() };
    told.facts.extend(facts.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    let mut of = gather(&[file, Input::Facts(told)], &mut |path| Err(path.to_owned())).dossier;
    change(&mut of.apps[0]);
    of
}

/// What a rule says of it.
fn said(of: &Dossier, code: &str) -> Vec<String> {
    review(of).findings.into_iter().filter(|finding| finding.code == code).map(|finding| finding.message).collect()
}

fn known<T>(value: T) -> Known<T> {
    Known::written(value, 0, 0..1)
}

fn seconds(seconds: u64) -> Option<Known<Limit>> {
    Some(known(Limit::After(Duration::from_secs(seconds))))
}

fn hikari(written: &[(&str, &str)]) -> Vec<String> {
    let of = dossier(&[], |app| {
        app.library = Library::Hikari;
        app.written = written.iter().map(|(key, value)| ((*key).to_owned(), known((*value).to_owned()))).collect();
    });
    said(&of, "TMO-13")
}

#[test]
fn hikaricps_ranges_hold_from_both_sides() {
    let pool = [("maximumPoolSize", "10"), ("minimumIdle", "2")];
    let cases = [
        ("connectionTimeout", "249", "250"),
        ("validationTimeout", "249", "250"),
        ("maxLifetime", "29999", "30000"),
        ("keepaliveTime", "29999", "30000"),
        ("keepaliveTime", "1800000", "1799999"),
        ("leakDetectionThreshold", "1999", "2000"),
        ("leakDetectionThreshold", "1800001", "1800000"),
        ("idleTimeout", "9999", "10000"),
        ("idleTimeout", "1799001", "1799000"),
        ("spring.datasource.hikari.connection-timeout", "100ms", "2s"),
    ];
    for (key, bad, good) in cases {
        let with = |value: &'static str| hikari(&[pool[0], pool[1], (key, value)]);
        assert_eq!(with(bad).len(), 1, "{key} = {bad}");
        assert_eq!(with(good), Vec::<String>::new(), "{key} = {good}");
        assert_eq!(with("0"), Vec::<String>::new(), "{key} = 0");
    }
}

#[test]
fn an_idle_time_of_a_pool_of_fixed_size_is_a_hint_unless_it_is_the_default() {
    assert_eq!(
        hikari(&[("idleTimeout", "30000")]),
        ["web: idleTimeout = 30000 ms has no effect in a pool of fixed size"]
    );
    assert_eq!(hikari(&[("idleTimeout", "600000")]), Vec::<String>::new());
    assert_eq!(hikari(&[("maxLifetime", "0"), ("keepaliveTime", "3600000")]), Vec::<String>::new());
}

#[test]
fn connections_close_before_what_lies_between_drops_them() {
    let at = |host: &str, keepalive, lifetime| {
        let of = dossier(&[], |app| {
            app.address = Some((host.to_owned(), 5432));
            (app.keepalive, app.lifetime) = (seconds(keepalive), seconds(lifetime));
        });
        said(&of, "TMO-08").len()
    };
    let (balancer, proxy) = ("db.elb.eu-west-1.amazonaws.com", "app.proxy-c9x.eu-west-1.rds.amazonaws.com");
    assert_eq!([at(balancer, 350, 1800), at(balancer, 349, 1800)], [1, 0]);
    assert_eq!([at(proxy, 3600, 1800), at(proxy, 3600, 1799)], [1, 0]);
    assert_eq!(at("db.internal", 3600, 3600), 0);
    let told = |millis| said(&dossier(&[("network.idle_ms", millis)], |app| app.lifetime = seconds(240)), "TMO-08");
    assert_eq!(told("240000").len(), 1);
    assert_eq!(told("241000"), Vec::<String>::new());
}

#[test]
fn pgx_spreads_the_ends_of_connections_only_when_it_is_told() {
    let pgx = |size, jitter: bool| {
        let of = dossier(&[], |app| {
            app.library = Library::Url;
            app.pool_size = Some(known(Bound::Of(size)));
            app.written.insert("pool_max_conns".to_owned(), known(size.to_string()));
            if jitter {
                app.written.insert("pool_max_conn_lifetime_jitter".to_owned(), known("6m".to_owned()));
            }
        });
        said(&of, "TMO-11").len()
    };
    assert_eq!([pgx(21, false), pgx(21, true), pgx(20, false)], [1, 0, 0]);
}

#[test]
fn a_limit_that_the_pooler_drops_is_found_by_its_name_and_by_options() {
    let ini = |ignored: &str| {
        let text = format!("[databases]\napp = host=db\n\n[pgbouncer]\nignore_startup_parameters = {ignored}\n");
        let file = Input::File { name: "pgbouncer.ini".to_owned(), text };
        let mut of = gather(&[file], &mut |path| Err(path.to_owned())).dossier;
        of.apps = dossier(&[], |app| {
            app.startup.insert("statement_timeout".to_owned(), known("5s".to_owned()));
            app.startup.insert("search_path".to_owned(), known("app".to_owned()));
        })
        .apps;
        said(&of, "TMO-07").len()
    };
    assert_eq!(
        [ini("extra_float_digits, options"), ini("Statement_Timeout"), ini("extra_float_digits,search_path")],
        [1, 1, 0]
    );
}

#[test]
fn a_statement_gets_what_waiting_leaves_of_a_request_or_half_of_it() {
    let fix = |request: u64, acquire: u64| {
        let of = dossier(&[("pg.setting.statement_timeout", "0")], |app| {
            app.request_timeout = Some(known(Limit::After(Duration::from_secs(request))));
            app.acquire_timeout = seconds(acquire);
        });
        let found = review(&of).findings.into_iter().find(|finding| finding.code == "TMO-05");
        found.map(|finding| finding.fix.text).unwrap_or_default()
    };
    assert!(fix(30, 10).contains("statement_timeout = '20s'"), "{}", fix(30, 10));
    for acquire in [30, 40] {
        assert!(fix(30, acquire).contains("statement_timeout = '15s'"), "{}", fix(30, acquire));
    }
}
