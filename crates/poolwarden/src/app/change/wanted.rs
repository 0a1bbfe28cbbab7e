//! What is to be put in force, read: the file as it is, a text in its place, or what is in force with some settings changed.

use std::path::Path;
use std::sync::Arc;

use poolwarden_config::Config;
use sha2::{Digest, Sha256};

use super::super::edit::{self, Edit};
use super::super::plan::Seed;
use super::super::reload::{self, Read, Refused, Written};
use super::super::running::{Origin, Running};
use super::super::view::Configs;
use crate::discover::{self, Made};

/// The name that faults of a text give it.
const PROPOSED: &str = "the proposed file";

/// What somebody wants in force.
#[derive(Clone, Debug)]
pub(in crate::app) enum Wanted {
    /// The file as it is now.
    File,
    /// This text in place of the file's.
    Text(String),
    /// What is in force, with these settings changed.
    Set(Vec<Edit>),
    /// What was in force before.
    Back(Basis),
}

/// What is in force, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::app) struct Basis {
    /// The text: of a TOML file all of it, settings that SET changed among it; of a pgbouncer.ini what may be shown.
    pub(super) text: Arc<str>,
    /// What SET changed on top of a pgbouncer.ini.
    pub(super) edits: Vec<Edit>,
}

impl Basis {
    /// How it is written.
    pub(in crate::app) fn text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// Recognises what is in force; SHA-256 in hexadecimal.
    pub(in crate::app) fn hash(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.text.as_bytes());
        for edit in &self.edits {
            hash.update(format!("\0{}={}", edit.key, edit.value));
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What was read.
pub(in crate::app) struct Found {
    pub(in crate::app) read: Read,
    /// What will be in force.
    pub(super) basis: Basis,
    /// The file's text, where it was read for this.
    pub(super) file: Option<Arc<str>>,
}

impl Found {
    /// What will be in force, as text.
    pub(in crate::app) fn text(&self) -> Arc<str> {
        self.basis.text()
    }
}

/// Reads it, on a thread that may wait: files are read and passwords are salted.
pub(in crate::app) async fn read(running: &Running, wanted: Wanted, now: Basis) -> Result<Found, Refused> {
    let configs = running.configs();
    let (origin, seed) = (running.origin.clone(), running.seed);
    let read = tokio::task::spawn_blocking(move || at_once(&origin, &configs, wanted, &now, &seed));
    read.await.map_err(|_| Refused::one("reading the configuration ended early"))?
}

fn at_once(origin: &Origin, configs: &Configs, wanted: Wanted, now: &Basis, seed: &Seed) -> Result<Found, Refused> {
    if let Origin::Made(made) = origin {
        return of_made(made, configs, wanted, now, seed);
    }
    match reload::file(origin, &configs.now)? {
        Written::Toml(path) => toml(&path, configs, wanted, now, seed),
        file @ Written::Ini(_) => ini(&file, configs, wanted, now, seed),
    }
}

fn toml(path: &Path, configs: &Configs, wanted: Wanted, now: &Basis, seed: &Seed) -> Result<Found, Refused> {
    let own = path.display().to_string();
    let (name, text, file) = match wanted {
        Wanted::File => {
            let text: Arc<str> = discover::read_text(path).map_err(|why| Refused::one(format!("{why:#}")))?.into();
            (own.as_str(), Arc::clone(&text), Some(text))
        }
        Wanted::Text(text) => (PROPOSED, text.into(), None),
        Wanted::Set(edits) => {
            let changed = edit::toml(&now.text, &edits).map_err(|why| Refused::one(format!("{own}: {why}")))?;
            (own.as_str(), changed.into(), None)
        }
        Wanted::Back(basis) => (own.as_str(), basis.text, None),
    };
    if text.len() as u64 > discover::MAX_FILE_BYTES {
        // written into the file it could not be read again
        return Err(Refused::one(format!("{name} is larger than {} bytes", discover::MAX_FILE_BYTES)));
    }
    let directory = path.parent().unwrap_or(Path::new("."));
    let loaded = discover::parse(name, &text, directory);
    let mut read = reload::prepare(loaded, directory, &configs.now, seed)?;
    // whatever it was called while it was proposed: it is the file that runs
    read.texts = vec![(own, text.to_string())];
    Ok(Found { read, basis: Basis { text, edits: Vec::new() }, file })
}

/// Without a file there is what was made up at the start, and what was changed since.
fn of_made(made: &Made, configs: &Configs, wanted: Wanted, now: &Basis, seed: &Seed) -> Result<Found, Refused> {
    let text: Arc<str> = match wanted {
        Wanted::File => return Err(Refused::one(format!("there is no file to read again: {}", made.why))),
        Wanted::Text(text) => text.into(),
        Wanted::Set(edits) => edit::toml(&now.text, &edits).map_err(Refused::one)?.into(),
        Wanted::Back(basis) => basis.text,
    };
    let read = reload::prepare(made.load(&text), Path::new("."), &configs.now, seed)?;
    Ok(Found { read, basis: Basis { text, edits: Vec::new() }, file: None })
}

fn ini(file: &Written, configs: &Configs, wanted: Wanted, now: &Basis, seed: &Seed) -> Result<Found, Refused> {
    let mut edits = match wanted {
        Wanted::File => Vec::new(),
        Wanted::Set(newer) => {
            let mut edits = now.edits.clone();
            edits.retain(|earlier| !newer.iter().any(|edit| edit.key == earlier.key));
            edits.extend(newer);
            edits
        }
        // its text is kept without passwords, so that only what was set on top of it can come back
        Wanted::Back(basis) if basis.text == now.text => basis.edits,
        Wanted::Text(_) | Wanted::Back(_) => {
            return Err(Refused::with_fix((
                "it runs by a pgbouncer.ini, which is not written here".to_owned(),
                "change the ini and RELOAD, change single settings with --set, or go on with TOML: poolwarden import"
                    .to_owned(),
            )));
        }
    };
    edits.shrink_to_fit();
    let loaded = reload::load(file, &edits);
    let read = reload::prepare(loaded, file.directory(), &configs.now, seed)?;
    let text: Arc<str> = read.texts.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n").into();
    Ok(Found { read, basis: Basis { text: Arc::clone(&text), edits }, file: Some(text) })
}

/// What is in force at the start.
pub(in crate::app) fn first(texts: &[(String, String)], config: &Config, origin: &Origin) -> Basis {
    if let Origin::Made(made) = origin {
        return Basis { text: made.text.as_str().into(), edits: Vec::new() };
    }
    let of_ini = config.pgbouncer.is_some();
    let all = texts.iter().take(if of_ini { usize::MAX } else { 1 });
    let text = all.map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n");
    Basis { text: text.into(), edits: Vec::new() }
}
