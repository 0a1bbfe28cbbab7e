//! The log: lines go through a bounded channel to a thread that writes them to standard error, and under PgBouncer's
//! configuration to its log file and syslog as well.
//!
//! Whoever says something never waits: when the writer is behind, lines are dropped and counted, and the count is said
//! as soon as there is room. Text is for people, JSON for machines, PgBouncer's own form for the tools that read its log;
//! none of them lets a peer's words start a line of their own.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use poolwarden_config::{Config, LogFormat, LogLevel};
use poolwarden_watch::{Field, FieldValue, Level, LogLine};

use super::json;
use super::running::held;
use super::syslog::Syslog;

/// The newest lines are kept for a bundle, these many,
const MAX_RECENT: usize = 2_000;
/// and of all of them together this much.
const MAX_RECENT_BYTES: usize = 1 << 20;
/// Lines waiting for the writer: repeats are folded before, so this is many seconds of trouble.
const MAX_WAITING: usize = 4096;
/// A reader of standard error that takes nothing must not keep the process from ending.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Where lines are said. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Log {
    sender: SyncSender<Entry>,
    switches: Arc<Switches>,
}

#[derive(Debug)]
struct Switches {
    json: AtomicBool,
    /// Lines are written as PgBouncer writes them.
    pgbouncer: AtomicBool,
    level: AtomicU8,
    dropped: AtomicU64,
    recent: Mutex<Recent>,
}

/// The newest lines as text, oldest first.
#[derive(Debug, Default)]
struct Recent {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Recent {
    fn add(&mut self, line: String) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > MAX_RECENT || self.bytes > MAX_RECENT_BYTES {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.len();
        }
    }
}

/// Where lines go besides standard error.
#[derive(Debug, Default)]
struct Outlets {
    file: Option<File>,
    syslog: Option<Syslog>,
}

enum Entry {
    Line(u64, LogLine),
    /// From the next line on.
    Outlets(Outlets),
    /// Everything before it was written when this is answered.
    Flush(Sender<()>),
}

impl Log {
    /// Starts the writer.
    pub(super) fn start(config: &Config) -> anyhow::Result<Self> {
        let outlets = Outlets::open(config)?;
        let log = Self::to(config.log, std::io::stderr())?;
        log.switches.pgbouncer.store(config.pgbouncer.is_some(), Ordering::Relaxed);
        let _full = log.sender.try_send(Entry::Outlets(outlets)); // it is empty: nothing was said yet
        Ok(log)
    }

    pub(super) fn to(settings: poolwarden_config::Log, out: impl Write + Send + 'static) -> anyhow::Result<Self> {
        let (sender, receiver) = sync_channel(MAX_WAITING);
        let (json, level, dropped) = (AtomicBool::new(false), AtomicU8::new(0), AtomicU64::new(0));
        let (pgbouncer, recent) = (AtomicBool::new(false), Mutex::default());
        let log = Self { sender, switches: Arc::new(Switches { json, pgbouncer, level, dropped, recent }) };
        log.obey(settings);
        let switches = Arc::clone(&log.switches);
        let writer = thread::Builder::new().name("log".to_owned());
        writer.spawn(move || write_all(&receiver, &switches, out)).context("cannot start the log's thread")?;
        Ok(log)
    }

    /// Format and level from now on.
    pub(super) fn obey(&self, settings: poolwarden_config::Log) {
        self.switches.json.store(settings.format == LogFormat::Json, Ordering::Relaxed);
        self.switches.level.store(rank(least(settings.level)), Ordering::Relaxed);
    }

