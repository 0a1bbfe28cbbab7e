//! A pgbouncer.ini from the disk: its files, the addresses of its names, and what is said about it.
//!
//! Relative paths start at the working directory, as in PgBouncer, and not at the file's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs, UdpSocket};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use poolwarden_config::pgbouncer::{self, Reading, World};
use poolwarden_config::render;

use crate::discover::{self, Faults, Loaded};

/// Reads an ini, with settings of `[pgbouncer]` that hold over it; what it says wrong comes as [`Faults`].
pub(crate) fn load(path: &Path, set: &[(String, String)]) -> anyhow::Result<Loaded> {
    let reading = read(path, set)?;
    let (remarks, lines) = (rendered(&reading), lines(&reading));
    // SET is no file: what it changed shows where the file and the settings that run differ.
    let texts = reading.sources.iter().filter(|source| source.name != "SET");
    let texts = texts.map(|source| (source.name.clone(), source.text.clone())).collect();
    match reading.config {
        Some(config) => Ok(Loaded { config, remarks, lines, texts }),
        None => Err(Faults::new(&path.display().to_string(), &remarks, lines).into()),
    }
}

/// Reads an ini.
pub(crate) fn read(path: &Path, set: &[(String, String)]) -> anyhow::Result<Reading> {
    let directory = std::env::current_dir().context("the working directory")?;
    let name = path.to_str().with_context(|| format!("{}: not a path in UTF-8", path.display()))?;
    pgbouncer::read_with(name, set, &mut Disk { directory }).map_err(|why| anyhow!("cannot read {name}: {why}"))
}

/// All findings for people.
pub(crate) fn rendered(reading: &Reading) -> String {
    reading.sources.iter().map(|source| render(&source.name, &source.text, &source.findings)).collect()
}

/// All findings, one a line.
fn lines(reading: &Reading) -> Vec<String> {
    let of = |source: &pgbouncer::Source| -> Vec<String> {
        source.findings.iter().map(|finding| discover::one_line(&source.name, finding)).collect()
    };
    reading.sources.iter().flat_map(of).collect()
}

struct Disk {
    directory: PathBuf,
}

impl World for Disk {
    fn read(&mut self, path: &str) -> Result<String, String> {
        let bytes = discover::read_bounded(&self.directory.join(path), discover::MAX_FILE_BYTES);
        let bytes = bytes.map_err(|error| format!("{error:#}"))?;
        String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
    }

    /// Those of this host: a name often has one that the system has switched off (`::1`).
    fn addresses(&mut self, name: &str) -> Result<Vec<IpAddr>, String> {
        let found: Vec<IpAddr> = if name == "*" {
            vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
        } else {
            let found = (name, 0).to_socket_addrs().map_err(|error| error.to_string())?;
            found.map(|address| address.ip()).collect()
        };
        let mut usable = found;
        usable.retain(|ip| UdpSocket::bind((*ip, 0)).is_ok());
        if usable.is_empty() { Err("it is no address of this host".to_owned()) } else { Ok(usable) }
    }

    fn directory(&self) -> String {
        self.directory.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_ini_is_read_with_what_it_includes_and_what_was_set_over_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (main, more) = (dir.path().join("pgbouncer.ini"), dir.path().join("more.ini"));
        fs::write(&more, "listen_port = 7001\n").expect("a file");
        let text = format!(
            "[databases]\napp = host=db\n[pgbouncer]\nlisten_addr = 127.0.0.1\nauth_type = trust\n%include {}\n",
            more.display()
        );
        fs::write(&main, text).expect("a file");
        let loaded = load(&main, &[]).expect("a good file");
        assert_eq!(loaded.config.listen.addresses, ["127.0.0.1:7001".parse().expect("an address")]);
        let set = [("max_client_conn".to_owned(), "7".to_owned())];
        assert_eq!(load(&main, &set).expect("well").config.limits.max_clients, 7);
        let set = [("max_client_con".to_owned(), "7".to_owned())];
        let error = load(&main, &set).map(|_| ()).expect_err("no such setting");
        let faults = &error.downcast_ref::<Faults>().expect("faults of the file").lines;
        assert!(faults[0].starts_with("SET:1:1: ") && faults[0].contains("max_client_conn"), "{faults:?}");
        fs::remove_file(&more).expect("it was there");
        let error = load(&main, &[]).map(|_| ()).expect_err("an include is gone").to_string();
        assert!(error.contains("pgbouncer.ini:6:10") && error.contains("more.ini"), "{error}");
    }

    #[test]
    fn names_to_listen_on_are_this_hosts() {
        let mut disk = Disk { directory: PathBuf::from("/") };
        assert!(disk.addresses("*").expect("some").contains(&Ipv4Addr::UNSPECIFIED.into()));
        assert!(disk.addresses("localhost").expect("some").iter().all(IpAddr::is_loopback));
        // 192.0.2.0/24 is for documentation, and nobody's.
        assert!(disk.addresses("192.0.2.1").is_err());
    }
}
