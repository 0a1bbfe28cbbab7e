//! SCRAM-SHA-256 (RFC 5802, RFC 7677) in both roles, as values: each step takes the peer's message
//! and gives the next one, or says why there is none.
//!
//! It draws no randomness (nonces and seeds come in), and compares secrets in constant time.
//! SCRAM-SHA-256-PLUS binds the exchange to its TLS connection by `tls-server-end-point` (RFC 5929), so that nobody in
//! between can hand it on; whoever hid from the client that it was offered is found out by the client's `y`.
//!
//! ```text
//! client ──client-first──► server     start            ServerExchange::start
//! client ◄─server-first─── server     respond
//! client ──client-final──► server                      ServerExchange::finish: Verified
//! client ◄─server-final─── server     verify
//! ```

mod client;
mod server;

pub use client::{ClientExchange, ClientFinal, Derived, Flag, Proof, Response};
pub use server::{Offer, ServerExchange, Verified};

use base64::{Engine, engine::general_purpose::STANDARD};
use core::fmt;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// What a SASL mechanism is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// SCRAM-SHA-256.
    Plain,
    /// SCRAM-SHA-256-PLUS: the same, bound to the TLS connection.
    Plus,
}

impl Mechanism {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "SCRAM-SHA-256",
            Self::Plus => "SCRAM-SHA-256-PLUS",
        }
    }

    /// Reads the name on the wire.
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<Self> {
        [Self::Plain, Self::Plus].into_iter().find(|mechanism| mechanism.name().as_bytes() == name)
    }
}

/// The one channel binding spoken, as the first message names it (its gs2 header).
const BOUND: &str = "p=tls-server-end-point,,";

/// PostgreSQL's default `scram_iterations`, for secrets derived here and for mock ones.
pub const ITERATIONS: u32 = 4096;

/// The most iterations that are computed because somebody asks for them: about half a second of
/// one core, above every recommendation (600,000), below a denial of service.
pub const MAX_ITERATIONS: u32 = 1_000_000;

/// The longest salt taken; PostgreSQL makes 16 bytes.
const MAX_SALT: usize = 1024;

/// Why an exchange ended badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScramError {
    /// The peer's message breaks the grammar, and where.
    Malformed(&'static str),
    /// The client's first message and the mechanism that it chose disagree on channel binding, and how.
    Flag(&'static str),
    /// The client wants a channel binding that is not spoken.
    BindingType,
    /// The client could bind the channel and believes that the server cannot, which offered it: somebody in between took
    /// the offer away.
    Downgrade,
    /// The client is bound to another TLS connection than this: somebody stands in between.
    EndPoint,
    /// The client wants to act as somebody else than the start-up packet named.
    Authorization,
    /// The peer's nonce is not ours continued.
    Nonce,
    /// The client's proof does not fit the stored key: a wrong password.
    WrongProof,
    /// The server asks for more iterations than [`MAX_ITERATIONS`].
    Iterations,
    /// The server said that it refuses.
    Refused,
    /// The server's signature does not fit: it does not know the secret.
    ServerSignature,
}

impl fmt::Display for ScramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "malformed SCRAM message ({what})"),
            Self::Flag(what) => write!(f, "malformed SCRAM message ({what})"),
            Self::BindingType => f.write_str("unsupported SCRAM channel-binding type"),
            Self::Downgrade => f.write_str("client supports channel binding and was not told that it is offered"),
            Self::EndPoint => f.write_str("SCRAM channel binding is to another TLS connection"),
            Self::Authorization => f.write_str("SCRAM authorization identity is not supported"),
            Self::Nonce => f.write_str("SCRAM nonce does not match"),
            Self::WrongProof => f.write_str("SCRAM proof does not match"),
            Self::Iterations => write!(f, "SCRAM iterations above {MAX_ITERATIONS}"),
            Self::Refused => f.write_str("SCRAM exchange refused by the server"),
            Self::ServerSignature => f.write_str("SCRAM server signature does not match"),
        }
    }
}

impl core::error::Error for ScramError {}

/// The two keys a client needs to log in; they stand for the password wherever the same salt and
/// iterations are in use.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Keys {
    /// Proves the client.
    pub client_key: [u8; 32],
    /// Checks the server.
    pub server_key: [u8; 32],
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Keys {
    /// Derives the keys from a password (PBKDF2: milliseconds of CPU, never on a relaying loop).
    #[must_use]
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Self {
        let prepared = prepare(password);
        let mut salted: [u8; 32] = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(prepared.as_bytes(), salt, iterations);
        let client_key = mac(&salted, &[b"Client Key"]);
        let server_key = mac(&salted, &[b"Server Key"]);
        salted.zeroize();
        Self { client_key, server_key }
    }
}

