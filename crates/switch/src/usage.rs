//! Who used what of each pool on this loop: sums over ended leases by application, user, network, route and statement.
//!
//! Each name has a place, and names are bounded: where there is no room, those of the least recent use give up their places in one
//! batch, and what they used goes to everybody else's sum. So sums only grow while a name keeps its place, and one that comes back
//! begins again. Names are told apart by 64 bits. It knows no clock, and allocates for new names only.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;
use std::sync::Arc;

use poolwarden_relay::{Heard, LeaseEnd, Reading, Route};

use crate::client::ClientSlot;
use crate::shared::PoolShare;

/// By what use is added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UsageKind {
    /// What clients call themselves.
    Application,
    /// Whom they logged in as.
    User,
    /// The network they come from: /24 of IPv4, /64 of IPv6, `unix`.
    Network,
    /// The route of the first statement of a lease that names one.
    Route,
    /// The statement that took longest in a lease.
    Query,
}

impl UsageKind {
    /// Every kind once.
    pub const ALL: [Self; 5] = [Self::Application, Self::User, Self::Network, Self::Route, Self::Query];
}

/// Sums over ended leases; times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Leases.
    pub leases: u64,
    /// Time lent.
    pub held: u64,
    /// Of that, with something outstanding.
    pub on_server: u64,
    /// Of that, in a transaction with nothing outstanding.
    pub idle_in_transaction: u64,
    /// Time waited before them.
    pub waited: u64,
    /// Requests refused.
    pub refused: u64,
}

impl Used {
    /// Adds another's sums.
    #[inline]
    pub fn add(&mut self, other: &Self) {
        self.leases += other.leases;
        self.held += other.held;
        self.on_server += other.on_server;
        self.idle_in_transaction += other.idle_in_transaction;
        self.waited += other.waited;
        self.refused += other.refused;
    }

    fn of(end: &LeaseEnd, waited: u64) -> Self {
        let (held, on_server, idle_in_transaction) = (end.held, end.on_server, end.idle_in_transaction);
        Self { leases: 1, held, on_server, idle_in_transaction, waited, refused: 0 }
    }
}

/// What everybody of one name used.
#[derive(Clone, Debug)]
pub struct UsageRow {
    /// Of which pool.
    pub pool: Arc<PoolShare>,
    /// By what.
    pub kind: UsageKind,
    /// The name; `None`: everybody who has no place of their own.
    pub name: Option<UsageName>,
    /// The sums.
    pub used: Used,
}

/// Who, or what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageName {
    /// An application, user, network or route.
    Text(Arc<str>),
    /// A statement.
    Query(Arc<Reading>),
}

/// Most names of one pool and kind on one loop: more than anybody reads, and a week's routes of most applications.
const MOST_NAMES: usize = 256;
/// Most names on one loop: with a statement each they take four megabytes.
const MOST_PLACES: usize = 8192;
/// One in so many of those that stand in the way give up their places at once, so that a new name costs little on average.
const BATCH: usize = 4;
/// Of a name so many bytes are kept (PostgreSQL keeps 63 of an application's).
const MOST_NAME: usize = 100;
/// Places that were used last, by statement and route: a power of two.
const MEMO: usize = 1024;

const KINDS: usize = UsageKind::ALL.len();

/// Names of one pool and kind: the pool's number and the kind's.
type Group = usize;

/// A name's place.
#[derive(Debug)]
struct Place {
    group: Group,
    id: u64,
    /// `None`: nobody's.
    name: Option<UsageName>,
    used: Used,
    /// Nanoseconds on the server, halved whenever others gave up their places.
    recent: u64,
    /// Tells this name from the ones before it in the same place.
    generation: u32,
}

/// Where a name was found.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    place: u32,
    generation: u32,
}

/// Whose use it is.
struct Who<'a> {
    application: &'a str,
    user: &'a str,
    remote: Option<SocketAddr>,
}

/// Whose sums a client's leases go to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Payer {
    /// For which settings it was found.
    flavor: u64,
    /// In which state of the table; 0: it never was found.
    epoch: u64,
    pool: usize,
    found: [Found; 3],
}

/// What is to be charged for a lease that goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bill {
    pub(crate) payer: Payer,
    pub(crate) waited: u64,
}

