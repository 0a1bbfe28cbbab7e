//! The arithmetic of the chain, once: demand of clients, backends that can come, slots that can be used.
//!
//! With symbols of the literature: D = R·(1+u)·W·k·P clients of an application; B = N·Σ over databases of
//! min(Σ over users of size + reserve, the database's limit), within each user's limit and the host budget; U = max_connections
//! less both reserves. Sums saturate.

use super::chain::{App, Bound, Pool, Pooler, Postgres};
use super::dossier::Dossier;

impl Postgres {
    /// Slots that ordinary users can have: max_connections less both reserves (PostgreSQL's defaults where they are not told).
    #[must_use]
    pub fn usable(&self) -> Option<u64> {
        let all = self.max_connections.as_ref()?.value;
        let superuser = self.superuser_reserved.as_ref().map_or(3, |known| known.value);
        let reserved = self.reserved.as_ref().map_or(0, |known| known.value);
        Some(all.saturating_sub(superuser).saturating_sub(reserved))
    }

    /// The same less what others use.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        Some(self.usable()?.saturating_sub(self.others.as_ref().map_or(0, |known| known.value)))
    }
}

impl Pool {
    /// Users that are known to have a pool of this database: at least one.
    #[must_use]
    pub fn known_users(&self) -> u64 {
        self.users.len().max(1) as u64
    }

    /// Server connections of all its known users together, per instance.
    #[must_use]
    pub fn most(&self) -> Bound {
        let each = match self.size.value {
            Bound::Of(size) => Bound::Of(size.saturating_add(self.reserve.value).saturating_mul(self.known_users())),
            Bound::Unlimited => Bound::Unlimited,
        };
        least(each, self.max_connections.value)
    }
}

impl Pooler {
    /// Most backends it can have on `server`, all instances together.
    #[must_use]
    pub fn backends(&self, server: usize) -> Bound {
        let pools = self.pools.iter().filter(|pool| pool.server == server);
        let one = pools.fold(Bound::Of(0), |sum, pool| plus(sum, pool.most()));
        let one = self.budgets.get(&server).map_or(one, |budget| least(one, budget.value));
        times(one, self.instances.value)
    }
}

impl App {
    /// Connections it can open at once, all replicas: with those of a deployment if `surge`.
    #[must_use]
    pub fn demand(&self, surge: bool) -> Option<Bound> {
        let size = self.pool_size.as_ref()?.value;
        let replicas = self.replicas.as_ref()?.value;
        let (Bound::Of(size), Bound::Of(replicas)) = (size, replicas) else { return Some(Bound::Unlimited) };
        let extra = self.surge.as_ref().filter(|_| surge).map_or(0.0, |known| known.value.clamp(0.0, 100.0));
        let replicas = (replicas as f64 * (1.0 + extra)).ceil() as u64;
        let processes = self.processes.as_ref().map_or(1, |known| known.value);
        let pools = self.pools.len().max(1) as u64;
        Some(Bound::Of(size.saturating_mul(replicas).saturating_mul(processes).saturating_mul(pools)))
    }
}

impl Dossier {
    /// The pooler and its pool that an application goes through; `None`: it goes to PostgreSQL itself.
    #[must_use]
    pub fn route(&self, app: &App) -> Option<(&Pooler, &Pool)> {
        let name = &app.pool.as_ref()?.value;
        let exact = self.pools().find(|(_, pool)| pool.name.value == *name);
        exact.or_else(|| self.pools().find(|(_, pool)| pool.name.value == "*"))
    }

    /// Every pool with its pooler.
    pub fn pools(&self) -> impl Iterator<Item = (&Pooler, &Pool)> {
        self.poolers.iter().flat_map(|pooler| pooler.pools.iter().map(move |pool| (pooler, pool)))
    }
}

/// The smaller bound.
#[must_use]
pub fn least(a: Bound, b: Bound) -> Bound {
    match (a, b) {
        (Bound::Of(a), Bound::Of(b)) => Bound::Of(a.min(b)),
        (Bound::Of(of), Bound::Unlimited) | (Bound::Unlimited, Bound::Of(of)) => Bound::Of(of),
        (Bound::Unlimited, Bound::Unlimited) => Bound::Unlimited,
    }
}

/// Both together.
#[must_use]
pub fn plus(a: Bound, b: Bound) -> Bound {
    match (a, b) {
        (Bound::Of(a), Bound::Of(b)) => Bound::Of(a.saturating_add(b)),
        (Bound::Unlimited, _) | (_, Bound::Unlimited) => Bound::Unlimited,
    }
}

/// So many of them.
#[must_use]
pub fn times(a: Bound, count: u64) -> Bound {
    match a {
        Bound::Of(a) => Bound::Of(a.saturating_mul(count)),
        Bound::Unlimited => Bound::Unlimited,
    }
}
