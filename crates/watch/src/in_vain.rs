//! What a change of settings did not achieve: a limit was raised, and another one binds.
//!
//! Compares two snapshots of one host, before and after; knows nothing of files.

use poolwarden_pool::{HostSnapshot, Limit, LimitUse, PoolSnapshot};

use crate::remedy;

/// More than this many lines nobody reads after RELOAD; the last one says how many were left out.
const MAX_LINES: usize = 10;

/// One line per pool and limit that was raised although another limit of the pool binds, and would have bound first.
///
/// Pools that were not there before, and limits that were not known, were not raised. The pacing of connects binds for
/// a moment only: what was raised takes effect behind it.
#[must_use]
pub fn raised_in_vain(host: &str, before: &HostSnapshot, after: &HostSnapshot) -> Vec<String> {
    let mut lines = Vec::new();
    for new in &after.pools {
        let Some(old) = before.pools.iter().find(|old| old.id == new.id) else { continue };
        let binds = new.limits.iter().find(|of| of.binds && of.limit != Limit::Connects);
        let Some(binding) = binds else { continue };
        let room = before_room(old, binding);
        for raised in new.limits.iter().filter(|of| of.limit != binding.limit) {
            if let Some(from) = raised_from(old, raised).filter(|_| room <= before_room(old, raised)) {
                lines.push(line(host, new, (raised, from), binding));
            }
        }
    }
    let more = lines.len().saturating_sub(MAX_LINES);
    if more > 0 {
        lines.truncate(MAX_LINES);
        lines.push(format!("and {more} more; SHOW LIMITS lists every limit and which binds"));
    }
    lines
}

/// How many more connections the limit left before; `MAX` is unlimited or not known.
fn before_room(old: &PoolSnapshot, of: &LimitUse) -> u32 {
    let before = old.limits.iter().find(|before| before.limit == of.limit);
    before.and_then(|before| Some(before.size?.saturating_sub(before.used))).unwrap_or(u32::MAX)
}

/// The size before, if it was smaller. Pacing and back-off move by themselves: nobody raised them.
fn raised_from(old: &PoolSnapshot, new: &LimitUse) -> Option<u32> {
    if matches!(new.limit, Limit::Connects | Limit::Breaker) {
        return None;
    }
    let from = old.limits.iter().find(|of| of.limit == new.limit)?.size?;
    new.size.is_none_or(|size| size > from).then_some(from)
}

