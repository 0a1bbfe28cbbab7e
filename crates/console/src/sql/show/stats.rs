//! SHOW STATS, STATS_TOTALS, STATS_AVERAGES and TOTALS: traffic per database as clients name it. Times are in microseconds.

use std::collections::BTreeMap;

use poolwarden_watch::{Traffic, View};

use super::{Column, Kind, Row, Rows, int, text};

/// What is shown of traffic, in PgBouncer's order: its name in STATS_TOTALS, and the value.
const VALUES: usize = 12;

pub(crate) const COLUMNS: [Column; 2 + 2 * VALUES] = [
    ("database", Kind::Text),
    ("total_server_assignment_count", Kind::Numeric),
    ("total_xact_count", Kind::Numeric),
    ("total_query_count", Kind::Numeric),
    ("total_received", Kind::Numeric),
    ("total_sent", Kind::Numeric),
    ("total_xact_time", Kind::Numeric),
    ("total_query_time", Kind::Numeric),
    ("total_wait_time", Kind::Numeric),
    ("total_client_parse_count", Kind::Numeric),
    ("total_server_parse_count", Kind::Numeric),
    ("total_bind_count", Kind::Numeric),
    ("total_client_login_count", Kind::Numeric),
    ("avg_server_assignment_count", Kind::Numeric),
    ("avg_xact_count", Kind::Numeric),
    ("avg_query_count", Kind::Numeric),
    ("avg_recv", Kind::Numeric),
    ("avg_sent", Kind::Numeric),
    ("avg_xact_time", Kind::Numeric),
    ("avg_query_time", Kind::Numeric),
    ("avg_wait_time", Kind::Numeric),
    ("avg_client_parse_count", Kind::Numeric),
    ("avg_server_parse_count", Kind::Numeric),
    ("avg_bind_count", Kind::Numeric),
    ("avg_client_login_count", Kind::Numeric),
    ("total_requests", Kind::Numeric), // PgBouncer's name of queries before 1.8, which Debian's exporter reads
];

pub(crate) const HALF: [Column; 1 + VALUES] = [
    ("database", Kind::Text),
    ("server_assignment_count", Kind::Numeric),
    ("xact_count", Kind::Numeric),
    ("query_count", Kind::Numeric),
    ("bytes_received", Kind::Numeric),
    ("bytes_sent", Kind::Numeric),
    ("xact_time", Kind::Numeric),
    ("query_time", Kind::Numeric),
    ("wait_time", Kind::Numeric),
    ("client_parse_count", Kind::Numeric),
    ("server_parse_count", Kind::Numeric),
    ("bind_count", Kind::Numeric),
    ("client_login_count", Kind::Numeric),
];

pub(crate) const GRAND: [Column; 2] = [("name", Kind::Text), ("value", Kind::Numeric)];

const fn values(of: &Traffic) -> [u64; VALUES] {
    [
        of.server_assignment_count,
        of.xact_count,
        of.query_count,
        of.bytes_received,
        of.bytes_sent,
        of.xact_time_us,
        of.query_time_us,
        of.wait_time_us,
        of.client_parse_count,
        of.server_parse_count,
        of.bind_count,
        of.client_login_count,
    ]
}

/// Totals and averages per database, in the order of their names.
fn by_database(view: &View) -> BTreeMap<&str, [Traffic; 2]> {
    let mut sums = BTreeMap::<&str, [Traffic; 2]>::new();
    for pool in &view.traffic {
        let [totals, recent] = sums.entry(&pool.key.database).or_default();
        *totals = totals.plus(&pool.totals);
        *recent = recent.plus(&pool.recent);
    }
    for [_, recent] in sums.values_mut() {
        *recent = recent.average(view.recent_us);
    }
    sums
}

fn row(database: &str, of: &[Traffic]) -> Row {
    let mut row = vec![text(database)];
    row.extend(of.iter().flat_map(values).map(int));
    row
}

pub(crate) fn rows(view: &View) -> Rows {
    let with_requests = |(name, of): (&&str, &[Traffic; 2])| {
        let mut row = row(name, of);
        row.push(int(of[0].query_count));
        row
    };
    Rows { columns: &COLUMNS, rows: by_database(view).iter().map(with_requests).collect() }
}

pub(crate) fn totals(view: &View) -> Rows {
    Rows { columns: &HALF, rows: by_database(view).iter().map(|(name, of)| row(name, &of[..1])).collect() }
}

pub(crate) fn averages(view: &View) -> Rows {
    Rows { columns: &HALF, rows: by_database(view).iter().map(|(name, of)| row(name, &of[1..])).collect() }
}

pub(crate) fn grand(view: &View) -> Rows {
    let (mut totals, mut recent) = (Traffic::default(), Traffic::default());
    for pool in &view.traffic {
        totals = totals.plus(&pool.totals);
        recent = recent.plus(&pool.recent);
    }
    let both = values(&totals).into_iter().chain(values(&recent.average(view.recent_us)));
    let named = COLUMNS[1..].iter().zip(both).map(|((name, _), value)| vec![text(in_totals(name)), int(value)]);
    Rows { columns: &GRAND, rows: named.collect() }
}

/// PgBouncer calls the same two numbers otherwise in this table.
fn in_totals(name: &'static str) -> &'static str {
    match name {
        "total_received" => "total_client_bytes",
        "total_sent" => "total_server_bytes",
        "avg_recv" => "avg_client_bytes",
        "avg_sent" => "avg_server_bytes",
        other => other,
    }
}
