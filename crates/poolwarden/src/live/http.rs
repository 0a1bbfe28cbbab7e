//! A running poolwarden over HTTP: its settings, and what its accounting says of the traffic since it started.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use anyhow::{Context, anyhow};
use serde_json::Value;

use super::{Draft, machine};
use crate::cli::ToArgs;
use crate::remote::Remote;

pub(super) fn ask(url: &str) -> anyhow::Result<Draft> {
    let remote = Remote::look(&ToArgs { at: vec![url.to_owned()], ..ToArgs::default() })?;
    let at = remote.places().first().context("the url names no host")?;
    let mut draft = Draft::default();
    let metrics = remote.get(at, "/metrics")?.text()?;
    let metrics = metrics
        .body
        .map_err(|_| anyhow!("/metrics answered {}: is this poolwarden's HTTP address?", metrics.status))?;
    if !metrics.contains("poolwarden_") {
        anyhow::bail!("its /metrics are not poolwarden's");
    }
    measured(&read(&metrics), since_epoch(), &mut draft);
    let config = remote.get(at, "/api/v1/config")?.json()?;
    match config.body {
        Ok(config) => settings(&config, &mut draft),
        Err(_) => draft.unseen.push(format!("its settings are not told: /api/v1/config answered {}", config.status)),
    }
    let why = remote.get(at, "/api/v1/why")?.json()?;
    match why.body {
        Ok(why) => {
            rates(&why, &mut draft);
            judged(&why, &mut draft);
        }
        Err(_) => draft.unseen.push(format!("its traffic is not told: /api/v1/why answered {}", why.status)),
    }
    if machine::is_here(at) {
        machine::told(&mut draft);
    }
    Ok(draft)
}

pub(super) fn settings(config: &Value, draft: &mut Draft) {
    let text = |of: &Value| of.as_str().unwrap_or_default().to_owned();
    draft.put("poolwarden.version", text(&config["version"]));
    draft.put("poolwarden.config_hash", text(&config["hash"]));
    for setting in config["settings"].as_array().into_iter().flatten() {
        draft.put(super::setting(&text(&setting["key"])), text(&setting["value"]));
        if setting["key"] == "listen.backlog" || setting["key"] == "listen_backlog" {
            draft.put("process.backlog", text(&setting["value"]));
        }
    }
}

/// Requests per second of each database, its users together: the larger of now and of what is usual. The busiest second had at
/// least as many, so that a rule that finds them too many is right.
pub(super) fn rates(why: &Value, draft: &mut Draft) {
    let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for pool in why["pools"].as_array().into_iter().flatten() {
        let rate = |name: &str| pool["rates"][name].as_f64().unwrap_or(0.0);
        let sum = sums.entry(pool["pool"].as_str().unwrap_or_default().to_owned()).or_default();
        *sum = (sum.0 + rate("arrivals_per_s"), sum.1 + rate("usual_arrivals_per_s"));
    }
    for (database, (now, usual)) in sums {
        if now.max(usual) > 0.0 {
            draft.put(format!("pool.{database}.peak_rate_1s"), format!("{:.3}", now.max(usual)));
        }
    }
}

/// What the process says of itself: the limit that binds, where all pools of a database that wait name the same one; and how many
/// wait for another connection while they hold one.
pub(super) fn judged(why: &Value, draft: &mut Draft) {
    let mut bound: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for pool in why["pools"].as_array().into_iter().flatten() {
        let database = pool["pool"].as_str().unwrap_or_default();
        if let Some(limit) = pool["binding_limit"]["name"].as_str() {
            bound.entry(database).or_default().insert(limit);
        }
        let nested = |cause: &&Value| cause["code"] == "nested_checkout" && cause["verdict"] == "supported";
        let cause = pool["causes"].as_array().into_iter().flatten().find(nested);
        if let Some(waiting) = cause.and_then(|cause| cause["evidence"][0]["numbers"]["waiting"].as_f64()) {
            draft.put(format!("pool.{database}.held_while_waiting"), waiting.to_string());
        }
    }
    for (database, limits) in bound {
        if let Some(limit) = limits.first().filter(|_| limits.len() == 1) {
            draft.put(format!("pool.{database}.limit_binding"), *limit);
        }
    }
}

