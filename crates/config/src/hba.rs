//! HBA rules: who may come from where, and how it is to prove itself. Text in, rules and findings out.
//!
//! PgBouncer's subset of PostgreSQL's file, with the TLS types. What is not understood is an error and never left out: a
//! `reject` that is not read would let somebody in. Matching is the proxy's.

mod read;

use crate::line::{LineFinding, fields};
use crate::value::Network;

/// Over what the client came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// `local`: the unix socket.
    Local,
    /// `host`: TCP, with or without TLS.
    Host,
    /// `hostssl`: TCP with TLS.
    HostSsl,
    /// `hostnossl`: TCP without TLS.
    HostNoSsl,
}

/// One entry of a rule's databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseName {
    /// `all`: any, but not physical replication.
    All,
    /// `sameuser`: the one named as the user.
    SameUser,
    /// `replication`: physical replication, which names no database.
    Replication,
    /// This one.
    Name(String),
}

/// One entry of a rule's users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserName {
    /// `all`.
    All,
    /// This one.
    Name(String),
}

/// Where a rule's clients come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Anywhere; of a `local` rule always.
    All,
    /// From an address of the machine poolwarden runs on.
    SameHost,
    /// From this network.
    Network(Network),
}

/// How the rule's clients prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HbaMethod {
    /// Not at all.
    Trust,
    /// They are refused.
    Reject,
    /// Password in clear.
    Password,
    /// MD5, or SCRAM for who has a SCRAM secret.
    Md5,
    /// SCRAM-SHA-256.
    Scram,
    /// A client certificate.
    Cert,
    /// The user of the process at the other end of the unix socket.
    Peer,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HbaRule {
    /// Where it stands, from 1.
    pub line: usize,
    /// The type.
    pub door: Door,
    /// Any of them.
    pub databases: Vec<DatabaseName>,
    /// Any of them.
    pub users: Vec<UserName>,
    /// Where from.
    pub source: Source,
    /// How.
    pub method: HbaMethod,
    /// `map=`: the ident map for `cert` and `peer`.
    pub map: Option<String>,
}

/// Reads the rules; a name that is to come from another file (`@file`) is a fault here.
#[must_use]
pub fn parse(text: &str) -> (Vec<HbaRule>, Vec<LineFinding>) {
    parse_with(text, &mut |file| Err(format!("@{file}: no other file is read here")))
}

/// Reads the rules. `resolve` gives the text of the file behind an `@`, its path as written; its error is shown.
pub fn parse_with(
    text: &str,
    resolve: &mut dyn FnMut(&str) -> Result<String, String>,
) -> (Vec<HbaRule>, Vec<LineFinding>) {
    let (lines, mut findings) = fields(text);
    let mut rules = Vec::new();
    for (line, fields) in lines {
        match read::rule(line, &fields, resolve) {
            Ok(rule) => rules.push(rule),
            Err(why) => findings.push(LineFinding::error(line, why)),
        }
    }
    findings.sort_by_key(|finding| finding.line);
    (rules, findings)
}

#[cfg(test)]
mod tests;
