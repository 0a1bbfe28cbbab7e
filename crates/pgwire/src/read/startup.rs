//! The first packet of a connection, which has a length but no tag.
//!
//! Whoever sends it has proven nothing yet: the bounds are PostgreSQL's own.

use super::cstr;
use core::fmt;

/// The version word that asks for TLS: major 1234, minor 5679.
pub const SSL_CODE: u32 = (1234 << 16) | 5679;
/// The version word that asks for GSSAPI encryption: major 1234, minor 5680.
pub const GSS_CODE: u32 = (1234 << 16) | 5680;
/// The version word of a cancel: major 1234, minor 5678.
pub const CANCEL_CODE: u32 = (1234 << 16) | 5678;

/// The most a first packet may have behind its length word: PostgreSQL's
/// `MAX_STARTUP_PACKET_LENGTH`.
pub const MAX_STARTUP: usize = 10_000;

/// The longest cancel secret: protocol 3.2's bound.
pub const MAX_CANCEL_SECRET: usize = 256;

/// What a first packet asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Startup {
    /// TLS: answer one byte, `S` or `N`.
    Ssl,
    /// GSSAPI encryption: answer one byte, `G` or `N`.
    Gss,
    /// Cancel what another connection is doing; no answer.
    Cancel {
        /// The pid that connection was told.
        pid: u32,
        /// The secret it was told, 1 to 256 bytes.
        secret: Vec<u8>,
    },
    /// A session of version 3.`minor`.
    Start {
        /// The minor version asked for.
        minor: u16,
        /// Parameters in the order they came, `user` among them.
        params: Vec<(String, String)>,
    },
    /// A session of a major version that is not 3.
    UnsupportedVersion {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
}

/// Why a first packet is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartupError {
    /// The length word is below 8 or above the bound.
    Length(u32),
    /// The packet has fewer or more bytes than its length says.
    Incomplete,
    /// A cancel without a pid, or with no secret or one too long.
    Cancel,
    /// The parameters do not end with a NUL of their own, or one lacks its value.
    Layout,
    /// User or database are not UTF-8: two names must never look alike.
    Name,
}

impl fmt::Display for StartupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(f, "invalid length of startup packet: {length}"),
            Self::Incomplete => f.write_str("incomplete startup packet"),
            Self::Cancel => f.write_str("invalid length of cancel request packet"),
            Self::Layout => f.write_str("invalid startup packet layout: expected terminator as last byte"),
            Self::Name => f.write_str("user and database names must be valid UTF-8"),
        }
    }
}

impl core::error::Error for StartupError {}

/// Bytes of the whole first packet, length word included; `None` while its length is not there.
///
/// # Errors
/// [`StartupError::Length`] when it cannot hold a version or passes `max` bytes behind its length
/// word ([`MAX_STARTUP`], or less).
pub fn startup_length(bytes: &[u8], max: usize) -> Result<Option<usize>, StartupError> {
    let Some(&word) = bytes.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(word);
    let refused = StartupError::Length(length);
    let total = usize::try_from(length).map_err(|_| refused)?;
    if total < 8 || total - 4 > max {
        return Err(refused);
    }
    Ok(Some(total))
}

/// Reads a whole first packet, its length word included.
///
/// # Errors
/// [`StartupError`] for anything PostgreSQL would not take either.
pub fn startup(packet: &[u8]) -> Result<Startup, StartupError> {
    let total = startup_length(packet, MAX_STARTUP)?.ok_or(StartupError::Incomplete)?;
    let (Some(&version), true) = (packet[4..].first_chunk::<4>(), packet.len() == total) else {
        return Err(StartupError::Incomplete);
    };
    let body = &packet[8..];
    match u32::from_be_bytes(version) {
        SSL_CODE => Ok(Startup::Ssl),
        GSS_CODE => Ok(Startup::Gss),
        CANCEL_CODE => cancel(body),
        word => {
            let [a, b, c, d] = word.to_be_bytes();
            let (major, minor) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            if major != 3 {
                return Ok(Startup::UnsupportedVersion { major, minor });
            }
            let params = params(body)?;
            Ok(Startup::Start { minor, params })
        }
    }
}

fn cancel(body: &[u8]) -> Result<Startup, StartupError> {
    let (&pid, secret) = body.split_first_chunk::<4>().ok_or(StartupError::Cancel)?;
    if secret.is_empty() || secret.len() > MAX_CANCEL_SECRET {
        return Err(StartupError::Cancel);
    }
    let pid = u32::from_be_bytes(pid);
    Ok(Startup::Cancel { pid, secret: secret.to_vec() })
}

fn params(body: &[u8]) -> Result<Vec<(String, String)>, StartupError> {
    let mut params = Vec::new();
    let mut left = body;
    loop {
        let (key, rest) = cstr(left).ok_or(StartupError::Layout)?;
        if key.is_empty() {
            return if rest.is_empty() { Ok(params) } else { Err(StartupError::Layout) };
        }
        let (value, tail) = cstr(rest).ok_or(StartupError::Layout)?;
        let names_someone = matches!(key, b"user" | b"database");
        if names_someone && std::str::from_utf8(value).is_err() {
            return Err(StartupError::Name);
        }
        let lossy = |bytes| String::from_utf8_lossy(bytes).into_owned();
        params.push((lossy(key), lossy(value)));
        left = tail;
    }
}
