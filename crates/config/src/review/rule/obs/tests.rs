//! Constants and conditions that a fixture does not pin from both sides.

use super::{labels, metrics};
use crate::review::dossier::Facts;
use crate::review::source::promql::Expr;
use crate::review::{Finding, Input, gather, review};

const INI: &str = "[databases]\nshop = host=db dbname=shop\n\n[pgbouncer]\nauth_type = trust\ndefault_pool_size = 20\n";
const WEB: &str =
    "[[topology.app]]\nname = \"web\"\npool = \"shop\"\nreplicas = 2\npool_size = 10\nrequest_timeout = \"30s\"\n";
const WAITING: &str = "pgbouncer_pools_client_waiting_connections > 10";
const FULL: &str = "pgbouncer_databases_current_connections / pgbouncer_databases_pool_size > 0.9";

/// What a rule says of a PgBouncer, an application that waits 30 s, alerts, and what else is told.
fn of(code: &str, files: &[(&str, &str)], facts: &[(&str, &str)]) -> Vec<Finding> {
    let file = |(name, text): &(&str, &str)| Input::File { name: (*name).to_owned(), text: (*text).to_owned() };
    let facts = facts.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let told = Input::Facts(Facts { name: "told".to_owned(), facts });
    let inputs: Vec<Input> = files.iter().map(file).chain([told]).collect();
    let of = gather(&inputs, &mut |path| Err(path.to_owned())).dossier;
    review(&of).findings.into_iter().filter(|finding| finding.code == code).collect()
}

fn said(code: &str, ini: &str, alerts: &[(&str, &str)], facts: &[(&str, &str)]) -> Vec<String> {
    let rule = |(expr, hold): &(&str, &str)| format!("  - alert: A\n    expr: {expr}\n    for: {hold}\n");
    let rules: String = alerts.iter().map(rule).collect();
    let rules = format!("groups:\n- rules:\n{rules}");
    let files = [("pgbouncer.ini", ini), ("topology.toml", WEB), ("rules.yml", rules.as_str())];
    of(code, &files, facts).into_iter().map(|finding| finding.message).collect()
}

#[test]
fn labels_of_our_metrics_are_those_of_the_reference() {
    let reference = include_str!("../../../../../../docs/metrics.md");
    for (metric, labels) in metrics::OURS {
        let row = reference.lines().find(|line| line.starts_with(&format!("| `{metric}` |"))).expect(metric);
        let column = row.split('|').nth(3).expect(row);
        let there: Vec<&str> = column.split('`').skip(1).step_by(2).collect();
        assert_eq!(there, labels, "{metric}");
        assert!(labels.iter().all(|label| metrics::is_own(label)), "{metric}");
    }
}

#[test]
fn parts_that_stand_too_deep_are_taken_to_match() {
    let deep = |count: usize| {
        let text = format!("pgbouncer_up / pgbouncer_pools_client_waiting_connections{}", " / 1".repeat(count));
        labels::apart(&Expr::parse(&text).expect("it is well formed")).len()
    };
    assert_eq!([deep(63), deep(64)], [1, 0]);
}

#[test]
fn two_scrapes_fall_into_a_spike_or_it_is_not_seen() {
    let ms = |millis| said("OBS-01", INI, &[(WAITING, "0s")], &[("pgbouncer.scrape_interval_ms", millis)]).len();
    assert_eq!([ms("15000"), ms("15001"), ms("0")], [0, 1, 0]);
    let with = |expr| {
        said("OBS-01", INI, &[(WAITING, "0s"), (expr, "0s")], &[("pgbouncer.scrape_interval_ms", "60000")]).len()
    };
    assert_eq!(with("rate(pgbouncer_stats_totals_client_wait_seconds_total[1m]) > 1"), 0);
    assert_eq!(with("histogram_quantile(0.99, rate(hikaricp_connections_acquire_seconds_bucket[5m])) > 1"), 0);
    assert_eq!(with("rate(rabbitmq_queue_wait_total[5m]) > 1"), 1);
    assert_eq!(with("pgbouncer_pools_client_maxwait_seconds > 1"), 1);
    let none = said("OBS-01", INI, &[("pgbouncer_up == 0", "0s")], &[("pgbouncer.scrape_interval_ms", "60000")]);
    assert!(none.is_empty(), "{none:?}");
}

