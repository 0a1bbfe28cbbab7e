//! The core's events as log lines: one per change of state, never one per request.
//!
//! A line of the same kind about the same pool is said once a second at most: what comes in between
//! is counted, and the last of it is said with its count when the second is over. Lines are values;
//! who writes them, and how, is not known here. One `StateLog` per host.

use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_pool::{ClassId, CloseReason, ConnectFailure, Event, Limit, PoolId, PoolKey, Time};

use crate::remedy;

/// Repeats are folded for this long: the log must stay readable, and cheap, under 10,000 of them a second.
const FOLD: Duration = Duration::from_secs(1);

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Somebody must look.
    Error,
    /// Somebody should look.
    Warn,
    /// Good to know.
    Info,
    /// For those who search.
    Debug,
}

impl Level {
    /// The level's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// A named value of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name, stable.
    pub name: &'static str,
    /// Value.
    pub value: FieldValue,
}

/// A field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// A text.
    Text(String),
    /// A number, its unit in the field's name.
    Number(u64),
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// What happened, stable, for machines: `waiting`, `server_down`.
    pub event: &'static str,
    /// What happened, for people.
    pub message: String,
    /// The same as values.
    pub fields: Vec<Field>,
}

/// One kind of line about one pool (or about the host), and one class of it where it is about one.
type Kind = (&'static str, Option<PoolId>, Option<ClassId>);

#[derive(Clone, Debug)]
struct Folded {
    since: Time,
    count: u64,
    last: Option<LogLine>,
    /// Which event of all the last one was.
    event: u64,
}

/// Turns one host's events into lines.
#[derive(Clone, Debug)]
pub struct StateLog {
    host: String,
    pools: BTreeMap<PoolId, PoolKey>,
    /// By id.
    classes: Vec<String>,
    failure: Option<ConnectFailure>,
    folds: BTreeMap<Kind, Folded>,
    /// Events so far.
    events: u64,
}

impl StateLog {
    /// For the host of this name.
    #[must_use]
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            pools: BTreeMap::new(),
            classes: Vec::new(),
            failure: None,
            folds: BTreeMap::new(),
            events: 0,
        }
    }

    /// The names of the classes by id, from now on.
    pub fn name_classes(&mut self, names: Vec<String>) {
        self.classes = names;
    }

    /// The line to write for an event; `None` when one like it was written within the last second.
    pub fn note(&mut self, now: Time, event: &Event) -> Option<LogLine> {
        if let Event::PoolMade(id, key) = event {
            self.pools.insert(*id, key.clone());
        }
        if let Event::ConnectFailed(_, failure) = event {
            self.failure = Some((**failure).clone());
        }
        let (pool, line) = self.line(event);
        match event {
            Event::PoolRetired(id) => {
                self.pools.remove(id);
            }
            Event::ServerUp => self.failure = None,
            Event::PoolMade(..)
            | Event::Waiting { .. }
            | Event::Binding { .. }
            | Event::Cleared { .. }
            | Event::Connected(..)
            | Event::ConnectFailed(..)
            | Event::ServerDown
            | Event::Gone(..)
            | Event::Ghost(..)
            | Event::Applied
            | Event::Overloaded { .. }
            | Event::Relaxed { .. }
            | Event::Paused(..) => {}
        }
        let class = match event {
            Event::Overloaded { class, .. } | Event::Relaxed { class, .. } => Some(*class),
            Event::PoolMade(..)
            | Event::PoolRetired(_)
            | Event::Waiting { .. }
            | Event::Binding { .. }
            | Event::Cleared { .. }
            | Event::Connected(..)
            | Event::ConnectFailed(..)
            | Event::ServerDown
            | Event::ServerUp
            | Event::Gone(..)
            | Event::Ghost(..)
            | Event::Applied
            | Event::Paused(..) => None,
        };
        self.fold(now, (line.event, pool, class), line)
    }

    /// The folded repeats whose second is over, each as one line with its count; what happened last stands last.
    pub fn due(&mut self, now: Time) -> Vec<LogLine> {
        let mut lines = Vec::new();
        self.folds.retain(|_, fold| {
            if now.since(fold.since) < FOLD {
                return true;
            }
            let Some(mut line) = fold.last.take() else {
                return false;
            };
            if fold.count > 1 {
                line.message = format!("{} (and {} more like it)", line.message, fold.count - 1);
            }
            line.fields.push(number("repeated", fold.count));
            lines.push((fold.event, line));
            fold.since = now;
            fold.count = 0;
            true
        });
        lines.sort_by_key(|(event, _)| *event);
        lines.into_iter().map(|(_, line)| line).collect()
    }

    /// When to ask [`StateLog::due`] next; `None` while nothing is folded.
    #[must_use]
    pub fn next_due(&self) -> Option<Time> {
        self.folds.values().map(|fold| fold.since + FOLD).min()
    }

    fn fold(&mut self, now: Time, kind: Kind, line: LogLine) -> Option<LogLine> {
        self.events += 1;
        if let Some(fold) = self.folds.get_mut(&kind)
            && (now.since(fold.since) < FOLD || fold.last.is_some())
        {
            fold.count += 1;
            (fold.last, fold.event) = (Some(line), self.events);
            return None;
        }
        self.folds.insert(kind, Folded { since: now, count: 0, last: None, event: self.events });
        Some(line)
    }

    fn line(&self, event: &Event) -> (Option<PoolId>, LogLine) {
        match event {
            Event::PoolMade(pool, _) => (Some(*pool), self.plain(*pool, Level::Debug, "pool_made", "made")),
            Event::PoolRetired(pool) => {
                (Some(*pool), self.plain(*pool, Level::Debug, "pool_retired", "retired, for nobody used it"))
            }
            Event::Waiting { pool, limit, size, used } => {
                (Some(*pool), self.bound(*pool, "waiting", "clients wait", (*limit, *size, *used)))
            }
            Event::Binding { pool, limit, size, used } => {
                (Some(*pool), self.bound(*pool, "binding", "another limit binds", (*limit, *size, *used)))
            }
            Event::Cleared { pool, lasted, granted, refused } => {
                (Some(*pool), self.cleared(*pool, *lasted, *granted, *refused))
            }
            Event::Connected(pool, _) => {
                (Some(*pool), self.plain(*pool, Level::Debug, "connected", "server connection open"))
            }
            Event::ConnectFailed(pool, failure) => (Some(*pool), self.connect_failed(*pool, failure)),
            Event::ServerDown => (None, self.server_down()),
            Event::ServerUp => (None, self.about_host(Level::Info, "server_up", "is up again")),
            Event::Gone(pool, _, reason) => (Some(*pool), self.gone(*pool, *reason)),
            Event::Ghost(pool, _) => {
                let what = "a closed server connection gave no sign of its end; it stays counted until PostgreSQL's \
                            process is seen gone";
                (Some(*pool), self.plain(*pool, Level::Warn, "ghost", what))
            }
            Event::Applied => (None, self.about_host(Level::Info, "applied", "obeys new settings")),
            Event::Overloaded { pool, class } => (Some(*pool), self.overloaded(*pool, *class)),
            Event::Relaxed { pool, class, lasted, shed } => {
                (Some(*pool), self.relaxed(*pool, *class, (*lasted, *shed)))
            }
            Event::Paused(pool, true) => {
                (Some(*pool), self.plain(*pool, Level::Info, "paused", "paused; lends nothing until RESUME"))
            }
            Event::Paused(pool, false) => (Some(*pool), self.plain(*pool, Level::Info, "resumed", "resumed")),
        }
    }

    fn key(&self, pool: PoolId) -> PoolKey {
        // Events of a pool stand between its making and its retirement; a reader that missed the making still gets a line.
        let unknown = || PoolKey { database: format!("#{}", pool.0), user: "?".into() };
        self.pools.get(&pool).cloned().unwrap_or_else(unknown)
    }

    fn plain(&self, pool: PoolId, level: Level, event: &'static str, what: &str) -> LogLine {
        let key = self.key(pool);
        let message = format!("pool \"{}\" (user \"{}\"): {what}", key.database, key.user);
        LogLine { level, event, message, fields: self.pool_fields(&key) }
    }

    fn pool_fields(&self, key: &PoolKey) -> Vec<Field> {
        vec![text("pool", &key.database), text("user", &key.user), text("server", &self.host)]
    }

    fn about_host(&self, level: Level, event: &'static str, what: &str) -> LogLine {
        let message = format!("server \"{}\" {what}", self.host);
        LogLine { level, event, message, fields: vec![text("server", &self.host)] }
    }

    fn bound(&self, pool: PoolId, event: &'static str, what: &str, bound: (Limit, u32, u32)) -> LogLine {
        let (limit, size, used) = bound;
        let step = remedy::next_step(limit, &self.host, &self.key(pool));
        let what = format!("{what}: {} binds ({used} of {size} used); {step}", limit.name());
        // Whoever waits for a connection being opened waits for nothing that anybody must change.
        let level = if limit == Limit::Connects { Level::Info } else { Level::Warn };
        let mut line = self.plain(pool, level, event, &what);
        line.fields.push(text("limit", limit.name()));
        line.fields.push(number("size", u64::from(size)));
        line.fields.push(number("used", u64::from(used)));
        line
    }

    fn cleared(&self, pool: PoolId, lasted: Duration, granted: u64, refused: u64) -> LogLine {
        let what = format!(
            "nobody waits any more, after {:.3}s ({granted} granted after waiting, {refused} refused)",
            lasted.as_secs_f64()
        );
        let mut line = self.plain(pool, Level::Info, "cleared", &what);
        line.fields.push(number("lasted_ms", u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX)));
        line.fields.push(number("granted", granted));
        line.fields.push(number("refused", refused));
        line
    }

    fn class(&self, class: ClassId) -> String {
        let unknown = || format!("#{}", class.0);
        self.classes.get(usize::from(class.0)).cloned().unwrap_or_else(unknown)
    }

    fn overloaded(&self, pool: PoolId, class: ClassId) -> LogLine {
        let class = self.class(class);
        let what = format!(
            "class {class} is overloaded, shedding begins: more is asked for than server connections come back for; \
             see SHOW CLASSES and SHOW WAITS"
        );
        let mut line = self.plain(pool, Level::Warn, "shedding", &what);
        line.fields.push(text("class", &class));
        line
    }

    fn relaxed(&self, pool: PoolId, class: ClassId, (lasted, shed): (Duration, u64)) -> LogLine {
        let class = self.class(class);
        let what =
            format!("class {class} is overloaded no more, after {:.3}s ({shed} requests shed)", lasted.as_secs_f64());
        let mut line = self.plain(pool, Level::Info, "shedding_ended", &what);
        line.fields.push(text("class", &class));
        line.fields.push(number("lasted_ms", u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX)));
        line.fields.push(number("shed", shed));
        line
    }

    fn connect_failed(&self, pool: PoolId, failure: &ConnectFailure) -> LogLine {
        let sqlstate = String::from_utf8_lossy(&failure.sqlstate);
        let what = format!("connect to server \"{}\" failed: {} ({sqlstate})", self.host, failure.message);
        let mut line = self.plain(pool, Level::Warn, "connect_failed", &what);
        line.fields.push(text("sqlstate", &sqlstate));
        line.fields.push(text("error", &failure.message));
        line
    }

    fn server_down(&self) -> LogLine {
        let last = self.failure.as_ref();
        let why = last.map_or(String::new(), |f| format!(" ({})", f.message));
        let what = format!("is down{why}: connects back off, clients wait for at most their pool's down_wait");
        let mut line = self.about_host(Level::Error, "server_down", &what);
        line.fields.extend(last.map(|f| text("error", &f.message)));
        line
    }

    fn gone(&self, pool: PoolId, reason: Option<CloseReason>) -> LogLine {
        let Some(reason) = reason else {
            return self.plain(pool, Level::Info, "lost", "server connection ended by itself; see PostgreSQL's log");
        };
        let mut line =
            self.plain(pool, Level::Debug, "closed", &format!("server connection closed ({})", reason.name()));
        line.fields.push(text("reason", reason.name()));
        line
    }
}

