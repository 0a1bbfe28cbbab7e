//! What we want to know of a certificate: whose it is, until when, and what a login can be bound to.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::signature_algorithm::SignatureAlgorithm;

/// Whom a client's certificate names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The last common name of its subject; empty without one.
    pub common_name: String,
    /// Its DNS names.
    pub dns_names: Vec<String>,
    /// The whole subject, `CN=app, O=example`.
    pub subject: String,
}

/// A loaded certificate and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Where it is used: `listen`, `listen_client_ca`, `server`, `server_ca`.
    pub place: &'static str,
    /// The server's name; empty where it is for clients.
    pub server: String,
    /// Its subject.
    pub subject: String,
    /// Its last second, since 1970 UTC.
    pub not_after: i64,
}

impl Identity {
    /// The common name, then the DNS names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.common_name.as_str()).chain(self.dns_names.iter().map(String::as_str))
    }

    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let common_name = parsed.subject().iter_common_name().last().and_then(|name| name.as_str().ok());
        Some(Self {
            common_name: common_name.unwrap_or_default().to_owned(),
            dns_names: alternatives(&parsed).filter_map(dns_name).map(str::to_owned).collect(),
            subject: parsed.subject().to_string(),
        })
    }
}

impl Expiry {
    /// Of several, the one that ends first: a bundle of authorities may be long.
    pub(super) fn first(all: &[CertificateDer<'_>], place: &'static str, server: &str) -> Option<Self> {
        all.iter().filter_map(|one| Self::of(one, place, server)).min_by_key(|expiry| expiry.not_after)
    }

    pub(super) fn of(certificate: &CertificateDer<'_>, place: &'static str, server: &str) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let not_after = parsed.validity().not_after.timestamp();
        Some(Self { place, server: server.to_owned(), subject: parsed.subject().to_string(), not_after })
    }
}

/// Whether it is valid at this second since 1970.
pub(super) fn is_valid_at(certificate: &CertificateDer<'_>, now: u64) -> bool {
    let parsed = X509Certificate::from_der(certificate).ok();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    parsed.is_some_and(|(_, parsed)| {
        let validity = parsed.validity();
        (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now)
    })
}

/// The hash of a certificate that a login is bound to, `tls-server-end-point` of RFC 5929 section 4.1: with the hash function
/// of its signature, SHA-256 instead of MD5 and SHA-1; none where the signature has no one hash function (Ed25519).
pub(crate) fn end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let oid = parsed.signature_algorithm.algorithm.to_id_string();
    let hash = match SignatureAlgorithm::try_from(&parsed.signature_algorithm) {
        Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) => parameters.hash_algorithm_oid().to_id_string(),
        _ => oid, // every other kind tells its hash function by its own name
    };
    let hashed = match hash.as_str() {
        // md5, sha1 and sha256: alone, with RSA, with ECDSA
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" | "1.3.14.3.2.26" => {
            Sha256::digest(certificate).to_vec()
        }
        "1.2.840.113549.1.1.11" | "1.2.840.10045.4.3.2" | "2.16.840.1.101.3.4.2.1" => {
            Sha256::digest(certificate).to_vec()
        }
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" | "2.16.840.1.101.3.4.2.2" => {
            Sha384::digest(certificate).to_vec()
        }
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" | "2.16.840.1.101.3.4.2.3" => {
            Sha512::digest(certificate).to_vec()
        }
        _ => return None,
    };
    Some(hashed)
}

/// Whether a certificate is this host's, as libpq sees it: by its alternative names, and by its common name where it has none.
pub(super) fn names(certificate: &CertificateDer<'_>, host: &str) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let mut has_names = false;
    for name in alternatives(&parsed) {
        let matches = match (name, address) {
            (GeneralName::IPAddress(bytes), address) => {
                has_names = true;
                address.is_some_and(|address| octets(address) == *bytes)
            }
            (name, None) => dns_name(name).is_some_and(|pattern| {
                has_names = true;
                is_named(pattern, host)
            }),
            (name, Some(_)) => {
                has_names |= dns_name(name).is_some();
                false
            }
        };
        if matches {
            return true;
        }
    }
    let common_name = parsed.subject().iter_common_name().last().and_then(|name| name.as_str().ok());
    !has_names && common_name.is_some_and(|pattern| is_named(pattern, host))
}

/// The names it is for, as people write them.
pub(super) fn said_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let said: Vec<String> = alternatives(&parsed).map(ToString::to_string).collect();
    if said.is_empty() { vec![parsed.subject().to_string()] } else { said }
}

fn alternatives<'a>(certificate: &'a X509Certificate<'a>) -> impl Iterator<Item = &'a GeneralName<'a>> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    extension.into_iter().flat_map(|extension| &extension.value.general_names)
}

fn dns_name<'a>(name: &'a GeneralName<'a>) -> Option<&'a str> {
    if let GeneralName::DNSName(text) = name { Some(text) } else { None }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// `*.example.org` stands for one label in front, and for nothing else.
fn is_named(pattern: &str, host: &str) -> bool {
    let host = host.trim_end_matches('.');
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    match (pattern.strip_prefix("*."), host.split_once('.')) {
        (Some(rest), Some((label, domain))) => {
            !label.is_empty() && rest.contains('.') && rest.eq_ignore_ascii_case(domain)
        }
        (None, _) | (_, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_label() {
        for (pattern, host, named) in [
            ("db.example.org", "DB.example.org", true),
            ("*.example.org", "db.example.org", true),
            ("*.example.org", "a.db.example.org", false),
            ("*.example.org", "example.org", false),
            ("*.example.org", ".example.org", false),
            ("*.org", "example.org", false),
            ("d*.example.org", "db.example.org", false),
            ("*", "db", false),
            ("db", "db.", true),
        ] {
            assert_eq!(is_named(pattern, host), named, "{pattern} {host}");
        }
    }
}