#[test]
fn the_exporters_job_is_known_by_its_name_or_its_port() {
    let job = |job: &str| {
        let text = format!("scrape_configs:\n- job_name: node\n  scrape_interval: 1s\n- {job}\n");
        let rules = format!("groups:\n- rules:\n  - alert: A\n    expr: {WAITING}\n");
        let files = [("pgbouncer.ini", INI), ("topology.toml", WEB), ("rules.yml", &rules), ("prometheus.yml", &text)];
        of("OBS-01", &files, &[]).len()
    };
    assert_eq!(job("{job_name: PgBouncer-shop}"), 1);
    assert_eq!(job("{job_name: x, static_configs: [{targets: ['a:1', 'h:9127']}]}"), 1);
    assert_eq!(job("{job_name: x, static_configs: [{targets: ['h:19127', 'h:91270']}]}"), 0);
    assert_eq!(job("{job_name: pgbouncer, scrape_interval: 15s}"), 0);
}

#[test]
fn limits_that_are_zero_are_found_wherever_something_is_measured_against_them() {
    let found = |ini: &str, expr: &str| said("OBS-02", ini, &[(expr, "0s")], &[]).len();
    let used = "pgbouncer_databases_current_connections";
    let limit = "pgbouncer_databases_max_connections";
    for expr in [
        format!("{used} / {limit} > 0.9"),
        format!("100 * {used} / {limit}{{name=\"shop\"}} > 90"),
        format!("{used} > {limit} * 0.9"),
        format!("{used} >= 0.9 * {limit}"),
        format!("{limit} - {used} < 5"),
        format!("sum({used}) / sum({limit}) > 0.9"),
        format!("{used} / clamp_min({limit}, 1) > 0.9"),
    ] {
        assert_eq!(found(INI, &expr), 1, "{expr}");
        let other = INI.replace("= 20\n", "= 20\nmax_db_connections = 50\n");
        assert_eq!(found(&other, &expr), 0, "{expr}");
    }
    for expr in [
        format!("{used} / ({limit} > 0) > 0.9"),
        format!("{used} / {limit} > 0.9 and {limit} > 0"),
        format!("{used} / {limit} > 0.9 unless {limit} == 0"),
        format!("{used} / {limit}{{name=\"other\"}} > 0.9"),
        format!("{used} / pgbouncer_databases_pool_size > 0.9"),
        format!("{limit} > 0"),
    ] {
        assert_eq!(found(INI, &expr), 0, "{expr}");
    }
    // of several databases one without a limit is one alert that always fires; their sum is not 0
    let two = INI.replace("\n\n[pgb", "\nother = host=db dbname=other max_db_connections=5\n\n[pgb");
    assert_eq!(found(&two, &format!("{used} / {limit} > 0.9")), 1);
    assert_eq!(found(&two, &format!("sum({used}) / sum({limit}) > 0.9")), 0);
}

#[test]
fn a_written_zero_is_where_the_limit_goes() {
    let ini = INI.replace("= 20\n", "= 20\nmax_user_connections = 0\nreserve_pool_size = 5\n");
    let rules = "groups:\n- rules:\n  - alert: A\n    expr: pgbouncer_used_servers / pgbouncer_config_max_user_connections > 1\n";
    let found = of("OBS-02", &[("pgbouncer.ini", &ini), ("rules.yml", rules)], &[]);
    let [one] = &found[..] else { panic!("{found:?}") };
    let [edit] = &one.fix.edits[..] else { panic!("{one:?}") };
    assert_eq!((edit.new.as_str(), &ini[edit.span.clone()]), ("25", "0"));
}

