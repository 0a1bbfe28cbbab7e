//! PostgreSQL's old password method: the stored form is md5(password, user) in hex, the answer to
//! a challenge md5(stored, salt). Kept for the secrets that exist; whoever reads the stored form
//! can log in with it.

use core::fmt;
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A stored md5 secret: 32 lower-case hex digits, without PostgreSQL's prefix `md5`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Hash([u8; 32]);

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(..)")
    }
}

impl Hash {
    /// The stored form of a user's password.
    #[must_use]
    pub fn of(password: &str, user: &str) -> Self {
        Self(hex(&[password.as_bytes(), user.as_bytes()]))
    }

    /// Reads `md5` and 32 lower-case hex digits; `None` for anything else, as in PostgreSQL.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: [u8; 32] = text.strip_prefix("md5")?.as_bytes().try_into().ok()?;
        let lower_hex = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        digits.iter().all(lower_hex).then_some(Self(digits))
    }

    /// PostgreSQL's stored form. It is a secret: it must not be printed.
    #[must_use]
    pub fn format(&self) -> String {
        format!("md5{}", String::from_utf8_lossy(&self.0))
    }

    /// The answer to a challenge: `md5` and 32 hex digits.
    #[must_use]
    pub fn response(&self, salt: [u8; 4]) -> [u8; 35] {
        let mut response = [0; 35];
        response[..3].copy_from_slice(b"md5");
        response[3..].copy_from_slice(&hex(&[&self.0, &salt]));
        response
    }

    /// Whether `answer` is [`Hash::response`], in constant time.
    #[must_use]
    pub fn answered(&self, salt: [u8; 4], answer: &[u8]) -> bool {
        self.response(salt).ct_eq(answer).into()
    }

    /// Whether `password`, sent in clear by `user`, is the one this was made of.
    #[must_use]
    pub fn fits(&self, password: &str, user: &str) -> bool {
        Self::of(password, user).0.ct_eq(&self.0).into()
    }
}

fn hex(parts: &[&[u8]]) -> [u8; 32] {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(part);
    }
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(md5.finalize()) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_is_postgresqls() {
        // select 'md5' || md5('secret' || 'alice')
        let hash = Hash::of("secret", "alice");
        assert_eq!(Hash::parse(&hash.format()), Some(hash.clone()));
        assert!(hash.fits("secret", "alice"));
        assert!(!hash.fits("secret", "bob"));
    }

    #[test]
    fn known_digests() {
        // RFC 1321: md5("abc"), md5("message digest")
        assert_eq!(Hash::of("ab", "c").format(), "md5900150983cd24fb0d6963f7d28e17f72");
        let split = Hash::of("message", " digest").format();
        assert_eq!(split, "md5f96b697d7cb7938d525a2f31aaf161d0");
    }

    #[test]
    fn an_answer_holds_for_its_salt_alone() {
        let hash = Hash::of("secret", "alice");
        let answer = hash.response([1, 2, 3, 4]);
        assert!(hash.answered([1, 2, 3, 4], &answer));
        assert!(!hash.answered([1, 2, 3, 5], &answer));
        assert!(!hash.answered([1, 2, 3, 4], &answer[..34]));
        assert!(!hash.answered([1, 2, 3, 4], b""));
    }

    #[test]
    fn other_texts_are_not_md5_secrets() {
        for text in ["", "md5", "md5900150983cd24fb0d6963f7d28e17f7", "md5900150983CD24fb0d6963f7d28e17f72"] {
            assert_eq!(Hash::parse(text), None);
        }
    }
}
