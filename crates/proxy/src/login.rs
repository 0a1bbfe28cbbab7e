//! The login lane: from an accepted socket to a client that has proven who it is, which then joins a loop.
//!
//! Everything here is bounded: how many are logging in, how long it takes, how many bytes are kept.
//! When too many are there, the oldest that has said nothing makes room.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use poolwarden_switch::pool::PoolKey;
use poolwarden_switch::relay::greet::{Greeting, Rules, Session, Step, Who};
use poolwarden_switch::relay::pgwire::make;
use poolwarden_switch::{Joining, Mail, Secret};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cancel;
use crate::console;
use crate::directory::CONSOLE;
use crate::figures::bump;
use crate::haproxy;
use crate::inner::{Inner, held};
use crate::link::Place;
use crate::operator;
use crate::random;
use crate::stream::{Socket, Stream};
use crate::visitors::Visitor;

/// Where a connection comes from and arrived.
#[derive(Clone, Copy)]
struct Ends {
    remote: Option<SocketAddr>,
    local: Option<SocketAddr>,
    /// It came over the unix socket from a process of our own user.
    own_user: bool,
}

/// Takes in an accepted connection.
pub(crate) fn welcome(inner: &Arc<Inner>, arrival: Socket, remote: Option<SocketAddr>, local: Option<SocketAddr>) {
    let limits = held(&inner.state).limits;
    let place = Place::take(&inner.counters.logins, limits.max_logins);
    if place.is_none() && !inner.visitors.make_room() {
        bump(&inner.counters.refused_clients);
        inner.notes.add("login", "too many are logging in (limits.max_logins); closed one more at once", remote);
        return;
    }
    let inner = inner.clone();
    let visitor = inner.visitors.enter();
    tokio::spawn(async move {
        let ends = Ends { remote, local, own_user: is_own_user(&arrival) };
        let life = async {
            if let Socket::Tcp(stream) = &arrival {
                let _ = tune(stream); // the socket may be gone already: reading will tell
            }
            receive(&inner, Stream::new(arrival), ends, &visitor).await
        };
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(limits.login_timeout, life) => outcome,
            () = visitor.leave.notified() => Ok(None),
        };
        inner.visitors.exit(&visitor);
        drop(place);
        match outcome {
            Ok(Some(console)) => console.await,
            Ok(None) => {}
            Err(_) => inner.notes.add("login", format!("login took longer than {:?}", limits.login_timeout), remote),
        }
    });
}

/// A client that is gone without a word is noticed within two minutes, also while nothing is sent to it.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive.with_retries(4))?;
    socket.set_tcp_user_timeout(Some(Duration::from_secs(120)))
}

fn is_own_user(arrival: &Socket) -> bool {
    match arrival {
        Socket::Tcp(_) => false,
        Socket::Unix(stream) => stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw()),
    }
}

/// What goes on after the login, outside its time limit: a session on the SQL console.
type After = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn receive(inner: &Arc<Inner>, mut stream: Stream, mut ends: Ends, visitor: &Visitor) -> Option<After> {
    let trusted = held(&inner.state).trusted.clone();
    if ends.remote.is_some_and(|remote| haproxy::is_trusted(&trusted, remote.ip())) {
        match read_proxy_header(&mut stream).await {
            Ok(source) => ends.remote = source.or(ends.remote),
            Err(why) => {
                inner.notes.add("protocol", why, ends.remote);
                return None;
            }
        }
    }
    // who says nothing costs no buffer
    stream.readable_now().await.ok()?;
    let mut greeting = Greeting::new(Rules::new(inner.seed), random::bytes());
    let mut buffer = vec![0; 2048];
    loop {
        while let Some(step) = greeting.poll() {
            match step {
                Step::Send(bytes) => stream.write_all(&bytes).await.ok()?,
                Step::StartTls { .. } => return None, // TLS is not offered here
                Step::Lookup(who) => look_up(inner, &mut greeting, &who, ends),
                Step::Cancel { pid, secret } => {
                    cancel::take_in(inner, stream, (pid, &secret), (ends.remote, ends.local)).await;
                    return None;
                }
                Step::Authenticated(session) => return join(inner, stream, *session, ends).await,
                Step::Close => {
                    linger(&mut stream, &mut buffer).await;
                    return None;
                }
            }
        }
        let count = match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => {
                if !greeting.silent() {
                    inner.notes.add("login", "the client left before its login was done", ends.remote);
                }
                return None;
            }
            Ok(count) => count,
        };
        if !visitor.spoke.swap(true, Ordering::Relaxed) {
            bump(&inner.counters.opened);
        }
        if let Err(error) = greeting.handle(&buffer[..count]) {
            note_failure(inner, &error, ends.remote);
        }
    }
}

