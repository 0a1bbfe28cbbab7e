//! `apply`, `confirm`, `rollback`: changes of the configuration in force at one or several running poolwardens.

use std::fmt::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::history::changes;
use super::said::{Answers, gathered, headed, print};
use crate::cli::{ApplyArgs, ConfirmArgs, Format, RollbackArgs, ToArgs};
use crate::discover;
use crate::remote::Remote;

pub(crate) fn apply(args: &ApplyArgs) -> anyhow::Result<ExitCode> {
    let text = args.file.as_ref().map(|file| discover::read_text(file)).transpose()?;
    let order = json!({
        "text": text,
        "set": args.set,
        "reason": args.reason,
        "confirm_within": args.confirm_within,
        "force": args.force,
        "by": myself(),
    });
    change((&args.to, args.format), "/api/v1/apply", &order)
}

pub(crate) fn confirm(args: &ConfirmArgs) -> anyhow::Result<ExitCode> {
    change((&args.to, args.format), "/api/v1/confirm", &json!({"by": myself()}))
}

pub(crate) fn rollback(args: &RollbackArgs) -> anyhow::Result<ExitCode> {
    let order = json!({"to": args.version, "reason": args.reason, "by": myself()});
    change((&args.to, args.format), "/api/v1/rollback", &order)
}

fn change((to, format): (&ToArgs, Format), path: &str, order: &Value) -> anyhow::Result<ExitCode> {
    let remote = Remote::find(to)?;
    let asked = remote.places().len();
    let answers = Answers::gather(&remote, |at| remote.post_patiently(at, path, order)?.json());
    let exit = answers.exit();
    print(&match format {
        Format::Text => {
            let texts: Vec<(String, String)> = answers.good.iter().map(|(at, body)| (at.clone(), text(body))).collect();
            headed(&texts, asked)
        }
        Format::Json => format!("{}\n", gathered(answers.good, asked)),
    })?;
    Ok(exit)
}

/// Who types: who became root is still who they were.
fn myself() -> String {
    let name = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()));
    name.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

fn text(body: &Value) -> String {
    let mut out = String::new();
    // Writing to a String does not fail, here and below.
    match body["versions"].get(0) {
        Some(version) => {
            let _ = writeln!(out, "version {} runs since {}", version["n"], version["at"].as_str().unwrap_or_default());
            changes(version, &mut out);
        }
        None => out.push_str("it runs\n"),
    }
    let _ = writeln!(out, "=> {}", body["effect"].as_str().unwrap_or_default());
    for note in body["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let _ = writeln!(out, "   {note}");
    }
    let running = &body["running"];
    if let (Some(file), true, true) = (body["file"].as_str(), running["confirm_until"].is_null(), notes(body) == 0) {
        let _ = writeln!(out, "   written to {file}");
    }
    if !running["trial_until"].is_null() {
        out.push_str("   watched for a minute; poolwarden history says what comes of it\n");
    }
    out
}

/// How many notes say that it is not in the file.
fn notes(body: &Value) -> usize {
    let notes = body["notes"].as_array().into_iter().flatten().filter_map(Value::as_str);
    notes.filter(|note| note.contains("a restart undoes this")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_since_when_and_what_comes_of_it_is_told() {
        let version = json!({
            "n": 5, "at": "2026-11-23T05:10:22Z", "diff": [{"key": "pools.app.size", "from": "20", "to": "50"}],
        });
        let body = json!({
            "versions": [version], "file": "/etc/poolwarden/poolwarden.toml", "notes": [],
            "effect": "no effect: user binds pool app (web) at 3 (users.web.max_connections)",
            "running": {"confirm_until": null, "trial_until": "2026-11-23T05:11:22Z"},
        });
        assert_eq!(
            text(&body),
            "version 5 runs since 2026-11-23T05:10:22Z\n    pools.app.size  20 -> 50\n\
             => no effect: user binds pool app (web) at 3 (users.web.max_connections)\n   \
                written to /etc/poolwarden/poolwarden.toml\n   \
                watched for a minute; poolwarden history says what comes of it\n"
        );
        let note = "not written: poolwarden.toml: Read-only file system; a restart undoes this";
        let unwritten = json!({
            "versions": [], "file": "a.toml", "notes": [note], "effect": "it runs",
            "running": {"confirm_until": null, "trial_until": null},
        });
        assert_eq!(text(&unwritten), format!("it runs\n=> it runs\n   {note}\n"));
    }
}
