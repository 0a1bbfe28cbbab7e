//! The bundle: everything worth keeping before somebody restarts something, as one archive in memory.
//!
//! No secret is in it and no value of a client's statement: statements come normalised, PostgreSQL's own view without them.
//! Bounds: [`MAX_BYTES`] before packing, [`MAX_FILE`] per file; what is longer is cut at a line, and says so.

use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use poolwarden_console::history::{self, History};
use poolwarden_console::http::{Beside, Past, Refused, RefusedKind, why_json, why_text};
use poolwarden_console::metrics::{self, Scrape};
use poolwarden_console::review;
use poolwarden_console::rfc3339;
use poolwarden_console::sql::{self, Answer, Asker, Rights, Rows, Sight, Voice};
use poolwarden_console::why::{self, Layout, Texts};
use poolwarden_store::recording::Tape;
use poolwarden_switch::Detail;
use poolwarden_watch::{Activity, Level, View};

use super::change;
use super::drawer;
use super::running::{Running, held};

/// Far above what one process has to say, and little beside its memory.
const MAX_BYTES: usize = 16 << 20;
/// Of one file, so that none crowds out the others.
const MAX_FILE: usize = 4 << 20;
/// Tables of the console, the most telling first.
const TABLES: [&str; 11] =
    ["POOLS", "WAITS", "LIMITS", "HOLDERS", "FORECAST", "STATS", "CLASSES", "DATABASES", "USERS", "SERVERS", "CLIENTS"];

/// So many versions and deeds.
const VERSIONS: Past = Past { limit: 100, before: None, version: None };

/// Gathers and packs; `by`: who asks.
pub(super) async fn bundle(running: &Arc<Running>, by: &str) -> Result<Vec<u8>, Refused> {
    running.proxy().ok_or_else(drawer::starting)?;
    let view = running.view(Detail::Everything).await;
    let (why, holders) = {
        let watch = held(&running.watch);
        (watch.why(&view, None), watch.holders(&view, None))
    };
    let (review, standing) = (running.reviews.newest(), running.stands());
    let scrape = Scrape { view, why, holders, review, standing, pgbouncer: false };
    let log = running.log.recent();
    // a history that cannot be read is told by the others
    let history = change::history(running, VERSIONS).await.ok();
    let recorded = Arc::clone(&running.recorded);
    let packed = tokio::task::spawn_blocking(move || {
        let recordings = listed(recorded.tapes());
        pack(&Gathered { scrape, history, log, recordings })
    });
    let packed = packed.await;
    let packed =
        packed.map_err(|_| "packing ended early".to_owned()).and_then(|packed| packed.map_err(|why| why.to_string()));
    match packed {
        Ok(archive) => {
            running.log.say(Level::Warn, "bundle", format!("bundle by {by}: {} bytes", archive.len()));
            Ok(archive)
        }
        Err(why) => {
            running.log.say(Level::Error, "bundle", format!("bundle by {by}: nothing was packed: {why}"));
            Err(Refused {
                kind: RefusedKind::Unready,
                error: why,
                fix: "try again; the log stays where it is".to_owned(),
            })
        }
    }
}

/// What is packed.
struct Gathered {
    scrape: Scrape,
    history: Option<History>,
    log: Vec<String>,
    /// What recordings there are: they themselves are large, and told on request.
    recordings: String,
}

fn pack(of: &Gathered) -> std::io::Result<Vec<u8>> {
    let (view, at_s) = (&of.scrape.view, of.scrape.view.now_ms / 1000);
    let folder = format!("poolwarden-bundle-{}", rfc3339(at_s * 1000).replace([':', '-'], ""));
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    let mut left = MAX_BYTES;
    for (name, text) in files(of) {
        let text = cut(text, left.min(MAX_FILE));
        left = left.saturating_sub(text.len());
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(at_s);
        archive.append_data(&mut header, format!("{folder}/{name}"), text.as_bytes())?;
    }
    debug_assert!(view.now_ms >= view.started_at_ms, "a picture is taken after the start");
    let mut packer = archive.into_inner()?;
    packer.flush()?;
    packer.finish()
}

