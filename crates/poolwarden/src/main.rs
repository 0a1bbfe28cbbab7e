//! `poolwarden`: command line and composition root.

mod app;
mod cli;
mod cmd;
mod discover;
mod embedded;
mod load;
mod pgbouncer;
mod remote;

use std::process::ExitCode;

/// Wrong usage, unreadable input, nothing to speak to.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    let done = match cli::Cli::read().command {
        cli::Command::Run(args) => cmd::run::run(&args),
        cli::Command::Shed(args) => cmd::shed::shed(&args),
        cli::Command::Import(args) => cmd::import::import(&args),
        cli::Command::Simulate(args) => cmd::simulate::simulate(&args),
        cli::Command::Drill(args) => cmd::drill::drill(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("poolwarden: {error:#}");
        ExitCode::from(UNUSABLE)
    })
}
