//! Chance, and settings by chance.

use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_pool::{DatabaseSettings, Guard, HostSettings, UserSettings};

/// xorshift64*, apart from the core's own generator.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.max(1);
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, most: u64) -> u64 {
        (self.next() >> 11) % most
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn of<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        if items.is_empty() { None } else { Some(items[self.below(items.len() as u64) as usize]) }
    }
}

/// Settings small enough that every limit binds now and then.
pub(super) fn settings(dice: &mut Dice) -> HostSettings {
    let mut databases = BTreeMap::new();
    for name in ["a", "b", "c"] {
        if dice.chance(95) {
            databases.insert(name.to_owned(), database(dice));
        }
    }
    let mut users = BTreeMap::new();
    if dice.chance(60) {
        let max_connections = dice.chance(70).then(|| 1 + dice.below(6) as u32);
        let size = dice.chance(30).then(|| 1 + dice.below(5) as u32);
        users.insert("u".to_owned(), UserSettings { max_connections, size, ..UserSettings::default() });
    }
    let millis = |dice: &mut Dice, most: u64| Duration::from_millis(1 + dice.below(most));
    HostSettings {
        guard: Guard::Observe,
        databases,
        any: dice.chance(80).then(|| database(dice)),
        max_any_pools: dice.below(4) as u32,
        any_idle: Duration::from_secs(20 + dice.below(100)),
        users,
        max_user_connections: None,
        max_connections: dice.chance(70).then(|| 2 + dice.below(14) as u32),
        unknown_budget: 6,
        instances: 1 + dice.below(2) as u32,
        connects_start: 1 + dice.below(3) as u32,
        connects_max: 1 + dice.below(6) as u32,
        connect_timeout: millis(dice, 400),
        backoff: (millis(dice, 20), millis(dice, 300)),
        ending_timeout: millis(dice, 600),
        ghost_timeout: millis(dice, 3000),
        affinity_skips: dice.below(4) as u32,
        classes: HostSettings::default().classes,
    }
}

fn database(dice: &mut Dice) -> DatabaseSettings {
    let millis = |dice: &mut Dice, most: u64| Duration::from_millis(1 + dice.below(most));
    let size = 1 + dice.below(6) as u32;
    DatabaseSettings {
        size,
        min_size: if dice.chance(50) { 0 } else { dice.below(4) as u32 },
        reserve: if dice.chance(60) { 0 } else { 1 + dice.below(2) as u32 },
        reserve_after: millis(dice, 40),
        max_connections: dice.chance(40).then(|| 2 + dice.below(6) as u32),
        max_wait: millis(dice, 300),
        pause_wait: millis(dice, 2000),
        down_wait: millis(dice, 1000),
        max_queue: [2, 6, 100][dice.below(3) as usize],
        lifetime: if dice.chance(40) { Duration::ZERO } else { millis(dice, 20_000) },
        idle_timeout: if dice.chance(50) { Duration::ZERO } else { millis(dice, 9000) },
        disabled: dice.chance(3),
        ..DatabaseSettings::default()
    }
}
