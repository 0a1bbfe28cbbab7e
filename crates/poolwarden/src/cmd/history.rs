//! `history`: the versions of the configuration, newest first, what became of each and to what effect.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;

use serde_json::Value;

use super::said::{Answers, gathered, headed, print};
use crate::cli::{Format, HistoryArgs};
use crate::remote::{Answer, Remote, Said};

pub(crate) fn history(args: &HistoryArgs) -> anyhow::Result<ExitCode> {
    let remote = Remote::look(&args.to)?;
    let asked = remote.places().len();
    let path = match args.version {
        Some(n) => format!("/api/v1/history?version={n}"),
        None => format!("/api/v1/history?limit={}", args.limit),
    };
    let answers = Answers::gather(&remote, |at| remote.get(at, &path)?.json());
    let exit = answers.exit();
    print(&match args.format {
        Format::Text => {
            let one = |(at, body): &(String, Value)| (at.clone(), text(body, args.audit));
            headed(&answers.good.iter().map(one).collect::<Vec<_>>(), asked) + &apart(&remote, &answers.good)
        }
        Format::Json => format!("{}\n", gathered(answers.good, asked)),
    })?;
    Ok(exit)
}

/// Settings that the instances do not have alike.
fn apart(remote: &Remote, answers: &[(String, Value)]) -> String {
    let mut settings: BTreeMap<String, Vec<(&str, String)>> = BTreeMap::new();
    if answers.len() < 2 {
        return String::new();
    }
    for (at, _) in answers {
        // who told its history and not its settings is left out of the comparison
        let Ok(Said { body: Ok(config), .. }) = remote.get(at, "/api/v1/config").and_then(Answer::json) else {
            continue;
        };
        for of in list(&config, "settings") {
            settings.entry(said(&of["key"]).to_owned()).or_default().push((at, said(&of["value"]).to_owned()));
        }
    }
    differing(&settings)
}

/// Keys whose values are not the same everywhere. What each instance has for itself alone is no difference.
fn differing(settings: &BTreeMap<String, Vec<(&str, String)>>) -> String {
    const OWN: [&str; 3] = ["poolwarden.data_dir", "poolwarden.instance_id", "listen."];
    let mut out = String::new();
    let most = settings.values().map(Vec::len).max().unwrap_or(0);
    for (key, values) in settings {
        let is_own = OWN.iter().any(|own| key.starts_with(own));
        let is_alike =
            values.len() == most && values.iter().all(|(_, value)| Some(value) == values.first().map(|of| &of.1));
        if is_own || is_alike {
            continue;
        }
        let shown = |value: &str| if value.is_empty() { "nothing".to_owned() } else { value.to_owned() };
        let list: Vec<String> = values.iter().map(|(at, value)| format!("{} at {at}", shown(value))).collect();
        let _ = writeln!(out, "instances differ: {key} is {}", list.join(", "));
    }
    if out.is_empty() { out } else { format!("\n{out}") }
}

fn text(body: &Value, audit: bool) -> String {
    let mut out = String::new();
    // Writing to a String does not fail, here and below.
    for of in list(body, "versions") {
        version(of, &mut out);
    }
    let running = &body["running"];
    if let Some(until) = running["confirm_until"].as_str() {
        let _ = writeln!(out, "undone at {until} unless confirmed: poolwarden confirm");
    }
    for (name, said) in [
        ("drift", &running["drift"]["message"]),
        ("history", &running["history_trouble"]),
        ("recording", &running["recording_trouble"]),
    ] {
        if let Some(said) = said.as_str() {
            let _ = writeln!(out, "{name}: {said}");
        }
    }
    if audit {
        out.push_str("\ndeeds\n");
        for deed in list(body, "audit") {
            let _ = writeln!(
                out,
                "{}  {} {}: {}, by {}",
                said(&deed["at"]),
                said(&deed["verb"]),
                said(&deed["target"]),
                said(&deed["outcome"]),
                said(&deed["by"])
            );
        }
    }
    out
}

fn list<'a>(of: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    of[key].as_array().into_iter().flatten()
}

fn said(of: &Value) -> &str {
    of.as_str().unwrap_or_default()
}

