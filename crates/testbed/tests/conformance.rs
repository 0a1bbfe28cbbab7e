//! The corpus, held with PostgreSQL and through poolwarden: nobody can tell the one from the other.

use poolwarden_testbed::corpus::{self, Conversation};
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