/// Name and text of each file, the most telling first.
fn files(of: &Gathered) -> Vec<(String, String)> {
    let Gathered { scrape, history, log, recordings } = of;
    let (view, holders, review) = (&scrape.view, &scrape.holders, scrape.review.as_deref());
    let file = |name: &str, text: String| (name.to_owned(), text);
    let beside = Beside { review, standing: &scrape.standing };
    let mut files = vec![
        file("versions.txt", versions(view)),
        file("why.txt", why_text(&scrape.why, beside, Layout::new(None, Texts::Shown))),
        file("why.json", format!("{}\n", why_json(&scrape.why, beside, Texts::Shown))),
        file("holders.json", format!("{}\n", why::holders_json(view.now_ms, holders, Texts::Shown))),
        file("configuration.txt", configuration(view)),
        file("changes.txt", changes(view)),
        file("log.txt", log.concat()),
        file("metrics.txt", metrics::encode(scrape)),
        file("recordings.txt", recordings.clone()),
    ];
    if let Some(history) = history {
        files.push(file("history.json", format!("{}\n", history::page(history))));
    }
    if let Some(review) = review {
        files.push(file("review.json", format!("{}\n", review::whole(review, view.now_ms))));
    }
    for (host, activity) in view.hosts.iter().filter_map(|host| Some((host, host.activity.as_ref()?))) {
        let name: String = host.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        files.push((format!("postgresql/{name}.txt"), backends(activity)));
    }
    let sight = Sight { view, holders, pools: &scrape.why.pools };
    let asker = Asker { rights: Rights::Admin, voice: Voice::Own };
    for table in TABLES {
        let text = match sql::answer(&format!("SHOW {table}"), sight, asker) {
            Answer::Rows { rows, .. } => drawn(&rows),
            Answer::Error { message, .. } => format!("{message}\n"),
            Answer::Done { .. } | Answer::Do(_) => continue, // a SHOW does nothing
        };
        files.push((format!("show/{}.txt", table.to_lowercase()), text));
    }
    files
}

/// Names and sizes of recordings, one a line.
fn listed(tapes: std::io::Result<Vec<Tape>>) -> String {
    match tapes {
        Ok(tapes) => tapes.iter().map(|tape| format!("{} {} bytes\n", tape.name, tape.size)).collect(),
        Err(error) => format!("the recordings cannot be listed: {error}\n"),
    }
}

fn versions(view: &View) -> String {
    let system = rustix::system::uname();
    let lossy = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!(
        "poolwarden {}\nsystem {} {} {}\ncores {cores}\nprocess {}\nstarted {}\ntaken {}\nconfiguration {}\n",
        view.version,
        lossy(system.sysname()),
        lossy(system.release()),
        lossy(system.machine()),
        std::process::id(),
        rfc3339(view.started_at_ms),
        rfc3339(view.now_ms),
        view.process.config_hash,
    )
}

/// The settings in force. Secrets are not in the picture.
fn configuration(view: &View) -> String {
    view.config.iter().map(|of| format!("{} = {}\n", of.key, one_line(&of.value))).collect()
}

fn changes(view: &View) -> String {
    let shown = |value: &Option<String>| value.as_deref().map_or_else(|| "nothing".to_owned(), one_line);
    let line = |of: &poolwarden_watch::ChangeView| {
        format!("{} {}: {} was {} and is {}\n", rfc3339(of.at_ms), of.by, of.key, shown(&of.from), shown(&of.to))
    };
    view.changes.iter().map(line).collect()
}

/// PostgreSQL's backends, without their queries: those have values in them.
fn backends(activity: &Activity) -> String {
    let head = format!(
        "seen {}, answered in {} us, max_connections {}, reserved {}, not listed {}\n",
        rfc3339(activity.seen_at_ms),
        activity.took_us,
        activity.max_connections,
        activity.reserved,
        activity.unlisted
    );
    let quotas = |kind: &str, quotas: &[poolwarden_watch::Quota]| -> String {
        quotas
            .iter()
            .map(|of| format!("{kind} {} CONNECTION LIMIT {}, used {}\n", one_line(&of.name), of.size, of.used))
            .collect()
    };
    let line = |of: &poolwarden_watch::Backend| {
        format!(
            "pid {} own {} role {} database {} application {} from {} state {:?} for {} us transaction {} us wait {}/{} blocked by {:?}\n",
            of.pid,
            of.own,
            one_line(&of.role),
            one_line(&of.database),
            one_line(&of.application),
            if of.addr.is_empty() { "unix" } else { &of.addr },
            of.state,
            of.state_us,
            of.transaction_us.map_or_else(|| "-".to_owned(), |us| us.to_string()),
            of.wait.0,
            of.wait.1,
            of.blocked_by,
        )
    };
    let rows: String = activity.backends.iter().map(line).collect();
    [head, quotas("role", &activity.roles), quotas("database", &activity.databases), rows].concat()
}

