//! The modelled PostgreSQL: its backends, its slots, when it is up.

use std::collections::BTreeMap;

use poolwarden_switch::pool::{ServerFacts, Time};

use crate::backend::Backend;
use crate::wire::LinkId;

/// One process and its connection.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) backend: Backend,
    pub(crate) link: LinkId,
    /// Its client is gone; it has not noticed or not ended yet.
    pub(crate) lingers: bool,
    /// When it was last planned to work.
    pub(crate) due: Option<Time>,
}

#[derive(Debug)]
pub(crate) struct Postgres {
    /// Backends, by process number. Numbers are not reused.
    pub(crate) processes: BTreeMap<u32, Process>,
    pub(crate) max_connections: usize,
    /// Until when it does not answer.
    pub(crate) down_until: Time,
    pub(crate) start_time: u64,
    /// Most backends there were at once.
    pub(crate) most: usize,
    next_pid: u32,
}

impl Postgres {
    pub(crate) fn new(max_connections: usize) -> Self {
        Self {
            processes: BTreeMap::new(),
            max_connections,
            down_until: Time::ZERO,
            start_time: 1,
            most: 0,
            next_pid: 100,
        }
    }

    /// The number the next process will have.
    pub(crate) fn next_pid(&self) -> u32 {
        self.next_pid
    }

    pub(crate) fn start(&mut self, secret: u32, link: LinkId, sessions: bool, name: String) -> u32 {
        let pid = self.next_pid;
        self.next_pid += 1;
        let backend = Backend::new(pid, secret, sessions, name);
        self.processes.insert(pid, Process { backend, link, lingers: false, due: None });
        self.most = self.most.max(self.processes.len());
        pid
    }

    /// What the watch connection would read.
    pub(crate) fn facts(&self) -> ServerFacts {
        ServerFacts {
            start_time: self.start_time,
            pids: self.processes.keys().copied().collect(),
            max_connections: u32::try_from(self.max_connections).unwrap_or(u32::MAX),
            ..ServerFacts::default()
        }
    }
}
