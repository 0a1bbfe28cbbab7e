//! What happened, as log lines: a task that looks at the proxy a few times a second, and keeps the averages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use poolwarden_config::Config;
use poolwarden_config::pgbouncer::Process;
use poolwarden_pool::{HostId, Time};
use poolwarden_proxy::{Note, Proxy};
use poolwarden_switch::Detail;
use poolwarden_watch::{Field, FieldValue, Level, LogLine, StateLog};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::certificates::Reminder;
use super::log::unix_ms;
use super::passage;
use super::plan;
use super::running::{Running, held};
use super::stats;

/// A person sees no delay, and a look costs nothing that could be measured.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The same remark is said at most this often; what comes in between is counted.
const FOLD: Duration = Duration::from_secs(1);
/// Different remarks in one look; who sends so many kinds of nonsense at once is known by these.
const MAX_REMARKS: usize = 20;
/// How often it is asked whether the watch connections are there: they are tried again every few seconds.
const BLIND_EVERY: u32 = 5; // looks: once a second
/// Averages change once a period, a minute unless PgBouncer's configuration says otherwise; a look this often keeps that
/// minute within a few seconds.
const AVERAGES_EVERY: u32 = 25; // looks: every 5 s

/// What has been seen, and not said yet.
#[derive(Default)]
struct Journal {
    /// Of every server there was: what ends there is said too.
    hosts: BTreeMap<HostId, StateLog>,
    /// The configuration that the classes' names are of.
    named: Option<Arc<Config>>,
    remarks: Remarks,
    /// Why each server's watch connection is not there, as last said.
    blind: BTreeMap<HostId, String>,
    stuck: Option<String>,
    gaps_ms: u64,
    reminder: Reminder,
}

/// Looks until `stopping` says so, and then once more.
pub(super) async fn keep(running: Arc<Running>, proxy: Proxy, mut stopping: watch::Receiver<bool>) {
    let mut journal = Journal::default();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count: u32 = 0;
    loop {
        let over = tokio::select! {
            _ = looks.tick() => false,
            _said = stopping.wait_for(|stop| *stop) => true,
        };
        journal.states(&running, &proxy);
        passages(&running, &proxy);
        let (now, notes) = (if over { Time::NEVER } else { proxy.now() }, proxy.notes());
        journal.remarks.take(now, notes).into_iter().for_each(|line| running.log.write(line));
        journal.health(&running, &proxy);
        if count.is_multiple_of(BLIND_EVERY) {
            journal.blindness(&running, &proxy);
            let now_s = i64::try_from(unix_ms() / 1000).unwrap_or(i64::MAX);
            for (level, said) in journal.reminder.due(now_s, &proxy.certificates()) {
                running.log.say(level, "certificate", said);
            }
        }
        if over {
            return;
        }
        if count.is_multiple_of(averages_every(&running)) {
            averages(&running, &proxy).await;
            journal.gap(&running, proxy.figures().await.gaps_ms);
        }
        count = count.wrapping_add(1);
    }
}

/// PgBouncer's lines about each client, as far as its configuration asks for them.
fn passages(running: &Running, proxy: &Proxy) {
    let config = running.config();
    let process = config.pgbouncer.as_deref();
    let wants = |process: &Process| process.log_connections || process.log_disconnections || process.log_pooler_errors;
    proxy.listen(process.is_some_and(wants));
    let Some(process) = process else { return };
    let (passages, more) = proxy.passages();
    for passage in &passages {
        if let Some((level, line)) = passage::line(process, passage) {
            running.log.say(level, "client", line);
        }
    }
    if more > 0 {
        running.log.say(Level::Warn, "client", format!("and {more} more clients came, went or were refused"));
    }
}

/// In looks: a twelfth of a period of another length.
fn averages_every(running: &Running) -> u32 {
    let looks = |period: Duration| period.as_millis() / (12 * LOOK_EVERY.as_millis());
    let config = running.config();
    let every = config.pgbouncer.as_ref().map(|process| looks(process.stats_period));
    every.map_or(AVERAGES_EVERY, |looks| u32::try_from(looks).unwrap_or(AVERAGES_EVERY).clamp(1, AVERAGES_EVERY))
}

