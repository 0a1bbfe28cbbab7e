//! The one thread that writes. It opens, writes in transactions, keeps the bound, and tries again where that fails.
//!
//! ```text
//! Shut ──open──► Open ──no room──► Open (same batch again, later)
//!   ▲              ├──broken──► Shut (later)
//!   │              └──corrupt──► put aside ──► Shut (at once, and only once)
//!   └──────────────┘
//! any ──newer release──► ReadOnly (until the process ends)
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::aside;
use crate::batch::Batch;
use crate::bound::{Shares, trim};
use crate::fault::Fault;
use crate::lock::Lock;
use crate::opening::{self, Opened};
use crate::reader;
use crate::shared::{Progress, Shared};
use crate::state::{News, wall_ms};

pub(crate) struct Writer {
    shared: Arc<Shared>,
    lock: Option<Lock>,
    place: Place,
    /// The bound as the open connection obeys it.
    shares: Shares,
    /// What is being written: the same until it is in the file.
    batch: Option<Batch>,
    batches: u64,
    /// Batches of this process, apart from those of others before it.
    name: String,
    retry: Option<Retry>,
}

enum Place {
    Shut,
    Open(Opened),
    ReadOnly,
}

/// When a failing store looks again by itself.
struct Retry {
    at: Instant,
    wait: Duration,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let name = format!("{}-{}", wall_ms(), std::process::id());
        let shares = Shares::of(shared.max_size());
        Self { shared, shares, lock: None, place: Place::Shut, batch: None, batches: 0, name, retry: None }
    }

    /// Until the store is closed and what could be written is.
    pub(crate) fn run(mut self) {
        match self.ready() {
            Ok(()) => self.shared.condition().opened(),
            Err(fault) => self.fails(fault),
        }
        self.shared.progress(Progress::Tried);
        while self.turn() {}
        self.end();
    }

    /// Waits for work and does it; false when the store is to end.
    fn turn(&mut self) -> bool {
        let (is_closing, is_suspect) = {
            let is_failing = self.retry.is_some();
            let until = self.retry.as_ref().map(|retry| retry.at);
            let mut queue = self.shared.wait(until, |queue| {
                let is_worth_it = if is_failing { queue.urgent } else { !queue.is_empty() || queue.suspect };
                queue.closing || is_worth_it
            });
            queue.urgent = false;
            (queue.closing, std::mem::take(&mut queue.suspect))
        };
        if matches!(self.place, Place::ReadOnly) {
            self.lose_all();
        } else {
            match self.attempt(is_suspect) {
                Ok(()) => self.works(),
                Err(fault) => self.fails(fault),
            }
        }
        !is_closing
    }

    /// Writes all there is. A corrupt file is replaced once; a second in a row is a fault of the disk.
    fn attempt(&mut self, is_suspect: bool) -> Result<(), Fault> {
        match self.write_all(is_suspect) {
            Err(Fault::Corrupt(why)) => {
                self.put_aside(why)?;
                self.write_all(false).map_err(|fault| match fault {
                    Fault::Corrupt(why) => Fault::Broken(why),
                    Fault::Full(_) | Fault::Broken(_) | Fault::Newer(_) | Fault::Record(_) => fault,
                })
            }
            done => done,
        }
    }

    fn write_all(&mut self, is_suspect: bool) -> Result<(), Fault> {
        self.ready()?;
        // On another connection: our own may hold sound pages of what is broken on disk.
        if is_suspect && let Some(found) = opening::faults(&reader::open(&self.shared.path)?, 1)?.into_iter().next() {
            return Err(Fault::Corrupt(found));
        }
        loop {
            if self.batch.is_none() {
                let (jobs, audits) = self.shared.queue().take();
                if jobs.is_empty() && audits.is_empty() {
                    return Ok(());
                }
                self.batches += 1;
                self.batch = Some(Batch::new(format!("{}-{}", self.name, self.batches), jobs, audits));
            }
            // Somebody may have taken the file away since the last one.
            self.ready()?;
            self.write_batch()?;
        }
    }

    fn write_batch(&mut self) -> Result<(), Fault> {
        let (Place::Open(opened), Some(lock), Some(batch)) = (&mut self.place, &mut self.lock, &mut self.batch) else {
            return Err(Fault::Broken("it is not open".to_owned()));
        };
        let shared = &self.shared;
        batch.write(&mut opened.connection, lock, &|ticket| shared.queue().number(ticket))?;
        if !opened.is_at(&self.shared.path) {
            return Err(Fault::Broken("it was taken away while it was written".to_owned()));
        }
        // The state first, as in `fails`.
        if self.retry.take().is_some() {
            self.shared.condition().works();
        }
        if let Some(batch) = self.batch.take() {
            let lost = batch.finish(&mut self.shared.queue());
            self.shared.condition().drops(lost);
        }
        let shares = Shares::of(self.shared.max_size());
        if shares != self.shares {
            shares.apply(&opened.connection)?;
            self.shares = shares;
        }
        trim(&mut opened.connection, shares)?;
        Ok(())
    }

    /// Opens what is not open, and again what is not there any more.
    fn ready(&mut self) -> Result<(), Fault> {
        if let Place::Open(opened) = &self.place
            && !opened.is_at(&self.shared.path)
        {
            let _alone = self.shared.alone();
            self.place = Place::Shut;
            let path = self.shared.path.clone();
            self.shared.condition().tell(News::Vanished { path });
        }
        match &self.place {
            Place::Open(_) | Place::ReadOnly => Ok(()),
            Place::Shut => match self.open() {
                Err(Fault::Corrupt(why)) => {
                    self.put_aside(why)?;
                    self.open()
                }
                opened => opened,
            },
        }
    }

    fn open(&mut self) -> Result<(), Fault> {
        let lock = match self.lock.take() {
            Some(lock) => lock,
            None => Lock::take(&self.shared.path)?,
        };
        let lock = self.lock.insert(lock);
        // A new file may take the place of one whose log readers still index.
        let _alone = self.shared.alone();
        self.shares = Shares::of(self.shared.max_size());
        let opened = opening::open(&self.shared.path, lock, self.shares)?;
        self.place = Place::Open(opened);
        Ok(())
    }

    fn put_aside(&mut self, why: String) -> Result<(), Fault> {
        let _alone = self.shared.alone();
        if let Place::Open(opened) = std::mem::replace(&mut self.place, Place::Shut) {
            opened.leave()?;
        }
        let to = aside::put(&self.shared.path, wall_ms())?;
        self.shared.condition().tell(News::PutAside { to, why });
        Ok(())
    }

    fn works(&mut self) {
        if self.retry.take().is_some() {
            self.shared.condition().works();
        }
    }

    fn fails(&mut self, fault: Fault) {
        let (is_full, is_newer) = (matches!(fault, Fault::Full(_)), matches!(fault, Fault::Newer(_)));
        let why = format!("{}: {}", self.shared.path.display(), fault.why());
        if is_newer {
            self.place = Place::ReadOnly;
            // The newer release may have it.
            self.lock = None;
            self.retry = None;
            self.shared.condition().read_only(why);
            self.lose_all();
            return;
        }
        if !is_full {
            self.place = Place::Shut;
        }
        let wait = match &self.retry {
            None => self.shared.limits.retry_first,
            Some(retry) => (retry.wait * 2).min(self.shared.limits.retry_most),
        };
        self.retry = Some(Retry { at: Instant::now() + wait, wait });
        // The state first: whoever is answered finds it so.
        self.shared.condition().fails(why.clone());
        // Those in the queue first: whoever is answered and comes again is not told of this attempt but tried anew.
        self.shared.queue().tell_kept(&why);
        if let Some(batch) = &mut self.batch {
            batch.tell_kept(&why);
        }
    }

    fn lose_all(&mut self) {
        let why = self.shared.condition().why().unwrap_or("the history is closed").to_owned();
        let mut lost = self.batch.take().map_or(0, |batch| batch.lose(&why));
        {
            let mut queue = self.shared.queue();
            lost += queue.lose(&why);
            queue.settled();
        }
        self.shared.condition().drops(lost);
    }

    /// What is still here could not be written: it goes with the process, and is counted.
    fn end(mut self) {
        self.lose_all();
        // The last connection moves the log into the file, and the lock goes after it.
        self.place = Place::Shut;
        self.lock = None;
        self.shared.progress(Progress::Ended);
    }
}