#[test]
fn an_alert_comes_before_users_give_up_and_never_must_in_less_than_a_minute() {
    let holds = |ini: &str, alerts: &[(&str, &str)]| said("OBS-04", ini, alerts, &[]).len();
    let wait = |wait: &str| INI.replace("= 20\n", &format!("= 20\nquery_wait_timeout = {wait}\n"));
    assert_eq!([holds(INI, &[(WAITING, "60s")]), holds(INI, &[(WAITING, "61s")])], [0, 1]);
    assert_eq!([holds(&wait("2"), &[(WAITING, "60s")]), holds(&wait("2"), &[(WAITING, "61s")])], [0, 1]);
    // the first that comes counts; what is about another database, or can never fire, is none
    assert_eq!(holds(INI, &[(WAITING, "5m"), ("pgbouncer_pools_client_maxwait_seconds > 1", "30s")]), 0);
    assert_eq!(holds(INI, &[(WAITING, "5m"), ("pgbouncer_up == 0", "30s")]), 1);
    let other = "pgbouncer_pools_client_maxwait_seconds{database=\"other\"} > 1";
    assert_eq!(holds(INI, &[(WAITING, "5m"), (other, "30s")]), 1);
    let dead = "pgbouncer_pools_client_active_connections / pgbouncer_config_max_client_connections > 0.9";
    assert_eq!(holds(INI, &[(WAITING, "5m"), (dead, "30s")]), 1);
    assert_eq!(holds(INI, &[("pgbouncer_pools_client_waiting_connections == 0", "5m")]), 0);
}

#[test]
fn an_alert_on_use_has_the_time_until_the_pool_is_full_besides() {
    let full = "pgbouncer_databases_current_connections{name=\"shop\"} > 15";
    let growth = [("pool.shop.busy_p95", "10"), ("pool.shop.busy_growth_1m", "5")];
    let holds = |expr, hold, facts: &[(&str, &str)]| said("OBS-04", INI, &[(expr, hold)], facts).len();
    // ten more connections at five a minute, then 30 s
    assert_eq!([holds(full, "150s", &growth), holds(full, "151s", &growth)], [0, 1]);
    assert_eq!([holds(FULL, "150s", &growth), holds(FULL, "61s", &[])], [0, 1]);
    assert_eq!(holds(WAITING, "150s", &growth), 1);
    assert_eq!(holds(full, "1h", &[growth[0], ("pool.shop.busy_growth_1m", "0")]), 0);
}

#[test]
fn one_client_in_five_may_be_without_a_name_and_few_say_nothing() {
    let of =
        |all, unnamed| of("OBS-05", &[], &[("pgbouncer.clients", all), ("pgbouncer.clients_unnamed", unnamed)]).len();
    assert_eq!([of("100", "20"), of("100", "21"), of("10", "3"), of("9", "9")], [0, 1, 1, 0]);
}

#[test]
fn a_class_that_knows_its_clients_by_name_is_shown() {
    let toml = "[servers.main]\nhost = \"db\"\n\n[classes.batch]\napplications = [\"cron*\"]\n";
    let facts = [("poolwarden.clients", "50"), ("poolwarden.clients_unnamed", "40")];
    let found = of("OBS-05", &[("poolwarden.toml", toml)], &facts);
    assert!(found[0].labels.iter().any(|label| label.text.contains("class")), "{found:?}");
}

#[test]
fn poolwardens_own_rules_are_judged_by_its_limits() {
    let toml =
        "[servers.main]\nhost = \"db\"\n\n[pools.shop]\nserver = \"main\"\n\n[users.shop]\npassword_env = \"S\"\n";
    let holds = |hold: &str| {
        let expr = "sum by (database) (rate(poolwarden_queue_seconds_total[1m])) > 1";
        let rules = format!("groups:\n- rules:\n  - alert: A\n    expr: {expr}\n    for: {hold}\n");
        of("OBS-04", &[("poolwarden.toml", toml), ("rules.yml", &rules)], &[])
    };
    assert!(holds("1m").is_empty());
    let found = holds("2m");
    assert!(matches!(&found[..], [one] if one.fix.text.contains("poolwarden_queue_seconds_total")), "{found:?}");
}
