//! Replay parity: what a whole world put into the core, replayed on a fresh one, gives the same actions and events in the same order.

use std::collections::BTreeSet;

use poolwarden_sim::World;

#[test]
fn a_replayed_world_decides_the_same() {
    let mut loops = BTreeSet::new();
    for seed in 0..40 {
        let mut world = World::new(seed);
        world.record();
        let verdict = world.run();
        assert_eq!(verdict.failure, None);
        let equal = world.replay().unwrap_or_else(|differs| panic!("seed {seed}: {differs}"));
        assert!(equal > 20, "seed {seed}: only {equal} actions and events");
        loops.insert(world.plan().loops);
    }
    assert_eq!(loops, BTreeSet::from([1, 2, 3, 4]), "worlds of one to four loops");
}

#[test]
fn a_world_that_was_not_recorded_cannot_be_replayed() {
    let mut world = World::new(1);
    world.run();
    assert!(world.replay().is_err());
}
