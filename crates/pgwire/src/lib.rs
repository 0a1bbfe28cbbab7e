//! PostgreSQL's protocol, version 3, as bytes and values: frames, the messages that must be read or
//! made, and the arithmetic of its password methods.
//!
//! It must not know pools, sockets, clocks, threads or randomness: whoever needs a nonce or a salt
//! passes it in. Readers return `None` or an error on bytes that are not what they should be and
//! never panic; makers append whole messages, so that a buffer always ends at a frame's end.
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))] // a test may end where its premise fails

pub mod frame;
pub mod make;
pub mod md5;
pub mod password;
pub mod read;
pub mod scram;
pub mod tag;
