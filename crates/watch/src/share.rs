//! Whose fault the waiting is: every second of it goes to the limit that bound, and from there to what the connections under that
//! limit were doing.
//!
//! Where connections were forgotten, idle in transaction, locked or slow, and the rest of the demand would fit under the limit
//! without them, the limit is innocent: raising it would feed the fault. Where it would not fit, both have their part.

use poolwarden_pool::Limit;

use crate::case::Case;
use crate::cause::CauseCode;
use crate::memory::Memory;
use crate::span::Span;

/// A cause that explains less than this is not named.
pub(crate) const SUPPORTED: f64 = 0.15;
/// Connections that are used in no ordinary way are looked at from this share of the lent ones on.
const ODD: f64 = 0.2;
/// Leases this many times as long as usual say that PostgreSQL is slower, if its backends are busy.
pub(crate) const INFLATED: f64 = 1.5;
/// Traffic this many times as large as usual has grown.
pub(crate) const GROWN: f64 = 1.5;
/// So many of the arrivals must be refused requests that come again, for a storm.
pub(crate) const STORM: f64 = 0.3;
/// So many of the lent connections' backends must be busy, for a saturated PostgreSQL.
pub(crate) const BUSY: f64 = 0.5;

/// By cause, in the order of `CauseCode::ALL`: the share of the wait that it explains.
pub(crate) type Shares = [f64; CauseCode::ALL.len()];

pub(crate) fn shares(case: &Case<'_>) -> Shares {
    let mut shares = [0.0; CauseCode::ALL.len()];
    if case.is_down() {
        let down = if case.is_unreachable() { CauseCode::Network } else { CauseCode::PgDown };
        shares[down.index()] = 1.0;
        return shares;
    }
    if !case.troubled {
        return shares;
    }
    for limit in Limit::ALL {
        let part = part(case, limit);
        if part > 0.0 {
            split(case, limit, part, &mut shares);
        }
    }
    from_pool_size(case, &mut shares);
    shares
}

/// The part of the waiting that was for this limit; where nobody waited, of the refusals.
pub(crate) fn part(case: &Case<'_>, limit: Limit) -> f64 {
    if case.window.waited() > 0 {
        return case.window.share(limit);
    }
    crate::span::ratio(case.window.refused_by[limit.index()], case.window.refused)
}

/// What a limit's part is called when nothing is wrong with who holds what it counts; `None`: it does not count connections.
fn named(case: &Case<'_>, limit: Limit) -> (CauseCode, bool) {
    match limit {
        Limit::PoolSize | Limit::Reserve | Limit::QueueLength | Limit::WaitTime => (CauseCode::PoolTooSmall, true),
        Limit::ClassShare => (CauseCode::ClassShare, true),
        Limit::User => (CauseCode::UserLimit, true),
        Limit::Database => (CauseCode::DatabaseLimit, true),
        Limit::HostBudget if squeezed(case) => (CauseCode::PgSlots, true),
        Limit::HostBudget => (CauseCode::HostBudget, true),
        Limit::PgRole => (CauseCode::PgRoleLimit, true),
        Limit::PgDatabase => (CauseCode::PgDatabaseLimit, true),
        Limit::PgSlots => (CauseCode::PgSlots, true),
        Limit::Connects => (CauseCode::ConnectLimited, false),
        Limit::Breaker => (CauseCode::PgDown, false),
        Limit::MaxClients | Limit::Fds | Limit::Memory => (CauseCode::ClientLimit, false),
    }
}

/// A budget that follows from what others leave is theirs to free.
fn squeezed(case: &Case<'_>) -> bool {
    let more = case.others().is_some_and(|others| others > case.host.snapshot.budget);
    case.has_auto_budget() && more
}

fn split(case: &Case<'_>, limit: Limit, part: f64, shares: &mut Shares) {
    let (own, counts) = named(case, limit);
    let scope = case.scope(limit);
    let uses = &scope.occupancy;
    let odd = [
        (CauseCode::LockConvoy, uses.share(uses.locked)),
        (CauseCode::IdleInTransaction, uses.share(uses.idle)),
        (CauseCode::Leak, uses.share(uses.stuck)),
        (CauseCode::SlowQuery, uses.share(uses.slow)),
    ];
    let all: f64 = odd.iter().map(|(_, share)| share).sum();
    if !counts || all < ODD {
        shares[own.index()] += part;
        return;
    }
    let blamed = if fits(case, limit, &scope, 1.0 - all) { part } else { part * all };
    shares[own.index()] += part - blamed;
    for (code, share) in odd {
        let code = renamed(case, code);
        shares[code.index()] += blamed * share / all;
    }
}

