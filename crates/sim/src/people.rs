//! The clients' turns: arriving, saying something, reading, cancelling, vanishing.

use poolwarden_switch::pool::{EndCause, LoopId, PoolKey};
use poolwarden_switch::relay::Keep;
use poolwarden_switch::relay::pgwire::make;
use poolwarden_switch::{Joining, Mail, Secret};

use crate::client::{Client, Phase};
use crate::wire::{LinkId, Outside};
use crate::world::{HOST, Happening, World};

impl Client {
    pub(crate) fn is_gone(&self) -> bool {
        self.phase == Phase::Gone
    }

    /// Whether something must happen to it.
    pub(crate) fn awaits(&self) -> bool {
        matches!(self.phase, Phase::Joining | Phase::Awaiting)
    }
}

impl World {
    /// A client has logged in at the lane, and joins a loop.
    pub(crate) fn arrives(&mut self, id: u32) {
        let mut random = self.random.fork();
        let place = self.clients.len();
        let link = self.wires.make(Outside::Client(place), self.plan.room);
        let database = self.plan.databases[random.place(self.plan.databases.len())].clone();
        let key = PoolKey { database: database.name.into(), user: format!("u{}", random.below(2)) };
        let name = if random.once_in(2) { String::new() } else { format!("n{}", random.below(4)) };
        let settings = if name.is_empty() { vec![] } else { vec![("application_name".into(), name.clone())] };
        let alone = database.keep != Keep::Statement && random.once_in(15);
        let (settings, alone) = if alone { (Vec::new(), Some(settings)) } else { (settings, None) };
        let keep = if alone.is_some() { Keep::Session } else { database.keep };
        let mut client = Client::new(id, link, keep, name, random);
        client.alone = alone.is_some();
        client.left = u32::try_from(client.random.between(1, 25)).unwrap_or(1); // at most 25
        client.holds = self.plan.holds;
        client.pipelines = self.plan.pipelines;
        client.thinks = [0, 1000, 100_000][client.random.place(3)];
        client.slow = client.random.once_in(6);
        client.since = self.now;
        let leftover = if client.random.once_in(8) { self.says_early(&mut client) } else { Vec::new() };
        let mut secret = [0; 32];
        secret.chunks_mut(8).for_each(|part| part.copy_from_slice(&client.random.bits().to_le_bytes()));
        let joining = Joining {
            host: HOST,
            key,
            user: None,
            deadline: self.plan.deadline_of(id),
            settings,
            alone,
            leftover,
            secret: Secret::new(secret, if client.random.once_in(2) { 2 } else { 0 }, None),
            serial: self.shared.serial(),
            connected_at: self.now.as_nanos(),
            remote: None,
            local: None,
            tls: None,
        };
        let to = client.random.place(self.loops.len());
        self.tell(|| format!("c{id} joins {} on loop {to}", joining.key.database));
        if client.random.once_in(30) {
            let at = self.now + client.random.micros(200_000);
            self.agenda.put(at, Happening::Vanishes(place));
        }
        self.clients.push(client);
        self.wires.outside.push(link);
        self.post(LoopId(u16::try_from(to).unwrap_or(0)), Mail::Join(Box::new(joining), link)); // at most 4 loops
    }

    /// Some of what it wants to say came behind its login.
    fn says_early(&mut self, client: &mut Client) -> Vec<u8> {
        let exchange = client.exchange();
        client.rounds.extend(exchange.rounds);
        client.outbox = exchange.bytes;
        let early = client.random.place(client.outbox.len() + 1);
        client.outbox.drain(..early).collect()
    }

    /// It says the next thing, or goodbye.
    pub(crate) fn goes(&mut self, place: usize) {
        let (now, mischief) = (self.now, self.plan.mischief);
        let client = &mut self.clients[place];
        if client.phase != Phase::Thinking {
            return;
        }
        if client.left == 0 && client.status == b'I' {
            return self.leaves(place);
        }
        client.left = client.left.saturating_sub(1);
        let exchange = client.exchange();
        client.rounds.extend(exchange.rounds);
        client.outbox.extend_from_slice(&exchange.bytes);
        client.phase = Phase::Awaiting;
        client.since = now;
        let usual = (client.holds * 3 + self.plan.lag).min(1_000_000);
        if mischief > 0 && client.random.once_in(mischief) {
            let at = now + client.random.micros(usual);
            let deed = match client.random.below(4) {
                0 if client.random.once_in(2) => {
                    client.stares(self.plan.long);
                    Happening::Vanishes(place)
                }
                0 => Happening::Vanishes(place),
                1 => Happening::Cancels { client: place, right: false },
                _ => Happening::Cancels { client: place, right: true },
            };
            self.agenda.put(at, deed);
        }
        let (id, first) = (client.id, client.rounds.front().map(|round| format!("{round:?}")).unwrap_or_default());
        let many = client.rounds.len();
        self.tell(|| format!("c{id} says {many} rounds, first {first}"));
        self.client_sends(place);
    }