async fn averages(running: &Running, proxy: &Proxy) {
    let mut view = running.view(Detail::Totals).await;
    let ended = held(&running.averages).observe(proxy.now(), &view.traffic);
    let said = running.config().pgbouncer.as_ref().is_some_and(|process| process.log_stats);
    if ended && said {
        held(&running.averages).fill(&mut view);
        if let Some(line) = stats::line(&view) {
            running.log.say(Level::Info, "stats", line);
        }
    }
}

impl Journal {
    /// Without its watch connection a server's own limits are not seen: said when it changes.
    fn blindness(&mut self, running: &Running, proxy: &Proxy) {
        let config = running.config();
        self.blind.retain(|id, _| plan::host_ids(&config).any(|there| there == *id));
        for server in config.servers.iter().filter(|server| server.watch.is_some()) {
            let Some((_, facts, why)) = proxy.host(server.id) else { continue };
            if why.as_ref() == self.blind.get(&server.id) {
                continue;
            }
            running.log.write(sight(&server.name, facts.is_some(), why.as_deref()));
            match why {
                Some(why) => self.blind.insert(server.id, why),
                None => self.blind.remove(&server.id),
            };
        }
    }

    fn states(&mut self, running: &Running, proxy: &Proxy) {
        let (now, config) = (proxy.now(), running.config());
        if !self.named.as_ref().is_some_and(|named| Arc::ptr_eq(named, &config)) {
            let names: Vec<String> = config.classes_by_id().map(|(_, name, _)| name.to_owned()).collect();
            for server in &config.servers {
                self.hosts.entry(server.id).or_insert_with(|| StateLog::new(&server.name));
            }
            self.hosts.values_mut().for_each(|states| states.name_classes(names.clone()));
            self.named = Some(config);
        }
        for (host, states) in &mut self.hosts {
            let (events, dropped) = proxy.events(*host);
            let lines = events.iter().filter_map(|event| states.note(now, event)).collect::<Vec<_>>();
            lines.into_iter().chain(states.due(now)).for_each(|line| running.log.write(line));
            running.facts_dropped.fetch_add(dropped, Ordering::Relaxed);
        }
    }

    fn health(&mut self, running: &Running, proxy: &Proxy) {
        let stuck = proxy.healthy().err();
        if stuck == self.stuck {
            return;
        }
        match &stuck {
            Some(why) => running.log.say(Level::Error, "unhealthy", why.clone()),
            None => running.log.say(Level::Info, "healthy", "every event loop turns again"),
        }
        self.stuck = stuck;
    }

    /// The whole process stood still: that explains waits which nobody here caused.
    fn gap(&mut self, running: &Running, gaps_ms: u64) {
        let gap = gaps_ms.saturating_sub(self.gaps_ms);
        self.gaps_ms = gaps_ms;
        if gap > 0 {
            let message =
                "the process stood still (stopped, suspended, or starved of CPU); deadlines were moved by as much";
            let fields = vec![Field { name: "gap_ms", value: FieldValue::Number(gap) }];
            running.log.write(LogLine { level: Level::Warn, event: "gap", message: message.to_owned(), fields });
        }
    }
}

/// Remarks about clients: each is said at once, its repeats once a second with their count.
#[derive(Default)]
struct Remarks {
    /// Said within the last second, with the repeats since; bounded by what is said in a second.
    folds: BTreeMap<(&'static str, String), Fold>,
}

struct Fold {
    since: Time,
    repeats: Option<Note>,
}

impl Remarks {
    /// What to say now. At the end of time everything left is said.
    fn take(&mut self, now: Time, notes: Vec<Note>) -> Vec<LogLine> {
        let mut lines = self.due(now);
        let mut more = 0;
        for note in notes {
            let key = (note.kind, note.text.clone());
            if let Some(fold) = self.folds.get_mut(&key) {
                match &mut fold.repeats {
                    Some(kept) => kept.times = kept.times.saturating_add(note.times),
                    none => *none = Some(note),
                }
            } else if lines.len() < MAX_REMARKS {
                lines.push(line(&note));
                self.folds.insert(key, Fold { since: now, repeats: None });
            } else {
                more += note.times;
            }
        }
        if more > 0 {
            let fields = vec![Field { name: "unsaid", value: FieldValue::Number(more) }];
            let message = format!("and {more} other remarks about clients");
            lines.push(LogLine { level: Level::Warn, event: "remarks", message, fields });
        }
        lines
    }

