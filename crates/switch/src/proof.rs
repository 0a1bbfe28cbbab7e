//! Which settings a server of a pool has taken from a client at its start, and what it made of their values.
//!
//! A client whose settings are all known here is welcomed without a server connection, and told what is true of them all the same.
//! Whatever is not known is tried on a server connection first, so that PostgreSQL's own refusal ends the login and not a later
//! transaction. Forgotten when the servers change, and all at once when there are too many.

use std::collections::BTreeMap;

use poolwarden_relay::{Defaults, Settings};

/// Pairs kept at most: every driver's and framework's usual ones are a few dozen.
const MOST_PAIRS: usize = 2048;
/// Bytes of them kept at most.
const MOST_BYTES: usize = 256 << 10;
/// Whoever changes these changes what others mean or may be set to, so nothing is learned from a start with one of them.
const ALONE: [&str; 2] = ["role", "session_authorization"];

/// Name and value as they were asked for, to what the server reported of it.
#[derive(Debug, Default)]
pub(crate) struct Proofs {
    values: BTreeMap<Box<str>, BTreeMap<Box<str>, Box<str>>>,
    pairs: usize,
    bytes: usize,
}

impl Proofs {
    /// What a server would have of these settings, as differences from its defaults; `None`: one must be asked.
    pub(crate) fn known(&self, asked: &Settings, defaults: &Defaults) -> Option<Settings> {
        let mut settings = Settings::default();
        for (name, value) in asked.iter() {
            if defaults.value(name) == Some(value) {
                continue;
            }
            let known = self.values.get(name).and_then(|values| values.get(value)).map(|known| &**known);
            let known = known.or_else(|| is_plain_name(name, value).then_some(value))?;
            settings = settings.with(name, defaults.difference(name, known));
        }
        Some(settings)
    }

    /// A server has taken `asked`, and now has `made` of it.
    pub(crate) fn note(&mut self, asked: &Settings, made: &Settings, defaults: &Defaults) {
        if asked.iter().any(|(name, _)| ALONE.contains(&name)) {
            return;
        }
        for (name, value) in asked.iter().filter(|(name, value)| !is_plain_name(name, value)) {
            let known = made.value(name).or_else(|| defaults.value(name)).unwrap_or(value);
            let size = name.len() + value.len() + known.len();
            if self.pairs >= MOST_PAIRS || self.bytes + size > MOST_BYTES {
                *self = Self::default();
            }
            if size <= MOST_BYTES {
                let before = self.values.entry(name.into()).or_default().insert(value.into(), known.into());
                if before.is_none() {
                    self.pairs += 1;
                    self.bytes += size;
                }
            }
        }
    }
}

/// PostgreSQL takes any printable ASCII for an application's name, as it is.
fn is_plain_name(name: &str, value: &str) -> bool {
    name == "application_name" && value.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Defaults {
        Defaults::new(&[("DateStyle".into(), "ISO, MDY".into()), ("TimeZone".into(), "UTC".into())])
    }

    #[test]
    fn what_a_server_has_taken_is_known_by_what_it_made_of_it() {
        let mut proofs = Proofs::default();
        let asked = Settings::new([("datestyle", "german"), ("search_path", "a")]);
        assert_eq!(proofs.known(&asked, &defaults()), None);
        let made = Settings::new([("datestyle", "German, DMY"), ("search_path", "a")]);
        proofs.note(&asked, &made, &defaults());
        assert_eq!(proofs.known(&asked, &defaults()), Some(made));
        assert_eq!(proofs.known(&Settings::new([("search_path", "b")]), &defaults()), None);
    }

    #[test]
    fn a_plain_application_name_and_the_defaults_need_no_server() {
        let proofs = Proofs::default();
        let asked = Settings::new([("application_name", "psql"), ("timezone", "UTC")]);
        assert_eq!(proofs.known(&asked, &defaults()), Some(Settings::new([("application_name", "psql")])));
        assert_eq!(proofs.known(&Settings::new([("application_name", "pé")]), &defaults()), None);
    }

    #[test]
    fn nothing_is_learned_beside_a_role() {
        let mut proofs = Proofs::default();
        let asked = Settings::new([("role", "boss"), ("log_statement", "all")]);
        proofs.note(&asked, &asked, &defaults());
        assert_eq!(proofs.known(&Settings::new([("log_statement", "all")]), &defaults()), None);
    }

    #[test]
    fn pairs_are_bounded() {
        let mut proofs = Proofs::default();
        for number in 0..MOST_PAIRS * 2 {
            let value = format!("tenant_{number}");
            let asked = Settings::new([("search_path", value.as_str())]);
            proofs.note(&asked, &asked, &defaults());
            assert!(proofs.pairs <= MOST_PAIRS && proofs.bytes <= MOST_BYTES);
            assert!(proofs.known(&asked, &defaults()).is_some());
        }
    }
}
