//! A server connection's life until its first ReadyForQuery: who we are, how that is proven, what the server says of itself.
//!
//! Bytes in by [`ServerLogin::handle`], what to do out by [`ServerLogin::poll`]; the rim owns the socket, randomness and the
//! deadline. Memory stays within [`MAX_MESSAGE`] and [`MAX_PARAMETERS`], whatever the server sends. A server that was
//! shown a SCRAM proof must prove itself too before it is believed.
//!
//! ```text
//! Opening ──NegotiateProtocolVersion, or nothing of the kind──► Asking
//! Asking ──AuthenticationOk──► Settling ──ReadyForQuery──► Done
//!   │  ▲                        (ParameterStatus, BackendKeyData)
//!   ▼  │ cleartext, md5: answer and stay
//! Challenged ──SASLContinue──► Signed ──SASLFinal──► Proven ──AuthenticationOk──► Settling
//! ```

mod failure;

pub use failure::{Capacity, LoginFailure};

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use poolwarden_pgwire::password::Plain;
use poolwarden_pgwire::scram::{self, ClientExchange, ClientFinal, Derived, Flag, Keys, Mechanism};
use poolwarden_pgwire::tag::server as tag;
use poolwarden_pgwire::{frame, make, md5, read};

/// The largest message believed during login: libpq takes 2,000 bytes of authentication and 30,000 of error there.
pub const MAX_MESSAGE: u32 = 64 * 1024;

/// Most parameters a server may report; PostgreSQL 18 reports 15, extensions add a few.
pub const MAX_PARAMETERS: usize = 256;

/// What we prove ourselves with.
#[derive(Clone, Debug)]
pub enum Password {
    /// A password, and what an earlier login with it derived ([`Welcome::derived`]).
    Plain(Plain, Option<Derived>),
    /// PostgreSQL's md5 form, which serves md5 alone.
    Md5(md5::Hash),
    /// Keys that a client's SCRAM login revealed, which serve SCRAM alone.
    Keys(Keys),
}

/// Whether a SCRAM login is bound to its TLS connection, so that nobody in between can hand it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Binding {
    /// Never.
    Disable,
    /// Where the server offers it.
    #[default]
    Prefer,
    /// Always: a server that does not ask for it is left.
    Require,
}

/// What is known of the connection itself.
#[derive(Clone, Debug, Default)]
pub struct Channel {
    /// The hash of the server's certificate as `tls-server-end-point` defines it (RFC 5929); `None` without TLS, or where the
    /// certificate's signature defines none.
    pub end_point: Option<Vec<u8>>,
    /// What is made of it.
    pub binding: Binding,
    /// The minor version of protocol 3 that is asked for: 0 or 2.
    pub minor: u16,
}

/// Who we are.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
    /// `None` serves where the server trusts us.
    pub password: Option<Password>,
    /// Other start-up parameters.
    pub settings: Vec<(String, String)>,
}

/// What the rim is to do, in order.
#[derive(Debug)]
pub enum LoginStep {
    /// Send these bytes.
    Send(Vec<u8>),
    /// The server waits for the first query.
    Ready(Box<Welcome>),
}

/// What the server said of itself.
#[derive(Clone, Debug, Default)]
pub struct Welcome {
    /// Parameters it reported, sorted by name.
    pub parameters: Vec<(String, String)>,
    /// Its pid, where it told one: a server that did not cannot be cancelled.
    pub pid: Option<u32>,
    /// The secret a cancel must name, 4 to 256 bytes; empty without a pid.
    pub secret: Vec<u8>,
    /// The minor version of protocol 3 that is spoken.
    pub minor: u16,
    /// Whether the login was bound to the TLS connection.
    pub bound: bool,
    /// Keys that were derived (PBKDF2) on the way: given back with [`Password::Plain`], they spare the next login that.
    pub derived: Option<Derived>,
    /// What came behind ReadyForQuery: notices, notifications.
    pub leftover: Vec<u8>,
}

enum State {
    /// Nothing was heard.
    Opening,
    Asking,
    Challenged(ClientExchange),
    Signed(ClientFinal),
    Proven,
    Settling,
    Done,
}