/// What a server keeps of a password: `SCRAM-SHA-256$<iterations>:<salt>$<stored>:<server>`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret {
    /// PBKDF2 rounds.
    pub iterations: u32,
    /// The salt, decoded.
    pub salt: Vec<u8>,
    /// The hash of the client key.
    pub stored_key: [u8; 32],
    /// The key the server signs with.
    pub server_key: [u8; 32],
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(SCRAM-SHA-256$..)")
    }
}

impl Secret {
    /// Reads PostgreSQL's form (`pg_authid.rolpassword`); `None` when it is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("SCRAM-SHA-256$")?;
        let (head, keys) = rest.split_once('$')?;
        let (iterations, salt) = head.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        let iterations: u32 = iterations.parse().ok()?;
        let salt = STANDARD.decode(salt).ok()?;
        if iterations == 0 || salt.is_empty() || salt.len() > MAX_SALT {
            return None;
        }
        Some(Self { iterations, salt, stored_key: key(stored.as_bytes())?, server_key: key(server.as_bytes())? })
    }

    /// PostgreSQL's form. It is a secret: it must not be printed.
    #[must_use]
    pub fn format(&self) -> String {
        let salt = STANDARD.encode(&self.salt);
        let stored = STANDARD.encode(self.stored_key);
        let server = STANDARD.encode(self.server_key);
        format!("SCRAM-SHA-256${}:{salt}${stored}:{server}", self.iterations)
    }

    /// Derives it from a password (PBKDF2: milliseconds of CPU).
    #[must_use]
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Self {
        let keys = Keys::derive(password, salt, iterations);
        Self {
            iterations,
            salt: salt.to_vec(),
            stored_key: Sha256::digest(keys.client_key).into(),
            server_key: keys.server_key,
        }
    }

    /// The secret of nobody, for users that are not known: from the same `seed` and `user` always
    /// the same, so that trying twice does not tell whether the user exists. No password fits it.
    #[must_use]
    pub fn mock(seed: &[u8; 32], user: &str) -> Self {
        Self {
            iterations: ITERATIONS,
            salt: salt(seed, user).to_vec(),
            stored_key: mac(seed, &[b"mock stored key:", user.as_bytes()]),
            server_key: mac(seed, &[b"mock server key:", user.as_bytes()]),
        }
    }

    /// Whether `password`, sent in clear, is the one this was made of (PBKDF2: milliseconds of CPU).
    #[must_use]
    pub fn fits(&self, password: &str) -> bool {
        self.keys(password).is_some()
    }

    /// The keys of `password`, if it is the one this was made of (PBKDF2: milliseconds of CPU).
    #[must_use]
    pub fn keys(&self, password: &str) -> Option<Keys> {
        use subtle::ConstantTimeEq;
        let keys = Keys::derive(password, &self.salt, self.iterations);
        let stored_key: [u8; 32] = Sha256::digest(keys.client_key).into();
        bool::from(stored_key.ct_eq(&self.stored_key)).then_some(keys)
    }
}

/// The salt for a user without a stored one (unknown, or known by a plain password): stable, as a
/// stored salt is, so that the two cannot be told apart.
#[must_use]
pub fn salt(seed: &[u8; 32], user: &str) -> [u8; 16] {
    let wide = mac(seed, &[b"salt:", user.as_bytes()]);
    let mut salt = [0; 16];
    salt.copy_from_slice(&wide[..16]);
    salt
}

/// A nonce in the form the messages carry, from 18 random bytes (as PostgreSQL draws).
#[must_use]
pub fn nonce(random: [u8; 18]) -> String {
    STANDARD.encode(random)
}

/// SASLprep, or the password as it is where that is not defined for it, as PostgreSQL does.
fn prepare(password: &str) -> Cow<'_, str> {
    match stringprep::saslprep(password) {
        Ok(prepared) if !prepared.is_empty() => prepared,
        Ok(_) | Err(_) => Cow::Borrowed(password),
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn xor(mut a: [u8; 32], b: &[u8; 32]) -> [u8; 32] {
    for (a, b) in a.iter_mut().zip(b) {
        *a ^= b;
    }
    a
}

/// What the `c=` attribute repeats, in base64: the gs2 header, and behind it the data it is bound to.
fn binding(gs2: &str, end_point: &[u8]) -> String {
    STANDARD.encode([gs2.as_bytes(), end_point].concat())
}

/// Decodes a base64 key of exactly 32 bytes.
fn key(text: &[u8]) -> Option<[u8; 32]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// Takes the attribute `name` (`r=...`) off the front: its value, and what follows its comma.
fn attribute(text: &str, name: char) -> Option<(&str, &str)> {
    let rest = text.strip_prefix(name)?.strip_prefix('=')?;
    Some(rest.split_once(',').unwrap_or((rest, "")))
}

/// A nonce is printable ASCII without a comma; the comma is the caller's split.
fn printable(nonce: &str) -> bool {
    !nonce.is_empty() && nonce.bytes().all(|b| (0x21..=0x7e).contains(&b))
}

#[cfg(test)]
mod tests;
