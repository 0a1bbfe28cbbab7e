//! The arguments of the emergency drawer: looking, and acting on what is seen.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::{Format, ToArgs};

/// Why requests wait, now: which limit binds, what raising each would gain, who holds, the cause, what to do next.
///
/// About ten lines per pool that is not calm, the next step first. It answers while every pool is exhausted.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  poolwarden why\n  poolwarden why app --format json\n  \
                        poolwarden why --at http://10.0.0.2:9432 --at http://10.0.0.3:9432\n\n\
                        Statements are shown to who can read the operate token.\n\
                        Exit codes: 0 answered, whatever the state, 2 wrong usage (no such pool) or nothing to speak to")]
pub(crate) struct WhyArgs {
    /// Which pool (a database name); without it, all
    #[arg(value_name = "POOL")]
    pub(crate) pool: Option<String>,

    #[command(flatten)]
    pub(crate) to: ToArgs,

    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// `why` as a live screen: pools, holders, limits, demand over the last two minutes.
///
/// Keys stand in its last line.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  poolwarden top\n  poolwarden top app --at http://10.0.0.2:9432\n\n\
                        Exit codes: 0 left with q, 2 nothing to speak to or no terminal")]
pub(crate) struct TopArgs {
    /// Show only this pool (a database name)
    #[arg(value_name = "POOL")]
    pub(crate) pool: Option<String>,

    #[command(flatten)]
    pub(crate) to: ToArgs,
}

/// Who holds server connections: owner, age, state, what blocks it; the longest first.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  poolwarden holders\n  poolwarden holders app --format json\n\n\
                        Statements are shown to who can read the operate token.\n\
                        Exit codes: 0 answered, 2 wrong usage (no such pool) or nothing to speak to")]
pub(crate) struct HoldersArgs {
    /// Which pool (a database name); without it, all
    #[arg(value_name = "POOL")]
    pub(crate) pool: Option<String>,

    #[command(flatten)]
    pub(crate) to: ToArgs,

    /// How to print them
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// End what runs on a server connection, as PostgreSQL's cancel does; its client gets an error and stays.
///
/// Where nothing runs there is nothing to cancel: see terminate.
#[derive(Args, Clone, Debug)]
#[command(group(ArgGroup::new("which").args(["conn", "stuck"]).required(true)))]
#[command(after_help = "Examples:\n  poolwarden cancel 17\n  poolwarden cancel --stuck app\n\n\
                        Exit codes: 0 done, 1 refused for now, 2 wrong usage (no such connection, not the token) or nothing to speak to")]
pub(crate) struct ConnArgs {
    /// Which server connection; `holders` lists them
    #[arg(value_name = "CONN")]
    pub(crate) conn: Option<u64>,

    /// Every stuck connection of this pool
    #[arg(long, value_name = "POOL")]
    pub(crate) stuck: Option<String>,

    #[command(flatten)]
    pub(crate) to: ToArgs,

    /// How to print what was done
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Close a server connection: its transaction is rolled back, and the session of the client that holds it ends.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  poolwarden terminate 17\n  poolwarden terminate --stuck app\n\n\
                        Exit codes: 0 done, 1 refused for now, 2 wrong usage (no such connection, not the token) or nothing to speak to")]
pub(crate) struct TerminateArgs {
    #[command(flatten)]
    pub(crate) of: ConnArgs,
}

/// Lend no more until resume; clients wait, and nobody is cut off.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  poolwarden pause app\n  poolwarden pause\n\n\
                        Exit codes: 0 done, 1 refused for now, 2 wrong usage (no such pool, not the token) or nothing to speak to")]
pub(crate) struct PauseArgs {
    /// Which pool (a database name); without it, all
    #[arg(value_name = "POOL")]
    pub(crate) pool: Option<String>,

    #[command(flatten)]
    pub(crate) to: ToArgs,

    /// How to print what was done
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Lend again after pause.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  poolwarden resume app\n  poolwarden resume\n\n\
                        Exit codes: 0 done, 1 refused for now, 2 wrong usage (no such pool, not the token) or nothing to speak to")]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    pub(crate) of: PauseArgs,
}

/// Write an archive of state, facts and log before somebody restarts something; secrets are left out.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  poolwarden bundle\n  poolwarden bundle --out incident.tar.gz --at http://10.0.0.2:9432\n\n\
                        Exit codes: 0 written, 1 refused for now, 2 wrong usage (not the token, a file that is there) or nothing to speak to"
)]
pub(crate) struct BundleArgs {
    /// Where to write it; of several instances each gets its own, with a number. It must not be there yet
    #[arg(long, value_name = "FILE", default_value = "poolwarden-bundle.tar.gz")]
    pub(crate) out: PathBuf,

    #[command(flatten)]
    pub(crate) to: ToArgs,

    /// How to print what was written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// The manual page of one rule of the review, one limit or one cause: when it shows, why it matters, what to do.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  poolwarden explain CAP-01\n  poolwarden explain user_limit\n  poolwarden explain\n\n\
                        Exit codes: 0 printed, 2 no such code"
)]
pub(crate) struct ExplainArgs {
    /// Which one, as `check` or `why` names it; without it, the list of all
    #[arg(value_name = "CODE")]
    pub(crate) code: Option<String>,

    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}
