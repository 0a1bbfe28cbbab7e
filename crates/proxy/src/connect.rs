//! Connects: from an errand to a server connection that has logged in; and cancel requests, each on a connection of its own.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use poolwarden_switch::pool::{ConnId, ConnectFailure, Failure, HostId, Input, Limit, LoopId, PoolId};
use poolwarden_switch::relay::login::{
    Capacity, Channel, Credentials, LoginFailure, LoginStep, Password, ServerLogin, Welcome,
};
use poolwarden_switch::relay::pgwire::make;
use poolwarden_switch::relay::{Defaults, Server};
use poolwarden_switch::{Mail, Newcomer};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::address::Address;
use crate::inner::{Inner, held};
use crate::link::Link;
use crate::random;
use crate::settings::HostPlan;
use crate::stream::{Socket, Stream};

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

async fn try_open(inner: &Inner, opening: Opening) -> Result<Newcomer<Link>, ConnectFailure> {
    let gone = || failure(Failure::Database, "3D000", "the pool is not configured any more");
    let pool = inner.shared.pool(opening.host, opening.pool).ok_or_else(gone)?;
    let plan = inner.plan(opening.host).ok_or_else(gone)?;
    let directory = inner.directory();
    let (user, database, password) = directory.login(&pool.key.database, &pool.key.user).ok_or_else(gone)?;
    let configured = password.is_some();
    let known = (opening.host, user.clone());
    let password = inner.with_keys(&known, password);
    let credentials = Credentials { user, database, password, settings: pool.terms().startup.clone() };
    let opened_at = inner.clock.now().as_nanos();
    let work = async {
        let mut stream = dial(&plan).await.map_err(|why| unreachable(&plan, &why))?;
        let (local, remote) = stream.ends();
        let welcome = log_in(&mut stream, credentials, configured).await?;
        let link = stream.into_link(None).map_err(|why| unreachable(&plan, &why))?;
        Ok((link, welcome, local, remote))
    };
    let (link, mut welcome, local, remote) = match tokio::time::timeout(plan.connect_timeout, work).await {
        Ok(done) => done?,
        Err(_) => {
            let message = format!("no answer from {} within {:?}", plan.address, plan.connect_timeout);
            return Err(failure(Failure::Down, "08001", &message));
        }
    };
    if let Some(derived) = welcome.derived.take() {
        held(&inner.keys).insert(known, derived);
    }
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
        link,
    })
}

impl Inner {
    /// A plain password with the keys derived from it at an earlier login, so that they are not derived again.
    fn with_keys(&self, known: &(HostId, String), password: Option<Password>) -> Option<Password> {
        match password {
            Some(Password::Plain(plain, None)) => Some(Password::Plain(plain, held(&self.keys).get(known).cloned())),
            other => other,
        }
    }
}

/// Connects: the name is resolved now, and every address it has is tried.
pub(crate) async fn dial(plan: &HostPlan) -> io::Result<Stream> {
    match &plan.address {
        Address::Unix(path) => Ok(Stream::new(Socket::Unix(UnixStream::connect(path).await?))),
        Address::Tcp { host, port } => {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for address in tokio::net::lookup_host((host.as_str(), *port)).await? {
                match TcpStream::connect(address).await {
                    Ok(stream) => {
                        tune(&stream, plan)?;
                        return Ok(Stream::new(Socket::Tcp(stream)));
                    }
                    Err(why) => last = io::Error::new(why.kind(), format!("{address}: {why}")),
                }
            }
            Err(last)
        }
    }
}

fn tune(stream: &TcpStream, plan: &HostPlan) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    if let Some(idle) = plan.keepalive {
        let step = (idle / 3).max(Duration::from_secs(1));
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle).with_interval(step).with_retries(3))?;
    }
    socket.set_tcp_user_timeout(plan.tcp_user_timeout)
}

/// Logs in on a connected stream.
pub(crate) async fn log_in(
    stream: &mut Stream,
    credentials: Credentials,
    configured: bool,
) -> Result<Welcome, ConnectFailure> {
    let mut login = ServerLogin::new(credentials, random::bytes(), Channel::default());
    let lost = |why: io::Error| failure(Failure::Down, "08006", &format!("lost during login: {why}"));
    stream.write_all(&login.start()).await.map_err(lost)?;
    let mut buffer = vec![0; 4096];
    loop {
        while let Some(step) = login.poll() {
            match step {
                LoginStep::Send(bytes) => stream.write_all(&bytes).await.map_err(lost)?,
                LoginStep::Ready(welcome) => return Ok(*welcome),
            }
        }
        let count = stream.read(&mut buffer).await.map_err(lost)?;
        if count == 0 {
            return Err(failure(Failure::Down, "08006", "the server closed the connection during login"));
        }
        login.handle(&buffer[..count]).map_err(|why| classify(&why, configured))?;
    }
}

fn unreachable(plan: &HostPlan, why: &io::Error) -> ConnectFailure {
    failure(Failure::Down, "08001", &format!("cannot reach {}: {why}", plan.address))
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
    let work = async { deliver(&mut dial(&plan).await?, &request).await };
    matches!(tokio::time::timeout(CANCEL_PATIENCE, work).await, Ok(Ok(())))
}

async fn deliver(stream: &mut Stream, request: &[u8]) -> io::Result<()> {
    stream.write_all(request).await?;
    let mut end = [0; 64];
    while stream.read(&mut end).await? > 0 {}
    Ok(())
}
