//! The snapshot: a copy of what the core knows, with its integrals brought up to the moment asked for.

use crate::door::BREAKER;
use crate::host::Host;
use crate::limits::{Of, Scope};
use crate::pool::Pool;
use crate::{HostSnapshot, Limit, LimitUse, PoolSnapshot, Time};

impl Host {
    /// What it knows at `now`, which is not before the last call.
    pub(crate) fn view(&self, now: Time) -> HostSnapshot {
        HostSnapshot {
            pools: self.pools.iter().map(|pool| self.pool_view(pool, now)).collect(),
            budget: self.budget(),
            used: self.slots.scopes.host.used,
            connects: (self.pace.in_flight, self.pace.allowed),
            down: self.pace.down,
            moved: self.moved,
            evicted: self.evicted,
            retired: self.retired,
            shed: self
                .shed
                .iter()
                .map(|(&class, until)| (class, until.since(now)))
                .filter(|(_, left)| !left.is_zero())
                .collect(),
        }
    }

    fn pool_view(&self, pool: &Pool, now: Time) -> PoolSnapshot {
        let mut account = pool.account.clone();
        account.lent_until(now, pool.counts.lent);
        account.waited_until(now, pool.queue.len(), pool.spell.map(|spell| spell.binding.limit));
        let head = (pool.queue.len() > 0).then(|| &self.tickets.table[pool.queue.fifo.head as usize]);
        PoolSnapshot {
            id: pool.id,
            key: pool.key.clone(),
            alone: pool.alone,
            mode: pool.rules.mode,
            size: pool.rules.size,
            min_size: pool.rules.min_size,
            reserve: pool.rules.reserve,
            slots: pool.counts,
            clients: pool.clients,
            waiting: pool.queue.len(),
            oldest_wait: head.map_or_else(Default::default, |entry| now.since(entry.since)),
            paused: pool.word.paused,
            disabled: pool.word.disabled || pool.rules.disabled,
            binding: pool.spell.map(|spell| spell.binding.limit),
            limits: self.limits(pool),
            granted: account.granted,
            granted_after_wait: account.granted_after_wait,
            refused: account.refused,
            abandoned: account.abandoned,
            wait_nanos: account.wait_nanos,
            wait_granted: account.wait_granted,
            wait_failed: account.wait_failed,
            hold: account.hold,
            leases: account.leases,
            lent_nanos: account.lent_nanos,
            on_server_nanos: account.on_server_nanos,
            idle_in_transaction_nanos: account.idle_in_transaction_nanos,
            occupancy: account.occupancy,
            connects: account.connects,
            connect: account.connect,
            connects_failed: account.connects_failed,
            connect_failures: account.connect_failures,
            closed: account.closed,
            high_water: (account.lent.high_water(), account.waiting.high_water()),
            failure: pool.failure.clone(),
            classes: pool.fair.view(),
        }
    }

    /// Every limit that applies to the pool, in the documented order.
    fn limits(&self, pool: &Pool) -> Vec<LimitUse> {
        let (scopes, counted) = (&self.slots.scopes, pool.counts.counted());
        let (user, database, host) =
            (scopes.of(Of::User(pool.user)), scopes.of(Of::Database(pool.database)), &scopes.host);
        let binds = self.verdict(pool).limit;
        let mut limits = Vec::new();
        let mut add = |limit: Limit, used: u32, size: Option<u32>| {
            limits.push(LimitUse { limit, used, size, binds: limit == binds });
        };
        add(Limit::PoolSize, counted, Some(pool.rules.size));
        if pool.rules.reserve > 0 {
            add(Limit::Reserve, counted.saturating_sub(pool.rules.size), Some(pool.rules.reserve));
        }
        if pool.fair.reserved > 0 || binds == Limit::ClassShare {
            let kept = pool.fair.reserved.min(pool.rules.size.saturating_sub(1));
            add(Limit::ClassShare, pool.counts.lent, Some(pool.rules.size - kept));
        }
        add(Limit::User, user.used, user.max);
        add(Limit::Database, database.used, database.max);
        add(Limit::HostBudget, host.used, host.max);
        add(Limit::Connects, self.pace.in_flight, Some(self.pace.allowed));
        if binds == BREAKER.limit || self.pace.down || pool.locked {
            add(Limit::Breaker, 0, Some(0));
        }
        for (limit, scope) in [(Limit::PgRole, user), (Limit::PgDatabase, database), (Limit::PgSlots, host)] {
            add(limit, scope.used, pg_size(scope, limit));
        }
        if let Some(learned) = host.learned.filter(|learned| learned.limit != Limit::PgSlots) {
            add(learned.limit, host.used, Some(learned.cap));
        }
        add(Limit::QueueLength, pool.queue.len(), Some(pool.rules.max_queue));
        limits
    }
}

/// What PostgreSQL allows us, by its facts or by what a refusal taught.
fn pg_size(scope: &Scope, limit: Limit) -> Option<u32> {
    let learned = scope.learned.filter(|learned| learned.limit == limit).map(|learned| learned.cap);
    [scope.pg, learned].into_iter().flatten().min()
}
