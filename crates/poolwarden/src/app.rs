//! Wires configuration, proxy, watch and console.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use poolwarden_config::Config;

use crate::embedded::Embedded;

/// What `run` hands over.
pub(crate) struct Started {
    pub(crate) config: Config,
    pub(crate) source: Source,
}

/// Where the configuration came from, and so what a reload reads again.
pub(crate) enum Source {
    File(PathBuf),
    Url,
    Embedded(Box<Embedded>),
}

pub(crate) fn run(started: Started) -> anyhow::Result<ExitCode> {
    let listen = started.config.listen.addresses;
    match started.source {
        Source::File(path) => bail!("{}: the proxy is not wired in yet, nothing listens on {listen:?}", path.display()),
        Source::Url => bail!("the proxy is not wired in yet, nothing listens on {listen:?}"),
        Source::Embedded(embedded) => {
            eprintln!("{}", embedded.banner());
            embedded.shutdown()?;
            bail!("the proxy is not wired in yet, nothing listens on {listen:?}")
        }
    }
}