/// Whether a start-up parameter of this name would not be a setting, but say who logs in, where, and how. PostgreSQL takes the last
/// of a name, so that a "setting" of the kind would replace what [`Credentials`] say. `replication` is none: it is asked for.
pub(crate) fn names_the_session(name: &str) -> bool {
    let folded = name.to_ascii_lowercase();
    matches!(folded.as_str(), "user" | "database" | "options") || folded.starts_with("_pq_.")
}

/// A server connection that is not ready yet.
pub struct ServerLogin {
    credentials: Credentials,
    channel: Channel,
    nonce: String,
    state: State,
    /// Received and not yet read: part of one message.
    held: Vec<u8>,
    /// The SCRAM exchange that is under way is bound to the TLS connection.
    bound: bool,
    derived: bool,
    parameters: BTreeMap<String, String>,
    welcome: Welcome,
    steps: VecDeque<LoginStep>,
}

impl ServerLogin {
    /// A connection just opened; `randomness` is fresh for it (the nonce comes of it).
    #[must_use]
    pub fn new(credentials: Credentials, randomness: [u8; 32], channel: Channel) -> Self {
        let mut nonce = [0; 18];
        nonce.copy_from_slice(&randomness[..18]);
        let minor = channel.minor;
        Self {
            credentials,
            channel,
            nonce: scram::nonce(nonce),
            state: State::Opening,
            held: Vec::new(),
            bound: false,
            derived: false,
            parameters: BTreeMap::new(),
            welcome: Welcome { minor, ..Welcome::default() },
            steps: VecDeque::new(),
        }
    }

    /// The first packet to send: a StartupMessage of the version asked for. Settings that are none are left out.
    #[must_use]
    pub fn start(&self) -> Vec<u8> {
        let named = [("user", self.credentials.user.as_str()), ("database", self.credentials.database.as_str())];
        let settings = self.credentials.settings.iter().filter(|(name, _)| !names_the_session(name));
        let others = settings.map(|(name, value)| (name.as_str(), value.as_str()));
        let params: Vec<(&str, &str)> = named.into_iter().chain(others).collect();
        let mut packet = Vec::new();
        make::startup(&mut packet, self.channel.minor, &params);
        packet
    }

    /// Takes what was received, all of it; once ready, whatever follows becomes [`Welcome::leftover`].
    ///
    /// # Errors
    /// Why there will be no login; the connection is to be closed.
    pub fn handle(&mut self, input: &[u8]) -> Result<(), LoginFailure> {
        self.held.extend_from_slice(input);
        let mut at = 0;
        while !matches!(self.state, State::Done) {
            let header = frame::header(&self.held[at..]);
            let believed = matches!(&header, Ok(header) if header.is_none_or(|header| header.body <= MAX_MESSAGE));
            if !believed
                && self.held[at] == tag::ERROR
                && matches!(self.state, State::Opening)
                && self.channel.minor > 0
            {
                return Err(LoginFailure::Version("an error in the form of protocol 2".to_owned()));
            }
            let Some(header) = header? else {
                break;
            };
            if header.body > MAX_MESSAGE {
                let said = format!("message 0x{:02x} of {} bytes during login", header.tag, header.body);
                return Err(LoginFailure::Protocol(said));
            }
            if self.held.len() - at < header.total() {
                break;
            }
            let message = self.held[at..at + header.total()].to_vec();
            at += header.total();
            self.read(header.tag, &message[frame::HEADER..])?;
        }
        self.held.drain(..at);
        Ok(())
    }

    /// What to do next; `None` until there is more input.
    pub fn poll(&mut self) -> Option<LoginStep> {
        let mut step = self.steps.pop_front()?;
        if let LoginStep::Ready(welcome) = &mut step {
            welcome.leftover = std::mem::take(&mut self.held);
        }
        Some(step)
    }

    /// How often a key was derived (PBKDF2: milliseconds of CPU) so far; [`Welcome::derived`] spares the next login that.
    #[must_use]
    pub fn derivations(&self) -> u32 {
        u32::from(self.derived)
    }

