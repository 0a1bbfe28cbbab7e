//! One event loop over readiness: waits, reads what its switch has an appetite for, does what its switch wants.
//!
//! Each descriptor is registered once, edge-triggered; what the kernel said is remembered per connection until it is used up.
//! A read that returns less than was asked for means the socket is empty. Nothing is read of a peer without appetite.
//! One turn: wait, note what is ready, mailbox, one read of each ready connection, time-outs, then everything is sent.

mod lull;
mod sealed;
mod sockets;

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use poolwarden_switch::pool::{EndCause, LoopId, Time};
use poolwarden_switch::{Detail, LoopReport, Peer, Rules, Shared, Switch, Target};
use rustix::event::epoll;
use rustix::fs::Timespec;
use rustix::io::Errno;
use tokio::sync::oneshot;

use crate::clock::{Clock, TICK};
use crate::figures::{Counters, LoopGauge};
use crate::link::Link;
use lull::{LULL, Lull};
use sockets::{Read, Sockets, WAKE};

/// Events taken from the kernel at once; more stay there for the next turn.
const MAX_EVENTS: usize = 256;

/// Somebody wants a report.
pub(crate) struct Ask {
    pub(crate) detail: Detail,
    pub(crate) reply: oneshot::Sender<LoopReport>,
}

/// How others reach a loop.
pub(crate) struct Door {
    event: OwnedFd,
    /// A wake is on its way already.
    rung: AtomicBool,
    asks: Mutex<Vec<Ask>>,
    pub(crate) gauge: LoopGauge,
    pub(crate) stop: AtomicBool,
}

impl Door {
    pub(crate) fn new() -> rustix::io::Result<Self> {
        let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
        Ok(Self {
            event: rustix::event::eventfd(0, flags)?,
            rung: AtomicBool::new(false),
            asks: Mutex::new(Vec::new()),
            gauge: LoopGauge::default(),
            stop: AtomicBool::new(false),
        })
    }

