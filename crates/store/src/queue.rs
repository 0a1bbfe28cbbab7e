//! What waits to be written, bounded in number and bytes: where there is no place the oldest go, and are counted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::SyncSender;

use crate::audit::Entry;
use crate::fault::Unwritten;
use crate::limits::Limits;
use crate::version::{Effect, NewVersion, Ticket, VersionState, Which};

/// Numbers kept for tickets whose owner was not there when they were given: far more than wait at once.
const NUMBERS_KEPT: usize = 1_024;
/// Most of one transaction, so that its log is short and nobody waits long behind others.
const JOBS_AT_ONCE: usize = 64;
/// For the same reason; one that is larger goes alone.
const BYTES_AT_ONCE: usize = 128 << 10;
/// Entries are small, and nobody waits for one.
const AUDITS_AT_ONCE: usize = 512;

/// A write somebody waits for, for a while.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) ticket: Ticket,
    pub(crate) work: Work,
    /// Where the answer goes; none once it was told that it is kept.
    pub(crate) reply: Option<SyncSender<Result<u64, Unwritten>>>,
}

#[derive(Debug)]
pub(crate) enum Work {
    Record(NewVersion),
    Mark(Which, VersionState),
    Effect(Which, Effect),
}

impl Job {
    /// Answers whoever waits. One that has given up is not there to be told.
    pub(crate) fn answer(&mut self, answer: Result<u64, Unwritten>) {
        if let Some(reply) = self.reply.take() {
            // The channel has one place and this is its one message: it is never full, only left alone.
            drop(reply.try_send(answer));
        }
    }

    fn weight(&self) -> usize {
        match &self.work {
            Work::Record(version) => version.weight(),
            Work::Mark(..) | Work::Effect(..) => size_of::<Self>(),
        }
    }
}

