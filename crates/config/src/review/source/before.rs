//! A change as two files: `NAME.proposed.EXT` is what is to come, and `NAME.EXT` beside it is what stands, as if it had been asked.
//!
//! What stands is told by the same keys as a running process tells it, so that rules about changes know no difference.

use std::collections::BTreeMap;

use super::draft::Draft;
use super::kind::FileKind;
use super::{Read, pgbouncer, poolwarden};
use crate::pgbouncer::{Section, find};
use crate::review::chain::Kind;
use crate::review::dossier::Facts;

/// Stands in the name of a file that is to come.
const PROPOSED: &str = ".proposed.";
/// Limits of PgBouncer that hold without being written, and whose defaults never changed.
pub(in crate::review) const STEADY: [&str; 6] = [
    "default_pool_size",
    "reserve_pool_size",
    "max_db_connections",
    "max_user_connections",
    "max_client_conn",
    "query_wait_timeout",
];

/// Whether one of the files is the proposal that follows this one.
pub(super) fn stands(name: &str, files: &[(&str, &str)]) -> bool {
    files.iter().any(|(other, _)| other.contains(PROPOSED) && other.replacen(PROPOSED, ".", 1) == name)
}

/// What such a file tells; `None`: it is of a kind that nothing runs by.
pub(super) fn told(name: &str, text: &str, kind: FileKind, read: &mut Read<'_>) -> Option<Facts> {
    let mut alone = Draft::default();
    match kind {
        FileKind::PgBouncer => pgbouncer::read(name, text, &mut alone, read).ok()?,
        FileKind::Poolwarden => {
            let file = alone.file(name, text);
            poolwarden::read(file, text, &mut alone, read).ok()?;
        }
        FileKind::Userlist
        | FileKind::Hikari
        | FileKind::Rails
        | FileKind::SqlAlchemy
        | FileKind::Url
        | FileKind::Prometheus
        | FileKind::Unit
        | FileKind::Facts => return None,
    }
    let mut facts = BTreeMap::new();
    for pooler in &alone.dossier.poolers {
        let prefix = match pooler.kind {
            Kind::PgBouncer => "pgbouncer.config.",
            Kind::Poolwarden => "poolwarden.config.",
            Kind::RdsProxy | Kind::Odyssey => continue,
        };
        let steady = STEADY.iter().filter(|_| pooler.kind == Kind::PgBouncer);
        let default = |key: &&str| Some((format!("{prefix}{key}"), find(Section::Pgbouncer, key)?.default.to_owned()));
        facts.extend(steady.filter_map(default));
        facts.extend(pooler.written.iter().map(|(key, known)| (format!("{prefix}{key}"), known.value.clone())));
    }
    for topology in &alone.topologies {
        let slots = [
            ("max_connections", &topology.max_connections),
            ("superuser_reserved_connections", &topology.superuser_reserved),
            ("reserved_connections", &topology.reserved),
        ];
        let one = |(key, known): (&str, &Option<crate::review::place::Known<u64>>)| {
            Some((format!("pg.setting.{key}"), known.as_ref()?.value.to_string()))
        };
        facts.extend(slots.into_iter().filter_map(one));
    }
    Some(Facts { name: name.to_owned(), facts })
}

#[cfg(test)]
mod tests {
    use super::super::{Input, gather};
    use crate::review::review;

    fn file(name: &str, text: &str) -> Input {
        Input::File { name: name.to_owned(), text: text.to_owned() }
    }

    fn said(files: &[(&str, &str)]) -> Vec<(&'static str, String)> {
        let inputs: Vec<Input> = files.iter().map(|(name, text)| file(name, text)).collect();
        let gathered = gather(&inputs, &mut |path| Err(path.to_owned()));
        assert!(gathered.unreadable.is_empty(), "{:?}", gathered.unreadable);
        review(&gathered.dossier).findings.into_iter().map(|finding| (finding.code, finding.message)).collect()
    }

    const INI: &str =
        "[databases]\napp = host=db dbname=app\n\n[pgbouncer]\nlisten_port = 6432\nmax_db_connections = 10\n";

    #[test]
    fn what_stands_is_what_a_proposal_is_compared_with() {
        let proposed = format!("{INI}default_pool_size = 40\n");
        let found = said(&[("d/pgbouncer.ini", INI), ("d/pgbouncer.proposed.ini", &proposed)]);
        let change = found.iter().find(|(code, _)| *code == "EFF-08").map(|(_, message)| message.as_str());
        assert!(
            change.is_some_and(|said| said.starts_with("default_pool_size from 20 to 40 has no effect")),
            "{found:?}"
        );
        // a file of another folder is another pooler's
        let apart = said(&[("a/pgbouncer.ini", INI), ("b/pgbouncer.proposed.ini", &proposed)]);
        assert!(!apart.iter().any(|(code, _)| *code == "EFF-08"), "{apart:?}");
    }

    #[test]
    fn a_declared_raise_and_one_of_poolwarden_are_told_too() {
        let topology = |slots: u32| {
            format!(
                "[topology.postgres]\nmax_connections = {slots}\n[[topology.app]]\nname = \"web\"\nreplicas = 2\npool_size = 5\n"
            )
        };
        let found = said(&[("topology.toml", &topology(100)), ("topology.proposed.toml", &topology(300))]);
        assert!(found.iter().any(|(code, said)| *code == "EFF-08" && said.contains("from 100 to 300")), "{found:?}");
        let ours = |size: u32| {
            format!(
                "[servers.main]\nhost = \"db\"\n[pools.app]\nserver = \"main\"\nsize = {size}\n[users.app]\n\
                 password_env = \"A\"\nmax_connections = 3\n"
            )
        };
        let found = said(&[("poolwarden.toml", &ours(20)), ("poolwarden.proposed.toml", &ours(40))]);
        assert!(found.iter().any(|(code, said)| *code == "EFF-08" && said.contains("from 20 to 40")), "{found:?}");
    }

    #[test]
    fn what_nothing_runs_by_is_read_as_it_is() {
        let url = "DATABASE_URL=postgres://a@db/a?connection_limit=3\n";
        let gathered = gather(&[file("app.env", url), file("app.proposed.env", url)], &mut |path| Err(path.to_owned()));
        assert_eq!(gathered.dossier.apps.len(), 2);
    }
}
