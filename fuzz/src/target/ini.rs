//! pgbouncer.ini and the files it names: any texts give a configuration or errors with their places, and what is printed as
//! TOML is the very configuration that runs.

use std::collections::BTreeMap;
use std::net::IpAddr;

use poolwarden_config::pgbouncer::{self, Reading, World};
use poolwarden_config::{Config, Finding, Secret, SecretRef, diff, has_errors};

/// The files an input may hold, one behind the other with a NUL between; others are not there.
const FILES: [&str; 5] = ["pgbouncer.ini", "userlist.txt", "pg_hba.conf", "pg_ident.conf", "more.ini"];

struct Made<'a> {
    files: BTreeMap<&'a str, &'a str>,
}

impl World for Made<'_> {
    fn read(&mut self, path: &str) -> Result<String, String> {
        let name = path.rsplit('/').next().unwrap_or(path);
        self.files.get(name).map(|text| (*text).to_owned()).ok_or_else(|| "no such file".to_owned())
    }

    fn addresses(&mut self, name: &str) -> Result<Vec<IpAddr>, String> {
        match name {
            "*" => Ok(vec![IpAddr::from([0, 0, 0, 0]), IpAddr::from([0u16; 8])]),
            "localhost" => Ok(vec![IpAddr::from([127, 0, 0, 1])]),
            _ => Err("no such name".to_owned()),
        }
    }

    fn directory(&self) -> String {
        "/etc/pgbouncer".to_owned()
    }
}

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let files: BTreeMap<&str, &str> = FILES.into_iter().zip(text.split('\0')).collect();
    let reading = pgbouncer::read(FILES[0], &mut Made { files: files.clone() }).expect("the first file is there");
    assert_eq!(reading.config.is_none(), reading.has_errors(), "{:?}", reading.sources);
    for source in &reading.sources {
        placed(&source.text, &source.findings);
    }
    let again = pgbouncer::read(FILES[0], &mut Made { files: files.clone() }).expect("the first file is there");
    assert_eq!((&reading.toml, &reading.sources), (&again.toml, &again.sources));
    if let Some(config) = &reading.config {
        printed(&reading, config, &mut Made { files });
    }
}

fn placed(text: &str, findings: &[Finding]) {
    for finding in findings {
        assert!(finding.span.start <= finding.span.end && finding.span.end <= text.len(), "{finding:?}");
        assert!(text.is_char_boundary(finding.span.start) && text.is_char_boundary(finding.span.end), "{finding:?}");
        assert!(!finding.message.is_empty());
    }
}

/// What `import` prints, read as the file it is meant to be.
fn printed(reading: &Reading, config: &Config, world: &mut Made<'_>) {
    let known: BTreeMap<&str, &Secret> =
        reading.variables.iter().map(|(name, secret)| (name.as_str(), secret)).collect();
    let (printed, findings) = Config::parse(&reading.toml, |wanted| match wanted {
        SecretRef::File(path) | SecretRef::Text(path) => world.read(&path),
        SecretRef::Env(name) => {
            let found = known.get(name.as_str()).map(|secret| secret.reveal().to_owned());
            found.ok_or_else(|| "is not set".to_owned())
        }
    });
    assert!(!has_errors(&findings), "{findings:?}\n{}", reading.toml);
    let printed = printed.expect("a configuration without errors");
    assert!(diff(config, &printed).is_empty(), "{:?}", diff(config, &printed));
    for secret in known.values().filter(|secret| secret.reveal().len() > 12) {
        assert!(!format!("{config:?}").contains(secret.reveal()), "a secret is shown");
    }
}
