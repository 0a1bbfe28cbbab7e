//! The arguments of verbs that change the configuration, or say what a change would do.

use std::path::PathBuf;

use clap::Args;

use super::{Format, ToArgs};

/// What a change of the configuration would do: what differs, which limit binds before and after, what is in vain.
///
/// The running poolwarden reads the proposed file as it would read its own, and plays it through on a copy of its pools: nothing
/// changes. Waits are predicted from recorded traffic, and null until there is some.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  poolwarden plan new.toml\n  poolwarden plan --set pools.app.size=40\n  \
                        poolwarden plan new.toml --at http://a:9432 --at http://b:9432\n\n\
                        Exit codes: 0 planned, 1 the file is refused, 2 wrong usage or nothing to speak to")]
pub(crate) struct PlanArgs {
    /// The file as it would be
    #[arg(value_name = "NEW", required_unless_present = "set")]
    pub(crate) file: Option<PathBuf>,

    /// A setting on top of the file that runs; repeatable
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "file")]
    pub(crate) set: Vec<String>,

    #[command(flatten)]
    pub(crate) to: ToArgs,

    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Put a change of the configuration in force: live, as a whole or not at all, and watched.
///
/// NEW is a whole file that takes the place of the one it runs by; --set changes single settings of what runs; without either the
/// file is put in force as it is. Findings of level error stand in the way. What runs is written into the file at once; with
/// --confirm-within only at `poolwarden confirm`, and undone at the end of that time. For a minute the guard watches what comes of
/// it: a limit that was made smaller and that requests now wait for undoes it.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  poolwarden apply --set pools.app.size=40 --reason 'sale on friday'\n  \
                        poolwarden apply new.toml --confirm-within 5m\n  poolwarden apply\n\n\
                        Exit codes: 0 in force, 1 refused: nothing was changed, 2 wrong usage or nothing to speak to")]
pub(crate) struct ApplyArgs {
    /// The file as it is to be
    #[arg(value_name = "NEW")]
    pub(crate) file: Option<PathBuf>,

    /// A setting on top of what runs; repeatable
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "file")]
    pub(crate) set: Vec<String>,

    /// What it is for: stands in the history
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,

    /// Undo it unless it is confirmed within this time, 24h at most
    #[arg(long, value_name = "TIME")]
    pub(crate) confirm_within: Option<String>,

    /// Put it in force in spite of findings of level error, and why
    #[arg(long, value_name = "REASON")]
    pub(crate) force: Option<String>,

    #[command(flatten)]
    pub(crate) to: ToArgs,

    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Keep a change that was applied with --confirm-within: it comes into the file and stays.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  poolwarden confirm\n\n\
                        Exit codes: 0 confirmed, 1 nothing waits for it, 2 wrong usage or nothing to speak to")]
pub(crate) struct ConfirmArgs {
    #[command(flatten)]
    pub(crate) to: ToArgs,

    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Put an earlier version of the configuration in force and into the file.
///
/// Without N the one before; while a change waits for its confirmation, that change ends.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  poolwarden rollback\n  poolwarden rollback 4 --reason 'back to friday'\n\n\
                        Exit codes: 0 in force, 1 refused: nothing was changed, 2 wrong usage or nothing to speak to")]
pub(crate) struct RollbackArgs {
    /// Its number, as `poolwarden history` prints it
    #[arg(value_name = "N")]
    pub(crate) version: Option<u64>,

    /// What it is for: stands in the history
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,

    #[command(flatten)]
    pub(crate) to: ToArgs,

    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// What was changed when, by whom, what became of it and to what effect.
///
/// With N that version alone and its whole text.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  poolwarden history\n  poolwarden history 4\n  poolwarden history --audit --limit 100\n\n\
                        Exit codes: 0 told, 1 refused for now, 2 wrong usage or nothing to speak to"
)]
pub(crate) struct HistoryArgs {
    /// One version, with its text
    #[arg(value_name = "N")]
    pub(crate) version: Option<u64>,

    /// So many, the newest
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,

    /// What operators did besides: pause, cancel, shed, and what was refused
    #[arg(long)]
    pub(crate) audit: bool,

    #[command(flatten)]
    pub(crate) to: ToArgs,

    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}
