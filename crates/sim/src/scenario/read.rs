//! Text to scenario: the sections, and the pooler's own tables on their way to its configuration.

use std::fmt::Write;
use std::time::Duration;

use poolwarden_config::{Finding, Severity, quote};
use toml::de::{DeTable, DeValue};

use super::table::{Faults, Section};
use super::{Fault, FaultKind, Postgres, Scenario, group, phase, slo};

/// Sections of the file.
const SECTIONS: [&str; 8] = ["scenario", "pool", "postgres", "users", "classes", "phase", "load", "fault"];
/// Most server connections, clients or slots anybody writes.
pub(super) const MOST: u32 = 1_000_000;
/// Most times a fault is repeated.
const MOST_TIMES: u32 = 100_000;
/// Who takes slots where nobody is named.
const OTHERS: &str = "somebody else";

/// Reads a scenario.
///
/// # Errors
/// Everything that is wrong with the text, each with its place and what to write instead.
pub fn read(text: &str) -> Result<Scenario, Vec<Finding>> {
    let (document, broken) = DeTable::parse_recoverable(text);
    let mut faults = Faults::new(text);
    for fault in &broken {
        let span = fault.span().unwrap_or(text.len()..text.len());
        let message = fault.message().replace('\n', ", ");
        faults.add("syntax", span, message, "below a [section] each line is key = value, with texts in quotes");
    }
    if !broken.is_empty() {
        return Err(faults.findings);
    }
    let root = Section { path: String::new(), table: document.get_ref(), span: text.len()..text.len() };
    let scenario = whole(&mut faults, &root);
    match scenario {
        Some(scenario) if faults.findings.is_empty() => Ok(scenario),
        Some(_) | None => {
            faults.findings.sort_by_key(|finding| finding.span.start);
            debug_assert!(
                faults.findings.iter().any(|finding| finding.severity == Severity::Error),
                "nothing is refused in silence"
            );
            Err(faults.findings)
        }
    }
}

fn whole(faults: &mut Faults<'_>, root: &Section<'_>) -> Option<Scenario> {
    faults.only(root, &[&SECTIONS[..], &["slo"]].concat());
    let section = faults.inner(root, "scenario");
    let head = faults.needed(root, "scenario", section, "{ name = \"spike\", seed = 7, duration = \"30s\" }")?;
    faults.only(&head, &["name", "seed", "duration", "normal_p99"]);
    let name = faults.text(&head, "name");
    let name = faults.needed(&head, "name", name, "\"spike\"");
    let seed = faults.whole(&head, "seed", 0, u64::from(u32::MAX)).unwrap_or(1);
    let normal_p99 = faults.span(&head, "normal_p99");
    let phases = phase::phases(faults, root, &head);
    let pool = faults.inner(root, "pool");
    let capacity = pool.as_ref().and_then(|pool| faults.rate(pool, "capacity"));
    let known = group::Known { phases: &phases, capacity };
    let groups = group::groups(faults, root, known);
    let postgres = postgres(faults, root);
    let pooler = pooler(faults, root, pool.as_ref(), postgres);
    let sections = faults.list(root, "fault");
    let mut trouble: Vec<Fault> = sections.iter().filter_map(|one| fault(faults, one)).flatten().collect();
    trouble.sort_by_key(|fault| fault.at);
    let slos = slo::slos(faults, root, slo::Known { groups: &groups, phases: &phases, capacity, normal_p99 });
    Some(Scenario { name: name?, seed, phases, capacity, normal_p99, postgres, groups, faults: trouble, slos, pooler })
}

fn postgres(faults: &mut Faults<'_>, root: &Section<'_>) -> Postgres {
    let usual = Postgres::default();
    let Some(section) = faults.inner(root, "postgres") else { return usual };
    faults.only(&section, &["max_connections", "connect", "overhead", "cores"]);
    Postgres {
        max_connections: faults.count(&section, "max_connections", 1, MOST).unwrap_or(usual.max_connections),
        connect: faults.duration(&section, "connect").unwrap_or(usual.connect),
        overhead: faults.duration(&section, "overhead").unwrap_or(usual.overhead),
        cores: faults.count(&section, "cores", 1, 1024).unwrap_or(usual.cores),
    }
}

