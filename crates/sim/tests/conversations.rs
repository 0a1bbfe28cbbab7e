//! A thousand worlds, each from its seed: nobody gets another's reply, nothing is lost or doubled, nothing is left over.
//!
//! A failing seed names itself; `cargo run -p poolwarden-sim --example converse -- SEED` tells its story.

use poolwarden_sim::{Verdict, World};

/// Seeds whose world shows what was once found, and what that was. A change of the plan changes every world:
/// then each is looked for again, with its fix undone.
const KEPT_SEEDS: [(u64, &str); 8] = [
    (19, "Terminate in the middle of a request"),
    (20, "refusal of a ticket whose place was used again"),
    (26, "second last word"),
    (42, "answer of ours in the middle of a notice"),
    (50, "last word in the middle of a row"),
    (161, "FATAL met by the settings query"),
    (70_553, "Terminate behind half a request of a client that broke the rules of its mode"),
    (92_512, "client that did not read, cut off in the middle of a row"),
];

/// What a hundred worlds must have seen at least, or they prove nothing.
const LEAST_ANSWERED: u64 = 5_000;

fn play(seed: u64) -> Verdict {
    let verdict = std::panic::catch_unwind(|| World::new(seed).run());
    let verdict = verdict.unwrap_or_else(|_| panic!("seed {seed}: the panic above; run example converse with it"));
    if let Some(failure) = &verdict.failure {
        panic!("{failure}\ncargo run -p poolwarden-sim --example converse -- {seed}");
    }
    verdict
}

/// One of ten parts of the first thousand, so that they run side by side.
fn hundred(part: u64) {
    let verdicts: Vec<Verdict> = (part * 100..(part + 1) * 100).map(play).collect();
    let sum = |count: fn(&Verdict) -> u64| verdicts.iter().map(count).sum::<u64>();
    let (answered, moved) = (sum(|verdict| verdict.tally.answered), sum(|verdict| verdict.moved));
    let (cancelled, refused) = (sum(|verdict| verdict.tally.cancelled), sum(|verdict| verdict.tally.refused));
    let ended = sum(|verdict| verdict.tally.ended);
    assert!(answered > LEAST_ANSWERED, "only {answered} rounds were answered");
    assert!(moved > 100 && cancelled > 10 && refused > 10 && ended > 10, "{moved} {cancelled} {refused} {ended}");
}

macro_rules! hundreds {
    ($($name:ident $part:literal)*) => { $(
        #[test]
        fn $name() {
            hundred($part);
        }
    )* };
}

hundreds! {
    every_conversation_ends_well_in_worlds_000_to_099 0
    every_conversation_ends_well_in_worlds_100_to_199 1
    every_conversation_ends_well_in_worlds_200_to_299 2
    every_conversation_ends_well_in_worlds_300_to_399 3
    every_conversation_ends_well_in_worlds_400_to_499 4
    every_conversation_ends_well_in_worlds_500_to_599 5
    every_conversation_ends_well_in_worlds_600_to_699 6
    every_conversation_ends_well_in_worlds_700_to_799 7
    every_conversation_ends_well_in_worlds_800_to_899 8
    every_conversation_ends_well_in_worlds_900_to_999 9
}

#[test]
fn what_a_seed_has_found_stays_found() {
    for (seed, _) in KEPT_SEEDS {
        play(seed);
    }
}

#[test]
fn equal_seeds_give_equal_worlds() {
    for seed in [1, 7, 42] {
        let (one, two) = (play(seed), play(seed));
        assert_eq!((one.steps, one.tally, one.moved), (two.steps, two.tally, two.moved));
    }
}
