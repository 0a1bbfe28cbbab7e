//! Signals and the way out: not ready, a delay for balancers, what is lent ends, everybody is sent away.
//!
//! ```text
//! signal   natively          with PgBouncer's configuration
//! HUP      reload            reload
//! TERM     drain             wait for clients; the second one: at once
//! INT      drain             drain (wait for servers)
//! QUIT     at once           at once
//! USR1     nothing           pause
//! USR2     nothing           resume
//! ```

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use poolwarden_config::Config;
use poolwarden_proxy::Proxy;
use poolwarden_watch::Level;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::change;
use super::operator;
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
    user_1: Signal,
    user_2: Signal,
    /// What SIGTERM means.
    terminates: Stop,
    stops: mpsc::Receiver<Stop>,
}

enum Wish {
    Stop(Stop, &'static str),
    Reload,
    Pause,
    Resume,
}

impl Asked {
    /// From now on signals are wishes, and no longer the end.
    pub(super) fn listen(config: &Config, stops: mpsc::Receiver<Stop>) -> anyhow::Result<Self> {
        let on = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            quit: on(SignalKind::quit())?,
            hangup: on(SignalKind::hangup())?,
            user_1: on(SignalKind::user_defined1())?,
            user_2: on(SignalKind::user_defined2())?,
            terminates: if config.pgbouncer.is_some() { Stop::WaitForClients } else { Stop::Drain },
            stops,
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop(self.terminates, "SIGTERM"),
            _ = self.interrupt.recv() => Wish::Stop(Stop::Drain, "SIGINT"),
            _ = self.quit.recv() => Wish::Stop(Stop::Now, "SIGQUIT"),
            _ = self.hangup.recv() => Wish::Reload,
            _ = self.user_1.recv() => Wish::Pause,
            _ = self.user_2.recv() => Wish::Resume,
            Some(how) = self.stops.recv() => Wish::Stop(how, "SHUTDOWN"),
        }
    }

    /// Reloads, pauses and resumes as often as asked, and returns when asked to stop.
    pub(super) async fn stop(&mut self, running: &Arc<Running>) -> (Stop, &'static str) {
        loop {
            match self.next().await {
                Wish::Stop(how, by) => return (how, by),
                Wish::Reload => {
                    let running = Arc::clone(running);
                    tokio::spawn(async move {
                        // Everything there is to say about it is in the log.
                        let _logged = change::reload(&running, "SIGHUP").await;
                    });
                }
                Wish::Pause => pause(running, true),
                Wish::Resume => pause(running, false),
            }
        }
    }

    /// Returns when asked to stop once more; nothing else makes sense any more.
    async fn again(&mut self) -> &'static str {
        loop {
            match self.next().await {
                Wish::Stop(_, by) => return by,
                Wish::Reload | Wish::Pause | Wish::Resume => {}
            }
        }
    }
}

/// SIGUSR1 and SIGUSR2 mean something to PgBouncer's scripts; natively they are noticed and nothing else.
fn pause(running: &Arc<Running>, paused: bool) {
    let (signal, verb) = if paused { ("SIGUSR1", "PAUSE") } else { ("SIGUSR2", "RESUME") };
    if running.config().pgbouncer.is_none() {
        let message = format!("{signal} means nothing here; {verb} on the console does what PgBouncer does then");
        return running.log.say(Level::Warn, "signal", message);
    }
    running.log.say(Level::Info, "operator", format!("{signal}: {verb}"));
    let running = Arc::clone(running);
    tokio::spawn(async move {
        let Some(proxy) = running.proxy() else { return };
        let notices =
            if paused { operator::pause(&running, proxy, None).await } else { operator::resume(&running, proxy, None) };
        for notice in notices {
            running.log.say(Level::Warn, "operator", notice);
        }
    });
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
        running.log.say(Level::Info, "stopping", "accepting nobody; waiting for the clients there are to leave");
        proxy.refuse();
        while proxy.figures().await.clients > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    let deadline = poolwarden_config::show_duration(process.drain_deadline);
    running.log.say(Level::Info, "draining", format!("accepting nobody; what is lent may end within {deadline}"));
    proxy.drain(process.drain_deadline).await;
}
