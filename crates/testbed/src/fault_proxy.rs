//! A TCP relay that does to connections what networks do: cuts, delays, stalls, resets, half-closes, corrupts, slows.
//!
//! What happens is a plan, and where it happens inside a stream comes from a seed, so that a run can be repeated.
//! It stands before the pooler or behind it; it ends with its value. It knows no protocol.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What is read at once.
const CHUNK: usize = 16 << 10;

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// They arrive in pieces of this size.
    Split(usize),
    /// They arrive in pieces of a random size up to this.
    Shred(usize),
    /// Each piece arrives so much later.
    Delay(Duration),
    /// No more than so many bytes a second arrive.
    Bandwidth(u64),
    /// After so many bytes nothing arrives any more; nothing is closed.
    Stall(u64),
    /// After so many bytes the connection is reset, both ways.
    Reset(u64),
    /// After so many bytes the sender seems to have closed for writing.
    HalfClose(u64),
    /// The byte at this place arrives with its lowest bit turned.
    Corrupt(u64),
}

/// What happens to a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Harms {
    /// From whoever connects to whoever is connected to.
    pub up: Vec<Harm>,
    /// The other way.
    pub down: Vec<Harm>,
}

impl Harms {
    /// The same in both directions.
    #[must_use]
    pub fn both(harm: Harm) -> Harms {
        Harms { up: vec![harm], down: vec![harm] }
    }
}

/// A relay at work.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    to: SocketAddr,
    plan: Mutex<Harms>,
    seed: AtomicU64,
    accepted: AtomicU32,
    bytes: AtomicU64,
    open: Mutex<BTreeMap<u32, [TcpStream; 2]>>,
    ended: AtomicBool,
    /// Held while stalled directions sleep, told when they may go on or the relay ends.
    moved: (Mutex<u64>, Condvar),
}

impl FaultProxy {
    /// Relays to `to`, unharmed until told otherwise.
    #[must_use]
    #[track_caller]
    pub fn start(to: SocketAddr, seed: u64) -> FaultProxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap_or_else(|e| panic!("listen: {e}"));
        let address = listener.local_addr().unwrap_or_else(|e| panic!("own address: {e}"));
        let shared = Arc::new(Shared {
            to,
            plan: Mutex::default(),
            seed: AtomicU64::new(seed),
            accepted: AtomicU32::new(0),
            bytes: AtomicU64::new(0),
            open: Mutex::default(),
            ended: AtomicBool::new(false),
            moved: Default::default(),
        });
        let mine = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if mine.ended.load(Ordering::Acquire) {
                    return;
                }
                let number = mine.accepted.fetch_add(1, Ordering::AcqRel);
                mine.join(number, client);
            }
        });
        FaultProxy { address, shared }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// What happens to the connections made from now on.
    pub fn harm(&self, harms: Harms) {
        *lock(&self.shared.plan) = harms;
    }

    /// Nothing more happens to new connections, and directions that stall go on.
    pub fn heal(&self) {
        self.harm(Harms::default());
        self.shared.wake();
    }

    /// Resets every open connection at once; how many those were.
    pub fn reset_all(&self) -> usize {
        let open = std::mem::take(&mut *lock(&self.shared.open));
        open.values().for_each(reset);
        open.len()
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u32 {
        self.shared.accepted.load(Ordering::Acquire)
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        lock(&self.shared.open).len()
    }

    /// Bytes relayed so far, both ways.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Acquire)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.reset_all();
        self.shared.wake();
        // The listener wakes up to see that it is over; where that fails it ends with the process.
        drop(TcpStream::connect_timeout(&self.address, Duration::from_secs(1)));
    }
}

impl Shared {
    fn join(self: &Arc<Shared>, number: u32, client: TcpStream) {
        // A server that refuses is a client that is reset: the end says so.
        let Ok(server) = TcpStream::connect(self.to) else { return reset_one(&client) };
        let harms = lock(&self.plan).clone();
        let seed = self.seed.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::AcqRel);
        let ends = [&client, &server].map(|end| {
            end.set_nodelay(true).unwrap_or_else(|e| panic!("a socket: {e}"));
            end.try_clone().unwrap_or_else(|e| panic!("a descriptor: {e}"))
        });
        lock(&self.open).insert(number, ends);
        let left = Arc::new(AtomicU32::new(2));
        let directions = [(&client, &server, harms.up, seed), (&server, &client, harms.down, seed ^ 1)];
        for (from, into, harms, seed) in directions {
            let [from, into] = [from, into].map(|end| end.try_clone().unwrap_or_else(|e| panic!("a descriptor: {e}")));
            let shared = Arc::clone(self);
            let left = Arc::clone(&left);
            thread::spawn(move || {
                let mut stream = Stream { from, into, harms, dice: Dice(seed), passed: 0, began: Instant::now() };
                if stream.carry(&shared).is_err() {
                    // A broken direction breaks the other: nobody waits for half a connection.
                    [&stream.from, &stream.into].iter().for_each(|end| drop(end.shutdown(Shutdown::Both)));
                }
                if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    lock(&shared.open).remove(&number);
                }
            });
        }
    }

    fn wake(&self) {
        *lock(&self.moved.0) += 1;
        self.moved.1.notify_all();
    }

    /// Sleeps until the relay is healed or ends; whether it goes on.
    fn stalled(&self, from: &TcpStream) -> bool {
        let mut moved = lock(&self.moved.0);
        let before = *moved;
        while *moved == before && !self.ended.load(Ordering::Acquire) {
            let (guard, waited) =
                self.moved.1.wait_timeout(moved, Duration::from_millis(100)).unwrap_or_else(PoisonError::into_inner);
            moved = guard;
            // A connection that was reset meanwhile has no one left to stall.
            if waited.timed_out() && from.peer_addr().is_err() {
                return false;
            }
        }
        !self.ended.load(Ordering::Acquire)
    }
}

