//! A raw PostgreSQL client: blocking, small, and able to say anything, right or wrong.
//!
//! It speaks the simple protocol, MD5 and SCRAM itself; what a test wants to say beyond that
//! it sends as bytes, which `say` makes. It is written for tests: a row is a list of texts.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::scram::Scram;

/// No answer of a test takes longer; a hang becomes an error instead of a stuck run.
const PATIENCE: Duration = Duration::from_secs(60);
/// The largest message a test reads, in bytes: an 8 MiB row with room to spare.
const LARGEST: usize = 64 << 20;

/// Where a server listens.
#[derive(Debug, Clone)]
pub enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

/// Who logs in, and to what.
#[derive(Debug, Clone)]
pub struct Login {
    /// The role.
    pub user: String,
    /// Its password, in the clear.
    pub password: String,
    /// The database.
    pub database: String,
}

/// What an `ErrorResponse` or `NoticeResponse` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notice {
    /// ERROR, FATAL, NOTICE ...
    pub severity: String,
    /// The SQLSTATE.
    pub code: String,
    /// The primary message.
    pub message: String,
    /// The detail, or nothing.
    pub detail: String,
    /// The hint, or nothing.
    pub hint: String,
}

/// Why a call failed.
#[derive(Debug)]
pub enum Fault {
    /// The server refused it; the session goes on unless it says FATAL.
    Server(Notice),
    /// The server closed the connection.
    Closed,
    /// The operating system said no, or the answer took too long.
    Io(io::Error),
    /// The server said something that is not the protocol.
    Protocol(String),
}

/// What a simple query brought.
#[derive(Debug, Default)]
pub struct Answer {
    /// The names of the last result's columns.
    pub columns: Vec<String>,
    /// All rows; SQL null is `None`.
    pub rows: Vec<Vec<Option<String>>>,
    /// Notices that came on the way.
    pub notices: Vec<Notice>,
    /// The transaction state afterwards: `I`, `T` or `E`.
    pub state: char,
}

/// A message: its tag and body.
pub type Message = (u8, Vec<u8>);

/// One connection.
#[derive(Debug)]
pub struct Wire {
    pub(crate) stream: Stream,
    /// Parameters the server reported, latest last.
    pub parameters: Vec<(String, String)>,
    /// Process id and secret for a cancel.
    pub key: (i32, Vec<u8>),
}

