//! `run`: finds the configuration, says what is wrong with it, and hands over to the pooler.

use std::process::ExitCode;

use anyhow::Context;

use crate::app::{self, Source, Started};
use crate::cli::RunArgs;
use crate::discover::{self, Found, Made};
use crate::embedded::Embedded;
use crate::pgbouncer;

pub(crate) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    app::run(start(args)?)
}

fn start(args: &RunArgs) -> anyhow::Result<Started> {
    if let Some(ini) = &args.pgbouncer {
        let loaded = pgbouncer::load(ini, &[])?;
        eprint!("{}", loaded.remarks);
        return Ok(Started { config: loaded.config, source: Source::Ini, texts: loaded.texts });
    }
    if let Some(url) = &args.database {
        let made = Made::of_url(url)?;
        let config = made.load(&made.text)?.config;
        return Ok(Started { config, source: Source::Url(made), texts: Vec::new() });
    }
    let found = match &args.config {
        Some(path) => Found::File(path.clone()),
        None => discover::discover()?,
    };
    match found {
        Found::File(path) => {
            let loaded = discover::load(&path)?;
            eprint!("{}", loaded.remarks);
            Ok(Started { config: loaded.config, source: Source::File(path), texts: loaded.texts })
        }
        Found::Embedded => {
            let embedded = Embedded::start(&discover::default_data_dir()?).context("the embedded PostgreSQL")?;
            let config = embedded.config().clone();
            Ok(Started { config, source: Source::Embedded(Box::new(embedded)), texts: Vec::new() })
        }
    }
}