fn version(of: &Value, out: &mut String) {
    let state = match (said(&of["state"]), of["in_force"] == true) {
        ("confirmed", true) => "in force".to_owned(),
        ("tentative", true) => format!("in force until {} unless confirmed", said(&of["until"])),
        ("rolled_back", _) => format!("rolled back to version {}", of["back_to"]),
        (state, true) => format!("{state}, in force"),
        (state, false) => state.to_owned(),
    };
    let reason = of["reason"].as_str().map_or_else(String::new, |reason| format!(": {reason}"));
    let _ = writeln!(out, "version {}  {}  {state}  by {}{reason}", of["n"], said(&of["at"]), said(&of["by"]));
    changes(of, out);
    if let Some(why) = of["why"].as_str() {
        let _ = writeln!(out, "    {}: {why}", said(&of["state"]));
    }
    if let Some(sentence) = of["measured_effect"]["sentence"].as_str() {
        let _ = writeln!(out, "    => {sentence}");
    }
    if let Some(text) = of["text"].as_str() {
        let _ = write!(out, "\n{text}");
    }
}

/// Settings that a version changed, one a line.
pub(super) fn changes(version: &Value, out: &mut String) {
    let longest = list(version, "diff").map(|change| said(&change["key"]).chars().count()).max().unwrap_or(0);
    for change in list(version, "diff") {
        let value = |key: &str| change[key].as_str().unwrap_or("nothing");
        let _ = writeln!(out, "    {:<longest$}  {} -> {}", said(&change["key"]), value("from"), value("to"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn instances_that_do_not_run_the_same_are_told_apart() {
        let of = |key: &str, values: &[(&'static str, &str)]| {
            (key.to_owned(), values.iter().map(|(at, value)| (*at, (*value).to_owned())).collect::<Vec<_>>())
        };
        let all = BTreeMap::from([
            of("listen.address", &[("a:1", "x"), ("b:1", "y")]),
            of("pools.app.mode", &[("a:1", "session"), ("b:1", "session")]),
            of("pools.app.size", &[("a:1", "20"), ("b:1", "40")]),
            of("pools.shop.size", &[("b:1", "5")]),
        ]);
        let said = "\ninstances differ: pools.app.size is 20 at a:1, 40 at b:1\n\
                    instances differ: pools.shop.size is 5 at b:1\n";
        assert_eq!(differing(&all), said);
        assert_eq!(differing(&BTreeMap::from([of("a", &[("a:1", ""), ("b:1", "")])])), "");
    }

    #[test]
    fn versions_say_who_what_why_and_what_came_of_it() {
        let diff = |from: &str, to: &str| json!([{"key": "pools.app.size", "from": from, "to": to}]);
        let body = json!({
            "versions": [
                {"n": 6, "at": "2026-11-23T05:10:31Z", "by": "guard", "reason": "undoes version 5", "diff": diff("2", "20"),
                 "state": "confirmed", "in_force": true, "measured_effect": null},
                {"n": 5, "at": "2026-11-23T05:10:22Z", "by": "alice", "reason": null, "diff": diff("20", "2"),
                 "state": "undone", "in_force": false, "why": "requests wait for pool_size",
                 "measured_effect": {"sentence": "pool app (web): more waiting"}},
                {"n": 4, "at": "2026-11-23T05:00:00Z", "by": "bob", "reason": null, "diff": [],
                 "state": "rolled_back", "back_to": 2, "in_force": false, "measured_effect": null},
            ],
            "audit": [{"at": "2026-11-23T05:10:22Z", "by": "alice", "verb": "pause", "target": "app", "outcome": "done"}],
            "running": {"confirm_until": null, "drift": {"message": "a.toml does not say what runs"}, "history_trouble": null, "recording_trouble": null},
        });
        let versions = "version 6  2026-11-23T05:10:31Z  in force  by guard: undoes version 5\n    pools.app.size  2 -> 20\n\
             version 5  2026-11-23T05:10:22Z  undone  by alice\n    pools.app.size  20 -> 2\n    \
                 undone: requests wait for pool_size\n    => pool app (web): more waiting\n\
             version 4  2026-11-23T05:00:00Z  rolled back to version 2  by bob\n\
             drift: a.toml does not say what runs\n";
        assert_eq!(text(&body, false), versions);
        let deeds = "\ndeeds\n2026-11-23T05:10:22Z  pause app: done, by alice\n";
        assert_eq!(text(&body, true), format!("{versions}{deeds}"));
    }
}