    fn read(&mut self, tag: u8, body: &[u8]) -> Result<(), LoginFailure> {
        let malformed = || LoginFailure::Protocol(format!("malformed message 0x{tag:02x} during login"));
        let opening = matches!(self.state, State::Opening);
        if opening && tag != tag::NOTICE {
            self.state = State::Asking;
        }
        match tag {
            tag::ERROR => Err(LoginFailure::refused(&read::report(body), opening && self.channel.minor > 0)),
            tag::NOTICE => Ok(()),
            tag::NEGOTIATE if opening => self.negotiate(body),
            tag::AUTHENTICATION => {
                let (&kind, rest) = body.split_first_chunk::<4>().ok_or_else(malformed)?;
                self.authenticate(u32::from_be_bytes(kind), rest)
            }
            tag::PARAMETER_STATUS => {
                let (name, value) = read::parameter_status(body).ok_or_else(malformed)?;
                self.parameters.insert(name.to_owned(), value.to_owned());
                if self.parameters.len() > MAX_PARAMETERS {
                    return Err(LoginFailure::Protocol(format!("more than {MAX_PARAMETERS} parameters")));
                }
                Ok(())
            }
            tag::BACKEND_KEY if matches!(self.state, State::Settling) => {
                let (pid, secret) = read::backend_key(body).ok_or_else(malformed)?;
                self.welcome.pid = Some(pid);
                self.welcome.secret = secret.to_vec();
                Ok(())
            }
            tag::READY if matches!(self.state, State::Settling) => {
                read::ready(body).filter(|&status| status == b'I').ok_or_else(malformed)?;
                self.settle();
                Ok(())
            }
            _ => Err(LoginFailure::Protocol(format!("unexpected message 0x{tag:02x} during login"))), // any byte
        }
    }

    /// Takes a NegotiateProtocolVersion. It must change something: a minor version below the one asked for, because options
    /// were not asked for.
    fn negotiate(&mut self, body: &[u8]) -> Result<(), LoginFailure> {
        let (version, unknown) = read::negotiate_version(body)
            .ok_or_else(|| LoginFailure::Protocol("malformed NegotiateProtocolVersion".to_owned()))?;
        if let Some(option) = unknown.first() {
            let said = format!("option {:?} is refused, which was not asked for", String::from_utf8_lossy(option));
            return Err(LoginFailure::Protocol(said));
        }
        // 3.1 was never released; some poolers send the minor version alone.
        let minor = match version {
            0 | 0x3_0000 => 0,
            2 | 0x3_0002 => 2,
            other => {
                let said =
                    format!("protocol version {}.{} is offered, which there is not", other >> 16, other & 0xffff);
                return Err(LoginFailure::Protocol(said));
            }
        };
        if minor >= self.channel.minor {
            let (asked, told) = (self.channel.minor, minor);
            return Err(LoginFailure::Protocol(format!(
                "protocol version 3.{told} is offered where 3.{asked} was asked for"
            )));
        }
        self.welcome.minor = minor;
        Ok(())
    }

    fn settle(&mut self) {
        let mut welcome = std::mem::take(&mut self.welcome);
        welcome.parameters = std::mem::take(&mut self.parameters).into_iter().collect();
        self.steps.push_back(LoginStep::Ready(Box::new(welcome)));
        self.state = State::Done;
    }

    /// Takes an Authentication message: `kind` is its number, `rest` what follows.
    fn authenticate(&mut self, kind: u32, rest: &[u8]) -> Result<(), LoginFailure> {
        match (std::mem::replace(&mut self.state, State::Done), kind) {
            (State::Asking, 0) if self.channel.binding == Binding::Require => {
                Err(LoginFailure::ChannelBinding("the server let us in without it"))
            }
            (State::Asking | State::Proven, 0) => {
                self.state = State::Settling;
                Ok(())
            }
            (State::Asking, 3 | 5) if self.channel.binding == Binding::Require => {
                Err(LoginFailure::ChannelBinding("the server asks for a password that cannot be bound"))
            }
            (State::Asking, 3 | 5) => {
                self.state = State::Asking;
                let answer = self.answer(kind, rest)?;
                self.steps.push_back(LoginStep::Send(answer));
                Ok(())
            }
            (State::Asking, 10) => self.offer(rest),
            (State::Challenged(exchange), 11) => self.respond(exchange, rest),
            (State::Signed(exchange), 12) => {
                exchange.verify(rest)?;
                self.welcome.bound = self.bound;
                self.state = State::Proven;
                Ok(())
            }
            (State::Asking, other) => Err(LoginFailure::Unsupported(failure::method(other))),
            // AuthenticationOk in mid-exchange comes from a server that did not prove itself.
            (State::Challenged(_) | State::Signed(_), 0) => Err(LoginFailure::ServerSignature),
            (
                State::Challenged(_)
                | State::Signed(_)
                | State::Proven
                | State::Opening
                | State::Settling
                | State::Done,
                other,
            ) => Err(LoginFailure::Protocol(format!("unexpected authentication request {other}"))),
        }
    }

