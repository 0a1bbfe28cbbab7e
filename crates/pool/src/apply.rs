//! New settings, swapped in whole.

use crate::host::Host;
use crate::{Event, Handled, HostSettings, PoolId, Time};

impl Host {
    /// New settings are in force from now on: sizes and limits at once, modes with the next lease, lent connections
    /// beyond a smaller limit when they come back.
    pub(crate) fn apply(&mut self, settings: HostSettings) -> Handled {
        self.settings = settings;
        self.pace.apply(&self.settings);
        let ids: Vec<PoolId> = self.pools.iter().map(|pool| pool.id).collect();
        for id in ids {
            let rules = self.rules(&self.pools[id].key);
            let pool = &mut self.pools[id];
            pool.dropped = rules.is_none();
            if let Some((rules, any)) = rules {
                (pool.rules, pool.any) = (if pool.alone { rules.alone() } else { rules }, any);
                pool.fair.weigh(&self.settings.classes, &pool.rules.classes);
            }
            pool.locked = false;
            pool.retry_at = Time::ZERO;
            self.add_chore(id);
        }
        self.size_scopes();
        for scope in self.slots.scopes.all_mut() {
            scope.barren_until = Time::ZERO;
        }
        for index in 0..self.slots.table.len() as u32 {
            let slot = &mut self.slots.table[index as usize];
            if slot.state == crate::slot::State::Idle {
                slot.look = match self.pools[slot.pool].rules.idle_timeout {
                    std::time::Duration::ZERO => Time::NEVER,
                    span => slot.since + span,
                };
            }
            self.rearm(index);
        }
        (self.trim, self.recount) = (true, true);
        self.turn.events.push_back(Event::Applied);
        Handled::Done
    }
}
