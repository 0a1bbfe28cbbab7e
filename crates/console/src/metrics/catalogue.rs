//! Every metric once: name, type, unit, labels, help, and where its samples come from.

use poolwarden_watch::View;

use super::text::Samples;
use super::{Scrape, class, host, judged, pool, probe, process, review, standing, usage};

/// A metric's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations by size.
    Histogram,
    /// Always 1; its labels say something. Its name ends in `_info`.
    Info,
}

impl Kind {
    /// OpenMetrics' word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its whole name, as it is queried.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Base unit; empty for a count.
    pub unit: &'static str,
    /// Its labels, in order.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
    /// Writes its samples.
    pub(super) samples: From,
}

/// Where samples come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    /// Counted and measured.
    View(fn(&View, &mut Samples)),
    /// Judged.
    Scrape(fn(&Scrape, &mut Samples)),
}

impl Metric {
    /// The family's name: without `_total` or `_info`.
    #[must_use]
    pub fn family(&self) -> &'static str {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.name.strip_suffix(suffix).unwrap_or(self.name)
    }
}

const NONE: &[&str] = &[];
const HOST: &[&str] = &["host"];
const LOOP: &[&str] = &["loop"];
const PROBE: &[&str] = &["probe"];
const APPLICATION: &[&str] = &["application"];
const POOL: &[&str] = &["database", "user", "host", "pool_mode"];

macro_rules! of_pool {
    ($label:literal) => {
        &["database", "user", "host", "pool_mode", $label]
    };
}

const fn metric(
    (name, unit): (&'static str, &'static str),
    kind: Kind,
    labels: &'static [&'static str],
    samples: fn(&View, &mut Samples),
    help: &'static str,
) -> Metric {
    Metric { name, kind, unit, labels, help, samples: From::View(samples) }
}

/// A gauge without unit, of what is judged.
const fn judged(
    name: &'static str,
    labels: &'static [&'static str],
    samples: fn(&Scrape, &mut Samples),
    help: &'static str,
) -> Metric {
    Metric { name, kind: Gauge, unit: "", labels, help, samples: From::Scrape(samples) }
}

/// The same with a unit.
const fn judged_in(
    (name, unit): (&'static str, &'static str),
    labels: &'static [&'static str],
    samples: fn(&Scrape, &mut Samples),
    help: &'static str,
) -> Metric {
    Metric { unit, ..judged(name, labels, samples, help) }
}

/// A gauge of what stands beside the pools: the review, the configuration.
const fn reviewed(
    (name, unit): (&'static str, &'static str),
    labels: &'static [&'static str],
    samples: fn(&Scrape, &mut Samples),
    help: &'static str,
) -> Metric {
    Metric { name, kind: Gauge, unit, labels, help, samples: From::Scrape(samples) }
}

/// A count of the same.
const fn beside(
    (name, unit): (&'static str, &'static str),
    samples: fn(&Scrape, &mut Samples),
    help: &'static str,
) -> Metric {
    Metric { name, kind: Counter, unit, labels: NONE, help, samples: From::Scrape(samples) }
}

use Kind::{Counter, Gauge, Histogram, Info};

