//! How the store is, for its owner to shout about: a state to look at, and news to log once each.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// News nobody collects is dropped from the oldest on: these many tell what is going on.
const NEWS_KEPT: usize = 64;

/// Whether what is given to the store is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is written.
    Working,
    /// It can be read and is not written: the file is of a newer release.
    ReadOnly {
        /// What is the matter, and what to do.
        why: String,
        /// Writes that were not kept for that.
        dropped: u64,
    },
    /// It cannot be written now. Writes are kept in memory, and it tries again.
    Failing {
        /// What is the matter.
        why: String,
        /// Since when, in milliseconds since 1970, UTC.
        since_ms: u64,
        /// Writes that had no place in memory since then.
        dropped: u64,
    },
}

/// Something that happened to the file and should be said once, loudly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It cannot be written.
    Failing {
        /// What is the matter.
        why: String,
    },
    /// It can be written again, and what was kept in memory is in it.
    Recovered {
        /// How long it could not, in milliseconds.
        after_ms: u64,
        /// Writes that had no place in memory meanwhile.
        dropped: u64,
    },
    /// It was broken. It has another name now, nothing is deleted, and a new one was begun.
    PutAside {
        /// Its name from now on.
        to: PathBuf,
        /// What was wrong with it.
        why: String,
    },
    /// It was taken away under us, and a new one was begun.
    Vanished {
        /// Where it was.
        path: PathBuf,
    },
    /// It is of a newer release: read, never altered.
    ReadOnly {
        /// Whose it is, and what to do.
        why: String,
    },
}

/// The state as the writer keeps it.
#[derive(Debug)]
pub(crate) struct Condition {
    state: State,
    news: VecDeque<News>,
    dropped_total: u64,
}

impl Condition {
    pub(crate) fn new() -> Self {
        let why = "being opened".to_owned();
        let state = State::Failing { why, since_ms: wall_ms(), dropped: 0 };
        Self { state, news: VecDeque::new(), dropped_total: 0 }
    }

    pub(crate) fn state(&self) -> State {
        self.state.clone()
    }

    pub(crate) fn take_news(&mut self) -> Vec<News> {
        self.news.drain(..).collect()
    }

    pub(crate) fn dropped_total(&self) -> u64 {
        self.dropped_total
    }

    /// What keeps a write from the file; none while it works.
    pub(crate) fn why(&self) -> Option<&str> {
        match &self.state {
            State::Working => None,
            State::ReadOnly { why, .. } | State::Failing { why, .. } => Some(why),
        }
    }

    pub(crate) fn tell(&mut self, news: News) {
        if self.news.len() == NEWS_KEPT {
            self.news.pop_front();
        }
        self.news.push_back(news);
    }

    /// The first opening went well: nothing to tell.
    pub(crate) fn opened(&mut self) {
        self.state = State::Working;
    }

    pub(crate) fn works(&mut self) {
        if let State::Failing { since_ms, dropped, .. } = &self.state {
            let after_ms = wall_ms().saturating_sub(*since_ms);
            self.tell(News::Recovered { after_ms, dropped: *dropped });
        }
        self.state = State::Working;
    }

    /// Told again only where the reason is another.
    pub(crate) fn fails(&mut self, why: String) {
        let (since_ms, dropped) = match &self.state {
            State::Failing { why: known, .. } if *known == why => return,
            State::Failing { since_ms, dropped, .. } => (*since_ms, *dropped),
            State::Working | State::ReadOnly { .. } => (wall_ms(), 0),
        };
        self.tell(News::Failing { why: why.clone() });
        self.state = State::Failing { why, since_ms, dropped };
    }

    pub(crate) fn read_only(&mut self, why: String) {
        self.tell(News::ReadOnly { why: why.clone() });
        self.state = State::ReadOnly { why, dropped: 0 };
    }

    pub(crate) fn drops(&mut self, count: u64) {
        self.dropped_total += count;
        match &mut self.state {
            State::Working => {}
            State::ReadOnly { dropped, .. } | State::Failing { dropped, .. } => *dropped += count,
        }
    }
}

/// The wall clock in milliseconds since 1970; a clock before that counts as 1970.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
