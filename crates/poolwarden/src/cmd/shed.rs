//! `shed`: has one or several running poolwardens refuse the requests of a class for a while.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::said::{Answers, print};
use crate::cli::{Format, ShedArgs};
use crate::remote::Remote;

pub(crate) fn shed(args: &ShedArgs) -> anyhow::Result<ExitCode> {
    let remote = Remote::find(&args.to)?;
    let order = json!({"class": args.class, "for": args.length});
    let answers = Answers::gather(&remote, |at| remote.post(at, "/api/v1/shed", &order)?.json());
    print(&match args.format {
        Format::Text => answers.good.iter().map(|(at, body)| line(at, body)).collect(),
        Format::Json => {
            let instance =
                |(at, body): &(String, Value)| json!({"at": at, "class": body["class"], "until": body["until"]});
            format!("{}\n", json!({"schema": 1, "instances": answers.good.iter().map(instance).collect::<Vec<_>>()}))
        }
    })?;
    Ok(answers.exit())
}

fn line(at: &str, body: &Value) -> String {
    let class = body["class"].as_str().unwrap_or_default();
    match body["until"].as_str() {
        Some(until) => format!("{at}: class {class} is shed until {until}\n"),
        None => format!("{at}: class {class} is shed no longer\n"),
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
    }
}