fn line(host: &str, pool: &PoolSnapshot, (raised, from): (&LimitUse, u32), binding: &LimitUse) -> String {
    let to = raised.size.map_or("unlimited".to_owned(), |size| size.to_string());
    let size = binding.size.map_or("unlimited".to_owned(), |size| size.to_string());
    format!(
        "pool \"{}\" (user \"{}\"): {} raised from {from} to {to} has no effect: {} binds ({} of {size} used); {}",
        pool.key.database,
        pool.key.user,
        remedy::setting(raised.limit, host, &pool.key),
        binding.limit.name(),
        binding.used,
        remedy::next_step(binding.limit, host, &pool.key),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use poolwarden_pool::{Mode, PoolId, PoolKey, Slots};

    use super::*;

    fn of(limit: Limit, used: u32, size: Option<u32>, binds: bool) -> LimitUse {
        LimitUse { limit, used, size, binds }
    }

    fn host(pools: u32, limits: &[LimitUse]) -> HostSnapshot {
        HostSnapshot {
            pools: (0..pools).map(|id| pool(id, limits)).collect(),
            budget: 80,
            used: 3,
            connects: (0, 4),
            down: false,
            moved: 0,
            evicted: 0,
            retired: (0, 0, 0),
            shed: Vec::new(),
        }
    }

    fn pool(id: u32, limits: &[LimitUse]) -> PoolSnapshot {
        PoolSnapshot {
            alone: false,
            id: PoolId(id),
            key: PoolKey { database: "app".into(), user: "web".into() },
            mode: Mode::Transaction,
            size: 20,
            min_size: 0,
            reserve: 0,
            slots: Slots::default(),
            clients: 0,
            waiting: 0,
            oldest_wait: Duration::ZERO,
            paused: false,
            disabled: false,
            binding: None,
            limits: limits.to_vec(),
            granted: 0,
            granted_after_wait: 0,
            refused: [0; 16],
            abandoned: 0,
            wait_nanos: [0; 16],
            wait_granted: [0; 16],
            wait_failed: [0; 16],
            hold: [0; 16],
            leases: 0,
            lent_nanos: 0,
            on_server_nanos: 0,
            idle_in_transaction_nanos: 0,
            occupancy: [0; 12],
            connects: 0,
            connect: [0; 16],
            connects_failed: 0,
            connect_failures: Vec::new(),
            closed: [0; 10],
            high_water: (0, 0),
            failure: None,
            classes: Vec::new(),
        }
    }

    #[test]
    fn a_raised_pool_under_a_users_limit_is_named() {
        let user = of(Limit::User, 3, Some(3), true);
        let before = host(1, &[of(Limit::PoolSize, 3, Some(20), false), user.clone()]);
        let after = host(1, &[of(Limit::PoolSize, 3, Some(50), false), user]);
        assert_eq!(
            raised_in_vain("main", &before, &after),
            [
                "pool \"app\" (user \"web\"): pools.app.size raised from 20 to 50 has no effect: user binds (3 of 3 used); \
              raise users.web.max_connections, or shorten the hold time"
            ]
        );
    }

    #[test]
    fn what_bound_first_and_was_raised_helped_as_far_as_the_next_limit() {
        let pool = |binds| of(Limit::PoolSize, 1, Some(20), binds);
        let before = host(1, &[pool(false), of(Limit::User, 1, Some(3), true)]);
        let after = host(1, &[pool(true), of(Limit::User, 1, Some(50), false)]);
        assert_eq!(raised_in_vain("main", &before, &after), [""; 0]);
    }

    #[test]
    fn pacing_binds_for_a_moment_only() {
        let connects = of(Limit::Connects, 4, Some(4), true);
        let before = host(1, &[of(Limit::PoolSize, 3, Some(20), false), connects.clone()]);
        let after = host(1, &[of(Limit::PoolSize, 3, Some(50), false), connects]);
        assert_eq!(raised_in_vain("main", &before, &after), [""; 0]);
    }

    #[test]
    fn what_helped_what_was_lowered_and_what_moves_by_itself_is_not() {
        let cases = [
            // the raised limit itself binds, at its new size
            (of(Limit::User, 3, Some(3), true), of(Limit::User, 5, Some(5), true)),
            (of(Limit::PoolSize, 3, Some(20), false), of(Limit::PoolSize, 3, Some(10), false)),
            (of(Limit::Connects, 4, Some(4), false), of(Limit::Connects, 4, Some(8), false)),
            (of(Limit::PgSlots, 3, None, false), of(Limit::PgSlots, 3, Some(97), false)),
        ];
        for (old, new) in cases {
            let binding = of(Limit::HostBudget, 9, Some(9), !new.binds);
            let (before, after) = (host(1, &[old, binding.clone()]), host(1, &[new.clone(), binding]));
            assert_eq!(raised_in_vain("main", &before, &after), [""; 0], "{new:?}");
        }
    }

    #[test]
    fn many_pools_are_summed_up() {
        let user = of(Limit::User, 3, Some(3), true);
        let before = host(25, &[of(Limit::PoolSize, 3, Some(20), false), user.clone()]);
        let after = host(26, &[of(Limit::PoolSize, 3, None, false), user]);
        let lines = raised_in_vain("main", &before, &after);
        assert_eq!(lines.len(), MAX_LINES + 1);
        assert!(lines[0].contains("raised from 20 to unlimited"));
        assert!(lines[MAX_LINES].starts_with("and 15 more"));
    }
}
