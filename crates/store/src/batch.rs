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
    /// Entries that cannot be written anywhere: nobody waits for them, they are counted.
    spoiled_audits: u64,
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
        Self { name, jobs, audits, outcomes: Vec::new(), spoiled_audits: 0 }
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
        let mut spoiled_audits = 0;
        for entry in &self.audits {
            match record::insert_audit(&transaction, entry).map_err(Fault::from) {
                Ok(()) => {}
                Err(Fault::Record(_)) => spoiled_audits += 1,
                Err(fault) => return Err(fault),
            }
        }
        transaction.execute("UPDATE ledger SET next = ?1, batch = ?2", (next.cast_signed(), &self.name))?;
        lock.note(next - 1)?;
        self.outcomes = outcomes;
        self.spoiled_audits = spoiled_audits;
        transaction.commit()?;
        Ok(())
    }

    /// Answers all who wait, after it was written; how many records were lost although the file is sound.
    pub(crate) fn finish(self, queue: &mut Queue) -> u64 {
        let mut lost = self.spoiled_audits;
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
            for (which, state) in &version.earlier {
                if let Some(n) = meant(which) {
                    record::update_state(connection, n, state)?;
                }
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::*;
    use crate::bound::Shares;
    use crate::limits::Limits;
    use crate::opening::{self, Opened};
    use crate::version::{NewVersion, VersionState};

    fn opened(dir: &Path) -> (Opened, Lock) {
        let path = dir.join("history.db");
        let lock = Lock::take(&path).unwrap();
        (opening::open(&path, &lock, Shares::of(1 << 20)).unwrap(), lock)
    }

    fn version(by: &str) -> Work {
        Work::Record(NewVersion {
            at_ms: 1,
            by: by.to_owned(),
            reason: None,
            changes: Vec::new(),
            text: String::new(),
            hash: String::new(),
            state: VersionState::Confirmed,
            earlier: Vec::new(),
        })
    }

    fn entry(by: &str) -> Entry {
        Entry { at_ms: 1, by: by.to_owned(), verb: String::new(), target: String::new(), outcome: String::new() }
    }

    /// A batch of such works and entries, and where each work's answer comes.
    fn batch(queue: &mut Queue, works: Vec<Work>, entries: &[&str]) -> (Batch, Vec<Receiver<Result<u64, Unwritten>>>) {
        let limits = Limits::default();
        let mut receivers = Vec::new();
        for work in works {
            let (sender, receiver) = sync_channel(1);
            queue.push(work, sender, &limits);
            receivers.push(receiver);
        }
        for by in entries {
            queue.push_audit(entry(by), &limits);
        }
        let (jobs, audits) = queue.take();
        (Batch::new("a batch".to_owned(), jobs, audits), receivers)
    }

    fn rows(opened: &Opened, table: &str) -> i64 {
        opened.connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_batch_that_is_tried_again_after_it_was_written_is_in_the_file_once() {
        let dir = tempfile::tempdir().unwrap();
        let (mut opened, mut lock) = opened(dir.path());
        let mut queue = Queue::default();
        let (mut batch, receivers) = batch(&mut queue, vec![version("a"), version("b")], &["a"]);
        for _ in 0..2 {
            batch.write(&mut opened.connection, &mut lock, &|_| None).unwrap();
        }
        assert_eq!(batch.finish(&mut queue), 0);
        assert_eq!((rows(&opened, "version"), rows(&opened, "audit")), (2, 1));
        assert_eq!(receivers.iter().map(|receiver| receiver.recv().unwrap()).collect::<Vec<_>>(), [Ok(1), Ok(2)]);
    }

    #[test]
    fn a_record_that_cannot_be_written_anywhere_does_not_keep_its_neighbours_from_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let (mut opened, mut lock) = opened(dir.path());
        // Stands for whatever SQLite refuses in one record: a text beyond its limits.
        let refuse = |table: &str| {
            format!(
                "CREATE TRIGGER no_{table} BEFORE INSERT ON {table} WHEN NEW.by = 'spoiled' \
                 BEGIN SELECT RAISE(ABORT, 'it cannot be kept'); END;"
            )
        };
        opened.connection.execute_batch(&(refuse("version") + &refuse("audit"))).unwrap();
        let mut queue = Queue::default();
        let works = vec![version("a"), version("spoiled"), version("b")];
        let (mut batch, receivers) = batch(&mut queue, works, &["a", "spoiled", "b"]);
        batch.write(&mut opened.connection, &mut lock, &|_| None).unwrap();
        assert_eq!(batch.finish(&mut queue), 1, "the entry nobody waits for is counted");
        assert_eq!((rows(&opened, "version"), rows(&opened, "audit")), (2, 2));
        let answers: Vec<_> = receivers.iter().map(|receiver| receiver.recv().unwrap()).collect();
        let lost = Unwritten::Lost { why: "it cannot be kept".to_owned() };
        assert_eq!(answers, [Ok(1), Err(lost), Ok(2)]);
        assert_eq!(queue.unwritten(), 0);
    }
}
