//! How many server connections a pool can have before one of its limits stops it, and which: what a change of settings moves.

use poolwarden_pool::{HostSnapshot, Limit, PoolKey, PoolSnapshot};

use crate::remedy;

/// The limit a pool meets first when it grows, others' use counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// Which limit.
    pub limit: Limit,
    /// The setting it comes from.
    pub setting: String,
    /// Its size.
    pub size: u32,
    /// How much of it is used now, by everybody it counts.
    pub used: u32,
    /// Server connections the pool has by then.
    pub connections: u32,
}

/// One pool before and after a change that was rehearsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Which pool.
    pub pool: PoolKey,
    /// Its size after the change, its reserve not counted.
    pub size: u32,
    /// Requests that wait for it now.
    pub waiting: u32,
    /// `None`: nothing limited it.
    pub before: Option<Ceiling>,
    /// `None`: nothing limits it.
    pub after: Option<Ceiling>,
}

impl Moved {
    /// Whether the pool can have another number of server connections than before.
    #[must_use]
    pub fn is_effective(&self) -> bool {
        let connections = |of: &Option<Ceiling>| of.as_ref().map(|ceiling| ceiling.connections);
        connections(&self.before) != connections(&self.after)
    }
}

/// The ceiling of one pool. The pacing of connects and a breaker pass by themselves and are none.
#[must_use]
pub fn ceiling(host: &str, pool: &PoolSnapshot) -> Option<Ceiling> {
    let lasting = pool.limits.iter().filter(|of| !matches!(of.limit, Limit::Connects | Limit::Breaker));
    let rooms = lasting.filter_map(|of| Some((of.size?.saturating_sub(of.used), of.size?, of)));
    // of equal ones the one that the core itself names
    let (room, size, of) = rooms.min_by_key(|(room, _, of)| (*room, !of.binds))?;
    Some(Ceiling {
        limit: of.limit,
        setting: remedy::setting(of.limit, host, &pool.key),
        size,
        used: of.used,
        connections: pool.slots.counted() + room,
    })
}

/// Every pool that is there before and after, in the core's order.
#[must_use]
pub fn moved(host: &str, before: &HostSnapshot, after: &HostSnapshot) -> Vec<Moved> {
    let both = before.pools.iter().filter_map(|old| Some((old, after.pools.iter().find(|new| new.id == old.id)?)));
    let moved = |(old, new): (&PoolSnapshot, &PoolSnapshot)| Moved {
        pool: old.key.clone(),
        size: new.size,
        waiting: old.waiting,
        before: ceiling(host, old),
        after: ceiling(host, new),
    };
    both.map(moved).collect()
}

#[cfg(test)]
mod tests {
    use poolwarden_pool::{DatabaseSettings, Host, HostSettings, Input, Time, UserSettings};

    use super::*;

    fn settings(size: u32, user: u32) -> HostSettings {
        let mut settings = HostSettings::default();
        settings.databases.insert("app".into(), DatabaseSettings { size, ..DatabaseSettings::default() });
        settings.users.insert("web".into(), UserSettings { max_connections: Some(user), ..UserSettings::default() });
        settings
    }

    #[test]
    fn a_pool_raised_behind_its_users_limit_can_have_no_more() {
        let mut host = Host::new(settings(20, 3), 1);
        host.handle(Time::default(), Input::Enter(PoolKey { database: "app".into(), user: "web".into() }));
        let now = host.snapshot(Time::default());
        let told = |more: HostSettings| moved("main", &now, &host.rehearse(Time::default(), more)).remove(0);
        let in_vain = told(settings(50, 3));
        assert!(!in_vain.is_effective(), "{in_vain:?}");
        let after = in_vain.after.expect("it is limited");
        assert_eq!(
            (after.limit, after.setting.as_str(), after.connections),
            (Limit::User, "users.web.max_connections", 3)
        );
        let helps = told(settings(20, 50));
        assert!(helps.is_effective(), "{helps:?}");
        let after = helps.after.expect("it is limited");
        assert_eq!((after.limit, after.connections), (Limit::PoolSize, 20));
        assert_eq!(host.snapshot(Time::default()), now, "a rehearsal changes nothing");
    }
}