    /// Has the loop look at its mailbox.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // fails only when the counter is full, and then the loop is woken anyway
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }

    pub(crate) fn ask(&self, ask: Ask) {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner).push(ask);
        self.ring();
    }

    fn answer(&self) -> Vec<Ask> {
        std::mem::take(&mut *self.asks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Wakes whoever has mail. Given to every loop and to everybody beside them.
pub(crate) trait Wake: Send + Sync {
    fn wake(&self, target: Target);
}

/// What a loop is made of.
pub(crate) struct Parts {
    pub(crate) id: LoopId,
    pub(crate) shared: Arc<Shared<Link>>,
    pub(crate) door: Arc<Door>,
    pub(crate) wakers: Arc<dyn Wake>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) counters: Arc<Counters>,
    /// Bytes all connections may keep for peers that do not read.
    pub(crate) memory: Arc<AtomicU64>,
    pub(crate) rules: Rules,
}

pub(crate) struct Engine {
    switch: Switch<Link>,
    sockets: Sockets,
    door: Arc<Door>,
    clock: Arc<Clock>,
    lull: Lull,
    buffer: Box<[u8]>,
}

impl Engine {
    pub(crate) fn new(parts: Parts) -> rustix::io::Result<Self> {
        let sockets = Sockets::new(&parts.door.event, parts.wakers, parts.counters, parts.memory)?;
        Ok(Self {
            switch: Switch::new(parts.id, parts.shared, parts.rules),
            sockets,
            door: parts.door,
            clock: parts.clock,
            lull: Lull::default(),
            buffer: vec![0; parts.rules.read].into_boxed_slice(),
        })
    }

    /// Turns until told to stop.
    pub(crate) fn run(mut self) {
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        self.door.gauge.thread.store(u32::try_from(thread).unwrap_or(0), Ordering::Relaxed);
        let mut events = Vec::with_capacity(MAX_EVENTS);
        while !self.door.stop.load(Ordering::Acquire) {
            self.wait(&mut events);
            let now = self.clock.now();
            self.door.gauge.turned_at.store(now.as_nanos(), Ordering::Relaxed);
            self.turn(now, &events);
            self.lull.turned(now, self.switch.refusals(), events.len());
            let lag = self.clock.now().since(now);
            self.door.gauge.lag.fetch_max(u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    fn wait(&mut self, events: &mut Vec<epoll::Event>) {
        let mut patience = if self.sockets.has_ready() {
            Duration::ZERO
        } else {
            let next = self.switch.poll_timeout().unwrap_or(Time::NEVER).since(self.clock.now());
            next.min(TICK)
        };
        if self.lull.holds() && self.sockets.attend(&self.door.event, self.switch.busy(), patience.min(LULL)) {
            patience = Duration::ZERO;
        }
        let timeout = Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(patience.subsec_nanos()),
        };
        events.clear();
        match epoll::wait(&self.sockets.epoll, rustix::buffer::spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => std::thread::sleep(TICK), // never seen; without memory the kernel may refuse, and a spin would not help
        }
    }

    fn turn(&mut self, now: Time, events: &[epoll::Event]) {
        let mut rung = false;
        for event in events {
            if event.data.u64() == WAKE {
                rung = true;
            } else if let Some(peer) = self.sockets.note(event.data.u64(), event.flags) {
                self.writable(now, peer);
                if self.sockets.hung_up(peer) && self.switch.appetite(peer) == 0 {
                    self.switch.hung_up(now, peer, &mut self.sockets);
                }
            }
        }
        if rung {
            self.open_door(now);
        }
        for _ in 0..self.sockets.ready_now() {
            let Some(peer) = self.sockets.next_ready() else { break };
            self.read(now, peer);
        }
        if self.switch.poll_timeout().is_some_and(|at| at <= now) {
            self.switch.timeout(now, &mut self.sockets);
        }
        self.sockets.post();
        while let Some(peer) = self.sockets.blocked() {
            self.switch.blocked(peer);
        }
        while let Some(peer) = self.sockets.over_budget() {
            self.switch.closed(now, peer, EndCause::Failed, &mut self.sockets);
        }
    }

    fn open_door(&mut self, now: Time) {
        let mut count = [0; 8];
        // an empty counter is as good as a full one: the bell is what matters
        let _ = rustix::io::read(&self.door.event, &mut count);
        self.door.rung.store(false, Ordering::Release);
        self.switch.mail(now, &mut self.sockets);
        for ask in self.door.answer() {
            let report = self.switch.report(now, ask.detail);
            let _ = ask.reply.send(report); // whoever asked may have given up
        }
        let (clients, servers) = self.switch.counts();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        self.door.gauge.clients.store(count(clients), Ordering::Relaxed);
        self.door.gauge.servers.store(count(servers), Ordering::Relaxed);
        self.door.gauge.moved.store(self.switch.moved(), Ordering::Relaxed);
    }

    fn writable(&mut self, now: Time, peer: Peer) {
        if self.sockets.flush(peer) {
            self.switch.drained(now, peer, &mut self.sockets);
        }
    }

    fn read(&mut self, now: Time, peer: Peer) {
        let appetite = self.switch.appetite(peer).min(self.buffer.len());
        match self.sockets.read(peer, &mut self.buffer[..appetite]) {
            Read::Nothing => {}
            Read::Bytes(count) => self.switch.received(now, peer, &self.buffer[..count], &mut self.sockets),
            Read::Eof => self.switch.closed(now, peer, EndCause::Eof, &mut self.sockets),
            Read::Failed => self.switch.closed(now, peer, EndCause::Failed, &mut self.sockets),
        }
    }
}

/// Gives everything a desk has collected to whom it concerns; for those beside the loops.
pub(crate) fn ring_all(wakers: &dyn Wake, targets: &mut Vec<Target>) {
    for target in targets.drain(..) {
        wakers.wake(target);
    }
}
