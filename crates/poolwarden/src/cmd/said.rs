//! What verbs share that speak to one or several running poolwardens: the outcome, the faults, the width of the terminal.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value, json};

use crate::remote::{Remote, Said};

/// Nothing was done, for now: it is starting, or stopping.
const REFUSED: u8 = 1;
/// Nothing to speak to, not the token, no such thing: asking again helps nobody.
const WRONG: u8 = 2;

/// What several instances answered, and the worst that happened.
#[derive(Debug, Default)]
pub(super) struct Answers<T> {
    pub(super) good: Vec<(String, T)>,
    worst: u8,
}

impl<T> Answers<T> {
    /// Asks every instance, one after another; faults go to standard error.
    pub(super) fn gather(remote: &Remote, ask: impl Fn(&str) -> anyhow::Result<Said<T>>) -> Self {
        let mut answers = Self { good: Vec::new(), worst: 0 };
        for at in remote.places() {
            match ask(at) {
                Ok(Said { status: 200..300, body: Ok(body) }) => answers.good.push((at.clone(), body)),
                Ok(Said { status, body }) => {
                    let fault = body.err().unwrap_or(Value::Null);
                    eprintln!("poolwarden: {at}: {}", refusal(status, &fault));
                    // wrong usage goes before a refusal, whichever came first
                    answers.worst = answers.worst.max(code(status));
                }
                Err(why) => {
                    eprintln!("poolwarden: {why:#}");
                    answers.worst = WRONG;
                }
            }
        }
        answers
    }

    pub(super) fn exit(&self) -> ExitCode {
        ExitCode::from(self.worst)
    }

    /// Something went wrong besides.
    pub(super) fn wrong(&mut self) {
        self.worst = WRONG;
    }
}

/// 409 says that it is there and nothing of the kind can be done with it now.
const fn code(status: u16) -> u8 {
    match status {
        409 => REFUSED,
        400..500 => WRONG,
        _ => REFUSED, // the server's own trouble passes
    }
}

/// A text per instance; of several each has its address before it.
pub(super) fn headed(answers: &[(String, String)], asked: usize) -> String {
    let one = |(at, text): &(String, String)| if asked > 1 { format!("== {at}\n{text}") } else { text.clone() };
    answers.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// An object per instance: of one the object itself, of several a list of them with their addresses.
pub(super) fn gathered(mut answers: Vec<(String, Value)>, asked: usize) -> Value {
    match (asked, answers.pop()) {
        (0 | 1, Some((_, only))) => only,
        (_, last) => {
            answers.extend(last);
            let instance = |(at, answer): (String, Value)| json!({"instance": at, "answer": answer});
            json!({"schema": 1, "instances": answers.into_iter().map(instance).collect::<Vec<_>>()})
        }
    }
}

pub(super) fn refusal(status: u16, body: &Value) -> String {
    match (body["error"].as_str(), body["fix"].as_str()) {
        (Some(error), Some(fix)) if fix.contains('\n') => format!("{error}\n{fix}"),
        (Some(error), Some(fix)) => format!("{error}; {fix}"),
        (Some(error), None) => error.to_owned(),
        (None, _) => format!("answered {status}: is this poolwarden's HTTP address?"),
    }
}

/// Prints a result. Who closed the pipe (`head`, `less`) has read enough.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(why) if why.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output"),
    }
}

/// Whether a person reads the output on a terminal that shows more than letters (<https://no-color.org>).
pub(super) fn on_terminal() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// Columns of the terminal; `None` where the output goes elsewhere.
pub(super) fn width() -> Option<u16> {
    let size = || ratatui::crossterm::terminal::size().ok().map(|(columns, _)| columns);
    std::io::stdout().is_terminal().then(size).flatten().filter(|columns| *columns > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_instance_answers_as_it_is_and_several_by_name() {
        let answer = |at: &str| (at.to_owned(), json!({"schema": 1, "pools": []}));
        assert_eq!(gathered(vec![answer("a:1")], 1), json!({"schema": 1, "pools": []}));
        let two = gathered(vec![answer("a:1"), answer("b:1")], 2);
        assert_eq!(
            (&two["instances"][0]["instance"], &two["instances"][1]["answer"]["schema"]),
            (&"a:1".into(), &1.into())
        );
        let none = gathered(Vec::new(), 1);
        assert_eq!(none, json!({"schema": 1, "instances": []}));
        let half = gathered(vec![answer("a:1")], 2);
        assert_eq!(half["instances"][0]["instance"], "a:1");
    }

    #[test]
    fn texts_have_their_address_where_there_are_several() {
        let text = |at: &str| (at.to_owned(), "all is calm\n".to_owned());
        assert_eq!(headed(&[text("a:1")], 1), "all is calm\n");
        assert_eq!(headed(&[text("a:1"), text("b:1")], 2), "== a:1\nall is calm\n\n== b:1\nall is calm\n");
        assert_eq!(headed(&[text("b:1")], 2), "== b:1\nall is calm\n");
    }

    #[test]
    fn a_refusal_says_what_and_what_instead() {
        assert_eq!(
            refusal(422, &json!({"error": "no such class: x", "fix": "did you mean y?"})),
            "no such class: x; did you mean y?"
        );
        assert_eq!([404, 401, 422, 409, 503, 504].map(code), [WRONG, WRONG, WRONG, REFUSED, REFUSED, REFUSED]);
        assert_eq!(refusal(404, &Value::Null), "answered 404: is this poolwarden's HTTP address?");
    }
}
