//! The corpus, held with PostgreSQL and through poolwarden: nobody can tell the one from the other.

use poolwarden_testbed::corpus::{self, Conversation};
use poolwarden_testbed::oracle::{self, Mutation, Player};
use poolwarden_testbed::oracle_round::{self, Round};
use poolwarden_testbed::{Mode, place};

/// `TESTBED_TALK` names a part of the conversations' names, for work on one of them.
fn chosen() -> Vec<Conversation> {
    let part = std::env::var("TESTBED_TALK").unwrap_or_default();
    let talks: Vec<Conversation> = corpus::all().into_iter().filter(|talk| talk.name.contains(&part)).collect();
    assert!(!talks.is_empty(), "no conversation is named {part:?}");
    talks
}

#[track_caller]
fn alike(mode: Mode, size: u32) {
    let _machine = place::machine(false);
    let bed = oracle_round::bed(mode, size);
    let round = Round::hold(&bed, &chosen());
    eprintln!("{} alike, {} for elsewhere, known: {:?}", round.passed.len(), round.elsewhere, round.known);
    round.expect_alike();
    bed.at_rest();
}

#[test]
fn every_conversation_is_answered_as_by_postgresql_in_transaction_mode_by_one_connection() {
    alike(Mode::Transaction, 1);
}

#[test]
fn every_conversation_is_answered_as_by_postgresql_in_transaction_mode_by_two_connections() {
    alike(Mode::Transaction, 2);
}

#[test]
fn every_conversation_is_answered_as_by_postgresql_in_session_mode_by_one_connection() {
    alike(Mode::Session, 1);
}

#[test]
fn every_conversation_is_answered_as_by_postgresql_in_session_mode_by_two_connections() {
    alike(Mode::Session, 2);
}

#[test]
fn every_conversation_is_answered_as_by_postgresql_in_statement_mode() {
    alike(Mode::Statement, 2);
}

/// Conversations made from seeds; `TESTBED_SEED` chooses the first one.
#[track_caller]
fn alike_from_seeds(mode: Mode, count: u64, clients: usize) {
    let _machine = place::machine(false);
    let bed = oracle_round::bed(mode, 2);
    let first = std::env::var("TESTBED_SEED").map_or(0, |seed| seed.parse().expect("TESTBED_SEED is a number"));
    let differ: Vec<String> =
        (first..first + count).filter_map(|seed| oracle_round::compare_seed(&bed, seed, clients)).take(5).collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    bed.at_rest();
}

#[test]
fn made_up_conversations_are_answered_as_by_postgresql_in_transaction_mode() {
    alike_from_seeds(Mode::Transaction, 200, 1);
}

#[test]
fn made_up_conversations_of_two_clients_are_answered_as_by_postgresql_in_transaction_mode() {
    alike_from_seeds(Mode::Transaction, 100, 2);
}

#[test]
fn made_up_conversations_are_answered_as_by_postgresql_in_session_mode() {
    alike_from_seeds(Mode::Session, 100, 2);
}

/// A conversation in which every kind of message comes.
const RICH: &str = "# Everything\nparse s \"select $1::int as n\"\ndescribe S s\nrun s \"1\"\nsync\n\
    query \"do $$ begin raise notice 'x'; end $$; set timezone = 'UTC'\"\nquery \"copy (select 1) to stdout\"\n\
    query \"select 1/0\"\nwait\n";

#[test]
fn an_answer_that_is_lost_doubled_altered_or_late_is_noticed_wherever_it_stands() {
    let _machine = place::machine(false);
    let bed = oracle_round::bed(Mode::Transaction, 1);
    let talk = corpus::read("rich", RICH).expect("well formed");
    let play = |mutation| Player { address: bed.address(), postgres: &bed.postgres, mutation }.play(&talk);
    let whole = play(None);
    assert_eq!(oracle::difference(&whole, &play(None)), None, "unharmed, it is the same every time");
    let told = &whole[&'A'];
    for at in 0..told.len() {
        for mutation in [Mutation::Dropped(at), Mutation::Doubled(at), Mutation::Altered(at), Mutation::Late(at)] {
            // The last message has none behind it, and two alike can change places.
            if mutation == Mutation::Late(at) && told.get(at + 1).is_none_or(|next| next == &told[at]) {
                continue;
            }
            let found = oracle::difference(&whole, &play(Some(mutation)));
            assert!(found.is_some_and(|found| found.contains("message")), "{mutation:?} of {} is missed", told[at]);
        }
    }
}
