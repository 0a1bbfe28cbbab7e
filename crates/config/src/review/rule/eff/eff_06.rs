//! EFF-06: a setting that is not what its writer meant.
//!
//! What the files' own readers find (unknown and misplaced keys, missing units, broken syntax) has this code too, and is found
//! where they are read. This looks for what every reader accepts and nobody means: milliseconds where seconds are read, and
//! seconds where milliseconds are. HikariCP's ranges are TMO-13's.

use crate::finding::Severity;
use crate::review::chain::{Kind, Library};
use crate::review::dossier::Dossier;
use crate::review::need::SETTINGS;
use crate::review::place::Known;
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "EFF-06",
    severity: Severity::Error,
    title: "a setting is not what its writer meant",
    condition: "an unknown or misplaced key, a value without its unit, broken syntax; or a wait in seconds >= 1,000 that ends in 000 \
                or 500, a lifetime in seconds >= 100,000 that ends in 000, a limit of PostgreSQL in milliseconds < 100",
    why: "A key in the wrong section and a number in the wrong unit look right in the file. default_pool_size in [databases] was once \
          no more than a line in PgBouncer's log; statement_timeout = 30 is 30 ms, and pool_timeout = 30000 is eight hours.",
    fix: "write the key that was meant, where it belongs, with the unit it is read in",
    needs: &[SETTINGS],
    check,
};

/// Waits that are read in seconds.
const WAITS: [&str; 8] = [
    "query_wait_timeout",
    "checkout_timeout",
    "pool_timeout",
    "connect_timeout",
    "server_connect_timeout",
    "server_login_retry",
    "client_login_timeout",
    "reserve_pool_timeout",
];
/// People write seconds as multiples of 60, and milliseconds as multiples of this. Beyond one of it, a wait in seconds is a
/// quarter of an hour, which nobody waits.
const STEP: u64 = 500;
/// Ages and idle times that are read in seconds.
const LIVES: [&str; 5] =
    ["pool_recycle", "server_lifetime", "server_idle_timeout", "client_idle_timeout", "idle_timeout"];
/// From so many seconds on an age is looked at: more than a day, and no multiple of one.
const LONG_LIFE: u64 = 100_000;
/// See [`STEP`]; ages are longer.
const LIFE_STEP: u64 = 1_000;
/// Limits that PostgreSQL reads in milliseconds. A lock_timeout of some milliseconds is meant so.
const MILLIS: [&str; 4] =
    ["statement_timeout", "transaction_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"];
/// Fewer milliseconds were seconds.
const SHORT: u64 = 100;

fn check(of: &Dossier, out: &mut Out<'_>) {
    for pooler in of.poolers.iter().filter(|pooler| pooler.kind == Kind::PgBouncer) {
        pooler.written.iter().for_each(|(key, known)| too_long(&pooler.name, key, known, out));
    }
    for app in &of.apps {
        if app.library != Library::Hikari {
            app.written.iter().for_each(|(key, known)| too_long(&app.name, key, known, out));
        }
        app.startup.iter().for_each(|(key, known)| too_short(&app.name, key, known, out));
    }
    for postgres in &of.postgres {
        postgres.settings.iter().for_each(|(key, known)| too_short(&postgres.name, key, known, out));
        for (role, told) in &postgres.roles {
            told.settings.iter().for_each(|(key, known)| too_short(&format!("role {role}"), key, known, out));
        }
    }
}

/// Milliseconds where seconds are read.
fn too_long(who: &str, key: &str, known: &Known<String>, out: &mut Out<'_>) {
    let last = key.rsplit('.').next().unwrap_or(key);
    let number: Option<u64> = known.value.trim().replace('_', "").parse().ok();
    let Some(number) = number.filter(|number| meant_millis(last, *number)) else { return };
    let seconds = number / 1000; // at least one, beyond STEP
    out.find(
        format!("{who}: {last} = {number} is {} minutes: it is read in seconds", number / 60),
        &known.place,
        "seconds",
    )
    .because(format!("if {number} ms were meant, it lasts a thousand times longer"))
    .fix(format!("write {last} = {seconds}"))
    .write(known, seconds.to_string());
}

fn meant_millis(key: &str, number: u64) -> bool {
    let is_wait = WAITS.contains(&key) && number > STEP && number.is_multiple_of(STEP);
    is_wait || LIVES.contains(&key) && number >= LONG_LIFE && number.is_multiple_of(LIFE_STEP)
}

/// Seconds where milliseconds are read.
fn too_short(who: &str, key: &str, known: &Known<String>, out: &mut Out<'_>) {
    let number: Option<u64> = known.value.trim().parse().ok();
    let Some(number) = number.filter(|number| (1..SHORT).contains(number) && MILLIS.contains(&key)) else { return };
    out.find(format!("{who}: {key} = {number} is {number} ms"), &known.place, "milliseconds")
        .because(format!("PostgreSQL reads a bare number as milliseconds: whatever takes {number} ms is ended"))
        .fix(format!("write {key} = {number}s"))
        .write(known, format!("{number}s"));
}

#[cfg(test)]
mod tests {
    use super::meant_millis;

    #[test]
    fn milliseconds_are_told_from_seconds() {
        let waits = [999, 1_000, 1_500, 3_600, 950, 30_000].map(|number| meant_millis("pool_timeout", number));
        assert_eq!(waits, [false, true, true, false, false, true]);
        assert_eq!([1_100, 1_050, 900, 500].map(|number| meant_millis("pool_timeout", number)), [false; 4]);
        let lives =
            [100_000, 99_000, 604_800, 86_400, 300_000, 101_500].map(|number| meant_millis("pool_recycle", number));
        assert_eq!(lives, [true, false, false, false, true, false]);
        assert!(!meant_millis("pool_recycle", 30_000) && !meant_millis("query_timeout", 30_000));
    }
}
