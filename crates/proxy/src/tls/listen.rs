//! TLS towards clients: the certificate we show, and what we want to see of theirs.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;

use super::certificate::end_point;
use super::{ALPN, Expiry, Files, Oldest, TlsFault, file, provider};

/// Which clients must show a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked.
    Unasked,
    /// Who has one shows it, and then it must come from these authorities.
    Welcome(PathBuf),
    /// Nobody comes in without one from these authorities.
    Required(PathBuf),
}

/// TLS for clients over TCP; made anew by every reload.
#[derive(Clone, Debug)]
pub struct ListenTls {
    /// Whether a client that does not use it is refused.
    pub(crate) required: bool,
    pub(crate) config: Arc<ServerConfig>,
    /// What a client's login can be bound to.
    pub(crate) end_point: Option<Vec<u8>>,
    expiries: Vec<Expiry>,
}

impl ListenTls {
    /// Reads the files.
    ///
    /// # Errors
    /// The file that cannot be used, and why.
    pub fn load(required: bool, files: &Files, clients: &ClientCertificates, oldest: Oldest) -> Result<Self, TlsFault> {
        let provider = provider();
        let own = files.load(&provider)?;
        let end_point = own.end_entity_cert().ok().and_then(end_point);
        let mut expiries: Vec<Expiry> =
            own.cert.first().and_then(|own| Expiry::of(own, "listen", "")).into_iter().collect();
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(oldest.versions())
            .map_err(|why| TlsFault::other(format!("TLS versions: {why}")))?;
        let builder = match clients {
            ClientCertificates::Unasked => builder.with_no_client_auth(),
            ClientCertificates::Welcome(path) | ClientCertificates::Required(path) => {
                let (roots, all) = file::authorities(path)?;
                expiries.extend(Expiry::first(&all, "listen_client_ca", ""));
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
                let verifier = match clients {
                    ClientCertificates::Required(_) => verifier,
                    ClientCertificates::Welcome(_) | ClientCertificates::Unasked => verifier.allow_unauthenticated(),
                };
                let verifier = verifier.build().map_err(|why| TlsFault::of(path, why.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Tickets that hold the session themselves: nothing is kept here, and those of before a reload are worth nothing.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()
            .map_err(|why| TlsFault::other(format!("session tickets: {why}")))?;
        config.send_tls13_tickets = 1;
        Ok(Self { required, config: Arc::new(config), end_point, expiries })
    }

    /// The certificates it was made of, and their ends.
    #[must_use]
    pub fn expiries(&self) -> &[Expiry] {
        &self.expiries
    }
}
