//! EFF-02: a change that waits for a restart.

use super::change::{changes, is_proposed, prefix, whose};
use crate::finding::Severity;
use crate::review::chain::Kind;
use crate::review::dossier::Dossier;
use crate::review::need::{LIVE, PG_SETTINGS, RUNNING};
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "EFF-02",
    severity: Severity::Error,
    title: "a change waits for a restart",
    condition: "pg_settings.pending_restart, or a setting that only a restart applies differs between file and process (a warning \
                in a file called NAME.proposed.EXT)",
    why: "PostgreSQL takes max_connections and its memory only at a start, PgBouncer its listen_backlog and so_reuseport, and a \
          reload says nothing of them. The change counts as made while the old number holds.",
    fix: "plan the restart and say so in the change, or undo the edit",
    needs: &[LIVE],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for postgres in &of.postgres {
        if postgres.settings.is_empty() {
            out.lacks(PG_SETTINGS, &postgres.name);
        }
        for pending in &postgres.pending_restart {
            let name = &pending.value;
            let message = format!("{}: {name} waits for a restart", postgres.name);
            let finding = out.find(message, &pending.place, "pending restart");
            if let Some(holds) = postgres.settings.get(name) {
                finding.and(holds, format!("{} holds until then", holds.value));
            }
            finding
                .because(format!("the new {name} is written, and PostgreSQL goes on with the old one"))
                .fix(format!("restart {} when it may be away, or alter system reset {name}", postgres.name));
        }
    }
    for pooler in of.poolers.iter().filter(|pooler| prefix(pooler.kind).is_some()) {
        let tells = |source| whose(of, source).is_some_and(|one| std::ptr::eq(one, pooler));
        if !(0..of.facts.len()).any(tells) {
            out.lacks(RUNNING, &pooler.name);
        }
    }
    for change in changes(of).iter().filter(|change| !change.live) {
        let restart = match change.pooler.kind {
            Kind::Poolwarden => "restart poolwarden",
            Kind::PgBouncer | Kind::RdsProxy | Kind::Odyssey => "restart PgBouncer",
        };
        let message = format!("{}, and no reload applies it", change.words());
        let finding = out.find(message, &change.file.place, "a reload leaves it as it is");
        finding
            .and(&change.running, format!("{} holds until then", change.running.value))
            .because("a reload ends well and changes nothing of it")
            .fix(format!("{restart}, then see {} in SHOW CONFIG", change.key));
        if is_proposed(change.pooler) {
            finding.matters(Severity::Warning);
        }
    }
}
