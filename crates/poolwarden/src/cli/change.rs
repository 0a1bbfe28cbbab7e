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
