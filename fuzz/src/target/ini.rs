//! pgbouncer.ini and the files it names: any texts give a configuration or errors with their places, and what is printed as
//! TOML is the very configuration that runs.
//!
//! An input that begins with byte 1 is read as choices of settings out of PgBouncer's list, any other as the texts themselves.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use poolwarden_config::pgbouncer::{self, CATALOGUE, Reading, Section, World};
use poolwarden_config::{Config, Finding, Secret, SecretRef, diff, has_errors};

use crate::input::Input;

/// The files an input may hold, one behind the other with a NUL between; others are not there.
const FILES: [&str; 5] = ["pgbouncer.ini", "userlist.txt", "pg_hba.conf", "pg_ident.conf", "more.ini"];

/// A file that includes itself is read so often and then is not there: the bound on depth has its own test, and 256 files of
/// one input take as long as 256 inputs.
const MOST_READS: u32 = 8;
/// Settings of one made ini.
const MOST_LINES: usize = 40;

struct Made<'a> {
    files: BTreeMap<&'a str, &'a str>,
    reads: u32,
}

impl<'a> Made<'a> {
    fn new(text: &'a str) -> Self {
        Self { files: FILES.into_iter().zip(text.split('\0')).collect(), reads: 0 }
    }
}

impl World for Made<'_> {
    fn read(&mut self, path: &str) -> Result<String, String> {
        let name = path.rsplit('/').next().unwrap_or(path);
        self.reads += 1;
        if self.reads > MOST_READS {
            return Err("too many files".to_owned());
        }
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
    match data.split_first() {
        Some((1, rest)) => holds(&made(&mut Input::new(rest))),
        Some(_) | None => {
            if let Ok(text) = std::str::from_utf8(data) {
                holds(text);
            }
        }
    }
}

/// An ini of settings that there are, with their own examples for the most part.
fn made(input: &mut Input<'_>) -> String {
    let mut sections: BTreeMap<Section, String> = BTreeMap::new();
    for _ in 0..MOST_LINES {
        if input.is_empty() {
            break;
        }
        let entry = &CATALOGUE[usize::from(input.word()) % CATALOGUE.len()];
        let raw;
        let value = match input.below(8) {
            0 => entry.default,
            1 => {
                raw = String::from_utf8_lossy(input.chunk()).into_owned();
                raw.as_str()
            }
            _ => entry.example,
        };
        let text = sections.entry(entry.section).or_default();
        let name = input.choice(&["app", "*", "\"my db\"", "1"]);
        // A string takes everything.
        let _ = match entry.section {
            Section::Pgbouncer => writeln!(text, "{} = {value}", entry.name),
            Section::Databases => writeln!(text, "{name} = host=db {}={value}", entry.name),
            Section::Users => writeln!(text, "{name} = {}={value}", entry.name),
            Section::Peers => writeln!(text, "{name} = host=/tmp {}={value}", entry.name),
        };
    }
    let sections: String = sections.iter().map(|(section, text)| format!("[{}]\n{text}", section.name())).collect();
    format!("{sections}\0\"alice\" \"a long password of hers\"\n\0local all all trust\n\0m a b\n\0")
}

fn holds(text: &str) {
    let reading = pgbouncer::read(FILES[0], &mut Made::new(text)).expect("the first file is there");
    assert_eq!(reading.config.is_none(), reading.has_errors(), "{:?}", reading.sources);
    for source in &reading.sources {
        placed(&source.text, &source.findings);
    }
    let again = pgbouncer::read(FILES[0], &mut Made::new(text)).expect("the first file is there");
    assert_eq!((&reading.toml, &reading.sources), (&again.toml, &again.sources));
    if let Some(config) = &reading.config {
        printed(&reading, config, &mut Made::new(text));
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
