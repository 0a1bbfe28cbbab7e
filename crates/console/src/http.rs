//! HTTP: metrics and health, on their own connections, whatever the pools are doing.
//!
//! It knows the picture only through [`Source`]. Bounds: [`MAX_CONNECTIONS`] at once, a time limit
//! on every header, picture and connection; nothing but GET and HEAD is taken, no body is read,
//! but for what an operator may do with the token (`operate`).

mod look;
#[cfg(test)]
mod openapi;
mod operate;

pub use look::{Beside, Held, OPENAPI_DOCUMENT, Past, Untold, config_json, why_json, why_text};
pub use operate::{
    Acted, Applied, ApplyOrder, ConfirmOrder, Doing, Done, LeaseAct, LeaseOrder, Meant, Operate, PlanOrder, Planned,
    PlannedChange, PlannedPool, PlannedWait, PoolAct, PoolOrder, PoolsActed, Refused, RefusedKind, RollbackOrder, Shed,
    ShedOrder,
};

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use poolwarden_watch::why::Why;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::history::History;
use crate::metrics::{self, Scrape};
use crate::review::Reviewed;
use crate::standing::Standing;

/// Scrapers, probes and a few people; who comes on top waits in the listen queue.
pub const MAX_CONNECTIONS: usize = 64;

/// A request's head, and silence between two requests: no scraper or browser on the same network needs longer.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the picture: it is answered in milliseconds or something is wrong.
const VIEW_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection is asked to end after this, so that one that reads nothing frees its place.
const CONNECTION_AGE: Duration = Duration::from_secs(120);
/// What is under way may end within this, at a shutdown or at `CONNECTION_AGE`.
const GOODBYE: Duration = Duration::from_secs(5);
/// After a failed accept (no descriptors left, mostly): not at once again, and soon.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const EXISTS: &str = "/metrics, /healthz, /readyz";
/// What is there besides where operators are.
const OPERATED: &str = ", /api/v1/why, /api/v1/holders, /api/v1/config, /api/v1/review, /api/v1/history, /api/v1/openapi.json; \
                        with POST and the operate token: ";

/// Who sent the request.
#[derive(Clone, Copy, Debug)]
struct Asker(SocketAddr);

/// Whom a listener lets in.
#[derive(Clone, Debug)]
struct Gate {
    /// Names it answers for besides localhost; `None`: for any, for it is not on loopback.
    names: Option<Arc<[String]>>,
    /// It also takes what an operator may do.
    operated: bool,
}

/// A picture and what is understood of it, soon.
pub type Scraping = Pin<Box<dyn Future<Output = Scrape> + Send>>;

/// An answer, soon, or why there is none.
pub type Telling<T> = Pin<Box<dyn Future<Output = Result<T, Untold>> + Send>>;

/// Where answers come from.
pub trait Source: Send + Sync + 'static {
    /// A picture of the process for metrics.
    fn scrape(&self) -> Scraping;
    /// Why requests of this database, or of any, wait.
    fn why(&self, pool: Option<String>) -> Telling<Why>;
    /// Who holds server connections of this database, or of any.
    fn holders(&self, pool: Option<String>) -> Telling<Held>;
    /// Now, in milliseconds since 1970 UTC.
    fn now_ms(&self) -> u64;
    /// How the configuration in force stands.
    fn standing(&self) -> Standing;

    /// Versions of the configuration, and deeds of operators.
    fn history(&self, asked: Past) -> Telling<History>;

    /// The newest review, in which there may be nothing yet; `None`: there is nothing to review.
    fn review(&self) -> Option<Arc<Reviewed>>;
    /// Whether every loop turns; else which does not.
    ///
    /// # Errors
    /// One line that names what stands still.
    fn healthy(&self) -> Result<(), String>;
    /// Whether the process listens and is not draining.
    ///
    /// # Errors
    /// One line that says why not.
    fn ready(&self) -> Result<(), String>;
}

