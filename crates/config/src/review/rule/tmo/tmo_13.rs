//! TMO-13: a value of HikariCP that HikariCP will not use.

use super::hikari::{BELOW, IDLE, IDLE_DEFAULT, LIFETIME, RANGES, fixed, meant, written};
use crate::finding::Severity;
use crate::review::chain::{App, Library};
use crate::review::dossier::Dossier;
use crate::review::need::APP;
use crate::review::place::Known;
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "TMO-13",
    severity: Severity::Warning,
    title: "HikariCP will not use this value",
    condition: "connectionTimeout or validationTimeout in 1..250 ms, maxLifetime or keepaliveTime in 1..30,000 ms, keepaliveTime >= \
                maxLifetime, leakDetectionThreshold in 1..2,000 ms or > maxLifetime, idleTimeout in 1..10,000 ms or > maxLifetime - \
                1,000 ms in a pool that may shrink (a hint: idleTimeout in one that may not)",
    why: "HikariCP puts its own value in the place of one that is out of range, or turns the feature off, and says so once, as a \
          warning among the lines of the start (HikariConfig.validateNumerics). The file lies from then on: who reads it believes \
          in a keepalive or a leak detection that is not there.",
    fix: "write a value within the range",
    needs: &[APP],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for app in of.apps.iter().filter(|app| app.library == Library::Hikari) {
        let written = written(app);
        let life = written.get("maxlifetime").map_or(LIFETIME, |(_, millis, _)| *millis);
        let least = RANGES.iter().find(|range| range.key == "maxlifetime").map_or(0, |range| range.least);
        let life = if (1..least).contains(&life) { LIFETIME } else { life };
        let fixed = fixed(app, &written);
        for range in RANGES.iter().filter(|range| range.key != IDLE || !fixed) {
            let Some((key, millis, known)) = written.get(range.key) else { continue };
            if (1..range.least).contains(millis) {
                say(
                    out,
                    (app, key, known),
                    format!("is below {} ms: HikariCP {}", range.least, range.instead),
                    meant(*millis, range.least),
                );
            }
        }
        for (key, most, what) in [
            ("keepalivetime", life.saturating_sub(1), "sends no keepalive"),
            ("leakdetectionthreshold", life, "detects no leaks"),
            (IDLE, life.saturating_sub(BELOW), "closes no idle connections"),
        ] {
            let Some((name, millis, known)) = written.get(key).filter(|_| key != IDLE || !fixed) else { continue };
            if life > 0 && *millis > most {
                say(
                    out,
                    (app, name, known),
                    format!("is too close to the lifetime of {life} ms: HikariCP {what}"),
                    most.min(life / 2),
                );
            }
        }
        let useless = written.get(IDLE).filter(|(_, millis, _)| fixed && ![0, IDLE_DEFAULT].contains(millis));
        if let Some((key, millis, known)) = useless {
            out.find(
                format!("{}: {key} = {millis} ms has no effect in a pool of fixed size", app.name),
                &known.place,
                "never used",
            )
            .because("without a minimumIdle below maximumPoolSize HikariCP closes no connection for being idle")
            .fix(format!("take {key} out, or write a minimumIdle below maximumPoolSize"))
            .matters(Severity::Info);
        }
    }
}

fn say(out: &mut Out<'_>, (app, key, known): (&App, &str, &Known<String>), what: String, legal: u64) {
    out.find(format!("{}: {key} = {} {what}", app.name, known.value.trim()), &known.place, "not what will be used")
        .because("what the file says is not what runs, and only a warning at the start says so")
        .fix(format!("write {key} = {legal}"))
        .write(known, legal.to_string());
}
