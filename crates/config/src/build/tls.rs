//! `[listen.tls]` and the TLS keys of `[servers.NAME]`.

use super::{Build, Scope};
use crate::finding::Severity;
use crate::model::{ChannelBinding, ListenTls, ServerTls, TlsIdentity, TlsMode, TlsVersion};

impl Build<'_> {
    pub(super) fn listen_tls(&mut self) -> ListenTls {
        let scope = Scope::top("listen.tls");
        let identity = self.identity(&scope, ["certificate", "key"]);
        let mode = match self.text(&scope, "mode") {
            Some(word) => TlsMode::of(&word),
            None if identity.is_some() => TlsMode::Prefer,
            None => TlsMode::Disable,
        };
        let client_ca = self.path(&scope, "client_ca");
        if mode != TlsMode::Disable && identity.is_none() {
            let texts = (
                "[listen.tls] has no certificate to show to clients".to_owned(),
                "write certificate = \"server.crt\" and key = \"server.key\"".to_owned(),
            );
            self.finding(Severity::Error, "missing", self.span(&scope, "mode"), texts);
        }
        if mode.verifies() && client_ca.is_none() {
            let texts = (
                "listen.tls.mode asks for client certificates, and nothing says whose".to_owned(),
                "write client_ca = \"clients.crt\"".to_owned(),
            );
            self.finding(Severity::Error, "missing", self.span(&scope, "mode"), texts);
        }
        ListenTls { mode, identity, client_ca, min_version: self.tls_version(&scope, "min_version") }
    }

    pub(super) fn server_tls(&mut self, scope: &Scope) -> ServerTls {
        let mode = TlsMode::of(&self.text(scope, "tls").unwrap_or_default());
        let direct = self.text(scope, "tls_negotiation").as_deref() == Some("direct");
        let binding = ChannelBinding::of(&self.text(scope, "channel_binding").unwrap_or_default());
        if direct && !mode.is_required() {
            let message =
                format!("{}.tls_negotiation = \"direct\" leaves no way back to a connection in clear", scope.path);
            let texts = (message, "write tls = \"require\", \"verify-ca\" or \"verify-full\"".to_owned());
            self.finding(Severity::Error, "contradiction", self.span(scope, "tls_negotiation"), texts);
        }
        if binding == ChannelBinding::Require && !mode.is_required() {
            let message =
                format!("{}.channel_binding = \"require\" needs a connection that always has TLS", scope.path);
            let texts = (message, "write tls = \"require\", \"verify-ca\" or \"verify-full\"".to_owned());
            self.finding(Severity::Error, "contradiction", self.span(scope, "channel_binding"), texts);
        }
        ServerTls {
            mode,
            direct,
            ca: self.path(scope, "tls_ca"),
            identity: self.identity(scope, ["tls_certificate", "tls_key"]),
            min_version: self.tls_version(scope, "tls_min_version"),
            binding,
        }
    }

    fn path(&self, scope: &Scope, key: &str) -> Option<String> {
        self.text(scope, key).filter(|path| !path.is_empty())
    }

    fn tls_version(&self, scope: &Scope, key: &str) -> TlsVersion {
        TlsVersion::of(&self.text(scope, key).unwrap_or_default())
    }

    /// A certificate and its key, which stands in the same file where nothing says which.
    fn identity(&mut self, scope: &Scope, keys: [&str; 2]) -> Option<TlsIdentity> {
        let [certificate, key] = keys.map(|key| self.path(scope, key));
        let Some(certificate) = certificate else {
            if key.is_some() {
                let [absent, there] = keys;
                let message = format!("[{}] has {there} but no {absent}", scope.path);
                let texts = (message, format!("write {absent} = \"PATH\""));
                self.finding(Severity::Error, "missing", self.span(scope, there), texts);
            }
            return None;
        };
        Some(TlsIdentity { key: key.unwrap_or_else(|| certificate.clone()), certificate })
    }
}