/// A table as psql draws it without a frame: columns of even width.
fn drawn(table: &Rows) -> String {
    let head: Vec<String> = table.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let text = |value: &Option<String>| value.as_deref().map_or_else(String::new, one_line);
    let body = table.rows.iter().map(|row| row.iter().map(text).collect());
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(body).collect();
    let widest = |at: usize| lines.iter().filter_map(|line| line.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..table.columns.len()).map(|at| widest(at).unwrap_or(0)).collect();
    let mut out = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect::<Vec<_>>();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// Without control characters: a peer's words do not start lines.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// At most `room` bytes of whole lines.
fn cut(mut text: String, room: usize) -> String {
    if text.len() <= room {
        return text;
    }
    let whole = text.len();
    let note = |left_out: usize| format!("({left_out} bytes more were left out)\n");
    let mut end = room.saturating_sub(note(whole).len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let end = text[..end].rfind('\n').map_or(0, |at| at + 1);
    text.truncate(end);
    let note = note(whole - end);
    if text.len() + note.len() <= room {
        text.push_str(&note);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use poolwarden_pool::{HostId, HostSnapshot};
    use poolwarden_watch::{Backend, ChangeView, ConfigView, HostView};

    use super::*;

    fn unpacked(archive: &[u8]) -> Vec<(String, String)> {
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
        let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
            let mut entry = entry.unwrap();
            let (mut text, path) = (String::new(), entry.path().unwrap().display().to_string());
            entry.read_to_string(&mut text).unwrap();
            (path, text)
        };
        archive.entries().unwrap().map(read).collect()
    }

    fn scrape() -> Scrape {
        let backend = Backend { pid: 42, role: "app".into(), query: "select 'hunter2'".into(), ..Backend::default() };
        let activity = Activity { backends: vec![backend], max_connections: 100, ..Activity::default() };
        let host = HostView {
            id: HostId(0),
            name: "main/../x".into(),
            address: "db".into(),
            port: 5432,
            snapshot: HostSnapshot {
                pools: Vec::new(),
                budget: 80,
                used: 0,
                connects: (0, 4),
                down: false,
                moved: 0,
                evicted: 0,
                retired: (0, 0, 0),
                shed: Vec::new(),
            },
            facts: None,
            activity: Some(activity),
            watch_error: None,
        };
        let setting = ConfigView { key: "pools.app.size".into(), value: "20".into(), ..ConfigView::default() };
        let change = ChangeView {
            key: "pools.app.size".into(),
            to: Some("20".into()),
            by: "set".into(),
            ..ChangeView::default()
        };
        let view = View {
            now_ms: 1_723_708_800_000,
            hosts: vec![host],
            config: vec![setting],
            changes: vec![change],
            version: "0.1.0".into(),
            ..View::default()
        };
        Scrape { view, ..Scrape::default() }
    }

    #[test]
    fn everything_is_in_it_under_one_folder_and_no_value_of_a_statement() {
        let log = ["one line\n", "another\n"].map(str::to_owned).to_vec();
        let tape = Tape { path: "/data/a.pwrc".into(), name: "a.pwrc".to_owned(), size: 77 };
        let recordings = listed(Ok(vec![tape]));
        let archive = pack(&Gathered { scrape: scrape(), history: None, log, recordings }).unwrap();
        let files = unpacked(&archive);
        let text = |name: &str| {
            let path = format!("poolwarden-bundle-20240815T080000Z/{name}");
            files
                .iter()
                .find(|(of, _)| *of == path)
                .map(|(_, text)| text.as_str())
                .unwrap_or_else(|| panic!("{name}: {files:?}"))
        };
        assert!(text("versions.txt").starts_with("poolwarden 0.1.0\n"));
        assert_eq!(text("recordings.txt"), "a.pwrc 77 bytes\n");
        assert_eq!(text("log.txt"), "one line\nanother\n");
        assert_eq!(text("configuration.txt"), "pools.app.size = 20\n");
        assert_eq!(text("changes.txt"), "1970-01-01T00:00:00Z set: pools.app.size was nothing and is 20\n");
        assert!(text("postgresql/main____x.txt").contains("pid 42 own false role app"));
        assert!(text("why.json").starts_with('{') && text("holders.json").starts_with('{'));
        assert!(text("metrics.txt").ends_with("# EOF\n") && text("show/pools.txt").starts_with("database "));
        assert_eq!(files.len(), 10 + TABLES.len());
        assert!(!format!("{files:?}").contains("hunter2"), "a query's values are nobody's business");
    }

    #[test]
    fn what_is_too_long_is_cut_at_a_line_and_says_so() {
        let lines = |count: usize| "0123456789\n".repeat(count);
        assert_eq!(cut(lines(3), 33), lines(3));
        let cut_off = cut(lines(100), 60);
        assert_eq!(cut_off, format!("{}(1078 bytes more were left out)\n", lines(2)));
        assert_eq!(cut(lines(3), 0), "");
        assert_eq!(cut("é".repeat(100), 50), "(200 bytes more were left out)\n");
        let log: Vec<String> = (0..40).map(|_| lines(60_000)).collect();
        let gathered = Gathered { scrape: scrape(), history: None, log, recordings: String::new() };
        let files = unpacked(&pack(&gathered).unwrap());
        assert!(files.iter().all(|(_, text)| text.len() <= MAX_FILE));
    }
}
