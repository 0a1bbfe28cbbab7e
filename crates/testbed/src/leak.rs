//! A hunt for leaks: many clients set session state in every way there is, and each looks whether it ever meets another's.
//!
//! Every client has a number, and all it sets bears that number: `search_path`, role, time zone, and the row-security variable
//! `app.tenant` that a policy of the table `docs` reads. Between its settings it checks; it also rolls back, leaves in
//! mid-transaction without a word, and has its server connection killed. A value that bears another number is a leak.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::bed::{self, Bed};
use crate::say::Say;
use crate::wire::{Address, Fault, Wire};

/// How a hunt is held.
#[derive(Debug, Clone, Copy)]
pub struct Hunt {
    /// Clients at once.
    pub clients: u32,
    /// How long.
    pub span: Duration,
    /// Whether state is also set inside functions, where nobody between client and server can see it. It then holds until the
    /// transaction ends at least, and is not expected to outlive it.
    pub functions: bool,
    /// A server connection is killed this often.
    pub kill_every: Duration,
}

/// What a hunt met.
#[derive(Debug, Default)]
pub struct Found {
    /// Checks made.
    pub checks: u64,
    /// Sessions opened.
    pub sessions: u64,
    /// Transactions left without a word.
    pub left: u64,
    /// Transactions rolled back.
    pub rolled_back: u64,
    /// Server connections killed.
    pub killed: u64,
    /// Sessions that ended otherwise (their server connection was killed, mostly).
    pub ended: u64,
    /// Values that were another client's, or not what the client itself had set: the first few in words.
    pub leaks: Vec<String>,
}

#[derive(Debug, Default)]
struct Counts {
    checks: AtomicU64,
    sessions: AtomicU64,
    left: AtomicU64,
    rolled_back: AtomicU64,
    ended: AtomicU64,
}

/// Leaks kept in words; one is enough to fail.
const MOST_WORDS: usize = 20;

/// Makes the roles, the table with its policy and the functions that the hunt uses.
pub fn prepare(bed: &Bed, clients: u32) {
    let roles: String = (0..clients).map(|n| format!("create role r{n}; grant r{n} to app; ")).collect();
    bed.postgres.sql(&format!("do $$ begin end $$; {roles}"));
    let mut owner = bed.postgres.direct("app");
    owner
        .query(&format!(
            "create table docs (tenant text); \
             insert into docs select n::text from generate_series(0, {}) n; \
             alter table docs enable row level security; \
             create policy own on docs using (tenant = current_setting('app.tenant', true)); \
             grant select on docs to public; \
             create function become(n text) returns void language plpgsql as $f$ begin \
               perform set_config('app.tenant', n, false); \
               perform set_config('search_path', 's' || n || ', public', false); \
               execute format('set timezone to %L', '<c' || n || '>+3'); \
             end $f$; \
             create function become_role(n text) returns void language plpgsql as $f$ begin \
               execute format('set role %I', 'r' || n); end $f$",
            clients - 1
        ))
        .unwrap_or_else(|fault| panic!("prepare the hunt: {fault}"));
}

/// Hunts, and says what was met.
#[must_use]
pub fn hunt(bed: &Bed, hunt: Hunt) -> Found {
    let (stop, counts, leaks) = (AtomicBool::new(false), Counts::default(), Mutex::new(Vec::new()));
    let address = bed.address();
    let mut killed = 0;
    thread::scope(|scope| {
        for number in 0..hunt.clients {
            let (stop, counts, leaks, address) = (&stop, &counts, &leaks, &address);
            scope.spawn(move || {
                let mut client = Client { number, random: Random::new(u64::from(number)), hunt, counts, address };
                while !stop.load(Ordering::Acquire) {
                    if let Err(leak) = client.session(stop) {
                        let mut leaks = leaks.lock().expect("no client panicked");
                        if leaks.len() < MOST_WORDS {
                            leaks.push(leak);
                        }
                    }
                }
            });
        }
        let until = Instant::now() + hunt.span;
        while Instant::now() < until {
            thread::sleep(hunt.kill_every); // the hunt's own pace, not a wait for anything
            let answer = bed.postgres.sql(
                "select count(pg_terminate_backend(pid)) from (select pid from pg_stat_activity \
                 where usename = 'app' order by random() limit 1) one",
            );
            killed += answer.value().parse::<u64>().unwrap_or_default();
        }
        stop.store(true, Ordering::Release);
    });
    let count = |counter: &AtomicU64| counter.load(Ordering::Acquire);
    Found {
        checks: count(&counts.checks),
        sessions: count(&counts.sessions),
        left: count(&counts.left),
        rolled_back: count(&counts.rolled_back),
        killed,
        ended: count(&counts.ended),
        leaks: leaks.into_inner().expect("no client panicked"),
    }
}

