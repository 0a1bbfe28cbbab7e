//! The text against a small strict reader of OpenMetrics 1.0, and against lines written by hand.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::made_up;

fn scrape() -> Scrape {
    let (_, why) = made_up::why::situations().swap_remove(3);
    Scrape {
        view: made_up::view(),
        why,
        holders: made_up::why::holders(),
        review: Some(made_up::review().into()),
        standing: made_up::standing(),
        pgbouncer: false,
    }
}

/// One sample: name, labels, value.
type Sample = (String, Vec<(String, String)>, f64);

/// Reads the text as strictly as the specification asks of a producer; panics on any fault.
fn read(text: &str) -> BTreeMap<String, (String, Vec<Sample>)> {
    let mut families = BTreeMap::<String, (String, Vec<Sample>)>::new();
    let mut current: Option<String> = None;
    let mut seen = BTreeSet::new();
    let body = text.strip_suffix("# EOF\n").expect("the text ends with # EOF");
    for line in body.lines() {
        if let Some(meta) = line.strip_prefix("# ") {
            let mut words = meta.splitn(3, ' ');
            let (what, family, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            match what {
                "TYPE" => {
                    let fresh = families.insert(family.to_owned(), (rest.to_owned(), Vec::new())).is_none();
                    assert!(fresh, "{family}: two families of one name");
                    current = Some(family.to_owned());
                }
                "UNIT" => assert!(family.ends_with(&format!("_{rest}")), "{family} does not end in its unit {rest}"),
                "HELP" => assert!(!rest.is_empty()),
                other => panic!("unknown metadata {other}"),
            }
            assert_eq!(current.as_deref(), Some(family), "metadata of another family");
            continue;
        }
        let family = current.clone().expect("a sample follows its family");
        let sample = sample(line);
        assert!(seen.insert((sample.0.clone(), sample.1.clone())), "twice: {line}");
        let (kind, samples) = families.get_mut(&family).unwrap();
        let suffix = sample.0.strip_prefix(&family).expect("a sample carries its family's name");
        let expected = match kind.as_str() {
            "counter" => "_total",
            "gauge" => "",
            "histogram" => "_bucket",
            "info" => "_info",
            other => panic!("unknown type {other}"),
        };
        assert_eq!(suffix, expected, "{line}");
        assert!(kind != "counter" || sample.2 >= 0.0, "{line}");
        samples.push(sample);
    }
    families
}

fn sample(line: &str) -> Sample {
    let name_end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap();
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = Vec::new();
    if let Some(mut inside) = rest.strip_prefix('{') {
        loop {
            let (label, tail) = inside.split_once("=\"").unwrap();
            let (value, tail) = label_value(tail);
            labels.push((label.to_owned(), value));
            if let Some(after) = tail.strip_prefix('}') {
                rest = after;
                break;
            }
            inside = tail.strip_prefix(',').expect("labels are separated by commas");
        }
    }
    let value = rest.strip_prefix(' ').unwrap();
    (name.to_owned(), labels, value.parse().unwrap())
}

fn label_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next().unwrap().1 {
                'n' => value.push('\n'),
                c @ ('\\' | '"') => value.push(c),
                other => panic!("unknown escape {other}"),
            },
            plain => value.push(plain),
        }
    }
    panic!("a label value ends with a quote")
}

#[test]
fn the_text_is_openmetrics_and_every_metric_of_the_catalogue_has_samples_with_its_labels() {
    let families = read(&encode(&scrape()));
    assert_eq!(families.len(), CATALOGUE.len());
    for metric in &CATALOGUE {
        let (kind, samples) = &families[metric.family()];
        assert_eq!(kind, metric.kind.name());
        assert!(!samples.is_empty(), "{} has no sample", metric.name);
        for (_, labels, _) in samples {
            let names: Vec<_> = labels.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "le").collect();
            assert_eq!(names, metric.labels, "{}", metric.name);
        }
    }
}

#[test]
fn buckets_cumulate_up_to_infinity() {
    let families = read(&encode(&scrape()));
    let (_, samples) = &families["poolwarden_checkout_wait_seconds"];
    for buckets in samples.chunks(16) {
        assert!(buckets.is_sorted_by(|a, b| a.2 <= b.2));
        assert_eq!(buckets[15].1.last().unwrap().1, "+Inf");
    }
    let granted: Vec<_> = samples[..16].iter().map(|(_, _, count)| *count).collect();
    assert_eq!((granted[0], granted[4], granted[14], granted[15]), (300.0, 900.0, 900.0, 1000.0));
}

