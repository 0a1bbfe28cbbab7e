//! Metrics and health over HTTP, from the same picture as the SQL console; on `listen.http` also what an operator may do.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use poolwarden_config::nearest;
use poolwarden_console::http::{self, Held, Operate, Scraping, Shed, ShedOrder, Source, Telling, Untold};
use poolwarden_console::http::{Acted, Doing, LeaseOrder, PlanOrder, Planned, PoolOrder, PoolsActed};
use poolwarden_console::metrics::Scrape;
use poolwarden_console::review::Reviewed;
use poolwarden_switch::Detail;
use poolwarden_watch::Level;
use poolwarden_watch::why::Why;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::bundle;
use super::drawer;
use super::log::unix_ms;
use super::proposal;
use super::running::{Phase, Running, held};
use super::shed;

/// The HTTP listeners: bound before anything is started, so that a used port keeps the process from starting.
pub(super) struct Doors {
    pub(super) http: Option<Door>,
    pub(super) metrics: Option<Door>,
}

/// A bound listener.
pub(super) struct Door {
    listener: TcpListener,
    pub(super) address: SocketAddr,
}

impl Doors {
    pub(super) fn open(config: &poolwarden_config::Config) -> anyhow::Result<Self> {
        let listen = &config.listen;
        let open = |address: Option<SocketAddr>, key| address.map(|address| bind(address, key)).transpose();
        let http = match open(listen.http, "listen.http") {
            // a pgbouncer.ini asks for no HTTP: a port in use keeps nobody's pooler from starting
            Err(why) if config.pgbouncer.is_some() => {
                eprintln!("poolwarden: {why:#}; going on without HTTP");
                None
            }
            opened => opened?,
        };
        Ok(Self { http, metrics: open(listen.metrics, "listen.metrics")? })
    }

    /// Answers until `stopping` says so.
    pub(super) fn serve(
        self,
        running: &Arc<Running>,
        token: String,
        stopping: &watch::Receiver<bool>,
    ) -> anyhow::Result<Vec<JoinHandle<()>>> {
        let operator: Arc<dyn Operate> = Arc::new(Operator { running: Arc::clone(running), token });
        let doors = [(self.http, Some(operator)), (self.metrics, None)];
        let doors = doors.into_iter().filter_map(|(door, operator)| Some((door?, operator)));
        doors.map(|(door, operator)| door.serve(running, operator, stopping.clone())).collect()
    }
}

impl Door {
    fn serve(
        self,
        running: &Arc<Running>,
        operator: Option<Arc<dyn Operate>>,
        mut stopping: watch::Receiver<bool>,
    ) -> anyhow::Result<JoinHandle<()>> {
        let address = self.address;
        let listener = tokio::net::TcpListener::from_std(self.listener);
        let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
        let running = Arc::clone(running);
        Ok(tokio::spawn(async move {
            let source: Arc<dyn Source> = Arc::new(Picture(Arc::clone(&running)));
            let stop = async move {
                // Whether it was said or its speaker is gone: either way it is over.
                let _said = stopping.wait_for(|stop| *stop).await;
            };
            if let Err(error) = http::serve(listener, source, operator, Vec::new(), stop).await {
                running.log.say(Level::Error, "http", format!("http on {address} ended: {error}"));
            }
        }))
    }
}

fn bind(address: SocketAddr, key: &str) -> anyhow::Result<Door> {
    let listener = TcpListener::bind(address).map_err(|why| {
        anyhow!("cannot listen on {address}: {why}; stop what uses it, or set {key} to another address or \"off\"")
    })?;
    let refused = || format!("cannot listen on {address}");
    listener.set_nonblocking(true).with_context(refused)?;
    let address = listener.local_addr().with_context(refused)?;
    Ok(Door { listener, address })
}

/// Does what is asked for with the token.
struct Operator {
    running: Arc<Running>,
    token: String,
}

impl Operate for Operator {
    fn token(&self) -> &str {
        &self.token
    }

    fn shed(&self, order: ShedOrder) -> Result<Shed, (String, String)> {
        shed::shed(&self.running, order)
    }

    fn lease(&self, order: LeaseOrder) -> Doing<Acted> {
        let running = Arc::clone(&self.running);
        Box::pin(async move { drawer::lease(&running, &order).await })
    }

    fn pools(&self, order: PoolOrder) -> Doing<PoolsActed> {
        let running = Arc::clone(&self.running);
        Box::pin(async move { drawer::pools(&running, &order).await })
    }

    fn plan(&self, order: PlanOrder) -> Doing<Planned> {
        let running = Arc::clone(&self.running);
        Box::pin(async move { proposal::plan(&running, order).await })
    }

    fn bundle(&self, by: String) -> Doing<Vec<u8>> {
        let running = Arc::clone(&self.running);
        Box::pin(async move { bundle::bundle(&running, &by).await })
    }
}

/// Whether clients may ask for this database; else what was probably meant.
pub(super) fn known(running: &Running, pool: Option<&str>) -> Result<(), Untold> {
    let config = running.config();
    let Some(name) = pool.filter(|name| config.pool(name).is_none()) else { return Ok(()) };
    let names = || config.pools.keys().map(String::as_str);
    let fix = match nearest(name, names()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("the pools are: {}", names().collect::<Vec<_>>().join(", ")),
    };
    Err((format!("no such pool: {name}"), fix))
}

/// The picture of now, and what is understood of it.
pub(super) async fn scrape(running: &Running) -> Scrape {
    let view = running.view(Detail::Servers).await;
    let (why, holders) = {
        let watch = held(&running.watch);
        (watch.why(&view, None), watch.holders(&view, None))
    };
    let pgbouncer = running.config().listen.pgbouncer_metrics;
    Scrape { view, why, holders, review: running.reviews.newest(), pgbouncer }
}

struct Picture(Arc<Running>);

impl Source for Picture {
    fn scrape(&self) -> Scraping {
        let running = Arc::clone(&self.0);
        Box::pin(async move { scrape(&running).await })
    }

    fn why(&self, pool: Option<String>) -> Telling<Why> {
        let running = Arc::clone(&self.0);
        Box::pin(async move {
            known(&running, pool.as_deref())?;
            Ok(running.why(pool.as_deref()).await)
        })
    }

    fn holders(&self, pool: Option<String>) -> Telling<Held> {
        let running = Arc::clone(&self.0);
        Box::pin(async move {
            known(&running, pool.as_deref())?;
            let (at_ms, holders) = running.holders(pool.as_deref()).await;
            Ok(Held { at_ms, holders })
        })
    }

    fn now_ms(&self) -> u64 {
        unix_ms()
    }

    fn review(&self) -> Option<Arc<Reviewed>> {
        self.0.reviews.newest()
    }

    fn healthy(&self) -> Result<(), String> {
        self.0.proxy().map_or(Ok(()), poolwarden_proxy::Proxy::healthy)
    }

    fn ready(&self) -> Result<(), String> {
        match self.0.phase() {
            Phase::Starting => Err("starting".to_owned()),
            Phase::Serving => Ok(()),
            Phase::Draining => Err("draining".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_address_is_named_with_the_setting_to_change() {
        let taken = bind("127.0.0.1:0".parse().unwrap(), "listen.http").unwrap();
        let error = bind(taken.address, "listen.http").map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(&taken.address.to_string()) && error.contains("listen.http"), "{error}");
    }
}