/// Serves until `shutdown` ends, then lets what is under way finish for a few seconds.
///
/// With an `operator` it also takes what needs the operate token; where metrics are served to others, there is none.
///
/// On a loopback address only requests for localhost, a loopback address or one of `names` are
/// answered: a page of some other site, whose name was pointed here, must not read what is local.
///
/// # Errors
/// When the listener's own address cannot be read.
pub async fn serve(
    listener: TcpListener,
    source: Arc<dyn Source>,
    operator: Option<Arc<dyn Operate>>,
    names: Vec<String>,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let gate = Gate {
        names: listener.local_addr()?.ip().is_loopback().then(|| Arc::from(names)),
        operated: operator.is_some(),
    };
    let router = router(source, operator, gate);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &places) => accepted,
            Some(_ended) = connections.join_next() => continue, // a connection's own failure concerns nobody else
        };
        let Some((stream, peer, place)) = accepted else { break };
        let (router, stopping) = (router.clone().layer(Extension(Asker(peer))), stopping.clone());
        connections.spawn(async move {
            connection(stream, router, stopping).await;
            drop(place);
        });
    }
    drop(listener);
    stop.send_replace(true);
    // Each connection ends by itself within GOODBYE; the set is empty then.
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// The next connection and its place; `None` when places are no longer given, which never happens while serving.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return Some((stream, peer, place)),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await, // the peer is gone, or descriptors are short: go on
        }
    }
}

async fn connection(stream: TcpStream, router: Router, mut stopping: watch::Receiver<bool>) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let mut serving = pin!(server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    tokio::select! {
        _ended = serving.as_mut() => return, // a broken peer is its own business
        _stopped = stopping.wait_for(|stop| *stop) => {}
        () = tokio::time::sleep(CONNECTION_AGE) => {}
    }
    serving.as_mut().graceful_shutdown();
    // Whether it ended in time or not, it is dropped, and so closed, here.
    let _late = timeout(GOODBYE, serving).await;
}

fn router(source: Arc<dyn Source>, operator: Option<Arc<dyn Operate>>, gate: Gate) -> Router {
    let looked_at = Router::new()
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(health))
        .route("/readyz", get(readiness))
        .with_state(Arc::clone(&source));
    let operated = operator.map_or_else(Router::new, |operator| {
        look::router(source, Arc::clone(&operator)).merge(operate::router(operator, gate.clone()))
    });
    let there =
        if gate.operated { format!("{EXISTS}{OPERATED}{}", operate::PATHS.join(", ")) } else { EXISTS.to_owned() };
    let absent = move || {
        let text = format!("not here; what there is: {there}\n");
        async move { (StatusCode::NOT_FOUND, text) }
    };
    looked_at.merge(operated).fallback(absent).layer(middleware::from_fn_with_state(gate, admit))
}

async fn show_metrics(State(source): State<Arc<dyn Source>>) -> Response {
    match timeout(VIEW_TIMEOUT, source.scrape()).await {
        Ok(scrape) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::encode(&scrape)).into_response(),
        Err(_) => {
            let text = format!("the process did not tell its state within {}s\n", VIEW_TIMEOUT.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

async fn health(State(source): State<Arc<dyn Source>>) -> Response {
    verdict(source.healthy())
}

async fn readiness(State(source): State<Arc<dyn Source>>) -> Response {
    verdict(source.ready())
}

fn verdict(answer: Result<(), String>) -> Response {
    match answer {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

/// What is refused before any route: other methods, and on loopback other hosts.
async fn admit(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let operated = gate.operated && request.method() == Method::POST && operate::PATHS.contains(&request.uri().path());
    if request.method() != Method::GET && request.method() != Method::HEAD && !operated {
        let allow = [(header::ALLOW, "GET, HEAD")];
        return (StatusCode::METHOD_NOT_ALLOWED, allow, "only GET and HEAD are answered here\n").into_response();
    }
    if let Some(names) = &gate.names
        && !host_is_ours(request.headers(), names)
    {
        let text = "this address answers for localhost and the configured names only; see the Host header\n";
        return (StatusCode::MISDIRECTED_REQUEST, text).into_response();
    }
    next.run(request).await
}

fn host_is_ours(headers: &HeaderMap, names: &[String]) -> bool {
    let Some(Ok(host)) = headers.get(header::HOST).map(|host| host.to_str()) else {
        return false;
    };
    is_ours(host, names)
}

/// Whether `host`, with or without a port, is localhost, a loopback address or one of our names.
fn is_ours(host: &str, names: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let loopback = bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    loopback || name.eq_ignore_ascii_case("localhost") || names.iter().any(|ours| ours.eq_ignore_ascii_case(name))
}
