//! Inputs become the [`Dossier`]: each kind of file and each kind of fact has its reader, and readers know no rule.
//!
//! First every file is read into a [`Draft`], in any order; then the parts are put together: what the topology and running
//! processes tell goes to the servers, poolers and applications it is about.

mod assemble;
mod before;
mod draft;
mod facts;
mod group;
mod hikari;
mod keys;
mod kind;
mod link;
mod mask;
mod pgbouncer;
mod poolwarden;
mod prometheus;
pub(in crate::review) mod promql;
mod rails;
mod setting;
mod sqlalchemy;
mod topology;
mod unit;
mod url;
mod yaml;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;

use super::dossier::{Dossier, Facts, Text};
use super::finding::Finding;
pub(super) use before::STEADY;
use draft::Draft;
use kind::{FileKind, recognise};

/// One input.
#[derive(Clone, Debug)]
pub enum Input {
    /// A file: what it is, is known by its name and its text.
    File {
        /// Its path as it was given.
        name: String,
        /// Its text.
        text: String,
    },
    /// What was told by a running process, PostgreSQL or a recording.
    Facts(Facts),
}

/// What the inputs came to.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// Everything they told.
    pub dossier: Dossier,
    /// What is wrong in the files themselves: unknown keys, missing units, broken syntax.
    pub faults: Vec<Finding>,
    /// Files that could not be read at all: their names and why, with what to do.
    pub unreadable: Vec<(String, String)>,
}

/// Gets a file that another one names, by its path.
pub(super) type Read<'a> = dyn FnMut(&str) -> Result<String, String> + 'a;

/// Reads all inputs. `read` gets files that they name (includes, user lists, HBA files) by their path; a file that is an input
/// itself is not asked for.
pub fn gather(inputs: &[Input], read: &mut Read<'_>) -> Gathered {
    let files: Vec<(&str, &str)> = inputs.iter().filter_map(file).collect();
    let included = pgbouncer::included(&files);
    let mut named = |path: &str| named(&files, path).map_or_else(|| read(path), Ok);
    let mut out = Draft::default();
    for input in inputs {
        match input {
            Input::Facts(facts) => out.dossier.facts.push(facts.clone()),
            Input::File { name, .. } if included.contains(last(name)) => {}
            Input::File { name, text } if before::stands(name, &files) => {
                let told = recognise(name, text).and_then(|kind| before::told(name, text, kind, &mut named));
                match told {
                    Some(facts) => out.dossier.facts.push(facts),
                    None => one(name, text, &mut out, &mut named),
                }
            }
            Input::File { name, text } => one(name, text, &mut out, &mut named),
        }
    }
    assemble::assemble(&mut out);
    out.gathered()
}

/// Reads one file.
fn one(name: &str, text: &str, out: &mut Draft, read: &mut Read<'_>) {
    let Some(kind) = recognise(name, text) else {
        let known = "poolwarden.toml, pgbouncer.ini, HikariCP's .properties or Spring's .yml, database.yml, SQLAlchemy's .py, \
                     DATABASE_URL in .env, rules of Prometheus, prometheus.yml, a unit of systemd, .facts";
        out.unreadable.push((name.to_owned(), format!("not a file that is known here: {known}")));
        return;
    };
    let said = match kind {
        FileKind::Userlist => Ok(()), // read where a pgbouncer.ini or a poolwarden.toml names it
        FileKind::PgBouncer => pgbouncer::read(name, text, out, read),
        FileKind::Facts => {
            let file = out.file(name, text);
            facts::read(file, text, out)
        }
        FileKind::Poolwarden => {
            let file = out.file(name, text);
            poolwarden::read(file, text, out, read)
        }
        FileKind::Hikari => with(hikari::read, name, text, out),
        FileKind::Rails => with(rails::read, name, text, out),
        FileKind::SqlAlchemy => with(sqlalchemy::read, name, text, out),
        FileKind::Url => with(url::read, name, text, out),
        FileKind::Prometheus => with(prometheus::read, name, text, out),
        FileKind::Unit => with(unit::read, name, text, out),
    };
    if let Err(why) = said {
        out.unreadable.push((name.to_owned(), why));
    }
}

type Reader = fn(usize, &str, &mut Draft) -> Result<(), Unread>;

/// Why a reader makes nothing of a file.
#[derive(Debug)]
pub(super) enum Unread {
    /// As a whole: it is not what its name says, or too much of it. In words, with what to do.
    Whole(String),
    /// Its language is broken there.
    Broken { at: usize, message: String, fix: String },
}

impl From<String> for Unread {
    fn from(why: String) -> Self {
        Self::Whole(why)
    }
}

impl From<&str> for Unread {
    fn from(why: &str) -> Self {
        Self::Whole(why.to_owned())
    }
}

fn with(reader: Reader, name: &str, text: &str, out: &mut Draft) -> Result<(), String> {
    let file = out.file(name, text);
    match reader(file, text, out) {
        Ok(()) => Ok(()),
        Err(Unread::Whole(why)) => Err(why),
        Err(Unread::Broken { at, message, fix }) => {
            let line = text[at..].lines().next().map_or(0, |rest| rest.trim_end().len());
            out.fault(file, at..at + line, message, fix);
            Ok(())
        }
    }
}

fn file(input: &Input) -> Option<(&str, &str)> {
    match input {
        Input::File { name, text } => Some((name, text)),
        Input::Facts(_) => None,
    }
}

/// The text of an input that a file means by `path`: the same path, else the one input whose name ends like it.
fn named(files: &[(&str, &str)], path: &str) -> Option<String> {
    let same = files.iter().find(|(name, _)| *name == path);
    let alike = || files.iter().find(|(name, _)| last(name) == last(path));
    same.or_else(alike).map(|(_, text)| (*text).to_owned())
}

/// The last part of a path.
fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
