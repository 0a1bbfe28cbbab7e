//! MUL-08: connections beyond the idle ones are closed as soon as they come back.

use crate::finding::Severity;
use crate::review::chain::{Bound, Library};
use crate::review::dossier::Dossier;
use crate::review::need::APP_POOL_SIZE;
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "MUL-08",
    severity: Severity::Info,
    title: "most connections of the pool are closed after each use",
    condition: "2 x MaxIdle < P (Go's MaxIdleConns, which is 2 by default; SQLAlchemy's pool_size beside its overflow)",
    why: "What comes back beyond MaxIdle is closed and opened again for the next request: under load each request pays for a \
          connect, TLS and a login, and PostgreSQL for a new process.",
    fix: "let as many be idle as may be open",
    needs: &[APP_POOL_SIZE],
    check,
};

/// A pool that keeps at least one of so many is not spoken of.
const KEEPS: u64 = 2;

fn check(of: &Dossier, out: &mut Out<'_>) {
    for app in &of.apps {
        let (Some(idle), Some(size)) = (&app.max_idle, &app.pool_size) else { continue };
        let Bound::Of(most) = size.value else { continue };
        if idle.value.saturating_mul(KEEPS) >= most {
            continue;
        }
        let finding = out.find(
            format!("{}: of {most} connections {} may stay", app.name, idle.value),
            &idle.place,
            format!("{} idle at most", idle.value),
        );
        finding
            .and(size, format!("{most} open at most"))
            .because(format!("under load {} connections are opened and closed again and again", most - idle.value));
        if app.library == Library::SqlAlchemy {
            finding.fix(format!("write pool_size = {most} and max_overflow = 0"));
        } else {
            finding.fix(format!("let {most} be idle")).write(idle, most.to_string());
        }
    }
}