#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Wire {
    /// Connects without a word.
    pub fn dial(address: &Address) -> Result<Wire, Fault> {
        let stream = match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, PATIENCE).map_err(Fault::Io)?;
                stream.set_nodelay(true).map_err(Fault::Io)?;
                Stream::Tcp(stream)
            }
            Address::Unix(path) => Stream::Unix(UnixStream::connect(path).map_err(Fault::Io)?),
        };
        let mut wire = Wire { stream, parameters: Vec::new(), key: (0, Vec::new()) };
        wire.patience(PATIENCE).map_err(Fault::Io)?;
        Ok(wire)
    }

    /// Connects over TCP from an address of this machine's, without a word.
    pub fn dial_from(source: Ipv4Addr, address: SocketAddr) -> Result<Wire, Fault> {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let failed = |e: rustix::io::Errno| Fault::Io(e.into());
        let fd = socket(AddressFamily::INET, SocketType::STREAM, None).map_err(failed)?;
        bind(&fd, &SocketAddr::from((source, 0))).map_err(failed)?;
        connect(&fd, &address).map_err(failed)?;
        let stream = TcpStream::from(fd);
        stream.set_nodelay(true).map_err(Fault::Io)?;
        let mut wire = Wire { stream: Stream::Tcp(stream), parameters: Vec::new(), key: (0, Vec::new()) };
        wire.patience(PATIENCE).map_err(Fault::Io)?;
        Ok(wire)
    }

    /// Connects and logs in, up to the first `ReadyForQuery`.
    pub fn connect(address: &Address, login: &Login) -> Result<Wire, Fault> {
        Wire::connect_with(address, login, &[])
    }

    /// The same, with further parameters in the start-up message; the last of a name counts.
    pub fn connect_with(address: &Address, login: &Login, more: &[(&str, &str)]) -> Result<Wire, Fault> {
        let mut wire = Wire::dial(address)?;
        wire.send(&startup_with(login, more))?;
        wire.log_in(login)?;
        Ok(wire)
    }

    /// What follows the start-up message, up to the first `ReadyForQuery`.
    pub fn log_in(&mut self, login: &Login) -> Result<(), Fault> {
        let wire = self;
        let mut scram = Scram::new(&login.password, &nonce());
        loop {
            let (tag, body) = wire.receive()?;
            match tag {
                b'R' => wire.authenticate(&mut scram, login, &body)?,
                b'S' => wire.parameters.push(parameter(&body)),
                b'K' if body.len() >= 8 => wire.key = (number(&body[..4])?, body[4..].to_vec()),
                b'N' | b'v' => {}
                b'E' => return Err(Fault::Server(notice(&body))),
                b'Z' => return Ok(()),
                other => return Err(Fault::Protocol(format!("{:?} during login", char::from(other)))),
            }
        }
    }

    /// Sends one simple query and reads all of its answer.
    pub fn query(&mut self, sql: &str) -> Result<Answer, Fault> {
        self.send(&message(b'Q', &[sql.as_bytes(), b"\0"].concat()))?;
        self.answer()
    }

    /// Reads up to `ReadyForQuery`; the first error is the outcome, but the connection stays in step.
    pub fn answer(&mut self) -> Result<Answer, Fault> {
        let mut answer = Answer::default();
        let mut error = None;
        loop {
            let (tag, body) = match self.receive() {
                Ok(message) => message,
                // A FATAL is followed by the end: it is the reason, the end only its consequence.
                Err(fault) => return Err(error.map_or(fault, Fault::Server)),
            };
            match tag {
                b'T' => answer.columns = columns(&body),
                b'D' => answer.rows.push(row(&body)?),
                b'N' => answer.notices.push(notice(&body)),
                b'E' => error = error.or_else(|| Some(notice(&body))),
                b'S' => self.parameters.push(parameter(&body)),
                b'Z' => {
                    answer.state = body.first().copied().map_or('?', char::from);
                    return error.map_or(Ok(answer), |error| Err(Fault::Server(error)));
                }
                _ => {}
            }
        }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let sent = match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        };
        sent.map_err(broken)
    }

    /// Receives one message.
    pub fn receive(&mut self) -> Result<Message, Fault> {
        let mut head = [0; 5];
        self.fill(&mut head)?;
        let length = usize::try_from(number(&head[1..])?).unwrap_or(0);
        if !(4..LARGEST).contains(&length) {
            return Err(Fault::Protocol(format!("message {:?} of length {length}", char::from(head[0]))));
        }
        let mut body = vec![0; length - 4];
        self.fill(&mut body)?;
        Ok((head[0], body))
    }

    /// Reads whatever comes until the other end closes, and says how many bytes that was.
    pub fn rest(&mut self, most: usize) -> Result<usize, Fault> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        let read = match &mut self.stream {
            Stream::Tcp(stream) => stream.take(limit).read_to_end(&mut bytes),
            Stream::Unix(stream) => stream.take(limit).read_to_end(&mut bytes),
        };
        match read.map_err(broken) {
            Ok(_) if bytes.len() > most => Err(Fault::Protocol(format!("more than {most} bytes and no end"))),
            Ok(_) | Err(Fault::Closed) => Ok(bytes.len()),
            Err(fault) => Err(fault),
        }
    }

    /// How long a read or write may block.
    pub fn patience(&mut self, limit: Duration) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(s) => s.set_read_timeout(Some(limit)).and_then(|()| s.set_write_timeout(Some(limit))),
            Stream::Unix(s) => s.set_read_timeout(Some(limit)).and_then(|()| s.set_write_timeout(Some(limit))),
        }
    }

    /// Says that this end sends no more; reading goes on.
    pub fn finish(&self) -> io::Result<()> {
        let done = match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
        // The other end may have closed already, which is what the callers wait for.
        done.or_else(|e| if e.kind() == io::ErrorKind::NotConnected { Ok(()) } else { Err(e) })
    }

    /// This end's port, 0 for a unix socket.
    #[must_use]
    pub fn local_port(&self) -> u16 {
        match &self.stream {
            Stream::Tcp(stream) => stream.local_addr().map_or(0, |address| address.port()),
            Stream::Unix(_) => 0,
        }
    }

    /// Receives exactly this many bytes.
    pub fn fill(&mut self, into: &mut [u8]) -> Result<(), Fault> {
        let filled = match &mut self.stream {
            Stream::Tcp(stream) => stream.read_exact(into),
            Stream::Unix(stream) => stream.read_exact(into),
        };
        filled.map_err(broken)
    }

    pub(crate) fn authenticate(&mut self, scram: &mut Scram, login: &Login, body: &[u8]) -> Result<(), Fault> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let rest = body.get(4..).unwrap_or_default();
        match number(body.get(..4).unwrap_or_default())? {
            0 => Ok(()),
            3 => self.send(&message(b'p', &[login.password.as_bytes(), b"\0"].concat())),
            5 => {
                let inner = md5(&[login.password.as_bytes(), login.user.as_bytes()]);
                let answer = format!("md5{}\0", md5(&[inner.as_bytes(), rest]));
                self.send(&message(b'p', answer.as_bytes()))
            }
            10 => {
                let first = scram.first();
                let length = i32::try_from(first.len()).unwrap_or(i32::MAX).to_be_bytes();
                self.send(&message(b'p', &[b"SCRAM-SHA-256\0", &length[..], first.as_bytes()].concat()))
            }
            11 => {
                let answer = scram.answer(&text(rest)).map_err(Fault::Protocol)?;
                self.send(&message(b'p', answer.as_bytes()))
            }
            12 => scram.finish(&text(rest)).map_err(Fault::Protocol),
            other => Err(Fault::Protocol(format!("authentication request {other}"))),
        }
    }
}

