//! Certificates and keys as PEM files hold them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::TlsFault;

/// Far above any chain or bundle of authorities (the system's is 220 kB), so that a wrong path ends soon.
const MOST_BYTES: u64 = 4 << 20;

/// Files of a certificate (its chain behind it) and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Files {
    /// Reads both and makes sure that they belong together.
    pub(super) fn load(&self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsFault> {
        let chain = certificates(&self.certificate)?;
        let bytes = read(&self.key)?;
        let key = PrivateKeyDer::from_pem_slice(&bytes)
            .map_err(|_| TlsFault::of(&self.key, "holds no private key in PEM without a passphrase"))?;
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|why| TlsFault::of(&self.key, format!("the private key cannot be used: {why}")))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
            Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
                let why = format!("is not the key of the certificate in {}", self.certificate.display());
                Err(TlsFault::of(&self.key, why))
            }
            Err(why) => Err(TlsFault::of(&self.certificate, format!("the certificate cannot be used: {why}"))),
        }
    }
}

/// Every certificate of a file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let bytes = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let all = all.map_err(|why| TlsFault::of(path, format!("is not PEM: {why}")))?;
    if all.is_empty() {
        return Err(TlsFault::of(path, "holds no certificate in PEM"));
    }
    Ok(all)
}

/// The authorities of a file.
pub(super) fn authorities(path: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TlsFault> {
    let all = certificates(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in &all {
        let added = roots.add(certificate.clone());
        added.map_err(|why| TlsFault::of(path, format!("holds a certificate that cannot be used: {why}")))?;
    }
    Ok((roots, all))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsFault> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|why| TlsFault::of(path, format!("cannot be read: {why}")))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(TlsFault::of(path, format!("is larger than {MOST_BYTES} bytes")));
    }
    Ok(bytes)
}
