//! The client's role: knows a password or the keys made of it, proves that, and makes the server
//! prove the same.

use super::{
    BOUND, Keys, MAX_ITERATIONS, MAX_SALT, Mechanism, STANDARD, ScramError, attribute, binding, key, mac, printable,
    xor,
};
use base64::Engine;
use core::fmt;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Keys with the salt and iterations they were derived under: keep them, and the next login with
/// the same password on the same server costs no PBKDF2.
#[derive(Clone, PartialEq, Eq)]
pub struct Derived {
    /// The server's salt.
    pub salt: Vec<u8>,
    /// The server's iterations.
    pub iterations: u32,
    /// What came of them.
    pub keys: Keys,
}

impl fmt::Debug for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Derived").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// What the client proves itself with.
#[derive(Clone, Copy, Debug)]
pub enum Proof<'a> {
    /// A password, and what an earlier login derived of it.
    Password(&'a crate::password::Plain, Option<&'a Derived>),
    /// Keys captured from a client's own login.
    Keys(&'a Keys),
}

/// What the client says of channel binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flag {
    /// `n`: it does not bind.
    Unbound,
    /// `y`: it would, but the server did not offer it.
    Unoffered,
    /// `p`: it is bound to this hash of the server's certificate (`tls-server-end-point`).
    EndPoint(Vec<u8>),
}

impl Flag {
    /// The mechanism that goes with it.
    #[must_use]
    pub fn mechanism(&self) -> Mechanism {
        match self {
            Self::Unbound | Self::Unoffered => Mechanism::Plain,
            Self::EndPoint(_) => Mechanism::Plus,
        }
    }

    /// The gs2 header, and the data it is bound to.
    fn parts(&self) -> (&'static str, &[u8]) {
        match self {
            Self::Unbound => ("n,,", &[]),
            Self::Unoffered => ("y,,", &[]),
            Self::EndPoint(hash) => (BOUND, hash),
        }
    }
}

/// An exchange whose client-first is out.
pub struct ClientExchange {
    nonce: String,
    /// In base64.
    binding: String,
}

/// An exchange whose proof is out: all that is left is to check the server.
pub struct ClientFinal {
    signature: [u8; 32],
}

/// The answer to a challenge.
pub struct Response {
    /// What checks the server's last word.
    pub exchange: ClientFinal,
    /// The client-final message.
    pub message: Vec<u8>,
    /// Keys derived on the way, when PBKDF2 had to be paid.
    pub derived: Option<Derived>,
}

impl ClientExchange {
    /// Gives client-first, for the mechanism that goes with `flag`. `nonce` is ours ([`super::nonce`]), fresh each time. The
    /// user name stays empty, as libpq leaves it: the start-up packet names the user.
    #[must_use]
    pub fn start(nonce: String, flag: &Flag) -> (Self, Vec<u8>) {
        let (gs2, end_point) = flag.parts();
        let first = format!("{gs2}n=,r={nonce}").into_bytes();
        (Self { nonce, binding: binding(gs2, end_point) }, first)
    }

    /// Takes server-first, gives client-final.
    ///
    /// # Errors
    /// [`ScramError::Nonce`], [`ScramError::Iterations`] or [`ScramError::Malformed`].
    pub fn respond(self, server_first: &[u8], proof: Proof<'_>) -> Result<Response, ScramError> {
        let challenge = Challenge::read(server_first)?;
        let ours_continued = challenge.nonce.strip_prefix(&self.nonce);
        if ours_continued.is_none_or(str::is_empty) {
            return Err(ScramError::Nonce);
        }
        let mut derived = None;
        let keys = match proof {
            Proof::Keys(keys) => keys.clone(),
            Proof::Password(_, Some(known)) if challenge.made(known) => known.keys.clone(),
            Proof::Password(password, _) => {
                let Challenge { salt, iterations, .. } = challenge;
                let keys = Keys::derive(password.expose(), &salt, iterations);
                derived = Some(Derived { salt, iterations, keys: keys.clone() });
                keys
            }
        };
        let first = challenge.text;
        let unproven = format!("c={},r={}", self.binding, challenge.nonce);
        let transcript = format!("n=,r={},{first},{unproven}", self.nonce);
        let stored_key: [u8; 32] = Sha256::digest(keys.client_key).into();
        let proof = xor(mac(&stored_key, &[transcript.as_bytes()]), &keys.client_key);
        let signature = mac(&keys.server_key, &[transcript.as_bytes()]);
        Ok(Response {
            exchange: ClientFinal { signature },
            message: format!("{unproven},p={}", STANDARD.encode(proof)).into_bytes(),
            derived,
        })
    }
}

impl ClientFinal {
    /// Takes server-final; only after this has the server proven that it knows the secret.
    ///
    /// # Errors
    /// [`ScramError::ServerSignature`], [`ScramError::Refused`] or [`ScramError::Malformed`].
    pub fn verify(self, server_final: &[u8]) -> Result<(), ScramError> {
        let text = std::str::from_utf8(server_final).map_err(|_| ScramError::Malformed("server signature"))?;
        if text.starts_with("e=") {
            return Err(ScramError::Refused);
        }
        let signature = attribute(text, 'v')
            .and_then(|(value, _extensions)| key(value.as_bytes()))
            .ok_or(ScramError::Malformed("server signature"))?;
        if bool::from(signature.ct_eq(&self.signature)) { Ok(()) } else { Err(ScramError::ServerSignature) }
    }
}

/// The server-first message, read.
struct Challenge<'a> {
    text: &'a str,
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> Challenge<'a> {
    fn read(message: &'a [u8]) -> Result<Self, ScramError> {
        let text = std::str::from_utf8(message).map_err(|_| ScramError::Malformed("not UTF-8"))?;
        let (nonce, rest) = attribute(text, 'r').ok_or(ScramError::Malformed("nonce"))?;
        let (salt, rest) = attribute(rest, 's').ok_or(ScramError::Malformed("salt"))?;
        let (rounds, _extensions) = attribute(rest, 'i').ok_or(ScramError::Malformed("iterations"))?;
        if !printable(nonce) {
            return Err(ScramError::Malformed("nonce"));
        }
        let salt = STANDARD.decode(salt).map_err(|_| ScramError::Malformed("salt"))?;
        if salt.is_empty() || salt.len() > MAX_SALT {
            return Err(ScramError::Malformed("salt"));
        }
        let iterations: u32 = rounds.parse().map_err(|_| ScramError::Malformed("iterations"))?;
        match iterations {
            0 => Err(ScramError::Malformed("iterations")),
            1..=MAX_ITERATIONS => Ok(Self { text, nonce, salt, iterations }),
            _ => Err(ScramError::Iterations),
        }
    }

    fn made(&self, known: &Derived) -> bool {
        self.iterations == known.iterations && self.salt == known.salt
    }
}
