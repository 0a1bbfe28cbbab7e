//! The SHOW family: one file per table, each a list of columns and a function from the picture to rows.

pub(super) mod absent;
pub(super) mod classes;
pub(super) mod clients;
pub(super) mod config;
pub(super) mod databases;
pub(super) mod fds;
pub(super) mod forecast;
pub(super) mod help;
pub(super) mod holders;
pub(super) mod limits;
pub(super) mod lists;
pub(super) mod mem;
pub(super) mod peers;
pub(super) mod pins;
pub(super) mod pools;
pub(super) mod servers;
pub(super) mod sockets;
pub(super) mod state;
pub(super) mod stats;
pub(super) mod usage;
pub(super) mod users;
pub(super) mod waits;

use super::{Column, Kind, Row, Rows};
use crate::calendar::moment;

/// A text value.
fn text(value: impl Into<String>) -> Option<String> {
    Some(value.into())
}

/// A number.
fn int(value: impl Into<u64>) -> Option<String> {
    Some(value.into().to_string())
}

/// A number that may be unlimited or unsaid: NULL then.
fn maybe(value: Option<impl Into<u64>>) -> Option<String> {
    value.map(|value| value.into().to_string())
}

/// Yes or no.
fn yes(value: bool) -> Option<String> {
    text(if value { "t" } else { "f" })
}
