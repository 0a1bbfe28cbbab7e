//! MUL-02: a pool as large as the machine has processors.

use crate::finding::Severity;
use crate::review::chain::{App, Library};
use crate::review::dossier::Dossier;
use crate::review::need::APP;
use crate::review::place::Known;
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "MUL-02",
    severity: Severity::Warning,
    title: "the pool is as large as the machine has processors",
    condition: "P is not written and the library takes it from the processors (pgx: max(4, NumCPU); Prisma: 2 x CPUs + 1), or P is \
                written as a formula of them",
    why: "In a container the library sees the node's processors, not the container's share: the same image opens 4 connections on \
          a laptop and 96 on a large node, times the replicas. No limit behind it can be computed. Inputs cannot tell a container \
          from a machine, so the rule speaks of both: with a size that is written it is silent.",
    fix: "write the pool size",
    needs: &[APP],
    check,
};

/// Parameters that only pgx's pool reads, and those that only Prisma reads.
const PGX: [&str; 6] = [
    "pool_min_conns",
    "pool_min_idle_conns",
    "pool_max_conn_lifetime",
    "pool_max_conn_lifetime_jitter",
    "pool_max_conn_idle_time",
    "pool_health_check_period",
];
const PRISMA: [&str; 4] = ["pool_timeout", "socket_timeout", "statement_cache_size", "pgbouncer"];
/// How files and templates ask for the processors.
const FORMULAS: [&str; 5] = ["nprocessors", "cpu_count", "numcpu", "availableprocessors", "nproc"];

fn check(of: &Dossier, out: &mut Out<'_>) {
    for app in &of.apps {
        if let Some((key, written)) = formula(app) {
            out.find(
                format!("{}: {key} is a number of processors", app.name),
                &written.place,
                "in a container: the node's".to_owned(),
            )
            .because("every larger node opens more connections, and nothing behind it knows")
            .fix(format!("write {key} as a number"));
        } else if let Some((library, own, size)) = derived(app) {
            out.find(
                format!("{}: without {own} {library} opens {size} connections per process", app.name),
                &app.place,
                format!("no {own}"),
            )
            .because("in a container the processors are the node's: every larger node opens more connections")
            .fix(format!("add {own}=10 to the URL, or what its concurrency needs"));
        }
    }
}

/// A size that is written as a formula.
fn formula(app: &App) -> Option<(&str, &Known<String>)> {
    let sizes = app.written.iter().filter(|(key, _)| is_size(key));
    let mut formulas = sizes.filter(|(_, known)| {
        let text = known.value.to_ascii_lowercase();
        FORMULAS.iter().any(|formula| text.contains(formula))
    });
    formulas.next().map(|(key, known)| (key.as_str(), known))
}

fn is_size(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["pool", "max_conn", "max-conn", "connection_limit"].iter().any(|part| key.contains(part))
}

/// The library that would derive it, its own parameter, and its formula.
fn derived(app: &App) -> Option<(&'static str, &'static str, &'static str)> {
    let has = |key: &&str| app.written.contains_key(*key);
    if app.library != Library::Url || app.pool_size.as_ref().is_some_and(Known::is_given) {
        return None;
    }
    if PGX.iter().any(has) && !has(&"pool_max_conns") {
        return Some(("pgx", "pool_max_conns", "the greater of 4 and the processors'"));
    }
    if PRISMA.iter().any(has) && !has(&"connection_limit") {
        return Some(("Prisma", "connection_limit", "twice the processors' + 1"));
    }
    None
}