/// Seconds.
fn since_epoch() -> f64 {
    // before 1970 no rate is told
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// One sample.
#[derive(Debug)]
pub(super) struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Sample {
    fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// Samples of OpenMetrics text; a line that is none is passed over.
pub(super) fn read(text: &str) -> Vec<Sample> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (key, behind) = rest.split_once("=\"")?;
            let (value, behind) = quoted(behind)?;
            labels.insert(key.trim_start_matches(',').to_owned(), value);
            rest = behind;
        }
        rest = &rest[1..];
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// The text up to the quote that ends it, and what is behind.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, &text[at + 1..])),
            '\\' => out.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            plain => out.push(plain),
        }
    }
    None
}

/// What the numbers say at `now` (seconds since 1970), by the names that rules know.
pub(super) fn measured(samples: &[Sample], now: f64, draft: &mut Draft) {
    let of = |name: &'static str| samples.iter().filter(move |sample| sample.name == name);
    let busiest = of("poolwarden_loop_busy_ratio").map(|sample| sample.value).reduce(f64::max);
    if let Some(busiest) = busiest {
        draft.put("poolwarden.core_busy", busiest.to_string());
    }
    if let Some(sample) = of("poolwarden_client_connections").next() {
        draft.put("poolwarden.clients", sample.value.to_string());
    }
    let fds = of("poolwarden_process_capacity").find(|sample| sample.label("limit") == "fds");
    if let Some(fds) = fds {
        draft.put("process.fd_limit", fds.value.to_string());
    }
    let up = of("poolwarden_start_time_seconds").next().map(|sample| now - sample.value).filter(|up| *up > 0.0);
    let databases: BTreeSet<&str> = of("poolwarden_checkouts_total").map(|sample| sample.label("database")).collect();
    for database in databases {
        pool(samples, database, up, draft);
    }
}

/// One database, its users together; `up` is how long the process has been running, in seconds.
fn pool(samples: &[Sample], database: &str, up: Option<f64>, draft: &mut Draft) {
    let of = |name: &str| {
        let name = name.to_owned();
        samples.iter().filter(move |sample| sample.name == name && sample.label("database") == database)
    };
    let sum = |name: &str| of(name).map(|sample| sample.value).sum::<f64>();
    if sum("poolwarden_checkouts_total") == 0.0 {
        return; // nobody came: there is nothing to say of its traffic
    }
    let mut put = |key: &str, value: Option<f64>| {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            draft.put(format!("pool.{database}.{key}"), format!("{value:.3}"));
        }
    };
    let holds = sum("poolwarden_server_hold_seconds_count");
    put("hold_mean_ms", (holds > 0.0).then(|| sum("poolwarden_server_hold_seconds_sum") / holds * 1e3));
    let quantile = |name: &str, share: f64| quantile(of(&format!("{name}_bucket")), share);
    put("connect_p50_ms", quantile("poolwarden_server_connect_seconds", 0.5).map(|seconds| seconds * 1e3));
    put("wait_p99_ms", quantile("poolwarden_checkout_wait_seconds", 0.99).map(|seconds| seconds * 1e3));
    let sizes = || of("poolwarden_capacity").filter(|sample| sample.label("limit") == "pool_size");
    let size = sizes().map(|sample| sample.value).reduce(f64::max);
    let busy = |share| Some(quantile("poolwarden_occupancy_at_checkout_ratio", share)? * size?);
    put("busy_p95", busy(0.95));
    put("busy_p99", busy(0.99));
    // over the whole of its time: the busiest minute had at least as many
    put("connect_rate", up.map(|up| sum("poolwarden_server_connects_total") / up));
    for sample in of("poolwarden_pins_total").filter(|sample| sample.value > 0.0) {
        put(&format!("pins.{}", sample.label("reason")), Some(sample.value));
    }
}

