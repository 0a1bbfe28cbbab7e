//! The files that TLS needs, read at the start and by each reload: all of them can be used, or nothing is changed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use poolwarden_config::{
    ChannelBinding, Config, Host, ListenTls as ListenConfig, Server, TlsIdentity, TlsMode, TlsVersion,
};
use poolwarden_proxy::HostPlan;
use poolwarden_proxy::tls::{
    ClientCertificates, Expiry, Files, ListenTls, Oldest, Policy, ServerTls, Terms, Verification,
};
use poolwarden_relay::login::Binding;
use poolwarden_watch::Level;

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

const DAY_S: i64 = 24 * 3600;
/// Renewal by hand takes people days, and a robot that failed once tries again daily.
const WARN_S: i64 = 14 * DAY_S;

/// When which certificate's end was spoken of last; once a day is enough.
#[derive(Debug, Default)]
pub(super) struct Reminder(BTreeMap<(&'static str, String, String), i64>);

impl Reminder {
    /// What is to be said at this second since 1970.
    pub(super) fn due(&mut self, now_s: i64, certificates: &[Expiry]) -> Vec<(Level, String)> {
        let ending = certificates.iter().filter(|of| of.not_after - now_s <= WARN_S);
        let mut lines = Vec::new();
        let mut said = BTreeMap::new();
        for of in ending {
            let key = (of.place, of.server.clone(), of.subject.clone());
            let before = self.0.get(&key).copied().filter(|at| now_s - at < DAY_S);
            if before.is_none() {
                lines.push(line(of, now_s));
            }
            said.insert(key, before.unwrap_or(now_s));
        }
        self.0 = said;
        lines
    }
}

fn line(of: &Expiry, now_s: i64) -> (Level, String) {
    let whose = match (of.place, of.server.as_str()) {
        ("listen", _) => "the certificate shown to clients".to_owned(),
        ("listen_client_ca", _) => "an authority of client certificates".to_owned(),
        ("server_ca", name) => format!("an authority of servers.{name}"),
        (_, name) => format!("the certificate shown to servers.{name}"),
    };
    let left = of.not_after - now_s;
    let (level, when) = if left < 0 {
        (Level::Error, format!("has expired {} days ago", -left / DAY_S))
    } else {
        (Level::Warn, format!("expires in {} days", left / DAY_S))
    };
    (level, format!("{whose} ({}) {when}: replace the file and reload", of.subject))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_within_two_weeks_is_said_once_a_day() {
        let of = |subject: &str, not_after| Expiry {
            place: "listen",
            server: String::new(),
            subject: subject.to_owned(),
            not_after,
        };
        let all = [of("CN=soon", 13 * DAY_S + 5), of("CN=later", 15 * DAY_S), of("CN=over", -3 * DAY_S)];
        let mut reminder = Reminder::default();
        let first = reminder.due(0, &all);
        let soon = "the certificate shown to clients (CN=soon) expires in 13 days: replace the file and reload";
        let over = "the certificate shown to clients (CN=over) has expired 3 days ago: replace the file and reload";
        assert_eq!(first, [(Level::Warn, soon.to_owned()), (Level::Error, over.to_owned())]);
        assert_eq!(reminder.due(DAY_S - 1, &all), []);
        assert_eq!(reminder.due(DAY_S, &all).len(), 3, "the later one is due as well");
        // A renewed one is forgotten, and remembered anew.
        assert_eq!(reminder.due(DAY_S + 1, &[of("CN=soon", 90 * DAY_S)]), []);
        assert_eq!(reminder.due(DAY_S + 2, &all[..1]).len(), 1);
    }
}
