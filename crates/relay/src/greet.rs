//! A client connection's life before it is authenticated: what it is, whom it names, how it proves that.
//!
//! Bytes in by [`Greeting::handle`], what to do out by [`Greeting::poll`]; the rim owns sockets, look-ups, randomness and the
//! login deadline. Memory stays within `max(max_startup, max_password)` plus [`MAX_BEHIND`], whatever is sent, and a
//! length is refused before its bytes are awaited. An unknown user is asked and refused exactly as a known one is.
//!
//! ```text
//! First ──SSLRequest, GSSENCRequest: 'N'──► First         (each once)
//!   │ SSLRequest: 'S', or a TLS record ──► Securing ──secured──► First
//!   │ CancelRequest ──► Over
//!   ▼ StartupMessage
//! Looking ──answer: reject──► Over        Proving ──wrong, malformed, Terminate──► Over
//!   │ answer: trust                          │ proven
//!   └──────────────► Over (authenticated) ◄──┘
//! ```

mod fault;
mod options;
mod prove;
mod request;

pub use fault::{Fault, GreetError};
pub use request::{Replication, Session, Who};

use std::borrow::Cow;
use std::collections::VecDeque;

use poolwarden_pgwire::read::{self, Startup};
use poolwarden_pgwire::tag::client as tag;
use poolwarden_pgwire::{frame, make, password, scram};

use prove::{Begun, Heard, Material, Proving};
use request::Request;

/// Bytes kept that came too early: behind a start-up or password message. A client has nothing to say there until it is
/// answered, but for a Terminate; 16 KiB leave room for the eager ones that send their first query along.
pub const MAX_BEHIND: usize = 16 * 1024;

/// The newest minor version of protocol 3 that is spoken to clients.
pub const NEWEST_MINOR: u16 = 2;

/// A TLS handshake's first byte, where a start-up packet has the highest byte of a length that is at most 10,004.
const TLS_RECORD: u8 = 0x16;

/// What is answered to a client that asks for TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsOffer {
    /// `N`: none.
    Off,
    /// `S`, and [`Step::StartTls`] follows; a client may also begin with TLS at once.
    On,
}

/// What holds for every client of a listener.
#[derive(Clone, Copy)]
pub struct Rules {
    /// Bytes a first packet may have behind its length word; at most [`read::MAX_STARTUP`].
    pub max_startup: usize,
    /// Bytes a password or SASL message's body may have.
    pub max_password: usize,
    /// The answer to an SSLRequest.
    pub tls: TlsOffer,
    /// Secret and the same for every connection, best also over restarts: salts of users without a stored one come from it,
    /// so that a user who is not known has one as stable as everybody's.
    pub seed: [u8; 32],
}

impl Rules {
    /// The usual bounds: 10,000 bytes of start-up packet as PostgreSQL takes, 8 KiB of password (tokens of cloud
    /// providers are some 2 KiB).
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self { max_startup: read::MAX_STARTUP, max_password: 8 * 1024, tls: TlsOffer::Off, seed }
    }
}

/// What the rim is to do, in order.
#[derive(Debug)]
pub enum Step {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Shake hands as a TLS server, and [`Greeting::secured`]; from then on what is received is decrypted first, and what is
    /// sent is encrypted. If the handshake fails, close: nothing more comes.
    StartTls {
        /// The handshake's first bytes, where they have come already; none of them may be read from the socket again.
        received: Vec<u8>,
        /// It began without an SSLRequest: ALPN must name `postgresql`.
        direct: bool,
    },
    /// Find out how this client is to prove itself, and [`Greeting::answer`].
    Lookup(Who),
    /// Cancel what the connection with this pid and secret is doing; [`Step::Close`] follows.
    Cancel {
        /// The pid it was told.
        pid: u32,
        /// The secret it was told.
        secret: Vec<u8>,
    },
    /// It is who it says, and has been told so; parameters, key and ReadyForQuery are for whoever takes it over.
    Authenticated(Box<Session>),
    /// Close the connection once everything is sent.
    Close,
}

/// How a client is to prove itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// Not at all.
    Trust,
    /// With its password in clear.
    Password,
    /// With an md5 answer; users with a SCRAM secret use SCRAM, as in PostgreSQL.
    Md5,
    /// With SCRAM-SHA-256.
    Scram,
    /// It is refused.
    Reject {
        /// Five characters.
        sqlstate: Cow<'static, str>,
        /// What it is told.
        message: String,
    },
}

