//! The arithmetic of the chain, once: demand of clients, backends that can come, slots that can be used.
//!
//! With symbols of the literature: D = R·(1+u)·W·k·P clients of an application; B = N·Σ over databases of
//! min(Σ over users of size + reserve, the database's limit), within each user's limit and the host budget; U = max_connections
//! less both reserves. Sums saturate. Where users of a pool are not known they count as one: B is then what is certain to be
//! possible, never more.

use std::collections::BTreeSet;

use super::chain::{App, Bound, Pool, Pooler, Postgres};
use super::dossier::Dossier;
use super::place::Known;

/// Stands for the user, or the database, that nobody named.
const ANY: &str = "*";

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

    /// Server connections of one user of it: the size and its reserve.
    #[must_use]
    pub fn each(&self) -> Bound {
        plus(self.size.value, Bound::Of(self.reserve.value))
    }

    /// The same of this user, who may have a size of their own.
    #[must_use]
    pub fn of_user(&self, user: &str) -> Bound {
        self.own_sizes.get(user).map_or_else(|| self.each(), |own| plus(own.value, Bound::Of(self.reserve.value)))
    }

    /// Server connections of all its known users together, per instance.
    #[must_use]
    pub fn most(&self) -> Bound {
        least(self.names().map(|user| self.of_user(user)).fold(Bound::Of(0), plus), self.max_connections.value)
    }

    /// The names of its users; one that stands for anybody where none is known.
    fn names(&self) -> impl Iterator<Item = &str> {
        let any = self.users.is_empty().then_some(ANY);
        self.users.iter().map(String::as_str).chain(any)
    }
}

impl Pooler {
    /// Whether it has a pool on `server`.
    #[must_use]
    pub fn uses(&self, server: usize) -> bool {
        self.pools.iter().any(|pool| pool.server == server)
    }

    /// Most server connections of a user, per instance.
    #[must_use]
    pub fn user_limit(&self, user: &str) -> Bound {
        let limit = self.users.get(user).or_else(|| self.users.get(ANY));
        limit.map_or(Bound::Unlimited, |known| known.value)
    }

    /// The user of a pool whose own limit keeps it below the pool's size, and that limit; of several the smallest. None where it is
    /// the database's limit or the host budget that decides.
    #[must_use]
    pub fn tightest_user<'a>(&'a self, pool: &'a Pool) -> Option<(&'a str, &'a Known<Bound>)> {
        let limits =
            pool.names().filter_map(|user| Some((user, self.users.get(user).or_else(|| self.users.get(ANY))?)));
        let (user, limit) = limits.min_by_key(|(_, limit)| limit.value.number().unwrap_or(u64::MAX))?;
        let most = least(pool.most(), self.within_budget(pool.server, Bound::Unlimited));
        let below = limit.value.number()? < pool.of_user(user).number().unwrap_or(u64::MAX);
        (below && self.pool_most(pool).number()? < most.number().unwrap_or(u64::MAX)).then_some((user, limit))
    }

    /// Most server connections of one pool, per instance, within its users' limits, its database's and the host budget.
    #[must_use]
    pub fn pool_most(&self, pool: &Pool) -> Bound {
        let users = pool.names().map(|user| least(pool.of_user(user), self.user_limit(user)));
        self.within_budget(pool.server, least(users.fold(Bound::Of(0), plus), pool.max_connections.value))
    }

    /// Most backends one instance can have on `server`: every pool within its limits, every user within theirs, all within the
    /// host budget. The smaller of two cuts, by databases and by users: where limits of both kinds bind in part it is a little
    /// more than can be.
    #[must_use]
    pub fn instance_backends(&self, server: usize) -> Bound {
        let pools = || self.pools.iter().filter(|pool| pool.server == server);
        let by_database = pools().fold(Bound::Of(0), |sum, pool| plus(sum, self.pool_most(pool)));
        let users: BTreeSet<&str> = pools().flat_map(Pool::names).collect();
        let by_user =
            users.into_iter().fold(Bound::Of(0), |sum, user| plus(sum, self.instance_backends_of(server, user)));
        self.within_budget(server, least(by_database, by_user))
    }

    /// Most backends of one user on `server`, per instance.
    fn instance_backends_of(&self, server: usize, user: &str) -> Bound {
        let pools = self.pools.iter().filter(|pool| pool.server == server && pool.names().any(|name| name == user));
        let all =
            pools.fold(Bound::Of(0), |sum, pool| plus(sum, least(pool.of_user(user), pool.max_connections.value)));
        self.within_budget(server, least(all, self.user_limit(user)))
    }

    /// Most backends of a role on `server`, all instances together.
    #[must_use]
    pub fn role_backends(&self, server: usize, role: &str) -> Bound {
        times(self.instance_backends_of(server, role), self.instances.value)
    }

    /// Most backends it can have on `server`, all instances together.
    #[must_use]
    pub fn backends(&self, server: usize) -> Bound {
        times(self.instance_backends(server), self.instances.value)
    }

    /// The value that decides [`Pooler::instance_backends`]: the host budget, or the database's limit or the size of its
    /// largest pool.
    #[must_use]
    pub fn deciding(&self, server: usize) -> Option<&Known<Bound>> {
        let pools = self.pools.iter().filter(|pool| pool.server == server);
        let largest = pools.max_by_key(|pool| pool.most().number().unwrap_or(u64::MAX))?;
        if let Some(budget) = self.budgets.get(&server)
            && self.instance_backends(server) == budget.value
        {
            return Some(budget);
        }
        let bound = largest.max_connections.value;
        let capped = bound != Bound::Unlimited && largest.most() == bound;
        Some(if capped { &largest.max_connections } else { &largest.size })
    }

    fn within_budget(&self, server: usize, most: Bound) -> Bound {
        self.budgets.get(&server).map_or(most, |budget| least(most, budget.value))
    }
}

