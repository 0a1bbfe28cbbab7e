//! Signals and the way out: not ready, a delay for balancers, what is lent ends, everybody is sent away.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use poolwarden_proxy::Proxy;
use poolwarden_watch::Level;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::reload;
use super::running::{Running, Stop};

/// A stop at once still says goodbye to who listens; it does not wait for who does not.
const AT_ONCE: Duration = Duration::from_secs(3);
/// Short against a person, long against the cost of a look.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What asks this process to stop or to reload.
pub(super) struct Asked {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    stops: mpsc::Receiver<Stop>,
}

enum Wish {
    Stop(Stop, &'static str),
    Reload,
}

impl Asked {
    /// From now on signals are wishes, and no longer the end.
    pub(super) fn listen(stops: mpsc::Receiver<Stop>) -> anyhow::Result<Self> {
        let on = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            quit: on(SignalKind::quit())?,
            hangup: on(SignalKind::hangup())?,
            stops,
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop(Stop::Drain, "SIGTERM"),
            _ = self.interrupt.recv() => Wish::Stop(Stop::Drain, "SIGINT"),
            _ = self.quit.recv() => Wish::Stop(Stop::Now, "SIGQUIT"),
            _ = self.hangup.recv() => Wish::Reload,
            Some(how) = self.stops.recv() => Wish::Stop(how, "SHUTDOWN"),
        }
    }

    /// Reloads as often as asked, and returns when asked to stop.
    pub(super) async fn stop(&mut self, running: &Arc<Running>) -> (Stop, &'static str) {
        loop {
            match self.next().await {
                Wish::Stop(how, by) => return (how, by),
                Wish::Reload => {
                    let running = Arc::clone(running);
                    tokio::spawn(async move {
                        // Everything there is to say about it is in the log.
                        let _logged = reload::reload(&running, "SIGHUP").await;
                    });
                }
            }
        }
    }

    /// Returns when asked to stop once more; a reload makes no sense any more.
    async fn again(&mut self) -> &'static str {
        loop {
            match self.next().await {
                Wish::Stop(_, by) => return by,
                Wish::Reload => {}
            }
        }
    }
}

/// Sends everybody away, as slowly as asked.
pub(super) async fn leave(running: &Running, proxy: &Proxy, how: Stop, asked: &mut Asked) {
    let hurried = match how {
        Stop::Now => true,
        Stop::Drain | Stop::WaitForClients => tokio::select! {
            () = slowly(running, proxy, how) => false,
            by = asked.again() => {
                running.log.say(Level::Warn, "stopping", format!("{by} again: stopping at once"));
                true
            }
        },
    };
    if hurried && tokio::time::timeout(AT_ONCE, proxy.drain(Duration::ZERO)).await.is_err() {
        running.log.say(Level::Warn, "stopping", format!("not everybody could be told within {}s", AT_ONCE.as_secs()));
    }
}

async fn slowly(running: &Running, proxy: &Proxy, how: Stop) {
    let process = running.config().poolwarden.clone();
    if !process.drain_delay.is_zero() {
        let delay = poolwarden_config::show_duration(process.drain_delay);
        running.log.say(Level::Info, "stopping", format!("not ready; going on for {delay} so that balancers notice"));
        tokio::time::sleep(process.drain_delay).await;
    }
    if how == Stop::WaitForClients {
        while proxy.figures().await.clients > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    let deadline = poolwarden_config::show_duration(process.drain_deadline);
    running.log.say(Level::Info, "draining", format!("accepting nobody; what is lent may end within {deadline}"));
    proxy.drain(process.drain_deadline).await;
}
