//! Certificates made for one test: authorities, and what they issue, as PEM files in a place.
//!
//! Keys belong to the user PostgreSQL runs as and are nobody else's to read, as PostgreSQL demands.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ED25519, PKCS_RSA_SHA512, SignatureAlgorithm,
};

use crate::child;
use crate::place::Place;

/// With what an authority signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// ECDSA with SHA-256.
    Sha256,
    /// ECDSA with SHA-384.
    Sha384,
    /// RSA with SHA-512.
    Sha512,
    /// Ed25519, which has no hash function that a login could be bound with.
    Ed25519,
}

/// An authority of its own.
#[derive(Debug)]
pub struct Authority {
    /// Its certificate.
    pub certificate: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// What is to be issued.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The subject's common name.
    pub common_name: &'a str,
    /// Its DNS names and addresses.
    pub names: &'a [&'a str],
    /// How many days it is valid from now on; negative: since when it is not any more.
    pub days: i64,
}

impl Signature {
    fn algorithm(self) -> &'static SignatureAlgorithm {
        match self {
            Signature::Sha256 => &PKCS_ECDSA_P256_SHA256,
            Signature::Sha384 => &PKCS_ECDSA_P384_SHA384,
            Signature::Sha512 => &PKCS_RSA_SHA512,
            Signature::Ed25519 => &PKCS_ED25519,
        }
    }
}

impl Authority {
    /// Makes one; its certificate is `NAME.crt` in the place.
    #[must_use]
    #[track_caller]
    pub fn new(place: &Place, name: &str, signature: Signature) -> Authority {
        let mut params = params(&Wanted { common_name: name, names: &[], days: 365 });
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate_for(signature.algorithm()).unwrap_or_else(|e| panic!("a key for {name}: {e}"));
        let certificate = params.self_signed(&key).unwrap_or_else(|e| panic!("sign {name}: {e}"));
        let path = place.write(&format!("{name}.crt"), &certificate.pem());
        Authority { certificate: path, issuer: Issuer::new(params, key) }
    }

    /// Issues a certificate: `FILE.crt` and `FILE.key` in the place.
    #[track_caller]
    pub fn issue(&self, place: &Place, file: &str, wanted: &Wanted<'_>) -> Issued {
        let key = KeyPair::generate().unwrap_or_else(|e| panic!("a key for {file}: {e}"));
        let signed = params(wanted).signed_by(&key, &self.issuer);
        let certificate = signed.unwrap_or_else(|e| panic!("sign {file}: {e}"));
        // Each by renaming: whoever reads meanwhile finds the one or the other, whole.
        let certificate = put(place, &format!("{file}.crt"), &certificate.pem());
        let key = put(place, &format!("{file}.key"), &key.serialize_pem());
        Issued { certificate, key }
    }
}

/// A certificate that is its own authority, as many a first installation has it.
#[must_use]
#[track_caller]
pub fn self_signed(place: &Place, file: &str, wanted: &Wanted<'_>) -> Issued {
    let key = KeyPair::generate().unwrap_or_else(|e| panic!("a key for {file}: {e}"));
    let mut params = params(wanted);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap_or_else(|e| panic!("sign {file}: {e}"));
    let certificate = put(place, &format!("{file}.crt"), &certificate.pem());
    Issued { certificate, key: put(place, &format!("{file}.key"), &key.serialize_pem()) }
}

/// PostgreSQL's settings for TLS with this certificate, asking for those of an authority.
#[must_use]
pub fn postgres(own: &Issued, clients: Option<&Authority>) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("ssl", "on".to_string()),
        ("ssl_cert_file", own.certificate.display().to_string()),
        ("ssl_key_file", own.key.display().to_string()),
    ];
    settings.extend(clients.map(|clients| ("ssl_ca_file", clients.certificate.display().to_string())));
    settings
}

/// PostgreSQL's settings with other lines for pg_hba.conf; the superuser's socket stays open.
#[must_use]
pub fn hba(place: &Place, lines: &str) -> (&'static str, String) {
    let text = format!("local all all trust\n{lines}\n");
    ("hba_file", place.write("pg_hba.conf", &text).display().to_string())
}

fn params(wanted: &Wanted<'_>) -> CertificateParams {
    let names: Vec<String> = wanted.names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap_or_else(|e| panic!("names {:?}: {e}", wanted.names));
    params.distinguished_name.push(DnType::CommonName, wanted.common_name);
    let now = SystemTime::now();
    let day = Duration::from_secs(24 * 3600);
    params.not_before = (now - 1000 * day).into();
    let span = day * u32::try_from(wanted.days.unsigned_abs()).expect("fewer days");
    params.not_after = if wanted.days < 0 { now - span } else { now + span }.into();
    params
}

fn put(place: &Place, name: &str, text: &str) -> PathBuf {
    let new = place.write(&format!("{name}.new"), text);
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))
        .unwrap_or_else(|e| panic!("chmod {}: {e}", new.display()));
    if rustix::process::getuid().is_root() {
        let (user, group) = child::server_user();
        child::run(Command::new("chown").arg(format!("{user}:{group}")).arg(&new));
    }
    let path = place.path().join(name);
    std::fs::rename(&new, &path).unwrap_or_else(|e| panic!("rename {}: {e}", new.display()));
    path
}