impl App {
    /// Pools of it, all replicas, processes and purposes together: R·(1+u)·W·k, with u if `surge`.
    #[must_use]
    pub fn pool_count(&self, surge: bool) -> Option<Bound> {
        let Bound::Of(replicas) = self.replicas.as_ref()?.value else { return Some(Bound::Unlimited) };
        let extra = self.surge.as_ref().filter(|_| surge).map_or(0.0, |known| known.value.clamp(0.0, 100.0));
        let replicas = (replicas as f64 * (1.0 + extra)).ceil() as u64;
        let processes = self.processes.as_ref().map_or(1, |known| known.value);
        Some(times(times(Bound::Of(replicas), processes), self.pools.len().max(1) as u64))
    }

    /// Connections it can open at once, all replicas: with those of a deployment if `surge`.
    #[must_use]
    pub fn demand(&self, surge: bool) -> Option<Bound> {
        let size = self.pool_size.as_ref()?.value;
        Some(match (self.pool_count(surge)?, size) {
            (Bound::Of(count), Bound::Of(size)) => Bound::Of(count.saturating_mul(size)),
            (Bound::Unlimited, _) | (_, Bound::Unlimited) => Bound::Unlimited,
        })
    }

    /// Connections in use on average at the peak that is declared: arrivals times hold (Little's law).
    #[must_use]
    pub fn load(&self) -> Option<f64> {
        Some(self.peak_rate.as_ref()?.value * self.hold.as_ref()?.value.as_secs_f64())
    }
}

/// Who opens backends on a server.
#[derive(Clone, Copy, Debug)]
pub enum Consumer<'a> {
    /// A pooler.
    Pooler(&'a Pooler),
    /// An application that goes there without one.
    App(&'a App),
}

/// All that opens backends on one server with the most each can have, the greediest first; what is unlimited or unknown is not
/// in it.
#[derive(Debug, Default)]
pub struct Consumers<'a>(pub Vec<(Consumer<'a>, u64)>);

impl Consumers<'_> {
    /// All together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, (_, most)| sum.saturating_add(*most))
    }
}

impl Dossier {
    /// The pooler and its pool that an application goes through; `None`: it goes to PostgreSQL itself.
    #[must_use]
    pub fn route(&self, app: &App) -> Option<(&Pooler, &Pool)> {
        let name = &app.pool.as_ref()?.value;
        if app.address.is_some() && self.postgres.iter().any(|postgres| postgres.address == app.address) {
            return None;
        }
        let exact = self.pools().find(|(_, pool)| pool.name.value == *name);
        exact.or_else(|| self.pools().find(|(_, pool)| pool.name.value == ANY))
    }

    /// The server an application connects to itself; `None`: through a pooler, or nobody knows where.
    #[must_use]
    pub fn direct_server(&self, app: &App) -> Option<usize> {
        if self.route(app).is_some() {
            return None;
        }
        let same = self.postgres.iter().position(|postgres| app.address.is_some() && postgres.address == app.address);
        let alone = || match self.postgres.as_slice() {
            [one] if app.address.is_none() || one.address.is_none() => {
                (self.poolers.is_empty() || app.pool.is_some()).then_some(0)
            }
            _ => None,
        };
        same.or_else(alone)
    }

    /// Applications that go to `server` without a pooler.
    pub fn direct(&self, server: usize) -> impl Iterator<Item = &App> {
        self.apps.iter().filter(move |app| self.direct_server(app) == Some(server))
    }

