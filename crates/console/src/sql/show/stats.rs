//! SHOW STATS, STATS_TOTALS, STATS_AVERAGES and TOTALS: traffic per database as clients name it. Times are in microseconds.

use std::collections::BTreeMap;

use poolwarden_watch::{Traffic, View};

use super::{Column, Kind, Row, Rows, int, text};

/// What is shown of traffic, in PgBouncer's order: its name in STATS_TOTALS, and the value.
const VALUES: usize = 12;

pub(crate) const COLUMNS: [Column; 1 + 2 * VALUES] = [
    ("database", Kind::Text),
    ("total_server_assignment_count", Kind::Int),
    ("total_xact_count", Kind::Int),
    ("total_query_count", Kind::Int),
    ("total_received", Kind::Int),
    ("total_sent", Kind::Int),
    ("total_xact_time", Kind::Int),
    ("total_query_time", Kind::Int),
    ("total_wait_time", Kind::Int),
    ("total_client_parse_count", Kind::Int),
    ("total_server_parse_count", Kind::Int),
    ("total_bind_count", Kind::Int),
    ("total_client_login_count", Kind::Int),
    ("avg_server_assignment_count", Kind::Int),
    ("avg_xact_count", Kind::Int),
    ("avg_query_count", Kind::Int),
    ("avg_recv", Kind::Int),
    ("avg_sent", Kind::Int),
    ("avg_xact_time", Kind::Int),
    ("avg_query_time", Kind::Int),
    ("avg_wait_time", Kind::Int),
    ("avg_client_parse_count", Kind::Int),
    ("avg_server_parse_count", Kind::Int),
    ("avg_bind_count", Kind::Int),
    ("avg_client_login_count", Kind::Int),
];

pub(crate) const HALF: [Column; 1 + VALUES] = [
    ("database", Kind::Text),
    ("server_assignment_count", Kind::Int),
    ("xact_count", Kind::Int),
    ("query_count", Kind::Int),
    ("bytes_received", Kind::Int),
    ("bytes_sent", Kind::Int),
    ("xact_time", Kind::Int),
    ("query_time", Kind::Int),
    ("wait_time", Kind::Int),
    ("client_parse_count", Kind::Int),
    ("server_parse_count", Kind::Int),
    ("bind_count", Kind::Int),
    ("client_login_count", Kind::Int),
];

pub(crate) const GRAND: [Column; 2] = [("name", Kind::Text), ("value", Kind::Int)];

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
    Rows { columns: &COLUMNS, rows: by_database(view).iter().map(|(name, of)| row(name, of)).collect() }
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
    let named = COLUMNS[1..].iter().zip(both).map(|((name, _), value)| vec![text(*name), int(value)]);
    Rows { columns: &GRAND, rows: named.collect() }
}
