//! SHOW CLASSES: what each class has and met in each pool; a class that has been in no pool yet has one row without one.

use poolwarden_watch::pool::{ClassId, ClassSnapshot, Reason};
use poolwarden_watch::{ClassView, View};

use super::{Column, Kind, Row, Rows, int, moment, text, yes};

pub(crate) const COLUMNS: [Column; 20] = [
    ("pool", Kind::Text),
    ("user", Kind::Text),
    ("server", Kind::Text),
    ("class", Kind::Text),
    ("weight", Kind::Long),
    ("reserve", Kind::Long),
    ("lent", Kind::Long),
    ("waiting", Kind::Long),
    ("granted", Kind::Long),
    // the order of Reason::ALL
    ("refused_time", Kind::Long),
    ("refused_hopeless", Kind::Long),
    ("refused_queue", Kind::Long),
    ("refused_overload", Kind::Long),
    ("refused_shed", Kind::Long),
    ("refused_server", Kind::Long),
    ("would_refuse", Kind::Long),
    ("retries", Kind::Long),
    ("overloaded", Kind::Bool),
    ("server_seconds", Kind::Float),
    ("shed_until", Kind::Text),
];

pub(crate) fn rows(view: &View) -> Rows {
    let mut rows = Vec::new();
    for (id, class) in (0..=u8::MAX).map(ClassId).zip(&view.classes) {
        let mut nowhere = true;
        for (host, pool) in view.pools() {
            for of in pool.classes.iter().filter(|of| of.class == id) {
                let place = [text(&pool.key.database), text(&pool.key.user), text(&host.name)];
                rows.push(row(place, class, of));
                nowhere = false;
            }
        }
        if nowhere {
            rows.push(row([None, None, None], class, &nothing(id)));
        }
    }
    Rows { columns: &COLUMNS, rows }
}

fn row(place: [Option<String>; 3], class: &ClassView, of: &ClassSnapshot) -> Row {
    let mut row: Row = place.into();
    row.extend([text(&class.name), int(class.weight), int(class.reserve)]);
    row.extend([int(of.lent), int(of.waiting), int(of.granted)]);
    row.extend(of.refused.iter().map(|count| int(*count)));
    row.extend([
        int(of.would_refuse.iter().sum::<u64>()),
        int(of.reattempts),
        yes(of.overloaded),
        text(format!("{}.{:06}", of.server_nanos / 1_000_000_000, of.server_nanos % 1_000_000_000 / 1_000)),
        class.shed_until_ms.and_then(moment),
    ]);
    row
}

const fn nothing(class: ClassId) -> ClassSnapshot {
    ClassSnapshot {
        class,
        lent: 0,
        waiting: 0,
        granted: 0,
        refused: [0; Reason::ALL.len()],
        would_refuse: [0; Reason::ALL.len()],
        reattempts: 0,
        server_nanos: 0,
        overloaded: false,
    }
}
