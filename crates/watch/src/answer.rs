//! One pool's answer, put together from its case.

use poolwarden_pool::Limit;

use crate::ChangeView;
use crate::case::{Case, RECENT_MS};
use crate::cause::{self, CauseCode};
use crate::forecast::{Forecast, Forecasts};
use crate::gain;
use crate::occupancy::Use;
use crate::remedy;
use crate::why::{Binding, Cause, Gain, Holder, MAX_HOLDERS, PoolState, PoolWhy, Rates, Verdict};

/// No cause is the one, if none explains so much of the wait.
const MIXED: f64 = 0.6;
/// Traffic or holds may grow so many times before waits become routine: less is tight.
const TIGHT: f64 = 1.25;

pub(crate) fn answer(case: &Case<'_>, forecasts: &Forecasts) -> PoolWhy {
    let causes = cause::judge(case);
    let gains = gain::gains(case);
    let binding = binding(case);
    let top = causes.first().filter(|cause| cause.verdict == Verdict::Supported);
    let forecast = forecasts.of(case);
    let state = state(case, forecast.headroom);
    let waits =
        case.troubled && top.is_some_and(|top| !matches!(top.code, CauseCode::Upstream | CauseCode::ClientLimit));
    PoolWhy {
        pool: case.pool.key.database.clone(),
        user: case.pool.key.user.clone(),
        server: case.host.name.clone(),
        state,
        waiting_for_ms: case
            .memory
            .troubled_since_ms
            .filter(|_| case.troubled)
            .map(|since| case.view.now_ms.saturating_sub(since)),
        lent: case.pool.slots.lent,
        open: case.pool.slots.counted(),
        waiting: case.pool.waiting,
        oldest_wait_ms: crate::span::millis(case.pool.oldest_wait),
        rates: rates(case),
        demand: case.memory.demands.iter().copied().collect(),
        binds: case.troubled && binding.is_some(),
        mixed: waits && top.is_some_and(|top| top.share < MIXED),
        next_step: next_step(case, state, top, &gains, &forecast),
        binding,
        gains,
        causes,
        holders: holders(case, MAX_HOLDERS),
        changes: changes(case),
        forecast,
    }
}

fn rates(case: &Case<'_>) -> Rates {
    let window = case.window;
    Rates {
        window_s: window.long_us as f64 / 1e6,
        arrivals: window.per_second(window.arrivals()),
        granted: window.per_second(window.granted),
        refused: window.per_second(window.refused),
        abandoned: window.per_second(window.abandoned),
        completed: window.per_second(window.leases),
        lent: window.lent(),
        waiting: window.waiting(),
        wait_us: window.wait_us(),
        hold_us: window.hold_us(),
        usual_arrivals: case.memory.usual.arrivals(),
        usual_hold_us: case.memory.usual.hold_us(),
    }
}

/// The limit for which most was waited; where nobody waits, the one that would bind.
fn binding(case: &Case<'_>) -> Option<Binding> {
    let would = || case.pool.limits.iter().find(|of| of.binds).map(|of| of.limit);
    let waited = case.troubled.then_some(case.waited_for.or(case.pool.binding)).flatten();
    let limit = waited.or_else(would)?;
    let (used, size) = case.limit(limit).map_or((0, None), |of| case.shown(of));
    Some(Binding { limit, setting: remedy::setting(limit, &case.host.name, &case.pool.key), size, used })
}

fn state(case: &Case<'_>, headroom: Option<f64>) -> PoolState {
    if case.pool.paused {
        PoolState::Paused
    } else if case.is_down() {
        PoolState::Down
    } else if case.troubled {
        PoolState::Saturated
    } else if headroom.is_some_and(|headroom| headroom < TIGHT) {
        PoolState::Tight
    } else {
        PoolState::Calm
    }
}

fn next_step(case: &Case<'_>, state: PoolState, top: Option<&Cause>, gains: &[Gain], forecast: &Forecast) -> String {
    if state == PoolState::Paused {
        return format!("poolwarden resume {}", case.pool.key.database);
    }
    let Some(top) = top else {
        let foreseen = forecast.exhaustion.as_ref().filter(|_| matches!(state, PoolState::Calm | PoolState::Tight));
        if let Some(foreseen) = foreseen {
            return foreseen.next_step.clone();
        }
        return match state {
            PoolState::Calm => "nothing to do".to_owned(),
            PoolState::Tight => format!(
                "little room is left: {}",
                widen(gains).unwrap_or_else(|| "see what holds its connections".to_owned())
            ),
            PoolState::Saturated if case.is_too_early() => {
                "look again in a few seconds: what holds the connections is being told apart".to_owned()
            }
            PoolState::Saturated | PoolState::Paused | PoolState::Down => {
                "see the causes below: none explains enough of the wait".to_owned()
            }
        };
    };
    let limit = limit_of(top.code);
    let raise = limit.and_then(|limit| gains.iter().find(|gain| gain.limit == limit)).and_then(raised);
    raise.unwrap_or_else(|| top.next_step.clone())
}

