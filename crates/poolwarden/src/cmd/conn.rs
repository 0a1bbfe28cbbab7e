//! `cancel` and `terminate`: one server connection, or every stuck one of a pool.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::said::{Answers, gathered, print};
use crate::cli::{ConnArgs, Format, TerminateArgs};
use crate::remote::Remote;

pub(crate) fn cancel(args: &ConnArgs) -> anyhow::Result<ExitCode> {
    act(args, "/api/v1/cancel", "cancelled what ran on")
}

pub(crate) fn terminate(args: &TerminateArgs) -> anyhow::Result<ExitCode> {
    act(&args.of, "/api/v1/terminate", "closed")
}

fn act(args: &ConnArgs, path: &str, did: &str) -> anyhow::Result<ExitCode> {
    let remote = Remote::find(&args.to)?;
    let asked = remote.places().len();
    if let (Some(conn), true) = (args.conn, asked > 1) {
        anyhow::bail!("connection {conn} is another one in each instance: name one --at");
    }
    let order = match (args.conn, &args.stuck) {
        (Some(conn), _) => json!({"conn": conn}),
        (None, stuck) => json!({"stuck": stuck}),
    };
    let mut answers = Answers::gather(&remote, |at| remote.post(at, path, &order)?.json());
    let good = std::mem::take(&mut answers.good);
    print(&match args.format {
        Format::Text => good.iter().map(|(at, body)| lines(at, did, body)).collect(),
        Format::Json => format!("{}\n", gathered(good, asked)),
    })?;
    Ok(answers.exit())
}

/// A line per connection, those it was not done to among them.
fn lines(at: &str, did: &str, body: &Value) -> String {
    let list = |key: &str| body[key].as_array().cloned().unwrap_or_default();
    let done = list("done").into_iter().map(|of| {
        let pid = of["pid"].as_u64().map_or_else(String::new, |pid| format!(", pid {pid}"));
        let text = |key: &str| of[key].as_str().unwrap_or_default().to_owned();
        format!(
            "{at}: {did} connection {} (pool {}, application {:?}{pid})\n",
            of["conn"],
            text("pool"),
            text("application")
        )
    });
    let skipped = list("skipped").into_iter().map(|of| {
        format!("{at}: connection {} left alone: {}\n", of["conn"], of["why"].as_str().unwrap_or("it said no reason"))
    });
    let lines: String = done.chain(skipped).collect();
    if lines.is_empty() { format!("{at}: nothing is stuck\n") } else { lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_its_line() {
        let body = json!({
            "schema": 1,
            "done": [{"conn": 5, "pool": "app", "user": "web", "pid": 8123, "client": 17, "application": "a\nb"}],
            "skipped": [{"conn": 6, "why": "it came back meanwhile"}],
        });
        let said = lines("a:1", "closed", &body);
        let expected = "a:1: closed connection 5 (pool app, application \"a\\nb\", pid 8123)\n\
                        a:1: connection 6 left alone: it came back meanwhile\n";
        assert_eq!(said, expected);
        assert_eq!(lines("a:1", "closed", &json!({"schema": 1, "done": [], "skipped": []})), "a:1: nothing is stuck\n");
    }
}
