//! Files and names that are made up, and how findings are shown.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;

use poolwarden_config::pgbouncer::{self, Reading, World};
use poolwarden_config::{Config, render};

/// Files that settings name.
const BESIDE: [(&str, &str); 5] = [
    ("/etc/pb/other.conf", "local all all peer\n"),
    ("/etc/pb/userlist.txt", "\"app\" \"secret\"\n\"lookup\" \"secret\"\n"),
    ("/etc/pb/hba.conf", "host all all 10.0.0.0/8 scram-sha-256\n"),
    ("/etc/pb/ident.conf", "map system user\n"),
    ("/etc/pgbouncer/userlist.txt", "\"app\" \"secret\"\n"),
];

/// One of those.
pub(crate) fn beside(path: &str) -> Result<String, String> {
    let found = BESIDE.iter().find(|(name, _)| *name == path);
    found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| format!("{path}: no such file"))
}

struct Files<'a>(&'a [(&'a str, &'a str)]);

impl World for Files<'_> {
    fn read(&mut self, path: &str) -> Result<String, String> {
        let found = self.0.iter().find(|(name, _)| *name == path);
        found.map_or_else(|| beside(path), |(_, text)| Ok((*text).to_owned()))
    }

    fn addresses(&mut self, name: &str) -> Result<Vec<IpAddr>, String> {
        match name {
            "*" => Ok(vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]),
            "localhost" => Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
            _ => Err("no such host".to_owned()),
        }
    }

    fn directory(&self) -> String {
        "/etc/pb".to_owned()
    }
}

/// Reads the first of the files.
pub(crate) fn read(files: &[(&str, &str)]) -> Reading {
    pgbouncer::read(files[0].0, &mut Files(files)).expect("the first file is there")
}

/// The configuration of an ini that is well.
pub(crate) fn config(text: &str) -> Config {
    let reading = read(&[("pgbouncer.ini", text)]);
    let said = Ini(&reading).to_string();
    reading.config.unwrap_or_else(|| panic!("{said}"))
}

/// All that a configuration makes poolwarden do, but for what an ini alone can say.
pub(crate) fn parts(config: &Config) -> String {
    let text = format!("{config:#?}");
    let (obeyed, _) = text.split_once("    pgbouncer: ").expect("the process's part stands behind all others");
    obeyed.to_owned()
}

/// The findings of all files.
pub(crate) struct Ini<'a>(pub(crate) &'a Reading);

impl fmt::Display for Ini<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.sources.iter().try_for_each(|source| f.write_str(&render(&source.name, &source.text, &source.findings)))
    }
}
