//! TMO-13: a value of HikariCP that HikariCP will not use.

use std::collections::BTreeMap;

use crate::finding::Severity;
use crate::review::chain::{App, Library};
use crate::review::dossier::Dossier;
use crate::review::need::APP;
use crate::review::place::Known;
use crate::review::rule::{Out, Rule};
use crate::unit::parse_duration;

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

/// What HikariCP takes: from so many milliseconds on (0 turns the setting off, or is no limit), and what it uses instead.
struct Range {
    key: &'static str,
    least: u64,
    instead: &'static str,
}

const RANGES: [Range; 6] = [
    Range { key: "connectiontimeout", least: 250, instead: "refuses it, or waits 30 s in older versions" },
    Range { key: "validationtimeout", least: 250, instead: "refuses it, or waits 5 s in older versions" },
    Range { key: "maxlifetime", least: 30_000, instead: "closes connections after 30 minutes" },
    Range { key: "keepalivetime", least: 30_000, instead: "sends no keepalive, or one every 2 minutes" },
    Range { key: "leakdetectionthreshold", least: 2_000, instead: "detects no leaks" },
    Range { key: IDLE, least: 10_000, instead: "closes idle connections after 10 minutes" },
];
const IDLE: &str = "idletimeout";
/// Milliseconds that the idle time has to be below the lifetime.
const BELOW: u64 = 1_000;
/// HikariCP's defaults in milliseconds: the lifetime, and the idle time it does not warn of.
const LIFETIME: u64 = 1_800_000;
const IDLE_DEFAULT: u64 = 600_000;

/// What is written, by key without case and hyphens: the key as it is written, milliseconds, and the place.
type Written<'a> = BTreeMap<String, (&'a str, u64, &'a Known<String>)>;

fn check(of: &Dossier, out: &mut Out<'_>) {
    for app in of.apps.iter().filter(|app| app.library == Library::Hikari) {
        let written = written(app);
        let life = written.get("maxlifetime").map_or(LIFETIME, |(_, millis, _)| *millis);
        let life = if (1..RANGES[2].least).contains(&life) { LIFETIME } else { life };
        let fixed = fixed(app, &written);
        for range in RANGES.iter().filter(|range| range.key != IDLE || !fixed) {
            let Some((key, millis, known)) = written.get(range.key) else { continue };
            if (1..range.least).contains(millis) {
                say(
                    out,
                    (app, key, known),
                    format!("is below {} ms: HikariCP {}", range.least, range.instead),
                    range.least,
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

fn written(app: &App) -> Written<'_> {
    let each = |(key, known): (&'_ String, &'_ Known<String>)| {
        let last = key.rsplit('.').next().unwrap_or(key);
        let plain: String = last.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
        (plain.to_ascii_lowercase(), last.len(), known.value.trim().trim_matches(['"', '\'']).replace('_', ""))
    };
    let mut all = Written::new();
    for (key, known) in &app.written {
        let (plain, length, text) = each((key, known));
        let millis = text.parse().ok().or_else(|| u64::try_from(parse_duration(&text).ok()?.as_millis()).ok());
        if let Some(millis) = millis {
            all.insert(plain, (&key[key.len() - length..], millis, known));
        }
    }
    all
}

/// Whether the pool keeps its size: without a smaller minimum it does.
fn fixed(app: &App, written: &Written<'_>) -> bool {
    let number = |key: &str| written.get(key).map(|(_, number, _)| *number);
    let most = number("maximumpoolsize").or_else(|| app.pool_size.as_ref()?.value.number());
    number("minimumidle").is_none_or(|least| most.is_some_and(|most| least >= most))
}
