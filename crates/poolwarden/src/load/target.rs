//! Where a load goes: the address and the login of a `--database` URL.

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, anyhow, bail};
use poolwarden_config::{Config, Host};
use poolwarden_relay::pgwire::password::Plain;
use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix};

/// Where to connect, and as whom.
pub(crate) struct Target {
    pub(super) family: AddressFamily,
    pub(super) address: SocketAddrAny,
    /// The role of groups that name none.
    pub(super) user: String,
    pub(super) password: Option<Plain>,
    pub(super) database: String,
}

impl Target {
    /// Reads a URL and resolves its host, once.
    pub(crate) fn read(url: &str) -> anyhow::Result<Self> {
        let config = Config::from_url(url).map_err(|why| anyhow!("--database: {why}"))?;
        let server = config.servers.first().context("--database: the url names no server")?;
        let login = server
            .watch
            .as_ref()
            .context("--database: the url names no user: write postgres://user:password@host/database")?;
        let (family, address) = match &server.host {
            Host::Socket(directory) => {
                let path = format!("{directory}/.s.PGSQL.{}", server.port);
                let address = SocketAddrUnix::new(path.as_str()).with_context(|| format!("--database: {path}"))?;
                (AddressFamily::UNIX, SocketAddrAny::from(address))
            }
            Host::Address(address) => tcp(SocketAddr::new(*address, server.port)),
            Host::Name(name) => {
                let mut found = (name.as_str(), server.port)
                    .to_socket_addrs()
                    .with_context(|| format!("--database: cannot resolve {name}"))?;
                tcp(found.next().with_context(|| format!("--database: {name} has no address"))?)
            }
        };
        if url.contains("sslmode=require") || url.contains("sslmode=verify") {
            bail!(
                "--database: a load goes over plain connections: leave sslmode out, or run it on the pooler's own machine"
            );
        }
        Ok(Self {
            family,
            address,
            user: login.user.clone(),
            password: login.password.as_ref().map(|secret| Plain::new(secret.reveal())),
            database: login.database.clone(),
        })
    }
}

fn tcp(address: SocketAddr) -> (AddressFamily, SocketAddrAny) {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    (family, SocketAddrAny::from(address))
}
