//! What happened, as log lines: a task that looks at the proxy a few times a second, and keeps the averages.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use poolwarden_proxy::{Note, Proxy};
use poolwarden_watch::{Field, FieldValue, Level, LogLine, StateLog};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::plan;
use super::running::{Running, held};

/// A person sees no delay, and a look costs nothing that could be measured.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Notes of one kind are said at most this often; what comes in between is counted.
const NOTES_EVERY: u32 = 5; // looks: once a second
/// Averages change once a minute; a look this often keeps that minute within a few seconds.
const AVERAGES_EVERY: u32 = 25; // looks: every 5 s

/// What has been seen, and not said yet.
struct Journal {
    hosts: Vec<StateLog>,
    notes: Vec<Note>,
    stuck: Option<String>,
    gaps_ms: u64,
}

/// Looks until `stopping` says so, and then once more.
pub(super) async fn keep(running: Arc<Running>, proxy: Proxy, mut stopping: watch::Receiver<bool>) {
    let hosts = running.config().servers.iter().map(|server| StateLog::new(&server.name)).collect();
    let mut journal = Journal { hosts, notes: Vec::new(), stuck: None, gaps_ms: 0 };
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count: u32 = 0;
    loop {
        let over = tokio::select! {
            _ = looks.tick() => false,
            _said = stopping.wait_for(|stop| *stop) => true,
        };
        journal.states(&running, &proxy);
        journal.notes.extend(proxy.notes());
        if over || count.is_multiple_of(NOTES_EVERY) {
            journal.say_notes(&running);
            journal.health(&running, &proxy);
        }
        if over {
            return;
        }
        if count.is_multiple_of(AVERAGES_EVERY) {
            let view = running.view(false).await;
            held(&running.averages).observe(proxy.now(), &view.traffic);
            journal.gap(&running, proxy.figures().await.gaps_ms);
        }
        count = count.wrapping_add(1);
    }
}

impl Journal {
    fn states(&mut self, running: &Running, proxy: &Proxy) {
        let now = proxy.now();
        for (index, states) in self.hosts.iter_mut().enumerate() {
            let (events, dropped) = proxy.events(plan::host_id(index));
            let lines = events.iter().filter_map(|event| states.note(now, event)).collect::<Vec<_>>();
            lines.into_iter().chain(states.due(now)).for_each(|line| running.log.write(line));
            running.facts_dropped.fetch_add(dropped, Ordering::Relaxed);
        }
    }

    fn say_notes(&mut self, running: &Running) {
        for note in fold(std::mem::take(&mut self.notes)) {
            running.log.write(line(&note));
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

/// Notes that say the same are one, with their counts added.
fn fold(notes: Vec<Note>) -> Vec<Note> {
    let mut folded: Vec<Note> = Vec::new();
    for note in notes {
        match folded.iter_mut().find(|kept| kept.kind == note.kind && kept.text == note.text) {
            Some(kept) => kept.times = kept.times.saturating_add(note.times),
            None => folded.push(note),
        }
    }
    folded
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

    #[test]
    fn the_same_remark_of_several_looks_is_one_line_with_its_count_and_first_client() {
        let notes = vec![
            note("login", "no such user", Some("10.0.0.7:5000"), 2),
            note("protocol", "no such user", None, 1),
            note("login", "no such user", Some("10.0.0.8:5000"), 3),
        ];
        let lines: Vec<_> = fold(notes).iter().map(line).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].event, lines[0].message.as_str()), ("login", "no such user (and 4 more like it)"));
        let client = Field { name: "client", value: FieldValue::Text("10.0.0.7:5000".to_owned()) };
        let repeated = Field { name: "repeated", value: FieldValue::Number(5) };
        assert_eq!(lines[0].fields, [client, repeated]);
        assert_eq!((lines[1].message.as_str(), lines[1].fields.as_slice()), ("no such user", &[][..]));
    }
}
