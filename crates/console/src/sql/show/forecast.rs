//! SHOW FORECAST: how far each pool is from exhaustion, and when it will come to it if what goes on goes on.

use poolwarden_watch::why::PoolWhy;

use super::{Column, Kind, Row, Rows, text};

pub(crate) const COLUMNS: [Column; 10] = [
    ("pool", Kind::Text),
    ("user", Kind::Text),
    ("server", Kind::Text),
    ("headroom", Kind::Float),
    ("exhausted_in_s", Kind::Float),
    ("soonest_s", Kind::Float),
    ("latest_s", Kind::Float),
    ("cause", Kind::Text),
    ("limit", Kind::Text),
    ("forecast", Kind::Text),
];

pub(crate) fn rows(pools: &[PoolWhy]) -> Rows {
    Rows { columns: &COLUMNS, rows: pools.iter().map(row).collect() }
}

fn row(of: &PoolWhy) -> Row {
    let foreseen = of.forecast.exhaustion.as_ref();
    let number = |value: f64| value.is_finite().then(|| format!("{value:.1}"));
    let said = foreseen.map_or_else(
        || of.forecast.none.clone(),
        |of| {
            let told: Vec<&str> = of.evidence.iter().map(|of| of.text.as_str()).collect();
            format!("{}; next: {}", told.join("; "), of.next_step)
        },
    );
    vec![
        text(&of.pool),
        text(&of.user),
        text(&of.server),
        of.forecast.headroom.map(|headroom| format!("{headroom:.2}")),
        foreseen.and_then(|of| number(of.in_s)),
        foreseen.and_then(|of| number(of.interval_s.0)),
        foreseen.and_then(|of| number(of.interval_s.1)),
        foreseen.and_then(|of| text(of.cause.name())),
        foreseen.and_then(|of| text(of.limit.name())),
        text(said),
    ]
}