    /// Applications that go through `pooler`, with the pool each uses.
    pub fn clients<'a>(&'a self, pooler: &'a Pooler) -> impl Iterator<Item = (&'a App, &'a Pool)> {
        self.apps.iter().filter_map(move |app| {
            let (through, pool) = self.route(app)?;
            std::ptr::eq(through, pooler).then_some((app, pool))
        })
    }

    /// Who opens how many backends on `server`, with those of a deployment if `surge`. A host budget that is `auto` gives way
    /// to the others: it takes what they leave.
    #[must_use]
    pub fn consumers(&self, server: usize, surge: bool) -> Consumers<'_> {
        let mut all = Consumers::default();
        for app in self.direct(server) {
            if let Some(Bound::Of(most)) = app.demand(surge) {
                all.0.push((Consumer::App(app), most));
            }
        }
        let left = self.postgres.get(server).and_then(Postgres::left).unwrap_or(u64::MAX);
        for auto in [false, true] {
            for pooler in self
                .poolers
                .iter()
                .filter(|pooler| pooler.auto_budgets.contains(&server) == auto && pooler.uses(server))
            {
                if let Bound::Of(most) = pooler.backends(server) {
                    let room = if auto { left.saturating_sub(all.total()) } else { u64::MAX };
                    all.0.push((Consumer::Pooler(pooler), most.min(room)));
                }
            }
        }
        all.0.sort_by_key(|(_, most)| std::cmp::Reverse(*most));
        all
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

/// How much more than its share the fullest of several instances has: 5 clients for 4.
const UNEVEN: (u64, u64) = (5, 4);

/// What the fullest of so many instances has of `clients`: connections never spread evenly.
#[must_use]
pub(crate) fn fullest(clients: u64, instances: u64) -> u64 {
    let (more, of) = UNEVEN;
    if instances <= 1 { clients } else { clients.saturating_mul(more).div_ceil(of.saturating_mul(instances)) }
}

#[cfg(test)]
mod tests {
    use super::{Bound, Dossier, fullest};
    use crate::review::source::{Input, gather};

    fn dossier(text: &str) -> Dossier {
        let whole = format!("[servers.main]\nhost = \"db\"\n{text}");
        gather(&[Input::File { name: "poolwarden.toml".to_owned(), text: whole }], &mut |_| Err(String::new())).dossier
    }

    const USERS: &str = "[users.a]\npassword_env = \"A\"\n[users.b]\npassword_env = \"B\"\nmax_connections = 5\n";

    fn backends(budget: &str, pools: &str) -> Bound {
        dossier(&format!("{budget}\n{pools}\n{USERS}")).poolers[0].backends(0)
    }

    #[test]
    fn every_limit_counts_users_databases_the_host_and_the_instances() {
        let open = "max_connections = \"unlimited\"";
        // a: 10 + 2 in each of two databases; b: 5 over both
        let two = "[pools.x]\nsize = 10\nreserve = 2\n[pools.y]\nsize = 10\nreserve = 2";
        assert_eq!(backends(open, two), Bound::Of(12 + 12 + 5));
        // a size of one of several users counts for that user alone, with the reserve
        let own = "[pools.x]\nsize = 10\nreserve = 2\n[users.c]\npassword_env = \"C\"\npool_size = 30";
        assert_eq!(backends(open, own), Bound::Of(12 + 5 + 32));
        assert_eq!(backends(open, &format!("{own}\nmax_connections = 4")), Bound::Of(12 + 5 + 4));
        // the database ends at 15 for both of its users
        assert_eq!(backends(open, "[pools.x]\nsize = 10\nmax_connections = 13"), Bound::Of(13));
        assert_eq!(backends("max_connections = 20", two), Bound::Of(20));
        assert_eq!(backends("max_connections = 20\ninstances = 3", two), Bound::Of(60));
    }

    #[test]
    fn an_auto_budget_takes_what_the_others_leave() {
        let text = "[pools.x]\nsize = 90\n[users.a]\npassword_env = \"A\"\n[topology.postgres]\nmax_connections = 100\n\
                    [[topology.app]]\nname = \"direct\"\npool = \"elsewhere\"\nreplicas = 3\nsurge = 0.34\nprocesses = 2\n\
                    pool_size = 5\n";
        let dossier = dossier(text);
        let most = |surge| dossier.consumers(0, surge).0.iter().map(|(_, most)| *most).collect::<Vec<_>>();
        assert_eq!((most(false), most(true)), (vec![67, 30], vec![50, 47]));
    }

    #[test]
    fn the_fullest_of_several_instances_has_a_quarter_more() {
        assert_eq!(
            [fullest(800, 1), fullest(800, 2), fullest(801, 2), fullest(u64::MAX, 2)],
            [800, 500, 501, u64::MAX / 8 + 1]
        );
    }
}
