//! `shed`: has one or several running poolwardens refuse the requests of a class for a while.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value, json};

use crate::cli::{Format, ShedArgs};
use crate::remote::{Remote, Said};

/// Nothing was done, for now: it is starting, or stopping.
const REFUSED: u8 = 1;
/// No such class, a time that is none, not the token: asking again helps nobody.
const WRONG: u8 = 2;

pub(crate) fn shed(args: &ShedArgs) -> anyhow::Result<ExitCode> {
    let remote = Remote::find(&args.to)?;
    let order = json!({"class": args.class, "for": args.length});
    let (mut done, mut worst) = (Vec::new(), 0);
    for at in remote.places() {
        match remote.post(at, "/api/v1/shed", &order) {
            Ok(Said { status: 200..300, body }) => done.push((at, body)),
            Ok(Said { status, body }) => {
                eprintln!("poolwarden: {at}: {}", refusal(status, &body));
                // wrong usage goes before a refusal, whichever came first
                worst = worst.max(if (400..500).contains(&status) { WRONG } else { REFUSED });
            }
            Err(why) => {
                eprintln!("poolwarden: {why:#}");
                worst = WRONG;
            }
        }
    }
    let printed = match args.format {
        Format::Text => done.iter().map(|(at, body)| line(at, body)).collect(),
        Format::Json => {
            let all: Vec<Value> = done
                .iter()
                .map(|(at, body)| json!({"at": at, "class": body["class"], "until": body["until"]}))
                .collect();
            format!("{}\n", json!({"schema": 1, "instances": all}))
        }
    };
    let mut out = std::io::stdout().lock();
    out.write_all(printed.as_bytes()).and_then(|()| out.flush()).context("standard output")?;
    Ok(ExitCode::from(worst))
}

fn line(at: &str, body: &Value) -> String {
    let class = body["class"].as_str().unwrap_or_default();
    match body["until"].as_str() {
        Some(until) => format!("{at}: class {class} is shed until {until}\n"),
        None => format!("{at}: class {class} is shed no longer\n"),
    }
}

fn refusal(status: u16, body: &Value) -> String {
    match (body["error"].as_str(), body["fix"].as_str()) {
        (Some(error), Some(fix)) => format!("{error}; {fix}"),
        (Some(error), None) => error.to_owned(),
        (None, _) => format!("answered {status}: is this poolwarden's HTTP address?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_and_what_was_not_is_one_line_each() {
        let until = json!({"class": "batch", "until": "2024-08-15T08:10:00Z"});
        assert_eq!(line("a:1", &until), "a:1: class batch is shed until 2024-08-15T08:10:00Z\n");
        assert_eq!(line("a:1", &json!({"class": "batch", "until": null})), "a:1: class batch is shed no longer\n");
        assert_eq!(
            refusal(422, &json!({"error": "no such class: x", "fix": "did you mean y?"})),
            "no such class: x; did you mean y?"
        );
        assert_eq!(refusal(404, &Value::Null), "answered 404: is this poolwarden's HTTP address?");
    }
}
