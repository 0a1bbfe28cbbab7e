//! One connection's TLS as a value: bytes of the socket in, plaintext out, and back. It owns no socket and moves with one.
//!
//! It keeps what is left of an unfinished record and plaintext nobody had room for, both given back to the allocator as soon as
//! they are used up; so an idle connection holds its keys and no buffer.
//! Bounds: one record that is not finished (or a handshake message, which rustls refuses above 64 kB), one record of plaintext.

use std::fmt;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::CertificateDer;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{CommonState, Error, ProtocolVersion};

/// A record's plaintext is at most this.
const RECORD: usize = 16 << 10;
/// What encryption adds to a record, at most: header, content type, padding and tag, or TLS 1.2's explicit nonce.
const OVERHEAD: usize = 64;
/// A key update may go before the data, and an alert is as small.
const EXTRA: usize = 256;
/// Room for reading must hold a whole record: RFC 8446 allows 16 kB and 256 bytes, RFC 5246 2,048 more.
pub(crate) const ROOM: usize = RECORD + 2048 + 5;

/// Which side we are.
enum Side {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// One connection's TLS.
pub(crate) struct Tls {
    side: Side,
    /// Received, not decrypted: a record (or a handshake message of several) that is not finished.
    sealed: Vec<u8>,
    /// Decrypted, and not taken yet from `taken` on.
    opened: Vec<u8>,
    taken: usize,
    /// Encrypted, and not sent yet: alerts, handshakes, what a socket did not take before it moved.
    pub(crate) owed: Vec<u8>,
    /// The peer has said that it is done.
    ended: bool,
}

/// Where what comes out of received bytes goes.
struct Sink<'a> {
    room: &'a mut [u8],
    filled: usize,
    opened: &'a mut Vec<u8>,
    owed: &'a mut Vec<u8>,
    ended: &'a mut bool,
}

/// What one state of rustls asks for.
enum Next {
    More,
    Enough,
}

impl Tls {
    pub(crate) fn server(connection: UnbufferedServerConnection) -> Self {
        Self::new(Side::Server(Box::new(connection)))
    }

    pub(crate) fn client(connection: UnbufferedClientConnection) -> Self {
        Self::new(Side::Client(Box::new(connection)))
    }

    fn new(side: Side) -> Self {
        Self { side, sealed: Vec::new(), opened: Vec::new(), taken: 0, owed: Vec::new(), ended: false }
    }

    fn state(&self) -> &CommonState {
        match &self.side {
            Side::Server(connection) => connection,
            Side::Client(connection) => connection,
        }
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.state().is_handshaking()
    }

