//! What is known of a user's password, in any of the forms PostgreSQL and configuration files
//! keep. Nothing here prints a secret: `Debug` is redacted, memory is wiped on drop.

use crate::{md5, scram};
use core::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A password in clear.
#[derive(Clone)]
pub struct Plain {
    text: Zeroizing<String>,
    verifier: Option<scram::Secret>,
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain(..)")
    }
}

impl PartialEq for Plain {
    fn eq(&self, other: &Self) -> bool {
        self.fits(other.expose())
    }
}

impl Eq for Plain {}

impl Plain {
    /// A password.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { text: Zeroizing::new(text.to_owned()), verifier: None }
    }

    /// The same, with its SCRAM secret made now, once, instead of at every login (which would also
    /// tell a known user from an unknown one by the time it takes).
    #[must_use]
    pub fn with_verifier(mut self, salt: &[u8], iterations: u32) -> Self {
        self.verifier = Some(scram::Secret::derive(&self.text, salt, iterations));
        self
    }

    /// The password. Whoever calls this must not print it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The SCRAM secret that was made before, if one was.
    #[must_use]
    pub fn verifier(&self) -> Option<&scram::Secret> {
        self.verifier.as_ref()
    }

    /// Its SCRAM secret: the one made before, else one made now under `salt` (PBKDF2: milliseconds of CPU).
    #[must_use]
    pub fn scram(&self, salt: &[u8]) -> scram::Secret {
        match &self.verifier {
            Some(verifier) => verifier.clone(),
            None => scram::Secret::derive(&self.text, salt, scram::ITERATIONS),
        }
    }

    /// The same, with a SCRAM secret of this password's that was made elsewhere ([`Plain::scram`]).
    #[must_use]
    pub fn keeping(mut self, verifier: scram::Secret) -> Self {
        self.verifier = Some(verifier);
        self
    }

    /// Whether `password` is this one, in constant time for equal lengths.
    #[must_use]
    pub fn fits(&self, password: &str) -> bool {
        self.text.as_bytes().ct_eq(password.as_bytes()).into()
    }
}

/// A user's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// In clear.
    Plain(Plain),
    /// PostgreSQL's md5 form.
    Md5(md5::Hash),
    /// A SCRAM-SHA-256 secret.
    Scram(scram::Secret),
}

impl Secret {
    /// Reads `SCRAM-SHA-256$...` and `md5` with 32 hex digits as what they are, and everything else
    /// as a password in clear: PostgreSQL's own rule.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if let Some(secret) = scram::Secret::parse(text) {
            Self::Scram(secret)
        } else if let Some(hash) = md5::Hash::parse(text) {
            Self::Md5(hash)
        } else {
            Self::Plain(Plain::new(text))
        }
    }

    /// Whether `password`, sent in clear by `user`, is the right one.
    #[must_use]
    pub fn fits(&self, password: &str, user: &str) -> bool {
        match self {
            Self::Plain(plain) => plain.fits(password),
            Self::Md5(hash) => hash.fits(password, user),
            Self::Scram(secret) => secret.fits(password),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_as_the_secret_it_is() {
        let scram = scram::Secret::derive("secret", b"salt", 1).format();
        let md5 = md5::Hash::of("secret", "alice").format();
        assert!(matches!(Secret::parse(&scram), Secret::Scram(_)));
        assert!(matches!(Secret::parse(&md5), Secret::Md5(_)));
        assert!(matches!(Secret::parse("SCRAM-SHA-256$oops"), Secret::Plain(_)));
        for text in [scram.as_str(), md5.as_str(), "secret"] {
            let secret = Secret::parse(text);
            assert!(secret.fits("secret", "alice"), "{secret:?}");
            assert!(!secret.fits("Secret", "alice"), "{secret:?}");
        }
    }

    #[test]
    fn nothing_prints_a_secret() {
        for secret in [
            Secret::parse("hunter2"),
            Secret::Md5(md5::Hash::of("hunter2", "alice")),
            Secret::Scram(scram::Secret::derive("hunter2", b"salt", 1)),
        ] {
            let shown = format!("{secret:?}");
            assert!(shown.contains(".."), "{shown}");
            assert!(!shown.contains("hunter2") && shown.len() < 40, "{shown}");
        }
    }

    #[test]
    fn a_verifier_made_before_is_the_one_used() {
        let plain = Plain::new("secret").with_verifier(b"early", 2);
        assert_eq!(plain.scram(b"late").salt, b"early");
        assert!(plain.scram(b"late").fits("secret"));
    }
}