/// The answer to [`Step::Lookup`].
#[derive(Clone, Debug)]
pub struct Found {
    /// How to prove it.
    pub method: Method,
    /// What is known of the password; `None` is an unknown user, which is asked and refused like a known one.
    pub secret: Option<password::Secret>,
}

enum State {
    First,
    /// The rim shakes hands; `handed` once it was told to.
    Securing {
        direct: bool,
        handed: bool,
    },
    Looking(Request),
    Proving(Request, Box<Proving>),
    Over(End),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// `handed` once the rim was told so: what comes then is not read here.
    Authenticated {
        handed: bool,
    },
    Refused,
    Left,
}

/// A client connection that is not authenticated yet.
pub struct Greeting {
    rules: Rules,
    material: Material,
    state: State,
    /// Received and not yet read: part of a message, or what came too early.
    held: Vec<u8>,
    asked_tls: bool,
    asked_gss: bool,
    tls: bool,
    derivations: u32,
    derived: Option<scram::Secret>,
    steps: VecDeque<Step>,
}

impl Greeting {
    /// A connection just accepted; `randomness` is fresh for it (nonce and md5 salt come of it).
    #[must_use]
    pub fn new(rules: Rules, randomness: [u8; 32]) -> Self {
        let mut nonce = [0; 18];
        nonce.copy_from_slice(&randomness[..18]);
        let mut salt = [0; 4];
        salt.copy_from_slice(&randomness[18..22]);
        let material = Material { seed: rules.seed, nonce: scram::nonce(nonce), salt, end_point: None };
        Self {
            rules,
            material,
            state: State::First,
            held: Vec::new(),
            asked_tls: false,
            asked_gss: false,
            tls: false,
            derivations: 0,
            derived: None,
            steps: VecDeque::new(),
        }
    }

    /// Takes what was received. After an error, and after the end, input is dropped.
    ///
    /// # Errors
    /// What the log should say; what the client is told, and the close, stand in [`Greeting::poll`] all the same.
    pub fn handle(&mut self, input: &[u8]) -> Result<(), GreetError> {
        let limit = self.rules.max_startup.max(self.rules.max_password) + MAX_BEHIND;
        let mut left = input;
        while !left.is_empty() {
            if let State::Over(End::Refused | End::Left | End::Authenticated { handed: true }) = self.state {
                return Ok(());
            }
            let room = limit.saturating_sub(self.held.len());
            if room == 0 {
                let reason = format!("more than {MAX_BEHIND} bytes behind an unfinished login");
                return Err(self.refuse(GreetError::violation("too much data before login is complete", reason)));
            }
            let (now, later) = left.split_at(room.min(left.len()));
            self.held.extend_from_slice(now);
            left = later;
            self.advance().map_err(|error| self.refuse(error))?;
        }
        Ok(())
    }

    /// Answers the one [`Step::Lookup`]. Nothing happens if the connection ended meanwhile.
    ///
    /// # Errors
    /// As [`Greeting::handle`].
    pub fn answer(&mut self, found: Found) -> Result<(), GreetError> {
        let request = match std::mem::replace(&mut self.state, State::Over(End::Refused)) {
            State::Looking(request) => request,
            other @ (State::First | State::Securing { .. } | State::Proving(..) | State::Over(_)) => {
                self.state = other;
                return Ok(());
            }
        };
        match prove::begin(found, &request.user, &self.material) {
            Begun::Accepted => self.authenticate(request, Vec::new(), None),
            Begun::Asked(proving, question) => {
                self.steps.push_back(Step::Send(question));
                self.state = State::Proving(request, Box::new(proving));
            }
            Begun::Derived(proving, question, made) => {
                self.derivations += 1;
                self.derived = Some(made);
                self.steps.push_back(Step::Send(question));
                self.state = State::Proving(request, Box::new(proving));
            }
            Begun::Rejected(error) => return Err(self.refuse(error)),
        }
        self.advance().map_err(|error| self.refuse(error))
    }

