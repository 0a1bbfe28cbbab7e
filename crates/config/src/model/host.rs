//! What the core of one server is told, from all sections that concern it.

use poolwarden_pool::{DatabaseSettings, Guard as CoreGuard, HostSettings, UserSettings};

use super::{Config, Guard, Pool, User};

impl Config {
    /// What the core of one server obeys.
    ///
    /// # Panics
    /// When `server` is not an index of [`Config::servers`].
    #[must_use]
    pub fn host_settings(&self, server: usize) -> HostSettings {
        let host = &self.servers[server];
        let ids = self.class_ids();
        let of_users = || self.users.values().filter_map(|user| ids.get(user.class.as_deref()?).copied());
        let settings = |pool: &Pool| {
            let mut classes = self.assigned(pool.class.as_deref());
            if pool.user.is_some() {
                classes.extend(of_users()); // whoever is forced into the role shares its pool, with a class of their own
            }
            DatabaseSettings { classes, ..pool.settings.clone() }
        };
        let mine = |(name, pool): (&String, &Pool)| {
            (pool.server == server && name != "*").then(|| (name.clone(), settings(pool)))
        };
        let own = |(name, user): (&String, &User)| {
            let class = user.class.as_deref().and_then(|class| ids.get(class).copied());
            let settings = UserSettings { class, ..user.settings.clone() };
            (settings != UserSettings::default()).then(|| (name.clone(), settings))
        };
        HostSettings {
            databases: self.pools.iter().filter_map(mine).collect(),
            any: self.pools.get("*").filter(|pool| pool.server == server).map(settings),
            classes: self.class_settings(),
            guard: match self.poolwarden.guard {
                Guard::Enforce => CoreGuard::Enforce,
                Guard::Observe => CoreGuard::Observe,
            },
            users: self.users.iter().filter_map(own).collect(),
            max_any_pools: self.limits.max_any_pools,
            max_connections: host.max_connections,
            max_user_connections: host.max_user_connections,
            instances: host.instances,
            connects_start: host.connects_start,
            connects_max: host.connects_max,
            connect_timeout: host.connect_timeout,
            ghost_timeout: host.ghost_timeout,
            ..HostSettings::default()
        }
    }
}
