//! `plan`: what a change of the configuration would do to one or several running poolwardens.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::said::{Answers, gathered, headed, print};
use crate::cli::{Format, PlanArgs};
use crate::discover;
use crate::remote::Remote;

pub(crate) fn plan(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let remote = Remote::find(&args.to)?;
    let order = match &args.file {
        Some(file) => json!({"text": discover::read_text(file)?}),
        None => json!({"set": args.set}),
    };
    let answers = Answers::gather(&remote, |at| remote.post_patiently(at, "/api/v1/plan", &order)?.json());
    let (exit, asked) = (answers.exit(), remote.places().len());
    print(&match args.format {
        Format::Text => {
            let apart = apart(&answers.good);
            let texts: Vec<(String, String)> = answers.good.iter().map(|(at, body)| (at.clone(), text(body))).collect();
            headed(&texts, asked) + &apart
        }
        Format::Json => format!("{}\n", gathered(answers.good, asked)),
    })?;
    Ok(exit)
}

fn items<'a>(of: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    of[key].as_array().into_iter().flatten()
}

fn said(of: &Value) -> &str {
    of.as_str().unwrap_or("nothing")
}

fn text(body: &Value) -> String {
    let mut out = String::new();
    // Writing to a String does not fail, here and below.
    let longest = items(body, "changes").map(|change| said(&change["key"]).chars().count()).max().unwrap_or(0);
    for change in items(body, "changes") {
        let restart = if change["live"] == false { "   needs a restart of poolwarden" } else { "" };
        let (from, to) = (said(&change["from"]), said(&change["to"]));
        let _ = writeln!(out, "{:<longest$}  {from} -> {to}{restart}", said(&change["key"]));
    }
    for pool in items(body, "pools") {
        let name = format!("pool {} ({})", said(&pool["pool"]), said(&pool["user"]));
        let (before, after) = (&pool["binding_before"], &pool["binding_after"]);
        let line = match (pool["effective"] == true, before == after) {
            (true, _) => format!("{} -> {}", ceiling(before), ceiling(after)),
            (false, true) => format!("{}, as before", ceiling(after)),
            (false, false) => format!("{}, no more and no fewer than before", ceiling(after)),
        };
        let _ = writeln!(out, "{name}: {line}");
    }
    let _ = writeln!(out, "=> {}", said(&body["effect"]));
    let _ = predicted(&mut out, &body["wait_before"], &body["wait_after"]);
    for note in items(body, "notes") {
        let _ = writeln!(out, "   {}", said(note));
    }
    out
}

/// What requests would wait, where that is told.
fn predicted(out: &mut String, before: &Value, after: &Value) -> std::fmt::Result {
    let (Some(from), Some(to)) = (before["p99"].as_f64(), after["p99"].as_f64()) else { return Ok(()) };
    let failed = |of: &Value| of["failed_share"].as_f64().unwrap_or(0.0) * 100.0;
    writeln!(
        out,
        "   predicted for the traffic of the last minutes, pool {} ({}): wait p99 {from:.1} ms -> {to:.1} ms, failed {:.2} % -> {:.2} %",
        said(&before["pool"]),
        said(&before["user"]),
        failed(before),
        failed(after)
    )
}

/// `up to 3 server connections (user binds: users.web.max_connections = 3)`.
fn ceiling(of: &Value) -> String {
    match of["connections"].as_u64() {
        Some(connections) => format!(
            "up to {connections} server connections ({} binds: {}, {} of {} used)",
            said(&of["name"]),
            said(&of["setting"]),
            of["used"],
            of["size"]
        ),
        None => "no limit".to_owned(),
    }
}

/// Settings that the instances do not have alike now: what one plan would change at one of them only.
fn apart(answers: &[(String, Value)]) -> String {
    let mut now: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for (at, body) in answers {
        for change in items(body, "changes") {
            now.entry(said(&change["key"])).or_default().insert(at, said(&change["from"]));
        }
    }
    let mut out = String::new();
    for (key, values) in now {
        let first = values.values().next();
        if values.len() == answers.len() && values.values().all(|value| Some(value) == first) {
            continue;
        }
        let of = |at: &str| values.get(at).map_or_else(|| "as proposed".to_owned(), |value| (*value).to_owned());
        let list: Vec<String> = answers.iter().map(|(at, _)| format!("{} at {at}", of(at))).collect();
        let _ = writeln!(out, "instances differ: {key} is {}", list.join(", "));
    }
    if out.is_empty() { out } else { format!("\n{out}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, from: &str, live: bool) -> Value {
        json!({"key": key, "from": from, "to": "50", "live": live})
    }

    #[test]
    fn a_plan_shows_what_differs_what_binds_and_what_comes_of_it() {
        let ceiling =
            json!({"name": "user", "setting": "users.web.max_connections", "size": 3, "used": 3, "connections": 3});
        let body = json!({
            "changes": [change("pools.app.size", "20", true), change("listen.http", "off", false)],
            "pools": [{"pool": "app", "user": "web", "binding_before": ceiling, "binding_after": ceiling, "effective": false}],
            "effect": "no effect: user binds pool app (web) at 3 (users.web.max_connections)",
            "notes": ["listen.http waits for a restart of poolwarden"],
        });
        assert_eq!(
            text(&body),
            "pools.app.size  20 -> 50\n\
             listen.http     off -> 50   needs a restart of poolwarden\n\
             pool app (web): up to 3 server connections (user binds: users.web.max_connections, 3 of 3 used), as before\n\
             => no effect: user binds pool app (web) at 3 (users.web.max_connections)\n   \
                listen.http waits for a restart of poolwarden\n"
        );
    }

    #[test]
    fn instances_that_do_not_run_the_same_are_told_apart() {
        let answer = |at: &str, changes: Value| (at.to_owned(), json!({"changes": changes}));
        let both = [
            answer("a:1", json!([change("pools.app.size", "20", true)])),
            answer("b:1", json!([change("pools.app.size", "30", true)])),
        ];
        assert_eq!(apart(&both), "\ninstances differ: pools.app.size is 20 at a:1, 30 at b:1\n");
        let one = [answer("a:1", json!([change("pools.app.size", "20", true)])), answer("b:1", json!([]))];
        assert_eq!(apart(&one), "\ninstances differ: pools.app.size is 20 at a:1, as proposed at b:1\n");
        let alike = [
            answer("a:1", json!([change("pools.app.size", "20", true)])),
            answer("b:1", json!([change("pools.app.size", "20", true)])),
        ];
        assert_eq!(apart(&alike), "");
    }
}
