//! How a client proves who it is: what is asked, and what its answer is worth.
//!
//! A client without a usable secret is *doomed*: it is asked as everybody is, and refused at the end with everybody's words.
//! Under `md5`, as in PostgreSQL, the question follows the kind of secret: who is asked for SCRAM there has such a secret and is thereby
//! known to exist. Only `scram-sha-256` tells nothing where secrets are of both kinds.

use poolwarden_pgwire::password::Secret;
use poolwarden_pgwire::scram::{self, Keys, Mechanism, Offer, ScramError, ServerExchange};
use poolwarden_pgwire::{make, md5, read};

use super::{Fault, Found, GreetError, Method};

/// What a connection's questions are made of.
pub(super) struct Material {
    pub(super) seed: [u8; 32],
    pub(super) nonce: String,
    pub(super) salt: [u8; 4],
    /// The hash of our certificate, where TLS binds the channel.
    pub(super) end_point: Option<Vec<u8>>,
}

/// Why no answer will do; `None` for a client that may succeed.
type Doom = Option<(Fault, String)>;

pub(super) enum Proving {
    Cleartext { secret: Secret, doom: Doom },
    Md5 { hash: md5::Hash, salt: [u8; 4], doom: Doom },
    SaslFirst { verifier: scram::Secret, nonce: String, end_point: Option<Vec<u8>>, doom: Doom },
    SaslFinal { exchange: ServerExchange, doom: Doom },
}

pub(super) enum Begun {
    Accepted,
    Asked(Proving, Vec<u8>),
    /// The same, but the secret had to be made (PBKDF2) of a password in clear.
    Derived(Proving, Vec<u8>, scram::Secret),
    Rejected(GreetError),
}

pub(super) enum Heard {
    More(Proving, Vec<u8>),
    Proven { last: Vec<u8>, keys: Option<Keys> },
}

/// The first question.
pub(super) fn begin(found: Found, user: &str, material: &Material) -> Begun {
    let mock = || scram::Secret::mock(&material.seed, user);
    let unknown = || Some((Fault::Credentials, format!("user {user:?} is not known")));
    match (found.method, found.secret) {
        (Method::Trust, _) => Begun::Accepted,
        (Method::Reject { sqlstate, message }, _) => {
            let reason = message.clone();
            Begun::Rejected(GreetError { fault: Fault::Rule, sqlstate, message, reason })
        }
        // Here the work is ours; in SCRAM itself it is the client's.
        (Method::Password, Some(Secret::Scram(verifier))) if verifier.iterations > scram::MAX_ITERATIONS => {
            let (count, most) = (verifier.iterations, scram::MAX_ITERATIONS);
            let reason = format!("user {user:?} has a SCRAM secret of {count} iterations, and {most} are the most");
            cleartext(Secret::Scram(mock()), Some((Fault::Configuration, reason)))
        }
        (Method::Password, Some(secret)) => cleartext(secret, None),
        (Method::Password, None) => cleartext(Secret::Scram(mock()), unknown()),
        (Method::Md5, Some(Secret::Plain(plain))) => hashed(md5::Hash::of(plain.expose(), user), material, None),
        (Method::Md5, Some(Secret::Md5(hash))) => hashed(hash, material, None),
        // The user's kind of secret is not known either: the method that is configured is what most users see.
        (Method::Md5, None) => hashed(md5::Hash::of(&mock().format(), user), material, unknown()),
        (Method::Md5 | Method::Scram, Some(Secret::Scram(verifier))) => sasl(verifier, material, None),
        (Method::Scram, Some(Secret::Plain(plain))) => match plain.verifier() {
            Some(verifier) => sasl(verifier.clone(), material, None),
            None => {
                let made = plain.scram(&scram::salt(&material.seed, user));
                let (proving, question) = offer(made.clone(), material, None);
                Begun::Derived(proving, question, made)
            }
        },
        (Method::Scram, Some(Secret::Md5(_))) => {
            let reason = format!("user {user:?} has an md5 secret, which cannot serve scram-sha-256");
            sasl(mock(), material, Some((Fault::Configuration, reason)))
        }
        (Method::Scram, None) => sasl(mock(), material, unknown()),
    }
}

fn cleartext(secret: Secret, doom: Doom) -> Begun {
    let mut question = Vec::new();
    make::authentication_cleartext(&mut question);
    Begun::Asked(Proving::Cleartext { secret, doom }, question)
}

fn hashed(hash: md5::Hash, material: &Material, doom: Doom) -> Begun {
    let salt = material.salt;
    let mut question = Vec::new();
    make::authentication_md5(&mut question, salt);
    Begun::Asked(Proving::Md5 { hash, salt, doom }, question)
}

fn sasl(verifier: scram::Secret, material: &Material, doom: Doom) -> Begun {
    let (proving, question) = offer(verifier, material, doom);
    Begun::Asked(proving, question)
}

fn offer(verifier: scram::Secret, material: &Material, doom: Doom) -> (Proving, Vec<u8>) {
    let mut question = Vec::new();
    let end_point = material.end_point.clone();
    // Best first; the first needs a certificate to bind to.
    let mechanisms = [Mechanism::Plus.name(), Mechanism::Plain.name()];
    make::authentication_sasl(&mut question, &mechanisms[usize::from(end_point.is_none())..]);
    (Proving::SaslFirst { verifier, nonce: material.nonce.clone(), end_point, doom }, question)
}