#[test]
fn the_starved_pool_names_its_limit() {
    let text = encode(&scrape());
    let pool = "database=\"app\",user=\"web\",host=\"main\",pool_mode=\"transaction\"";
    let expected = [
        format!("poolwarden_checkouts_total{{{pool},outcome=\"granted\"}} 1000"),
        format!("poolwarden_checkouts_refused_total{{{pool},reason=\"wait_time\"}} 4"),
        format!("poolwarden_queue_seconds_total{{{pool},reason=\"user\"}} 12.345678900"),
        format!("poolwarden_queue_length{{{pool},class=\"batch\"}} 17"),
        format!("poolwarden_sheds_total{{{pool},class=\"batch\",reason=\"overload\"}} 200"),
        format!("poolwarden_would_shed_total{{{pool},class=\"batch\",reason=\"hopeless\"}} 1"),
        format!("poolwarden_retries_total{{{pool},class=\"batch\"}} 60"),
        format!("poolwarden_overloaded{{{pool},class=\"batch\"}} 1"),
        format!("poolwarden_class_server_seconds_total{{{pool},class=\"batch\"}} 12.500000000"),
        "poolwarden_class_shed{class=\"batch\"} 1".to_owned(),
        "poolwarden_class_shed{class=\"critical\"} 0".to_owned(),
        format!("poolwarden_queue_oldest_seconds{{{pool}}} 1.250007000"),
        format!("poolwarden_clients{{{pool},state=\"idle\"}} 20"),
        format!("poolwarden_servers{{{pool},state=\"ending\"}} 1"),
        format!("poolwarden_capacity{{{pool},limit=\"user\"}} 3"),
        format!("poolwarden_capacity_binding{{{pool},limit=\"user\"}} 1"),
        format!("poolwarden_capacity_binding{{{pool},limit=\"pool_size\"}} 0"),
        format!("poolwarden_server_disconnects_total{{{pool},reason=\"idle\"}} 1"),
        format!("poolwarden_checkout_wait_seconds_bucket{{{pool},outcome=\"granted\",le=\"0.0005\"}} 300"),
        "poolwarden_build_info{version=\"0.1.0\"} 1".to_owned(),
        "poolwarden_pg_slots_free{host=\"main\"} 92".to_owned(),
        "poolwarden_client_connections_refused_total{reason=\"max_clients\"} 3".to_owned(),
        "poolwarden_loop_lag_seconds{loop=\"0\"} 0.001500000".to_owned(),
    ];
    for line in expected {
        assert!(text.lines().any(|have| have == line), "{line}");
    }
    let judged = [
        format!("poolwarden_verdict{{{pool},cause=\"user_limit\"}} 1"),
        format!("poolwarden_verdict{{{pool},cause=\"pool_too_small\"}} 0"),
        format!("poolwarden_pool_state{{{pool},state=\"saturated\"}} 1"),
        format!("poolwarden_pool_state{{{pool},state=\"calm\"}} 0"),
        format!("poolwarden_demand{{{pool}}} 20"),
        format!("poolwarden_occupancy_ratio{{{pool}}} 0.15"),
        format!("poolwarden_capacity_effective{{{pool}}} 4"),
        format!("poolwarden_headroom_ratio{{{pool}}} 9.500"),
        format!("poolwarden_time_to_exhaustion_seconds{{{pool},quantile=\"0.5\"}} +Inf"),
        format!("poolwarden_forecast{{{pool},cause=\"leak\"}} 0"),
        "poolwarden_stuck_servers{application=\"migrate\"} 1".to_owned(),
        "poolwarden_stuck_servers{application=\"other\"} 0".to_owned(),
        "poolwarden_application_leases_total{application=\"shop\"} 900".to_owned(),
        "poolwarden_application_held_seconds_total{application=\"unnamed\"} 2.000000000".to_owned(),
        "poolwarden_application_waited_seconds_total{application=\"other\"} 0.500000000".to_owned(),
        "poolwarden_pg_slots{host=\"main\"} 97".to_owned(),
        "poolwarden_pg_lock_waiters{host=\"main\"} 1".to_owned(),
        "poolwarden_pg_backends{host=\"main\",owner=\"own\",state=\"active\"} 1".to_owned(),
        "poolwarden_pg_backends{host=\"main\",owner=\"other\",state=\"other\"} 3".to_owned(),
        "poolwarden_probe_up{probe=\"login\"} 0".to_owned(),
        "poolwarden_probe_answers_total{probe=\"login\",result=\"bad\"} 9".to_owned(),
        "poolwarden_probe_duration_seconds{probe=\"login\"} 0.031000000".to_owned(),
    ];
    for line in judged {
        assert!(text.lines().any(|have| have == line), "{line}");
    }
    assert!(!text.contains(
        "poolwarden_capacity{database=\"app\",user=\"web\",host=\"main\",pool_mode=\"transaction\",limit=\"database\"}"
    ));
}

