//! Messages read: each function takes a BODY (what follows the frame's header) and borrows from it.
//!
//! Bytes that are not what they should be give `None` or an error; nothing panics, nothing is
//! copied but the start-up packet's few parameters, and no length is believed beyond the bytes.

mod startup;

pub use startup::{
    CANCEL_CODE, GSS_CODE, MAX_CANCEL_SECRET, MAX_STARTUP, SSL_CODE, Startup, StartupError, startup, startup_length,
};

use std::borrow::Cow;
use std::ffi::CStr;

/// Splits a NUL-terminated text from what follows it.
#[inline]
#[must_use]
pub fn cstr(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    // The standard library's search goes by words, not bytes: SQL texts are long.
    let value = CStr::from_bytes_until_nul(bytes).ok()?.to_bytes();
    Some((value, &bytes[value.len() + 1..]))
}

/// A Parse message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parse<'a> {
    /// The statement's name; empty is the unnamed statement.
    pub name: &'a [u8],
    /// Everything behind the name's NUL, for [`crate::make::parse_raw`] and as a key.
    pub rest: &'a [u8],
    /// The SQL text.
    pub text: &'a [u8],
    /// The parameter types given: four bytes each, big-endian, without their count.
    pub types: &'a [u8],
}

/// Reads a Parse; `None` unless name, text and exactly the announced types are there.
#[must_use]
pub fn parse(body: &[u8]) -> Option<Parse<'_>> {
    let (name, rest) = cstr(body)?;
    let (text, tail) = cstr(rest)?;
    let (&[a, b], types) = tail.split_first_chunk::<2>()?;
    let announced = usize::from(u16::from_be_bytes([a, b])) * 4;
    (types.len() == announced).then_some(Parse { name, rest, text, types })
}

/// The names at the start of a Bind message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind<'a> {
    /// The portal that is made; empty is the unnamed portal.
    pub portal: &'a [u8],
    /// The statement it is made of.
    pub statement: &'a [u8],
    /// Bytes of the body up to and including the statement name's NUL.
    pub after: usize,
}

/// Reads a Bind's names; a prefix of the body will do as long as it holds both.
#[inline]
#[must_use]
pub fn bind(prefix: &[u8]) -> Option<Bind<'_>> {
    let (portal, rest) = cstr(prefix)?;
    let (statement, tail) = cstr(rest)?;
    let after = prefix.len() - tail.len();
    Some(Bind { portal, statement, after })
}

/// Reads a Describe or Close: kind (`S` or `P`) and name, with nothing behind them.
#[must_use]
pub fn named(body: &[u8]) -> Option<(u8, &[u8])> {
    let (&kind, rest) = body.split_first()?;
    let (name, tail) = cstr(rest)?;
    (tail.is_empty() && matches!(kind, b'S' | b'P')).then_some((kind, name))
}

/// What an ErrorResponse or NoticeResponse said. Missing fields are empty; texts in an encoding
/// other than UTF-8 keep what can be read of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorFields<'a> {
    /// `V` where the server sends it (never translated), else `S`.
    pub severity: Cow<'a, str>,
    /// Five characters.
    pub sqlstate: Cow<'a, str>,
    /// The message.
    pub message: Cow<'a, str>,
    /// DETAIL.
    pub detail: Cow<'a, str>,
    /// HINT.
    pub hint: Cow<'a, str>,
    /// The function that raised it: the one field besides the SQLSTATE that is never translated.
    pub routine: Cow<'a, str>,
}

/// Reads an ErrorResponse or NoticeResponse as far as it is well-formed.
#[must_use]
pub fn report(body: &[u8]) -> ErrorFields<'_> {
    let mut fields = ErrorFields::default();
    let mut untranslated = false;
    let mut left = body;
    while let Some((&code, rest)) = left.split_first()
        && code != 0
        && let Some((value, tail)) = cstr(rest)
    {
        let value = String::from_utf8_lossy(value);
        match code {
            b'S' if !untranslated => fields.severity = value,
            b'V' => {
                untranslated = true;
                fields.severity = value;
            }
            b'C' => fields.sqlstate = value,
            b'M' => fields.message = value,
            b'D' => fields.detail = value,
            b'H' => fields.hint = value,
            b'R' => fields.routine = value,
            _ => {} // a byte, not an enum of ours: fields nobody asks for
        }
        left = tail;
    }
    fields
}

/// Reads a ParameterStatus: name and value, both UTF-8, with nothing behind them.
#[must_use]
pub fn parameter_status(body: &[u8]) -> Option<(&str, &str)> {
    let (name, rest) = cstr(body)?;
    let (value, tail) = cstr(rest)?;
    if !tail.is_empty() {
        return None;
    }
    Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?))
}

/// Reads a BackendKeyData: pid, and a secret of 4 to 256 bytes (protocol 3.2 allows longer ones
/// than the four of 3.0).
#[must_use]
pub fn backend_key(body: &[u8]) -> Option<(u32, &[u8])> {
    let (&pid, secret) = body.split_first_chunk::<4>()?;
    let allowed = (4..=MAX_CANCEL_SECRET).contains(&secret.len());
    allowed.then_some((u32::from_be_bytes(pid), secret))
}

/// Reads a NegotiateProtocolVersion: the version word, and the `_pq_.` options that are not known, with nothing behind them.
#[must_use]
pub fn negotiate_version(body: &[u8]) -> Option<(u32, Vec<&[u8]>)> {
    let (&version, rest) = body.split_first_chunk::<4>()?;
    let (&announced, mut left) = rest.split_first_chunk::<4>()?;
    let mut unknown = Vec::new();
    while !left.is_empty() {
        let (option, tail) = cstr(left)?;
        unknown.push(option);
        left = tail;
    }
    let complete = usize::try_from(u32::from_be_bytes(announced)).is_ok_and(|count| count == unknown.len());
    complete.then_some((u32::from_be_bytes(version), unknown))
}

/// Reads a ReadyForQuery: `I`, `T` or `E`.
#[inline]
#[must_use]
pub fn ready(body: &[u8]) -> Option<u8> {
    match body {
        &[status @ (b'I' | b'T' | b'E')] => Some(status),
        _ => None,
    }
}