/// Asks the server at `address` to cancel what the session of `key` runs, and waits until it has closed.
pub fn cancel(address: &Address, key: &(i32, Vec<u8>)) -> Result<(), Fault> {
    let mut wire = Wire::dial(address)?;
    let body = [&80_877_102_i32.to_be_bytes()[..], &key.0.to_be_bytes(), &key.1].concat();
    wire.send(&with_length(&body))?;
    match wire.receive() {
        Err(Fault::Closed) => Ok(()),
        Err(fault) => Err(fault),
        Ok((tag, _)) => Err(Fault::Protocol(format!("{:?} in answer to a cancel", char::from(tag)))),
    }
}

/// The start-up message of protocol 3.0.
#[must_use]
pub fn startup(login: &Login) -> Vec<u8> {
    startup_with(login, &[])
}

/// The same with further parameters.
#[must_use]
pub fn startup_with(login: &Login, more: &[(&str, &str)]) -> Vec<u8> {
    let mut body = 196_608_i32.to_be_bytes().to_vec();
    let usual = [("user", &*login.user), ("database", &login.database), ("application_name", "testbed")];
    for (name, value) in usual.iter().chain(more) {
        for text in [name, value] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
    }
    body.push(0);
    with_length(&body)
}

/// As PostgreSQL writes it: in lower-case hexadecimal.
fn md5(parts: &[&[u8]]) -> String {
    use md5::{Digest, Md5};
    use std::fmt::Write;
    let digest = Md5::digest(parts.concat());
    digest.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string");
        text
    })
}

/// A tagged message around `body`.
#[must_use]
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag], &with_length(body)[..]].concat()
}

fn with_length(body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len() + 4).expect("tests send less than 2 GiB");
    [&length.to_be_bytes()[..], body].concat()
}

pub(crate) fn nonce() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("testbed-{}-{count:016x}", std::process::id())
}

pub(crate) fn broken(e: io::Error) -> Fault {
    let closed = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
    if closed.contains(&e.kind()) { Fault::Closed } else { Fault::Io(e) }
}

pub(crate) fn number(bytes: &[u8]) -> Result<i32, Fault> {
    let four = bytes.try_into().map_err(|_| Fault::Protocol("a number is cut short".to_string()))?;
    Ok(i32::from_be_bytes(four))
}

fn texts(body: &[u8]) -> impl Iterator<Item = String> {
    body.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned())
}

pub(crate) fn parameter(body: &[u8]) -> (String, String) {
    let mut parts = texts(body);
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

pub(crate) fn notice(body: &[u8]) -> Notice {
    let mut notice = Notice::default();
    for field in texts(body).filter(|field| !field.is_empty()) {
        // `V` is the untranslated severity; servers before 9.6 and some poolers send `S` alone.
        if notice.severity.is_empty()
            && let Some(severity) = field.strip_prefix('S')
        {
            notice.severity = severity.to_string();
        }
        let mut rest = field.chars();
        let place = match rest.next() {
            Some('V') => &mut notice.severity,
            Some('C') => &mut notice.code,
            Some('M') => &mut notice.message,
            Some('D') => &mut notice.detail,
            Some('H') => &mut notice.hint,
            _ => continue,
        };
        *place = rest.collect();
    }
    notice
}

pub(crate) fn columns(body: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = body.get(2..).unwrap_or_default();
    // After each name and its zero byte stand 18 bytes of type description.
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
        rest = rest.get(end + 19..).unwrap_or_default();
    }
    names
}

pub(crate) fn row(body: &[u8]) -> Result<Vec<Option<String>>, Fault> {
    let mut values = Vec::new();
    let mut rest = body.get(2..).unwrap_or_default();
    while !rest.is_empty() {
        let length = number(rest.get(..4).unwrap_or_default())?;
        rest = &rest[4..];
        let Ok(length) = usize::try_from(length) else {
            values.push(None);
            continue;
        };
        let text = rest.get(..length).ok_or_else(|| Fault::Protocol("a row is cut short".to_string()))?;
        values.push(Some(String::from_utf8_lossy(text).into_owned()));
        rest = &rest[length..];
    }
    Ok(values)
}

impl Answer {
    /// The only value of the only row.
    #[must_use]
    #[track_caller]
    pub fn value(&self) -> String {
        assert!(self.rows.len() == 1 && self.rows[0].len() == 1, "expected one value, got {:?}", self.rows);
        self.rows[0][0].clone().unwrap_or_default()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Server(n) => write!(f, "{} {}: {} ({}; {})", n.severity, n.code, n.message, n.detail, n.hint),
            Fault::Closed => write!(f, "the connection was closed"),
            Fault::Io(e) => write!(f, "{e}"),
            Fault::Protocol(what) => write!(f, "not the protocol: {what}"),
        }
    }
}

impl std::error::Error for Fault {}
