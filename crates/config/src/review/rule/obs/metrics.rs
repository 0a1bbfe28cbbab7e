//! The metrics of PgBouncer's exporter (prometheus-community's; as poolwarden names them too) and of poolwarden: the labels that
//! each brings itself, and what it says. Every series has the labels of its target besides, `instance` and `job` at least.

/// Labels of every pool's series in poolwarden; others behind them.
const POOL: &[&str] = &["database", "user", "host", "pool_mode"];
const CLASS: &[&str] = &["database", "user", "host", "pool_mode", "class"];
const LIMIT: &[&str] = &["database", "user", "host", "pool_mode", "limit"];
const OUTCOME: &[&str] = &["database", "user", "host", "pool_mode", "outcome"];
const REASON: &[&str] = &["database", "user", "host", "pool_mode", "reason"];
const STATE: &[&str] = &["database", "user", "host", "pool_mode", "state"];

/// Labels of poolwarden's metrics that alerts set against each other; a test holds them against docs/metrics.md.
pub(super) const OURS: [(&str, &[&str]); 27] = [
    ("poolwarden_capacity", LIMIT),
    ("poolwarden_capacity_binding", LIMIT),
    ("poolwarden_capacity_effective", POOL),
    ("poolwarden_capacity_used", LIMIT),
    ("poolwarden_busy_high_water", POOL),
    ("poolwarden_checkouts_refused_total", REASON),
    ("poolwarden_checkouts_total", OUTCOME),
    ("poolwarden_client_connections", &[]),
    ("poolwarden_client_connections_logging_in", &[]),
    ("poolwarden_client_connections_opened_total", &[]),
    ("poolwarden_client_connections_refused_total", &["reason"]),
    ("poolwarden_clients", STATE),
    ("poolwarden_demand", POOL),
    ("poolwarden_occupancy_ratio", POOL),
    ("poolwarden_pg_backends", &["host", "owner", "state"]),
    ("poolwarden_pg_slots", &["host"]),
    ("poolwarden_pg_slots_free", &["host"]),
    ("poolwarden_process_capacity", &["limit"]),
    ("poolwarden_process_capacity_used", &["limit"]),
    ("poolwarden_queries_total", POOL),
    ("poolwarden_queue_high_water", POOL),
    ("poolwarden_queue_length", CLASS),
    ("poolwarden_queue_oldest_seconds", POOL),
    ("poolwarden_queue_seconds_total", REASON),
    ("poolwarden_server_lent_seconds_total", POOL),
    ("poolwarden_servers", STATE),
    ("poolwarden_transactions_total", POOL),
];

/// Columns of SHOW DATABASES that are metrics.
const DATABASES: [&str; 6] =
    ["pool_size", "reserve_pool", "max_connections", "current_connections", "paused", "disabled"];
/// What stands once for the whole process.
const OF_PROCESS: [&str; 11] = [
    "databases",
    "users",
    "pools",
    "free_clients",
    "used_clients",
    "login_clients",
    "free_servers",
    "used_servers",
    "cached_dns_names",
    "cached_dns_zones",
    "up",
];
/// Labels that some metric of a pooler brings itself: no target gives these.
const OWN: [&str; 13] = [
    "database",
    "user",
    "host",
    "pool_mode",
    "class",
    "limit",
    "outcome",
    "reason",
    "state",
    "name",
    "port",
    "force_user",
    "owner",
];

/// Labels a metric brings itself: those that are always there, and those that may be empty. `None`: it is not known here.
pub(super) fn labels(metric: &str) -> Option<(&'static [&'static str], &'static [&'static str])> {
    if let Some((_, labels)) = OURS.iter().find(|(name, _)| *name == metric) {
        return Some((labels, &[]));
    }
    let rest = metric.strip_prefix("pgbouncer_")?;
    if rest.starts_with("config_") || OF_PROCESS.contains(&rest) {
        Some((&[], &[]))
    } else if rest.starts_with("pools_") {
        Some((&["database", "user"], &[]))
    } else if rest.starts_with("stats_") {
        Some((&["database"], &[]))
    } else {
        let column = rest.strip_prefix("databases_").filter(|column| DATABASES.contains(column));
        column.map(|_| (&["name", "port", "database", "pool_mode"][..], &["host", "force_user"][..]))
    }
}

/// Whether some metric brings such a label itself.
pub(super) fn is_own(label: &str) -> bool {
    OWN.contains(&label)
}

/// Whether it is one of a pooler's.
pub(super) fn is_poolers(metric: &str) -> bool {
    metric.starts_with("pgbouncer_") || metric.starts_with("poolwarden_")
}

/// Whether it says that clients wait, or are refused.
pub(super) fn is_of_waits(metric: &str) -> bool {
    is_poolers(metric) && ["wait", "queue_", "refused", "sheds"].iter().any(|word| metric.contains(word))
}

/// Whether it says how much of a limit is used.
pub(super) fn is_of_fullness(metric: &str) -> bool {
    const WORDS: [&str; 9] = [
        "server_active",
        "current_connections",
        "client_active_connections",
        "used_clients",
        "used_servers",
        "capacity",
        "occupancy",
        "pool_state",
        "verdict",
    ];
    is_poolers(metric) && WORDS.iter().any(|word| metric.contains(word))
}

/// Whether it grows with each wait for a connection, so that one between two scrapes is not lost: a counter or a part of a
/// histogram, of a pooler or of an application's own pool.
pub(super) fn keeps_waits(metric: &str) -> bool {
    let has = |words: &[&str]| words.iter().any(|word| metric.contains(word));
    let waits = if is_poolers(metric) {
        has(&["wait", "queue", "checkout"])
    } else {
        has(&["connection", "pool", "sql"]) && has(&["wait", "acquire", "checkout"])
    };
    let grows = ["_total", "_sum", "_bucket", "_count"].iter().any(|end| metric.ends_with(end));
    waits && (grows || metric.starts_with("pgbouncer_stats_"))
}