    /// Opens log file and syslog again, as the configuration now says: a file that was moved away gets a successor.
    /// What cannot be opened is said, and the old one stays.
    pub(super) fn reopen(&self, config: &Config) {
        match Outlets::open(config) {
            Ok(outlets) => {
                if self.sender.try_send(Entry::Outlets(outlets)).is_err() {
                    self.switches.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(error) => self.say(Level::Error, "log", format!("the log goes on where it was: {error:#}")),
        }
    }

    /// Writes a line, or drops it when the writer is behind.
    pub(super) fn write(&self, line: LogLine) {
        if rank(line.level) > self.switches.level.load(Ordering::Relaxed) {
            return;
        }
        if self.sender.try_send(Entry::Line(unix_ms(), line)).is_err() {
            self.switches.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A line of this process's own.
    pub(super) fn say(&self, level: Level, event: &'static str, message: impl Into<String>) {
        self.write(LogLine { level, event, message: message.into(), fields: Vec::new() });
    }

    /// The newest lines that were written, as text, oldest first.
    pub(super) fn recent(&self) -> Vec<String> {
        held(&self.switches.recent).lines.iter().cloned().collect()
    }

    /// Lines dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.switches.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what was said is written, but not for long.
    pub(super) fn flush(&self) {
        let (done, written) = channel();
        if self.sender.try_send(Entry::Flush(done)).is_ok() {
            // Late or not: the process ends now.
            let _late = written.recv_timeout(LAST_WORDS);
        }
    }
}

impl Outlets {
    fn open(config: &Config) -> anyhow::Result<Self> {
        let Some(process) = &config.pgbouncer else { return Ok(Self::default()) };
        let open = |path: &String| {
            let opened = OpenOptions::new().create(true).append(true).mode(0o640).open(path);
            opened.with_context(|| format!("logfile {path}: cannot open"))
        };
        let syslog = |of: &poolwarden_config::pgbouncer::Syslog| {
            Syslog::open(&of.facility, &of.ident).context("syslog: cannot make a socket")
        };
        Ok(Self {
            file: process.logfile.as_ref().map(open).transpose()?,
            syslog: process.syslog.as_ref().map(syslog).transpose()?,
        })
    }
}

/// Milliseconds since 1970 UTC.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// There is nothing below debug here yet.
const fn least(level: LogLevel) -> Level {
    match level {
        LogLevel::Error => Level::Error,
        LogLevel::Warn => Level::Warn,
        LogLevel::Info => Level::Info,
        LogLevel::Debug | LogLevel::Trace => Level::Debug,
    }
}

const fn rank(level: Level) -> u8 {
    level as u8
}

fn write_all(entries: &Receiver<Entry>, switches: &Switches, mut out: impl Write) {
    let (mut told, mut outlets) = (0, Outlets::default());
    for entry in entries {
        match entry {
            Entry::Line(at, line) => write_line(&mut out, &mut outlets, switches, (at, &line)),
            Entry::Outlets(new) => outlets = new,
            Entry::Flush(done) => {
                // Nobody waits any more: then nobody has to be told.
                let _gone = done.send(());
            }
        }
        let dropped = switches.dropped.load(Ordering::Relaxed);
        if dropped > told {
            let fields = vec![Field { name: "dropped", value: FieldValue::Number(dropped - told) }];
            let message = "the log's reader is slow: lines were dropped".to_owned();
            let line = LogLine { level: Level::Warn, event: "log_dropped", message, fields };
            write_line(&mut out, &mut outlets, switches, (unix_ms(), &line));
            told = dropped;
        }
    }
}

fn write_line(out: &mut impl Write, outlets: &mut Outlets, switches: &Switches, (at, line): (u64, &LogLine)) {
    held(&switches.recent).add(as_text(at, line));
    let written = if switches.json.load(Ordering::Relaxed) {
        as_json(at, line)
    } else if switches.pgbouncer.load(Ordering::Relaxed) {
        as_pgbouncer(at, line)
    } else {
        as_text(at, line)
    };
    let mut failed = out.write_all(written.as_bytes()).and_then(|()| out.flush()).is_err();
    if let Some(file) = &mut outlets.file {
        failed |= file.write_all(written.as_bytes()).is_err();
    }
    if let Some(syslog) = &outlets.syslog {
        failed |= syslog.send(line.level, &plain(&line.message)).is_err();
    }
    if failed {
        // Somewhere nobody takes it: there is nowhere sure to say so but in the count.
        switches.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// `2024-08-15 08:00:00.123 UTC [4711] LOG stats: ...`, as PgBouncer's own log reads.
fn as_pgbouncer(at: u64, line: &LogLine) -> String {
    let level = match line.level {
        Level::Error => "ERROR",
        Level::Warn => "WARNING",
        Level::Info => "LOG",
        Level::Debug => "DEBUG",
    };
    let moment = moment(at).replace('T', " ").replace('Z', " UTC");
    format!("{moment} [{}] {level} {}\n", std::process::id(), plain(&line.message))
}

/// `2024-08-15T08:00:00.123Z WARN  pool "app" ...: clients wait ...  event=waiting pool=app ...`
fn as_text(at: u64, line: &LogLine) -> String {
    let level = line.level.name().to_uppercase();
    let mut out = format!("{} {level:<5} {}  event={}", moment(at), plain(&line.message), line.event);
    for field in &line.fields {
        // Writing to a string does not fail.
        write!(out, " {}={}", field.name, bare(&field.value)).unwrap_or_default();
    }
    out.push('\n');
    out
}

fn as_json(at: u64, line: &LogLine) -> String {
    let mut out =
        format!("{{\"time\":\"{}\",\"level\":\"{}\",\"event\":\"{}\"", moment(at), line.level.name(), line.event);
    let text = |name: &str, value: &str| format!(",{}:{}", json::quote(name), json::quote(value));
    out.push_str(&text("message", &line.message));
    for field in &line.fields {
        match &field.value {
            FieldValue::Text(value) => out.push_str(&text(field.name, value)),
            FieldValue::Number(value) => out.push_str(&format!(",{}:{value}", json::quote(field.name))),
        }
    }
    out.push_str("}\n");
    out
}

/// Without control characters: a peer's words do not start lines.
fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

fn bare(value: &FieldValue) -> String {
    match value {
        FieldValue::Number(number) => number.to_string(),
        FieldValue::Text(text) => {
            let simple = |c: char| !c.is_control() && !c.is_whitespace() && c != '"' && c != '=' && c != '\\';
            if !text.is_empty() && text.chars().all(simple) { text.clone() } else { json::quote(text) }
        }
    }
}

/// RFC 3339 in UTC, with milliseconds.
fn moment(unix_ms: u64) -> String {
    let (seconds, millis) = (unix_ms / 1000, unix_ms % 1000);
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Year, month and day of a day counted from 1970-01-01: whole years and months are taken off until none fits.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests;
