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

/// How parameters begin that only pgx's pool reads, and those that only Prisma reads.
const PGX: [&str; 3] = ["pool_min_", "pool_max_conn_", "pool_health_check_period"];
const PRISMA: [&str; 4] = ["pool_timeout", "socket_timeout", "statement_cache_size", "pgbouncer"];
/// How files and templates ask for the processors.
const FORMULAS: [&str; 5] = ["nprocessors", "cpu_count", "numcpu", "availableprocessors", "nproc"];

fn check(of: &Dossier, out: &mut Out<'_>) {
    for app in &of.apps {
        if let Some((key, written)) = formula(app) {
            let message = format!("{}: {key} is a number of processors", app.name);
            out.find(message, &written.place, "in a container: the node's")
                .because("every larger node opens more connections, and nothing behind it knows")
                .fix(format!("write {key} as a number"));
        } else if let Some((library, own, size)) = derived(app) {
            let message = format!("{}: without {own} {library} opens {size} connections per process", app.name);
            out.find(message, &app.place, format!("no {own}"))
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
    let pgx = |key: &String| PGX.iter().any(|start| key.starts_with(start));
    if app.written.keys().any(pgx) && !has(&"pool_max_conns") {
        return Some(("pgx", "pool_max_conns", "the greater of 4 and the processors'"));
    }
    if PRISMA.iter().any(has) && !has(&"connection_limit") {
        return Some(("Prisma", "connection_limit", "twice the processors' + 1"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{RULE, check};
    use crate::review::chain::{Bound, Library};
    use crate::review::place::{Known, Place};
    use crate::review::rule::Out;
    use crate::review::{Input, gather};

    /// Messages about an application of this library with these settings.
    fn said(library: Library, written: &[(&str, &str)], size: Option<Known<Bound>>) -> Vec<String> {
        let text = "[[topology.app]]\nname = \"web\"\n".to_owned();
        let mut dossier =
            gather(&[Input::File { name: "t.toml".to_owned(), text }], &mut |_| Err(String::new())).dossier;
        let app = &mut dossier.apps[0];
        (app.library, app.pool_size) = (library, size);
        let known = |value: &str| Known { value: value.to_owned(), place: Place::Default("nobody's") };
        app.written = written.iter().map(|(key, value)| ((*key).to_owned(), known(value))).collect();
        let mut out = Out::new(&RULE);
        check(&dossier, &mut out);
        out.done().0.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn pgx_and_prisma_are_known_by_their_own_parameters() {
        let own = said(Library::Url, &[("pool_max_conn_lifetime", "30m")], None);
        assert_eq!(
            own,
            ["web: without pool_max_conns pgx opens the greater of 4 and the processors' connections per process"]
        );
        let default = Some(Known::default_of(Bound::Of(4), "pgx's"));
        assert_eq!(said(Library::Url, &[("pool_min_conns", "1")], default).len(), 1);
        assert!(said(Library::Url, &[("pool_min_conns", "1"), ("pool_max_conns", "8")], None).is_empty());
        assert!(said(Library::Url, &[("pgbouncer", "true")], None)[0].contains("Prisma"));
        assert!(said(Library::Url, &[("pgbouncer", "true"), ("connection_limit", "5")], None).is_empty());
        assert!(said(Library::Url, &[("sslmode", "require")], None).is_empty(), "any library may have written it");
    }

    #[test]
    fn a_size_that_asks_for_the_processors_is_seen() {
        let said = |value| said(Library::Rails, &[("pool", value)], None);
        assert_eq!(said("<%= Etc.nprocessors * 2 %>"), ["web: pool is a number of processors"]);
        assert!(said("<%= ENV.fetch(\"RAILS_MAX_THREADS\") { 5 } %>").is_empty());
    }
}
