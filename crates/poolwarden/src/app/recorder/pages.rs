//! What the core told, as recordings tell it: numbers for names, microseconds for times. Knows no file.

use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_pool::{CheckoutOutcome, CheckoutRecord, HostId, HostSnapshot, LeaseEnd, PoolSnapshot, Reason, Time};
use poolwarden_store::recording::{Barred, Checkout, Outcome, PoolState, Settings, State};

use super::Orders;
use super::names::Names;

/// A longer configuration does not fit into a block, and is told by its hash alone.
const MAX_TEXT: usize = 1_000_000;

/// One request that ended.
pub(super) fn checkout(names: &mut Names, host: HostId, of: &CheckoutRecord) -> Checkout {
    let told = Checkout {
        pool: names.pool(host, of.pool),
        client: of.client,
        class: names.class(of.class.0),
        application: names.application(of.tenant),
        attempt: of.attempt,
        arrived_us: us_of(of.arrived),
        waited_us: us(of.waited()),
        held_us: 0,
        idled_us: 0,
        outcome: Outcome::Abandoned,
        conn: 0,
        connect_us: None,
        barred: None,
    };
    match of.outcome {
        CheckoutOutcome::Abandoned => told,
        CheckoutOutcome::Lent(lease) => Checkout {
            held_us: us(of.held()),
            idled_us: us(lease.idle_in_transaction),
            outcome: match lease.end {
                LeaseEnd::Served => Outcome::Served,
                LeaseEnd::Broken => Outcome::Broken,
                LeaseEnd::Lost => Outcome::Lost,
            },
            conn: u16::try_from(lease.conn).unwrap_or(u16::MAX),
            connect_us: lease.connect.map(us),
            ..told
        },
        CheckoutOutcome::Refused { at_once, reason, limit, binding } => Checkout {
            outcome: match (at_once, reason) {
                (true, _) => Outcome::Refused,
                (false, Reason::Time) => Outcome::TimedOut,
                (false, Reason::Hopeless | Reason::Queue | Reason::Overload | Reason::Shed | Reason::Server) => {
                    Outcome::Shed
                }
            },
            barred: Some(Barred { limit: limit.index() as u8, binding: binding.index() as u8 }), // sixteen limits
            ..told
        },
    }
}

/// How the pools of all hosts stand; pools of one name as one, and those without anything left out.
pub(super) fn state(names: &mut Names, at: Time, hosts: &[(HostId, HostSnapshot)]) -> State {
    let mut pools: BTreeMap<u16, PoolState> = BTreeMap::new();
    let all = hosts.iter().flat_map(|(host, snapshot)| snapshot.pools.iter().map(move |pool| (*host, pool)));
    for (host, pool) in all.filter(|(_, pool)| is_used(pool)) {
        let number = names.pool(host, pool.id);
        let of = pools.entry(number).or_insert(PoolState { pool: number, ..PoolState::default() });
        of.size += pool.size;
        of.open += pool.slots.counted();
        of.lent += pool.slots.lent;
        of.idle += pool.slots.idle;
        of.opening += pool.slots.opening;
        of.waiting += pool.waiting;
    }
    State { at_us: us_of(at), pools: pools.into_values().collect() }
}

fn is_used(pool: &PoolSnapshot) -> bool {
    pool.clients > 0 || pool.waiting > 0 || pool.slots.counted() > 0
}

/// What is in force from that moment on.
pub(super) fn settings(of: &Orders, from_us: u64) -> Settings {
    let text = if of.text.len() > MAX_TEXT { String::new() } else { of.text.to_string() };
    Settings { from_us, version: of.version, hash: of.hash.clone(), text }
}

/// A moment of the process's clock.
pub(super) fn us_of(at: Time) -> u64 {
    at.as_nanos() / 1_000
}

