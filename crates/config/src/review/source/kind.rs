//! What a file is, by its name and its text.

use super::last;

/// The kinds of file that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// poolwarden.toml, or a file with `[topology]` alone.
    Poolwarden,
    /// pgbouncer.ini, or a part of one.
    PgBouncer,
    /// PgBouncer's userlist, or rules of logins: what another file names.
    Userlist,
    /// HikariCP's settings in properties or Spring's YAML.
    Hikari,
    /// Rails' database.yml.
    Rails,
    /// Python that makes an engine of SQLAlchemy.
    SqlAlchemy,
    /// DATABASE_URL and its like, in .env or any text.
    Url,
    /// Alerting rules of Prometheus, or what it asks and how often.
    Prometheus,
    /// A unit of systemd.
    Unit,
    /// `key = value` of a running process or a recording.
    Facts,
}

/// What it is; `None`: nothing that is known here.
pub(super) fn recognise(name: &str, text: &str) -> Option<FileKind> {
    let name = last(name).to_ascii_lowercase();
    let ends = |end: &str| name.ends_with(end);
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if ends(".facts") {
        return Some(FileKind::Facts);
    }
    if ends(".service") {
        return Some(FileKind::Unit);
    }
    if ends(".toml") {
        return Some(FileKind::Poolwarden);
    }
    if ends(".ini") || has(&["\n[pgbouncer]"]) || text.starts_with("[pgbouncer]") {
        return Some(FileKind::PgBouncer);
    }
    let rules = ends(".conf") && ["hba", "ident"].iter().any(|word| name.contains(word));
    if rules || name.contains("userlist") {
        return Some(FileKind::Userlist);
    }
    if ends(".properties") {
        return Some(FileKind::Hikari);
    }
    if ends(".yml") || ends(".yaml") {
        return yaml(&name, text);
    }
    if ends(".py") {
        return Some(FileKind::SqlAlchemy);
    }
    let is_env = name.starts_with(".env") || ends(".env") || ends(".envrc");
    (is_env || has(&["postgres://", "postgresql://", "postgresql+"])).then_some(FileKind::Url)
}

/// Rules of Prometheus, Spring's settings, Rails' databases, or a URL somewhere in it.
fn yaml(name: &str, text: &str) -> Option<FileKind> {
    let key = |word: &str| {
        text.lines().any(|line| {
            let line = line.trim_start_matches([' ', '-']);
            line.strip_prefix(word).is_some_and(|rest| rest.trim_start().starts_with(':'))
        })
    };
    if key("alert") && key("expr") || key("groups") && key("rules") || key("scrape_configs") {
        Some(FileKind::Prometheus)
    } else if key("spring") || key("hikari") || text.contains("spring.datasource") || name.starts_with("application") {
        Some(FileKind::Hikari)
    } else if name.starts_with("database") || key("adapter") {
        Some(FileKind::Rails)
    } else {
        (text.contains("postgres://") || text.contains("postgresql://")).then_some(FileKind::Url)
    }
}
