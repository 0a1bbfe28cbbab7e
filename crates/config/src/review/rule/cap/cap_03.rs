//! CAP-03: a server's slots are given out twice, for somebody was not counted.

use crate::finding::Severity;
use crate::review::chain::{Pooler, Postgres};
use crate::review::dossier::Dossier;
use crate::review::need::PG_MAX_CONNECTIONS;
use crate::review::place::Known;
use crate::review::rule::{Out, Rule};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "CAP-03",
    severity: Severity::Error,
    title: "somebody who shares the server was not counted",
    condition: "one address under several server names of a file and the sum of their budgets > U - O, or several poolers with an \
                auto budget on one server of which one is told of fewer instances than there are, or an application without pooler \
                of which replicas or pool size are not told, while the others on its server may have all of U - O",
    why: "Slots belong to the server; configurations belong to services. Each is right alone, and together they take more than \
          there is: a deploy of one service took the sign-on of its neighbours down. CAP-01 adds up what is declared; this rule \
          speaks where a part of it is not seen by whoever divided. Others that are measured (--live) are counted there as well.",
    fix: "count every consumer: one server entry per address, and instances of all poolers together",
    needs: &[PG_MAX_CONNECTIONS],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (server, postgres) in of.postgres.iter().enumerate() {
        two_autos(of, server, postgres, out);
        uncounted(of, server, postgres, out);
    }
    for pooler in &of.poolers {
        two_names(pooler, of, out);
    }
}

/// A neighbour that is in no sum, where those that are may take every slot.
fn uncounted(of: &Dossier, server: usize, postgres: &Postgres, out: &mut Out<'_>) {
    let consumers = of.consumers(server, true);
    let (Some(left), Some((greedy, most))) = (postgres.left(), consumers.0.first()) else { return };
    let comes = consumers.total();
    for app in of.direct(server).filter(|app| app.demand(true).is_none() && app.address.is_some()) {
        let beside = of.direct(server).any(|other| other.address == app.address && other.demand(true).is_some());
        if !beside || comes < left {
            continue;
        }
        let (place, label) = words::consumer(*greedy, server, *most);
        let message = format!("{} was not counted, and those who were may take {comes} of {left} slots", app.name);
        let finding = out.find(message, &app.place, "the same PostgreSQL");
        finding.and(&Known { value: (), place }, label);
        if let Some(max) = &postgres.max_connections {
            finding.and(max, format!("{left} for all of them"));
        }
        finding
            .because(format!("when they are full, {} is refused (SQLSTATE 53300)", app.name))
            .fix(format!("count {} ([[topology.app]] with replicas and pool_size), and leave it its share", app.name));
    }
}

/// One address under several names of one file: each name has a budget of its own, `auto` all that is left.
fn two_names(pooler: &Pooler, of: &Dossier, out: &mut Out<'_>) {
    let text = |name: &str, key: &str| pooler.written.get(&format!("servers.{name}.{key}"));
    let value = |name: &str, key: &str| text(name, key).map(|known| known.value.as_str());
    let hosts = pooler.written.keys().filter_map(|key| key.strip_prefix("servers.")?.strip_suffix(".host"));
    let names: Vec<&str> = hosts.collect();
    for (at, name) in names.iter().enumerate() {
        let same =
            |other: &&&str| value(name, "host") == value(other, "host") && value(name, "port") == value(other, "port");
        let (Some(first), Some(host)) = (names.iter().take(at).find(same), text(name, "host")) else { continue };
        let is_it = |postgres: &&Postgres| postgres.address.as_ref().is_some_and(|(of, _)| *of == host.value);
        let Some(left) = of.postgres.iter().find(is_it).and_then(Postgres::left) else { continue };
        let budget = |name: &str| value(name, "max_connections").and_then(|text| text.parse().ok()).unwrap_or(left);
        let (one, two): (u64, u64) = (budget(first), budget(name));
        let total = one.saturating_add(two);
        if total <= left {
            continue;
        }
        let finding = out.find(
            format!("servers {first} and {name} are one, and together may have {total} backends > {left}"),
            &host.place,
            format!("{name}: {two}"),
        );
        if let Some(other) = text(first, "host") {
            finding.and(other, format!("{first}: {one}"));
        }
        finding
            .because(format!(
                "each budget counts its own name alone: {} connects can be refused with 53300",
                total - left
            ))
            .fix(format!("put the pools of {name} on server {first}, and remove {name}"));
    }
}

/// Poolers that each take all that is left.
fn two_autos(of: &Dossier, server: usize, postgres: &Postgres, out: &mut Out<'_>) {
    let autos: Vec<&Pooler> =
        of.poolers.iter().filter(|pooler| pooler.auto_budgets.contains(&server) && pooler.uses(server)).collect();
    let [first, second, ..] = autos.as_slice() else { return };
    if autos.iter().all(|pooler| pooler.instances.value >= autos.len() as u64) {
        return;
    }
    let (Some(a), Some(b)) = (first.deciding(server), second.deciding(server)) else { return };
    let count: u64 = autos.iter().map(|pooler| pooler.instances.value).fold(0, u64::saturating_add);
    let message = format!("{} poolers each take all slots of {} for their own", autos.len(), postgres.name);
    out.find(message, &b.place, format!("{}: auto, divided by {} instances", second.name, second.instances.value))
        .and(a, format!("{}: auto, divided by {} instances", first.name, first.instances.value))
        .because("auto divides what is left by the instances it is told of; the other pooler is not among them")
        .fix(format!("write instances = {count} in each, or give each a max_connections of its own"));
}

#[cfg(test)]
mod tests {
    use crate::review::{Input, gather, review};

    /// Whether a neighbour that nobody counted is spoken of beside so many connections.
    fn says(replicas: u64) -> bool {
        let file = |name: &str, text: String| Input::File { name: name.to_owned(), text };
        let url = |of: &str| format!("DATABASE_URL=postgres://{of}@db:5432/{of}?connection_limit=10\n");
        let topology = format!(
            "[topology.postgres]\nmax_connections = 103\n[[topology.app]]\nname = \"shop\"\nreplicas = {replicas}\n"
        );
        let inputs = [file("shop.env", url("shop")), file("login.env", url("login")), file("topology.toml", topology)];
        let of = gather(&inputs, &mut |path| Err(path.to_owned())).dossier;
        review(&of).findings.iter().any(|finding| finding.code == "CAP-03")
    }

    #[test]
    fn a_neighbour_is_missed_from_where_nothing_is_left_for_it() {
        assert_eq!((says(9), says(10)), (false, true));
    }
}
