//! The login lane: from an accepted socket to a client that has proven who it is, which then joins a loop.
//!
//! Everything here is bounded: how many are logging in, how long it takes, how many bytes are kept.
//! When too many are there, the oldest that has said nothing makes room.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use poolwarden_switch::pool::{PoolKey, Time};
use poolwarden_switch::relay::greet::{Fault, GreetError, Greeting, Replication, Session, Step, Who};
use poolwarden_switch::relay::pgwire::make;
use poolwarden_switch::{Joining, Mail, Secret, voice};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::auth::{self, Looked, Memo, Reason, Visit};
use crate::cancel;
use crate::console;
use crate::directory::is_console;
use crate::figures::bump;
use crate::haproxy;
use crate::inner::{Inner, held};
use crate::link::Place;
use crate::operator;
use crate::random;
use crate::secure;
use crate::stream::{Socket, Stream};
use crate::tls::Identity;
use crate::visitors::Visitor;

/// Where a connection comes from and arrived.
struct Ends {
    remote: Option<SocketAddr>,
    local: Option<SocketAddr>,
    /// The user of the process at the other end of the unix socket.
    peer_uid: Option<u32>,
    /// It came over the unix socket from a process of our own user.
    own_user: bool,
    /// When it first said something.
    spoke_at: Time,
    /// Whom its certificate names, which is verified; `None` without TLS or without a certificate.
    identity: Option<Identity>,
}

impl Ends {
    fn visit<'a>(&'a self, who: &'a Who) -> Visit<'a> {
        let Self { remote, local, peer_uid, own_user, ref identity, .. } = *self;
        let names = identity.iter().flat_map(Identity::names).collect();
        Visit { who, remote, local, peer_uid, own_user, names }
    }
}

