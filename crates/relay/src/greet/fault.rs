//! Why a client is not let in: whose fault, what it is told, what the log says. The two texts differ on purpose: the client
//! never learns whether a user exists.

use core::fmt;
use std::borrow::Cow;

use poolwarden_pgwire::frame::FrameError;
use poolwarden_pgwire::make::{self, Report};
use poolwarden_pgwire::read::StartupError;

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client's program: it broke the protocol, or wants what is not spoken.
    Client,
    /// The client's user: unknown, or the wrong password.
    Credentials,
    /// Nobody's: a rule refuses this client.
    Rule,
    /// poolwarden's configuration: the secret that is stored cannot serve the method that is asked.
    Configuration,
}

/// A refusal. Its `Display` is for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GreetError {
    /// Whose fault.
    pub fault: Fault,
    /// Five characters, for the client.
    pub sqlstate: Cow<'static, str>,
    /// For the client.
    pub message: String,
    /// For the log.
    pub reason: String,
}

impl fmt::Display for GreetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for GreetError {}

impl GreetError {
    /// The ErrorResponse.
    #[must_use]
    pub fn response(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let report =
            Report { severity: "FATAL", sqlstate: &self.sqlstate, message: &self.message, detail: None, hint: None };
        make::error(&mut bytes, &report);
        bytes
    }

    pub(super) fn client(sqlstate: &'static str, message: &str, reason: String) -> Self {
        Self { fault: Fault::Client, sqlstate: Cow::Borrowed(sqlstate), message: message.to_owned(), reason }
    }

    pub(super) fn violation(message: &str, reason: String) -> Self {
        Self::client("08P01", message, reason)
    }

    pub(super) fn unsupported_version(major: u16, minor: u16) -> Self {
        let message =
            format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.{}", super::NEWEST_MINOR);
        Self::client("0A000", &message, message.clone())
    }

    /// The one refusal of every user whose proof does not hold, for whatever reason.
    pub(super) fn credentials(fault: Fault, user: &str, reason: String) -> Self {
        let message = format!("password authentication failed for user \"{user}\"");
        Self { fault, sqlstate: Cow::Borrowed("28P01"), message, reason }
    }
}

impl From<FrameError> for GreetError {
    fn from(error: FrameError) -> Self {
        let message = error.to_string();
        Self::violation(&message, message.clone())
    }
}

impl From<StartupError> for GreetError {
    fn from(error: StartupError) -> Self {
        let message = error.to_string();
        let reason = match error {
            // A TLS record begins 0x16 0x03; as a length word that is some 369 million.
            StartupError::Length(length) if length >> 16 == 0x1603 => {
                "a TLS handshake without SSLRequest, which is not offered here".to_owned()
            }
            StartupError::Length(_)
            | StartupError::Incomplete
            | StartupError::Cancel
            | StartupError::Layout
            | StartupError::Name => message.clone(),
        };
        Self::violation(&message, reason)
    }
}
