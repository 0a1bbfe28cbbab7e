//! Files against what runs, where one fixture is not enough.

use crate::review::dossier::Facts;
use crate::review::{Finding, Input, gather, review};

const INI: &str = "[databases]\napp = host=db dbname=app\n\n[pgbouncer]\nlisten_port = 6432\nmax_client_conn = 400\n\
                   default_pool_size = 20\nquery_wait_timeout = 3\nserver_lifetime = 1800\n";

fn facts(name: &str, of: &[(&str, &str)]) -> Input {
    let facts = of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Input::Facts(Facts { name: name.to_owned(), facts })
}

fn said(files: &[(&str, &str)], facts: Vec<Input>, code: &str) -> Vec<Finding> {
    let files = files.iter().map(|(name, text)| Input::File { name: (*name).to_owned(), text: (*text).to_owned() });
    let inputs: Vec<Input> = files.chain(facts).collect();
    let of = gather(&inputs, &mut |path| Err(path.to_owned())).dossier;
    review(&of).findings.into_iter().filter(|finding| finding.code == code).collect()
}

#[test]
fn a_process_belongs_to_the_file_it_agrees_with_most() {
    let other = INI.replace("6432", "6433").replace("= 20", "= 50");
    let files = [("a/pgbouncer.ini", INI), ("b/pgbouncer.ini", other.as_str())];
    let of_b = |size: &'static str| {
        facts(
            "b",
            &[
                ("pgbouncer.config.listen_port", "6433"),
                ("pgbouncer.config.default_pool_size", size),
                ("pgbouncer.config.max_client_conn", "400"),
            ],
        )
    };
    assert!(said(&files, vec![of_b("50")], "EFF-01").is_empty());
    let found = said(&files, vec![of_b("51")], "EFF-01");
    assert!(matches!(&found[..], [one] if one.message.starts_with("b/pgbouncer.ini is not what b runs")), "{found:?}");
    // a tie is nobody's
    assert!(said(&files, vec![facts("x", &[("pgbouncer.config.default_pool_size", "7")])], "EFF-01").is_empty());
}

#[test]
fn a_proposal_is_not_expected_to_run() {
    let told = || vec![facts("live", &[("pgbouncer.config.default_pool_size", "10")])];
    assert_eq!(said(&[("pgbouncer.ini", INI)], told(), "EFF-01").len(), 1);
    assert!(said(&[("pgbouncer.proposed.ini", INI)], told(), "EFF-01").is_empty());
}

#[test]
fn a_line_that_was_taken_out_leaves_its_default() {
    let told = |value| vec![facts("live", &[("pgbouncer.config.max_db_connections", value)])];
    assert_eq!(said(&[("pgbouncer.ini", INI)], told("30"), "EFF-01").len(), 1);
    assert!(said(&[("pgbouncer.ini", INI)], told("0"), "EFF-01").is_empty());
}

#[test]
fn many_differences_are_told_in_part() {
    let keys = [
        "min_pool_size",
        "reserve_pool_size",
        "max_db_connections",
        "max_user_connections",
        "server_idle_timeout",
        "server_connect_timeout",
        "server_login_retry",
        "client_login_timeout",
        "idle_transaction_timeout",
    ];
    let lines: String = keys.iter().map(|key| format!("{key} = 7\n")).collect();
    let told: Vec<(String, &str)> = keys.iter().map(|key| (format!("pgbouncer.config.{key}"), "8")).collect();
    for (count, more) in [(8, false), (9, true)] {
        let told: Vec<(&str, &str)> = told.iter().take(count).map(|(key, value)| (key.as_str(), *value)).collect();
        let found = said(&[("pgbouncer.ini", &format!("{INI}{lines}"))], vec![facts("live", &told)], "EFF-01");
        assert!(
            matches!(&found[..], [one] if one.message.contains("and 1 more") == more && one.labels.len() == 9),
            "{found:?}"
        );
    }
}