/// The sums of one loop.
#[derive(Debug)]
pub(crate) struct Usage {
    places: Vec<Place>,
    free: Vec<u32>,
    known: BTreeMap<(Group, u64), u32>,
    memo: Vec<u32>,
    /// By group.
    others: Vec<Used>,
    counts: Vec<u16>,
    /// By number; those that are counted.
    pools: Vec<Option<Arc<PoolShare>>>,
    /// Grows whenever names gave up their places, from 1.
    epoch: u64,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            known: BTreeMap::new(),
            memo: vec![0; MEMO],
            others: Vec::new(),
            counts: Vec::new(),
            pools: Vec::new(),
            epoch: 1,
        }
    }
}

impl Usage {
    /// Whose sums the next lease of this client goes to; `None`: a pool of one client is not counted.
    #[inline]
    pub(crate) fn payer(&mut self, client: &mut ClientSlot) -> Option<Payer> {
        let flavor = client.relay.settings.flavor();
        if client.payer.epoch == self.epoch && client.payer.flavor == flavor {
            return Some(client.payer);
        }
        self.find(client, flavor)
    }

    #[cold]
    fn find(&mut self, client: &mut ClientSlot, flavor: u64) -> Option<Payer> {
        if client.pool.is_alone() {
            return None;
        }
        let application = client.relay.settings.value("application_name").unwrap_or_default();
        let who = Who { application, user: client.user(), remote: client.remote };
        client.payer = Payer { flavor, ..self.payer_of(&client.pool, &who) };
        Some(client.payer)
    }

    fn payer_of(&mut self, pool: &Arc<PoolShare>, who: &Who<'_>) -> Payer {
        if self.pools.len() <= pool.number {
            self.pools.resize(pool.number + 1, None);
            self.others.resize((pool.number + 1) * KINDS, Used::default());
            self.counts.resize((pool.number + 1) * KINDS, 0);
        }
        self.pools[pool.number].get_or_insert_with(|| pool.clone());
        let text = |text: &str| UsageName::Text(cut(text).into());
        let (group, network) = (pool.number * KINDS, Network::of(who.remote));
        let epoch = self.epoch; // of before: a name that is here may have to give way to the next one
        let found = [
            self.found(group, hash(who.application), || text(who.application)),
            self.found(group + 1, hash(who.user), || text(who.user)),
            self.found(group + 2, network.id(), || text(&network.name())),
        ];
        Payer { flavor: 0, epoch, pool: pool.number, found }
    }

    fn found(&mut self, group: Group, id: u64, name: impl FnOnce() -> UsageName) -> Found {
        let place = self.place(group, id, name);
        Found { place, generation: self.places.get(place as usize).map_or(0, |of| of.generation) }
    }

    /// A lease has ended.
    pub(crate) fn charge(&mut self, bill: &Bill, end: &LeaseEnd, heard: &Heard) {
        let used = Used::of(end, bill.waited);
        self.add(&bill.payer, &used);
        if let Some(route) = heard.route() {
            self.add_route(bill.payer.pool, route, &used);
        }
        if let Some(statement) = heard.longest().filter(|statement| statement.fingerprint != 0) {
            self.add_query(bill.payer.pool, statement, &used);
        }
    }

    #[inline]
    fn add_route(&mut self, pool: usize, route: &Route, used: &Used) {
        let place = self.remembered(pool * KINDS + 3, route.hash, || UsageName::Text(route.name.clone()));
        self.add_at(place, used);
    }

    #[inline]
    fn add_query(&mut self, pool: usize, statement: &Arc<Reading>, used: &Used) {
        let name = || UsageName::Query(statement.clone());
        let place = self.remembered(pool * KINDS + 4, statement.fingerprint, name);
        self.add_at(place, used);
    }

    /// A request of this client is refused.
    pub(crate) fn refused(&mut self, client: &mut ClientSlot) {
        if let Some(payer) = self.payer(client) {
            self.add(&payer, &Used { refused: 1, ..Used::default() });
        }
    }

    #[inline]
    fn add(&mut self, payer: &Payer, used: &Used) {
        for (kind, found) in payer.found.iter().enumerate() {
            match self.places.get_mut(found.place as usize) {
                Some(place) if place.generation == found.generation => place.add(used),
                Some(_) | None => self.others[payer.pool * KINDS + kind].add(used), // it gave up its place meanwhile
            }
        }
    }

    #[inline]
    fn add_at(&mut self, place: u32, used: &Used) {
        if let Some(place) = self.places.get_mut(place as usize) {
            place.add(used);
        }
    }