    /// The handshake of [`Step::StartTls`] is done. `end_point` is the hash of our certificate as `tls-server-end-point`
    /// defines it (RFC 5929); without it no channel binding is offered. Nothing happens if the connection ended meanwhile.
    pub fn secured(&mut self, end_point: Option<Vec<u8>>) {
        let State::Securing { direct, handed: true } = self.state else {
            return;
        };
        self.tls = true;
        self.material.end_point = end_point;
        // Who shook hands at once may still ask, and hears no, as from PostgreSQL; who asked before must not again.
        self.asked_tls = !direct;
        self.asked_gss = !direct;
        self.state = State::First;
    }

    /// What to do next; `None` until there is more input or an answer.
    pub fn poll(&mut self) -> Option<Step> {
        let mut step = self.steps.pop_front()?;
        match &mut step {
            Step::Authenticated(session) => {
                session.leftover = std::mem::take(&mut self.held);
                self.state = State::Over(End::Authenticated { handed: true });
            }
            Step::StartTls { received, direct } => {
                *received = std::mem::take(&mut self.held);
                self.state = State::Securing { direct: *direct, handed: true };
            }
            Step::Send(_) | Step::Lookup(_) | Step::Cancel { .. } | Step::Close => {}
        }
        Some(step)
    }

    /// Whether the connection's end, if it came now, needs no word in the log: nothing was said (a balancer's probe), or a
    /// password was asked for and the client left to ask its user, or it took its leave, or it was a cancel.
    #[must_use]
    pub fn silent(&self) -> bool {
        match self.state {
            State::First | State::Securing { .. } | State::Proving(..) => self.held.is_empty(),
            State::Looking(_) => false,
            State::Over(End::Left) => true,
            State::Over(End::Refused | End::Authenticated { .. }) => false,
        }
    }

    /// Bytes held; bounded, for whoever accounts memory.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// How often a key was derived (PBKDF2: milliseconds of CPU) for this client so far.
    #[must_use]
    pub fn derivations(&self) -> u32 {
        self.derivations
    }

    /// The SCRAM secret that had to be made of a password in clear, once, right after [`Greeting::answer`]: keep it with the
    /// password ([`password::Plain::keeping`]), and the next login derives nothing.
    pub fn derived(&mut self) -> Option<scram::Secret> {
        self.derived.take()
    }

    /// Reads what is held as far as it goes.
    fn advance(&mut self) -> Result<(), GreetError> {
        loop {
            let read_one = match &self.state {
                State::First => self.read_first()?,
                State::Securing { direct: true, handed: false } => false,
                // What came before the handshake was not encrypted (CVE-2021-3935), what comes during it is not ours to read.
                State::Securing { .. } if !self.held.is_empty() => {
                    return Err(self.unencrypted("SSL"));
                }
                State::Securing { .. } => false,
                State::Proving(..) => self.read_proof()?,
                State::Looking(_) | State::Over(_) => false,
            };
            if !read_one {
                return Ok(());
            }
        }
    }

    /// Reads one untagged packet; whether there was one.
    fn read_first(&mut self) -> Result<bool, GreetError> {
        let fresh = !(self.tls || self.asked_tls || self.asked_gss);
        if fresh && self.rules.tls == TlsOffer::On && self.held.first() == Some(&TLS_RECORD) {
            self.secure(true);
            return Ok(false);
        }
        let length = read::startup_length(&self.held, self.rules.max_startup)?;
        let Some(total) = length.filter(|&total| total <= self.held.len()) else {
            return Ok(false);
        };
        let packet = read::startup(&self.held[..total])?;
        self.held.drain(..total);
        match packet {
            Startup::Ssl if self.asked_tls => return Err(GreetError::unsupported_version(1234, 5679)),
            Startup::Gss if self.asked_gss => return Err(GreetError::unsupported_version(1234, 5680)),
            Startup::Ssl => {
                self.asked_tls = true;
                match self.rules.tls {
                    TlsOffer::On if !self.tls => self.accept_tls()?,
                    TlsOffer::On | TlsOffer::Off => self.decline("SSL")?,
                }
            }
            Startup::Gss => {
                self.asked_gss = true;
                self.decline("GSSAPI encryption")?;
            }
            Startup::Cancel { pid, secret } => {
                self.steps.push_back(Step::Cancel { pid, secret });
                self.leave();
            }
            Startup::UnsupportedVersion { major, minor } => {
                return Err(GreetError::unsupported_version(major, minor));
            }
            Startup::Start { minor, params } => self.begin(minor, params)?,
        }
        Ok(true)
    }

