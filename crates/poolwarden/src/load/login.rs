//! The client's side of a login: no password, in clear, MD5 or SCRAM. Keys once derived are kept: a login storm must not
//! become a storm of key derivations in the generator.

use std::collections::BTreeMap;

use poolwarden_relay::pgwire::password::Plain;
use poolwarden_relay::pgwire::scram::{self, ClientExchange, ClientFinal, Derived, Flag, Mechanism, Proof};
use poolwarden_relay::pgwire::{make, md5, read};

/// Keys by the salt they were derived under.
#[derive(Debug, Default)]
pub(super) struct Keys(BTreeMap<Vec<u8>, Derived>);

/// More salts than this are a server that makes a new one for each login: keeping its keys would gain nothing.
const MOST_KEYS: usize = 64;

/// Where a login stands.
#[derive(Default)]
pub(super) enum Login {
    #[default]
    Begun,
    First(ClientExchange),
    Final(ClientFinal),
    Proven,
}

impl Login {
    /// One Authentication message: what to answer, appended to `out`.
    ///
    /// # Errors
    /// What is wrong, for a message.
    pub(super) fn challenged(
        &mut self,
        body: &[u8],
        who: (&str, Option<&Plain>),
        keys: &mut Keys,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let (kind, rest) = body.split_first_chunk::<4>().ok_or("a login message without its kind")?;
        let (user, password) = who;
        let password =
            || password.ok_or_else(|| format!("the server wants a password of \"{user}\": write it into the url"));
        match u32::from_be_bytes(*kind) {
            0 => *self = Self::Proven,
            3 => make::password(out, password()?.expose()),
            5 => {
                let salt: [u8; 4] = rest.try_into().map_err(|_| "an MD5 challenge without its salt")?;
                make::password(out, md5::Hash::of(password()?.expose(), user).response(salt));
            }
            10 => {
                if !rest.split(|byte| *byte == 0).any(|name| name == Mechanism::Plain.name().as_bytes()) {
                    return Err("the server offers no SCRAM-SHA-256".to_owned());
                }
                let mut random = [0; 18];
                getrandom::fill(&mut random).map_err(|why| format!("no randomness: {why}"))?;
                let (exchange, first) = ClientExchange::start(scram::nonce(random), &Flag::Unbound);
                make::sasl_initial(out, Mechanism::Plain.name(), &first);
                *self = Self::First(exchange);
            }
            11 => self.respond(rest, password()?, keys, out)?,
            12 => match std::mem::take(self) {
                Self::Final(exchange) => exchange.verify(rest).map_err(|why| why.to_string())?,
                Self::Begun | Self::First(_) | Self::Proven => return Err("SCRAM out of order".to_owned()),
            },
            other => {
                return Err(format!("the server asks for authentication of kind {other}, which a load does not know"));
            }
        }
        Ok(())
    }

    fn respond(
        &mut self,
        server_first: &[u8],
        password: &Plain,
        keys: &mut Keys,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let Self::First(exchange) = std::mem::take(self) else { return Err("SCRAM out of order".to_owned()) };
        // What comes behind the nonce, salt and iterations, tells which keys fit.
        let text = String::from_utf8_lossy(server_first);
        let salted = text.split_once(',').map_or(Vec::new(), |(_, salted)| salted.as_bytes().to_vec());
        let response = exchange
            .respond(server_first, Proof::Password(password, keys.0.get(&salted)))
            .map_err(|why| why.to_string())?;
        if let Some(derived) = response.derived.filter(|_| keys.0.len() < MOST_KEYS) {
            keys.0.insert(salted, derived);
        }
        make::sasl_response(out, &response.message);
        *self = Self::Final(response.exchange);
        Ok(())
    }
}

/// What an ErrorResponse says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) fatal: bool,
    pub(super) sqlstate: String,
    pub(super) message: String,
    pub(super) detail: String,
}

impl Said {
    pub(super) fn read(body: &[u8]) -> Self {
        let fields = read::report(body);
        Self {
            fatal: fields.severity != "ERROR",
            sqlstate: fields.sqlstate.into_owned(),
            message: fields.message.into_owned(),
            detail: fields.detail.into_owned(),
        }
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.sqlstate, self.message)
    }
}
