//! The core against the slow, obvious pool: a million random steps, every action, event and number compared.

#[path = "reference/model.rs"]
mod model;
#[path = "reference/rules.rs"]
mod rules;
#[path = "reference/world.rs"]
mod world;

/// A quarter of the million, so that the test runner can use its cores.
const STEPS: u64 = 250_000;

#[test]
fn the_core_does_what_the_obvious_pool_does_seed_1() {
    world::compare(STEPS, 1);
}

#[test]
fn the_core_does_what_the_obvious_pool_does_seed_2() {
    world::compare(STEPS, 2);
}

#[test]
fn the_core_does_what_the_obvious_pool_does_seed_3() {
    world::compare(STEPS, 3);
}

#[test]
fn the_core_does_what_the_obvious_pool_does_seed_4() {
    world::compare(STEPS, 4);
}

#[test]
fn the_recorded_inputs_give_the_same_actions_and_events_again() {
    for seed in 1..=5 {
        world::replay(5_000, seed);
    }
}