/// What a client expects to find.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expects {
    /// What it has set.
    Own,
    /// The server's defaults.
    Nothing,
    /// The server's defaults, but for the time zone: PostgreSQL reports every change of that, so it follows its client like any
    /// setting in sight.
    NothingUnseen,
}

struct Client<'a> {
    number: u32,
    random: Random,
    hunt: Hunt,
    counts: &'a Counts,
    address: &'a Address,
}

/// How a session ended early.
enum End {
    Fault,
    Leak(String),
}

impl From<Fault> for End {
    fn from(_: Fault) -> End {
        End::Fault
    }
}

impl Client<'_> {
    /// One session; a leak in words.
    fn session(&mut self, stop: &AtomicBool) -> Result<(), String> {
        let Ok(mut wire) = Wire::connect(self.address, &bed::login()) else {
            thread::sleep(Duration::from_millis(20)); // a refused login; no faster than a person
            return Ok(());
        };
        self.counts.sessions.fetch_add(1, Ordering::AcqRel);
        match self.live(&mut wire, stop) {
            Ok(()) => Ok(()),
            Err(End::Fault) => {
                self.counts.ended.fetch_add(1, Ordering::AcqRel);
                Ok(())
            }
            Err(End::Leak(leak)) => Err(leak),
        }
    }

    fn live(&mut self, wire: &mut Wire, stop: &AtomicBool) -> Result<(), End> {
        self.check(wire, Expects::Nothing)?; // a new session finds nobody's
        while !stop.load(Ordering::Acquire) {
            if self.hunt.functions && self.random.below(2) == 0 {
                self.set_inside_functions(wire)?;
            } else {
                self.set_in_sight(wire)?;
                for _ in 0..self.random.below(4) {
                    self.check(wire, Expects::Own)?;
                }
                self.roll_back(wire)?;
                self.check(wire, Expects::Own)?;
                self.forget(wire)?;
                self.check(wire, Expects::Nothing)?;
            }
            if self.random.below(8) == 0 {
                return self.leave(wire);
            }
        }
        Ok(())
    }

    /// Sets everything, each in one of the ways a driver or a person may.
    fn set_in_sight(&mut self, wire: &mut Wire) -> Result<(), End> {
        let n = self.number;
        match self.random.below(4) {
            0 => drop(wire.query(&format!(
                "set search_path to s{n}, public; set timezone to '<c{n}>+3'; set app.tenant to '{n}'; set role r{n}"
            ))?),
            1 => {
                for sql in [
                    format!("select set_config('search_path', 's{n}, public', false)"),
                    format!("set session time zone '<c{n}>+3'"),
                    format!("SELECT pg_catalog.set_config('app.tenant','{n}', 'f')"),
                    format!("set session role r{n}"),
                ] {
                    wire.query(&sql)?;
                }
            }
            2 => {
                for (sql, value) in [
                    ("select set_config('search_path', $1, false)", format!("s{n}, public")),
                    ("select set_config('timezone', $1, false)", format!("<c{n}>+3")),
                    ("select set_config('app.tenant', $1, false)", n.to_string()),
                    ("select set_config('role', $1, false)", format!("r{n}")),
                ] {
                    let say = Say::new().parse("", sql).bind("", "", &[&value]).describe('P', "").execute("", 0).sync();
                    wire.send(&say.bytes)?;
                    self.accepted(wire)?;
                }
            }
            _ => {
                wire.query("begin")?;
                wire.query(&format!("/* first */ SET app.tenant = '{n}'; set local timezone to 'UTC'"))?;
                wire.query(&format!("set role r{n}; savepoint one; set search_path to nobody"))?;
                wire.query("rollback to one")?;
                wire.query(&format!("set search_path = s{n}, public; set timezone = '<c{n}>+3'"))?;
                wire.query("commit")?;
            }
        }
        Ok(())
    }

    /// Values that must not survive.
    fn roll_back(&mut self, wire: &mut Wire) -> Result<(), End> {
        let n = self.number;
        wire.query("begin")?;
        wire.query(&format!("set app.tenant = 'rolled{n}'; set search_path to rolled{n}; set timezone to '<x{n}>+4'"))?;
        wire.query("reset role")?;
        wire.query("rollback")?;
        self.counts.rolled_back.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Takes everything back.
    fn forget(&mut self, wire: &mut Wire) -> Result<(), End> {
        let way = self.random.below(3);
        match way {
            0 => drop(wire.query("reset all; reset role")?),
            1 => drop(wire.query("reset app.tenant; reset search_path; reset timezone; set role none")?),
            _ => drop(wire.query("discard all")?),
        }
        Ok(())
    }

    /// Sets everything where nobody sees it, and looks within the same transaction.
    fn set_inside_functions(&mut self, wire: &mut Wire) -> Result<(), End> {
        let n = self.number;
        wire.query("begin")?;
        wire.query(&format!("select become('{n}'), become_role('{n}')"))?;
        self.check(wire, Expects::Own)?;
        wire.query("commit")?;
        self.check(wire, Expects::NothingUnseen)?;
        drop(wire.query("reset timezone")?);
        self.check(wire, Expects::Nothing)
    }

    /// Goes in mid-transaction, without a word.
    fn leave(&mut self, wire: &mut Wire) -> Result<(), End> {
        let n = self.number;
        wire.query("begin")?;
        wire.query(&format!("set app.tenant = 'left{n}'; set role r{n}; set search_path = left{n}"))?;
        if self.random.below(2) == 0 {
            wire.send(&Say::new().query("select pg_sleep(1)").bytes)?;
        }
        self.counts.left.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Looks at everything there is to see.
    fn check(&mut self, wire: &mut Wire, expects: Expects) -> Result<(), End> {
        let answer = wire.query(
            "select concat_ws('|', current_setting('search_path'), current_user, current_setting('timezone'), \
             coalesce(current_setting('app.tenant', true), ''), (select string_agg(tenant, ',') from docs))",
        )?;
        self.counts.checks.fetch_add(1, Ordering::AcqRel);
        let (got, n) = (answer.value(), self.number);
        let own = format!("s{n}, public|r{n}|<c{n}>+3|{n}|{n}");
        let fits = match expects {
            Expects::Own => got.eq_ignore_ascii_case(&own),
            Expects::Nothing => {
                let parts: Vec<&str> = got.split('|').collect();
                matches!(parts[..], ["\"$user\", public", "app", zone, ""] if !zone.contains('<'))
            }
            Expects::NothingUnseen => {
                let parts: Vec<&str> = got.split('|').collect();
                let own_zone = format!("<c{n}>+3");
                matches!(parts[..], ["\"$user\", public", "app", zone, ""]
                    if !zone.contains('<') || zone.eq_ignore_ascii_case(&own_zone))
            }
        };
        if fits {
            return Ok(());
        }
        let expected = if expects == Expects::Own { own } else { "the defaults".to_string() };
        Err(End::Leak(format!("client {n} met {got}, expected {expected}")))
    }

    /// Reads up to ReadyForQuery; an error ends the session.
    fn accepted(&mut self, wire: &mut Wire) -> Result<(), End> {
        let messages = wire.readies(1)?;
        if messages.iter().any(|(tag, _)| *tag == b'E') { Err(End::Fault) } else { Ok(()) }
    }
}

/// xorshift64*: each client its own, the same in every hunt.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % most
    }
}