fn us(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use poolwarden_pool::{ClassId, Limit, PoolId};

    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn what_became_of_a_request_is_told_by_its_outcome_and_its_limits() {
        let one = CheckoutRecord {
            pool: PoolId(0),
            class: ClassId(2),
            tenant: 5,
            attempt: 3,
            client: 77,
            arrived: Time::ZERO + ms(1_000),
            until: Time::ZERO + ms(1_020),
            outcome: CheckoutOutcome::Abandoned,
        };
        let mut names = Names::default();
        names.add_pool(HostId(0), PoolId(0), "main\0app\0web".to_owned());
        let mut told = |outcome| checkout(&mut names, HostId(0), &CheckoutRecord { outcome, ..one });
        let left = told(CheckoutOutcome::Abandoned);
        assert_eq!((left.pool, left.class, left.client, left.attempt), (0, 2, 77, 3));
        assert_eq!((left.arrived_us, left.waited_us, left.held_us), (1_000_000, 20_000, 0));
        assert_eq!((left.outcome, left.barred), (Outcome::Abandoned, None));
        let refused = |at_once, reason| {
            let (limit, binding) = (Limit::WaitTime, Limit::HostBudget);
            CheckoutOutcome::Refused { at_once, reason, limit, binding }
        };
        let barred = Some(Barred { limit: 15, binding: 5 });
        for (at_once, reason, outcome) in [
            (true, Reason::Queue, Outcome::Refused),
            (true, Reason::Time, Outcome::Refused),
            (false, Reason::Time, Outcome::TimedOut),
            (false, Reason::Overload, Outcome::Shed),
            (false, Reason::Server, Outcome::Shed),
        ] {
            let refused = told(refused(at_once, reason));
            assert_eq!((refused.outcome, refused.barred), (outcome, barred), "{reason:?}");
        }
        let lease = poolwarden_pool::LeaseRecord {
            ended: Time::ZERO + ms(1_029),
            idle_in_transaction: ms(4),
            end: LeaseEnd::Lost,
            conn: 70_000,
            connect: Some(ms(30)),
        };
        let lent = told(CheckoutOutcome::Lent(lease));
        assert_eq!((lent.held_us, lent.idled_us, lent.outcome), (9_000, 4_000, Outcome::Lost));
        assert_eq!((lent.conn, lent.connect_us, lent.barred), (u16::MAX, Some(30_000), None));
    }

    #[test]
    fn a_state_tells_of_the_pools_that_are_used_and_pools_of_one_name_as_one() {
        use poolwarden_pool::{Action, Handled, Host, HostSettings, Input, LoopId, Opened, PoolKey, Request};
        let any = Some(poolwarden_pool::DatabaseSettings { size: 2, ..Default::default() });
        let mut host = Host::new(HostSettings { any, max_connections: Some(9), ..HostSettings::default() }, 1);
        let mut enter = |input: fn(PoolKey) -> Input| {
            let key = PoolKey { database: "app".to_owned(), user: "web".to_owned() };
            let Handled::Entered(id) = host.handle(Time::ZERO, input(key)) else { panic!("it is let in") };
            id
        };
        let (shared, alone) = (enter(Input::Enter), enter(Input::EnterAlone));
        let key = PoolKey { database: "left".to_owned(), user: "web".to_owned() };
        let Handled::Entered(left) = host.handle(Time::ZERO, Input::Enter(key)) else { panic!("it is let in") };
        host.handle(Time::ZERO, Input::Leave(left));
        let request = Request {
            pool: shared,
            class: ClassId(0),
            tenant: 0,
            attempt: 0,
            deadline: Time::NEVER,
            home: LoopId(0),
            flavor: 0,
            client: 1,
        };
        for _ in 0..3 {
            host.handle(Time::ZERO, Input::Checkout(request));
        }
        let Some(Action::Open { conn, .. }) = host.poll_action() else { panic!("a connect is begun") };
        let opened = Opened { home: LoopId(0), flavor: 0, pid: Some(1) };
        host.handle(Time::ZERO, Input::Opened(conn, Ok(opened)));
        let mut names = Names::default();
        for id in [shared, alone] {
            names.add_pool(HostId(0), id, "main\0app\0web".to_owned());
        }
        let at = Time::ZERO + ms(5);
        let state = state(&mut names, at, &[(HostId(0), host.snapshot(at))]);
        // one of two is lent, the other on its way, two wait; the pool of one client has one place
        let app = PoolState { pool: 0, size: 3, open: 2, lent: 1, idle: 0, opening: 1, waiting: 2 };
        assert_eq!(state, State { at_us: 5_000, pools: vec![app] });
    }

    #[test]
    fn a_configuration_that_is_too_long_is_told_by_its_hash() {
        let orders =
            |length: usize| Orders { hash: "ab".to_owned(), text: "#".repeat(length).into(), ..Orders::default() };
        assert_eq!(settings(&orders(MAX_TEXT), 7).text.len(), MAX_TEXT);
        let long = settings(&orders(MAX_TEXT + 1), 7);
        assert_eq!((long.text.as_str(), long.hash.as_str(), long.from_us), ("", "ab", 7));
    }
}
