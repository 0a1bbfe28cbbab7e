//! One PostgreSQL as a URL names it, for a conversation outside of any pool.

use std::path::Path;

use anyhow::{Context, anyhow};
use poolwarden_config::Config;
use poolwarden_proxy::HostPlan;
use poolwarden_relay::login::{Credentials, Password};
use poolwarden_relay::pgwire::password::Plain;

use super::certificates::Certificates;
use super::plan;

/// How to reach it, and who we are there. A password that the URL does not have may be in PGPASSWORD.
pub(crate) fn visit(url: &str) -> anyhow::Result<(HostPlan, Credentials)> {
    let config = Config::from_url(url).map_err(|why| anyhow!("{why}"))?;
    let server = config.servers.first().context("the url names no server")?;
    let login = server.watch.as_ref().context("the url names no user: write postgres://user@host/database")?;
    let mut hosts = vec![plan::host(&config, 0, server)];
    let certificates =
        Certificates::load(&config, Path::new(".")).map_err(|faults| anyhow!("{}", faults.join("; ")))?;
    certificates.put(&mut None, &mut hosts);
    let written = login.password.as_ref().map(|secret| secret.reveal().to_owned());
    let password = written.or_else(|| std::env::var("PGPASSWORD").ok().filter(|password| !password.is_empty()));
    let credentials = Credentials {
        user: login.user.clone(),
        database: login.database.clone(),
        password: password.map(|password| Password::Plain(Plain::new(&password), None)),
        settings: Vec::new(),
    };
    let host = hosts.pop().context("the url names no server")?;
    Ok((host, credentials))
}
