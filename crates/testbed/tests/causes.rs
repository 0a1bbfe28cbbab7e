//! `why` is right about each of fourteen situations: played once, and briefly. `cargo xtask prove causes` plays them longer,
//! more often, and by other seeds.

use poolwarden_testbed::causes::{Pace, Situation, play};

/// Plays it by this seed; an even one has no quiet time first.
fn right(situation: Situation, seed: u64) {
    let run = play(situation, seed, Pace::SHORT);
    if !run.faults.is_empty() {
        let file = run.keep();
        panic!("{} ({}): {:#?}\nsee {}", situation.name(), run.chosen, run.faults, file.display());
    }
}

#[test]
fn a_pool_that_is_too_small_is_named() {
    right(Situation::PoolTooSmall, 2);
}

#[test]
fn a_user_limit_below_the_pool_is_named() {
    right(Situation::UserLimit, 3);
}

#[test]
fn a_host_budget_below_the_pools_is_named() {
    right(Situation::HostBudget, 2);
}

#[test]
fn the_connection_limit_of_a_role_is_named() {
    right(Situation::RoleLimit, 2);
}

#[test]
fn the_connection_limit_of_a_database_is_named() {
    right(Situation::DatabaseLimit, 2);
}

#[test]
fn another_application_that_fills_postgresql_is_named() {
    right(Situation::OthersSlots, 3);
}

#[test]
fn an_application_that_forgets_transactions_is_named() {
    right(Situation::Leak, 2);
}

#[test]
fn transactions_that_wait_for_something_else_are_named() {
    right(Situation::IdleInTransaction, 2);
}

#[test]
fn a_lock_that_others_pile_up_behind_is_named() {
    right(Situation::LockConvoy, 2);
}

#[test]
fn one_statement_that_became_slow_is_named() {
    right(Situation::SlowQuery, 3);
}

#[test]
fn a_postgresql_that_stopped_is_named() {
    right(Situation::PostgresStopped, 2);
}

#[test]
fn a_web_tier_that_fails_by_itself_is_named() {
    right(Situation::WebTier, 2);
}

#[test]
fn two_causes_at_once_are_both_named() {
    right(Situation::Mixed, 2);
}

#[test]
fn bursts_that_the_pool_carries_have_no_cause() {
    right(Situation::NothingWrong, 2);
}