impl Proving {
    /// Whether the next answer costs PBKDF2: a password in clear against a SCRAM secret.
    pub(super) fn derives(&self) -> bool {
        match self {
            Self::Cleartext { secret, .. } => matches!(secret, Secret::Scram(_)),
            Self::Md5 { .. } | Self::SaslFirst { .. } | Self::SaslFinal { .. } => false,
        }
    }

    /// Takes a password message's body.
    pub(super) fn hear(self, body: &[u8], user: &str) -> Result<Heard, GreetError> {
        match self {
            Self::Cleartext { secret, doom } => {
                let password = std::str::from_utf8(answer(body)?).ok();
                let (fits, keys) = match (password, &secret) {
                    (None, _) => (false, None),
                    (Some(password), Secret::Scram(verifier)) => {
                        let keys = verifier.keys(password);
                        (keys.is_some(), keys)
                    }
                    (Some(password), Secret::Plain(_) | Secret::Md5(_)) => (secret.fits(password, user), None),
                };
                verdict(fits, doom, user)?;
                Ok(Heard::Proven { last: Vec::new(), keys })
            }
            Self::Md5 { hash, salt, doom } => {
                verdict(hash.answered(salt, answer(body)?), doom, user)?;
                Ok(Heard::Proven { last: Vec::new(), keys: None })
            }
            Self::SaslFirst { verifier, nonce, end_point, doom } => {
                let (chosen, first) = initial(body, end_point.is_some())?;
                let offer = Offer { chosen, end_point: end_point.as_deref() };
                let (exchange, challenge) =
                    ServerExchange::start(verifier, offer, first, &nonce).map_err(|error| scram_fault(error, user))?;
                let mut question = Vec::new();
                make::authentication_sasl_continue(&mut question, &challenge);
                Ok(Heard::More(Self::SaslFinal { exchange, doom }, question))
            }
            Self::SaslFinal { exchange, doom } => {
                let outcome = exchange.finish(body);
                if matches!(outcome, Ok(_) | Err(ScramError::WrongProof)) {
                    verdict(outcome.is_ok(), doom, user)?;
                }
                let verified = outcome.map_err(|error| scram_fault(error, user))?;
                let mut last = Vec::new();
                make::authentication_sasl_final(&mut last, &verified.message);
                Ok(Heard::Proven { last, keys: Some(verified.keys) })
            }
        }
    }
}

fn verdict(fits: bool, doom: Doom, user: &str) -> Result<(), GreetError> {
    match doom {
        Some((fault, reason)) => Err(GreetError::credentials(fault, user, reason)),
        None if fits => Ok(()),
        None => Err(wrong_password(user)),
    }
}

fn wrong_password(user: &str) -> GreetError {
    GreetError::credentials(Fault::Credentials, user, format!("wrong password for user {user:?}"))
}

/// A PasswordMessage's text: exactly one, and not empty.
fn answer(body: &[u8]) -> Result<&[u8], GreetError> {
    match read::cstr(body) {
        Some((b"", b"")) => {
            let message = "empty password returned by client";
            let mut error = GreetError::client("28P01", message, message.to_owned());
            error.fault = Fault::Credentials;
            Err(error)
        }
        Some((password, b"")) => Ok(password),
        Some(_) | None => {
            let message = "invalid password packet size";
            Err(GreetError::violation(message, "password message without its one terminator".to_owned()))
        }
    }
}

/// A SASLInitialResponse: the mechanism chosen out of those offered, and its data.
fn initial(body: &[u8], plus_offered: bool) -> Result<(Mechanism, &[u8]), GreetError> {
    let malformed = || GreetError::violation("malformed SASL response", "malformed SASLInitialResponse".to_owned());
    let (name, rest) = read::cstr(body).ok_or_else(malformed)?;
    let chosen = Mechanism::parse(name).filter(|&mechanism| plus_offered || mechanism == Mechanism::Plain);
    let Some(chosen) = chosen else {
        let reason = format!("SASL mechanism {:?} was not offered", String::from_utf8_lossy(name));
        return Err(GreetError::violation("client selected an invalid SASL authentication mechanism", reason));
    };
    let (&length, first) = rest.split_first_chunk::<4>().ok_or_else(malformed)?;
    if u32::from_be_bytes(length) as usize != first.len() {
        return Err(malformed());
    }
    Ok((chosen, first))
}

fn scram_fault(error: ScramError, user: &str) -> GreetError {
    match error {
        ScramError::WrongProof => wrong_password(user),
        // Somebody may stand in between, or the client's program is at fault: PostgreSQL's words and codes.
        ScramError::Downgrade => {
            GreetError::client("28000", "SCRAM channel binding negotiation error", error.to_string())
        }
        ScramError::EndPoint => GreetError::client("28000", "SCRAM channel binding check failed", error.to_string()),
        ScramError::BindingType => GreetError::violation("unsupported SCRAM channel-binding type", error.to_string()),
        ScramError::Authorization => {
            let message = "client uses authorization identity, but it is not supported";
            GreetError::client("0A000", message, error.to_string())
        }
        ScramError::Malformed(_)
        | ScramError::Flag(_)
        | ScramError::Nonce
        | ScramError::Iterations
        | ScramError::Refused
        | ScramError::ServerSignature => GreetError::violation("malformed SCRAM message", error.to_string()),
    }
}
