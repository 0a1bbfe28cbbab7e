//! Lines into a buffer, and into a writer that takes nothing.

use std::sync::{Mutex, PoisonError};

use super::*;

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn settings(format: LogFormat, level: LogLevel) -> poolwarden_config::Log {
    poolwarden_config::Log { format, level }
}

fn line(message: &str) -> LogLine {
    let text = |name, value: &str| Field { name, value: FieldValue::Text(value.to_owned()) };
    let fields =
        vec![text("pool", "app"), text("error", "no \"way\"\n"), Field { name: "used", value: FieldValue::Number(3) }];
    LogLine { level: Level::Warn, event: "waiting", message: message.to_owned(), fields }
}

#[test]
fn text_has_time_level_message_and_values_on_one_line() {
    let written = as_text(1_723_708_800_042, &line("a peer says:\nINFO all is well"));
    assert_eq!(
        written,
        "2024-08-15T08:00:00.042Z WARN  a peer says: INFO all is well  event=waiting pool=app error=\"no \\\"way\\\"\\n\" used=3\n"
    );
}

#[test]
fn json_has_the_same_as_values() {
    let written = as_json(951_827_696_789, &line("clients wait"));
    assert_eq!(
        written,
        "{\"time\":\"2000-02-29T12:34:56.789Z\",\"level\":\"warn\",\"event\":\"waiting\",\"message\":\"clients wait\",\
         \"pool\":\"app\",\"error\":\"no \\\"way\\\"\\n\",\"used\":3}\n"
    );
}

#[test]
fn pgbouncers_form_is_what_its_tools_read() {
    let mut line = line("stats: 1 xacts/s,\nLOG x");
    line.level = Level::Info;
    let written = as_pgbouncer(1_723_708_800_042, &line);
    let expected = format!("2024-08-15 08:00:00.042 UTC [{}] LOG stats: 1 xacts/s, LOG x\n", std::process::id());
    assert_eq!(written, expected);
}

#[test]
fn lines_go_to_the_log_file_too_and_to_its_successor_once_it_was_moved_away() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pooler.log");
    let open =
        || Outlets { file: Some(OpenOptions::new().create(true).append(true).open(&path).unwrap()), syslog: None };
    let log = Log::to(settings(LogFormat::Text, LogLevel::Info), Kept::default()).unwrap();
    log.sender.send(Entry::Outlets(open())).unwrap();
    log.write(line("before"));
    log.flush();
    std::fs::rename(&path, dir.path().join("old")).unwrap();
    log.write(line("between"));
    log.sender.send(Entry::Outlets(open())).unwrap();
    log.write(line("after"));
    log.flush();
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    assert!(read("old").contains("before") && read("old").contains("between"));
    assert!(read("pooler.log").contains("after") && !read("pooler.log").contains("between"));
}

#[test]
fn moments_are_right_at_the_edges_of_years() {
    assert_eq!(moment(0), "1970-01-01T00:00:00.000Z");
    assert_eq!(moment(4_107_542_399_999), "2100-02-28T23:59:59.999Z");
    assert_eq!(moment(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    assert_eq!(moment(1_735_689_599_000), "2024-12-31T23:59:59.000Z");
}

#[test]
fn what_is_below_the_level_is_not_written_and_the_level_can_change() {
    let kept = Kept::default();
    let log = Log::to(settings(LogFormat::Text, LogLevel::Error), kept.clone()).unwrap();
    log.write(line("hidden"));
    log.obey(settings(LogFormat::Json, LogLevel::Warn));
    log.write(line("shown"));
    log.flush();
    assert!(!kept.text().contains("hidden") && kept.text().contains("\"message\":\"shown\""), "{}", kept.text());
}

/// Takes nothing until it is let go.
struct Stuck(Receiver<()>, Kept);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // Once let go, the sender is gone and this no longer waits.
        let _gone = self.0.recv();
        self.1.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_slow_reader_costs_lines_and_never_time() {
    let (go, stuck) = channel();
    let kept = Kept::default();
    let log = Log::to(settings(LogFormat::Text, LogLevel::Info), Stuck(stuck, kept.clone())).unwrap();
    for _ in 0..MAX_WAITING + 100 {
        log.write(line("again"));
    }
    let dropped = log.dropped();
    assert!((99..=100).contains(&dropped), "{dropped}");
    drop(go);
    let (done, written) = channel();
    log.sender.send(Entry::Flush(done)).unwrap();
    written.recv().unwrap();
    assert!(kept.text().contains(&format!("dropped={dropped}\n")), "{dropped}");
}

#[test]
fn the_newest_lines_are_kept_within_a_count_and_a_size() {
    let mut recent = Recent::default();
    (0..MAX_RECENT + 5).for_each(|n| recent.add(format!("{n}\n")));
    assert_eq!((recent.lines.len(), recent.lines[0].as_str()), (MAX_RECENT, "5\n"));
    assert_eq!(recent.bytes, recent.lines.iter().map(String::len).sum::<usize>());
    let long = "x".repeat(MAX_RECENT_BYTES / 2);
    (0..3).for_each(|_| recent.add(long.clone()));
    assert_eq!((recent.lines.len(), recent.bytes), (2, 2 * long.len()));
    recent.add("x".repeat(MAX_RECENT_BYTES + 1));
    assert_eq!((recent.lines.len(), recent.bytes), (0, 0), "one that is larger than all of them is not kept");
}
