//! `top`: the live screen.

use std::process::ExitCode;

use crate::cli::TopArgs;
use crate::remote::Remote;
use crate::top;

pub(crate) fn top(args: &TopArgs) -> anyhow::Result<ExitCode> {
    top::run(Remote::look(&args.to)?, args.pool.as_deref())?;
    Ok(ExitCode::SUCCESS)
}
