//! The server's role: knows a [`Secret`], learns whether the client knows the password, and keeps
//! the client key that a true proof reveals.

use super::{Keys, STANDARD, ScramError, Secret, attribute, key, mac, printable, xor};
use base64::Engine;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// An exchange whose challenge is out.
pub struct ServerExchange {
    secret: Secret,
    gs2: &'static str,
    nonce: String,
    transcript: String,
}

/// A client that proved itself.
#[derive(Debug)]
pub struct Verified {
    /// The server-final message.
    pub message: Vec<u8>,
    /// The keys with which one may log in elsewhere under the same salt and iterations.
    pub keys: Keys,
}

impl ServerExchange {
    /// Takes client-first, gives server-first. `nonce` is ours ([`super::nonce`]), fresh each time.
    /// The user name in the message is not looked at: the start-up packet named the user.
    ///
    /// # Errors
    /// [`ScramError::Malformed`], or [`ScramError::ChannelBinding`] when the client insists on it.
    pub fn start(secret: Secret, client_first: &[u8], nonce: &str) -> Result<(Self, Vec<u8>), ScramError> {
        let text = utf8(client_first)?;
        let (gs2, bare) = match text.as_bytes().first() {
            Some(b'n') => ("n,,", text.strip_prefix("n,,")),
            Some(b'y') => ("y,,", text.strip_prefix("y,,")),
            Some(b'p') => return Err(ScramError::ChannelBinding),
            Some(_) | None => ("", None),
        };
        // Between the commas an authorization identity may stand; PostgreSQL takes none either.
        let bare = bare.ok_or(ScramError::Malformed("gs2 header"))?;
        let (_user, rest) = attribute(bare, 'n').ok_or(ScramError::Malformed("user name"))?;
        let (theirs, _extensions) = attribute(rest, 'r').ok_or(ScramError::Malformed("nonce"))?;
        if !printable(theirs) {
            return Err(ScramError::Malformed("nonce"));
        }
        let salt = STANDARD.encode(&secret.salt);
        let nonce = format!("{theirs}{nonce}");
        let first = format!("r={nonce},s={salt},i={}", secret.iterations);
        let transcript = format!("{bare},{first}");
        let exchange = Self { secret, gs2, nonce, transcript };
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
        if binding != STANDARD.encode(self.gs2) {
            return Err(ScramError::Malformed("binding"));
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
        Ok(Verified { message: format!("v={signature}").into_bytes(), keys: Keys { client_key, server_key } })
    }
}

fn utf8(message: &[u8]) -> Result<&str, ScramError> {
    std::str::from_utf8(message).map_err(|_| ScramError::Malformed("not UTF-8"))
}
