//! What logins cost and why they failed, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use poolwarden_switch::relay::greet::Fault;

/// Why a login failed, for operators: a client is told less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Wrong password, or a user that is not known.
    Credentials,
    /// Too many failures of this user from this source.
    Limited,
    /// A rule refuses it, or it has not the certificate or the process it must have.
    Rule,
    /// PostgreSQL could not be asked about the user.
    Lookup,
    /// The stored secret cannot serve the method.
    Configuration,
    /// The client broke the protocol.
    Protocol,
}

impl Reason {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Credentials, "credentials"),
        (Self::Limited, "limited"),
        (Self::Rule, "rule"),
        (Self::Lookup, "lookup"),
        (Self::Configuration, "configuration"),
        (Self::Protocol, "protocol"),
    ];

    pub(crate) const fn of(fault: Fault) -> Self {
        match fault {
            Fault::Credentials => Self::Credentials,
            Fault::Rule => Self::Rule,
            Fault::Configuration => Self::Configuration,
            Fault::Client => Self::Protocol,
        }
    }
}

/// Failed logins by reason: stable names and counts.
pub type LoginFailures = [(&'static str, u64); 6];

#[derive(Default)]
pub(crate) struct Tally {
    failures: [AtomicU64; 6],
    derivations: AtomicU64,
}

impl Tally {
    pub(crate) fn failed(&self, reason: Reason) {
        let place = Reason::ALL.iter().position(|(other, _)| *other == reason);
        if let Some(counter) = place.and_then(|place| self.failures.get(place)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Keys were derived from passwords, so often.
    pub(crate) fn derived(&self, times: u32) {
        self.derivations.fetch_add(u64::from(times), Ordering::Relaxed);
    }

    pub(crate) fn derivations(&self) -> u64 {
        self.derivations.load(Ordering::Relaxed)
    }

    pub(crate) fn failures(&self) -> LoginFailures {
        std::array::from_fn(|place| (Reason::ALL[place].1, self.failures[place].load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_under_their_names() {
        let tally = Tally::default();
        tally.failed(Reason::Limited);
        tally.failed(Reason::of(Fault::Client));
        tally.failed(Reason::Limited);
        let counted: Vec<_> = tally.failures().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("limited", 2), ("protocol", 1)]);
    }
}
