//! A crowd of clients in a process of its own, so that it can vanish all at once.
//!
//! The process is the binary `crowd`; its path is the caller's to know (`CARGO_BIN_EXE_crowd`).

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::Signal;

use crate::child::{self, Who};
use crate::template::PASSWORD;

/// What the crowd does once it stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// Connects and says nothing.
    Silent,
    /// Logs in and sends a query that runs for a minute, without reading its answer.
    MidQuery,
}

/// A running crowd; dropping it kills it.
#[derive(Debug)]
pub struct Crowd {
    process: Child,
    /// How many stood there when it was ready.
    pub size: u32,
}

impl Crowd {
    /// Starts the program `crowd` and waits until all of its clients stand there.
    #[must_use]
    #[track_caller]
    pub fn start(program: &Path, to: SocketAddr, size: u32, habit: Habit) -> Crowd {
        let habit = match habit {
            Habit::Silent => "silent",
            Habit::MidQuery => "mid-query",
        };
        let mut command = child::command(Who::Myself, "KILL", program);
        command.args([habit, &to.to_string(), &size.to_string()]).env("PGPASSWORD", PASSWORD);
        let mut process = child::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let mut line = String::new();
        let out = process.stdout.take().expect("piped above");
        BufReader::new(out).read_line(&mut line).unwrap_or_else(|e| panic!("read from the crowd: {e}"));
        let crowd = Crowd { process, size };
        assert_eq!(line.trim(), format!("ready {size}"), "the crowd did not gather; its errors are above");
        crowd
    }

    /// Kills it with signal 9: every client vanishes at the same time, without a goodbye.
    pub fn vanish(self) {
        drop(self);
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        child::signal(child::pid(&self.process), Signal::KILL);
        if let Err(e) = self.process.wait() {
            eprintln!("wait for the crowd: {e}");
        }
    }
}