/// The metrics, in the order they are written.
#[rustfmt::skip] // one line per metric is the table one reads
pub static CATALOGUE: [Metric; 106] = [
    metric(("poolwarden_build_info", ""), Info, &["version"], process::build, "version of the running binary"),
    metric(("poolwarden_config_info", ""), Info, &["hash"], process::config, "hash of the configuration in force"),
    metric(("poolwarden_start_time_seconds", "seconds"), Gauge, NONE, process::start_time, "when the process started, since 1970 UTC"),
    metric(("poolwarden_state", ""), Gauge, &["state"], process::state, "1 for what the process is doing: active, paused or draining"),
    // what requests met
    metric(("poolwarden_checkouts_total", ""), Counter, of_pool!("outcome"), pool::checkouts, "requests for a server connection: granted, refused, or abandoned by their client while waiting"),
    metric(("poolwarden_checkouts_refused_total", ""), Counter, of_pool!("reason"), pool::refused, "requests refused, by the limit that refused"),
    metric(("poolwarden_queue_seconds_total", "seconds"), Counter, of_pool!("reason"), pool::waited, "time requests waited, by the limit that bound at the time; failed waits included, growing while they last"),
    metric(("poolwarden_checkout_wait_seconds", "seconds"), Histogram, of_pool!("outcome"), pool::wait, "waits of requests that ended: granted (zero waits included) or failed"),
    metric(("poolwarden_queue_length", ""), Gauge, of_pool!("class"), class::queue_length, "requests waiting now, of each class that has been there"),
    metric(("poolwarden_queue_oldest_seconds", "seconds"), Gauge, POOL, pool::queue_oldest, "how long the oldest of them has waited"),
    metric(("poolwarden_queue_high_water", ""), Gauge, POOL, pool::queue_high_water, "most requests waiting at once in the last 10 to 20 s"),
    metric(("poolwarden_client_abandoned_total", ""), Counter, of_pool!("stage"), pool::abandoned, "requests given up by their client"),
    metric(("poolwarden_clients", ""), Gauge, of_pool!("state"), pool::clients, "clients of the pool: active, idle or waiting"),
    metric(("poolwarden_demand", ""), Gauge, POOL, pool::demand, "server connections wanted now: lent and waited for; above the size it says by how much"),
    // how pools do
    judged("poolwarden_pool_state", of_pool!("state"), judged::state, "1 for how the pool does: calm, tight, saturated, paused or down"),
    judged("poolwarden_verdict", of_pool!("cause"), judged::verdict, "1 while the cause is supported: why requests of the pool wait"),
    // what is to be expected
    judged_in(("poolwarden_headroom_ratio", "ratio"), POOL, judged::headroom, "how many times traffic or holds may grow before waits become routine; no sample without demand"),
    judged_in(("poolwarden_time_to_exhaustion_seconds", "seconds"), of_pool!("quantile"), judged::exhaustion, "until the pool is exhausted, if what goes on goes on: the median, and what is sooner once in twenty times (0.05); +Inf where nothing is foreseen"),
    judged("poolwarden_forecast", of_pool!("cause"), judged::foreseen, "1 while the pool's exhaustion by this cause is foreseen"),
    // classes
    metric(("poolwarden_sheds_total", ""), Counter, &["database", "user", "host", "pool_mode", "class", "reason"], class::sheds, "requests refused, by class and what moved admission to refuse; the limit behind it: poolwarden_checkouts_refused_total"),
    metric(("poolwarden_would_shed_total", ""), Counter, &["database", "user", "host", "pool_mode", "class", "reason"], class::would_shed, "with guard = \"observe\": requests that would have been refused"),
    metric(("poolwarden_retries_total", ""), Counter, of_pool!("class"), class::retries, "requests of clients that were refused and came again within 2 s"),
    metric(("poolwarden_overloaded", ""), Gauge, of_pool!("class"), class::overloaded, "1 while the class is overloaded: its newest requests are served first, its oldest refused"),
    metric(("poolwarden_class_server_seconds_total", "seconds"), Counter, of_pool!("class"), class::server_seconds, "time server connections were lent to the class, ended leases only; what weights divide"),
    metric(("poolwarden_class_shed", ""), Gauge, &["class"], class::shed, "1 while an operator sheds the class"),
    // what server connections do
    metric(("poolwarden_servers", ""), Gauge, of_pool!("state"), pool::servers, "server connections by state; all of them count against the limits"),
    metric(("poolwarden_server_hold_seconds", "seconds"), Histogram, POOL, pool::hold, "hold times of ended leases"),
    metric(("poolwarden_server_lent_seconds_total", "seconds"), Counter, POOL, pool::lent, "time server connections were lent, open leases included"),
    metric(("poolwarden_server_busy_seconds_total", "seconds"), Counter, of_pool!("state"), pool::busy, "of ended leases: with a query in flight (active), or in a transaction without one"),
    metric(("poolwarden_busy_high_water", ""), Gauge, POOL, pool::busy_high_water, "most server connections lent at once in the last 10 to 20 s"),
    metric(("poolwarden_occupancy_at_checkout_ratio", "ratio"), Histogram, POOL, pool::occupancy_found, "requests by how much of the pool's size they found lent when they came: what a client meets, where an average says what a clock meets"),
    metric(("poolwarden_query_seconds", "seconds"), Histogram, POOL, pool::query, "from a query's way out to its ReadyForQuery; in a pipeline from the answer before it"),
    metric(("poolwarden_tx_idle_seconds", "seconds"), Histogram, POOL, pool::idle_in_transaction, "within transactions: from an answer to the client's next request"),
    metric(("poolwarden_server_connect_seconds", "seconds"), Histogram, POOL, pool::connect, "connects to PostgreSQL that ended well, login included"),
    metric(("poolwarden_server_connects_total", ""), Counter, &["database", "user", "host", "pool_mode", "result", "sqlstate"], pool::connects, "connects to PostgreSQL that ended; SQLSTATEs beyond 16 per pool are other"),
    metric(("poolwarden_server_disconnects_total", ""), Counter, of_pool!("reason"), pool::disconnects, "server connections closed, by reason; ended: by themselves"),
    metric(("poolwarden_occupancy_ratio", "ratio"), Gauge, POOL, pool::occupancy, "server connections lent, of the pool's size: 0 to 1, more with the reserve"),
    judged("poolwarden_stuck_servers", &["application"], judged::stuck, "server connections held long with nothing running, by application; the largest 20, and other"),
    // limits
    metric(("poolwarden_capacity_effective", ""), Gauge, POOL, pool::capacity_effective, "server connections the pool could have now, all its limits together and others' use counted; absent where nothing limits it"),
    metric(("poolwarden_capacity", ""), Gauge, of_pool!("limit"), pool::capacity, "size of each limit of the pool; absent where unlimited or unknown"),
    metric(("poolwarden_capacity_used", ""), Gauge, of_pool!("limit"), pool::capacity_used, "how much of each limit is used, by everybody it counts"),
    metric(("poolwarden_capacity_binding", ""), Gauge, of_pool!("limit"), pool::capacity_binding, "1 while somebody waits and this limit is why"),
    metric(("poolwarden_process_capacity", ""), Gauge, &["limit"], process::capacity, "size of each limit of the process; memory in bytes"),
    metric(("poolwarden_process_capacity_used", ""), Gauge, &["limit"], process::capacity_used, "how much of each limit of the process is used; memory in bytes"),
    metric(("poolwarden_pool_paused", ""), Gauge, POOL, pool::paused, "1 while the pool lends nothing until RESUME"),
    metric(("poolwarden_pool_disabled", ""), Gauge, POOL, pool::disabled, "1 while the pool refuses who comes"),
    metric(("poolwarden_pools_unlisted", ""), Gauge, NONE, process::unlisted, "pools without series of their own, for there are too many"),
    // traffic
    metric(("poolwarden_transactions_total", ""), Counter, POOL, pool::transactions, "transactions ended"),
    metric(("poolwarden_queries_total", ""), Counter, POOL, pool::queries, "queries ended"),
    metric(("poolwarden_received_bytes_total", "bytes"), Counter, POOL, pool::received, "bytes from clients"),
    metric(("poolwarden_sent_bytes_total", "bytes"), Counter, POOL, pool::sent, "bytes to clients"),
    metric(("poolwarden_parses_total", ""), Counter, of_pool!("side"), pool::parses, "Parse messages: of clients, and sent to PostgreSQL"),
    metric(("poolwarden_binds_total", ""), Counter, POOL, pool::binds, "Bind messages"),
    metric(("poolwarden_client_logins_total", ""), Counter, POOL, pool::logins, "logins of clients"),
    metric(("poolwarden_idle_transactions_total", ""), Counter, of_pool!("outcome"), pool::idle_transactions, "transactions left idle: warned of in the log, ended while others waited, or spared by the guard, which only observes"),
    // who used what
    metric(("poolwarden_application_leases_total", ""), Counter, APPLICATION, usage::leases, "leases ended, by application; the largest 20 by held time, and other, which falls when one of it comes among them"),
    metric(("poolwarden_application_held_seconds_total", "seconds"), Counter, APPLICATION, usage::held, "time server connections were lent, ended leases only, by application"),
    metric(("poolwarden_application_waited_seconds_total", "seconds"), Counter, APPLICATION, usage::waited, "time waited before those leases, by application"),
    metric(("poolwarden_application_refused_total", ""), Counter, APPLICATION, usage::refused, "requests refused, by application"),
    // session state
    metric(("poolwarden_servers_pinned", ""), Gauge, of_pool!("reason"), pool::pinned, "server connections that stay with their client beyond a transaction, by what keeps them; one may have several reasons"),
    metric(("poolwarden_pins_total", ""), Counter, of_pool!("reason"), pool::pins, "times a server connection began to stay with its client, by reason"),
    metric(("poolwarden_session_state_refused_total", ""), Counter, of_pool!("construct"), pool::state_refused, "requests refused because they need session state, by construct"),
    // the server
    metric(("poolwarden_host_up", ""), Gauge, HOST, host::up, "0 while PostgreSQL is believed down"),
    metric(("poolwarden_host_watched", ""), Gauge, HOST, host::watched, "0 while the watch connection is not there"),
    metric(("poolwarden_host_connects_in_flight", ""), Gauge, HOST, host::connects, "connects to PostgreSQL under way"),
    metric(("poolwarden_host_connects_allowed", ""), Gauge, HOST, host::connects_allowed, "connects that may be under way at once now"),
    metric(("poolwarden_pg_slots_free", ""), Gauge, HOST, host::slots_free, "PostgreSQL's max_connections less reserved slots and backends; absent without a watch connection"),
    metric(("poolwarden_pg_slots", ""), Gauge, HOST, host::slots, "PostgreSQL's max_connections less reserved slots; absent without a watch connection"),
    metric(("poolwarden_pg_backends", ""), Gauge, &["host", "owner", "state"], host::backends, "PostgreSQL's client backends, ours (own) and everybody else's (other), by state; absent without a watch connection"),
    metric(("poolwarden_pg_lock_waiters", ""), Gauge, HOST, host::lock_waiters, "PostgreSQL's client backends that wait for a lock; absent without a watch connection"),
    metric(("poolwarden_evictions_total", ""), Counter, HOST, host::evictions, "server connections closed to make place for another pool"),
    metric(("poolwarden_server_moves_total", ""), Counter, HOST, host::moves, "server connections that moved between loops with a grant"),
    // the web tier
    metric(("poolwarden_probe_up", ""), Gauge, PROBE, probe::up, "1 when the newest answer of the probe was as expected"),
    metric(("poolwarden_probe_duration_seconds", "seconds"), Gauge, PROBE, probe::duration, "how long the newest answer took"),
    metric(("poolwarden_probe_answers_total", ""), Counter, &["probe", "result"], probe::answers, "answers of the probe: good as expected, bad otherwise or none in time"),
    // the process
    metric(("poolwarden_client_connections", ""), Gauge, NONE, process::clients, "client connections after login"),
    metric(("poolwarden_client_connections_logging_in", ""), Gauge, NONE, process::logins, "client connections before the end of their login"),
    metric(("poolwarden_client_connections_opened_total", ""), Counter, NONE, process::opened, "client connections accepted"),
    metric(("poolwarden_client_connections_refused_total", ""), Counter, &["reason"], process::refused, "clients refused before they entered a pool, by limit"),
    metric(("poolwarden_client_login_seconds", "seconds"), Histogram, NONE, process::login, "logins that ended well, from the client's first word"),
    metric(("poolwarden_process_cpu_seconds_total", "seconds"), Counter, NONE, process::cpu, "CPU time of the process"),
    metric(("poolwarden_client_login_failures_total", ""), Counter, &["reason"], process::login_failures, "logins that failed, by reason"),
    metric(("poolwarden_scram_derivations_total", ""), Counter, NONE, process::derivations, "keys derived from passwords (PBKDF2), towards clients and PostgreSQL"),
    metric(("poolwarden_cancels_total", ""), Counter, &["result"], process::cancels, "cancel requests: forwarded to PostgreSQL, answered here, refused or dropped"),
    metric(("poolwarden_config_reloads_total", ""), Counter, &["result"], process::reloads, "reloads of the configuration"),
    reviewed(("poolwarden_config_version", ""), NONE, standing::version, "number of the configuration in force in the history"),
    reviewed(("poolwarden_config_drift", ""), NONE, standing::drift, "1 while the configuration file does not say what runs"),
    reviewed(("poolwarden_config_confirm_timestamp_seconds", "seconds"), NONE, standing::confirm_until, "when the configuration in force is undone unless it is confirmed, seconds since 1970; none where nothing waits"),
    reviewed(("poolwarden_history_failing", ""), NONE, standing::history_failing, "1 while the history cannot be written"),
    beside(("poolwarden_history_lost_total", ""), standing::history_lost, "versions and deeds that found no place in the history"),
    beside(("poolwarden_recording_checkouts_total", ""), standing::recorded, "checkouts written into recordings"),
    beside(("poolwarden_recording_lost_total", ""), standing::recording_lost, "checkouts that found no place in a recording: it has a gap"),
    reviewed(("poolwarden_recording_bytes", "bytes"), NONE, standing::recording_bytes, "bytes of all recordings"),
    reviewed(("poolwarden_recording_failing", ""), NONE, standing::recording_failing, "1 while traffic cannot be recorded"),
    reviewed(("poolwarden_review_findings", ""), &["severity"], review::findings, "findings of the review that are to be put right, by severity: without those that review.allow accepts"),
    reviewed(("poolwarden_review_last_timestamp_seconds", "seconds"), NONE, review::last, "when the newest review that came to an end began, seconds since 1970"),
    reviewed(("poolwarden_review_duration_seconds", "seconds"), NONE, review::duration, "how long that review took"),
    reviewed(("poolwarden_review_failed", ""), NONE, review::failed, "1 when the newest attempt at a review came to nothing; what was found before still stands"),
    metric(("poolwarden_certificate_not_after_timestamp_seconds", "seconds"), Gauge, &["place", "host", "subject"], process::certificates, "when a certificate in use ends, seconds since 1970; of a bundle of authorities the first to end"),
    metric(("poolwarden_log_lines_dropped_total", ""), Counter, NONE, process::log_dropped, "log lines dropped because the writer was behind"),
    metric(("poolwarden_facts_dropped_total", ""), Counter, NONE, process::facts_dropped, "facts dropped because their reader was behind"),
    // its loops
    metric(("poolwarden_loop_lag_seconds", "seconds"), Gauge, LOOP, process::loop_lag, "how late the newest turn of the loop was"),
    metric(("poolwarden_loop_busy_ratio", "ratio"), Gauge, LOOP, process::loop_busy, "thread CPU and run-queue wait of the loop, 0 to 1"),
    metric(("poolwarden_loop_clients", ""), Gauge, LOOP, process::loop_clients, "client connections on the loop"),
    metric(("poolwarden_loop_servers", ""), Gauge, LOOP, process::loop_servers, "server connections on the loop"),
    metric(("poolwarden_loop_moves_total", ""), Counter, LOOP, process::loop_moves, "server connections that came to the loop from others"),
];
