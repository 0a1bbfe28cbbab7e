//! Random reloads under load, half of them broken: `reloads [COUNT]`, of poolwarden and of the installed PgBouncer.
//!
//! After a broken file everything that runs is compared with what ran before it, as each tells it. The last line is JSON.

#![allow(clippy::print_stdout, reason = "the result goes to standard output")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use poolwarden_testbed::reloads::{Dice, File, ini, toml};
use poolwarden_testbed::workers::Workers;
use poolwarden_testbed::{Bed, Plan, Target, Wire, pgbouncer};
use serde_json::{Value, json};

const TRANSACTION: &[&str] = &["begin", "select pg_sleep(0.002)", "commit"];
const CLIENTS: usize = 6;
/// Settings that differ after a broken file, of which one example is kept.
const EXAMPLE: usize = 5;

fn main() {
    let count: u64 = std::env::args().nth(1).map_or(1_000, |text| text.parse().expect("a number of reloads"));
    let ours = reloaded(Target::Poolwarden, count);
    let theirs = pgbouncer::installed().map(|_| reloaded(Target::PgBouncer, count));
    let good =
        ours["changed_by_broken"] == 0 && ours["broken_accepted"] == 0 && ours["good_refused"] == 0 && ours["cut"] == 0;
    let result = json!({"poolwarden": ours, "pgbouncer": theirs});
    if !good {
        eprintln!("{result:#}");
        std::process::exit(1);
    }
    println!("{result}");
}

fn reloaded(target: Target, count: u64) -> Value {
    let bed = Bed::start_as(target, Plan::default());
    let (path, make): (PathBuf, fn(&str, &mut Dice) -> File) = match target {
        Target::PgBouncer => (bed.pgbouncer().file(), ini),
        Target::Poolwarden | Target::Direct => (bed.pooler().expect("poolwarden").dir().join("poolwarden.toml"), toml),
    };
    let base = fs::read_to_string(&path).expect("its file");
    let workers = Workers::start(&bed, CLIENTS, TRANSACTION);
    let (mut dice, mut console, mut kinds) = (Dice::new(11), bed.console(), BTreeMap::<&str, u64>::new());
    let (mut broken, mut accepted, mut refused, mut changed, mut example) = (0_u64, 0_u64, 0_u64, 0_u64, None);
    for _ in 0..count {
        let file = make(&base, &mut dice);
        let before = in_force(&mut console);
        fs::write(&path, &file.bytes).expect("written");
        let taken = console.query("RELOAD").is_ok();
        let Some(kind) = file.broken else {
            refused += u64::from(!taken);
            continue;
        };
        broken += 1;
        *kinds.entry(kind).or_default() += 1;
        accepted += u64::from(taken);
        let after = in_force(&mut console);
        if after != before {
            changed += 1;
            example.get_or_insert_with(|| json!({"broken": kind, "settings": apart(&before, &after)}));
        }
        // as it was: the next one begins from there
        fs::write(&path, &base).expect("written");
        let _as_before = console.query("RELOAD");
    }
    let (transactions, errors) = workers.end();
    json!({
        "reloads": count, "broken": broken, "kinds": kinds, "changed_by_broken": changed, "example": example,
        "broken_accepted": accepted, "good_refused": refused, "transactions": transactions, "cut": errors.len(), "errors": errors,
    })
}

/// Settings by their names, as the console tells one who is logged in there already: after a broken file it may let nobody in.
fn in_force(console: &mut Wire) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for table in ["CONFIG", "DATABASES", "USERS"] {
        let answer = console.query(&format!("SHOW {table}")).unwrap_or_else(|e| panic!("SHOW {table}: {e}"));
        for row in &answer.rows {
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            let name = row.first().map(text).unwrap_or_default();
            let set = answer.columns.iter().zip(row).filter(|(column, _)| !column.contains("current_"));
            for (column, value) in set.skip(1) {
                all.insert(format!("{table} {name} {column}"), text(value));
            }
        }
    }
    all
}

fn apart(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let differs = |(key, value): (&String, &String)| {
        let now = after.get(key).map_or("nothing", String::as_str);
        (now != value).then(|| format!("{key}: {value} -> {now}"))
    };
    before.iter().filter_map(differs).take(EXAMPLE).collect()
}
