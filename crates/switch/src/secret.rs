//! The secret half of a client's cancel key: 4 bytes for protocol 3.0, 32 from 3.2 on.
//!
//! Where instances forward each other's cancel requests, the first byte says which instance made it. A request that was forwarded
//! carries one byte more, so that nobody forwards it again, whatever ids somebody has mixed up. Compared in constant time.

use std::fmt;

use subtle::ConstantTimeEq;

const SHORT: usize = 4;
const LONG: usize = 32;
/// Behind a secret: this request was forwarded already.
const MARK: u8 = 1;

/// What a cancel request must name beside the number. Never printed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret {
    bytes: [u8; LONG],
    long: bool,
}

impl Secret {
    /// The secret of a client that speaks protocol 3.`minor`. `instance`: whose it is, where instances forward to each other.
    #[must_use]
    pub fn new(randomness: [u8; LONG], minor: u16, instance: Option<u8>) -> Self {
        let mut bytes = randomness;
        bytes[0] = instance.unwrap_or(bytes[0]);
        let long = minor >= 2;
        if !long {
            bytes[SHORT..].fill(0);
        }
        Self { bytes, long }
    }

    /// The secret of a cancel request, and whether it was forwarded; `None`: it is no secret of ours.
    #[must_use]
    pub fn read(given: &[u8]) -> Option<(Self, bool)> {
        let (given, forwarded) = match given.len() {
            SHORT | LONG => (given, false),
            length if length == SHORT + 1 || length == LONG + 1 => (&given[..length - 1], given[length - 1] == MARK),
            _ => return None, // any length: a number, not an enum of ours
        };
        let mut bytes = [0; LONG];
        bytes[..given.len()].copy_from_slice(given);
        Some((Self { bytes, long: given.len() == LONG }, forwarded))
    }

    /// As the client is told.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..if self.long { LONG } else { SHORT }]
    }

    /// As a request that is forwarded says it.
    #[must_use]
    pub fn forwarded(&self) -> Vec<u8> {
        [self.bytes(), &[MARK]].concat()
    }

    /// The instance that made it, where instances forward to each other.
    #[must_use]
    pub fn instance(&self) -> u8 {
        self.bytes[0]
    }

    /// Whether it is the same, in a time that tells nothing of where they differ.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.long == other.long && bool::from(self.bytes.ct_eq(&other.bytes))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.bytes().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_has_its_length_and_both_are_read_again() {
        for (minor, length) in [(0, 4), (2, 32)] {
            let secret = Secret::new([7; 32], minor, None);
            assert_eq!(secret.bytes().len(), length);
            let (again, forwarded) = Secret::read(secret.bytes()).unwrap();
            assert!(again.is(&secret) && !forwarded);
            let (again, forwarded) = Secret::read(&secret.forwarded()).unwrap();
            assert!(again.is(&secret) && forwarded);
        }
        assert!(!Secret::new([7; 32], 0, None).is(&Secret::new([7; 32], 2, None)));
        assert_eq!(Secret::read(&[1, 2, 3]), None);
    }

    #[test]
    fn an_instance_is_named_only_where_there_is_one() {
        assert_eq!(Secret::new([7; 32], 0, Some(3)).bytes(), [3, 7, 7, 7]);
        assert_eq!(Secret::new([7; 32], 0, None).bytes(), [7; 4]);
        assert_eq!(Secret::new([7; 32], 2, Some(9)).instance(), 9);
    }
}
