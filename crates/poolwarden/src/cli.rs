//! The command line. Usage errors end with exit code 2, as clap does of itself.

mod change;
mod check;
mod look;

pub(crate) use change::{ApplyArgs, ConfirmArgs, HistoryArgs, PlanArgs, RollbackArgs};
pub(crate) use check::{CheckArgs, CheckFormat, FailLevel, Require};
pub(crate) use look::{
    BundleArgs, ConnArgs, ExplainArgs, HoldersArgs, PauseArgs, ResumeArgs, TerminateArgs, TopArgs, WhyArgs,
};

use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

/// A PostgreSQL connection pooler that guards the pool.
#[derive(Debug, Parser)]
#[command(
    name = "poolwarden",
    version,
    after_help = "Example:\n  poolwarden run -c /etc/poolwarden/poolwarden.toml\n\n\
                  Exit codes: 0 done and clean, 1 findings or a refused request, 2 wrong usage or unreadable input, 3 inconclusive"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArgs),
    Check(CheckArgs),
    Why(WhyArgs),
    Top(TopArgs),
    Holders(HoldersArgs),
    Cancel(ConnArgs),
    Terminate(TerminateArgs),
    Pause(PauseArgs),
    Resume(ResumeArgs),
    Shed(ShedArgs),
    Plan(PlanArgs),
    Apply(ApplyArgs),
    Confirm(ConfirmArgs),
    Rollback(RollbackArgs),
    History(HistoryArgs),
    Bundle(BundleArgs),
    Explain(ExplainArgs),
    Import(ImportArgs),
    Simulate(SimulateArgs),
    Drill(DrillArgs),
    #[command(hide = true)]
    ReviewGiven(ReviewGivenArgs),
}

/// The review of a running process, which starts this for itself: JSON in, JSON out.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Example:\n  poolwarden check poolwarden.toml --live http://127.0.0.1:9432\n\nis the same for people."
)]
pub(crate) struct ReviewGivenArgs {}

/// How a result is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}

/// The poolwarden.toml that says what a pgbouncer.ini says.
///
/// It is printed with a comment for whatever is different; what is refused is named with its line, and nothing is printed.
/// Passwords move to environment variables, which the TOML names.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  poolwarden import /etc/pgbouncer/pgbouncer.ini > poolwarden.toml\n  \
                        poolwarden import --format json pgbouncer.ini\n\n\
                        Exit codes: 0 printed, 1 something in the file is refused, 2 the file cannot be read")]
pub(crate) struct ImportArgs {
    /// PgBouncer's configuration file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// A scenario or recorded traffic in virtual time, decided by the same pool code that runs.
///
/// It says what admission would do and how long requests would wait, how sure that is, what size would be enough and what it hangs
/// on; it knows nothing of socket costs and scheduler delays.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  poolwarden simulate examples/scenarios/spike.toml\n  \
                        poolwarden simulate --recording last:24h --set pools.app.size=40\n  \
                        poolwarden simulate --recording last:1h --set pools.app.size=20 --set pools.app.size=40 --html out.html\n\n\
                        Exit codes: 0 done and every bound held, 1 a bound did not hold, 2 a file cannot be used, 3 too little is \
                        known to conclude anything")]
pub(crate) struct SimulateArgs {
    /// Scenario file
    #[arg(value_name = "SCENARIO", conflicts_with = "recording")]
    pub(crate) scenario: Option<PathBuf>,

    /// Recorded traffic: a file, a directory of them, last:24h, or FROM/TO as RFC 3339 has them
    #[arg(long, value_name = "R")]
    pub(crate) recording: Option<String>,

    /// poolwarden.toml: its settings instead of the recorded ones, and its data_dir to look in
    #[arg(long, value_name = "FILE", requires = "recording")]
    pub(crate) config: Option<PathBuf>,

    /// Where recordings are, if not in a data directory
    #[arg(long, value_name = "DIR", hide = true, requires = "recording")]
    pub(crate) recordings: Option<PathBuf>,

    /// A setting of the pooler, in place of its own; repeatable, and a key that is set twice has two values to compare
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,

    /// Beside it, what PgBouncer's discipline would come to
    #[arg(long)]
    pub(crate) pgbouncer: bool,

