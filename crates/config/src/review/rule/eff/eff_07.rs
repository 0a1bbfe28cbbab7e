//! EFF-07: instances of one pooler do not run the same.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{prefix, tells, told, whose};
use crate::finding::Severity;
use crate::review::chain::{Kind, Pooler};
use crate::review::dossier::Dossier;
use crate::review::need::RUNNING;
use crate::review::place::{Known, Place};
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "EFF-07",
    severity: Severity::Warning,
    title: "instances do not run the same",
    condition: "a setting that is not an instance's own (addresses, ports, files, names) differs between the running instances that \
                were asked",
    why: "One instance that missed a change fails a part of the users, at random: seventy in a hundred of them get errors, the \
          dashboards show an average, and whoever tries again is served.",
    fix: "bring all of them to the same file, one after another, and ask again",
    needs: &[RUNNING],
    check,
};

/// Words in the names of settings that are an instance's own: where it listens, who it is, where it writes.
const OWN: [&str; 12] =
    ["addr", "address", "port", "dir", "file", "pidfile", "logfile", "conffile", "id", "ident", "name", "loops"];
/// Tables that are.
const OWN_TABLES: [&str; 4] = ["listen.", "topology.", "review.", "peers."];
/// More settings say nothing new.
const MOST_SHOWN: usize = 5;

fn check(of: &Dossier, out: &mut Out<'_>) {
    for kind in [Kind::Poolwarden, Kind::PgBouncer] {
        let Some(prefix) = prefix(kind) else { continue };
        let poolers = || of.poolers.iter().filter(|pooler| pooler.kind == kind);
        let files = poolers().count();
        let mut groups: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        for source in (0..of.facts.len()).filter(|source| tells(of, *source, prefix)) {
            // with one file or none all of them are one pooler's; of several files some may be nobody's
            let group = whose(of, source).and_then(|pooler| position(of, pooler));
            if files <= 1 || group.is_some() {
                groups.entry(group).or_default().push(source);
            }
        }
        for pooler in poolers().filter(|pooler| pooler.instances.value > 1) {
            if groups.get(&position(of, pooler)).is_none_or(|asked| asked.len() <= 1) {
                out.lacks(RUNNING, &format!("the other instances of {}", pooler.name));
            }
        }
        groups.values().for_each(|sources| compare(of, prefix, sources, out));
    }
}

fn position(of: &Dossier, pooler: &Pooler) -> Option<usize> {
    of.poolers.iter().position(|other| std::ptr::eq(other, pooler))
}

fn compare(of: &Dossier, prefix: &str, sources: &[usize], out: &mut Out<'_>) {
    let facts = sources.iter().filter_map(|source| of.facts.get(*source));
    let keys = facts.flat_map(|facts| facts.facts.keys()).filter_map(|key| key.strip_prefix(prefix));
    let keys: BTreeSet<&str> = keys.filter(|key| !is_own(key)).collect();
    let mut differing: Vec<(&str, Vec<Known<String>>)> = Vec::new();
    for key in keys {
        let values: Vec<_> = sources.iter().filter_map(|source| told(of, *source, &format!("{prefix}{key}"))).collect();
        if values.windows(2).any(|pair| pair[0].value != pair[1].value) {
            differing.push((key, values));
        }
    }
    let Some(((key, values), odd)) = differing.first().and_then(|first| Some((first, odd(&first.1)?))) else { return };
    let words: Vec<String> = differing.iter().take(MOST_SHOWN).map(|(key, values)| said(of, key, values)).collect();
    let more = differing.len().saturating_sub(MOST_SHOWN);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let finding = out.find(
        format!("{} instances do not run the same: {}{more}", sources.len(), words.join("; ")),
        &odd.place,
        format!("{} here", odd.value),
    );
    for other in values.iter().filter(|known| known.place != odd.place) {
        finding.and(other, format!("{} here", other.value));
    }
    finding
        .because("clients of one instance are refused while those of another are served")
        .fix(format!("put the same file on all of them, reload, and see that {key} is the same"));
}

/// `max_client_conn is 100 at a, 400 at b`.
fn said(of: &Dossier, key: &str, values: &[Known<String>]) -> String {
    let at = |known: &Known<String>| {
        let name = match &known.place {
            Place::Told { source, .. } => of.facts.get(*source).map_or("", |facts| facts.name.as_str()),
            Place::Text { .. } | Place::Default(_) => "",
        };
        format!("{} at {name}", known.value)
    };
    format!("{key} is {}", values.iter().map(at).collect::<Vec<_>>().join(", "))
}

/// The value that fewest have; of several the first.
fn odd(values: &[Known<String>]) -> Option<&Known<String>> {
    let count = |of: &&Known<String>| values.iter().filter(|known| known.value == of.value).count();
    values.iter().min_by_key(count)
}

fn is_own(key: &str) -> bool {
    OWN_TABLES.iter().any(|table| key.starts_with(table)) || key.split(['.', '_']).any(|word| OWN.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::is_own;

    #[test]
    fn what_is_of_one_instance_may_differ() {
        let own = ["listen_addr", "listen.http", "pidfile", "unix_socket_dir", "peer_id", "poolwarden.instance_id"];
        assert!(own.into_iter().all(is_own));
        let shared = ["default_pool_size", "pools.app.size", "so_reuseport", "limits.max_clients", "poolwarden.guard"];
        assert!(!shared.into_iter().any(is_own));
    }
}
