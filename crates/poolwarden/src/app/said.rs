//! What operators have said and not taken back, for SHOW: the core knows it too, but tells it only of pools there are.

use std::collections::{BTreeMap, BTreeSet};

use poolwarden_pool::{Time, Verb};

/// Names are databases, as clients ask for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    all_paused: bool,
    /// Where it differs from what was said to all.
    paused: BTreeMap<String, bool>,
    disabled: BTreeSet<String>,
    suspended: bool,
    /// Server connections opened before this are replaced; `None`: of every database.
    replaced: BTreeMap<Option<String>, Time>,
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
                self.suspended = false;
            }
        }
    }

    /// SUSPEND; it ends with the next word to all.
    pub(super) fn suspend(&mut self) {
        self.pause(None, true);
        self.suspended = true;
    }

    /// RECONNECT and KILL: what is open now goes.
    pub(super) fn replace(&mut self, name: Option<&str>, now: Time) {
        self.replaced.insert(name.map(str::to_owned), now);
    }

    /// Whether a server connection of this database, opened then, is to go.
    pub(super) fn is_replaced(&self, name: &str, opened_at: Time) -> bool {
        let said = self.replaced.iter().filter(|(of, _)| of.as_deref().is_none_or(|of| of == name));
        said.map(|(_, at)| *at).any(|at| opened_at < at)
    }

    /// DISABLE or ENABLE.
    pub(super) fn disable(&mut self, name: &str, disabled: bool) {
        if disabled {
            self.disabled.insert(name.to_owned());
        } else {
            self.disabled.remove(name);
        }
    }

    /// Everything that holds now, in the order in which a server that has heard nothing, or what holds no more, is to hear it.
    pub(super) fn words(&self) -> Vec<(Verb, Option<&str>)> {
        let pause = |paused| if paused { Verb::Pause } else { Verb::Resume };
        let paused = self.paused.iter().map(|(name, paused)| (pause(*paused), Some(name.as_str())));
        let disabled = self.disabled.iter().map(|name| (Verb::Disable, Some(name.as_str())));
        let all = [(pause(self.all_paused), None), (Verb::Enable, None)];
        all.into_iter().chain(paused).chain(disabled).collect()
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

    pub(super) fn is_suspended(&self) -> bool {
        self.suspended
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
        said.suspend();
        assert!(said.is_suspended() && said.all_paused());
        said.pause(None, false);
        assert_eq!(said, Said::default());
        said.disable("a", true);
        assert!(said.is_disabled("a"));
        said.disable("a", false);
        assert_eq!(said, Said::default());
    }

    #[test]
    fn a_server_that_comes_hears_what_holds_and_no_more() {
        let mut said = Said::default();
        assert_eq!(said.words(), [(Verb::Resume, None), (Verb::Enable, None)]);
        said.pause(None, true);
        said.pause(Some("a"), false);
        said.disable("b", true);
        let words = [(Verb::Pause, None), (Verb::Enable, None), (Verb::Resume, Some("a")), (Verb::Disable, Some("b"))];
        assert_eq!(said.words(), words);
    }

    #[test]
    fn what_was_open_before_a_word_to_its_database_or_to_all_is_replaced() {
        let at = Time::from_nanos;
        let mut said = Said::default();
        said.replace(Some("a"), at(10));
        assert!(said.is_replaced("a", at(9)) && !said.is_replaced("a", at(10)) && !said.is_replaced("b", at(9)));
        said.replace(None, at(20));
        assert!(said.is_replaced("a", at(19)) && said.is_replaced("b", at(19)) && !said.is_replaced("b", at(20)));
    }
}
