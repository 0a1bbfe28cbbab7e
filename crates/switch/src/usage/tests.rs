//! Sums stay right and small whatever names come by.

use poolwarden_pool::{DatabaseSettings, Handled, HostId, HostSettings, Input, PoolKey, Time};

use super::*;
use crate::shared::{Desk, Shared};
use crate::terms::TermsBook;

const MILLION: u64 = 1_000_000;

fn pools(count: usize) -> Vec<Arc<PoolShare>> {
    let settings = HostSettings { any: Some(DatabaseSettings::default()), ..HostSettings::default() };
    let shared: Shared<()> = Shared::new(vec![settings], 1, 1, TermsBook::default());
    let enter = |number| {
        let key = PoolKey { database: format!("db{number}"), user: "web".into() };
        let handled = shared.drive(Time::ZERO, HostId(0), Input::Enter(key), &mut Desk::new(None));
        let Handled::Entered(id) = handled else { panic!("{handled:?}") };
        shared.pool(HostId(0), id).unwrap()
    };
    (0..count).map(enter).collect()
}

fn used(on_server: u64) -> Used {
    Used { leases: 1, held: on_server + 1, on_server, idle_in_transaction: 1, waited: 2, refused: 0 }
}

/// A lease of one application.
fn lease(usage: &mut Usage, pool: &Arc<PoolShare>, application: &str, used: &Used) {
    let payer = usage.payer_of(pool, &Who { application, user: "web", remote: None });
    usage.add(&payer, used);
}

/// What has a name at all, with all that belongs to it.
fn bytes(usage: &Usage) -> usize {
    let name = |name: &UsageName| match name {
        UsageName::Text(text) => text.len(),
        UsageName::Query(reading) => size_of::<Reading>() + reading.text.len(),
    };
    let names: usize = usage.places.iter().filter_map(|place| place.name.as_ref()).map(name).sum();
    let entry = size_of::<((Group, u64), u32)>();
    names
        + usage.places.capacity() * size_of::<Place>()
        + usage.known.len() * 2 * entry // a node of the tree is at least half full
        + usage.free.capacity() * size_of::<u32>()
        + usage.others.capacity() * size_of::<Used>()
}

fn sum(rows: &[UsageRow], kind: UsageKind) -> Used {
    let mut sum = Used::default();
    rows.iter().filter(|row| row.kind == kind).for_each(|row| sum.add(&row.used));
    sum
}

fn of<'a>(rows: &'a [UsageRow], kind: UsageKind, name: Option<&str>) -> Option<&'a Used> {
    let same = |row: &&UsageRow| match (&row.name, name) {
        (Some(UsageName::Text(text)), Some(name)) => &**text == name,
        (None, None) => true,
        (Some(_) | None, _) => false,
    };
    rows.iter().filter(|row| row.kind == kind).find(same).map(|row| &row.used)
}

#[test]
fn a_million_applications_take_no_more_room_than_a_few_and_lose_nothing() {
    let pool = &pools(1)[0];
    let mut usage = Usage::default();
    let mut most = 0;
    for number in 0..MILLION {
        lease(&mut usage, pool, &format!("application number {number}"), &used(number % 7));
        if number % 100 == 0 {
            lease(&mut usage, pool, "shop", &used(1_000));
        }
        if number % 50_000 == 0 {
            most = most.max(bytes(&usage));
        }
    }
    assert!(most < 100_000, "{most} bytes");
    // each time room is made it costs one look at a group's names, and makes room for a quarter of them
    let times = usage.epoch - 1;
    assert!(times <= MILLION / (MOST_NAMES / BATCH) as u64 + 1, "room was made {times} times");
    let rows = usage.rows();
    let names = rows.iter().filter(|row| row.kind == UsageKind::Application && row.name.is_some()).count();
    assert!((MOST_NAMES / 2..=MOST_NAMES).contains(&names), "{names}");
    assert_eq!(sum(&rows, UsageKind::Application).leases, MILLION + MILLION / 100);
    assert_eq!(
        sum(&rows, UsageKind::Application),
        sum(&rows, UsageKind::User),
        "everybody's sums are the same by every kind"
    );
    let shop = of(&rows, UsageKind::Application, Some("shop")).expect("who is busy keeps its place");
    assert_eq!((shop.leases, shop.on_server), (MILLION / 100, MILLION * 10));
}