fn text(name: &'static str, value: &str) -> Field {
    Field { name, value: FieldValue::Text(value.into()) }
}

const fn number(name: &'static str, value: u64) -> Field {
    Field { name, value: FieldValue::Number(value) }
}

#[cfg(test)]
mod tests {
    use poolwarden_pool::{ConnId, Failure};

    use super::*;

    const POOL: PoolId = PoolId(3);
    const CONN: ConnId = ConnId { index: 0, generation: 0 };

    fn ms(ms: u64) -> Time {
        Time::ZERO + Duration::from_millis(ms)
    }

    fn log() -> StateLog {
        let mut log = StateLog::new("main");
        let key = PoolKey { database: "app".into(), user: "web".into() };
        log.note(ms(0), &Event::PoolMade(POOL, key)).unwrap();
        log
    }

    fn refused() -> Event {
        let failure = ConnectFailure { kind: Failure::Down, sqlstate: *b"08006", message: "connection refused".into() };
        Event::ConnectFailed(POOL, Box::new(failure))
    }

    #[test]
    fn a_waiting_line_names_the_binding_limit_and_what_to_raise() {
        let line = log().note(ms(1), &Event::Waiting { pool: POOL, limit: Limit::User, size: 3, used: 3 }).unwrap();
        assert_eq!(line.level, Level::Warn);
        assert_eq!(
            line.message,
            "pool \"app\" (user \"web\"): clients wait: user binds (3 of 3 used); raise users.web.max_connections, \
             or shorten the hold time"
        );
        assert!(line.fields.contains(&text("limit", "user")) && line.fields.contains(&number("used", 3)));
    }

