//! The ids of servers: each name's own, for as long as the process runs.

use std::collections::{BTreeMap, BTreeSet};

use poolwarden_pool::HostId;

use super::Config;

impl Config {
    /// Takes over the ids of the configuration that was in force. A server is known by its name: one that was there before, even a
    /// while ago, has its id again; a new one gets the next that nobody ever had.
    ///
    /// # Errors
    /// There are no ids left for the new ones, because too many came and went: how many.
    pub fn keep_server_ids(&mut self, before: &Self) -> Result<(), usize> {
        let had: BTreeSet<&String> = before.known.iter().collect();
        let new = self.servers.iter().map(|server| &server.name).filter(|name| !had.contains(name));
        let known: Vec<String> = before.known.iter().chain(new).cloned().collect();
        if known.len() > HostId::MOST {
            return Err(known.len());
        }
        self.number_servers(known);
        Ok(())
    }

    /// Gives each server the place of its name as its id.
    pub(crate) fn number_servers(&mut self, known: Vec<String>) {
        let ids: BTreeMap<&String, HostId> = known.iter().zip((0..=u16::MAX).map(HostId)).collect();
        for server in &mut self.servers {
            // Every name is among them, and they are fewer than a u16 holds, or the file was refused.
            server.id = ids.get(&server.name).copied().unwrap_or_default();
        }
        self.known = known;
    }
}
