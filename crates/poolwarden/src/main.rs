//! `poolwarden`: command line and composition root.

mod app;
mod cli;
mod cmd;
mod discover;
mod embedded;
mod live;
mod load;
mod pgbouncer;
mod rehearse;
mod remote;
mod review;
mod top;
mod whole;

use std::process::ExitCode;

/// Wrong usage, unreadable input, nothing to speak to.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    let done = match cli::Cli::read().command {
        cli::Command::Run(args) => cmd::run::run(&args),
        cli::Command::Why(args) => cmd::why::why(&args),
        cli::Command::Top(args) => cmd::top::top(&args),
        cli::Command::Holders(args) => cmd::holders::holders(&args),
        cli::Command::Cancel(args) => cmd::conn::cancel(&args),
        cli::Command::Terminate(args) => cmd::conn::terminate(&args),
        cli::Command::Pause(args) => cmd::pause::pause(&args),
        cli::Command::Resume(args) => cmd::pause::resume(&args),
        cli::Command::Bundle(args) => cmd::bundle::bundle(&args),
        cli::Command::Check(args) => cmd::check::check(&args),
        cli::Command::ReviewGiven(_) => cmd::review::review(),
        cli::Command::Explain(args) => cmd::explain::explain(&args),
        cli::Command::Shed(args) => cmd::shed::shed(&args),
        cli::Command::Plan(args) => cmd::plan::plan(&args),
        cli::Command::Apply(args) => cmd::apply::apply(&args),
        cli::Command::Confirm(args) => cmd::apply::confirm(&args),
        cli::Command::Rollback(args) => cmd::apply::rollback(&args),
        cli::Command::History(args) => cmd::history::history(&args),
        cli::Command::Import(args) => cmd::import::import(&args),
        cli::Command::Simulate(args) => cmd::simulate::simulate(&args),
        cli::Command::Drill(args) => cmd::drill::drill(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("poolwarden: {error:#}");
        ExitCode::from(UNUSABLE)
    })
}
