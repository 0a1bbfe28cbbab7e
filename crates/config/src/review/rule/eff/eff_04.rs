//! EFF-04: a PgBouncer that does not take pool sizes at a reload.

use super::change::{changes, told, whose};
use crate::finding::Severity;
use crate::review::chain::{Kind, Pool, Pooler};
use crate::review::dossier::Dossier;
use crate::review::need::RUNNING;
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "EFF-04",
    severity: Severity::Error,
    title: "this PgBouncer does not take pool sizes at a reload",
    condition: "version < 1.16, and default_pool_size, min_pool_size or reserve_pool_size of the file differs from the running one \
                (a hint: such a version, and a pool that has its size from there)",
    why: "Before 1.16 PgBouncer copied its default sizes into each database once. RELOAD ends well and SHOW CONFIG shows the new \
          number, while every pool keeps the old one until the process is restarted (PgBouncer's issues 248 and 634).",
    fix: "restart it after each change of a pool size, or upgrade to 1.16 or newer",
    needs: &[RUNNING],
    check,
};

/// The first version that takes them: major and minor.
const TAKES: (u64, u64) = (1, 16);
const SIZES: [&str; 3] = ["default_pool_size", "min_pool_size", "reserve_pool_size"];

fn check(of: &Dossier, out: &mut Out<'_>) {
    let changes = changes(of);
    for source in 0..of.facts.len() {
        let version = told(of, source, "pgbouncer.version").filter(|known| is_older(&known.value));
        let Some(version) = version else { continue };
        let planned = changes.iter().find(|change| change.source == source && SIZES.contains(&change.key.as_str()));
        if let Some(change) = planned {
            out.find(
                format!("{}, and PgBouncer {} takes no pool size at a reload", change.words(), version.value),
                &change.file.place,
                "a reload leaves every pool as it is",
            )
            .and(&version, version.value.clone())
            .because("after RELOAD the pools keep the size they have, whatever SHOW CONFIG says")
            .fix("restart PgBouncer instead of RELOAD, or upgrade to 1.16 or newer");
            continue;
        }
        let Some(pool) = whose(of, source).and_then(from_default) else { continue };
        out.find(
            format!("PgBouncer {} takes no pool size at a reload", version.value),
            &pool.size.place,
            "an edit of it needs a restart",
        )
        .and(&version, version.value.clone())
        .because("after RELOAD the pools have the size of the last start, whatever SHOW CONFIG says")
        .fix("upgrade to 1.16 or newer; until then restart it after an edit of a pool size")
        .matters(Severity::Info);
    }
}

/// `1.15.0`, `1.9`; what is no version is not judged.
fn is_older(version: &str) -> bool {
    let number = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u64>().ok();
    let mut parts = version.trim().split('.').map(number);
    matches!((parts.next(), parts.next()), (Some(Some(major)), Some(Some(minor))) if (major, minor) < TAKES)
}

/// A pool with the default size that is written.
fn from_default(pooler: &Pooler) -> Option<&Pool> {
    let is_written = pooler.kind == Kind::PgBouncer && pooler.written.contains_key("default_pool_size");
    pooler.pools.iter().find(|pool| is_written && pool.shadowed.is_none() && pool.size.is_given())
}

#[cfg(test)]
mod tests {
    use super::is_older;

    #[test]
    fn sizes_are_taken_from_1_16_on() {
        assert_eq!(
            ["1.15.0", "1.9", "0.99", "1.15rc1", "1.16", "1.16.1", "1.25.0", "2.0", "", "new"].map(is_older),
            [true, true, true, true, false, false, false, false, false, false]
        );
    }
}