    /// The place of a name that comes again and again.
    #[inline]
    fn remembered(&mut self, group: Group, id: u64, name: impl FnOnce() -> UsageName) -> u32 {
        let slot = (id as usize ^ (group << 3)) % MEMO;
        let place = self.memo[slot];
        if self.places.get(place as usize).is_some_and(|of| of.id == id && of.group == group && of.name.is_some()) {
            return place;
        }
        let place = self.place(group, id, name);
        self.memo[slot] = place;
        place
    }

    /// The place of a name, which it is given where it has none.
    #[cold]
    fn place(&mut self, group: Group, id: u64, name: impl FnOnce() -> UsageName) -> u32 {
        if let Some(place) = self.known.get(&(group, id)) {
            return *place;
        }
        if usize::from(self.counts[group]) >= MOST_NAMES {
            self.make_room(Some(group));
        } else if self.known.len() >= MOST_PLACES {
            self.make_room(None);
        }
        let at = self.free.pop().unwrap_or_else(|| {
            let used = Used::default();
            self.places.push(Place { group, id, name: None, used, recent: 0, generation: 0 });
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX) // `MOST_PLACES` is far below
        });
        let place = &mut self.places[at as usize];
        (place.group, place.id, place.name) = (group, id, Some(name()));
        self.counts[group] += 1;
        self.known.insert((group, id), at);
        at
    }

    /// Some of a group, or of all, give up their places: those of the least use since the last time.
    fn make_room(&mut self, group: Option<Group>) {
        let (from, to) = group.map_or((0, Group::MAX), |group| (group, group));
        let mut all: Vec<(u64, u32)> = self
            .known
            .range((from, 0)..=(to, u64::MAX))
            .map(|(_, at)| (self.places[*at as usize].recent, *at))
            .collect();
        all.sort_unstable();
        let (least, rest) = all.split_at(all.len().div_ceil(BATCH));
        for (_, at) in rest {
            self.places[*at as usize].recent /= 2;
        }
        for (_, at) in least {
            let place = &mut self.places[*at as usize];
            let used = std::mem::take(&mut place.used);
            (place.name, place.recent, place.generation) = (None, 0, place.generation.wrapping_add(1));
            self.known.remove(&(place.group, place.id));
            self.counts[place.group] -= 1;
            self.others[place.group].add(&used);
            self.free.push(*at);
        }
        self.epoch += 1;
    }

    /// All sums.
    pub(crate) fn rows(&self) -> Vec<UsageRow> {
        let named =
            self.places.iter().filter(|place| place.name.is_some()).map(|of| (of.group, of.name.clone(), of.used));
        let others = self.others.iter().enumerate().filter(|(_, used)| **used != Used::default());
        let row = |(group, name, used): (Group, Option<UsageName>, Used)| {
            let pool = self.pools.get(group / KINDS)?.clone()?;
            Some(UsageRow { pool, kind: UsageKind::ALL[group % KINDS], name, used })
        };
        named.chain(others.map(|(group, used)| (group, None, *used))).filter_map(row).collect()
    }
}

impl Place {
    #[inline]
    fn add(&mut self, used: &Used) {
        self.used.add(used);
        self.recent += used.on_server;
    }
}

/// The network of a client.
enum Network {
    Unix,
    V4([u8; 3]),
    V6([u16; 4]),
}

impl Network {
    fn of(remote: Option<SocketAddr>) -> Self {
        match remote.map(|remote| remote.ip().to_canonical()) {
            None => Self::Unix,
            Some(IpAddr::V4(addr)) => {
                let [a, b, c, _] = addr.octets();
                Self::V4([a, b, c])
            }
            Some(IpAddr::V6(addr)) => {
                let [a, b, c, d, ..] = addr.segments();
                Self::V6([a, b, c, d])
            }
        }
    }

    /// Another for every network that is in use.
    fn id(&self) -> u64 {
        match *self {
            Self::Unix => 1,
            Self::V4([a, b, c]) => u64::from(u32::from_be_bytes([1, a, b, c])),
            Self::V6([a, b, c, d]) => u64::from(a) << 48 | u64::from(b) << 32 | u64::from(c) << 16 | u64::from(d),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Unix => "unix".to_owned(),
            Self::V4([a, b, c]) => format!("{a}.{b}.{c}.0/24"),
            Self::V6([a, b, c, d]) => format!("{}/64", core::net::Ipv6Addr::new(*a, *b, *c, *d, 0, 0, 0, 0)),
        }
    }
}

fn cut(name: &str) -> &str {
    let end = (0..=MOST_NAME.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    &name[..end]
}

/// FNV-1a over what is kept of a name.
pub(crate) fn hash(name: &str) -> u64 {
    cut(name)
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests;
