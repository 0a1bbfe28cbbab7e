//! The dossier while it is built: what readers write into, and what only the putting together needs.

use std::collections::BTreeMap;
use std::ops::Range;

use super::mask::mask;
use super::topology::Topology;
use super::{Gathered, Text, last};
use crate::finding::{self, Severity};
use crate::review::chain::{App, Library, Postgres};
use crate::review::dossier::Dossier;
use crate::review::finding::{Edit, Finding, Fix, Label};
use crate::review::place::{Known, Place};

/// The code of every fault of a file.
const CODE: &str = "EFF-06";

/// The dossier being built.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) dossier: Dossier,
    pub(super) faults: Vec<Finding>,
    pub(super) unreadable: Vec<(String, String)>,
    /// `[topology]` of each file that has one.
    pub(super) topologies: Vec<Topology>,
    /// Variables of the environment as .env files tell them.
    pub(super) environment: Vec<(String, Known<String>)>,
    /// Indices of the servers that have an address, by it.
    addresses: BTreeMap<(String, u16), usize>,
}

impl Draft {
    /// Takes a file in; its index. Passwords that are easily seen are masked at once, see also [`Draft::mask`].
    pub(super) fn file(&mut self, name: &str, text: &str) -> usize {
        self.dossier.texts.push(Text { name: name.to_owned(), text: mask(text) });
        self.dossier.texts.len() - 1
    }

    /// The name a file gives to what it configures, where it does not say: its own without folders and endings.
    pub(super) fn stem(&self, file: usize) -> String {
        let name = self.dossier.texts.get(file).map_or("", |text| last(&text.name));
        let stem = name.trim_start_matches('.').split('.').next().unwrap_or(name);
        stem.to_owned()
    }

    /// Stars for the letters of a secret, byte for byte as long.
    pub(super) fn mask(&mut self, file: usize, span: Range<usize>) {
        if let Some(text) = self.dossier.texts.get_mut(file)
            && text.text.get(span.clone()).is_some()
        {
            text.text.replace_range(span.clone(), &"*".repeat(span.len()));
        }
    }

    /// A fault of a file: something it says that does not hold. `message` in lower case; `fix` is what to write.
    pub(super) fn fault(&mut self, file: usize, span: Range<usize>, message: String, fix: String) -> &mut Finding {
        self.say(Severity::Error, Place::Text { file, span }, message, fix)
    }

    pub(super) fn say(&mut self, severity: Severity, place: Place, message: String, fix: String) -> &mut Finding {
        self.faults.push(Finding {
            code: CODE,
            severity,
            message,
            labels: vec![Label { place, text: String::new(), primary: true }],
            why: String::new(),
            fix: Fix { text: fix, ..Fix::default() },
        });
        let last = self.faults.len() - 1;
        &mut self.faults[last]
    }

    /// What the configuration's own reader found wrong, with the edit that its words say.
    pub(super) fn found(&mut self, file: usize, found: finding::Finding) {
        let place = Place::Text { file, span: found.span.clone() };
        let new = typed(&found.fix);
        let finding = self.say(found.severity, place, found.message, found.fix);
        if let Some(new) = new.filter(|_| !found.span.is_empty()) {
            finding.fix.edits.push(Edit { file, span: found.span, new });
        }
    }

    /// The server at this address; a new one of this name where none is there yet.
    pub(super) fn server(&mut self, name: &str, address: Option<(String, u16)>) -> usize {
        let servers = &mut self.dossier.postgres;
        let there = match &address {
            Some(address) => self.addresses.get(address).copied(),
            None => servers.iter().position(|server| server.address.is_none() && server.name == name),
        };
        there.unwrap_or_else(|| {
            if let Some(address) = &address {
                self.addresses.insert(address.clone(), servers.len());
            }
            servers.push(Postgres { name: name.to_owned(), address, ..Postgres::default() });
            servers.len() - 1
        })
    }

    pub(super) fn gathered(self) -> Gathered {
        Gathered { dossier: self.dossier, faults: self.faults, unreadable: self.unreadable }
    }
}

/// What a fix says to put in the fault's place, where it says nothing else: "did you mean `size`?", `write "5s", or …`.
fn typed(fix: &str) -> Option<String> {
    if let Some(name) = fix.strip_prefix("did you mean `").and_then(|rest| rest.strip_suffix("`?")) {
        return Some(name.to_owned());
    }
    if let Some(name) = fix.strip_prefix("did you mean \"").and_then(|rest| rest.strip_suffix("\"?")) {
        return Some(format!("\"{name}\""));
    }
    let value = fix.strip_prefix("write \"")?;
    let (value, rest) = value.split_once('"')?;
    (rest.is_empty() || rest.starts_with(", or with another unit")).then(|| format!("\"{value}\""))
}

/// An application of which nothing is known but its name, and the bytes it is told of.
pub(super) fn app(name: String, library: Library, file: usize, span: Range<usize>) -> App {
    App {
        name,
        place: Place::Text { file, span },
        library,
        pool: None,
        address: None,
        user: None,
        replicas: None,
        surge: None,
        processes: None,
        pools: Vec::new(),
        threads: None,
        pool_size: None,
        intended: None,
        max_idle: None,
        per_unit: None,
        request_timeout: None,
        acquire_timeout: None,
        query_timeout: None,
        lifetime: None,
        idle_timeout: None,
        keepalive: None,
        peak_rate: None,
        hold: None,
        startup: BTreeMap::new(),
        written: BTreeMap::new(),
    }
}
