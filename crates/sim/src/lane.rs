//! Beside the loops: connects, cancel requests, what the watch connection reads. And PostgreSQL's own turns.

use std::sync::Arc;
use std::time::Duration;

use poolwarden_switch::pool::{ConnId, ConnectFailure, EndCause, Failure, Input, Limit, LoopId, PoolId, ServerFacts};
use poolwarden_switch::relay::{Defaults, Keep, Server};
use poolwarden_switch::{Errand, Mail, Newcomer};

use crate::backend::NAME;
use crate::wire::{LinkId, Outside};
use crate::world::{HOST, Happening, World};

/// How a connect will go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Luck {
    Good,
    Down,
    TimesOut,
    WrongPassword,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Connect {
    conn: ConnId,
    pool: PoolId,
    near: LoopId,
    luck: Luck,
}

/// How long a cancel request may hang before its connection is given up.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

impl World {
    pub(crate) fn run_errands(&mut self) {
        for errand in self.shared.errands() {
            match errand {
                Errand::Open { conn, pool, near, .. } => self.begin_connect(conn, pool, near),
                Errand::Cancel { conn, pid, secret, from, .. } => self.send_cancel(conn, pid, secret, from),
            }
        }
    }

    fn begin_connect(&mut self, conn: ConnId, pool: PoolId, near: LoopId) {
        let bad = self.plan.bad_connects > 0 && self.random.once_in(self.plan.bad_connects);
        let luck = match self.random.below(6) {
            _ if !bad => Luck::Good,
            0 => Luck::TimesOut,
            1 => Luck::WrongPassword,
            _ => Luck::Down,
        };
        let takes = match luck {
            Luck::TimesOut => self.plan.settings.connect_timeout,
            Luck::Good | Luck::Down | Luck::WrongPassword => self.random.micros(self.plan.connect),
        };
        self.agenda.put(self.now + takes, Happening::Connected(Box::new(Connect { conn, pool, near, luck })));
    }

    pub(crate) fn connected(&mut self, connect: Connect) {
        let full = self.postgres.processes.len() >= self.postgres.max_connections;
        let failure = match connect.luck {
            Luck::TimesOut => Some((Failure::Down, b"08001", "timed out")),
            _ if self.postgres.down_until > self.now => Some((Failure::Down, b"08001", "connection refused")),
            Luck::Down => Some((Failure::Down, b"08006", "connection reset")),
            Luck::WrongPassword => Some((Failure::Password { configured: false }, b"28P01", "password wrong")),
            Luck::Good if full => Some((Failure::Capacity(Limit::PgSlots), b"53300", "too many clients already")),
            Luck::Good => None,
        };
        if let Some((kind, sqlstate, message)) = failure {
            self.tell(|| format!("lane: {:?} failed: {message}", connect.conn));
            let failure = ConnectFailure { kind, sqlstate: *sqlstate, message: message.into() };
            let (now, input) = (self.now, Input::Opened(connect.conn, Err(failure)));
            self.shared.drive(now, HOST, input, &mut self.desk);
            return;
        }
        let Some(pool) = self.shared.pool(HOST, connect.pool) else {
            return self.breaches.push(format!("{:?} was opened for a pool that is not there", connect.conn));
        };
        let pid = self.postgres.next_pid();
        let link = self.wires.make(Outside::Backend(pid), self.plan.room);
        let secret = self.random.bits() as u32;
        let terms = pool.terms();
        let sessions = matches!(terms.keep, Keep::Session | Keep::Tunnel);
        let name =
            terms.startup.iter().find(|(name, _)| name == NAME).map(|(_, value)| value.clone()).unwrap_or_default();
        self.postgres.start(secret, link, sessions, name.clone());
        if self.postgres.processes.len() > self.plan.budget as usize {
            let most = self.plan.budget;
            self.breaches.push(format!("{} backends where {most} may be", self.postgres.processes.len()));
        }
        let defaults = pool.learn(Defaults::new(&[(NAME.into(), name), ("TimeZone".into(), "UTC".into())]));
        self.tell(|| {
            format!("lane: {:?} is backend {pid} of {}, for loop {}", connect.conn, pool.key.database, connect.near.0)
        });
        let newcomer = Newcomer {
            host: HOST,
            conn: connect.conn,
            server: Server::new(Some(pid), secret.to_be_bytes().to_vec(), Arc::clone(&defaults)),
            pool,
            opened_at: self.now.as_nanos(),
            serial: self.shared.serial(),
            remote: None,
            local: None,
            tls: None,
            link,
        };
        self.post(connect.near, Mail::Opened(Box::new(newcomer)));
    }

