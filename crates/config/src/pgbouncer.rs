//! PgBouncer's configuration: its ini grammar, every setting of it classified, and what it becomes here.
//!
//! An ini becomes the text of a poolwarden.toml, and that text the [`Config`]: what runs is what `import` prints.
//! Pure: files, names and directories come through a [`World`]. Findings stay with the file and line they are about.

mod catalogue;
mod connstr;
pub(crate) mod ini;
mod process;
pub(crate) mod sheet;
mod toml;
mod translate;
pub(crate) mod value;
mod verb;

use core::net::IpAddr;
use std::collections::BTreeMap;

pub use catalogue::{Becomes, CATALOGUE, CHANGED, Entry, Form, Section, Verdict, find};
pub use ini::Source;
pub use process::{Process, Standing, Syslog};
pub use verb::{Door, VERBS, Verb};

use crate::finding::{Severity, has_errors};
use crate::model::Config;
use crate::secret::SecretRef;
use ini::Ini;
use sheet::Sheet;

/// What reading an ini needs of the world.
pub trait World {
    /// The text of a file; a relative path starts at [`World::directory`].
    ///
    /// # Errors
    /// Why it cannot be read, for a message.
    fn read(&mut self, path: &str) -> Result<String, String>;

    /// The addresses of a name to listen on; `*` is every address there is.
    ///
    /// # Errors
    /// Why there are none, for a message.
    fn addresses(&mut self, name: &str) -> Result<Vec<IpAddr>, String>;

    /// The directory relative paths start at: where the process was started.
    fn directory(&self) -> String;
}

/// An ini that was read.
#[derive(Debug)]
pub struct Reading {
    /// All files with what is said about them; the first is the one that was asked for.
    pub sources: Vec<Source>,
    /// The poolwarden.toml that says the same; empty where something is refused.
    pub toml: String,
    /// Passwords of the ini, by the environment variable that `toml` names instead of each.
    pub variables: Vec<(String, crate::Secret)>,
    /// The configuration; none where a finding is an error.
    pub config: Option<Config>,
}

impl Reading {
    /// Whether any finding of any file refuses the configuration.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.sources.iter().any(|source| has_errors(&source.findings))
    }
}

/// Reads the ini at `entry` with everything it names.
///
/// # Errors
/// Why `entry` itself cannot be read.
pub fn read(entry: &str, world: &mut dyn World) -> Result<Reading, String> {
    read_with(entry, &[], world)
}

/// The same with settings of `[pgbouncer]` that hold whatever the files say: what the console's SET changed.
///
/// # Errors
/// Why `entry` itself cannot be read.
pub fn read_with(entry: &str, set: &[(String, String)], world: &mut dyn World) -> Result<Reading, String> {
    let mut ini = Ini::read(entry, world)?;
    let sheet = Sheet::fill(&mut ini, set);
    let translated = translate::translate(&mut ini, &sheet, world);
    let refused = |ini: &Ini| ini.sources.iter().any(|source| has_errors(&source.findings));
    if refused(&ini) {
        return Ok(Reading { sources: ini.settled(), toml: String::new(), variables: Vec::new(), config: None });
    }
    let toml = translated.toml.text(&ini);
    let known: BTreeMap<&str, &crate::Secret> =
        translated.variables.iter().map(|(name, secret)| (name.as_str(), secret)).collect();
    let resolve = |wanted: SecretRef| match wanted {
        SecretRef::File(path) | SecretRef::Text(path) => world.read(&path),
        SecretRef::Env(name) => {
            let found = known.get(name.as_str()).map(|secret| secret.reveal().to_owned());
            found.ok_or_else(|| format!("{name} is not set"))
        }
    };
    let (config, findings) = Config::parse(&toml.text, resolve);
    for finding in findings {
        // What only a TOML could say about itself would be news of our own making.
        if finding.severity == Severity::Info {
            continue;
        }
        let spot = toml.spot(finding.line);
        ini.say(finding.severity, finding.code, &spot, (finding.message, finding.fix));
    }
    let process = Process { toml: toml.text.clone(), ..translated.process };
    let config = config.map(|config| Config { pgbouncer: Some(Box::new(process)), ..config });
    Ok(Reading { sources: ini.settled(), toml: toml.text, variables: translated.variables, config })
}
