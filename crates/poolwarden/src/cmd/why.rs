//! `why`: the answer of one or several running poolwardens, as they say it.

use std::process::ExitCode;

use serde_json::Value;

use super::said::{Answers, gathered, headed, on_terminal, print, width};
use crate::cli::{Format, ToArgs, WhyArgs};
use crate::remote::{Remote, escaped};

pub(crate) fn why(args: &WhyArgs) -> anyhow::Result<ExitCode> {
    look(&args.to, "/api/v1/why", args.pool.as_deref(), args.format)
}

/// Asks and prints; what needs no token to be seen is seen without one.
pub(super) fn look(to: &ToArgs, path: &str, pool: Option<&str>, format: Format) -> anyhow::Result<ExitCode> {
    let remote = Remote::look(to)?;
    let asked = remote.places().len();
    let pool = pool.map_or_else(String::new, |pool| format!("&pool={}", escaped(pool)));
    match format {
        Format::Text => {
            let width = width().map_or_else(String::new, |columns| format!("&width={columns}"));
            let path = format!("{path}?format=text{pool}{width}");
            let answers = Answers::gather(&remote, |at| remote.get(at, &path)?.text());
            print(&emphasised(headed(&answers.good, asked), on_terminal()))?;
            Ok(answers.exit())
        }
        Format::Json => {
            let path = format!("{path}?format=json{pool}");
            let mut answers: Answers<Value> = Answers::gather(&remote, |at| remote.get(at, &path)?.json());
            let good = std::mem::take(&mut answers.good);
            print(&format!("{}\n", gathered(good, asked)))?;
            Ok(answers.exit())
        }
    }
}

/// On a terminal the next step and what is at fault stand out.
fn emphasised(text: String, terminal: bool) -> String {
    const BOLD: &str = "\u{1b}[1m";
    const PLAIN: &str = "\u{1b}[0m";
    if !terminal {
        return text;
    }
    let loud = |line: &str| ["  NEXT", "  AROUND"].iter().any(|heading| line.starts_with(heading));
    let line = |line: &str| if loud(line) { format!("{BOLD}{line}{PLAIN}\n") } else { format!("{line}\n") };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_gets_what_only_a_terminal_understands() {
        let text = "app: SATURATED\n  NEXT    raise it\n  now     3 of 3\n";
        assert_eq!(emphasised(text.to_owned(), false), text);
        let bold = "app: SATURATED\n\u{1b}[1m  NEXT    raise it\u{1b}[0m\n  now     3 of 3\n";
        assert_eq!(emphasised(text.to_owned(), true), bold);
    }
}