/// The limit that a cause is, where raising it may help.
fn limit_of(code: CauseCode) -> Option<Limit> {
    match code {
        CauseCode::PoolTooSmall => Some(Limit::PoolSize),
        CauseCode::UserLimit => Some(Limit::User),
        CauseCode::DatabaseLimit => Some(Limit::Database),
        CauseCode::HostBudget => Some(Limit::HostBudget),
        CauseCode::PgRoleLimit => Some(Limit::PgRole),
        CauseCode::PgDatabaseLimit => Some(Limit::PgDatabase),
        CauseCode::ClassShare
        | CauseCode::ConnectLimited
        | CauseCode::PgSlots
        | CauseCode::PgDown
        | CauseCode::Network
        | CauseCode::LockConvoy
        | CauseCode::IdleInTransaction
        | CauseCode::Leak
        | CauseCode::NestedCheckout
        | CauseCode::SlowQuery
        | CauseCode::PgSaturated
        | CauseCode::DemandGrowth
        | CauseCode::RetryStorm
        | CauseCode::ScaleOut
        | CauseCode::Upstream
        | CauseCode::ClientLimit
        | CauseCode::PoolwardenBusy
        | CauseCode::ConfigurationChange => None,
    }
}

/// To what a limit should be raised, if that helps.
fn raised(gain: &Gain) -> Option<String> {
    let enough = gain.enough?;
    let from = gain.size.map_or_else(|| "unlimited".to_owned(), |size| size.to_string());
    let limit = match gain.limit {
        Limit::PgRole | Limit::PgDatabase => format!("set {} to {enough} (now {from})", gain.setting),
        Limit::PoolSize | Limit::User | Limit::Database | Limit::HostBudget => {
            format!("set {} = {enough} (now {from})", gain.setting)
        }
        Limit::Reserve
        | Limit::ClassShare
        | Limit::Connects
        | Limit::Breaker
        | Limit::MaxClients
        | Limit::PgSlots
        | Limit::Fds
        | Limit::Memory
        | Limit::QueueLength
        | Limit::WaitTime => return None,
    };
    Some(format!("{limit}: {:.0} requests/s more", gain.per_second))
}

fn widen(gains: &[Gain]) -> Option<String> {
    let first = gains.iter().find(|gain| gain.connections.is_none_or(|more| more > 0))?;
    Some(format!("raise {} before it is needed", first.setting))
}

/// Its lent connections, longest first.
pub(crate) fn holders(case: &Case<'_>, most: usize) -> Vec<Holder> {
    let yard = case.memory.yardstick();
    let mut holders: Vec<Holder> = case
        .leases()
        .map(|(server, lease)| Holder {
            conn: server.id,
            pool: case.pool.key.database.clone(),
            user: case.pool.key.user.clone(),
            server: case.host.name.clone(),
            pid: server.remote_pid,
            stuck: case.backends.usage(server, lease, yard) == Use::Stuck,
            blocked_by: blockers(case, server.remote_pid),
            lease: lease.clone(),
        })
        .collect();
    holders.sort_by(|a, b| b.lease.held_us.cmp(&a.lease.held_us).then(a.conn.cmp(&b.conn)));
    holders.truncate(most);
    holders
}

fn blockers(case: &Case<'_>, pid: Option<u32>) -> Vec<u32> {
    pid.and_then(|pid| case.backends.backend(pid)).map_or_else(Vec::new, |backend| backend.blocked_by.clone())
}

/// Recent changes of settings that this pool obeys, newest first.
fn changes(case: &Case<'_>) -> Vec<ChangeView> {
    let now = case.view.now_ms;
    let prefixes = [
        format!("pools.{}.", case.pool.key.database),
        format!("users.{}.", case.pool.key.user),
        format!("servers.{}.", case.host.name),
        "classes.".to_owned(),
        "limits.".to_owned(),
        "pools.\"*\".".to_owned(),
    ];
    let touches = |change: &&ChangeView| {
        now.saturating_sub(change.at_ms) <= RECENT_MS
            && (prefixes.iter().any(|prefix| change.key.starts_with(prefix)) || !change.key.contains('.'))
    };
    case.view.changes.iter().rev().filter(touches).cloned().collect()
}
