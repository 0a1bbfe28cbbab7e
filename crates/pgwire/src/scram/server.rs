//! The server's role: knows a [`Secret`], learns whether the client knows the password, and keeps
//! the client key that a true proof reveals.

use super::{BOUND, Keys, Mechanism, STANDARD, ScramError, Secret, attribute, binding, key, mac, printable, xor};
use base64::Engine;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// An exchange whose challenge is out.
pub struct ServerExchange {
    secret: Secret,
    bound: bool,
    /// What the client must repeat, in base64.
    binding: String,
    nonce: String,
    transcript: String,
}

/// What a client's first message answers.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// The mechanism it chose.
    pub chosen: Mechanism,
    /// The hash of the server's certificate, where [`Mechanism::Plus`] was offered too.
    pub end_point: Option<&'a [u8]>,
}

/// A client that proved itself.
#[derive(Debug)]
pub struct Verified {
    /// The server-final message.
    pub message: Vec<u8>,
    /// The keys with which one may log in elsewhere under the same salt and iterations.
    pub keys: Keys,
    /// Whether it is bound to the TLS connection.
    pub bound: bool,
}

impl ServerExchange {
    /// Takes client-first, gives server-first. `nonce` is ours ([`super::nonce`]), fresh each time; `offer` is what the client
    /// chose out of. The user name in the message is not looked at: the start-up packet named the user.
    ///
    /// # Errors
    /// [`ScramError::Malformed`], or what is wrong about the channel binding.
    pub fn start(
        secret: Secret,
        offer: Offer<'_>,
        client_first: &[u8],
        nonce: &str,
    ) -> Result<(Self, Vec<u8>), ScramError> {
        let text = utf8(client_first)?;
        let (gs2, bare) = header(text, &offer)?;
        let end_point = offer.end_point.filter(|_| gs2 == BOUND).unwrap_or_default();
        let (_user, rest) = attribute(bare, 'n').ok_or(ScramError::Malformed("user name"))?;
        let (theirs, _extensions) = attribute(rest, 'r').ok_or(ScramError::Malformed("nonce"))?;
        if !printable(theirs) {
            return Err(ScramError::Malformed("nonce"));
        }
        let salt = STANDARD.encode(&secret.salt);
        let nonce = format!("{theirs}{nonce}");
        let first = format!("r={nonce},s={salt},i={}", secret.iterations);
        let transcript = format!("{bare},{first}");
        let exchange = Self { secret, bound: gs2 == BOUND, binding: binding(gs2, end_point), nonce, transcript };
        Ok((exchange, first.into_bytes()))
    }

    /// Takes client-final, gives server-final and the keys.
    ///
    /// # Errors
    /// [`ScramError::WrongProof`] for a wrong password, others for a broken message.
    pub fn finish(self, client_final: &[u8]) -> Result<Verified, ScramError> {
        let text = utf8(client_final)?;
        let (unproven, proof) = text.rsplit_once(",p=").ok_or(ScramError::Malformed("proof"))?;
        let (binding, rest) = attribute(unproven, 'c').ok_or(ScramError::Malformed("binding"))?;
        let (nonce, _extensions) = attribute(rest, 'r').ok_or(ScramError::Malformed("nonce"))?;
        if binding != self.binding {
            return Err(if self.bound { ScramError::EndPoint } else { ScramError::Malformed("binding") });
        }
        if nonce != self.nonce {
            return Err(ScramError::Nonce);
        }
        let proof = key(proof.as_bytes()).ok_or(ScramError::Malformed("proof"))?;
        let said = [self.transcript.as_bytes(), b",", unproven.as_bytes()];
        let client_key = xor(mac(&self.secret.stored_key, &said), &proof);
        let hashed: [u8; 32] = Sha256::digest(client_key).into();
        if !bool::from(hashed.ct_eq(&self.secret.stored_key)) {
            return Err(ScramError::WrongProof);
        }
        let server_key = self.secret.server_key;
        let signature = STANDARD.encode(mac(&server_key, &said));
        let message = format!("v={signature}").into_bytes();
        Ok(Verified { message, keys: Keys { client_key, server_key }, bound: self.bound })
    }
}

/// Takes the gs2 header off client-first: the header, and what follows it. The mechanism and the flag must agree, or somebody
/// changed one of them.
fn header<'a>(text: &'a str, offer: &Offer<'_>) -> Result<(&'static str, &'a str), ScramError> {
    const UNBOUND: &str = "SCRAM-SHA-256-PLUS without channel binding";
    let (flag, gs2) = match (text.as_bytes().first(), offer.chosen) {
        (Some(b'n'), Mechanism::Plain) => ("n", "n,,"),
        (Some(b'y'), Mechanism::Plain) if offer.end_point.is_some() => return Err(ScramError::Downgrade),
        (Some(b'y'), Mechanism::Plain) => ("y", "y,,"),
        (Some(b'n' | b'y'), Mechanism::Plus) => return Err(ScramError::Flag(UNBOUND)),
        (Some(b'p'), Mechanism::Plain) => return Err(ScramError::Flag("SCRAM-SHA-256 with channel binding")),
        (Some(b'p'), Mechanism::Plus) if offer.end_point.is_none() => return Err(ScramError::BindingType),
        (Some(b'p'), Mechanism::Plus) => ("p=tls-server-end-point", BOUND),
        (Some(_) | None, Mechanism::Plain | Mechanism::Plus) => return Err(ScramError::Malformed("gs2 header")),
    };
    let Some(rest) = text.strip_prefix(flag).and_then(|rest| rest.strip_prefix(',')) else {
        let other = text.starts_with("p=");
        return Err(if other { ScramError::BindingType } else { ScramError::Malformed("gs2 header") });
    };
    // An authorization identity may stand here; PostgreSQL takes none either.
    match rest.strip_prefix(',') {
        Some(bare) => Ok((gs2, bare)),
        None if rest.starts_with("a=") => Err(ScramError::Authorization),
        None => Err(ScramError::Malformed("gs2 header")),
    }
}

fn utf8(message: &[u8]) -> Result<&str, ScramError> {
    std::str::from_utf8(message).map_err(|_| ScramError::Malformed("not UTF-8"))
}
