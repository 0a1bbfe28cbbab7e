//! The fourteen scenes: what is set up, what goes wrong, and what is true then.

mod holds;
mod limits;
mod outside;

use std::time::Duration;

use serde_json::Value;

use super::Situation;
use super::crowd::ms;
use super::judge::Truth;
use super::stage::Stage;
use crate::Plan;
use crate::fault_proxy::Dice;

/// What the application that takes the slots calls itself.
pub const REPORTING: &str = "reporting";

/// Clients that come back nearly at once.
const EAGER: (Duration, Duration) = (Duration::ZERO, ms(10));
/// Clients that leave a pool mostly idle.
const LEISURE: (Duration, Duration) = (ms(60), ms(120));
/// A pool that is not to bind.
const PLENTY: u32 = 20;

/// One scene.
pub(crate) struct Scene {
    /// What poolwarden and PostgreSQL are started with.
    pub(crate) plan: Plan,
    /// Whether there is a web server with probes.
    pub(crate) web: bool,
    /// What is true once it has gone wrong.
    pub(crate) truth: Truth,
    /// What the seed chose.
    pub(crate) chosen: Value,
    /// What is there before anything goes wrong.
    pub(crate) set: Act,
    /// What goes wrong.
    pub(crate) strike: Act,
}

type Act = Box<dyn FnOnce(&mut Stage)>;

/// The scene of a situation by these dice, in the kind whose turn it is with this seed, so that a few seeds show every kind;
/// `quiet`: there is a time before anything goes wrong.
pub(crate) fn make(situation: Situation, seed: u64, dice: &mut Dice, quiet: bool) -> Scene {
    match situation {
        Situation::PoolTooSmall => limits::pool_too_small(dice, quiet),
        Situation::UserLimit => limits::user_limit(dice, quiet),
        Situation::HostBudget => limits::host_budget(dice),
        Situation::RoleLimit => limits::role_limit(dice),
        Situation::DatabaseLimit => limits::database_limit(dice),
        Situation::OthersSlots => limits::others_slots(dice),
        Situation::Leak => holds::leak(dice),
        Situation::IdleInTransaction => holds::idle_in_transaction(dice),
        Situation::LockConvoy => holds::lock_convoy(seed, dice),
        Situation::SlowQuery => holds::slow_query(dice),
        Situation::Mixed => holds::mixed(seed, dice),
        Situation::PostgresStopped => outside::postgres_stopped(seed, dice),
        Situation::WebTier => outside::web_tier(seed, dice),
        Situation::NothingWrong => outside::nothing_wrong(dice),
    }
}

/// The truth of a pool that saturates for one cause.
fn saturated(cause: &'static str, binding: (&'static str, Option<u32>)) -> Truth {
    Truth { causes: vec![cause], allowed: Vec::new(), binding: Some(binding), guilty: None, states: &["saturated"] }
}

/// The one of three kinds whose turn it is.
fn turn<T: Copy>(seed: u64, kinds: [T; 3]) -> T {
    kinds[usize::try_from(seed % 3).unwrap_or(0)]
}
