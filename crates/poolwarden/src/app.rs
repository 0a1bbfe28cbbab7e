//! The composition root: wires configuration, proxy, watch and console, and ends them in order.
//!
//! The main thread stays here from start to end: the embedded PostgreSQL is bound to the thread that started it.

mod bundle;
mod certificates;
mod change;
mod changes;
mod child;
mod drawer;
pub(crate) mod edit;
mod journal;
pub(crate) mod json;
mod log;
mod notify;
mod operator;
pub(crate) mod outward;
mod passage;
mod pidfile;
mod place;
mod plan;
mod probes;
mod proposal;
mod recorder;
mod reload;
mod review;
mod run_as;
mod running;
mod said;
mod servers;
mod shed;
mod stats;
mod stop;
mod syslog;
mod ticker;
mod view;
mod web;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use poolwarden_config::Config;
use poolwarden_proxy::Proxy;
use poolwarden_watch::Level;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::discover::Made;
use crate::embedded::Embedded;
use certificates::Certificates;
use change::{Chronicle, Standing};
use log::Log;
use pidfile::Pidfile;
use place::{Addresses, Place};
use recorder::Recorder;
use running::{Origin, Running};
use stop::Asked;
use web::Doors;

/// Logins, connects, HTTP and the journal; nothing of it is on the data path.
const WORKERS: usize = 2;
/// Tasks that have not ended by then are ended.
const LAST_TASKS: Duration = Duration::from_secs(1);

/// What `run` hands over.
pub(crate) struct Started {
    pub(crate) config: Config,
    pub(crate) source: Source,
    /// The files it was read from, by their names; none where there is no file.
    pub(crate) texts: Vec<(String, String)>,
}

/// Where the configuration came from, and so what a reload reads again.
pub(crate) enum Source {
    File(PathBuf),
    /// A pgbouncer.ini, whose `conffile` says where it is.
    Ini,
    Url(Made),
    Embedded(Box<Embedded>),
}

/// Runs until asked to stop; an error means that it could not start, or not end as it should.
pub(crate) fn run(started: Started) -> anyhow::Result<ExitCode> {
    let Started { config, source, texts } = started;
    let (origin, embedded) = match source {
        Source::File(path) => (Origin::File(path), None),
        Source::Ini => (Origin::Ini, None),
        Source::Url(made) => (Origin::Made(Arc::new(made)), None),
        Source::Embedded(embedded) => (Origin::Made(Arc::new(embedded.made().clone())), Some(embedded)),
    };
    let banner = embedded.as_ref().map(|embedded| embedded.banner());
    let served = serve((config, texts), origin, banner);
    // PostgreSQL ends after its pooler, and whatever became of it.
    let ended = embedded.map_or(Ok(()), |embedded| embedded.shutdown());
    served.and(ended).map(|()| ExitCode::SUCCESS)
}

fn serve(
    (config, texts): (Config, Vec<(String, String)>),
    origin: Origin,
    banner: Option<String>,
) -> anyhow::Result<()> {
    if let Some(user) = config.pgbouncer.as_ref().and_then(|process| process.user.as_ref()) {
        run_as::become_user(user)?;
    }
    let dir = place::directory(&config)?;
    let place = Place::open(&dir)?;
    let seed = place.seed()?;
    let token = place.token()?;
    let log = Log::start(&config)?;
    let pidfile = config.pgbouncer.as_ref().and_then(|process| process.pidfile.as_ref());
    let pidfile = pidfile.map(|path| Pidfile::take(Path::new(path))).transpose()?;
    let runtime = runtime()?;
    let chronicle = Chronicle::open(&dir, config.history.max_size);
    let basis = change::first(&texts, &config, &origin);
    let version = chronicle.begin(&basis, &config, origin.directory());
    let standing = Standing::begin(version, basis);
    let (running, stops) = Running::new(config, origin, seed, log.clone(), (chronicle.clone(), standing));
    running.reviews.obey(texts);
    let served = runtime.block_on(async {
        let mut asked = Asked::listen(&running.config(), stops)?;
        let served = Served::start(&running, &place, token, runtime.handle())?;
        welcome(&log, banner.as_deref(), &served.addresses, &dir)?;
        tell(&log, "READY=1");
        let (how, by) = asked.stop(&running).await;
        running.drain();
        log.say(Level::Info, "stopping", format!("{by}: stopping"));
        tell(&log, "STOPPING=1");
        stop::leave(&running, &served.proxy, how, &mut asked).await;
        served.end().await;
        anyhow::Ok(())
    });
    let withdrawn = place.withdraw().and(pidfile.map_or(Ok(()), Pidfile::release));
    runtime.shutdown_timeout(LAST_TASKS);
    chronicle.close(&log);
    if served.is_ok() {
        log.say(Level::Info, "stopped", "stopped");
    }
    log.flush();
    served.and(withdrawn)
}