#[test]
fn a_million_statements_take_no_more_room_than_a_few() {
    let pool = &pools(1)[0];
    let mut usage = Usage::default();
    lease(&mut usage, pool, "shop", &used(1));
    let usual = Arc::new(Reading::of(b"select usual"));
    let mut most = 0;
    for number in 0..MILLION {
        let mut statement = Reading::clone(&usual);
        statement.fingerprint = number + 1;
        usage.add_query(pool.number, &Arc::new(statement), &used(3));
        if number % 50 == 0 {
            usage.add_query(pool.number, &usual, &used(1_000));
        }
        if number % 50_000 == 0 {
            most = most.max(bytes(&usage));
        }
    }
    assert!(most < 200_000, "{most} bytes");
    let rows = usage.rows();
    assert_eq!(sum(&rows, UsageKind::Query).leases, MILLION + MILLION / 50);
    let query = |row: &&UsageRow| row.name == Some(UsageName::Query(usual.clone()));
    assert_eq!(rows.iter().find(query).map(|row| row.used.leases), Some(MILLION / 50));
}

#[test]
fn many_pools_share_one_bound() {
    let pools = pools(100);
    let mut usage = Usage::default();
    for number in 0..200_000 {
        let pool = &pools[number % pools.len()];
        lease(&mut usage, pool, &format!("application {}", number / pools.len() % 250), &used(1));
    }
    assert!(usage.known.len() <= MOST_PLACES);
    assert_eq!(usage.known.len() + usage.free.len(), usage.places.len());
    assert_eq!(sum(&usage.rows(), UsageKind::Application).leases, 200_000);
    assert_eq!(sum(&usage.rows(), UsageKind::Network).leases, 200_000);
    let counted: usize = usage.counts.iter().map(|count| usize::from(*count)).sum();
    assert_eq!(counted, usage.known.len());
}

#[test]
fn a_name_that_lost_its_place_pays_for_everybody_until_it_is_found_again() {
    let pool = &pools(1)[0];
    let mut usage = Usage::default();
    let payer = usage.payer_of(pool, &Who { application: "shop", user: "web", remote: None });
    usage.add(&payer, &used(5));
    for number in 0..2 * MOST_NAMES as u64 {
        lease(&mut usage, pool, &number.to_string(), &used(100));
    }
    assert_ne!(payer.epoch, usage.epoch, "whoever asks again looks for its places");
    assert_eq!(of(&usage.rows(), UsageKind::Application, Some("shop")), None);
    let before = of(&usage.rows(), UsageKind::Application, None).copied().unwrap();
    usage.add(&payer, &used(5));
    let mut more = before;
    more.add(&used(5));
    assert_eq!(of(&usage.rows(), UsageKind::Application, None), Some(&more), "a lease that went on meanwhile");
    lease(&mut usage, pool, "shop", &used(7));
    assert_eq!(of(&usage.rows(), UsageKind::Application, Some("shop")), Some(&used(7)), "it begins again");
}

#[test]
fn networks_are_told_apart_and_named() {
    let network = |text: &str| Network::of(Some(text.parse().unwrap()));
    for (one, other, name) in [
        ("10.1.2.3:5", "10.1.2.250:6", "10.1.2.0/24"),
        ("[::ffff:10.1.2.3]:5", "10.1.2.4:6", "10.1.2.0/24"),
        ("[2001:db8:1:2:3:4:5:6]:5", "[2001:db8:1:2::1]:6", "2001:db8:1:2::/64"),
        ("[::1]:5", "[::2]:6", "::/64"),
    ] {
        assert_eq!((network(one).name().as_str(), network(one).id()), (name, network(other).id()));
    }
    let ids = ["10.1.2.3:5", "10.1.3.3:5", "0.0.0.1:5", "[::1]:5", "[2001:db8::1]:5", "[2001:db9::1]:5"];
    let mut ids: Vec<u64> = ids.into_iter().map(|text| network(text).id()).chain([Network::of(None).id()]).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), Network::of(None).name().as_str()), (7, "unix"));
}

#[test]
fn a_name_is_kept_up_to_its_bound() {
    let pool = &pools(1)[0];
    let mut usage = Usage::default();
    let long = "é".repeat(500);
    lease(&mut usage, pool, &long, &used(1));
    lease(&mut usage, pool, &long[..200], &used(1));
    let rows = usage.rows();
    assert_eq!(of(&rows, UsageKind::Application, Some(&long[..MOST_NAME])).map(|used| used.leases), Some(2));
}