    /// Repeats whose second is over.
    fn due(&mut self, now: Time) -> Vec<LogLine> {
        let mut lines = Vec::new();
        self.folds.retain(|_, fold| {
            if now.since(fold.since) < FOLD {
                return true;
            }
            fold.since = now;
            fold.repeats.take().is_some_and(|note| {
                lines.push(line(&note));
                true
            })
        });
        lines
    }
}

fn sight(server: &str, is_there: bool, why: Option<&str>) -> LogLine {
    let text = |name, value: &str| Field { name, value: FieldValue::Text(value.to_owned()) };
    let mut fields = vec![text("server", server)];
    fields.extend(why.map(|why| text("error", why)));
    let (level, event, message) = match why {
        Some(why) if is_there => {
            (Level::Warn, "watch_blind", format!("server \"{server}\": the watch connection sees too little: {why}"))
        }
        Some(why) => {
            let next = format!("PostgreSQL's own limits are not seen until it is back; see servers.{server}.watch");
            (Level::Warn, "watch_lost", format!("server \"{server}\": no watch connection ({why}); {next}"))
        }
        None => (Level::Info, "watch_found", format!("server \"{server}\": the watch connection is there")),
    };
    LogLine { level, event, message, fields }
}

fn line(note: &Note) -> LogLine {
    let mut message = note.text.clone();
    let mut fields = Vec::new();
    if let Some(from) = note.from {
        fields.push(Field { name: "client", value: FieldValue::Text(from.to_string()) });
    }
    if note.times > 1 {
        message.push_str(&format!(" (and {} more like it)", note.times - 1));
        fields.push(Field { name: "repeated", value: FieldValue::Number(note.times) });
    }
    LogLine { level: Level::Warn, event: note.kind, message, fields }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(kind: &'static str, text: &str, from: Option<&str>, times: u64) -> Note {
        Note { kind, text: text.to_owned(), from: from.map(|from| from.parse().unwrap()), times }
    }

    fn at(ms: u64) -> Time {
        Time::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn a_remark_is_said_at_once_and_its_repeats_once_a_second() {
        let mut remarks = Remarks::default();
        let first = remarks.take(at(0), vec![note("login", "no such user", Some("10.0.0.7:5000"), 2)]);
        let client = |from: &str| Field { name: "client", value: FieldValue::Text(from.to_owned()) };
        let repeated = |times| Field { name: "repeated", value: FieldValue::Number(times) };
        assert_eq!((first[0].event, first[0].message.as_str()), ("login", "no such user (and 1 more like it)"));
        assert_eq!(first[0].fields, [client("10.0.0.7:5000"), repeated(2)]);
        let same = |from| note("login", "no such user", Some(from), 3);
        assert_eq!(remarks.take(at(200), vec![same("10.0.0.8:1")]), []);
        assert_eq!(remarks.take(at(999), vec![same("10.0.0.9:1")]), []);
        let repeats = remarks.take(at(1_000), Vec::new());
        assert_eq!(repeats[0].fields, [client("10.0.0.8:1"), repeated(6)]);
        assert_eq!(remarks.take(at(2_000), Vec::new()), []);
        assert_eq!(remarks.take(at(2_001), vec![note("login", "no such user", None, 1)])[0].fields, []);
        assert_eq!(remarks.take(at(2_002), vec![same("10.0.0.9:1")]), []);
        assert_eq!(remarks.take(Time::NEVER, Vec::new()).len(), 1, "the end leaves nothing unsaid");
    }

    #[test]
    fn many_different_remarks_at_once_are_summed_up() {
        let notes = (0..100).map(|n| note("protocol", &format!("nonsense {n}"), None, 2)).collect();
        let lines = Remarks::default().take(at(0), notes);
        assert_eq!(lines.len(), MAX_REMARKS + 1);
        let rest = 2 * (100 - MAX_REMARKS as u64);
        assert_eq!(lines[MAX_REMARKS].fields, [Field { name: "unsaid", value: FieldValue::Number(rest) }]);
    }
}
