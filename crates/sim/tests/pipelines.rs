//! A refused pipelined BEGIN/INSERT/COMMIT never leaves an INSERT behind: a thousand worlds of clients that send whole transactions
//! at once, by simple queries and by batches, cut at random bytes, to a pool of one connection that refuses for every reason.
//!
//! The made-up PostgreSQL itself looks: such an INSERT says what it is, and must meet an open transaction.
//! `cargo run -p poolwarden-sim --example converse -- SEED pipelines` tells a seed's story.

use poolwarden_sim::switch::pool::Reason;
use poolwarden_sim::{Tally, World};

const WORLDS: u64 = 1_000;
/// What each part must have seen of refusals and answers at least, or it proves little.
const LEAST: u64 = 100;

fn part(of: u64) -> Tally {
    let mut tally = Tally::default();
    for seed in (0..WORLDS).filter(|seed| seed % 4 == of) {
        let verdict = World::of_pipelines(seed).run();
        assert_eq!(verdict.failure, None, "seed {seed}");
        tally.add(&verdict.tally);
    }
    tally
}

macro_rules! parts {
    ($($name:ident $part:literal)*) => { $(
        #[test]
        fn $name() {
            let met = part($part);
            assert!(met.refused > LEAST && met.answered > LEAST && met.ended > LEAST, "{met:?}");
            for (reason, times) in Reason::ALL.iter().zip(met.reasons) {
                assert!(times > 0, "nobody was refused for {}: {met:?}", reason.name());
            }
        }
    )* };
}

parts! {
    a_refused_pipelined_transaction_never_leaves_an_insert_behind_in_worlds_0_modulo_4 0
    a_refused_pipelined_transaction_never_leaves_an_insert_behind_in_worlds_1_modulo_4 1
    a_refused_pipelined_transaction_never_leaves_an_insert_behind_in_worlds_2_modulo_4 2
    a_refused_pipelined_transaction_never_leaves_an_insert_behind_in_worlds_3_modulo_4 3
}
