//! Why a server connection did not come to be, and whose doing that is.

use core::fmt;

use poolwarden_pgwire::frame::FrameError;
use poolwarden_pgwire::read::ErrorFields;
use poolwarden_pgwire::scram::ScramError;

/// The limit of PostgreSQL's that stands behind a 53300: full, not down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// The role's CONNECTION LIMIT.
    Role,
    /// The database's CONNECTION LIMIT.
    Database,
    /// `max_connections`, with or without its reserves.
    Slots,
}

/// Why there is no login. Every variant but [`LoginFailure::NoPassword`] is the server's word or the server's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginFailure {
    /// The server said no.
    Server {
        /// `FATAL`, usually.
        severity: String,
        /// Five characters.
        sqlstate: String,
        /// The server's own words.
        message: String,
        /// Which limit, if it is full.
        capacity: Option<Capacity>,
    },
    /// The server does not speak the protocol.
    Protocol(String),
    /// The server wants a method that we do not speak, or that our kind of secret cannot serve.
    Unsupported(String),
    /// The server does not know the minor version that was asked for, nor how to say which it knows: ask again for 3.0.
    Version(String),
    /// Channel binding is required, and there is none: why.
    ChannelBinding(&'static str),
    /// The server wants a password and there is none.
    NoPassword,
    /// The server could not prove that it knows the secret: it may not be the one it seems to be.
    ServerSignature,
}

impl LoginFailure {
    /// The server said no. To a minor version above 0 and before anything else (`unversed`), 0A000 and 08P01 come from one
    /// that knows neither it nor how to negotiate: PostgreSQL before 9.3.21, many a pooler.
    pub(super) fn refused(fields: &ErrorFields<'_>, unversed: bool) -> Self {
        if unversed && matches!(&*fields.sqlstate, "0A000" | "08P01" | "") {
            return Self::Version(fields.message.to_string());
        }
        Self::Server {
            severity: fields.severity.to_string(),
            sqlstate: fields.sqlstate.to_string(),
            message: fields.message.to_string(),
            capacity: capacity(fields),
        }
    }
}

impl fmt::Display for LoginFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { severity, sqlstate, message, capacity: _ } => {
                write!(f, "server refused the login: {severity} {sqlstate}: {message}")
            }
            Self::Protocol(what) => write!(f, "server broke the protocol: {what}"),
            Self::Unsupported(method) => write!(
                f,
                "server wants authentication by {method}, which the secret kept for this user cannot serve or which is not spoken"
            ),
            Self::Version(said) => write!(f, "server does not speak the protocol version asked for: {said}"),
            Self::ChannelBinding(why) => write!(f, "channel binding is required, but {why}"),
            Self::NoPassword => f.write_str("server wants a password and none is configured for this user"),
            Self::ServerSignature => f.write_str("server could not prove that it knows the password's secret"),
        }
    }
}

impl std::error::Error for LoginFailure {}

impl From<FrameError> for LoginFailure {
    fn from(error: FrameError) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl From<ScramError> for LoginFailure {
    fn from(error: ScramError) -> Self {
        match error {
            ScramError::ServerSignature | ScramError::Refused => Self::ServerSignature,
            ScramError::Malformed(_)
            | ScramError::Flag(_)
            | ScramError::BindingType
            | ScramError::Downgrade
            | ScramError::EndPoint
            | ScramError::Authorization
            | ScramError::Nonce
            | ScramError::WrongProof
            | ScramError::Iterations => Self::Protocol(error.to_string()),
        }
    }
}

/// Which limit a 53300 means. The texts are PostgreSQL's in English; under another `lc_messages` the routine that raised it
/// tells as much. What is neither (another pooler, say) is still full.
fn capacity(fields: &ErrorFields<'_>) -> Option<Capacity> {
    // what bounds replication alone says nothing of anybody else's connections; its name is the same in every language
    if fields.sqlstate != "53300" || fields.message.contains("max_wal_senders") {
        return None;
    }
    let (message, routine) = (&*fields.message, &*fields.routine);
    let says = |text: &str| message.starts_with(text);
    if says("too many connections for role") || routine == "InitializeSessionUserId" {
        Some(Capacity::Role)
    } else if says("too many connections for database") || routine == "CheckMyDatabase" {
        Some(Capacity::Database)
    } else {
        Some(Capacity::Slots)
    }
}

/// An authentication request's number in words.
pub(super) fn method(kind: u32) -> String {
    let name = match kind {
        2 => "Kerberos V5",
        3 => "cleartext password",
        5 => "md5",
        7 | 8 => "GSSAPI",
        9 => "SSPI",
        10..=12 => "SASL",
        _ => return format!("method {kind}"),
    };
    name.to_owned()
}
