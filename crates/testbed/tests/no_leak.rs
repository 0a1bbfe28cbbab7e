//! Session state of one client is never met by another, whichever way it was set and however the session ended.

use std::time::Duration;

use poolwarden_testbed::leak::{self, Hunt};
use poolwarden_testbed::{Bed, Plan, Sampler, Target, place};

fn hunt(lines: &str, functions: bool) {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 4, ..Plan::default() }.pool(lines));
    let clients = 24;
    leak::prepare(&bed, clients);
    let sampler = Sampler::start(&bed.postgres);
    let found = leak::hunt(
        &bed,
        Hunt { clients, span: Duration::from_secs(4), functions, kill_every: Duration::from_millis(100) },
    );
    assert!(found.leaks.is_empty(), "{:#?}", found.leaks);
    assert!(found.checks > 0 && found.left > 0 && found.rolled_back > 0 && found.killed > 0, "{found:?}");
    sampler.expect_at_most(bed.limit());
}

#[test]
fn nobody_meets_anothers_settings_role_or_tenant_where_they_are_restored() {
    hunt("session_state = \"pin\"\nreset = \"auto\"", false);
}

#[test]
fn nobody_meets_what_another_set_inside_functions_where_connections_are_always_reset() {
    hunt("session_state = \"refuse\"\nreset = \"always\"", true);
}
