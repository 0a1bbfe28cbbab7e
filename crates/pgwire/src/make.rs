//! Messages made: each function appends exactly one whole message to `out`.
//!
//! Texts are cut at their first NUL, because a NUL would end the field for the reader and let the
//! rest pass as other fields; everything else is written as given.
//! Callers bound what they pass: a message must stay below 4 GiB, and is otherwise a bug of theirs.

mod client;
mod server;

pub use client::*;
pub use server::*;

/// Appends one message: tag, length, and what `body` writes.
fn message(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    untagged(out, body);
}

/// Appends a length and what `body` writes: a start-up packet, or the rest of a message.
fn untagged(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = u32::try_from(out.len() - at).expect("a message is made of texts its caller bounds far below 4 GiB");
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends a text and its NUL; the text ends at its own first NUL.
fn text(out: &mut Vec<u8>, text: &[u8]) {
    // nearly none has one, which is seen many bytes at a time
    let end = if text.contains(&0) { text.iter().position(|&b| b == 0) } else { None }.unwrap_or(text.len());
    out.extend_from_slice(&text[..end]);
    out.push(0);
}

/// Appends a 16-bit count.
fn count(out: &mut Vec<u8>, n: usize) {
    let n = u16::try_from(n).expect("columns, types and mechanisms are far below 65536");
    out.extend_from_slice(&n.to_be_bytes());
}