fn runtime() -> anyhow::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(WORKERS).thread_name("side").enable_all().build().context("cannot start the side threads")
}

/// Everything that runs until it is told to stop.
struct Served {
    proxy: Proxy,
    addresses: Addresses,
    stopping: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Served {
    fn start(running: &Arc<Running>, place: &Place, token: String, runtime: &Handle) -> anyhow::Result<Self> {
        let config = running.config();
        let doors = Doors::open(&config)?;
        let (http, metrics) = [&doors.http, &doors.metrics].map(|door| door.as_ref().map(|door| door.address)).into();
        let operator = Arc::new(operator::Desk(Arc::clone(running)));
        let certificates = Certificates::load(&config, running.origin.directory());
        let certificates = certificates.map_err(|faults| anyhow::anyhow!("{}", faults.join("\n")))?;
        let mut settings = plan::settings(&config, running.seed);
        certificates.put(&mut settings.tls, &mut settings.hosts);
        settings.unix = settings.unix.or_else(|| place.socket_dir());
        let group = config.pgbouncer.as_ref().and_then(|process| process.unix_socket_group.as_ref());
        settings.unix_group = group.map(|name| run_as::group_id(name)).transpose()?;
        let proxy = Proxy::start(settings, operator, runtime)?;
        let listening = proxy.listening();
        let addresses = Addresses { postgres: listening.postgres, unix: listening.unix, http, metrics };
        running.serve(&proxy);
        let (stopping, stopped) = watch::channel(false);
        let mut tasks = doors.serve(running, token, &stopped)?;
        let (guard, views) = mpsc::channel(1);
        tasks.push(tokio::spawn(ticker::keep(Arc::clone(running), guard, stopped.clone())));
        tasks.push(tokio::spawn(change::keep(Arc::clone(running), views, stopped.clone())));
        tasks.push(tokio::spawn(probes::keep(Arc::clone(running), stopped.clone())));
        tasks.push(tokio::spawn(review::keep(Arc::clone(running), stopped.clone())));
        tasks.push(tokio::spawn(journal::keep(Arc::clone(running), proxy.clone(), stopped.clone())));
        let recorder = Recorder::start(running, &proxy, place.dir())?;
        tasks.push(tokio::spawn(recorder.keep(Arc::clone(running), proxy.clone(), stopped)));
        place.announce(&addresses)?;
        Ok(Self { proxy, addresses, stopping, tasks })
    }

    /// HTTP answers to the end: whoever asks is told that it drains.
    async fn end(self) {
        self.stopping.send_replace(true);
        for task in self.tasks {
            // A task that panicked has said so on standard error; the others still end.
            let _ended = task.await;
        }
    }
}

/// Says where it listens: to a person on standard output where PostgreSQL is ours, else in the log.
fn welcome(log: &Log, banner: Option<&str>, addresses: &Addresses, dir: &Path) -> anyhow::Result<()> {
    if let Some(banner) = banner {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{banner}").and_then(|()| out.flush()).context("standard output")?;
    }
    for line in listening(addresses, dir) {
        log.say(Level::Info, "listening", line);
    }
    Ok(())
}

fn listening(addresses: &Addresses, dir: &Path) -> Vec<String> {
    let mut doors: Vec<String> = addresses.postgres.iter().map(ToString::to_string).collect();
    doors.extend(addresses.unix.as_ref().map(|path| path.display().to_string()));
    let version = env!("CARGO_PKG_VERSION");
    let mut lines = vec![
        format!("poolwarden {version} listening on {}; data in {}", doors.join(", "), dir.display()),
        "console: psql to one of these with database poolwarden".to_owned(),
    ];
    lines.extend(addresses.http.map(|http| format!("metrics: http://{http}/metrics, health: /healthz and /readyz")));
    lines.extend(addresses.metrics.map(|http| format!("metrics for scrapers elsewhere: http://{http}/metrics")));
    lines
}

/// A service manager that cannot be told does not keep anybody from being served.
fn tell(log: &Log, state: &str) {
    if let Err(error) = notify::tell(state) {
        log.say(Level::Warn, "notify", format!("the service manager takes no {state} (NOTIFY_SOCKET): {error}"));
    }
}
