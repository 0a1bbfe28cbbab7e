//! Messages a client sends. Names and texts are bytes in the client's encoding.

use super::{count, message, text, untagged};
use crate::read::{CANCEL_CODE, SSL_CODE};
use crate::tag::client as tag;

/// StartupMessage of version 3.`minor`.
pub fn startup<K: AsRef<str>, V: AsRef<str>>(out: &mut Vec<u8>, minor: u16, params: &[(K, V)]) {
    untagged(out, |out| {
        let version = (3u32 << 16) | u32::from(minor);
        out.extend_from_slice(&version.to_be_bytes());
        for (key, value) in params {
            text(out, key.as_ref().as_bytes());
            text(out, value.as_ref().as_bytes());
        }
        out.push(0);
    });
}

/// SSLRequest.
pub fn ssl_request(out: &mut Vec<u8>) {
    untagged(out, |out| out.extend_from_slice(&SSL_CODE.to_be_bytes()));
}

/// CancelRequest.
pub fn cancel_request(out: &mut Vec<u8>, pid: u32, secret: &[u8]) {
    untagged(out, |out| {
        out.extend_from_slice(&CANCEL_CODE.to_be_bytes());
        out.extend_from_slice(&pid.to_be_bytes());
        out.extend_from_slice(secret);
    });
}

/// PasswordMessage: a password in clear, or the answer to an MD5 challenge.
pub fn password(out: &mut Vec<u8>, password: impl AsRef<[u8]>) {
    message(out, tag::PASSWORD, |out| text(out, password.as_ref()));
}

/// SASLInitialResponse.
pub fn sasl_initial(out: &mut Vec<u8>, mechanism: &str, first: &[u8]) {
    message(out, tag::PASSWORD, |out| {
        text(out, mechanism.as_bytes());
        let length = u32::try_from(first.len()).expect("a SASL message is a few hundred bytes");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(first);
    });
}

/// SASLResponse.
pub fn sasl_response(out: &mut Vec<u8>, response: &[u8]) {
    message(out, tag::PASSWORD, |out| out.extend_from_slice(response));
}

/// Query.
pub fn query(out: &mut Vec<u8>, sql: impl AsRef<[u8]>) {
    message(out, tag::QUERY, |out| text(out, sql.as_ref()));
}

/// Parse, with the parameter types that are fixed (0: the server infers it).
pub fn parse(out: &mut Vec<u8>, name: impl AsRef<[u8]>, sql: impl AsRef<[u8]>, types: &[u32]) {
    message(out, tag::PARSE, |out| {
        text(out, name.as_ref());
        text(out, sql.as_ref());
        count(out, types.len());
        for oid in types {
            out.extend_from_slice(&oid.to_be_bytes());
        }
    });
}

/// Parse under another name: `rest` is everything behind the name's NUL ([`crate::read::Parse`]).
pub fn parse_raw(out: &mut Vec<u8>, name: impl AsRef<[u8]>, rest: &[u8]) {
    message(out, tag::PARSE, |out| {
        text(out, name.as_ref());
        out.extend_from_slice(rest);
    });
}

/// Describe; `kind` is `S` (statement) or `P` (portal).
pub fn describe(out: &mut Vec<u8>, kind: u8, name: impl AsRef<[u8]>) {
    named(out, tag::DESCRIBE, kind, name.as_ref());
}

/// Close; `kind` is `S` (statement) or `P` (portal).
pub fn close(out: &mut Vec<u8>, kind: u8, name: impl AsRef<[u8]>) {
    named(out, tag::CLOSE, kind, name.as_ref());
}

fn named(out: &mut Vec<u8>, tag: u8, kind: u8, name: &[u8]) {
    message(out, tag, |out| {
        out.push(kind);
        text(out, name);
    });
}

/// Sync.
pub fn sync(out: &mut Vec<u8>) {
    message(out, tag::SYNC, |_| {});
}

/// Flush.
pub fn flush(out: &mut Vec<u8>) {
    message(out, tag::FLUSH, |_| {});
}

/// Terminate.
pub fn terminate(out: &mut Vec<u8>) {
    message(out, tag::TERMINATE, |_| {});
}

/// CopyFail.
pub fn copy_fail(out: &mut Vec<u8>, reason: &str) {
    message(out, tag::COPY_FAIL, |out| text(out, reason.as_bytes()));
}