/// What looks forgotten or idle may be clients that wait for a second connection; what is slow may be everything.
fn renamed(case: &Case<'_>, code: CauseCode) -> CauseCode {
    let idle = matches!(code, CauseCode::IdleInTransaction | CauseCode::Leak);
    if idle && is_nested(case) {
        CauseCode::NestedCheckout
    } else if code == CauseCode::SlowQuery && is_spread(case) {
        CauseCode::PgSaturated
    } else {
        code
    }
}

/// Whether what is left of the demand without what is odd would fit under the limit, with a reserve of its square root.
fn fits(case: &Case<'_>, limit: Limit, scope: &Span, ordinary: f64) -> bool {
    let Some(size) = case.size(limit) else { return true };
    // Little's law on ordinary leases alone: their mean number over their rate is their hold
    let hold = if scope.leases == 0 { 0.0 } else { scope.lent() * ordinary / scope.per_second(scope.leases) };
    let load = scope.per_second(scope.arrivals()) * hold;
    load + load.sqrt() <= f64::from(size)
}

/// Several kinds of statements are slow, none of them most of all, and PostgreSQL is busy with them.
fn is_spread(case: &Case<'_>) -> bool {
    let uses = case.uses();
    let top = uses.slow_by.first().map_or(0, |(_, count)| *count);
    let many = uses.slow_by.len() >= 3 && f64::from(top) < 0.6 * f64::from(uses.slow);
    many && is_busy(case)
}

/// Whether most of the pool's backends work rather than sleep, as PostgreSQL says.
pub(crate) fn is_busy(case: &Case<'_>) -> bool {
    let uses = case.uses();
    uses.told > 0 && f64::from(uses.busy) >= BUSY * f64::from(uses.told)
}

/// All connections are idle in transaction, nothing ends, the holders came in one burst, and who waits is who holds.
pub(crate) fn is_nested(case: &Case<'_>) -> bool {
    let uses = case.uses();
    let still = case.window.leases == 0 && uses.lent > 0 && uses.idle + uses.stuck == uses.lent;
    if !still || case.pool.waiting == 0 {
        return false;
    }
    let held: Vec<u64> = case.leases().map(|(_, lease)| lease.held_us).collect();
    let (Some(oldest), Some(newest)) = (held.iter().max(), held.iter().min()) else { return false };
    let burst = oldest - newest <= (oldest / 4).max(500_000);
    let holds = |application: &str, addr: &str| {
        case.leases().any(|(_, lease)| lease.application == application && lease.addr == addr)
    };
    let own = |waiter: &&crate::WaiterView| waiter.host == case.host.id && waiter.pool == case.pool.id;
    let mut waiters = case.view.waiters.iter().filter(own).peekable();
    held.len() > 1
        && burst
        && waiters.peek().is_some()
        && waiters.all(|waiter| holds(&waiter.application, &waiter.addr))
}

/// What the pool's size is blamed for may be what is new: longer holds everywhere, a storm of retries, more traffic.
fn from_pool_size(case: &Case<'_>, shares: &mut Shares) {
    let blamed = shares[CauseCode::PoolTooSmall.index()];
    let Some(size) = case.size(Limit::PoolSize).filter(|_| blamed > 0.0) else { return };
    let fits = |arrivals: f64, hold_us: f64| {
        let load = arrivals * hold_us / 1e6;
        load + load.sqrt() <= f64::from(size)
    };
    let arrivals = case.window.per_second(case.window.arrivals());
    let hold = case.window.hold_us().unwrap_or_default();
    let cause = if is_busy(case) && inflated(case).is_some_and(|usual| fits(arrivals, usual)) {
        CauseCode::PgSaturated
    } else if storm(case).is_some_and(|again| fits(arrivals * (1.0 - again), hold)) {
        CauseCode::RetryStorm
    } else if grown(case, case.memory).is_some_and(|usual| fits(usual, hold)) {
        CauseCode::DemandGrowth
    } else {
        return;
    };
    shares[CauseCode::PoolTooSmall.index()] = 0.0;
    shares[cause.index()] += blamed;
}

/// The usual hold in microseconds, where holds are inflated now.
pub(crate) fn inflated(case: &Case<'_>) -> Option<f64> {
    let (usual, now) = (case.memory.usual.hold_us()?, case.window.hold_us()?);
    (now >= usual * INFLATED).then_some(usual)
}

/// The share of arrivals that came again at once after a refusal, where that is a storm.
pub(crate) fn storm(case: &Case<'_>) -> Option<f64> {
    let again = crate::span::ratio(case.window.reattempts, case.window.arrivals());
    (again >= STORM).then_some(again)
}

/// The usual arrivals per second, where there are many more now.
pub(crate) fn grown(case: &Case<'_>, memory: &Memory) -> Option<f64> {
    let usual = memory.usual.arrivals()?;
    (case.window.per_second(case.window.arrivals()) >= usual * GROWN).then_some(usual)
}
