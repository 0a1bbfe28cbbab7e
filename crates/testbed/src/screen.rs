//! A pseudo terminal with a program in it, and what a person would see there.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::{child, until};

const PATIENCE: Duration = Duration::from_secs(20);

/// A program in a terminal of its own.
#[allow(missing_debug_implementations, reason = "the terminal in memory has none")]
pub struct Screen {
    process: Option<Child>,
    keyboard: File,
    /// Kept open, so that its settings can be read when the program has ended.
    terminal: OwnedFd,
    before: Termios,
    shown: Arc<Mutex<vt100::Parser>>,
}

impl Screen {
    /// Starts `program` with its input, output and errors in a terminal of this size.
    #[must_use]
    #[track_caller]
    pub fn start(program: &Command, (columns, rows): (u16, u16)) -> Screen {
        let [tall, wide] = [rows, columns].map(|of| NonZero::new(of).expect("a terminal has a size"));
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap_or_else(|e| panic!("open a terminal: {e}"));
        grantpt(&master).and_then(|()| unlockpt(&master)).unwrap_or_else(|e| panic!("unlock a terminal: {e}"));
        let name = ptsname(&master, Vec::new()).unwrap_or_else(|e| panic!("name a terminal: {e}"));
        let name = PathBuf::from(name.into_string().expect("the kernel's own words"));
        let terminal = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
            .unwrap_or_else(|e| panic!("open {}: {e}", name.display()));
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).unwrap_or_else(|e| panic!("size a terminal: {e}"));
        let before = tcgetattr(&terminal).unwrap_or_else(|e| panic!("read a terminal's settings: {e}"));
        let end = || Stdio::from(terminal.try_clone().expect("a descriptor more"));
        let mut command = child::command(child::Who::Myself, "KILL", program.get_program().as_ref());
        command.args(program.get_args()).env("TERM", "xterm-256color").stdin(end()).stdout(end()).stderr(end());
        let process = child::spawn(&mut command);
        let shown = Arc::new(Mutex::new(vt100::Parser::new(tall, wide, 0)));
        let keyboard = File::from(master);
        let mut output = keyboard.try_clone().expect("a descriptor more");
        let into = Arc::clone(&shown);
        thread::spawn(move || {
            let mut bytes = [0; 4_096];
            // It ends when nobody has the terminal open any more.
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                into.lock().unwrap_or_else(PoisonError::into_inner).process(&bytes[..count]);
            }
        });
        Screen { process: Some(process), keyboard, terminal, before, shown }
    }

    /// What stands there now, a line per row.
    #[must_use]
    pub fn text(&self) -> String {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).screen().contents()
    }

    /// What stands there once it holds `what`.
    #[must_use]
    #[track_caller]
    pub fn showing(&self, what: &str) -> String {
        until(&format!("the screen to show {what:?}"), PATIENCE, || {
            let text = self.text();
            text.contains(what).then_some(text)
        })
    }

    /// Types.
    #[track_caller]
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap_or_else(|e| panic!("type {keys:?}: {e}"));
    }

    /// Sends a signal to the program.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        child::signal(child::pid(self.process.as_ref().expect("it runs")), signal);
    }

    /// Waits until the program has ended.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("it runs");
        child::wait(&mut process, PATIENCE).unwrap_or_else(|| {
            self.process = Some(process);
            panic!("it did not end within {PATIENCE:?}; it shows\n{}", self.text())
        })
    }

    /// Panics unless all is soon as it was before the program came.
    #[track_caller]
    pub fn is_given_back(&self) {
        let mut left = Vec::new();
        // the last it wrote may still be on its way
        let soon = std::time::Instant::now() + Duration::from_secs(2);
        while std::time::Instant::now() < soon {
            left = self.left_behind();
            if left.is_empty() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("the terminal is not as it was: {}", left.join(", "));
    }

    #[track_caller]
    fn left_behind(&self) -> Vec<&'static str> {
        let now = tcgetattr(&self.terminal).unwrap_or_else(|e| panic!("read a terminal's settings: {e}"));
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let faults = [
            (now.local_modes != self.before.local_modes, "keys are not echoed line by line"),
            (now.input_modes != self.before.input_modes, "what is typed comes otherwise"),
            (now.output_modes != self.before.output_modes, "what is written looks otherwise"),
            (shown.screen().alternate_screen(), "the other screen is still there"),
            (shown.screen().hide_cursor(), "the cursor is hidden"),
        ];
        faults.iter().filter(|(is, _)| *is).map(|(_, fault)| *fault).collect()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            child::signal(child::pid(&process), Signal::KILL);
            if let Err(e) = process.wait() {
                eprintln!("wait for the program in the terminal: {e}");
            }
        }
    }
}
