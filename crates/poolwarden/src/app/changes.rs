//! The newest changes of the configuration in force: what an operator asks about first when something began just now.

use std::collections::VecDeque;
use std::sync::Mutex;

use poolwarden_config::Change;
use poolwarden_watch::{ChangeView, MAX_CHANGES};

use super::running::held;

/// Oldest first; at most [`MAX_CHANGES`].
#[derive(Debug, Default)]
pub(super) struct Changes(Mutex<VecDeque<ChangeView>>);

impl Changes {
    /// These were put in force; what waits for a restart was not. A secret says no more than that it is another.
    pub(super) fn note(&self, at_ms: u64, by: &str, changes: &[Change]) {
        let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let mut all = held(&self.0);
        for change in changes.iter().filter(|change| change.live) {
            let (from, to) = (said(&change.from), said(&change.to));
            all.push_back(ChangeView { at_ms, key: change.key.clone(), from, to, by: by.to_owned() });
            if all.len() > MAX_CHANGES {
                all.pop_front();
            }
        }
    }

    /// All that are kept.
    pub(super) fn all(&self) -> Vec<ChangeView> {
        held(&self.0).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use poolwarden_config::{Config, diff};

    use super::*;

    fn config(more: &str, secret: &str) -> Config {
        let text = format!("[servers.main]\nhost = \"db\"\n[pools.app]\nserver = \"main\"\n{more}");
        let (config, findings) = Config::parse(&text, |_| Ok(secret.to_owned()));
        config.unwrap_or_else(|| panic!("{findings:?}"))
    }

    #[test]
    fn what_was_put_in_force_is_kept_and_what_waits_or_is_secret_is_not() {
        let before = config("size = 20\n[users.app]\npassword_env = \"APP\"\n", "hunter2");
        let after = config("size = 40\n[users.app]\npassword_env = \"APP\"\n[listen]\nhttp = \"off\"\n", "hunter3");
        let changes = Changes::default();
        changes.note(7, "set", &diff(&before, &after));
        let all = changes.all();
        let keys: Vec<&str> = all.iter().map(|change| change.key.as_str()).collect();
        assert_eq!(keys, ["pools.app.size", "users.app.password_env"]);
        assert_eq!((all[0].from.as_deref(), all[0].to.as_deref()), (Some("20"), Some("40")));
        assert_eq!((all[0].at_ms, &*all[0].by), (7, "set"));
        assert!(!format!("{all:?}").contains("hunter"), "{all:?}");
    }

    #[test]
    fn the_oldest_give_way() {
        let changes = Changes::default();
        let one = |n: usize| Change { key: n.to_string(), from: String::new(), to: "x".to_owned(), live: true };
        (0..MAX_CHANGES + 3).for_each(|n| changes.note(0, "reload", &[one(n)]));
        let all = changes.all();
        assert_eq!((all.len(), &*all[0].key, &all[0].from), (MAX_CHANGES, "3", &None));
    }
}
