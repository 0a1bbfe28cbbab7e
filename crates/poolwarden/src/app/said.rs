//! What operators have said and not taken back, for SHOW: the core knows it too, but tells it only of pools there are.

use std::collections::{BTreeMap, BTreeSet};

/// Names are databases, as clients ask for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    all_paused: bool,
    /// Where it differs from what was said to all.
    paused: BTreeMap<String, bool>,
    disabled: BTreeSet<String>,
}

impl Said {
    /// PAUSE and KILL, or RESUME; `None` is every database.
    pub(super) fn pause(&mut self, name: Option<&str>, paused: bool) {
        match name {
            Some(name) => {
                self.paused.insert(name.to_owned(), paused);
            }
            None => {
                self.all_paused = paused;
                self.paused.clear();
            }
        }
    }

    /// DISABLE or ENABLE.
    pub(super) fn disable(&mut self, name: &str, disabled: bool) {
        if disabled {
            self.disabled.insert(name.to_owned());
        } else {
            self.disabled.remove(name);
        }
    }

    pub(super) fn is_paused(&self, name: &str) -> bool {
        self.paused.get(name).copied().unwrap_or(self.all_paused)
    }

    pub(super) fn is_disabled(&self, name: &str) -> bool {
        self.disabled.contains(name)
    }

    /// Whether this database, or for `None` anything at all, is paused.
    pub(super) fn is_paused_at_all(&self, name: Option<&str>) -> bool {
        name.map_or_else(|| self.all_paused || self.paused.values().any(|paused| *paused), |name| self.is_paused(name))
    }

    /// Whether nothing is lent anywhere.
    pub(super) fn all_paused(&self) -> bool {
        self.all_paused && self.paused.values().all(|paused| *paused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_to_all_replaces_the_words_to_each() {
        let mut said = Said::default();
        said.pause(Some("a"), true);
        assert!(said.is_paused("a") && !said.is_paused("b") && !said.all_paused());
        said.pause(None, true);
        assert!(said.is_paused("b") && said.all_paused());
        said.pause(Some("a"), false);
        assert!(!said.is_paused("a") && said.is_paused("b") && !said.all_paused());
        assert!(said.is_paused_at_all(None) && !said.is_paused_at_all(Some("a")));
        said.pause(None, false);
        assert_eq!(said, Said::default());
        said.disable("a", true);
        assert!(said.is_disabled("a"));
        said.disable("a", false);
        assert_eq!(said, Said::default());
    }
}