    /// What is enough: the longest 99th percentile of waits
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = poolwarden_config::parse_duration)]
    pub(crate) goal_wait: Duration,

    /// What is enough: the greatest share of failed requests, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.1)]
    pub(crate) goal_failed: f64,

    /// Who came again right after a refusal meant the same request: it does not come where that is granted this time
    #[arg(long, requires = "recording")]
    pub(crate) spare_retries: bool,

    /// The run itself and no more: no intervals, no smallest size, no table of what it hangs on
    #[arg(long)]
    pub(crate) quick: bool,

    /// Write it as a page with charts as well
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Scenarios with real clients, against anything that speaks PostgreSQL's protocol.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Example:\n  poolwarden drill run spike.toml --database postgres://app:secret@127.0.0.1:6432/app"
)]
pub(crate) struct DrillArgs {
    #[command(subcommand)]
    pub(crate) verb: DrillVerb,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum DrillVerb {
    Run(DrillRunArgs),
}

/// Runs scenarios, one after another, and judges them by their bounds.
///
/// Requests come when the scenario says, however long answers take, and latency counts from there.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Example:\n  poolwarden drill run spike.toml --database postgres://app:secret@127.0.0.1:6432/app\n\n\
                        Exit codes: 0 every bound held, 1 one did not, 2 a file or the database cannot be used, \
                        3 void: the generator itself was too late"
)]
pub(crate) struct DrillRunArgs {
    /// Scenario files
    #[arg(value_name = "DRILL", required = true)]
    pub(crate) drills: Vec<PathBuf>,

    /// What the clients connect to: a pooler, or PostgreSQL itself
    #[arg(long, value_name = "URL")]
    pub(crate) database: String,

    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// The pooler with everything on.
///
/// Without options: ./poolwarden.toml, then /etc/poolwarden/poolwarden.toml; if neither exists, and no service manager
/// started it, a private PostgreSQL of its own on loopback.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = "Examples:\n  poolwarden run\n  poolwarden run -c poolwarden.toml\n  \
                        poolwarden run --pgbouncer /etc/pgbouncer/pgbouncer.ini\n  \
                        poolwarden run --database postgres://app:secret@db.internal/app")]
pub(crate) struct RunArgs {
    /// Configuration file
    #[arg(short = 'c', long = "config", value_name = "FILE", group = "source")]
    pub(crate) config: Option<PathBuf>,

    /// Pool this PostgreSQL with every default
    #[arg(long, value_name = "URL", group = "source")]
    pub(crate) database: Option<String>,

    /// Configuration file of PgBouncer: its settings, its defaults, its signals
    #[arg(long, value_name = "FILE", group = "source")]
    pub(crate) pgbouncer: Option<PathBuf>,
}

/// Refuse the requests of a class at once, for a while.
///
/// For a spike that the classes' weights do not contain: whoever is of this class is told at once to come again later, and
/// its connections stay. It ends by itself; --for 0s ends it now.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  poolwarden shed --class batch --for 10m\n  poolwarden shed --class batch --for 0s\n  \
                        poolwarden shed --class batch --for 1h --at http://10.0.0.2:9432 --at http://10.0.0.3:9432 --token-file token\n\n\
                        Exit codes: 0 done, 1 refused for now, 2 wrong usage (no such class, not the token) or nothing to speak to"
)]
pub(crate) struct ShedArgs {
    /// Which class
    #[arg(long, value_name = "CLASS")]
    pub(crate) class: String,

    /// For how long, 24h at most; 0s ends it
    #[arg(long = "for", value_name = "TIME")]
    pub(crate) length: String,

    #[command(flatten)]
    pub(crate) to: ToArgs,

    /// How to print what was done
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Which running poolwarden a verb speaks to.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ToArgs {
    /// Where it listens for HTTP; several instances are told one after another. Else the address in the file of -c, else
    /// <http://127.0.0.1:9432>
    #[arg(long, value_name = "URL")]
    pub(crate) at: Vec<String>,

    /// The configuration file it runs with
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// File with the operate token; else the variable POOLWARDEN_TOKEN, else the file `token` in the data directory
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

impl Cli {
    /// What was asked for; else the process ends here: with the help, or with what is wrong and what there is.
    pub(crate) fn read() -> Self {
        Self::try_parse().unwrap_or_else(|error| with_verbs(error).exit())
    }
}

/// A misspelt verb is too short for clap to guess at: all of them are named.
fn with_verbs(mut error: clap::Error) -> clap::Error {
    if error.kind() == ErrorKind::InvalidSubcommand {
        let command = Cli::command();
        let verbs: Vec<&str> =
            command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(clap::Command::get_name).collect();
        let tip = format!("the verbs are: {}", verbs.join(", "));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_every_verb_has_an_example() {
        Cli::command().debug_assert();
        for verb in Cli::command().get_subcommands_mut() {
            assert!(verb.render_long_help().to_string().contains("Example"), "{}", verb.get_name());
        }
    }

    #[test]
    fn a_misspelt_verb_is_answered_with_the_verbs() {
        let error = with_verbs(Cli::try_parse_from(["poolwarden", "rnu"]).expect_err("no such verb"));
        assert!(error.to_string().contains("the verbs are: run, check, why, top"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn one_source_at_a_time() {
        let both = Cli::try_parse_from(["poolwarden", "run", "-c", "a", "--database", "b"]);
        assert_eq!(both.map(|_| ()).map_err(|error| error.exit_code()), Err(2));
        assert!(Cli::try_parse_from(["poolwarden", "run", "-c", "a"]).is_ok());
    }
}
