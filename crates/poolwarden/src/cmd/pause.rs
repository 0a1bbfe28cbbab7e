//! `pause` and `resume`: pools lend no more, and lend again.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::said::{Answers, gathered, print};
use crate::cli::{Format, PauseArgs, ResumeArgs};
use crate::remote::Remote;

pub(crate) fn pause(args: &PauseArgs) -> anyhow::Result<ExitCode> {
    act(args, "/api/v1/pause", "lend no more until resume; clients wait")
}

pub(crate) fn resume(args: &ResumeArgs) -> anyhow::Result<ExitCode> {
    act(&args.of, "/api/v1/resume", "lend again")
}

fn act(args: &PauseArgs, path: &str, did: &str) -> anyhow::Result<ExitCode> {
    let remote = Remote::find(&args.to)?;
    let asked = remote.places().len();
    let order = json!({"pool": args.pool});
    let mut answers = Answers::gather(&remote, |at| remote.post(at, path, &order)?.json());
    let good = std::mem::take(&mut answers.good);
    print(&match args.format {
        Format::Text => good.iter().map(|(at, body)| line(at, did, body)).collect(),
        Format::Json => format!("{}\n", gathered(good, asked)),
    })?;
    Ok(answers.exit())
}

fn line(at: &str, did: &str, body: &Value) -> String {
    let pools: Vec<&str> = body["done"].as_array().into_iter().flatten().filter_map(|of| of["pool"].as_str()).collect();
    let names = if pools.is_empty() { "no pool is configured".to_owned() } else { pools.join(", ") };
    let lent = match body["lent"].as_u64() {
        None | Some(0) => String::new(),
        Some(lent) => format!("; {lent} server connections are still lent, until their clients are done"),
    };
    format!("{at}: {names}: {did}{lent}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_still_lent_is_said() {
        let body = json!({"schema": 1, "done": [{"pool": "app", "state": "paused"}, {"pool": "web"}], "lent": 2});
        let expected =
            "a:1: app, web: lend no more; 2 server connections are still lent, until their clients are done\n";
        assert_eq!(line("a:1", "lend no more", &body), expected);
        assert_eq!(line("a:1", "lend again", &json!({"done": [{"pool": "app"}], "lent": 0})), "a:1: app: lend again\n");
    }
}