/// The upper end of the bucket that a share of all falls into; buckets of several series are added up.
fn quantile<'a>(buckets: impl Iterator<Item = &'a Sample>, share: f64) -> Option<f64> {
    let mut counts: Vec<(f64, f64)> = Vec::new();
    for sample in buckets {
        let end = match sample.label("le") {
            "+Inf" => f64::INFINITY,
            end => end.parse().ok()?,
        };
        match counts.iter_mut().find(|(known, _)| *known == end) {
            Some((_, count)) => *count += sample.value,
            None => counts.push((end, sample.value)),
        }
    }
    counts.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (_, all) = *counts.last()?;
    if all == 0.0 {
        return None;
    }
    counts.iter().find(|(_, count)| *count >= all * share).map(|(end, _)| *end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE poolwarden_loop_busy_ratio gauge\n\
        poolwarden_loop_busy_ratio{loop=\"0\"} 0.25\npoolwarden_loop_busy_ratio{loop=\"1\"} 0.5\n\
        poolwarden_client_connections 7\npoolwarden_process_capacity{limit=\"fds\"} 1024\n\
        poolwarden_checkouts_total{database=\"a\\\"b\",user=\"x\"} 10\npoolwarden_checkouts_total{database=\"calm\",user=\"x\"} 0\n\
        poolwarden_server_hold_seconds_sum{database=\"a\\\"b\",user=\"x\"} 0.5\n\
        poolwarden_server_hold_seconds_count{database=\"a\\\"b\",user=\"x\"} 10\n\
        poolwarden_occupancy_at_checkout_ratio_bucket{database=\"a\\\"b\",user=\"x\",le=\"0.5\"} 9\n\
        poolwarden_occupancy_at_checkout_ratio_bucket{database=\"a\\\"b\",user=\"y\",le=\"0.5\"} 86\n\
        poolwarden_occupancy_at_checkout_ratio_bucket{database=\"a\\\"b\",user=\"x\",le=\"1.0\"} 10\n\
        poolwarden_occupancy_at_checkout_ratio_bucket{database=\"a\\\"b\",user=\"y\",le=\"1.0\"} 90\n\
        poolwarden_occupancy_at_checkout_ratio_bucket{database=\"a\\\"b\",user=\"x\",le=\"+Inf\"} 10\n\
        poolwarden_occupancy_at_checkout_ratio_bucket{database=\"a\\\"b\",user=\"y\",le=\"+Inf\"} 90\n\
        poolwarden_capacity{database=\"a\\\"b\",user=\"x\",limit=\"pool_size\"} 20\n\
        poolwarden_capacity{database=\"a\\\"b\",user=\"x\",limit=\"reserve\"} 99\n\
        poolwarden_pins_total{database=\"a\\\"b\",user=\"x\",reason=\"listen\"} 3\n\
        poolwarden_server_connects_total{database=\"a\\\"b\",user=\"x\",result=\"ok\"} 700\n\
        poolwarden_start_time_seconds 1000\nbroken{line\n# EOF\n";

    #[test]
    fn metrics_become_facts_of_each_database() {
        let mut draft = Draft::default();
        measured(&read(TEXT), 1_100.0, &mut draft);
        let said: Vec<String> = draft.facts.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        let expected = "pool.a\"b.busy_p95 = 10.000\npool.a\"b.busy_p99 = 20.000\npool.a\"b.connect_rate = 7.000\npool.a\"b.hold_mean_ms = 50.000\n\
                        pool.a\"b.pins.listen = 3.000\npoolwarden.clients = 7\npoolwarden.core_busy = 0.5\nprocess.fd_limit = 1024";
        assert_eq!(said.join("\n"), expected);
    }

    #[test]
    fn a_limit_that_all_pools_of_a_database_name_binds_it() {
        let pool = |pool: &str, limit: Option<&str>| serde_json::json!({"pool": pool, "binding_limit": limit.map(|name| serde_json::json!({"name": name})), "causes": []});
        let why = serde_json::json!({"pools": [
            pool("app", Some("user")), pool("app", None), pool("jobs", Some("user")), pool("jobs", Some("pool_size")),
            {"pool": "tasks", "causes": [{"code": "nested_checkout", "verdict": "supported", "evidence": [{"numbers": {"waiting": 4}}]}]},
            {"pool": "calm", "causes": [{"code": "nested_checkout", "verdict": "ruled_out", "evidence": [{"numbers": {"waiting": 4}}]}]},
        ]});
        let mut draft = Draft::default();
        judged(&why, &mut draft);
        let said: Vec<(&str, &str)> = draft.facts.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(said, [("pool.app.limit_binding", "user"), ("pool.tasks.held_while_waiting", "4")]);
    }

    #[test]
    fn the_busiest_second_is_at_least_what_is_usual_and_what_is_now() {
        let pool = |rate: f64, usual: Option<f64>| serde_json::json!({"pool": "app", "rates": {"arrivals_per_s": rate, "usual_arrivals_per_s": usual}});
        let mut draft = Draft::default();
        rates(&serde_json::json!({"pools": [pool(2.0, Some(30.0)), pool(3.0, None)]}), &mut draft);
        assert_eq!(draft.facts["pool.app.peak_rate_1s"], "30.000");
        let mut calm = Draft::default();
        rates(&serde_json::json!({"pools": [pool(0.0, None)]}), &mut calm);
        assert!(calm.facts.is_empty());
    }
}
