//! Why a proxy does not start, with the next step.

use std::fmt;

/// Why it does not start.
#[derive(Debug)]
pub enum StartError {
    /// An address cannot be had.
    Listen(String, std::io::Error),
    /// Too few descriptors: how many are needed, and how many may be had.
    Descriptors(u64, u64),
    /// The kernel refused something a loop needs.
    Kernel(&'static str, std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, why) => {
                write!(f, "cannot listen on {address}: {why}; stop what uses it, or set another address under [listen]")
            }
            Self::Descriptors(needed, limit) => write!(
                f,
                "limits.max_clients and the servers' connections need {needed} open files, and the hard limit is {limit}; \
                 lower limits.max_clients, or raise the limit (ulimit -Hn {needed}, LimitNOFILE={needed})"
            ),
            Self::Kernel(what, why) => write!(f, "{what}: {why}"),
        }
    }
}

impl std::error::Error for StartError {}
