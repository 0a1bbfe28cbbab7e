//! MUL-03: a process has more pools to the same PostgreSQL than somebody counted.

use crate::finding::Severity;
use crate::review::chain::App;
use crate::review::dossier::Dossier;
use crate::review::finding::Finding;
use crate::review::need::APP;
use crate::review::place::{Known, Place};
use crate::review::rule::{Out, Rule};
use crate::review::sums::fullest;
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "MUL-03",
    severity: Severity::Warning,
    title: "a process has a second pool",
    condition: "k > 1, of one size or of several, and limits that hold with one pool do not hold with k, those of a deployment \
                among them; where they hold with k it is only worth knowing",
    why: "Migrations, evolutions, queues, caches and websockets bring pools of their own. A pool of 7 became 17 with a hidden pool \
          for evolutions, and six of them wanted 102 of 81 slots.",
    fix: "count the pools of a process, give the second one a small size of its own, or share one",
    needs: &[APP],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for app in of.apps.iter().filter(|app| app.pools.len() > 1) {
        let Some(second) = app.pools.get(1) else { continue };
        let count = app.pools.len();
        let saved = number(app).map(|all| all - all / count as u64);
        let names: Vec<&str> = app.pools.iter().map(|known| known.value.as_str()).collect();
        let finding = out.find(
            format!("{}: each process has {count} pools ({})", app.name, names.join(", ")),
            &second.place,
            second.value.clone(),
        );
        if let Some(size) = &app.pool_size {
            finding.and(size, words::factors(app, true));
        }
        told(finding, broken(of, app, saved), &second.value);
    }
    for (at, app) in of.apps.iter().enumerate() {
        let is_first = !of.apps.iter().take(at).any(|other| is_sibling(app, other));
        let siblings: Vec<&App> = of.apps.iter().skip(at + 1).filter(|other| is_sibling(app, other)).collect();
        if is_first && !siblings.is_empty() {
            of_sizes(of, app, siblings, out);
        }
    }
}

/// Pools of one file and application to one server that differ in size. The one that somebody sized is the one that was meant.
fn of_sizes<'a>(of: &Dossier, app: &'a App, siblings: Vec<&'a App>, out: &mut Out<'_>) {
    let mut all: Vec<&App> = std::iter::once(app).chain(siblings).collect();
    all.sort_by_key(|app| !app.pool_size.as_ref().is_some_and(Known::is_given));
    let [meant, second, ..] = all.as_slice() else { return };
    let names: Vec<&str> = all.iter().flat_map(|app| &app.pools).map(|known| known.value.as_str()).collect();
    let each: Vec<String> =
        all.iter().filter_map(|app| Some(words::size(app.pool_size.as_ref()?.value))).collect();
    let saved = all.iter().skip(1).try_fold(0_u64, |sum, app| Some(sum.saturating_add(number(app)?)));
    let finding = out.find(
        format!("{}: each process has {} pools ({}) of {}", app.name, names.len(), names.join(", "), each.join(" and ")),
        &second.place,
        format!("{} of its own", second.pool_size.as_ref().map_or_else(String::new, |known| words::size(known.value))),
    );
    if let Some(size) = &meant.pool_size {
        finding.and(size, words::factors(meant, true));
    }
    if let Some(replicas) = &meant.replicas {
        finding.and(replicas, "each replica has all of them");
    }
    let name = second.pools.first().map_or("the second", |known| known.value.as_str());
    told(finding, broken(of, meant, saved), name);
}

/// One application in one file, the same server, another size.
fn is_sibling(one: &App, other: &App) -> bool {
    let file = |app: &App| if let Place::Text { file, .. } = app.place { Some(file) } else { None };
    one.name == other.name && file(one).is_some() && file(one) == file(other) && one.address == other.address
}

/// What it may open, those of a deployment among them.
fn number(app: &App) -> Option<u64> {
    app.demand(true)?.number()
}

fn told(finding: &mut Finding, broken: Option<(u64, u64, &'static str)>, second: &str) {
    match broken {
        Some((comes, limit, what)) => {
            finding.because(format!("{comes} connections come to {limit} {what}; one pool each would fit"))
        }
        None => finding.because("each adds its size times all processes").matters(Severity::Info),
    }
    .fix(format!("give {second} a size of its own, 1 or 2 where it is rarely used, and count it"));
}

/// The limit that holds with one pool of each process, and not with all, of which `saved` is the rest: what comes, the limit, and
/// whose it is.
fn broken(of: &Dossier, app: &App, saved: Option<u64>) -> Option<(u64, u64, &'static str)> {
    let saved = saved?;
    let (comes, limit, one, what) = match of.route(app) {
        Some((pooler, _)) => {
            let all = of.clients(pooler).filter_map(|(app, _)| number(app)).fold(0, u64::saturating_add);
            let instances = pooler.instances.value;
            let limit = pooler.max_clients.value.number()?;
            (
                fullest(all, instances),
                limit,
                fullest(all.saturating_sub(saved), instances),
                "client places of an instance",
            )
        }
        None => {
            let server = of.direct_server(app)?;
            let all = of.consumers(server, true).total();
            (all, of.postgres.get(server)?.left()?, all.saturating_sub(saved), "slots")
        }
    };
    (comes > limit && one <= limit).then_some((comes, limit, what))
}

#[cfg(test)]
mod tests {
    use crate::finding::Severity;
    use crate::review::{Input, gather, review};

    /// How much the second pool of 10 beside one of 7 in each of 3 processes, 6 while deploying, matters.
    fn severity(max_connections: u64) -> Option<Severity> {
        let file = |name: &str, text: String| Input::File { name: name.to_owned(), text };
        let properties = "db.main.hikari.jdbcUrl=jdbc:postgresql://db:5432/x\ndb.main.hikari.maximumPoolSize=7\n\
                          db.evolutions.hikari.jdbcUrl=jdbc:postgresql://db:5432/x\n";
        let topology = format!(
            "[topology.postgres]\nmax_connections = {max_connections}\n[[topology.app]]\nname = \"app\"\nreplicas = 3\n\
             surge = 1.0\n"
        );
        let inputs = [file("app.properties", properties.to_owned()), file("topology.toml", topology)];
        let of = gather(&inputs, &mut |path| Err(path.to_owned())).dossier;
        review(&of).findings.iter().find(|finding| finding.code == "MUL-03").map(|finding| finding.severity)
    }

    #[test]
    fn a_pool_of_another_size_matters_where_the_one_that_was_meant_fits_alone() {
        let (warning, info) = (Some(Severity::Warning), Some(Severity::Info));
        // 6 x 17 = 102 of 102, of 101; 6 x 7 = 42 of 42, of 41
        assert_eq!([105, 104, 45, 44].map(severity), [info, warning, warning, info]);
    }
}
