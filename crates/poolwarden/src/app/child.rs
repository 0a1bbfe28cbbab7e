//! A process of our own for what may take long or fail: this binary once more, with what it is given on its standard input.
//!
//! Its end is its own: a panic, a fault or too little memory there is an error here, and it is ended when it takes too long.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

/// A review of a large file, or a simulation of minutes, takes a second; a machine may be busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Far above any answer.
const MAX_ANSWER: u64 = 16 << 20;
/// Of what it says when it fails.
const MAX_WORDS: u64 = 4 << 10;
/// The binary that runs, also where its file has been replaced since.
const MYSELF: &str = "/proc/self/exe";

/// This binary once more.
pub(super) fn myself() -> Command {
    Command::new(MYSELF)
}

/// Why a process has not answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// In words.
    pub(super) why: String,
    /// What it ended with, if it did.
    pub(super) code: Option<i32>,
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self { why, code: None }
    }
}

/// What a process answers on its standard output.
pub(super) async fn ask(command: &mut Command, given: &str, patience: Duration) -> Result<Vec<u8>, Failed> {
    // Of the environment it needs nothing, and secrets may be in there.
    command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut process = command.spawn().map_err(|why| Failed::from(format!("its process cannot be started: {why}")))?;
    let (Some(mut input), Some(output), Some(errors)) =
        (process.stdin.take(), process.stdout.take(), process.stderr.take())
    else {
        return Err("its process has no pipes".to_owned().into());
    };
    let conversation = async {
        let give = async {
            let given = input.write_all(given.as_bytes()).await;
            drop(input);
            given
        };
        let (given, answer, words) = tokio::join!(give, all(output, MAX_ANSWER), all(errors, MAX_WORDS));
        let status =
            process.wait().await.map_err(|why| Failed::from(format!("its process cannot be waited for: {why}")))?;
        if !status.success() {
            let words = String::from_utf8_lossy(&words).trim().replace('\n', " ");
            let why = if words.is_empty() { format!("it ended with {status}") } else { format!("{status}: {words}") };
            return Err(Failed { why, code: status.code() });
        }
        given.map_err(|why| Failed::from(format!("it could not be told what to do: {why}")))?;
        Ok(answer)
    };
    let late = || Err(format!("it took longer than {}s", patience.as_secs_f64()).into());
    timeout(patience, conversation).await.unwrap_or_else(|_| late())
}

/// Everything that comes, up to `most` bytes. What comes beyond is not taken, and its end by a broken pipe says so.
async fn all(from: impl AsyncRead + Unpin, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What arrived before a read failed is the answer: whether it is whole, the exit code says.
    let _ended = from.take(most).read_to_end(&mut bytes).await;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, given: &str) -> Result<String, String> {
        let answer = ask(Command::new("/bin/sh").args(["-c", script]), given, Duration::from_secs(20)).await;
        answer.map_err(|failed| failed.why).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    #[tokio::test]
    async fn what_it_is_given_it_may_answer_and_its_failures_are_told() {
        let long = "x".repeat(1 << 20);
        assert_eq!(shell("exec /bin/cat", &long).await.as_ref(), Ok(&long), "both ways at once");
        assert_eq!(shell("echo \"${HOME:-nothing}\"", "").await.as_deref(), Ok("nothing\n"), "no environment");
        let failed = shell("echo panicked at x >&2; echo y >&2; exit 101", &long).await.unwrap_err();
        assert_eq!(failed, "exit status: 101: panicked at x y");
        assert!(shell("kill -ABRT $$", "").await.unwrap_err().contains("signal: 6"));
        let missing = ask(&mut Command::new("/nowhere/at/all"), "", Duration::from_secs(20)).await.unwrap_err();
        assert!(missing.why.starts_with("its process cannot be started: "), "{missing:?}");
    }

    #[tokio::test]
    async fn who_takes_too_long_is_ended() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exec /bin/sleep 600"]);
        let late = ask(&mut command, "", Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(late, Failed { why: "it took longer than 0.05s".to_owned(), code: None });
    }
}
