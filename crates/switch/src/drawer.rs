//! What an operator does to one lease: cancels what runs in it, or ends it.

use poolwarden_pool::Time;

use crate::io::Io;
use crate::mail::Lease;
use crate::refusal;
use crate::server::Standing;
use crate::switch::Switch;

impl<L> Switch<L> {
    /// The places of its client and its server connection, while it lasts and is here.
    fn lease(&self, lease: Lease) -> Option<(u32, u32)> {
        let (server, slot) = self.servers.iter().find(|(_, slot)| slot.serial == lease.server)?;
        let Standing::Leased { client } = slot.standing else { return None };
        self.clients.at(client).filter(|slot| slot.serial == lease.client).map(|_| (client, server))
    }

    /// Has a cancel request sent for what runs; where nothing of the client's runs, nothing happens.
    pub(crate) fn cancel_lease(&mut self, now: Time, lease: Lease) {
        if let Some((_, server)) = self.lease(lease) {
            self.send_cancel(now, server);
        }
    }

    /// Its client is told and leaves, what runs is cancelled, and the server connection is closed: whatever state it is in, it is
    /// not cleaned up, for an operator ends what does not end by itself.
    pub(crate) fn end_lease<I: Io<Link = L>>(&mut self, now: Time, lease: Lease, io: &mut I) {
        let Some((client, server)) = self.lease(lease) else { return };
        let voice = self.rules.voice;
        let word = self.servers.at_mut(server);
        let word = word.and_then(|slot| refusal::last_word(&mut slot.relay, &refusal::ENDED, voice));
        if let Some(word) = word {
            self.send_client(client, &word, io);
        }
        self.ending = Some(refusal::ENDED.spoken(voice).to_owned());
        self.client_gone_from(now, client, server, io);
    }
}
