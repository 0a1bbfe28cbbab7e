//! The lane beside the loops: takes errands, opens connections, sends cancel requests, and decides how many loops are at work.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use poolwarden_switch::pool::LoopId;
use poolwarden_switch::{Errand, Mail};
use tokio::sync::Semaphore;

use crate::connect;
use crate::figures::bump;
use crate::inner::Inner;

/// Cancel requests on their way at once; each has one connection to PostgreSQL for a moment.
const CANCELS_AT_ONCE: usize = 32;
/// Cancel requests waiting for their turn; more are answered as hung at once, which gives their connections up.
const CANCELS_WAITING: usize = 4096;

/// Works until the process stops.
pub(crate) async fn run(inner: Arc<Inner>) {
    let turns = Arc::new(Semaphore::new(CANCELS_AT_ONCE));
    let waiting = Arc::new(Semaphore::new(CANCELS_WAITING));
    while !inner.is_stopped() {
        inner.wakers.lane.notified().await;
        for errand in inner.shared.errands() {
            match errand {
                Errand::Open { host, conn, pool, near } => {
                    tokio::spawn(connect::open(inner.clone(), connect::Opening { host, conn, pool, near }));
                }
                Errand::Cancel { host, conn, pid, secret, from } => {
                    let Ok(place) = waiting.clone().try_acquire_owned() else {
                        bump(&inner.counters.cancels_dropped);
                        inner.post(from, Mail::Cancelled(host, conn, false));
                        continue;
                    };
                    let (inner, turns) = (inner.clone(), turns.clone());
                    tokio::spawn(async move {
                        let turn = turns.acquire().await;
                        inner.post(from, Mail::Cancelling(host, conn));
                        let ended = connect::cancel(&inner, host, pid, &secret).await;
                        drop((turn, place));
                        inner.post(from, Mail::Cancelled(host, conn, ended));
                    });
                }
            }
        }
    }
}

/// Above this share of a core another loop joins; below `CALM` on all but the first, the last one gets no new clients.
const BUSY: u32 = 700;
const CALM: u32 = 250;
const EVERY: Duration = Duration::from_secs(1);

/// Measures the loops and adapts how many of them get new clients.
pub(crate) async fn balance(inner: Arc<Inner>) {
    let mut closing = inner.closing.subscribe();
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = closing.wait_for(|closing| *closing) => return,
        }
        let now = inner.clock.now();
        let shares: Vec<u32> = inner.doors.iter().map(|door| door.gauge.measure(now)).collect();
        let active = inner.active_loops.load(Ordering::Relaxed) as usize;
        let busiest = shares[..active].iter().copied().max().unwrap_or(0);
        let wanted = if busiest > BUSY {
            (active + 1).min(shares.len())
        } else if active > 1 && busiest < CALM {
            active - 1
        } else {
            active
        };
        inner.active_loops.store(u32::try_from(wanted).unwrap_or(1), Ordering::Relaxed);
    }
}

impl Inner {
    /// The loop, among those at work, with the fewest clients.
    pub(crate) fn least_busy(&self) -> LoopId {
        let active = self.active_loops.load(Ordering::Relaxed) as usize;
        let clients = |number: &usize| self.doors[*number].gauge.clients.load(Ordering::Relaxed);
        let chosen = (0..active.min(self.doors.len())).min_by_key(clients).unwrap_or(0);
        LoopId(u16::try_from(chosen).unwrap_or(0)) // there are at most 64
    }
}