/// Takes in an accepted connection.
pub(crate) fn welcome(inner: &Arc<Inner>, arrival: Socket, remote: Option<SocketAddr>, local: Option<SocketAddr>) {
    let limits = held(&inner.state).limits;
    let counters = &inner.counters;
    let Some(visitor) = inner.visitors.let_in(&counters.logins, limits.max_logins, &counters.aside) else {
        bump(&counters.refused_clients);
        inner.notes.add("login", "too many are logging in (limits.max_logins); closed one more at once", remote);
        return;
    };
    let inner = inner.clone();
    tokio::spawn(async move {
        let peer_uid = peer_uid(&arrival);
        let own_user = peer_uid.is_some_and(|uid| uid == rustix::process::geteuid().as_raw());
        let ends = Ends { remote, local, peer_uid, own_user, spoke_at: Time::NEVER, identity: None };
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

fn peer_uid(arrival: &Socket) -> Option<u32> {
    match arrival {
        Socket::Tcp(_) => None,
        Socket::Unix(stream) => Some(stream.peer_cred().ok()?.uid()),
    }
}

/// What goes on after the login, outside its time limit: a session on the SQL console, or a refusal that is told later.
type After = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn receive(inner: &Arc<Inner>, mut stream: Stream, mut ends: Ends, visitor: &Visitor) -> Option<After> {
    let trusted = held(&inner.state).trusted.clone();
    if let Some(peer) = ends.remote.filter(|remote| haproxy::is_trusted(&trusted, remote.ip())) {
        match read_proxy_header(&mut stream).await {
            Ok(source) => ends.remote = source.filter(|source| haproxy::is_believed(peer, *source)).or(ends.remote),
            Err(why) => {
                inner.notes.add("protocol", why, ends.remote);
                return None;
            }
        }
    }
    // who says nothing costs no buffer
    stream.readable_now().await.ok()?;
    let listen = secure::offered(inner, &stream);
    let mut greeting = Greeting::new(secure::rules(inner, listen.as_ref()), random::bytes());
    let (mut buffer, mut asked) = (vec![0; 2048], None);
    loop {
        while let Some(step) = greeting.poll() {
            match step {
                Step::Send(bytes) => stream.write_all(&bytes).await.ok()?,
                Step::StartTls { received, direct } => {
                    let listen = listen.as_deref()?; // where it is not offered, this step does not come
                    let began = (&received[..], direct);
                    ends.identity = secure::shake_hands(inner, &mut stream, listen, began, ends.remote).await?;
                    greeting.secured(listen.end_point.clone());
                }
                Step::Lookup(who) if visitor.aside && !is_console(&who.database) => {
                    return send_off(inner, &mut stream, ends.remote).await;
                }
                Step::Lookup(who) => {
                    let looked = match secure::refused(listen.as_deref(), &who, ends.remote) {
                        Some(found) => Looked::refused(found),
                        None => auth::look_up(inner, &ends.visit(&who)).await,
                    };
                    let memo = answer(inner, &mut greeting, &who, looked, &ends);
                    asked = Some((who, memo));
                }
                Step::Cancel { pid, secret } => {
                    cancel::take_in(inner, stream, (pid, &secret), (ends.remote, ends.local)).await;
                    return None;
                }
                Step::Authenticated(mut session) => {
                    if let Some((_, memo)) = &asked {
                        auth::admitted(inner, memo, &mut session);
                    }
                    return join(inner, stream, *session, ends).await;
                }
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
        note_first_word(inner, visitor, &mut ends);
        if let Some((delay, place)) = hear(inner, &mut greeting, &buffer[..count], asked.as_ref(), &ends) {
            return Some(Box::pin(tell_later(greeting, stream, delay, place)));
        }
    }
}

fn note_first_word(inner: &Inner, visitor: &Visitor, ends: &mut Ends) {
    if !visitor.spoke.swap(true, Ordering::Relaxed) {
        bump(&inner.counters.opened);
        ends.spoke_at = inner.clock.now();
    }
}

/// Sends somebody away who came in by the door aside and does not want to go to the console.
async fn send_off(inner: &Inner, stream: &mut Stream, remote: Option<SocketAddr>) -> Option<After> {
    bump(&inner.counters.refused_clients);
    inner.notes.add("login", "too many are logging in (limits.max_logins): sent one more away", remote);
    let hint = Some("try again in a moment; limits.max_logins binds");
    let told = Told { sqlstate: "53300", message: "too many clients are logging in", hint, theirs: None };
    turn_away(stream, told).await;
    None
}

/// Hands on what the client said. A failure is counted and remembered; where it is to be told late, how long that is.
fn hear(
    inner: &Arc<Inner>,
    greeting: &mut Greeting,
    said: &[u8],
    asked: Option<&(Who, Memo)>,
    ends: &Ends,
) -> Option<(Duration, Place)> {
    let derivations = greeting.derivations();
    let heard = greeting.handle(said);
    inner.auth.tally.derived(greeting.derivations() - derivations);
    let error = heard.err()?;
    note_failure(inner, &error, None, ends.remote);
    if let Some((who, memo)) = asked {
        auth::failed(inner, &ends.visit(who), memo, &error);
    }
    delay(inner, &error)
}

async fn read_proxy_header(stream: &mut Stream) -> Result<Option<SocketAddr>, String> {
    let mut header = [0; haproxy::HEADER];
    let cut = |why: io::Error| format!("PROXY protocol header: {why}");
    stream.read_exact(&mut header).await.map_err(cut)?;
    let mut body = vec![0; haproxy::body(&header)?];
    stream.read_exact(&mut body).await.map_err(cut)?;
    Ok(haproxy::source(&header, &body))
}

fn note_failure(inner: &Inner, error: &GreetError, reason: Option<Reason>, remote: Option<SocketAddr>) {
    inner.auth.tally.failed(reason.unwrap_or(Reason::of(error.fault)));
    inner.notes.add("login", format!("{} ({})", error.message, error.reason), remote);
}

/// Tells the greeting what was found; gives back what the login's end is to find again.
fn answer(inner: &Inner, greeting: &mut Greeting, who: &Who, looked: Looked, ends: &Ends) -> Memo {
    let Looked { found, reason, memo } = looked;
    let secret = found.secret.clone();
    if let Err(error) = greeting.answer(found) {
        note_failure(inner, &error, reason, ends.remote);
    }
    if let Some(verifier) = greeting.derived() {
        inner.auth.tally.derived(1);
        memo.keep_verifier(inner, secret.as_ref(), &who.user, verifier);
    }
    memo
}

/// Refusals that wait to be told; more are told at once, since each keeps a socket.
const MOST_DELAYED: u32 = 512;

/// How long a failed login waits to hear so, with some chance in it; other faults are told at once.
fn delay(inner: &Inner, error: &GreetError) -> Option<(Duration, Place)> {
    match error.fault {
        Fault::Credentials | Fault::Configuration => {}
        Fault::Client | Fault::Rule => return None,
    }
    let usual = inner.directory().auth.failure_delay;
    if usual.is_zero() {
        return None;
    }
    let place = Place::take(&inner.auth.delayed, MOST_DELAYED)?;
    let [chance] = random::bytes();
    Some((usual * (192 + u32::from(chance) / 2) / 256, place)) // from 3/4 to 5/4
}

/// The client's place among those who log in is free already: nobody waits behind a failure.
async fn tell_later(mut greeting: Greeting, mut stream: Stream, delay: Duration, place: Place) {
    tokio::time::sleep(delay).await;
    drop(place);
    while let Some(step) = greeting.poll() {
        if let Step::Send(bytes) = step
            && stream.write_all(&bytes).await.is_err()
        {
            return;
        }
    }
    linger(&mut stream, &mut [0; 512]).await;
}

/// The client has proven who it is: it goes to the console, to a loop, or away.
async fn join(inner: &Arc<Inner>, mut stream: Stream, session: Session, ends: Ends) -> Option<After> {
    let directory = inner.directory();
    if is_console(&session.database) {
        return enter_console(inner, stream, session, ends).await;
    }
    if *inner.refusing.borrow() {
        let hint = Some("connect again; another instance may already be serving");
        let theirs = voice::SHUTTING_DOWN.spoken(inner.voice, "");
        let message = "poolwarden is shutting down: it serves who is connected and nobody new";
        turn_away(&mut stream, Told { sqlstate: "57P03", message, hint, theirs }).await;
        return None;
    }
    let Some(route) = directory.route(&session.database) else {
        let message = format!("database \"{}\" does not exist", session.database);
        let hint = Some(match session.replication {
            Some(Replication::Physical) => {
                "physical replication asks for the name it is given: add [pools.NAME] with the server"
            }
            Some(Replication::Logical) | None => "ask for a configured database, or add [pools.NAME]",
        });
        let theirs = voice::NO_SUCH_DATABASE.spoken(inner.voice, &session.database);
        turn_away(&mut stream, Told { sqlstate: "3D000", message: &message, hint, theirs }).await;
        return None;
    };
    let limits = held(&inner.state).limits;
    let Some(place) = Place::take(&inner.counters.clients, limits.max_clients) else {
        bump(&inner.counters.refused_clients);
        let message = format!("too many clients: max_clients is reached ({0} of {0})", limits.max_clients);
        let hint = Some("limits.max_clients binds; raise it, or connect less");
        let theirs = voice::NO_MORE_CONNECTIONS.spoken(inner.voice, "");
        turn_away(&mut stream, Told { sqlstate: "53300", message: &message, hint, theirs }).await;
        return None;
    };
    let (settings, alone) = match session.replication {
        None => (session.settings, None),
        Some(what) => {
            let mut startup = session.settings;
            startup.push(("replication".to_owned(), what.value().to_owned()));
            (Vec::new(), Some(startup))
        }
    };
    let joining = Joining {
        host: route.host,
        deadline: session.deadline,
        user: route.user.as_ref().filter(|role| **role != session.user).map(|_| session.user.as_str().into()),
        // who is forced into one role shares its connections with everybody else who is
        key: PoolKey { database: session.database, user: route.user.clone().unwrap_or(session.user) },
        settings,
        alone,
        leftover: session.leftover,
        secret: Secret::new(random::bytes(), session.minor, inner.instance),
        serial: inner.shared.serial(),
        connected_at: inner.clock.now().as_nanos(),
        remote: ends.remote,
        local: ends.local,
        tls: stream.tls().map(|tls| tls.describe().into()),
    };
    let link = stream.into_link(Some(place)).ok()?;
    inner.counters.login_took.note(inner.clock.now().since(ends.spoke_at));
    inner.post(inner.least_busy(), Mail::Join(Box::new(joining), link));
    None
}

/// Sessions on the console at once: each has a socket and a buffer, apart from the clients', whose crowd never shuts it.
const MOST_CONSOLES: u32 = 256;
/// Of those, so many are left to admins.
const KEPT_FOR_ADMINS: u32 = 16;

/// A session on the console, for those who may have one.
async fn enter_console(inner: &Arc<Inner>, mut stream: Stream, session: Session, ends: Ends) -> Option<After> {
    let directory = inner.directory();
    let told = |sqlstate, message, hint| Told { sqlstate, message, hint: Some(hint), theirs: None };
    if session.replication.is_some() {
        let hint = "ask for a configured database, or leave replication out";
        turn_away(&mut stream, told("0A000", "the console does not replicate", hint)).await;
        return None;
    }
    let admin = ends.own_user || directory.is_console_admin(&session.user);
    if !admin && !directory.is_console_reader(&session.user) {
        let message = format!("user \"{}\" may not use the console", session.user);
        turn_away(&mut stream, told("28000", &message, "name the user under [console] readers or admins")).await;
        return None;
    }
    let most = if admin { MOST_CONSOLES } else { MOST_CONSOLES - KEPT_FOR_ADMINS };
    let Some(place) = Place::take(&inner.counters.consoles, most) else {
        bump(&inner.counters.refused_clients);
        let message = format!("too many sessions on the console: {most} of {most}");
        turn_away(&mut stream, told("53300", &message, "close some of them; the number is fixed")).await;
        return None;
    };
    let who = operator::Who { user: session.user, admin, remote: ends.remote };
    Some(Box::pin(console::serve(inner.clone(), (stream, place), session.leftover, who)))
}

/// Why somebody is turned away at the door, in our words and, where its voice speaks, in PgBouncer's.
struct Told<'a> {
    sqlstate: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
    theirs: Option<Cow<'static, str>>,
}

async fn turn_away(stream: &mut Stream, Told { sqlstate, message, hint, theirs }: Told<'_>) {
    let mut bytes = Vec::new();
    let (message, detail) = theirs.as_deref().map_or((message, None), |theirs| (theirs, Some(message)));
    make::error(&mut bytes, &make::Report { severity: "FATAL", sqlstate, message, detail, hint });
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