    /// A cancel request meets its backend some time before its socket ends; one that hangs may do so long after it was given up, or never.
    fn send_cancel(&mut self, conn: ConnId, pid: u32, secret: Vec<u8>, from: LoopId) {
        self.tell(|| format!("lane: cancel request for backend {pid} ({conn:?})"));
        self.post(from, Mail::Cancelling(HOST, conn));
        let meets = self.soon();
        if self.random.once_in(10) {
            if self.random.once_in(2) {
                let late = self.now + CANCEL_TIMEOUT + self.random.micros(self.plan.long / 2);
                self.agenda.put(late, Happening::CancelMeets { pid, secret });
            }
            self.agenda.put(self.now + CANCEL_TIMEOUT, Happening::CancelEnds { from, conn, ended: false });
            return;
        }
        self.agenda.put(meets, Happening::CancelMeets { pid, secret });
        let ends = meets + self.random.micros(self.plan.lag * 3);
        self.agenda.put(ends, Happening::CancelEnds { from, conn, ended: true });
    }

    pub(crate) fn cancel_meets(&mut self, pid: u32, secret: &[u8]) {
        let Some(process) = self.postgres.processes.get_mut(&pid) else { return };
        if process.backend.secret.to_be_bytes() == secret {
            process.backend.cancel();
            self.works(pid);
        }
    }

    pub(crate) fn watch(&mut self) {
        if self.postgres.down_until <= self.now {
            let facts = self.postgres.facts();
            let at = self.soon();
            self.agenda.put(at, Happening::Facts(Box::new(facts)));
        }
        let next = self.now + Duration::from_secs(5) + self.random.micros(500_000);
        self.agenda.put(next, Happening::Watch);
    }

    pub(crate) fn facts(&mut self, facts: ServerFacts) {
        let now = self.now;
        self.shared.drive(now, HOST, Input::Facts(facts), &mut self.desk);
    }

    /// A backend looks at its connection: it reads what is there, works, and notices when its client is gone.
    pub(crate) fn backend_looks(&mut self, pid: u32, link: LinkId) {
        let Some(process) = self.postgres.processes.get_mut(&pid) else { return };
        let (bytes, gone) = self.wires.outside_has(link);
        let most = if self.random.once_in(3) { 1 + self.random.place(bytes.max(1)) } else { bytes };
        if process.backend.is_full() {
            return; // `works` looks again
        }
        let taken = self.wires.outside_take(link, most);
        process.backend.inbox.extend_from_slice(&taken);
        if taken.len() < bytes {
            self.wires.outside.push(link);
        } else if gone && !process.lingers {
            process.lingers = true;
            let at = self.now + self.random.micros(self.plan.lingers);
            self.agenda.put(at, Happening::Exits(pid));
        }
        self.works(pid);
    }

    pub(crate) fn works(&mut self, pid: u32) {
        let now = self.now;
        let Some(process) = self.postgres.processes.get_mut(&pid) else { return };
        process.due = process.due.filter(|due| *due > now);
        loop {
            let next = process.backend.work(now);
            let sent = self.wires.outside_send(process.link, &process.backend.outbox);
            process.backend.outbox.drain(..sent);
            if let Some(next) = next {
                if process.due.is_none_or(|due| next < due) {
                    process.due = Some(next);
                    self.agenda.put(next, Happening::Works(pid));
                }
                break;
            }
            if sent == 0 {
                break;
            }
        }
        if !process.backend.is_full() && self.wires.outside_has(process.link).0 > 0 {
            self.wires.outside.push(process.link);
        }
        self.breaches.append(&mut process.backend.complaints);
        if process.backend.ended && process.backend.outbox.is_empty() && !process.lingers {
            process.lingers = true;
            let slow = self.random.once_in(10);
            let most = if slow { self.plan.lingers } else { self.plan.lag };
            let at = now + self.random.micros(most);
            self.agenda.put(at, Happening::Exits(pid));
        }
    }

    /// A process ends, once what it runs has ended.
    pub(crate) fn exits(&mut self, pid: u32) {
        let Some(process) = self.postgres.processes.get(&pid) else { return };
        if process.backend.is_running() {
            let at = self.now + Duration::from_millis(1);
            return self.agenda.put(at, Happening::Exits(pid));
        }
        self.end_process(pid, EndCause::Eof);
    }

    /// A process is gone at once, and its connection ends like this.
    pub(crate) fn end_process(&mut self, pid: u32, cause: EndCause) {
        if let Some(process) = self.postgres.processes.remove(&pid) {
            self.tell(|| format!("postgres: backend {pid} is gone"));
            self.wires.outside_close(process.link, cause);
        }
    }
}
