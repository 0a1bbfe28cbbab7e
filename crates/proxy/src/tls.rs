//! TLS at the edge: certificates and what is verified, handshakes on the runtime, and the transform the loops apply.
//!
//! Files are read when settings are made, never later: a broken one is a fault of the configuration. A connection's TLS state
//! ([`Tls`]) is a value that moves with its socket and holds no buffer while nothing is under way. It knows no protocol of PostgreSQL.

mod certificate;
mod channel;
mod fault;
mod file;
mod handshake;
mod listen;
mod server;
mod verify;

pub(crate) use certificate::end_point;
pub use certificate::{Expiry, Identity};
#[cfg(test)]
pub(crate) use channel::tests::shaken;
pub(crate) use channel::{ROOM, Tls};
pub use fault::TlsFault;
pub use file::Files;
pub(crate) use handshake::{accept, connect};
pub use listen::{ClientCertificates, ListenTls};
pub(crate) use server::Outbound;
pub use server::{Policy, ServerTls, Terms, Verification};

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{ALL_VERSIONS, SupportedProtocolVersion, version};

/// What PostgreSQL is called in ALPN.
pub(crate) const ALPN: &[u8] = b"postgresql";

static NEWEST: &[&SupportedProtocolVersion] = &[&version::TLS13];

/// The oldest TLS that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oldest {
    /// 1.2.
    Tls12,
    /// 1.3.
    Tls13,
}

impl Oldest {
    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => ALL_VERSIONS,
            Self::Tls13 => NEWEST,
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
