//! The names that prometheus-community's pgbouncer_exporter gives to PgBouncer's SHOW tables, for dashboards that stand already.
//!
//! As the exporter does, each table's columns become metrics: it reads the very rows that the SQL console shows.

use poolwarden_watch::View;

use super::catalogue::Kind;
use super::text::Samples;
use crate::sql::{Rows, tables};

/// A column that is a metric.
struct Metric {
    column: &'static str,
    /// Without its prefix.
    name: &'static str,
    kind: Kind,
    /// Microseconds here, seconds there.
    micros: bool,
}

const fn gauge(column: &'static str, name: &'static str) -> Metric {
    Metric { column, name, kind: Kind::Gauge, micros: false }
}

const fn counter(column: &'static str, name: &'static str) -> Metric {
    Metric { column, name, kind: Kind::Counter, micros: false }
}

const fn clock(column: &'static str, name: &'static str) -> Metric {
    Metric { column, name, kind: Kind::Counter, micros: true }
}

/// A table, the columns that are labels, and those that are metrics.
struct Table {
    prefix: &'static str,
    rows: fn(&View) -> Rows,
    labels: &'static [&'static str],
    metrics: &'static [Metric],
}

const TABLES: [Table; 3] = [
    Table {
        prefix: "pgbouncer_pools_",
        rows: tables::pools,
        labels: &["database", "user"],
        metrics: &[
            gauge("cl_active", "client_active_connections"),
            gauge("cl_active_cancel_req", "client_active_cancel_connections"),
            gauge("cl_waiting", "client_waiting_connections"),
            gauge("cl_waiting_cancel_req", "client_waiting_cancel_connections"),
            gauge("sv_active", "server_active_connections"),
            gauge("sv_active_cancel", "server_active_cancel_connections"),
            gauge("sv_being_canceled", "server_being_canceled_connections"),
            gauge("sv_idle", "server_idle_connections"),
            gauge("sv_used", "server_used_connections"),
            gauge("sv_tested", "server_testing_connections"),
            gauge("sv_login", "server_login_connections"),
            gauge("maxwait", "client_maxwait_seconds"),
        ],
    },
    Table {
        prefix: "pgbouncer_databases_",
        rows: tables::databases,
        labels: &["name", "host", "port", "database", "force_user", "pool_mode"],
        metrics: &[
            gauge("pool_size", "pool_size"),
            gauge("reserve_pool", "reserve_pool"),
            gauge("max_connections", "max_connections"),
            gauge("current_connections", "current_connections"),
            gauge("paused", "paused"),
            gauge("disabled", "disabled"),
        ],
    },
    Table {
        prefix: "pgbouncer_stats_totals_",
        rows: tables::stats_totals,
        labels: &["database"],
        metrics: &[
            counter("query_count", "queries_pooled"),
            clock("query_time", "queries_duration_seconds"),
            counter("bytes_received", "received_bytes"),
            counter("bytes_sent", "sent_bytes"),
            clock("wait_time", "client_wait_seconds"),
            counter("xact_count", "sql_transactions_pooled"),
            clock("xact_time", "server_in_transaction_seconds"),
            counter("client_parse_count", "client_parses"),
            counter("server_parse_count", "server_parses"),
            counter("bind_count", "binds"),
        ],
    },
];

/// SHOW LISTS: its items, and what they are called.
const LISTS: [(&str, &str); 7] = [
    ("databases", "pgbouncer_databases"),
    ("users", "pgbouncer_users"),
    ("pools", "pgbouncer_pools"),
    ("free_clients", "pgbouncer_free_clients"),
    ("used_clients", "pgbouncer_used_clients"),
    ("free_servers", "pgbouncer_free_servers"),
    ("used_servers", "pgbouncer_used_servers"),
];

/// Everything the exporter would say.
pub(super) fn encode(view: &View, out: &mut Samples) {
    for table in &TABLES {
        of_table(table, &(table.rows)(view), out);
    }
    let lists = tables::lists(view);
    for (item, name) in LISTS {
        let row = lists.rows.iter().find(|row| row.first().is_some_and(|of| of.as_deref() == Some(item)));
        if let Some(value) = row.and_then(|row| row.get(1)?.clone()) {
            out.foreign(name, Kind::Gauge);
            out.push(&[], value);
        }
    }
    for (name, value) in
        [("pgbouncer_config_max_client_connections", view.process.clients.max.unwrap_or(0)), ("pgbouncer_up", 1)]
    {
        out.foreign(name, Kind::Gauge);
        out.push(&[], value);
    }
    out.foreign("pgbouncer_version", Kind::Info);
    out.push(&[("version", &format!("poolwarden {}", view.version))], 1);
}

fn of_table(table: &Table, rows: &Rows, out: &mut Samples) {
    let at = |name: &str| rows.columns.iter().position(|(column, _)| *column == name);
    for metric in table.metrics {
        let Some(column) = at(metric.column) else { continue };
        out.foreign(&format!("{}{}", table.prefix, metric.name), metric.kind);
        for row in rows.rows.iter().take(super::MAX_POOLS) {
            let label = |name: &&'static str| (*name, at(name).and_then(|at| row[at].as_deref()).unwrap_or_default());
            let labels: Vec<(&str, &str)> = table.labels.iter().map(label).collect();
            // PgBouncer's unlimited is NULL or 0, and the exporter's 0.
            let value = row[column].as_deref().unwrap_or("0");
            if metric.micros {
                let micros: u64 = value.parse().unwrap_or(0); // a whole number, by the column's type
                out.push(&labels, format_args!("{}.{:06}", micros / 1_000_000, micros % 1_000_000));
            } else {
                out.push(&labels, value);
            }
        }
    }
}
