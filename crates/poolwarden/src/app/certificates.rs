//! The files that TLS needs, read at the start and by each reload: all of them can be used, or nothing is changed.

use std::path::Path;
use std::sync::Arc;

use poolwarden_config::{
    ChannelBinding, Config, Host, ListenTls as ListenConfig, Server, TlsIdentity, TlsMode, TlsVersion,
};
use poolwarden_proxy::HostPlan;
use poolwarden_proxy::tls::{ClientCertificates, Files, ListenTls, Oldest, Policy, ServerTls, Terms, Verification};
use poolwarden_relay::login::Binding;

use super::plan;

/// What was made of them: for clients, and for each server in the order of the configuration.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    listen: Option<Arc<ListenTls>>,
    servers: Vec<Arc<ServerTls>>,
}

impl Certificates {
    /// Reads them; relative paths start at `directory`. The error has a line for each that cannot be used.
    pub(super) fn load(config: &Config, directory: &Path) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let listen = listen(&config.listen.tls, directory).unwrap_or_else(|why| {
            faults.push(format!("[listen.tls] cannot be used: {why}"));
            None
        });
        let mut servers = Vec::new();
        for server in &config.servers {
            match ServerTls::load(&terms(server, directory)) {
                Ok(tls) => servers.push(Arc::new(tls)),
                Err(why) => faults.push(format!("TLS of [servers.{}] cannot be used: {why}", server.name)),
            }
        }
        if faults.is_empty() { Ok(Self { listen, servers }) } else { Err(faults) }
    }

    /// Puts them where the proxy finds them.
    pub(super) fn put(self, listen: &mut Option<Arc<ListenTls>>, hosts: &mut [HostPlan]) {
        *listen = self.listen;
        for (host, tls) in hosts.iter_mut().zip(self.servers) {
            host.tls = tls;
        }
    }
}

fn listen(of: &ListenConfig, directory: &Path) -> Result<Option<Arc<ListenTls>>, String> {
    let (false, Some(identity)) = (of.mode == TlsMode::Disable, &of.identity) else { return Ok(None) };
    let clients = match &of.client_ca {
        None => ClientCertificates::Unasked,
        Some(ca) if of.mode.verifies() => ClientCertificates::Required(directory.join(ca)),
        Some(ca) => ClientCertificates::Welcome(directory.join(ca)),
    };
    let tls = ListenTls::load(of.mode.is_required(), &files(identity, directory), &clients, oldest(of.min_version));
    tls.map(|tls| Some(Arc::new(tls))).map_err(|why| why.to_string())
}

fn terms(server: &Server, directory: &Path) -> Terms {
    let tls = &server.tls;
    let ca = tls.ca.as_ref().map(|ca| directory.join(ca));
    let host = plan::shown_address(server);
    let policy = match (&server.host, tls.mode) {
        (Host::Socket(_), _) | (Host::Name(_) | Host::Address(_), TlsMode::Disable) => Policy::Disable,
        (_, TlsMode::Allow) => Policy::Allow,
        (_, TlsMode::Prefer) => Policy::Prefer,
        (_, TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull) => Policy::Require,
    };
    let verification = match (tls.mode, ca) {
        (TlsMode::VerifyFull, ca) => Verification::Host(ca, host.clone()),
        (TlsMode::VerifyCa, ca) => Verification::Authority(ca),
        // As with libpq, an authority that is named is obeyed also where none has to be.
        (TlsMode::Require, Some(ca)) => Verification::Authority(Some(ca)),
        (TlsMode::Require | TlsMode::Prefer | TlsMode::Allow | TlsMode::Disable, _) => Verification::Nothing,
    };
    Terms {
        server: server.name.clone(),
        host,
        policy,
        direct: tls.direct,
        verification,
        own: tls.identity.as_ref().map(|identity| files(identity, directory)),
        oldest: oldest(tls.min_version),
        binding: match tls.binding {
            ChannelBinding::Disable => Binding::Disable,
            ChannelBinding::Prefer => Binding::Prefer,
            ChannelBinding::Require => Binding::Require,
        },
    }
}

fn files(identity: &TlsIdentity, directory: &Path) -> Files {
    Files { certificate: directory.join(&identity.certificate), key: directory.join(&identity.key) }
}

const fn oldest(version: TlsVersion) -> Oldest {
    match version {
        TlsVersion::Tls12 => Oldest::Tls12,
        TlsVersion::Tls13 => Oldest::Tls13,
    }
}