#[test]
fn hostile_names_stay_inside_their_quotes() {
    let mut view = made_up::view();
    let name = "a\"} 1\n# EOF\n\\é";
    view.hosts[0].snapshot.pools[0].key.database = name.into();
    let families = read(&encode(&Scrape { view, ..scrape() }));
    let (_, samples) = &families["poolwarden_queue_oldest_seconds"];
    assert_eq!(samples[0].1[0].1, name);
}

#[test]
fn series_are_bounded_and_what_is_left_out_is_counted() {
    let mut view = made_up::view();
    let pool = view.hosts[0].snapshot.pools[1].clone();
    view.hosts[0].snapshot.pools = (0..1_000)
        .map(|at| {
            let mut pool = pool.clone();
            pool.id.0 = at;
            pool.key.user = format!("user{at}");
            pool
        })
        .collect();
    let families = read(&encode(&Scrape { view, ..scrape() }));
    assert_eq!(families["poolwarden_queue_oldest_seconds"].1.len(), MAX_POOLS);
    assert_eq!(families["poolwarden_pools_unlisted"].1[0].2, 700.0);
}

#[test]
fn names_are_unique_and_say_their_type_and_unit() {
    let names: BTreeSet<_> = CATALOGUE.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), CATALOGUE.len());
    for metric in &CATALOGUE {
        assert!(metric.name.starts_with("poolwarden_"));
        assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
        assert_eq!(metric.name.ends_with("_info"), metric.kind == Kind::Info, "{}", metric.name);
        for unit in ["seconds", "bytes", "ratio"] {
            let said = metric.family().ends_with(&format!("_{unit}"));
            assert_eq!(said, metric.unit == unit, "{}", metric.name);
        }
    }
}

#[test]
fn applications_beyond_the_largest_are_counted_together_whatever_they_are_called() {
    let mut scrape = scrape();
    let of = scrape.view.usage[0].clone();
    scrape.view.usage = (0..1_000_u64)
        .map(|at| {
            let mut of = of.clone();
            of.name = Some(if at == 7 { OTHER.to_owned() } else { format!("app{at}") });
            of.used.held_us = at;
            of.used.leases = 1;
            of
        })
        .collect();
    let families = read(&encode(&scrape));
    let (_, samples) = &families["poolwarden_application_leases"];
    assert_eq!(samples.len(), MAX_APPLICATIONS + 1);
    assert_eq!(samples[0].1[0].1, "app999");
    let other = samples.last().unwrap();
    assert_eq!((other.1[0].1.as_str(), other.2), (OTHER, 980.0));
}

#[test]
fn under_pgbouncers_names_the_numbers_are_those_of_its_tables() {
    assert!(!encode(&scrape()).contains("pgbouncer_"));
    let text = encode(&Scrape { pgbouncer: true, ..scrape() });
    read(&text);
    let database = "name=\"app\",host=\"db.internal\",port=\"5432\",database=\"app_production\",force_user=\"\",pool_mode=\"transaction\"";
    let expected = [
        "pgbouncer_pools_client_active_connections{database=\"app\",user=\"web\"} 23".to_owned(),
        "pgbouncer_pools_client_waiting_connections{database=\"app\",user=\"web\"} 17".to_owned(),
        "pgbouncer_pools_client_maxwait_seconds{database=\"app\",user=\"web\"} 1".to_owned(),
        "pgbouncer_pools_server_active_connections{database=\"app\",user=\"web\"} 3".to_owned(),
        format!("pgbouncer_databases_pool_size{{{database}}} 20"),
        format!("pgbouncer_databases_reserve_pool{{{database}}} 0"),
        "pgbouncer_stats_totals_client_wait_seconds_total{database=\"app\"} 0.360000".to_owned(),
        "pgbouncer_stats_totals_queries_pooled_total{database=\"app\"} 7200".to_owned(),
        "pgbouncer_used_clients 42".to_owned(),
        "pgbouncer_config_max_client_connections 10000".to_owned(),
        "pgbouncer_version_info{version=\"poolwarden 0.1.0\"} 1".to_owned(),
        "pgbouncer_up 1".to_owned(),
    ];
    for line in expected {
        assert!(text.lines().any(|have| have == line), "{line}");
    }
}