    #[test]
    fn waiting_for_a_connection_being_opened_is_no_warning() {
        let line = log().note(ms(1), &Event::Waiting { pool: POOL, limit: Limit::Connects, size: 4, used: 1 }).unwrap();
        assert_eq!(line.level, Level::Info);
    }

    #[test]
    fn a_cleared_line_counts_what_happened_meanwhile() {
        let cleared = Event::Cleared { pool: POOL, lasted: Duration::from_millis(1_500), granted: 7, refused: 2 };
        let line = log().note(ms(1), &cleared).unwrap();
        assert!(line.message.ends_with("after 1.500s (7 granted after waiting, 2 refused)"), "{}", line.message);
    }

    #[test]
    fn a_server_down_line_says_the_last_error_and_up_forgets_it() {
        let mut log = log();
        log.note(ms(1), &refused()).unwrap();
        let down = log.note(ms(2), &Event::ServerDown).unwrap();
        assert!(down.message.starts_with("server \"main\" is down (connection refused): "), "{}", down.message);
        assert_eq!(down.level, Level::Error);
        log.note(ms(3), &Event::ServerUp).unwrap();
        log.due(ms(2_000));
        let again = log.note(ms(3_000), &Event::ServerDown).unwrap();
        assert!(again.message.starts_with("server \"main\" is down: "), "{}", again.message);
    }