/// One direction of a connection.
struct Stream {
    from: TcpStream,
    into: TcpStream,
    harms: Vec<Harm>,
    dice: Dice,
    passed: u64,
    began: Instant,
}

impl Stream {
    /// Carries bytes until the sender's end, or until what happens ends it.
    fn carry(&mut self, shared: &Shared) -> io::Result<()> {
        let mut room = vec![0; CHUNK];
        loop {
            let count = self.from.read(&mut room)?;
            if count == 0 {
                return self.into.shutdown(Shutdown::Write);
            }
            let mut rest = &mut room[..count];
            while !rest.is_empty() {
                let size = self.piece(rest.len());
                if size == 0 {
                    match self.strike(shared) {
                        Struck::On => continue,
                        Struck::Over => return Ok(()),
                        Struck::Broken => return Err(io::ErrorKind::ConnectionReset.into()),
                    }
                }
                let (piece, after) = rest.split_at_mut(size);
                self.spoil(piece);
                self.pause(size);
                self.into.write_all(piece)?;
                self.passed += bytes(size);
                shared.bytes.fetch_add(bytes(size), Ordering::AcqRel);
                rest = after;
            }
        }
    }

    /// How much goes at once, of `most` there is; nothing where something is due to happen.
    fn piece(&mut self, most: usize) -> usize {
        let mut size = most;
        for harm in self.harms.clone() {
            size = match harm {
                Harm::Split(of) => size.min(of.max(1)),
                Harm::Shred(to) => size.min(1 + self.dice.below(to.max(1))),
                Harm::Stall(after) | Harm::Reset(after) | Harm::HalfClose(after) => {
                    size.min(usize::try_from(after.saturating_sub(self.passed)).unwrap_or(usize::MAX))
                }
                // In small pieces, so that the speed is even.
                Harm::Bandwidth(_) => size.min(1024),
                Harm::Delay(_) | Harm::Corrupt(_) => size,
            };
        }
        size
    }

    /// What is due after the bytes that have passed.
    fn strike(&mut self, shared: &Shared) -> Struck {
        let passed = self.passed;
        let due = self.harms.iter().position(|harm| match harm {
            Harm::Stall(after) | Harm::Reset(after) | Harm::HalfClose(after) => *after <= passed,
            Harm::Split(_) | Harm::Shred(_) | Harm::Delay(_) | Harm::Bandwidth(_) | Harm::Corrupt(_) => false,
        });
        match due.map(|at| self.harms.remove(at)) {
            Some(Harm::Stall(_)) if shared.stalled(&self.from) => Struck::On,
            Some(Harm::HalfClose(_)) => match self.into.shutdown(Shutdown::Write) {
                Ok(()) => Struck::Over,
                Err(_) => Struck::Broken,
            },
            Some(Harm::Reset(_)) => {
                [&self.from, &self.into].into_iter().for_each(reset_one);
                Struck::Broken
            }
            Some(Harm::Stall(_) | Harm::Split(_) | Harm::Shred(_) | Harm::Delay(_) | Harm::Bandwidth(_))
            | Some(Harm::Corrupt(_))
            | None => Struck::Broken,
        }
    }

    fn spoil(&self, piece: &mut [u8]) {
        for harm in &self.harms {
            if let Harm::Corrupt(at) = harm
                && let Some(byte) =
                    at.checked_sub(self.passed).and_then(|at| piece.get_mut(usize::try_from(at).unwrap_or(usize::MAX)))
            {
                *byte ^= 1;
            }
        }
    }

    fn pause(&self, size: usize) {
        for harm in &self.harms {
            match harm {
                Harm::Delay(span) => thread::sleep(*span),
                Harm::Bandwidth(rate) => {
                    let due = Duration::from_secs_f64((self.passed + bytes(size)) as f64 / (*rate).max(1) as f64);
                    thread::sleep(due.saturating_sub(self.began.elapsed()));
                }
                Harm::Split(_) | Harm::Shred(_) | Harm::Stall(_) => {}
                Harm::Reset(_) | Harm::HalfClose(_) | Harm::Corrupt(_) => {}
            }
        }
    }
}

enum Struck {
    On,
    Over,
    Broken,
}

/// A small generator of numbers: repeatable, and no more than that (SplitMix64).
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.roll() % bytes(limit)).unwrap_or(0)
    }

    /// One of these.
    pub fn of<'a, T>(&mut self, these: &'a [T]) -> &'a T {
        &these[self.below(these.len())]
    }
}

fn bytes(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn reset(ends: &[TcpStream; 2]) {
    ends.iter().for_each(reset_one);
}

/// Ends a connection at once, as a crashed machine does: with a reset, whoever else holds a descriptor of it.
fn reset_one(end: &TcpStream) {
    if rustix::net::connect_unspec(end).is_err() {
        // It is gone already.
        drop(end.shutdown(Shutdown::Both));
    }
}
