//! What a client asks with: the class, the tenant, the deadline and the attempt of its next request.
//!
//! What all requests of a client have in common is found once and kept until its settings or the rules change; a request is
//! only looked at where its statement may say something of itself, or where the client was refused a moment ago.

use std::time::Duration;

use poolwarden_pool::{ClassId, Time};
use poolwarden_relay::{Label, Torn, span};

use crate::client::ClientSlot;
use crate::io::Io;
use crate::refusal;
use crate::switch::Switch;
use crate::terms::TermsBook;

/// Who comes again within this time of a refusal was not sent by somebody who waited: it is the same request once more.
const AGAIN: Duration = Duration::from_secs(2);

/// What a client asks with.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    /// For which rules and settings the next were found; rules are numbered from 1.
    found_for: (u32, u64),
    /// Its statements are followed, so that some need no server connection.
    pub(crate) follows: bool,
    /// Its class by the rules.
    pub(crate) base: ClassId,
    /// Its class for what it calls itself.
    own: ClassId,
    trusted: bool,
    pub(crate) tenant: u64,
    /// Nanoseconds its requests may wait by its own settings; 0: any time.
    patience: u64,
    /// The same by its start-up packet.
    asked: Option<Duration>,
    /// The class of its request.
    pub(crate) class: ClassId,
    /// Until when its request may wait, by its own word.
    pub(crate) deadline: Time,
    /// How often in a row it was refused and came again at once.
    pub(crate) attempt: u8,
    /// When it was refused last; 0: long ago.
    refused_at: u64,
}

impl Claim {
    pub(crate) fn new(asked: Option<Duration>) -> Self {
        Self { asked, deadline: Time::NEVER, ..Self::default() }
    }

    /// Its request is refused, or withdrawn by itself (then it is no attempt).
    pub(crate) fn refused(&mut self, now: Time, counts: bool) {
        self.attempt = self.attempt.saturating_add(u8::from(counts));
        self.refused_at = now.as_nanos().max(1);
    }

    /// Its request is granted.
    #[inline]
    pub(crate) fn granted(&mut self) {
        self.attempt = 0;
        self.refused_at = 0;
    }
}

impl<L> Switch<L> {
    /// Finds what all requests of a client have in common, where that may be another than it was.
    #[inline]
    pub(crate) fn know(&mut self, key: u32) {
        let rules = self.shared.rules_number();
        let Some(client) = self.clients.at_mut(key) else { return };
        if client.claim.found_for != (rules, client.relay.settings.flavor()) {
            find(client, &self.shared.book(), rules);
            self.shared
                .tenants
                .note(client.claim.tenant, client.relay.settings.value("application_name").unwrap_or_default());
        }
    }

    /// Finds what the request at the front of `input` is asked with. False: it is refused at once, with the transaction it belongs to.
    /// Comes behind `know`.
    #[inline]
    pub(crate) fn weigh(&mut self, now: Time, key: u32, input: &[u8]) -> bool {
        let Some(client) = self.clients.at_mut(key) else { return true };
        let claim = &mut client.claim;
        claim.class = claim.own;
        claim.deadline = if claim.patience == 0 { Time::NEVER } else { now + Duration::from_nanos(claim.patience) };
        if claim.refused_at != 0 && !comes_again(now, client, input) {
            return false;
        }
        if let Some(label) = client.relay.label(&mut self.texts, input) {
            heed(now, client, &self.shared.book(), &label);
        }
        true
    }

    /// What follows a refused BEGIN and was sent before its refusal could be read is refused with it.
    pub(crate) fn refuse_torn<I: Io<Link = L>>(&mut self, now: Time, key: u32, io: &mut I) {
        let Some(client) = self.clients.at(key) else { return };
        let told = refusal::torn(&client.pool.key.database);
        self.answer_refused(now, key, &told, io);
    }
}

/// Finds what all requests of a client have in common.
#[cold]
fn find(client: &mut ClientSlot, book: &TermsBook, rules: u32) {
    let settings = &client.relay.settings;
    let application = settings.value("application_name").unwrap_or_default();
    let base = book.base_class(client.asked_for(), client.remote);
    let trusted = book.trusts(client.user());
    let limit = settings.value("statement_timeout").and_then(span);
    let patience = limit.into_iter().chain(client.claim.asked).min();
    client.claim = Claim {
        found_for: (rules, settings.flavor()),
        follows: client.pool.terms().lease().follows(),
        base,
        own: book.classes.labelled(base, application, trusted),
        trusted,
        tenant: hash(application) ^ client.login.as_deref().map_or(0, hash),
        patience: patience.map_or(0, |span| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)),
        ..std::mem::take(&mut client.claim)
    };
}

/// What a statement says of itself.
#[cold]
fn heed(now: Time, client: &mut ClientSlot, book: &TermsBook, label: &Label) {
    let claim = &mut client.claim;
    let wish = label.class.as_deref().and_then(|name| book.classes.commented(claim.base, name, claim.trusted));
    claim.class = wish.unwrap_or(claim.class);
    claim.deadline = label.deadline.map_or(claim.deadline, |span| claim.deadline.min(now + span));
}

/// A client that was refused asks again: false where what it asks belongs to the transaction whose beginning was refused.
#[cold]
fn comes_again(now: Time, client: &mut ClientSlot, input: &[u8]) -> bool {
    let late = now.since(Time::from_nanos(client.claim.refused_at)) > AGAIN;
    if late {
        client.claim.granted();
    }
    match client.relay.torn(input) {
        Torn::Belongs if !late => false,
        Torn::Belongs | Torn::No => {
            client.relay.mend();
            true
        }
    }
}

/// FNV-1a; no application's name is chosen so that it meets another's, and if it does they share.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