/// The queue. It grows only through [`Queue::push`] and [`Queue::push_audit`].
#[derive(Debug, Default)]
pub(crate) struct Queue {
    jobs: VecDeque<Job>,
    bytes: usize,
    audits: VecDeque<Entry>,
    in_hand: usize,
    last_ticket: u64,
    numbers: BTreeMap<Ticket, u64>,
    /// Somebody came who waits for an answer: even a failing store tries at once.
    pub(crate) urgent: bool,
    /// A reader met something broken: the writer should look.
    pub(crate) suspect: bool,
    /// Nothing more is taken, and the writer ends when it has written what is here.
    pub(crate) closing: bool,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.audits.is_empty()
    }

    /// All that is in memory, with what the writer has taken and not written.
    pub(crate) fn unwritten(&self) -> usize {
        self.jobs.len() + self.audits.len() + self.in_hand
    }

    /// Adds a write; how many others had to go for it.
    pub(crate) fn push(
        &mut self,
        work: Work,
        reply: SyncSender<Result<u64, Unwritten>>,
        limits: &Limits,
    ) -> (Ticket, u64) {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let job = Job { ticket, work, reply: Some(reply) };
        let mut dropped = 0;
        self.bytes += job.weight();
        self.jobs.push_back(job);
        // The newest stays, however large: it says what runs now.
        while self.jobs.len() > 1 && (self.jobs.len() > limits.queued_writes || self.bytes > limits.queued_bytes) {
            if let Some(mut oldest) = self.pop() {
                oldest.answer(Err(Unwritten::Lost { why: "too many writes wait before the file".to_owned() }));
                dropped += 1;
            }
        }
        self.urgent = true;
        (ticket, dropped)
    }

    /// Adds an entry of the audit trail; how many others had to go for it.
    pub(crate) fn push_audit(&mut self, entry: Entry, limits: &Limits) -> u64 {
        self.audits.push_back(entry);
        let mut dropped = 0;
        while self.audits.len() > limits.queued_audits {
            self.audits.pop_front();
            dropped += 1;
        }
        dropped
    }

    /// The oldest, for one transaction. They stay counted until [`Queue::settled`].
    pub(crate) fn take(&mut self) -> (Vec<Job>, Vec<Entry>) {
        let mut jobs: Vec<Job> = Vec::new();
        let mut bytes = 0;
        while jobs.len() < JOBS_AT_ONCE && bytes < BYTES_AT_ONCE {
            let Some(job) = self.pop() else { break };
            bytes += job.weight();
            jobs.push(job);
        }
        let audits: Vec<Entry> = self.audits.drain(..self.audits.len().min(AUDITS_AT_ONCE)).collect();
        self.in_hand = jobs.len() + audits.len();
        (jobs, audits)
    }

    /// What was taken is written, or given up.
    pub(crate) fn settled(&mut self) {
        self.in_hand = 0;
    }

    /// Tells all who wait that `why` keeps their write from the file for now.
    pub(crate) fn tell_kept(&mut self, why: &str) {
        for job in &mut self.jobs {
            let ticket = job.ticket;
            job.answer(Err(Unwritten::Kept { ticket, why: why.to_owned() }));
        }
        self.urgent = false;
    }

    /// Gives up all of it; how many.
    pub(crate) fn lose(&mut self, why: &str) -> u64 {
        let lost = (self.jobs.len() + self.audits.len()) as u64;
        while let Some(mut job) = self.pop() {
            job.answer(Err(Unwritten::Lost { why: why.to_owned() }));
        }
        self.audits.clear();
        lost
    }

    pub(crate) fn numbered(&mut self, ticket: Ticket, n: u64) {
        self.numbers.insert(ticket, n);
        while self.numbers.len() > NUMBERS_KEPT {
            self.numbers.pop_first();
        }
    }

    pub(crate) fn number(&self, ticket: Ticket) -> Option<u64> {
        self.numbers.get(&ticket).copied()
    }

    fn pop(&mut self) -> Option<Job> {
        let job = self.jobs.pop_front()?;
        self.bytes -= job.weight();
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::*;

    fn mark(n: u64) -> Work {
        Work::Mark(Which::Number(n), VersionState::Superseded)
    }

    fn version(bytes: usize) -> Work {
        Work::Record(NewVersion {
            at_ms: 0,
            by: String::new(),
            reason: None,
            changes: Vec::new(),
            text: "x".repeat(bytes),
            hash: String::new(),
            state: VersionState::Confirmed,
            earlier: Vec::new(),
        })
    }

    fn push(queue: &mut Queue, work: Work, limits: &Limits) -> (Receiver<Result<u64, Unwritten>>, u64) {
        let (sender, receiver) = sync_channel(1);
        let (_, dropped) = queue.push(work, sender, limits);
        (receiver, dropped)
    }

    #[test]
    fn the_oldest_goes_where_there_is_no_place_and_its_owner_is_told() {
        let limits = Limits { queued_writes: 2, ..Limits::default() };
        let mut queue = Queue::default();
        let (first, _) = push(&mut queue, mark(1), &limits);
        let (second, _) = push(&mut queue, mark(2), &limits);
        let (_third, dropped) = push(&mut queue, mark(3), &limits);
        assert_eq!(dropped, 1);
        assert!(matches!(first.try_recv(), Ok(Err(Unwritten::Lost { .. }))));
        assert!(second.try_recv().is_err());
        assert_eq!(queue.unwritten(), 2);
    }

    #[test]
    fn bytes_are_bounded_and_the_newest_stays_however_large() {
        let limits = Limits { queued_bytes: 10_000, ..Limits::default() };
        let mut queue = Queue::default();
        let kept: Vec<_> = (0..3).map(|_| push(&mut queue, version(4_000), &limits)).collect();
        assert_eq!(kept.iter().map(|(_, dropped)| dropped).sum::<u64>(), 1);
        let (_huge, dropped) = push(&mut queue, version(50_000), &limits);
        assert_eq!((dropped, queue.unwritten()), (2, 1));
        let (jobs, _) = queue.take();
        assert_eq!((jobs.len(), queue.bytes), (1, 0));
    }

    #[test]
    fn entries_of_the_audit_trail_are_bounded_apart_from_versions() {
        let limits = Limits { queued_audits: 3, ..Limits::default() };
        let mut queue = Queue::default();
        let _waiting = push(&mut queue, mark(1), &limits);
        let entry = |at_ms| Entry {
            at_ms,
            by: String::new(),
            verb: String::new(),
            target: String::new(),
            outcome: String::new(),
        };
        let dropped: u64 = (0..5).map(|at| queue.push_audit(entry(at), &limits)).sum();
        let (jobs, audits) = queue.take();
        assert_eq!((dropped, jobs.len()), (2, 1));
        assert_eq!(audits.iter().map(|entry| entry.at_ms).collect::<Vec<_>>(), [2, 3, 4]);
    }
}
