//! The embedded default: a private PostgreSQL of installed server binaries, for whoever has no configuration yet.
//!
//! It listens on a unix socket inside the data directory and nowhere else, is a child of this process, and dies with it.
//! Its database and user `app` have a random password, kept beside the data (mode 0600).
//! [`Embedded::start`] is called from a thread that lives as long as the server: the kernel ends the child when that thread ends.

mod account;
mod binary;
mod cluster;
mod server;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context;
use poolwarden_config::{Config, quote};

use account::Account;
use binary::Binaries;
use cluster::Cluster;
use server::Server;

use crate::discover::Made;

/// First ports tried for clients and for HTTP.
const CLIENT_PORT: u16 = 6432;
const HTTP_PORT: u16 = 9432;

/// A running private PostgreSQL and the configuration that pools it.
pub(crate) struct Embedded {
    server: Server,
    config: Config,
    made: Made,
    version: u32,
    data: PathBuf,
    password: String,
    port: u16,
    http_port: u16,
}

impl Embedded {
    /// Makes the cluster in `dir` unless it is there, starts it, and waits until it answers.
    pub(crate) fn start(dir: &Path) -> anyhow::Result<Self> {
        let account = Account::choose()?;
        let cluster = Cluster::new(dir, account)?;
        let binaries = Binaries::find(cluster.version()?)?;
        let passwords = cluster.ensure(&binaries)?;
        let (port, http_port) = (free_port(CLIENT_PORT)?, free_port(HTTP_PORT)?);
        let server = Server::start(&cluster, &binaries)?;
        let text = configuration(&cluster, port, http_port)?;
        let secrets = vec![("watch".to_owned(), passwords.watch), ("app".to_owned(), passwords.app.clone())];
        let made = Made { text, secrets, why: "started without a configuration" };
        let config = made.load(&made.text)?.config;
        let (version, data) = (binaries.version, cluster.data());
        Ok(Self { server, config, made, version, data, password: passwords.app, port, http_port })
    }

    /// What to obey: this server, any of its databases, user `app`, loopback.
    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }

    /// The file it stands for.
    pub(crate) const fn made(&self) -> &Made {
        &self.made
    }

    /// How to connect, for standard output once the pooler listens.
    pub(crate) fn banner(&self) -> String {
        let (port, http, password) = (self.port, self.http_port, &self.password);
        let mut lines = vec![
            format!("poolwarden {} with a private PostgreSQL {}", env!("CARGO_PKG_VERSION"), self.version),
            String::new(),
            format!("  connect   psql 'postgres://app:{password}@127.0.0.1:{port}/app'"),
            format!("  console   psql 'postgres://app:{password}@127.0.0.1:{port}/poolwarden'"),
            format!("  metrics   http://127.0.0.1:{http}/metrics"),
            format!("  data      {}", self.data.display()),
            "  stop      Ctrl-C".to_owned(),
        ];
        let taken = [(CLIENT_PORT, port), (HTTP_PORT, http)];
        lines.extend(
            taken
                .iter()
                .filter(|(wanted, got)| wanted != got)
                .map(|(wanted, got)| format!("\n  port {wanted} is used by something else, so poolwarden took {got}")),
        );
        lines.push(
            "\nYour own PostgreSQL: poolwarden run --database postgres://USER:PASSWORD@HOST/DATABASE\n".to_owned(),
        );
        lines.join("\n")
    }

    /// Ends PostgreSQL and waits until it is gone. Open transactions are rolled back.
    pub(crate) fn shutdown(mut self) -> anyhow::Result<()> {
        self.server.stop()
    }
}

/// The first port from `first` on that nothing listens on. Bound and let go, so that a used one is never touched.
fn free_port(first: u16) -> anyhow::Result<u16> {
    // A thousand neighbours in use is another problem than a used port.
    (first..first + 1000)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .with_context(|| format!("no free port from {first} to {}", first + 999))
}

/// Written as the file it stands for, so that it is checked like any other.
fn configuration(cluster: &Cluster, port: u16, http_port: u16) -> anyhow::Result<String> {
    let directory = |path: &Path| path.to_str().map(quote).with_context(|| format!("{} is not UTF-8", path.display()));
    let dir = directory(cluster.dir())?;
    Ok(format!(
        "[poolwarden]\ndata_dir = {dir}\n\
         [listen]\naddress = [\"127.0.0.1:{port}\"]\nunix_socket_dir = {dir}\nhttp = \"127.0.0.1:{http_port}\"\n\
         [console]\nadmins = [\"app\"]\n\
         [servers.main]\nhost = {}\nwatch = {{ user = \"{}\", password_env = \"watch\" }}\n\
         [pools.\"*\"]\nserver = \"main\"\n\
         [users.app]\npassword_env = \"app\"\n",
        directory(&cluster.socket_dir())?,
        cluster::WATCH_USER,
    ))
}

#[cfg(test)]
mod tests;
