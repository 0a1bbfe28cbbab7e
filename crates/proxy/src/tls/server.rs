//! TLS towards PostgreSQL: whether, from the first byte or by asking, and what must be true of the server's certificate.

use std::path::PathBuf;
use std::sync::Arc;

use poolwarden_switch::relay::login::Binding;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;

use super::verify::{Trusted, Verifier};
use super::{ALPN, Expiry, Files, Oldest, TlsFault, file, provider};

/// Whether a server connection has TLS, in the order in which it is tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Never.
    #[default]
    Disable,
    /// Where the server does not let us in without.
    Allow,
    /// Where the server can.
    Prefer,
    /// Always.
    Require,
}

/// What is verified of the server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Nothing.
    Nothing,
    /// It comes from an authority of this file, else of the system's.
    Authority(Option<PathBuf>),
    /// And it names this host.
    Host(Option<PathBuf>, String),
}

/// What TLS towards one server is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The server's name in the configuration.
    pub server: String,
    /// Its host, for SNI.
    pub host: String,
    /// Whether there is TLS.
    pub policy: Policy,
    /// Without asking.
    pub direct: bool,
    /// What must be true of its certificate.
    pub verification: Verification,
    /// What we show where we are asked for a certificate.
    pub own: Option<Files>,
    /// The oldest version.
    pub oldest: Oldest,
    /// Whether the login is bound to the connection.
    pub binding: Binding,
}

/// TLS towards one server; made anew by every reload. The default is none.
#[derive(Clone, Debug, Default)]
pub struct ServerTls {
    pub(crate) policy: Policy,
    pub(crate) direct: bool,
    pub(crate) binding: Binding,
    /// There unless the policy is `Disable`.
    pub(crate) outbound: Option<Outbound>,
    expiries: Vec<Expiry>,
}

/// How we shake hands with a server.
#[derive(Clone, Debug)]
pub(crate) struct Outbound {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// The file that cannot be used, and why.
    pub fn load(terms: &Terms) -> Result<Self, TlsFault> {
        let Terms { policy, direct, binding, .. } = *terms;
        if policy == Policy::Disable {
            return Ok(Self::default());
        }
        let provider = provider();
        let mut expiries = Vec::new();
        let (ca, host) = match &terms.verification {
            Verification::Nothing => (None, None),
            Verification::Authority(ca) => (Some(ca), None),
            Verification::Host(ca, host) => (Some(ca), Some(host.clone())),
        };
        let trusted = ca.map(|ca| trusted(ca.as_deref(), terms, &mut expiries)).transpose()?;
        let verifier = Verifier { provider: provider.clone(), trusted, host };
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(terms.oldest.versions())
            .map_err(|why| TlsFault::other(format!("TLS versions: {why}")))?
            .dangerous() // the verifier is ours: it also has to verify less, where the configuration says so
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &terms.own {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let own = files.load(&provider)?;
                expiries.extend(own.cert.first().and_then(|own| Expiry::of(own, "server", &terms.server)));
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)))
            }
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled(); // PostgreSQL gives no tickets
        // A name that cannot be said in SNI is not said.
        let name = ServerName::try_from(terms.host.clone());
        let name = name.unwrap_or(ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()));
        Ok(Self { policy, direct, binding, outbound: Some(Outbound { config: Arc::new(config), name }), expiries })
    }

    /// The certificates it was made of, and their ends.
    #[must_use]
    pub fn expiries(&self) -> &[Expiry] {
        &self.expiries
    }
}

fn trusted(ca: Option<&std::path::Path>, terms: &Terms, expiries: &mut Vec<Expiry>) -> Result<Trusted, TlsFault> {
    let Some(path) = ca else { return system() };
    let (roots, themselves) = file::authorities(path)?;
    expiries.extend(Expiry::first(&themselves, "server_ca", &terms.server));
    Ok(Trusted { roots, themselves })
}

/// The authorities the system trusts.
fn system() -> Result<Trusted, TlsFault> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = rustls::RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or_else(String::new, |why| format!(" ({why})"));
        return Err(TlsFault::other(format!(
            "the system has no authorities{why}: install ca-certificates or write tls_ca"
        )));
    }
    Ok(Trusted { roots, themselves: Vec::new() })
}