    /// The protocol chosen by ALPN.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.state().alpn_protocol()
    }

    /// The peer's certificate.
    pub(crate) fn peer(&self) -> Option<&CertificateDer<'static>> {
        self.state().peer_certificates()?.first()
    }

    /// Version, cipher and key exchange, as PgBouncer shows them.
    pub(crate) fn describe(&self) -> String {
        let state = self.state();
        let version = match state.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(_) | None => "TLS",
        };
        let suite = state.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("unknown");
        let group = state.negotiated_key_exchange_group().map(|group| group.name());
        let group = match group.and_then(|name| name.as_str()) {
            Some("secp256r1") => "/ECDH=prime256v1".to_owned(),
            Some(name) => format!("/ECDH={name}"),
            None => String::new(),
        };
        format!("{version}/{}{group}", openssl_name(suite))
    }

    /// Whether there is plaintext to take.
    pub(crate) fn has_opened(&self) -> bool {
        self.taken < self.opened.len()
    }

    /// Whether anything of the peer's is here that nobody has taken.
    pub(crate) fn holds(&self) -> bool {
        self.has_opened() || !self.sealed.is_empty()
    }

    /// Whether reading would bring something without a word from the socket: plaintext, or the end.
    pub(crate) fn is_worth_a_look(&self) -> bool {
        self.has_opened() || self.ended
    }

    /// Whether the peer has said that it is done, and all it said before is taken.
    pub(crate) fn is_over(&self) -> bool {
        self.ended && !self.has_opened()
    }

    /// Takes plaintext that is here; how much.
    pub(crate) fn take(&mut self, room: &mut [u8]) -> usize {
        let count = room.len().min(self.opened.len() - self.taken);
        room[..count].copy_from_slice(&self.opened[self.taken..self.taken + count]);
        self.taken += count;
        if self.taken == self.opened.len() {
            (self.opened, self.taken) = (Vec::new(), 0);
        }
        count
    }

    /// What was held back: it goes in front of what is received next.
    pub(crate) fn sealed(&self) -> &[u8] {
        &self.sealed
    }

    /// Decrypts `input`, which begins with what was held back, into `room`; what does not fit is kept. Returns how much of `room` is
    /// filled. After an error, what the peer is to be told of it is owed.
    pub(crate) fn open(&mut self, input: &mut [u8], room: &mut [u8]) -> Result<usize, Error> {
        let Self { side, sealed, opened, owed, ended, .. } = self;
        let mut sink = Sink { room, filled: 0, opened, owed, ended };
        let used = match side {
            Side::Server(connection) => pump(&mut **connection, input, &mut sink)?,
            Side::Client(connection) => pump(&mut **connection, input, &mut sink)?,
        };
        let filled = sink.filled;
        *sealed = input[used..].to_vec(); // nothing is allocated where nothing is left
        Ok(filled)
    }

    /// Decrypts what `input` completes; the plaintext is kept.
    pub(crate) fn receive(&mut self, input: &[u8]) -> Result<(), Error> {
        let mut all = std::mem::take(&mut self.sealed);
        all.extend_from_slice(input);
        self.open(&mut all, &mut []).map(|_| ())
    }

    /// Encrypts `plaintext` behind what is in `out`.
    pub(crate) fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        self.write(&Words::Data(plaintext), out)
    }

    /// Says that we are done, behind what is in `out`.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.write(&Words::Goodbye, out)
    }

    fn write(&mut self, words: &Words<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        // What is not finished is shown again, because rustls counts from where it was.
        let Self { side, sealed, .. } = self;
        match side {
            Side::Server(connection) => write(&mut **connection, sealed, words, out),
            Side::Client(connection) => write(&mut **connection, sealed, words, out),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// What is to be sent.
enum Words<'a> {
    Data(&'a [u8]),
    Goodbye,
}

/// Either side's connection.
trait Process {
    type Data;
    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Process for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }
}

impl Process for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }
}

/// Works `input` off as far as it is complete; how much of it is used up.
fn pump<P: Process>(connection: &mut P, input: &mut [u8], sink: &mut Sink<'_>) -> Result<usize, Error> {
    let mut used = 0;
    loop {
        let status = connection.process(&mut input[used..]);
        let discard = status.discard;
        let next = match status.state {
            Ok(state) => absorb(state, sink)?,
            Err(error) => {
                alert(connection, &mut input[used + discard..], sink.owed);
                return Err(error);
            }
        };
        used += discard;
        if let Next::Enough = next {
            return Ok(used);
        }
    }
}

/// After an error: what was to be sent before it, and the alert that tells the peer, which is the last. Behind that rustls must
/// not be asked for more, because it would read the same input again.
fn alert<P: Process>(connection: &mut P, input: &mut [u8], owed: &mut Vec<u8>) {
    /// Content type and, encrypted by TLS 1.3, length: header, level and description, content type, tag.
    const ALERT: u8 = 21;
    const SEALED: usize = 5 + 2 + 1 + 16;
    for _ in 0..MOST_STATES {
        let Ok(ConnectionState::EncodeTlsData(mut data)) = connection.process(input).state else { return };
        let from = owed.len();
        encode(&mut data, owed);
        if owed.get(from) == Some(&ALERT) || owed.len() - from == SEALED {
            return;
        }
    }
}

