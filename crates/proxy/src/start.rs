//! Starting: descriptors, loops, the clock's thread.

use std::sync::Arc;
use std::time::Duration;

use poolwarden_switch::pool::LoopId;
use poolwarden_switch::{Desk, Rules, Target};

use crate::clock::TICK;
use crate::engine::{Engine, Parts, ring_all};
use crate::fault::StartError;
use crate::inner::{Inner, held};
use crate::settings::Settings;

/// More loops than this never pay: one serves tens of thousands of transactions a second.
const MOST_LOOPS: usize = 64;

/// How many loops there are at most.
pub(crate) fn loops(settings: &Settings) -> usize {
    settings.loops.map_or_else(default_loops, usize::from).clamp(1, MOST_LOOPS)
}

/// One loop up to four cores, since fewer busy loops cost less per transaction; beyond, at most one per two cores, joining as needed.
fn default_loops() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| if cores.get() <= 4 { 1 } else { cores.get() / 2 })
}

pub(crate) fn threads(inner: &Arc<Inner>) -> Result<(), StartError> {
    let spawn = |name: String, body: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name).spawn(body).map_err(|why| StartError::Kernel("thread", why))
    };
    for (number, door) in (0..).zip(&inner.doors) {
        let engine = Engine::new(Parts {
            id: LoopId(number),
            shared: inner.shared.clone(),
            door: door.clone(),
            wakers: inner.wakers.clone(),
            clock: inner.clock.clone(),
            counters: inner.counters.clone(),
            memory: inner.memory.clone(),
            rules: Rules { voice: inner.voice, ..Rules::default() },
        })
        .map_err(|why| StartError::Kernel("epoll", why.into()))?;
        held(&inner.threads).push(spawn(format!("loop-{number}"), Box::new(move || engine.run()))?);
    }
    let mine = inner.clone();
    let clock = spawn("clock".into(), Box::new(move || keep_time(&mine)))?;
    let _ = inner.wakers.clock.set(clock.thread().clone()); // set once, here
    held(&inner.threads).push(clock);
    Ok(())
}

/// Time-outs that come closer together than this are given together: under overload hundreds a second come one by one, and
/// each would wake two threads. None is held more than so late.
const GRAIN: Duration = Duration::from_millis(4);

/// Gives the hosts their time-outs.
fn keep_time(inner: &Inner) {
    let mut desk = Desk::new(None);
    while !inner.is_stopped() {
        let next = inner.shared.clock(inner.clock.now(), &mut desk);
        desk.wakes.retain(|target| *target != Target::Clock);
        ring_all(&*inner.wakers, &mut desk.wakes);
        match next.since(inner.clock.now()) {
            Duration::ZERO => {} // work that one call could not finish
            wait if wait < GRAIN => std::thread::sleep(GRAIN),
            wait => std::thread::park_timeout(wait.min(TICK)),
        }
    }
}

/// Raises the soft limit of open files to the hard one; refuses to start where that is too low.
pub(crate) fn raise_descriptors(settings: &Settings) -> Result<u64, StartError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    /// Listeners, timers, log, HTTP, watch connections, cancel requests.
    const OTHERS: u64 = 200;
    /// A budget above this stands for none (PgBouncer knows none), and is no number of connections to make room for.
    const MOST_PLANNED: u32 = 1000;
    let servers: u64 =
        settings.hosts.iter().map(|plan| u64::from(plan.core.max_connections.unwrap_or(100).min(MOST_PLANNED))).sum();
    let needed = u64::from(settings.limits.max_clients) + servers + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    if needed > hard {
        return Err(StartError::Descriptors(needed, hard));
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .map_err(|why| StartError::Kernel("raising the limit of open files", why.into()))?;
    Ok(hard)
}