async fn read_proxy_header(stream: &mut Stream) -> Result<Option<SocketAddr>, String> {
    let mut header = [0; haproxy::HEADER];
    let cut = |why: io::Error| format!("PROXY protocol header: {why}");
    stream.read_exact(&mut header).await.map_err(cut)?;
    let mut body = vec![0; haproxy::body(&header)?];
    stream.read_exact(&mut body).await.map_err(cut)?;
    Ok(haproxy::source(&header, &body))
}

fn note_failure(inner: &Inner, error: &poolwarden_switch::relay::greet::GreetError, remote: Option<SocketAddr>) {
    bump(&inner.counters.login_failures);
    inner.notes.add("login", format!("{} ({})", error.message, error.reason), remote);
}

fn look_up(inner: &Inner, greeting: &mut Greeting, who: &Who, ends: Ends) {
    let mut found = inner.directory().found(&who.user);
    if ends.own_user && CONSOLE.contains(&who.database.as_str()) {
        found.method = poolwarden_switch::relay::greet::Method::Trust;
    }
    if let Err(error) = greeting.answer(found) {
        note_failure(inner, &error, ends.remote);
    }
}

/// The client has proven who it is: it goes to the console, to a loop, or away.
async fn join(inner: &Arc<Inner>, mut stream: Stream, session: Session, ends: Ends) -> Option<After> {
    let directory = inner.directory();
    if CONSOLE.contains(&session.database.as_str()) {
        let admin = ends.own_user || directory.is_console_admin(&session.user);
        if !admin && !directory.is_console_reader(&session.user) {
            let message = format!("user \"{}\" may not use the console", session.user);
            turn_away(&mut stream, "28000", &message, Some("name the user under [console] readers or admins")).await;
            return None;
        }
        let who = operator::Who { user: session.user, admin, remote: ends.remote };
        return Some(Box::pin(console::serve(inner.clone(), stream, session.leftover, who)));
    }
    if session.replication {
        let hint = Some("connect to PostgreSQL itself for replication");
        turn_away(&mut stream, "0A000", "replication connections are not pooled", hint).await;
        return None;
    }
    let Some(route) = directory.route(&session.database) else {
        let message = format!("database \"{}\" does not exist", session.database);
        turn_away(&mut stream, "3D000", &message, Some("ask for a configured database, or add [pools.NAME]")).await;
        return None;
    };
    let limits = held(&inner.state).limits;
    let Some(place) = Place::take(&inner.counters.clients, limits.max_clients) else {
        bump(&inner.counters.refused_clients);
        let message = format!("too many clients: max_clients is reached ({0} of {0})", limits.max_clients);
        turn_away(&mut stream, "53300", &message, Some("limits.max_clients binds; raise it, or connect less")).await;
        return None;
    };
    let joining = Joining {
        host: route.host,
        class: directory.class(&session.user, route),
        key: PoolKey { database: session.database, user: session.user },
        settings: session.settings,
        leftover: session.leftover,
        secret: Secret::new(random::bytes(), session.minor, inner.instance),
        serial: inner.shared.serial(),
        connected_at: inner.clock.now().as_nanos(),
        remote: ends.remote,
        local: ends.local,
    };
    let link = stream.into_link(Some(place)).ok()?;
    inner.post(inner.least_busy(), Mail::Join(Box::new(joining), link));
    None
}

async fn turn_away(stream: &mut Stream, sqlstate: &str, message: &str, hint: Option<&str>) {
    let mut bytes = Vec::new();
    make::error(&mut bytes, &make::Report { severity: "FATAL", sqlstate, message, detail: None, hint });
    if stream.write_all(&bytes).await.is_ok() {
        linger(stream, &mut [0; 512]).await;
    }
}

/// Closes our side and reads the other's for a moment, so that the last words are not lost to a reset.
async fn linger(stream: &mut Stream, buffer: &mut [u8]) {
    const PATIENCE: Duration = Duration::from_millis(500);
    const MOST_READS: usize = 16;
    if stream.shutdown().await.is_err() {
        return;
    }
    let drain = async {
        for _ in 0..MOST_READS {
            if !matches!(stream.read(buffer).await, Ok(1..)) {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(PATIENCE, drain).await; // its own end is the best that can be hoped for
}
