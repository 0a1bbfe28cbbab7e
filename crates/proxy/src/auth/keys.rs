//! Keys towards servers: those derived from passwords, and those that clients' own SCRAM logins revealed.
//!
//! A captured key serves where the server keeps the very secret the client was checked against. All are wiped when they go.

use std::collections::BTreeSet;
use std::sync::Mutex;

use poolwarden_switch::pool::HostId;
use poolwarden_switch::relay::login::Password;
use poolwarden_switch::relay::pgwire::password::Plain;
use poolwarden_switch::relay::pgwire::scram::{Derived, Keys};

use super::bounded::Bounded;
use crate::inner::held;

/// A role on a server.
pub(crate) type Role = (HostId, String);

/// Roles whose keys are kept, in each of two generations; some 200 bytes each.
const KEPT: usize = 8192;

pub(crate) struct KeyRing(Mutex<Held>);

struct Held {
    derived: Bounded<Role, (Plain, Derived)>,
    captured: Bounded<Role, Keys>,
    /// Roles that a connection was wanted for while their key was not known.
    awaited: BTreeSet<Role>,
}

impl Default for KeyRing {
    fn default() -> Self {
        Self(Mutex::new(Held { derived: Bounded::new(KEPT), captured: Bounded::new(KEPT), awaited: BTreeSet::new() }))
    }
}

impl KeyRing {
    /// A password with what an earlier login derived of it, so that it is not derived again.
    pub(crate) fn known(&self, role: &Role, plain: Plain) -> Password {
        let mut held = held(&self.0);
        let derived = held.derived.get(role).filter(|(of, _)| *of == plain).map(|(_, derived)| derived.clone());
        Password::Plain(plain, derived)
    }

    /// Keeps what a login derived of a password.
    pub(crate) fn learn(&self, role: Role, plain: Plain, derived: Derived) {
        held(&self.0).derived.put(role, (plain, derived));
    }

    pub(crate) fn captured(&self, role: &Role) -> Option<Keys> {
        held(&self.0).captured.get(role).cloned()
    }

    /// Keeps what a client's login revealed; true if a connection could not be opened for want of it.
    pub(crate) fn capture(&self, role: Role, keys: Keys) -> bool {
        let mut held = held(&self.0);
        let awaited = held.awaited.remove(&role);
        held.captured.put(role, keys);
        awaited
    }

    /// Another server stands there now: keys that clients revealed to us for the former are not shown to it.
    pub(crate) fn forget(&self, host: HostId) {
        held(&self.0).captured.retain(|(of, _)| *of != host);
    }

    /// A connection is wanted and no key is known; true the first time.
    pub(crate) fn wait(&self, role: &Role) -> bool {
        let mut held = held(&self.0);
        held.awaited.len() < KEPT && held.awaited.insert(role.clone())
    }

    /// The server did not take this key: unless another has come meanwhile, it goes. True if it went.
    pub(crate) fn drop_captured(&self, role: &Role, refused: &Keys) -> bool {
        let mut held = held(&self.0);
        let same = held.captured.get(role).is_some_and(|keys| keys == refused);
        same && held.captured.remove(role).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str) -> Role {
        (HostId(0), name.to_owned())
    }

    fn keys(byte: u8) -> Keys {
        Keys { client_key: [byte; 32], server_key: [byte; 32] }
    }

    #[test]
    fn a_captured_key_serves_until_it_is_refused_and_a_newer_one_stays() {
        let ring = KeyRing::default();
        assert!(ring.wait(&role("app")), "the first to wait says so");
        assert!(!ring.wait(&role("app")));
        assert!(ring.capture(role("app"), keys(1)), "somebody waited");
        assert!(!ring.capture(role("app"), keys(2)));
        assert!(!ring.drop_captured(&role("app"), &keys(1)), "that one is gone already");
        assert_eq!(ring.captured(&role("app")), Some(keys(2)));
        assert!(ring.drop_captured(&role("app"), &keys(2)));
        assert_eq!(ring.captured(&role("app")), None);
        assert!(ring.wait(&role("app")));
    }

    #[test]
    fn keys_for_a_server_that_moved_are_forgotten_and_no_others() {
        let ring = KeyRing::default();
        let elsewhere = (HostId(1), "app".to_owned());
        ring.capture(role("app"), keys(1));
        ring.capture(elsewhere.clone(), keys(2));
        ring.forget(HostId(0));
        assert_eq!((ring.captured(&role("app")), ring.captured(&elsewhere)), (None, Some(keys(2))));
    }

    #[test]
    fn what_was_derived_serves_the_same_password_alone() {
        let ring = KeyRing::default();
        let derived = Derived { salt: vec![1], iterations: 1, keys: keys(3) };
        ring.learn(role("app"), Plain::new("old"), derived);
        let known = |text| match ring.known(&role("app"), Plain::new(text)) {
            Password::Plain(_, derived) => derived.is_some(),
            Password::Md5(_) | Password::Keys(_) => false,
        };
        assert!(known("old"));
        assert!(!known("new"));
    }
}
