//! Messages a server sends.

use super::{count, message, text};
use crate::tag::server as tag;

/// What an ErrorResponse or NoticeResponse says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// `ERROR`, `FATAL`, `PANIC`, `WARNING`, `NOTICE`, ...; written as both S and V.
    pub severity: &'a str,
    /// Five characters.
    pub sqlstate: &'a str,
    /// One line.
    pub message: &'a str,
    /// More, with numbers.
    pub detail: Option<&'a str>,
    /// What to do next.
    pub hint: Option<&'a str>,
}

/// A column of [`row_description`]: text format, no table behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type: 25 is text, 20 is int8, 23 is int4, 701 is float8.
    pub oid: u32,
    /// Bytes of the type, -1 when they vary.
    pub size: i16,
}

/// ErrorResponse.
pub fn error(out: &mut Vec<u8>, report: &Report<'_>) {
    fields(out, tag::ERROR, report);
}

/// NoticeResponse.
pub fn notice(out: &mut Vec<u8>, report: &Report<'_>) {
    fields(out, tag::NOTICE, report);
}

fn fields(out: &mut Vec<u8>, tag: u8, report: &Report<'_>) {
    let fields = [
        (b'S', Some(report.severity)),
        (b'V', Some(report.severity)),
        (b'C', Some(report.sqlstate)),
        (b'M', Some(report.message)),
        (b'D', report.detail),
        (b'H', report.hint),
    ];
    message(out, tag, |out| {
        for (code, value) in fields {
            if let Some(value) = value {
                out.push(code);
                text(out, value.as_bytes());
            }
        }
        out.push(0);
    });
}

/// ReadyForQuery; `status` is `I`, `T` or `E`.
pub fn ready(out: &mut Vec<u8>, status: u8) {
    message(out, tag::READY, |out| out.push(status));
}

/// ParameterStatus.
pub fn parameter_status(out: &mut Vec<u8>, name: &str, value: &str) {
    message(out, tag::PARAMETER_STATUS, |out| {
        text(out, name.as_bytes());
        text(out, value.as_bytes());
    });
}

/// AuthenticationOk.
pub fn authentication_ok(out: &mut Vec<u8>) {
    authentication(out, 0, &[]);
}

/// AuthenticationCleartextPassword.
pub fn authentication_cleartext(out: &mut Vec<u8>) {
    authentication(out, 3, &[]);
}

/// AuthenticationMD5Password.
pub fn authentication_md5(out: &mut Vec<u8>, salt: [u8; 4]) {
    authentication(out, 5, &salt);
}

/// AuthenticationSASL with the mechanisms offered, best first.
pub fn authentication_sasl(out: &mut Vec<u8>, mechanisms: &[&str]) {
    let mut list = Vec::new();
    for mechanism in mechanisms {
        text(&mut list, mechanism.as_bytes());
    }
    list.push(0);
    authentication(out, 10, &list);
}

/// AuthenticationSASLContinue.
pub fn authentication_sasl_continue(out: &mut Vec<u8>, challenge: &[u8]) {
    authentication(out, 11, challenge);
}

/// AuthenticationSASLFinal.
pub fn authentication_sasl_final(out: &mut Vec<u8>, outcome: &[u8]) {
    authentication(out, 12, outcome);
}

fn authentication(out: &mut Vec<u8>, kind: u32, rest: &[u8]) {
    message(out, tag::AUTHENTICATION, |out| {
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(rest);
    });
}

/// BackendKeyData; the secret is 4 bytes in protocol 3.0 and up to 256 in 3.2.
pub fn backend_key(out: &mut Vec<u8>, pid: u32, secret: &[u8]) {
    message(out, tag::BACKEND_KEY, |out| {
        out.extend_from_slice(&pid.to_be_bytes());
        out.extend_from_slice(secret);
    });
}

/// NegotiateProtocolVersion: the newest version of ours (`newest_minor` of major 3) and the
/// `_pq_.` options that are not known. PostgreSQL sends the whole version word, and so does this.
pub fn negotiate_version(out: &mut Vec<u8>, newest_minor: u16, unknown: &[&str]) {
    message(out, tag::NEGOTIATE, |out| {
        let version = (3u32 << 16) | u32::from(newest_minor);
        out.extend_from_slice(&version.to_be_bytes());
        out.extend_from_slice(&[0, 0]); // the count below is 32 bits wide
        count(out, unknown.len());
        for option in unknown {
            text(out, option.as_bytes());
        }
    });
}

/// RowDescription.
pub fn row_description(out: &mut Vec<u8>, columns: &[Column<'_>]) {
    message(out, tag::ROW_DESCRIPTION, |out| {
        count(out, columns.len());
        for column in columns {
            text(out, column.name.as_bytes());
            out.extend_from_slice(&[0; 6]); // no table, no attribute number
            out.extend_from_slice(&column.oid.to_be_bytes());
            out.extend_from_slice(&column.size.to_be_bytes());
            out.extend_from_slice(&(-1i32).to_be_bytes()); // no type modifier
            out.extend_from_slice(&[0, 0]); // text format
        }
    });
}

/// DataRow; `None` is NULL.
pub fn data_row(out: &mut Vec<u8>, values: &[Option<&[u8]>]) {
    message(out, tag::DATA_ROW, |out| {
        count(out, values.len());
        for value in values {
            match value {
                None => out.extend_from_slice(&(-1i32).to_be_bytes()),
                Some(bytes) => {
                    let length = i32::try_from(bytes.len()).expect("a value of ours is far below 2 GiB");
                    out.extend_from_slice(&length.to_be_bytes());
                    out.extend_from_slice(bytes);
                }
            }
        }
    });
}

/// CommandComplete, with its tag (`SELECT 1`).
pub fn command_complete(out: &mut Vec<u8>, command: &str) {
    message(out, tag::COMMAND_COMPLETE, |out| text(out, command.as_bytes()));
}

/// EmptyQueryResponse.
pub fn empty_query(out: &mut Vec<u8>) {
    message(out, tag::EMPTY_QUERY, |_| {});
}

/// ParseComplete.
pub fn parse_complete(out: &mut Vec<u8>) {
    message(out, tag::PARSE_COMPLETE, |_| {});
}

/// BindComplete.
pub fn bind_complete(out: &mut Vec<u8>) {
    message(out, tag::BIND_COMPLETE, |_| {});
}

/// CloseComplete.
pub fn close_complete(out: &mut Vec<u8>) {
    message(out, tag::CLOSE_COMPLETE, |_| {});
}
