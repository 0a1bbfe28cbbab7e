//! What goes into the file in one transaction, and is known again when nobody can tell whether it got there.
//!
//! A disk may fail after it took the bytes. So the transaction writes the batch's own name with it, and a batch that is
//! tried again looks for its name first: nothing is recorded twice.

use std::collections::BTreeMap;

use rusqlite::{Connection, TransactionBehavior};

use crate::audit::Entry;
use crate::fault::{Fault, Unwritten};
use crate::lock::Lock;
use crate::queue::{Job, Queue, Work};
use crate::record;
use crate::version::{Ticket, Which};

#[derive(Debug)]
pub(crate) struct Batch {
    name: String,
    jobs: Vec<Job>,
    audits: Vec<Entry>,
    /// How each job ended in the last attempt that came as far as to commit.
    outcomes: Vec<Outcome>,
}

#[derive(Clone, Debug)]
enum Outcome {
    /// Written; the number of its version.
    Written(u64),
    /// There is no such version.
    Unknown(Which),
    /// This record cannot be written anywhere.
    Spoiled(String),
}

impl Batch {
    pub(crate) fn new(name: String, jobs: Vec<Job>, audits: Vec<Entry>) -> Self {
        Self { name, jobs, audits, outcomes: Vec::new() }
    }

    /// Writes all of it or nothing. `numbers` are those of earlier tickets.
    pub(crate) fn write(
        &mut self,
        connection: &mut Connection,
        lock: &mut Lock,
        numbers: &dyn Fn(Ticket) -> Option<u64>,
    ) -> Result<(), Fault> {
        let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (mut next, written) = transaction.query_row("SELECT next, batch FROM ledger", [], |row| {
            Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, String>(1)?))
        })?;
        if written == self.name {
            return Ok(());
        }
        let mut assigned = BTreeMap::new();
        let mut outcomes = Vec::with_capacity(self.jobs.len());
        for job in &self.jobs {
            let savepoint = transaction.savepoint()?;
            let number = |ticket| assigned.get(&ticket).copied().or_else(|| numbers(ticket));
            match write_job(&savepoint, &job.work, next, &number) {
                Ok(outcome) => {
                    savepoint.commit()?;
                    if matches!((&job.work, &outcome), (Work::Record(_), Outcome::Written(_))) {
                        assigned.insert(job.ticket, next);
                        next += 1;
                    }
                    outcomes.push(outcome);
                }
                // Dropped, the savepoint takes back what this job wrote and leaves its neighbours.
                Err(Fault::Record(why)) => outcomes.push(Outcome::Spoiled(why)),
                Err(fault) => return Err(fault),
            }
        }
        for entry in &self.audits {
            record::insert_audit(&transaction, entry)?;
        }
        transaction.execute("UPDATE ledger SET next = ?1, batch = ?2", (next.cast_signed(), &self.name))?;
        lock.note(next - 1)?;
        self.outcomes = outcomes;
        transaction.commit()?;
        Ok(())
    }

    /// Answers all who wait, after it was written; how many records were lost although the file is sound.
    pub(crate) fn finish(self, queue: &mut Queue) -> u64 {
        let mut lost = 0;
        queue.settled();
        for (mut job, outcome) in self.jobs.into_iter().zip(self.outcomes) {
            let is_record = matches!(job.work, Work::Record(_));
            // Whoever waits hears of a loss; where nobody does any more, it is counted.
            let is_heard = job.reply.is_some();
            match outcome {
                Outcome::Written(n) => {
                    if is_record {
                        queue.numbered(job.ticket, n);
                    }
                    job.answer(Ok(n));
                }
                Outcome::Unknown(which) => {
                    lost += u64::from(!is_heard);
                    job.answer(Err(Unwritten::Unknown { which }));
                }
                Outcome::Spoiled(why) => {
                    lost += u64::from(!is_heard);
                    job.answer(Err(Unwritten::Lost { why }));
                }
            }
        }
        lost
    }

    /// Tells all who wait that it is kept in memory.
    pub(crate) fn tell_kept(&mut self, why: &str) {
        for job in &mut self.jobs {
            let ticket = job.ticket;
            job.answer(Err(Unwritten::Kept { ticket, why: why.to_owned() }));
        }
    }

    /// Gives it up.
    pub(crate) fn lose(mut self, why: &str) -> u64 {
        for job in &mut self.jobs {
            job.answer(Err(Unwritten::Lost { why: why.to_owned() }));
        }
        (self.jobs.len() + self.audits.len()) as u64
    }
}

fn write_job(
    connection: &Connection,
    work: &Work,
    next: u64,
    number: &dyn Fn(Ticket) -> Option<u64>,
) -> Result<Outcome, Fault> {
    let meant = |which: &Which| match which {
        Which::Number(n) => Some(*n),
        Which::Ticket(ticket) => number(*ticket),
    };
    let (which, found) = match work {
        Work::Record(version) => {
            record::insert_version(connection, next, version)?;
            for (n, state) in &version.earlier {
                record::update_state(connection, *n, state)?;
            }
            return Ok(Outcome::Written(next));
        }
        Work::Mark(which, state) => match meant(which) {
            Some(n) => (which, record::update_state(connection, n, state)?.then_some(n)),
            None => (which, None),
        },
        Work::Effect(which, effect) => match meant(which) {
            Some(n) => (which, record::put_effect(connection, n, effect)?.then_some(n)),
            None => (which, None),
        },
    };
    Ok(found.map_or(Outcome::Unknown(*which), Outcome::Written))
}
