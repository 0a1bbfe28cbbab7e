//! CAP-10: PostgreSQL's backends can need more memory than its machine has.

use crate::finding::Severity;
use crate::review::chain::{Bound, Postgres};
use crate::review::dossier::Dossier;
use crate::review::need::{PG_MEMORY, PG_SETTINGS};
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "CAP-10",
    severity: Severity::Warning,
    title: "backends can need more memory than the machine has",
    condition: "shared_buffers + b x (3 x work_mem + 8 MiB) > RAM, with b = min(MC, B + D + O) where all of it is known, else MC",
    why: "work_mem is per sort or hash of a query, not per backend; three at once is what pgtune reckons with. The kernel ends the \
          process that asks last or is largest, and when that is a backend PostgreSQL restarts all of them. Where poolers bound \
          what comes, slots that nobody can take need no memory, so they are not counted.",
    fix: "lower work_mem (more for a role that needs it: ALTER ROLE … SET work_mem), or bound the connections",
    needs: &[PG_SETTINGS, PG_MEMORY],
    check,
};

/// Sorts and hashes of one backend at once (pgtune: work_mem = (RAM - shared_buffers) / (3 x (MC + workers))).
const AREAS: u64 = 3;
/// Memory of an idle backend with its catalogue caches: 7.6 MiB without huge pages (A. Freund, "Measuring the memory overhead of
/// a PostgreSQL connection", 2020), rounded up.
const BACKEND: u64 = 8 * MIB;
const MIB: u64 = 1_048_576;

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (server, postgres) in of.postgres.iter().enumerate() {
        let (Some(memory), Some(backends)) = (&postgres.memory, backends(of, server, postgres)) else { continue };
        let (Some((work, work_mem)), Some((_, buffers))) =
            (bytes(postgres, "work_mem"), bytes(postgres, "shared_buffers"))
        else {
            out.lacks(PG_SETTINGS, &postgres.name);
            continue;
        };
        let needed = needed(buffers, backends, work_mem);
        if needed <= memory.value {
            continue;
        }
        let room = memory.value.saturating_sub(buffers) / backends.max(1);
        let fits = (room.saturating_sub(BACKEND) / AREAS / MIB).max(1);
        out.find(
            format!(
                "{backends} backends can need {} MiB, and the machine has {} MiB",
                needed / MIB,
                memory.value / MIB
            ),
            &work.place,
            format!("{} MiB, up to {AREAS} times per backend", work_mem / MIB),
        )
        .and(memory, format!("{} MiB", memory.value / MIB))
        .because("the kernel kills a backend for memory, and PostgreSQL ends all connections to recover")
        .fix(format!(
            "write work_mem = '{fits}MB' in postgresql.conf, or bound the pools to fewer than {backends} backends"
        ));
    }
}

const fn needed(buffers: u64, backends: u64, work_mem: u64) -> u64 {
    buffers.saturating_add(backends.saturating_mul(work_mem.saturating_mul(AREAS).saturating_add(BACKEND)))
}

fn bytes<'a>(postgres: &'a Postgres, name: &str) -> Option<(&'a crate::review::place::Known<String>, u64)> {
    let known = postgres.settings.get(name)?;
    Some((known, known.value.parse().ok()?))
}

/// Backends that can come: those of all consumers where each is known and bounded, at most max_connections.
fn backends(of: &Dossier, server: usize, postgres: &Postgres) -> Option<u64> {
    let max = postgres.max_connections.as_ref()?.value;
    let bounded = |bound: Option<Bound>| bound.is_some_and(|bound| bound != Bound::Unlimited);
    let poolers = of.poolers.iter().filter(|pooler| pooler.uses(server));
    let known = poolers.clone().all(|pooler| bounded(Some(pooler.backends(server))))
        && of.direct(server).all(|app| bounded(app.demand(false)))
        && postgres.others.is_some()
        && poolers.count() > 0;
    let others = postgres.others.as_ref().map_or(0, |known| known.value);
    Some(if known { max.min(of.consumers(server, false).total().saturating_add(others)) } else { max })
}

#[cfg(test)]
mod tests {
    use super::{MIB, needed};

    #[test]
    fn a_backend_needs_three_areas_and_eight_mebibytes() {
        assert_eq!(needed(1024 * MIB, 100, 4 * MIB), (1024 + 100 * (12 + 8)) * MIB);
    }
}