fn absorb<Data>(state: ConnectionState<'_, '_, Data>, sink: &mut Sink<'_>) -> Result<Next, Error> {
    match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                sink.put(record?.payload);
            }
        }
        ConnectionState::EncodeTlsData(mut data) => encode(&mut data, sink.owed),
        ConnectionState::TransmitTlsData(data) => data.done(), // whoever calls sends what is owed
        ConnectionState::PeerClosed => *sink.ended = true,
        ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake | ConnectionState::Closed => {
            return Ok(Next::Enough);
        }
        ConnectionState::ReadEarlyData(_) | _ => return Err(Error::General("early data was not offered".into())),
    }
    Ok(Next::More)
}

impl Sink<'_> {
    fn put(&mut self, plaintext: &[u8]) {
        let fits = plaintext.len().min(self.room.len() - self.filled);
        // what is kept must stay behind what was kept before
        let fits = if self.opened.is_empty() { fits } else { 0 };
        self.room[self.filled..self.filled + fits].copy_from_slice(&plaintext[..fits]);
        self.filled += fits;
        self.opened.extend_from_slice(&plaintext[fits..]);
    }
}

fn encode<Data>(data: &mut EncodeTlsData<'_, Data>, out: &mut Vec<u8>) {
    let from = out.len();
    let mut room = EXTRA;
    loop {
        out.resize(from + room, 0);
        match data.encode(&mut out[from..]) {
            Ok(written) => return out.truncate(from + written),
            Err(EncodeError::InsufficientSize(needs)) => room = needs.required_size,
            Err(EncodeError::AlreadyEncoded) => return out.truncate(from),
        }
    }
}

/// A connection that may send does so within so many states: what it still has to say itself comes first.
const MOST_STATES: usize = 16;

fn write<P: Process>(connection: &mut P, sealed: &mut [u8], words: &Words<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    for _ in 0..MOST_STATES {
        match connection.process(sealed).state? {
            ConnectionState::WriteTraffic(traffic) => return encrypt(traffic, words, out),
            ConnectionState::EncodeTlsData(mut data) => encode(&mut data, out),
            ConnectionState::TransmitTlsData(data) => data.done(),
            ConnectionState::PeerClosed => {} // noted when it was read
            ConnectionState::ReadTraffic(_)
            | ConnectionState::ReadEarlyData(_)
            | ConnectionState::BlockedHandshake
            | ConnectionState::Closed
            | _ => break,
        }
    }
    Err(Error::General("nothing can be sent on this connection".into()))
}

fn encrypt<Data>(mut traffic: WriteTraffic<'_, Data>, words: &Words<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    let from = out.len();
    let length = if let Words::Data(data) = words { data.len() } else { 0 };
    let mut room = length + (length / RECORD + 1) * OVERHEAD + EXTRA;
    loop {
        out.resize(from + room, 0);
        let written = match words {
            Words::Data(data) => traffic.encrypt(data, &mut out[from..]),
            Words::Goodbye => traffic.queue_close_notify(&mut out[from..]),
        };
        match written {
            Ok(written) => {
                out.truncate(from + written);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(needs)) => room = needs.required_size,
            Err(why @ EncryptError::EncryptExhausted) => {
                out.truncate(from);
                return Err(Error::General(why.to_string()));
            }
        }
    }
}

/// TLS 1.2's suites have other names in OpenSSL, and so in PgBouncer's and PostgreSQL's views; TLS 1.3's are OpenSSL's minus a digit.
fn openssl_name(suite: &str) -> String {
    if let Some(rest) = suite.strip_prefix("TLS13_") {
        return format!("TLS_{rest}");
    }
    let Some((exchange, cipher)) = suite.strip_prefix("TLS_").and_then(|rest| rest.split_once("_WITH_")) else {
        return suite.to_owned();
    };
    let cipher = cipher.replace("AES_", "AES").replace("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305");
    format!("{exchange}-{cipher}").replace('_', "-")
}

#[cfg(test)]
pub(super) mod tests;
