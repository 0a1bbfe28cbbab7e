//! What must hold while the world turns, and at its end.

use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_switch::pool::Time;
use poolwarden_switch::{ClientState, Detail, ServerState};

use crate::client::Client;
use crate::world::{HOST, Happening, World};

/// How long a class lets its requests wait at most.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long nothing may happen to somebody who waits.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much later than its deadline a request may be refused.
const LATE: Duration = Duration::from_secs(3);
/// How long the world goes on after the last client, so that every ghost is given up.
const AFTERMATH: Duration = Duration::from_secs(100);
/// No run is longer.
const MOST: Duration = Duration::from_secs(900);

impl World {
    /// No server connection may take longer to become clean than the rules say.
    fn watch_cleaning(&mut self) {
        let now = self.now;
        let rows = self.loops.iter().flat_map(|one| one.switch.report(now, Detail::Servers).servers);
        let cleaning = rows.filter(|row| row.state == ServerState::Cleaning).map(|row| row.serial);
        let since: BTreeMap<u64, Time> =
            cleaning.map(|serial| (serial, self.cleaning.get(&serial).copied().unwrap_or(now))).collect();
        let most = self.plan.rules.farewell + LATE;
        if let Some((serial, since)) = since.iter().find(|(_, since)| now.since(**since) > most) {
            self.breaches.push(format!("server connection {serial} is becoming clean since {since:?}"));
        }
        self.cleaning = since;
    }

    /// Looks whether everybody is getting on, and whether it is over.
    pub(crate) fn patrol(&mut self) {
        let now = self.now;
        if let Some(client) = self.clients.iter().find(|client| client.awaits() && now.since(client.since) > PATIENCE) {
            self.breaches.push(format!(
                "c{} waits for ever ({:?}), for {:?}",
                client.id,
                client.phase,
                client.rounds.front()
            ));
        }
        if let Some(snapshot) = self.shared.snapshot(now, HOST) {
            let waiting: u32 = snapshot.pools.iter().map(|pool| pool.waiting).sum();
            self.watch_cleaning();
            let clients = self.loops.iter().flat_map(|one| one.switch.report(now, Detail::Everything).clients);
            let waiters = clients.filter(|row| row.state == ClientState::Waiting).count();
            if waiting as usize > waiters {
                self.breaches.push(format!("{waiting} requests wait in the core, {waiters} clients in the loops"));
            }
            for pool in snapshot.pools {
                let most = self.plan.settings.databases.get(&pool.key.database);
                let most = most
                    .map_or(PATIENCE, |most| most.max_wait.max(LONGEST_WAIT) + most.pause_wait + most.down_wait + LATE);
                if pool.oldest_wait > most {
                    self.breaches.push(format!("{:?}: a request has waited {:?}", pool.key, pool.oldest_wait));
                }
            }
        }
        let come = self.clients.len() == self.plan.clients as usize;
        if come && self.quiet_since.is_none() && self.clients.iter().all(Client::is_gone) {
            self.quiet_since = Some(now);
            self.calm();
        }
        let over = self.quiet_since.is_some_and(|since| now.since(since) > AFTERMATH);
        if over {
            self.judge_end();
        }
        self.stopped = over;
        if now.since(Time::ZERO) > MOST {
            self.breaches.push("it takes no end".into());
        }
        let step = if self.quiet_since.is_some() { 10 } else { 1 };
        self.agenda.put(now + Duration::from_secs(step), Happening::Patrol);
    }

    /// All clients are gone, and every ghost had its time: nothing may be left over.
    pub(crate) fn judge_end(&mut self) {
        let Some(snapshot) = self.shared.snapshot(self.now, HOST) else { return };
        let mut idle = 0;
        let mut wrong = Vec::new();
        for pool in &snapshot.pools {
            let slots = pool.slots;
            idle += slots.idle + slots.opening;
            if slots.counted() != slots.idle + slots.opening || pool.waiting > 0 || pool.clients > 0 {
                let (waiting, clients) = (pool.waiting, pool.clients);
                wrong.push(format!("{:?} ends with {slots:?}, {waiting} waiting, {clients} clients", pool.key));
            }
        }
        let mut servers = 0;
        for (at, one) in self.loops.iter().enumerate() {
            let report = one.switch.report(self.now, Detail::Servers);
            servers += report.counts.1;
            if report.counts.0 > 0 {
                wrong.push(format!("loop {at} ends with {} clients, {} bytes of texts", report.counts.0, report.texts));
            }
            wrong.extend(
                report
                    .servers
                    .iter()
                    .filter(|row| row.fenced || row.lease.is_some())
                    .map(|row| format!("loop {at} ends with {row:?}")),
            );
            if one.places.len() != report.counts.1 {
                wrong.push(format!(
                    "loop {at} ends with {} connections for {} servers",
                    one.places.len(),
                    report.counts.1
                ));
            }
        }
        let moving = snapshot.pools.iter().map(|pool| pool.slots.opening).sum::<u32>();
        if !(idle - moving..=idle).contains(&u32::try_from(servers).unwrap_or(u32::MAX)) {
            wrong.push(format!("{servers} server connections in the loops, {idle} in the core"));
        }
        self.breaches.append(&mut wrong);
    }
}
