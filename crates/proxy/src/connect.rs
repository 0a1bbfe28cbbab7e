//! Connects: from an errand to a server connection that has logged in; and cancel requests, each on a connection of its own.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use poolwarden_switch::pool::{ConnId, ConnectFailure, Failure, HostId, Input, Limit, LoopId, PoolId};
use poolwarden_switch::relay::login::{Capacity, Channel, Credentials, LoginFailure, LoginStep, ServerLogin, Welcome};
use poolwarden_switch::relay::pgwire::make;
use poolwarden_switch::relay::{Defaults, Server};
use poolwarden_switch::{Mail, Newcomer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::auth;
use crate::inner::{Inner, held};
use crate::link::Link;
use crate::random;
use crate::reach::{self, Unreached};
use crate::settings::HostPlan;
use crate::stream::Stream;
use crate::tls;

/// A connection to be opened.
#[derive(Clone, Copy)]
pub(crate) struct Opening {
    pub(crate) host: HostId,
    pub(crate) conn: ConnId,
    pub(crate) pool: PoolId,
    pub(crate) near: LoopId,
}

/// Opens one server connection and brings it to its loop, or tells the core why not.
pub(crate) async fn open(inner: Arc<Inner>, opening: Opening) {
    match try_open(&inner, opening).await {
        Ok(newcomer) => inner.post(opening.near, Mail::Opened(Box::new(newcomer))),
        Err(failure) => inner.drive(opening.host, Input::Opened(opening.conn, Err(failure))),
    }
}

async fn try_open(inner: &Arc<Inner>, opening: Opening) -> Result<Newcomer<Link>, ConnectFailure> {
    let gone = || failure(Failure::Database, "3D000", "the pool is not configured any more");
    let pool = inner.shared.pool(opening.host, opening.pool).ok_or_else(gone)?;
    let plan = inner.plan(opening.host).ok_or_else(gone)?;
    let outward = auth::outward(inner, opening.host, &pool.key.database, &pool.key.user).await?;
    let credentials = outward.credentials(pool.terms().startup.clone());
    let opened_at = inner.clock.now().as_nanos();
    let work = async {
        let (stream, welcome) = session(inner, opening.host, &plan, credentials, outward.configured).await?;
        let (local, remote) = stream.ends();
        let tls = stream.tls().map(|tls| tls.describe().into());
        let link = stream.into_link(None).map_err(|why| failure(Failure::Down, "08006", &why.to_string()))?;
        Ok((link, welcome, (local, remote, tls)))
    };
    let (link, mut welcome, (local, remote, tls)) = match tokio::time::timeout(plan.connect_timeout, work).await {
        Ok(done) => done.map_err(|why| auth::refused(inner, opening.host, &pool.key.database, &outward, why))?,
        Err(_) => {
            let message = format!("no answer from {} within {:?}", plan.address, plan.connect_timeout);
            return Err(failure(Failure::Down, "08001", &message));
        }
    };
    outward.learn(inner, opening.host, welcome.derived.take());
    let defaults = pool.learn(Defaults::new(&welcome.parameters));
    Ok(Newcomer {
        host: opening.host,
        conn: opening.conn,
        server: Server::new(welcome.pid, welcome.secret, defaults).tracking(pool.terms().track.clone()),
        pool,
        opened_at,
        serial: inner.shared.serial(),
        remote,
        local,
        tls,
        link,
    })
}

/// Reaches a server and logs in: in the ways its TLS policy has, and with the newest protocol it knows.
pub(crate) async fn session(
    inner: &Inner,
    host: HostId,
    plan: &HostPlan,
    credentials: Credentials,
    configured: bool,
) -> Result<(Stream, Welcome), ConnectFailure> {
    let unreachable =
        |why: Unreached| failure(Failure::Down, "08001", &format!("cannot reach {}: {why}", plan.address));
    let mut ways = reach::ways(plan).iter().peekable();
    let mut minor = inner.minor(host, plan);
    while let Some(way) = ways.next() {
        let is_last = ways.peek().is_none();
        let mut stream = match reach::by(*way, plan).await {
            Err(Unreached::Tls(_)) if !is_last => continue,
            reached => reached.map_err(unreachable)?,
        };
        let mut ended = log_in(&inner.auth.tally, &mut stream, plan, (credentials.clone(), minor)).await;
        if minor > 0 && matches!(ended, Err(Unlogged::Unversed(_))) {
            minor = 0;
            stream = reach::by(*way, plan).await.map_err(unreachable)?;
            ended = log_in(&inner.auth.tally, &mut stream, plan, (credentials.clone(), minor)).await;
            if ended.is_ok() {
                inner.knows_no_minor(host);
            }
        }
        match ended {
            Ok(welcome) => return Ok((stream, welcome)),
            // No line of its pg_hba.conf lets us in this way. A wrong password is not said twice.
            Err(Unlogged::Said(LoginFailure::Server { sqlstate, .. })) if sqlstate == "28000" && !is_last => {}
            Err(Unlogged::Said(why) | Unlogged::Unversed(why)) => return Err(classify(&why, configured)),
            Err(Unlogged::Lost(why)) => return Err(failure(Failure::Down, "08006", &why)),
        }
    }
    Err(failure(Failure::Down, "08001", "there is no way to reach the server")) // there is always one, and the last one returns
}

/// Why there was no login.
pub(crate) enum Unlogged {
    /// The server said so, or what it said makes no sense.
    Said(LoginFailure),
    /// It does not know the protocol version asked for.
    Unversed(LoginFailure),
    /// The connection ended.
    Lost(String),
}

/// Logs in on a stream; key derivations are counted in `tally`.
pub(crate) async fn log_in(
    tally: &auth::Tally,
    stream: &mut Stream,
    plan: &HostPlan,
    (credentials, minor): (Credentials, u16),
) -> Result<Welcome, Unlogged> {
    let end_point = stream.tls().and_then(|tls| tls.peer()).and_then(tls::end_point);
    let channel = Channel { end_point, binding: plan.tls.binding, minor };
    let mut login = ServerLogin::new(credentials, random::bytes(), channel);
    let lost = |why: io::Error| Unlogged::Lost(format!("lost during login: {why}"));
    stream.write_all(&login.start()).await.map_err(lost)?;
    let mut buffer = vec![0; 4096];
    let mut heard_nothing = true;
    loop {
        while let Some(step) = login.poll() {
            match step {
                LoginStep::Send(bytes) => stream.write_all(&bytes).await.map_err(lost)?,
                LoginStep::Ready(welcome) => return Ok(*welcome),
            }
        }
        let count = stream.read(&mut buffer).await.map_err(lost)?;
        if count == 0 && heard_nothing && minor > 0 {
            let why = LoginFailure::Version("it closed the connection without a word".to_owned());
            return Err(Unlogged::Unversed(why));
        }
        if count == 0 {
            return Err(Unlogged::Lost("the server closed the connection during login".to_owned()));
        }
        heard_nothing = false;
        let derivations = login.derivations();
        let heard = login.handle(&buffer[..count]);
        tally.derived(login.derivations() - derivations);
        let unlogged =
            |why| if matches!(why, LoginFailure::Version(_)) { Unlogged::Unversed(why) } else { Unlogged::Said(why) };
        heard.map_err(unlogged)?;
    }
}

impl Inner {
    /// The minor version of protocol 3 to ask this server for.
    fn minor(&self, host: HostId, plan: &HostPlan) -> u16 {
        if held(&self.unversed).contains(&host) { 0 } else { plan.minor }
    }

    fn knows_no_minor(&self, host: HostId) {
        held(&self.unversed).insert(host);
    }
}

/// What a failed login means for the core.
fn classify(why: &LoginFailure, configured: bool) -> ConnectFailure {
    let message = why.to_string();
    match why {
        LoginFailure::Server { sqlstate, capacity, .. } => {
            let kind = match (capacity, sqlstate.as_str()) {
                (Some(Capacity::Role), _) => Failure::Capacity(Limit::PgRole),
                (Some(Capacity::Database), _) => Failure::Capacity(Limit::PgDatabase),
                (Some(Capacity::Slots), _) => Failure::Capacity(Limit::PgSlots),
                (None, "28P01" | "28000") => Failure::Password { configured },
                (None, code) if code.starts_with("57P") || code.starts_with("08") || code.starts_with("58") => {
                    Failure::Down
                }
                (None, _) => Failure::Database,
            };
            failure(kind, sqlstate, &message)
        }
        LoginFailure::NoPassword => failure(Failure::Password { configured }, "28000", &message),
        LoginFailure::Protocol(_)
        | LoginFailure::Version(_)
        | LoginFailure::ChannelBinding(_)
        | LoginFailure::Unsupported(_)
        | LoginFailure::ServerSignature => failure(Failure::Down, "08001", &message),
    }
}

/// Most bytes of a failure's message that are kept.
const MOST_WORDS: usize = 512;

pub(crate) fn failure(kind: Failure, sqlstate: &str, message: &str) -> ConnectFailure {
    let mut code = *b"08001";
    if let Ok(given) = sqlstate.as_bytes().try_into() {
        code = given;
    }
    let mut end = message.len().min(MOST_WORDS);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    ConnectFailure { kind, sqlstate: code, message: message[..end].into() }
}

/// A cancel request that PostgreSQL does not take within this has hung.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);

/// Sends a cancel request and waits for the end of its connection; false when that hangs or cannot be reached.
pub(crate) async fn cancel(inner: &Inner, host: HostId, pid: u32, secret: &[u8]) -> bool {
    let Some(plan) = inner.plan(host) else { return false };
    let mut request = Vec::new();
    make::cancel_request(&mut request, pid, secret);
    let work = async {
        match reach::any(&plan).await {
            Ok(mut stream) => deliver(&mut stream, &request).await.is_ok(),
            Err(_) => false,
        }
    };
    tokio::time::timeout(CANCEL_PATIENCE, work).await.unwrap_or(false)
}

async fn deliver(stream: &mut Stream, request: &[u8]) -> io::Result<()> {
    stream.write_all(request).await?;
    let mut end = [0; 64];
    while stream.read(&mut end).await? > 0 {}
    Ok(())
}
