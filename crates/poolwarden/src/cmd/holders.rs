//! `holders`: who holds server connections.

use std::process::ExitCode;

use super::why::look;
use crate::cli::HoldersArgs;

pub(crate) fn holders(args: &HoldersArgs) -> anyhow::Result<ExitCode> {
    look(&args.to, "/api/v1/holders", args.pool.as_deref(), args.format)
}