/// One, or as many as it is repeated.
fn fault(faults: &mut Faults<'_>, section: &Section<'_>) -> Option<Vec<Fault>> {
    faults.only(section, &["at", "kind", "for", "slots", "share", "application", "every", "times"]);
    let at = faults.duration(section, "at");
    let at = faults.needed(section, "at", at, "\"10s\"");
    let kinds = ["stall", "restart", "foreign_slots", "backend_kill"].map(|word| (word, word));
    let kind = faults.word(section, "kind", &kinds);
    let kind = faults.needed(section, "kind", kind, "\"stall\"")?;
    let mut lasts = || {
        let lasts = faults.span(section, "for");
        faults.needed(section, "for", lasts, "\"3s\"")
    };
    let kind = match kind {
        "stall" => FaultKind::Stall(lasts()?),
        "restart" => FaultKind::Restart(lasts()?),
        "foreign_slots" => {
            let lasts = lasts();
            let slots = faults.count(section, "slots", 1, MOST);
            let application = faults.text(section, "application").unwrap_or_else(|| OTHERS.to_owned());
            FaultKind::ForeignSlots(faults.needed(section, "slots", slots, "50")?, lasts?, application)
        }
        _ => FaultKind::BackendKill(faults.number(section, "share", 1.0).unwrap_or(1.0)),
    };
    let at = at?;
    let times = faults.count(section, "times", 1, MOST_TIMES).unwrap_or(1);
    let every = faults.span(section, "every");
    if times == 1 {
        return Some(vec![Fault { at, kind }]);
    }
    let every = faults.needed(section, "every", every, "\"20s\"")?;
    Some((0..times).map(|n| Fault { at: at + every * n, kind: kind.clone() }).collect())
}

/// The pooler's tables as a file of its own. What is wrong inside them is its configuration's to say.
fn pooler(faults: &mut Faults<'_>, root: &Section<'_>, pool: Option<&Section<'_>>, postgres: Postgres) -> String {
    let budget = pool.and_then(|pool| faults.count(pool, "budget", 1, MOST)).unwrap_or(postgres.max_connections);
    let mut text =
        format!("[auth]\nmethod = \"trust\"\n[servers.main]\nhost = \"127.0.0.1\"\nmax_connections = {budget}\n");
    // Writing to a string does not fail.
    let _ = writeln!(text, "[pools.app]\nserver = \"main\"");
    for (key, value) in pool.iter().flat_map(|pool| pool.table.iter()) {
        let word: &str = key.get_ref();
        if !["capacity", "budget"].contains(&word) {
            let _ = writeln!(text, "{word} = {}", written(value.get_ref()));
        }
    }
    for kind in ["users", "classes"] {
        let Some(section) = faults.inner(root, kind) else { continue };
        for (name, _) in section.table {
            let Some(one) = faults.inner(&section, name.get_ref()) else { continue };
            let _ = writeln!(text, "[{kind}.{}]", quote(name.get_ref()));
            for (key, value) in one.table {
                let _ = writeln!(text, "{} = {}", quote(key.get_ref()), written(value.get_ref()));
            }
        }
    }
    text
}

/// A value as TOML writes it.
fn written(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quote(text),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(moment) => moment.to_string(),
        DeValue::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| written(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(table) => {
            let pair = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
                let key: &std::borrow::Cow<'_, str> = key.get_ref();
                format!("{} = {}", quote(key), written(value.get_ref()))
            };
            format!("{{ {} }}", table.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
    }
}

/// Longest a scenario may be: a day, so that every sum of times stays far from the end of 64-bit nanoseconds.
pub(super) const LONGEST: Duration = Duration::from_secs(86_400);