    #[test]
    fn repeats_within_a_second_become_one_line_with_their_count() {
        let mut log = log();
        assert!(log.note(ms(10), &refused()).is_some());
        for n in 0..10_000 {
            assert_eq!(log.note(ms(11 + n / 20), &refused()), None);
        }
        assert!(log.due(ms(1_009)).iter().all(|line| line.event != "connect_failed"));
        let lines = log.due(ms(1_010));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].message.ends_with("(and 9999 more like it)"), "{}", lines[0].message);
        assert!(lines[0].fields.contains(&number("repeated", 10_000)));
        assert!(log.due(ms(2_010)).is_empty());
        assert_eq!(log.next_due(), None);
        assert!(log.note(ms(2_011), &refused()).is_some());
    }

    #[test]
    fn of_folded_lines_the_one_that_holds_now_stands_last() {
        let waiting = Event::Waiting { pool: POOL, limit: Limit::User, size: 3, used: 3 };
        let cleared = Event::Cleared { pool: POOL, lasted: Duration::from_millis(5), granted: 1, refused: 0 };
        let mut log = log();
        let order = |lines: Vec<LogLine>| lines.iter().map(|line| line.event).collect::<Vec<_>>();
        for event in [&waiting, &cleared, &waiting, &cleared] {
            log.note(ms(1), event);
        }
        assert_eq!(order(log.due(ms(1_001))), ["waiting", "cleared"]);
        for event in [&waiting, &cleared, &waiting] {
            log.note(ms(1_002), event);
        }
        assert_eq!(order(log.due(ms(2_001))), ["cleared", "waiting"]);
    }

    #[test]
    fn kinds_and_pools_are_not_folded_into_each_other() {
        let mut log = log();
        assert!(log.note(ms(1), &Event::Connected(POOL, CONN)).is_some());
        assert!(log.note(ms(1), &Event::Gone(POOL, CONN, None)).is_some());
        assert!(log.note(ms(1), &Event::Gone(POOL, CONN, Some(CloseReason::Idle))).is_some());
        let other = log.note(ms(1), &Event::Connected(PoolId(9), CONN)).unwrap();
        assert!(other.message.starts_with("pool \"#9\" (user \"?\"): "), "{}", other.message);
    }

    #[test]
    fn shedding_is_said_once_when_it_begins_and_once_when_it_ends_with_its_count() {
        let mut log = log();
        log.name_classes(vec!["default".into(), "batch".into()]);
        let (batch, other) = (ClassId(1), ClassId(7));
        let begins = log.note(ms(1), &Event::Overloaded { pool: POOL, class: batch }).unwrap();
        assert!(begins.message.starts_with("pool \"app\" (user \"web\"): class batch is overloaded, shedding begins"));
        assert_eq!(begins.level, Level::Warn);
        assert!(
            log.note(ms(2), &Event::Overloaded { pool: POOL, class: other }).is_some(),
            "another class is other news"
        );
        let lasted = Duration::from_millis(1_500);
        let ends = log.note(ms(3), &Event::Relaxed { pool: POOL, class: batch, lasted, shed: 12 }).unwrap();
        assert!(ends.message.ends_with("class batch is overloaded no more, after 1.500s (12 requests shed)"));
        assert!(ends.fields.contains(&text("class", "batch")) && ends.fields.contains(&number("shed", 12)));
        assert_eq!(log.note(ms(4), &Event::Overloaded { pool: POOL, class: batch }), None, "folded");
        let folded: Vec<_> = log.due(ms(1_002)).into_iter().map(|line| line.event).collect();
        assert_eq!(folded, ["shedding"]);
    }

    #[test]
    fn a_repeat_that_nobody_collected_in_time_is_not_lost() {
        let mut log = log();
        log.note(ms(0), &Event::Applied).unwrap();
        assert_eq!(log.note(ms(1), &Event::Applied), None);
        assert_eq!(log.note(ms(5_000), &Event::Applied), None);
        let lines = log.due(ms(5_000));
        assert!(lines.iter().any(|line| line.event == "applied" && line.fields.contains(&number("repeated", 2))));
    }
}