    /// Answers a request for encryption with no. What came behind it was sent before the answer, so it may have been slipped
    /// in by somebody in between (CVE-2021-3935).
    fn decline(&mut self, what: &str) -> Result<(), GreetError> {
        if !self.held.is_empty() {
            return Err(self.unencrypted(what));
        }
        self.steps.push_back(Step::Send(b"N".to_vec()));
        Ok(())
    }

    /// Answers an SSLRequest with yes.
    fn accept_tls(&mut self) -> Result<(), GreetError> {
        if !self.held.is_empty() {
            return Err(self.unencrypted("SSL"));
        }
        self.steps.push_back(Step::Send(b"S".to_vec()));
        self.secure(false);
        Ok(())
    }

    fn secure(&mut self, direct: bool) {
        self.steps.push_back(Step::StartTls { received: Vec::new(), direct });
        self.state = State::Securing { direct, handed: false };
    }

    fn unencrypted(&self, what: &str) -> GreetError {
        let message = format!("received unencrypted data after {what} request");
        GreetError::violation(&message, format!("{} bytes behind a {what} request", self.held.len()))
    }

    fn begin(&mut self, minor: u16, params: Vec<(String, String)>) -> Result<(), GreetError> {
        let request = Request::read(minor.min(NEWEST_MINOR), params)?;
        if minor > NEWEST_MINOR || !request.unknown.is_empty() {
            let unknown: Vec<&str> = request.unknown.iter().map(String::as_str).collect();
            let mut answer = Vec::new();
            make::negotiate_version(&mut answer, request.minor, &unknown);
            self.steps.push_back(Step::Send(answer));
        }
        self.steps.push_back(Step::Lookup(request.who(self.tls)));
        self.state = State::Looking(request);
        Ok(())
    }

    /// Reads one message of a client that was asked to prove itself; whether there was one.
    fn read_proof(&mut self) -> Result<bool, GreetError> {
        let Some(header) = frame::header(&self.held)? else {
            return Ok(false);
        };
        if header.tag == tag::TERMINATE {
            self.leave();
            return Ok(false);
        }
        if header.tag != tag::PASSWORD {
            let message = format!("expected password response, got message type {}", header.tag);
            return Err(GreetError::violation(&message, message.clone()));
        }
        if header.body as usize > self.rules.max_password {
            let reason = format!("password message of {} bytes (at most {})", header.body, self.rules.max_password);
            return Err(GreetError::violation("invalid password packet size", reason));
        }
        if self.held.len() < header.total() {
            return Ok(false);
        }
        let (request, proving) = match std::mem::replace(&mut self.state, State::Over(End::Refused)) {
            State::Proving(request, proving) => (request, proving),
            other @ (State::First | State::Securing { .. } | State::Looking(_) | State::Over(_)) => {
                self.state = other;
                return Ok(false);
            }
        };
        self.derivations += u32::from(proving.derives());
        let heard = proving.hear(&self.held[frame::HEADER..header.total()], &request.user)?;
        self.held.drain(..header.total());
        match heard {
            Heard::More(proving, question) => {
                self.steps.push_back(Step::Send(question));
                self.state = State::Proving(request, Box::new(proving));
            }
            Heard::Proven { last, keys } => self.authenticate(request, last, keys),
        }
        Ok(true)
    }

    /// `last` is what the method still has to say before AuthenticationOk.
    fn authenticate(&mut self, request: Request, mut last: Vec<u8>, keys: Option<scram::Keys>) {
        make::authentication_ok(&mut last);
        self.steps.push_back(Step::Send(last));
        self.steps.push_back(Step::Authenticated(Box::new(request.into_session(keys))));
        self.state = State::Over(End::Authenticated { handed: false });
    }

    fn leave(&mut self) {
        self.held = Vec::new();
        self.steps.push_back(Step::Close);
        self.state = State::Over(End::Left);
    }

    fn refuse(&mut self, error: GreetError) -> GreetError {
        self.held = Vec::new();
        // Nor is a client handed over that is refused after all, because it sent too much along with its proof.
        self.steps.retain(|step| !matches!(step, Step::StartTls { .. } | Step::Authenticated(_)));
        self.steps.push_back(Step::Send(error.response()));
        self.steps.push_back(Step::Close);
        self.state = State::Over(End::Refused);
        error
    }
}
