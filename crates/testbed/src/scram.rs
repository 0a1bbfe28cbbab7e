//! SCRAM-SHA-256 as a client, with the costly key remembered.
//!
//! Thousands of raw clients log in with one password; where the server repeats salt and
//! iterations, the 4096 hashes are paid once (RFC 5802, section 3: SaltedPassword).

use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

type Key = [u8; 32];

/// One client's side of one exchange.
#[derive(Debug)]
pub struct Scram {
    password: String,
    nonce: String,
    first_bare: String,
    server_signature: Option<Key>,
}

struct Known {
    password: String,
    salt: Vec<u8>,
    iterations: u32,
    key: Key,
}

/// The last few salted passwords: the tests use one or two.
static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());

impl Scram {
    /// Begins an exchange; `nonce` must be printable and without commas.
    #[must_use]
    pub fn new(password: &str, nonce: &str) -> Scram {
        Scram {
            password: password.to_string(),
            nonce: nonce.to_string(),
            first_bare: format!("n=,r={nonce}"),
            server_signature: None,
        }
    }

    /// The client's first message.
    #[must_use]
    pub fn first(&self) -> String {
        format!("n,,{}", self.first_bare)
    }

    /// The client's final message, or why the server's first one is wrong.
    pub fn answer(&mut self, server_first: &str) -> Result<String, String> {
        let field = |name: &str| {
            server_first
                .split(',')
                .find_map(|part| part.strip_prefix(name))
                .ok_or_else(|| format!("no {name} in {server_first:?}"))
        };
        let nonce = field("r=")?;
        if !nonce.starts_with(&self.nonce) {
            return Err(format!("the server's nonce {nonce:?} does not begin with the client's"));
        }
        let salt = STANDARD.decode(field("s=")?).map_err(|e| format!("salt: {e}"))?;
        let iterations: u32 = field("i=")?.parse().map_err(|e| format!("iterations: {e}"))?;
        let salted = salted_password(&self.password, &salt, iterations);
        let client_key = hmac(&salted, b"Client Key");
        let stored_key: Key = Sha256::digest(client_key).into();
        let without_proof = format!("c=biws,r={nonce}");
        let message = format!("{},{server_first},{without_proof}", self.first_bare);
        let signature = hmac(&stored_key, message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        let server_key = hmac(&salted, b"Server Key");
        self.server_signature = Some(hmac(&server_key, message.as_bytes()));
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof)))
    }

    /// Checks that the server knew the password too.
    pub fn finish(&self, server_final: &str) -> Result<(), String> {
        let expected = self.server_signature.map(|key| format!("v={}", STANDARD.encode(key)));
        if expected.as_deref() == Some(server_final) {
            return Ok(());
        }
        Err(format!("the server's signature {server_final:?} is wrong"))
    }
}

fn salted_password(password: &str, salt: &[u8], iterations: u32) -> Key {
    let mut known = KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let same = |k: &&Known| k.password == password && k.salt == salt && k.iterations == iterations;
    if let Some(found) = known.iter().find(same) {
        return found.key;
    }
    drop(known);
    // Keyed once and cloned: in a test's build the key schedule is most of the work.
    let keyed = keyed(password.as_bytes());
    let mut block: Key = keyed.clone().chain_update(salt).chain_update([0, 0, 0, 1]).finalize().into_bytes().into();
    let mut key = block;
    for _ in 1..iterations {
        block = keyed.clone().chain_update(block).finalize().into_bytes().into();
        key.iter_mut().zip(block).for_each(|(k, b)| *k ^= b);
    }
    known = KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    known.truncate(7);
    known.insert(0, Known { password: password.to_string(), salt: salt.to_vec(), iterations, key });
    key
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn hmac(key: &[u8], message: &[u8]) -> Key {
    keyed(key).chain_update(message).finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::Scram;

    #[test]
    fn the_exchange_of_rfc_7677_is_answered_as_printed_there() {
        let mut scram = Scram::new("pencil", "rOprNGfwEbeRWgbNEkqO");
        scram.first_bare = "n=user,r=rOprNGfwEbeRWgbNEkqO".to_string();
        let answer =
            scram.answer("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        assert_eq!(
            answer.as_deref(),
            Ok("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
        );
        assert_eq!(scram.finish("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
        assert!(scram.finish("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").is_err());
    }
}