#[test]
fn half_a_file_in_force_is_a_reload_that_failed() {
    let torn = |told: &[(&str, &str)]| said(&[("pgbouncer.ini", INI)], vec![facts("live", told)], "EFF-05").len();
    let (held, size, wait) = (
        ("pgbouncer.config.max_client_conn", "400"),
        ("pgbouncer.config.default_pool_size", "5"),
        ("pgbouncer.config.query_wait_timeout", "120"),
    );
    let life = ("pgbouncer.config.server_lifetime", "3600");
    assert_eq!(torn(&[held, wait, life]), 1);
    assert_eq!(torn(&[held, wait]), 0, "one default may be chance");
    assert_eq!(torn(&[held, size, wait, life]), 0, "a value of its own is no default");
    assert_eq!(torn(&[held, wait, ("pgbouncer.config.server_lifetime", "1800")]), 0, "what stands below holds");
}

#[test]
fn differences_between_instances_are_told_up_to_five() {
    let of = |name: &str, count: usize, value: &str| {
        let all: Vec<(String, &str)> = (0..count).map(|n| (format!("pgbouncer.config.k{n}"), value)).collect();
        facts(name, &all.iter().map(|(key, value)| (key.as_str(), *value)).collect::<Vec<_>>())
    };
    for (count, more) in [(5, false), (6, true)] {
        let found = said(&[], vec![of("a", count, "1"), of("b", count, "2"), of("c", count, "2")], "EFF-07");
        assert!(matches!(&found[..], [one] if one.message.contains("and 1 more") == more), "{found:?}");
        assert!(found[0].message.contains("k4 is 1 at a, 2 at b, 2 at c") && found[0].labels[0].text == "1 here");
    }
}

#[test]
fn milliseconds_of_postgresql_are_seconds_below_a_hundred() {
    let of =
        |value: &str| said(&[], vec![facts("pg", &[("pg.role.app.setting.statement_timeout", value)])], "EFF-06").len();
    assert_eq!(["0", "1", "30", "99", "100", "30000"].map(of), [0, 1, 1, 1, 0, 0]);
}

#[test]
fn a_raise_counts_only_where_it_reaches_a_pool() {
    let of = |lines: &str, told: &[(&str, &str)]| {
        said(&[("pgbouncer.proposed.ini", &format!("{INI}{lines}"))], vec![facts("live", told)], "EFF-08").len()
    };
    let size = ("pgbouncer.config.default_pool_size", "10");
    assert_eq!(of("", &[size]), 0, "the size is all there is");
    assert_eq!(of("max_db_connections = 10\n", &[size]), 1, "the database's limit is what there is");
    assert_eq!(
        of("max_db_connections = 20\n", &[size, ("pgbouncer.config.max_db_connections", "10")]),
        0,
        "both together help"
    );
    assert_eq!(of("", &[("pgbouncer.config.default_pool_size", "30")]), 0, "lowering is meant to take away");
    assert_eq!(of("", &[size, ("pool.app.limit_binding", "pg_slots")]), 1);
    assert_eq!(
        of(
            "max_db_connections = 10\n",
            &[("pgbouncer.config.max_db_connections", "5"), ("pool.app.limit_binding", "database")]
        ),
        0
    );
}

#[test]
fn instances_are_those_of_one_file() {
    let other = INI.replace("6432", "6433").replace("= 20", "= 50");
    let told = |name, size| facts(name, &[("pgbouncer.config.default_pool_size", size)]);
    // of neither file: nothing says that they are of one service
    let nobodys = || vec![told("x", "7"), told("y", "8")];
    assert!(said(&[("a/pgbouncer.ini", INI), ("b/pgbouncer.ini", other.as_str())], nobodys(), "EFF-07").is_empty());
    assert_eq!(said(&[("pgbouncer.ini", INI)], nobodys(), "EFF-07").len(), 1);
}

#[test]
fn instances_that_were_not_asked_are_told() {
    let topology = "[topology.pooler]\ninstances = 3\n";
    let unchecked = |told: &[&str]| {
        let files = [("pgbouncer.ini", INI), ("topology.toml", topology)];
        let files = files.map(|(name, text)| Input::File { name: name.to_owned(), text: text.to_owned() });
        let told = told.iter().map(|name| facts(name, &[("pgbouncer.config.default_pool_size", "20")]));
        let of = gather(&files.into_iter().chain(told).collect::<Vec<_>>(), &mut |path| Err(path.to_owned())).dossier;
        review(&of).not_checked.iter().any(|one| one.code == "EFF-07" && !one.of.is_empty())
    };
    assert_eq!([unchecked(&["a"]), unchecked(&["a", "b"])], [true, false]);
}
