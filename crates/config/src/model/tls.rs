//! TLS as the file says it: towards clients in `[listen.tls]`, towards PostgreSQL in `[servers.NAME]`. Files are named here and read elsewhere.

/// How much TLS: towards clients with PgBouncer's meaning, towards PostgreSQL with libpq's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// None.
    Disable,
    /// Clients: whoever asks gets it. PostgreSQL: only where it does not let us in without.
    Allow,
    /// Clients: as `Allow`. PostgreSQL: where it can.
    Prefer,
    /// Always.
    Require,
    /// Always, and the peer's certificate is verified.
    VerifyCa,
    /// Towards PostgreSQL the host's name is verified as well.
    VerifyFull,
}

impl TlsMode {
    pub(crate) fn of(word: &str) -> Self {
        match word {
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => Self::Disable,
        }
    }

    /// Whether a connection in clear may not be.
    #[must_use]
    pub const fn is_required(self) -> bool {
        matches!(self, Self::Require | Self::VerifyCa | Self::VerifyFull)
    }

    /// Whether the peer must show a certificate that is verified.
    #[must_use]
    pub const fn verifies(self) -> bool {
        matches!(self, Self::VerifyCa | Self::VerifyFull)
    }
}

/// The oldest TLS that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2.
    Tls12,
    /// 1.3.
    Tls13,
}

impl TlsVersion {
    pub(crate) fn of(word: &str) -> Self {
        if word == "1.3" { Self::Tls13 } else { Self::Tls12 }
    }
}

/// `[listen.tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenTls {
    /// Who gets it, who must use it.
    pub mode: TlsMode,
    /// Certificate and its chain, and their key: there unless the mode is `Disable`.
    pub identity: Option<TlsIdentity>,
    /// Authorities of client certificates; there when the mode verifies.
    pub client_ca: Option<String>,
    /// The oldest version.
    pub min_version: TlsVersion,
}

/// Files of a certificate and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsIdentity {
    /// The certificate, then its chain.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// The TLS keys of `[servers.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// Whether, and what is verified.
    pub mode: TlsMode,
    /// TLS from the first byte on, without asking; only where the mode requires it.
    pub direct: bool,
    /// Authorities; `None`: the system's.
    pub ca: Option<String>,
    /// What we show where PostgreSQL asks for a certificate.
    pub identity: Option<TlsIdentity>,
    /// The oldest version.
    pub min_version: TlsVersion,
    /// Whether SCRAM is bound to the TLS connection.
    pub binding: ChannelBinding,
}

/// Whether SCRAM towards PostgreSQL is bound to the TLS connection, so that nobody in between can take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// Where the server offers it.
    Prefer,
    /// Always: a server that does not offer it is not logged in to.
    Require,
}

impl ChannelBinding {
    pub(crate) fn of(word: &str) -> Self {
        match word {
            "disable" => Self::Disable,
            "require" => Self::Require,
            _ => Self::Prefer,
        }
    }
}