    /// The answer to a request for a password: 3 in clear, 5 as md5 of a salt.
    fn answer(&self, kind: u32, rest: &[u8]) -> Result<Vec<u8>, LoginFailure> {
        let password = self.credentials.password.as_ref().ok_or(LoginFailure::NoPassword)?;
        let mut message = Vec::new();
        if kind == 3 {
            match password {
                Password::Plain(plain, _) => make::password(&mut message, plain.expose()),
                Password::Md5(_) | Password::Keys(_) => return Err(LoginFailure::Unsupported(failure::method(kind))),
            }
            return Ok(message);
        }
        let salt = rest.try_into().map_err(|_| LoginFailure::Protocol("md5 salt is not 4 bytes".to_owned()))?;
        let response = match password {
            Password::Plain(plain, _) => md5::Hash::of(plain.expose(), &self.credentials.user).response(salt),
            Password::Md5(hash) => hash.response(salt),
            Password::Keys(_) => return Err(LoginFailure::Unsupported(failure::method(kind))),
        };
        make::password(&mut message, response);
        Ok(message)
    }

    /// Takes the SASL mechanisms offered.
    fn offer(&mut self, mut list: &[u8]) -> Result<(), LoginFailure> {
        let mut offered = Vec::new();
        while let Some((mechanism, rest)) = read::cstr(list)
            && !mechanism.is_empty()
        {
            offered.push(String::from_utf8_lossy(mechanism));
            list = rest;
        }
        let flag = self.flag(&offered)?;
        let mechanism = flag.mechanism().name();
        if !offered.iter().any(|name| name == mechanism) {
            return Err(LoginFailure::Unsupported(format!("SASL {}", offered.join(", "))));
        }
        match &self.credentials.password {
            None => return Err(LoginFailure::NoPassword),
            Some(Password::Md5(_)) => return Err(LoginFailure::Unsupported(mechanism.to_owned())),
            Some(Password::Plain(..) | Password::Keys(_)) => {}
        }
        let (exchange, first) = ClientExchange::start(self.nonce.clone(), &flag);
        let mut message = Vec::new();
        make::sasl_initial(&mut message, mechanism, &first);
        self.steps.push_back(LoginStep::Send(message));
        self.bound = flag.mechanism() == Mechanism::Plus;
        self.state = State::Challenged(exchange);
        Ok(())
    }

    /// What is said of channel binding, given what the server offers.
    fn flag(&self, offered: &[Cow<'_, str>]) -> Result<Flag, LoginFailure> {
        let has_plus = offered.iter().any(|name| name == Mechanism::Plus.name());
        match (self.channel.binding, &self.channel.end_point) {
            (Binding::Disable, _) | (Binding::Prefer, None) => Ok(Flag::Unbound),
            (Binding::Prefer | Binding::Require, Some(hash)) if has_plus => Ok(Flag::EndPoint(hash.clone())),
            (Binding::Prefer, Some(_)) => Ok(Flag::Unoffered),
            (Binding::Require, Some(_)) => Err(LoginFailure::ChannelBinding("the server does not offer it")),
            (Binding::Require, None) => {
                Err(LoginFailure::ChannelBinding("the connection has no TLS with a certificate to bind to"))
            }
        }
    }

    fn respond(&mut self, exchange: ClientExchange, challenge: &[u8]) -> Result<(), LoginFailure> {
        let proof = match &self.credentials.password {
            Some(Password::Plain(plain, derived)) => scram::Proof::Password(plain, derived.as_ref()),
            Some(Password::Keys(keys)) => scram::Proof::Keys(keys),
            Some(Password::Md5(_)) | None => return Err(LoginFailure::NoPassword),
        };
        let response = exchange.respond(challenge, proof)?;
        let mut message = Vec::new();
        make::sasl_response(&mut message, &response.message);
        self.steps.push_back(LoginStep::Send(message));
        self.derived = response.derived.is_some();
        self.welcome.derived = response.derived;
        self.state = State::Signed(response.exchange);
        Ok(())
    }
}
