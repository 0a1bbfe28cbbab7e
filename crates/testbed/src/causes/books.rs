//! What the clients of one run saw, kept by themselves: how many have asked and not been done with, how many hold a
//! connection, and when the first of them waited for long or was refused.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A request that is late by so much waits: the issue's own number.
const LATE: Duration = Duration::from_millis(100);
/// Between two looks at all clients.
const PAUSE: Duration = Duration::from_millis(10);
/// An answer may tell of a moment so long ago: it is made from a picture, and pictures are taken once a second.
const KEPT: Duration = Duration::from_millis(1_500);

/// One client's own page.
#[derive(Debug, Default)]
pub struct Page {
    /// It has asked for something and is not done with it.
    asked: AtomicBool,
    /// It has been answered since, and its transaction is open.
    held: AtomicBool,
    /// When its answer is due, in microseconds since the books began; 0: it expects none.
    due_us: AtomicU64,
}

/// How many, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Clients that have asked and are not done: they wait or hold.
    pub asked: usize,
    /// Of those, clients that hold a connection for sure.
    pub held: usize,
}

/// The books of one run.
#[derive(Debug)]
pub struct Books {
    began: Instant,
    pages: Mutex<Vec<Arc<Page>>>,
    recent: Mutex<VecDeque<(Instant, Count)>>,
    /// Something has begun to go wrong: from now on the first who waits marks the onset.
    armed: AtomicBool,
    onset: Mutex<Option<Instant>>,
    /// Requests that were late before anything went wrong.
    early: AtomicU64,
    served: AtomicU64,
    refused: AtomicU64,
    last_refusal: Mutex<String>,
}

/// The thread that looks at all pages; it ends with its value.
#[derive(Debug)]
pub struct Reader {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Books {
    /// Opens empty books.
    #[must_use]
    pub fn open() -> Arc<Books> {
        Arc::new(Books {
            began: Instant::now(),
            pages: Mutex::default(),
            recent: Mutex::default(),
            armed: AtomicBool::new(false),
            onset: Mutex::new(None),
            early: AtomicU64::new(0),
            served: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            last_refusal: Mutex::default(),
        })
    }

    /// A page for one client more.
    #[must_use]
    pub fn page(&self) -> Arc<Page> {
        let page = Arc::new(Page::default());
        lock(&self.pages).push(Arc::clone(&page));
        page
    }

    /// A client asks for something that takes `usual` when nobody waits.
    pub fn asks(&self, page: &Page, usual: Duration) {
        let due = self.began.elapsed() + usual;
        page.due_us.store(u64::try_from(due.as_micros()).unwrap_or(u64::MAX).max(1), Ordering::Release);
        page.asked.store(true, Ordering::Release);
    }

    /// It was answered, and holds a connection until it is done.
    pub fn answered(&self, page: &Page) {
        page.due_us.store(0, Ordering::Release);
        page.held.store(true, Ordering::Release);
    }

    /// It is done, and was served.
    pub fn done(&self, page: &Page) {
        self.closed(page);
        self.served.fetch_add(1, Ordering::AcqRel);
    }

    /// It was refused, or its connection broke.
    pub fn refused(&self, page: &Page, why: &str) {
        self.closed(page);
        self.refused.fetch_add(1, Ordering::AcqRel);
        *lock(&self.last_refusal) = why.to_string();
        self.note(Instant::now());
    }

    fn closed(&self, page: &Page) {
        page.due_us.store(0, Ordering::Release);
        page.held.store(false, Ordering::Release);
        page.asked.store(false, Ordering::Release);
    }

    /// From now on the first who waits or is refused marks the onset.
    pub fn arm(&self) {
        self.armed.store(true, Ordering::Release);
    }

    /// Marks the onset, if it is the first mark.
    pub fn note(&self, at: Instant) {
        if self.armed.load(Ordering::Acquire) {
            lock(&self.onset).get_or_insert(at);
        } else {
            self.early.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// When the first client had waited for 100 ms, or was refused.
    #[must_use]
    pub fn onset(&self) -> Option<Instant> {
        *lock(&self.onset)
    }

    /// How often somebody was found late before anything went wrong: a machine too busy to tell.
    #[must_use]
    pub fn early(&self) -> u64 {
        self.early.load(Ordering::Acquire)
    }

    /// Requests served and refused so far.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        (self.served.load(Ordering::Acquire), self.refused.load(Ordering::Acquire))
    }

    /// The newest refusal's words.
    #[must_use]
    pub fn last_refusal(&self) -> String {
        lock(&self.last_refusal).clone()
    }

    /// How many ask and hold now.
    #[must_use]
    pub fn count(&self) -> Count {
        let mut count = Count::default();
        for page in lock(&self.pages).iter() {
            count.asked += usize::from(page.asked.load(Ordering::Acquire));
            count.held += usize::from(page.held.load(Ordering::Acquire));
        }
        count
    }

    /// The counts of the last second and a half, oldest first.
    #[must_use]
    pub fn recent(&self) -> Vec<Count> {
        lock(&self.recent).iter().map(|(_, count)| *count).collect()
    }

    /// Starts to look at the pages every few milliseconds.
    #[must_use]
    pub fn read(self: &Arc<Books>) -> Reader {
        let stop = Arc::new(AtomicBool::new(false));
        let (books, stopping) = (Arc::clone(self), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopping.load(Ordering::Acquire) {
                books.look(Instant::now());
                std::thread::sleep(PAUSE);
            }
        });
        Reader { stop, thread: Some(thread) }
    }

    fn look(&self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.began);
        let first_due =
            lock(&self.pages).iter().map(|page| page.due_us.load(Ordering::Acquire)).filter(|due| *due > 0).min();
        if let Some(due) = first_due.map(Duration::from_micros)
            && elapsed > due + LATE
        {
            self.note(self.began + due + LATE);
        }
        let count = self.count();
        let mut recent = lock(&self.recent);
        recent.push_back((now, count));
        while recent.front().is_some_and(|(at, _)| now.duration_since(*at) > KEPT) {
            recent.pop_front();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("the reader of the books panicked");
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
