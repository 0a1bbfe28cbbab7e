//! The model's limits: what they are, in the documented order, counted anew each time.

use poolwarden_pool::Limit;

use super::model::{Model, S, Who};

/// How many more connections there may be, and what says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) left: u32,
    pub(crate) limit: Limit,
    pub(crate) size: u32,
    pub(crate) used: u32,
}

impl Room {
    fn new(limit: Limit, size: u32, used: u32) -> Self {
        Self { left: size.saturating_sub(used), limit, size, used }
    }

    /// Whose connections count against the limit, if other pools' do.
    pub(crate) fn shared(&self, model: &Model, pool: usize) -> Option<Who> {
        let [user, database, host] = model.circles(pool);
        match self.limit {
            Limit::User | Limit::PgRole => Some(user),
            Limit::Database | Limit::PgDatabase => Some(database),
            Limit::HostBudget | Limit::PgSlots => Some(host),
            Limit::PoolSize
            | Limit::Reserve
            | Limit::ClassShare
            | Limit::Connects
            | Limit::Breaker
            | Limit::MaxClients
            | Limit::Fds
            | Limit::Memory
            | Limit::QueueLength
            | Limit::WaitTime => None,
        }
    }
}

impl Model {
    /// The configured size of a shared limit.
    pub(crate) fn max(&self, who: &Who) -> Option<u32> {
        match who {
            Who::User(user) => {
                let own = self.settings.users.get(user).and_then(|user| user.max_connections);
                own.or(self.settings.max_user_connections)
            }
            Who::Database(name) => {
                self.settings.databases.get(name).or(self.settings.any.as_ref()).and_then(|db| db.max_connections)
            }
            Who::Host => Some(match (self.settings.max_connections, &self.facts) {
                (Some(max), _) => max,
                (None, Some(facts)) if facts.max_connections > 0 => {
                    let free =
                        i64::from(facts.max_connections) - i64::from(facts.reserved) - i64::from(facts.others) - 2;
                    (free / i64::from(self.settings.instances.max(1))).max(1) as u32
                }
                (None, _) => self.settings.unknown_budget,
            }),
        }
    }

    fn reserve_open(&self, pool: usize) -> bool {
        let p = &self.pools[pool];
        let after = p.rules.reserve_after.as_nanos() as u64;
        p.rules.reserve > 0 && p.queue.first().is_some_and(|wait| wait.since + after <= self.now)
    }

    pub(crate) fn own_room(&self, pool: usize) -> Room {
        let (rules, used) = (&self.pools[pool].rules, self.count(pool, |_| true));
        if self.reserve_open(pool) {
            return Room::new(Limit::PoolSize, rules.size + rules.reserve, used);
        }
        if rules.reserve > 0 && used >= rules.size {
            return Room { left: 0, limit: Limit::Reserve, size: rules.reserve, used: used - rules.size };
        }
        Room::new(Limit::PoolSize, rules.size, used)
    }

    /// Every limit in order; the smallest wins, of equals the first.
    pub(crate) fn room(&self, pool: usize) -> Room {
        let mut rooms = vec![self.own_room(pool)];
        let circles = self.circles(pool);
        let used = |who: &Who| self.count_of(who, |_| true);
        for (who, limit) in circles.iter().zip([Limit::User, Limit::Database, Limit::HostBudget]) {
            if let Some(max) = self.max(who) {
                rooms.push(Room::new(limit, max, used(who)));
            }
        }
        for (who, limit) in circles.iter().zip([Limit::PgRole, Limit::PgDatabase, Limit::PgSlots]) {
            if let Some(&size) = self.pg.get(who) {
                rooms.push(Room::new(limit, size, used(who)));
            }
            if let Some(learned) = self.learned.get(who) {
                let due = self.now >= learned.retry_at;
                let size = if due { learned.cap.max(used(who)) + 1 } else { learned.cap };
                rooms.push(Room::new(learned.limit, size, used(who)));
            }
        }
        let least = rooms.iter().map(|room| room.left).min().expect("the pool's own size is always a limit");
        *rooms.iter().find(|room| room.left == least).expect("the minimum is one of them")
    }

    /// What keeps the pool from having one more.
    pub(crate) fn verdict(&self, pool: usize) -> Room {
        let waiting = self.pools[pool].queue.len() as u32;
        let connects = Room { left: 0, limit: Limit::Connects, size: self.allowed, used: self.in_flight() };
        let breaker = Room { left: 0, limit: Limit::Breaker, size: 0, used: 0 };
        if waiting > 0 && !self.lends(pool) {
            return Room { left: 0, limit: Limit::WaitTime, size: 0, used: 0 };
        }
        if waiting > 0 && self.pools[pool].locked {
            return breaker;
        }
        if waiting > 0 && waiting <= self.count(pool, |c| matches!(c.state, S::Opening { .. })) {
            return if self.down { breaker } else { connects };
        }
        let room = self.room(pool);
        if room.left == 0 || self.want(pool) == 0 {
            room
        } else if self.pools[pool].retry_at > self.now || self.not_before > self.now {
            breaker
        } else {
            connects
        }
    }
}

/// SplitMix64 as published, uniform in `0..=most` by multiplication.
pub(crate) fn jitter(state: &mut u64, most: u64) -> u64 {
    *state = state.wrapping_add(0x9e3779b97f4a7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d049bb133111eb);
    z ^= z >> 31;
    ((u128::from(z) * (u128::from(most) + 1)) >> 64) as u64
}