    fn leaves(&mut self, place: usize) {
        let id = self.clients[place].id;
        self.tell(|| format!("c{id} says goodbye"));
        let mut goodbye = Vec::new();
        if self.clients[place].random.once_in(3) {
            return self.vanishes(place);
        }
        make::terminate(&mut goodbye);
        let client = &mut self.clients[place];
        client.phase = Phase::Gone;
        let link = client.link;
        self.wires.outside_send(link, &goodbye);
        self.wires.outside_close(link, EndCause::Eof);
    }

    fn client_sends(&mut self, place: usize) {
        let client = &mut self.clients[place];
        let all = client.outbox.len();
        let some = if self.plan.pipelines { client.labels.place(all + 1) } else { all };
        let sent = self.wires.outside_send(client.link, &client.outbox[..some]);
        client.outbox.drain(..sent);
        if some < all {
            self.wires.outside.push(client.link); // the rest goes out a little later
        }
    }

    pub(crate) fn client_looks(&mut self, place: usize, link: LinkId) {
        let (now, excuses) = (self.now, self.excuses);
        let client = &mut self.clients[place];
        if client.is_gone() {
            return;
        }
        self.client_sends(place);
        let client = &mut self.clients[place];
        let (bytes, closed) = self.wires.outside_has(link);
        let most = if client.slow { bytes.min(1 + client.random.place(100)) } else { bytes };
        let taken = self.wires.outside_take(link, most);
        let id = client.id;
        if !taken.is_empty() {
            self.tell(|| format!("  c{id} reads {}", taken.escape_ascii()));
        }
        let client = &mut self.clients[place];
        let was_thinking = client.phase == Phase::Thinking;
        if !taken.is_empty()
            && let Err(what) = client.receive(now, &taken, excuses)
        {
            return self.breaches.push(what);
        }
        if client.phase == Phase::Thinking && !was_thinking {
            let at = now + client.think();
            self.agenda.put(at, Happening::Goes(place));
        }
        if taken.len() < bytes {
            self.wires.outside.push(link);
        } else if closed {
            let lost = self.wires.at(link).lost;
            let client = &mut self.clients[place];
            let id = client.id;
            let said = client.hung_up(lost, excuses);
            self.wires.outside_close(link, EndCause::Eof);
            self.breaches.extend(said.err());
            self.tell(|| format!("c{id} was sent away"));
        }
        if !self.clients[place].is_gone() {
            self.client_sends(place);
        }
    }

    pub(crate) fn vanishes(&mut self, place: usize) {
        let client = &mut self.clients[place];
        if client.is_gone() {
            return;
        }
        client.phase = Phase::Gone;
        let (id, link) = (client.id, client.link);
        let cause = if client.random.once_in(2) { EndCause::Eof } else { EndCause::Failed };
        self.tell(|| format!("c{id} vanishes"));
        self.wires.outside_close(link, cause);
    }

    /// A cancel request with the client's key, or with a made-up one.
    pub(crate) fn cancels(&mut self, place: usize, right: bool) {
        let client = &mut self.clients[place];
        let Some((pid, mut secret)) = client.key.clone() else { return };
        let pid = match client.random.below(3) {
            _ if right => pid,
            0 => {
                let at = client.random.place(secret.len());
                secret[at] ^= 1;
                pid
            }
            1 => pid ^ 1,
            _ => pid.wrapping_add(1 << 24),
        };
        client.cancels |= right;
        let id = client.id;
        self.tell(|| format!("c{id} cancels, right key: {right}"));
        if let Some((secret, _)) = Secret::read(&secret) {
            self.shared.cancel(pid, secret, None, &mut self.desk);
        }
    }
}
