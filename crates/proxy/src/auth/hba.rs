//! HBA rules: the first that fits says how a client proves who it is; where none fits, it is refused.

use std::net::IpAddr;

use crate::directory::is_console;

/// Over what a rule's clients come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The unix socket.
    Local,
    /// TCP.
    Host,
    /// TCP with TLS.
    HostSsl,
    /// TCP without TLS.
    HostNoSsl,
}

/// One entry of a rule's databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleDatabase {
    /// Any; replication does not count as one.
    All,
    /// The one named as the user.
    SameUser,
    /// Replication.
    Replication,
    /// This one.
    Name(String),
}

/// Where a rule's clients come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// Anywhere.
    All,
    /// This machine.
    SameHost,
    /// A network: any address in it, and the leading bits that count.
    Network(IpAddr, u8),
}

/// What a rule demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Nothing.
    Trust,
    /// To stay outside.
    Reject,
    /// A password in clear.
    Password,
    /// An md5 answer.
    Md5,
    /// SCRAM-SHA-256.
    Scram,
    /// A certificate that names the user, by this map if there is one.
    Cert(Option<String>),
    /// A process of the user, by this map if there is one.
    Peer(Option<String>),
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Over what.
    pub door: Door,
    /// Any of them.
    pub databases: Vec<RuleDatabase>,
    /// Any of them; `None` is everybody.
    pub users: Vec<Option<String>>,
    /// Where from.
    pub from: From,
    /// What for.
    pub demand: Demand,
}

/// A client that wants in.
pub(crate) struct Asked<'a> {
    pub(crate) user: &'a str,
    pub(crate) database: &'a str,
    pub(crate) replication: bool,
    pub(crate) tls: bool,
    /// Its address; `None` on the unix socket.
    pub(crate) remote: Option<IpAddr>,
    /// Ours, that it came to.
    pub(crate) local: Option<IpAddr>,
}

impl Asked<'_> {
    /// Whether the rules for replication are the ones that count. On the console there is nothing to replicate.
    fn replicates(&self) -> bool {
        self.replication && !is_console(self.database)
    }
}

/// The first rule that fits.
pub(crate) fn first<'a>(rules: &'a [Rule], asked: &Asked<'_>) -> Option<&'a Rule> {
    rules.iter().find(|rule| rule.fits(asked))
}

impl Rule {
    fn fits(&self, asked: &Asked<'_>) -> bool {
        let door = match (self.door, asked.remote) {
            (Door::Local, remote) => remote.is_none(),
            (Door::Host, remote) => remote.is_some(),
            (Door::HostSsl, remote) => remote.is_some() && asked.tls,
            (Door::HostNoSsl, remote) => remote.is_some() && !asked.tls,
        };
        door && self.from.fits(asked)
            && self.databases.iter().any(|database| database.fits(asked))
            && self.users.iter().any(|user| user.as_deref().is_none_or(|user| user == asked.user))
    }
}

impl RuleDatabase {
    fn fits(&self, asked: &Asked<'_>) -> bool {
        match self {
            Self::Replication => asked.replicates(),
            Self::All => !asked.replicates(),
            Self::SameUser => !asked.replicates() && asked.database == asked.user,
            // The console has two names and is one place: a rule for either is for both.
            Self::Name(name) => {
                !asked.replicates() && (asked.database == name || (is_console(asked.database) && is_console(name)))
            }
        }
    }
}

impl From {
    fn fits(self, asked: &Asked<'_>) -> bool {
        let Some(remote) = asked.remote.map(|remote| remote.to_canonical()) else { return true };
        match self {
            Self::All => true,
            // A connection from this machine to one of its own addresses comes from that address, or from loopback.
            Self::SameHost => remote.is_loopback() || asked.local.is_some_and(|local| local.to_canonical() == remote),
            Self::Network(network, prefix) => within(remote, network, prefix),
        }
    }
}

fn within(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, true),
        IpAddr::V6(v6) => (v6.to_bits(), false),
    };
    let ((ours, four), (theirs, also_four)) = (bits(network), bits(address));
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
    four == also_four && (ours & mask) == (theirs & mask)
}

/// PostgreSQL's words for a client that no rule fits, or that one rejects.
pub(crate) fn refusal(asked: &Asked<'_>, rejected: bool) -> String {
    let host = asked.remote.map_or("[local]".to_owned(), |remote| remote.to_canonical().to_string());
    let encryption = if asked.tls { "SSL encryption" } else { "no encryption" };
    let (user, database) = (asked.user, asked.database);
    match (rejected, asked.replicates()) {
        (false, false) => {
            format!("no pg_hba.conf entry for host \"{host}\", user \"{user}\", database \"{database}\", {encryption}")
        }
        (false, true) => {
            format!(
                "no pg_hba.conf entry for replication connection from host \"{host}\", user \"{user}\", {encryption}"
            )
        }
        (true, false) => format!(
            "pg_hba.conf rejects connection for host \"{host}\", user \"{user}\", database \"{database}\", {encryption}"
        ),
        (true, true) => {
            format!("pg_hba.conf rejects replication connection for host \"{host}\", user \"{user}\", {encryption}")
        }
    }
}

#[cfg(test)]
mod tests;
