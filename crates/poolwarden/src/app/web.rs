//! Metrics and health over HTTP, from the same picture as the SQL console; on `listen.http` also what an operator may do.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use poolwarden_config::nearest;
use poolwarden_console::history::History;
use poolwarden_console::http::{
    self, Held, Meant, Operate, RefusedKind, Scraping, Shed, ShedOrder, Source, Telling, Untold,
};
use poolwarden_console::http::{
    Acted, Applied, ApplyOrder, ConfirmOrder, Doing, LeaseOrder, Past, PlanOrder, Planned, PoolOrder,
};
use poolwarden_console::http::{PoolsActed, Refused, RollbackOrder};
use poolwarden_console::metrics::Scrape;
use poolwarden_console::review::Reviewed;
use poolwarden_console::standing::Standing;
use poolwarden_switch::Detail;
use poolwarden_watch::Level;
use poolwarden_watch::why::Why;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::bundle;
use super::change;
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
        let (by, target) = (order.by.clone(), format!("{} for {}", order.class, order.length));
        let done = shed::shed(&self.running, order);
        let outcome = match &done {
            Ok(_) => "done",
            Err((why, _)) => why,
        };
        self.running.chronicle.audit(&by, "shed", &target, outcome);
        done
    }

    fn lease(&self, order: LeaseOrder) -> Doing<Acted> {
        let target = match &order.meant {
            Meant::Conn(serial) => format!("server connection {serial}"),
            Meant::Stuck(pool) => format!("what is stuck in {pool}"),
        };
        self.deed((order.by.clone(), order.act.name(), target), |running| async move {
            drawer::lease(&running, &order).await
        })
    }

    fn pools(&self, order: PoolOrder) -> Doing<PoolsActed> {
        let target = order.pool.clone().unwrap_or_else(|| "all pools".to_owned());
        self.deed((order.by.clone(), order.act.name(), target), |running| async move {
            drawer::pools(&running, &order).await
        })
    }

    fn apply(&self, order: ApplyOrder) -> Doing<Applied> {
        let target = match (&order.text, order.set.is_empty()) {
            (Some(_), _) => "a whole file".to_owned(),
            (None, true) => "the file".to_owned(),
            (None, false) => order.set.join(" "),
        };
        self.deed((order.by.clone(), "apply", target), |running| async move {
            change::apply(&running, order).await.map_err(|refused| proposal::untaken(&refused, "apply it again"))
        })
    }

    fn confirm(&self, order: ConfirmOrder) -> Doing<Applied> {
        self.deed((order.by.clone(), "confirm", String::new()), |running| async move {
            change::confirm(&running, order).await.map_err(|refused| proposal::untaken(&refused, "confirm it again"))
        })
    }

    fn rollback(&self, order: RollbackOrder) -> Doing<Applied> {
        let target = order.to.map_or_else(String::new, |n| format!("version {n}"));
        self.deed((order.by.clone(), "rollback", target), |running| async move {
            change::rollback(&running, order).await.map_err(|refused| proposal::untaken(&refused, "try it again"))
        })
    }

    fn plan(&self, order: PlanOrder) -> Doing<Planned> {
        let running = Arc::clone(&self.running);
        Box::pin(async move { proposal::plan(&running, order).await })
    }

    fn bundle(&self, by: String) -> Doing<Vec<u8>> {
        self.deed((by.clone(), "bundle", String::new()), |running| async move { bundle::bundle(&running, &by).await })
    }
}

impl Operator {
    /// Does it to its end, also where whoever asked hangs up, and puts it on record: by whom, what, to what, how it ended.
    fn deed<T, F>(
        &self,
        (by, verb, target): (String, &'static str, String),
        does: impl FnOnce(Arc<Running>) -> F,
    ) -> Doing<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Refused>> + Send + 'static,
    {
        let running = Arc::clone(&self.running);
        let doing = does(Arc::clone(&running));
        let doing = tokio::spawn(async move {
            let done = doing.await;
            let outcome = done.as_ref().err().map_or("done", |refused| &refused.error);
            running.chronicle.audit(&by, verb, &target, outcome);
            done
        });
        Box::pin(async move {
            doing.await.unwrap_or_else(|_| {
                let (error, fix) = ("it ended early".to_owned(), "the log says how".to_owned());
                Err(Refused { kind: RefusedKind::Unready, error, fix })
            })
        })
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
    Scrape { view, why, holders, review: running.reviews.newest(), standing: running.stands(), pgbouncer }
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

    fn standing(&self) -> Standing {
        self.0.stands()
    }

    fn history(&self, asked: Past) -> Telling<History> {
        let running = Arc::clone(&self.0);
        Box::pin(async move { change::history(&running, asked).await })
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
