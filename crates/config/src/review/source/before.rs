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
