//! A server connection after its login: what it has (settings, statements, transaction), and, while lent, what it owes.
//!
//! ```text
//!            lend                    settings differ            SET answered
//!   (idle) ────────► Gate::Open ◄───────────────────── Gate::Setup
//!      ▲                │  │ ▲ └──── compare ───► Gate::Describe ──┐
//!      │   released     │  │ └────────── answered ─────────────────┘
//!      │                │  └─ a name in doubt ─► Gate::Settle ─ nothing outstanding: Open
//!      ├────────────────┘  └─ many Syncs, others wait ─► Gate::Draining ─ idle: released, in transaction: Open
//!      └────────────────────── Gate::Farewell ◄── client gone
//! ```
//! While the gate is not open nothing of the client is forwarded. Invariant: a connection is released only at a
//! ReadyForQuery `I` with nothing outstanding in either direction.

use std::fmt;
use std::sync::Arc;

use poolwarden_pgwire::frame::FrameError;
use poolwarden_pgwire::make;

use crate::client::Client;
use crate::expect::{Expect, Queue};
use crate::gather::Out;
use crate::reading::Heard;
use crate::session::{Doubts, Held, Pin, Pins, SessionState, makes_temp_tables};
use crate::settings::{Defaults, Settings, transition};
use crate::spans::Spans;
use crate::statement::ServerBook;
use crate::tunnel::Tunnel;

/// How long a client keeps what it is lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Keep {
    /// Until it leaves; nothing is rewritten.
    Session,
    /// For a transaction; statements are followed.
    #[default]
    Transaction,
    /// For a statement; transaction blocks are refused.
    Statement,
    /// Until it leaves, and nobody gets it afterwards; bytes go through as they come.
    Tunnel,
}

/// The rules of a lease.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long the client keeps it.
    pub keep: Keep,
    /// Most statements kept on the server connection; 0: statements are not followed, and live as long as the lease.
    pub statements: usize,
    /// A text above this many bytes is not shared but pins.
    pub large_text: usize,
    /// What becomes of session state that no other connection can be given.
    pub state: SessionState,
    /// After so many rounds, or so many nanoseconds, a pipeline is cut at a Sync while others wait.
    pub cut: (u32, u64),
}

impl Terms {
    /// Whether the client's prepared statements are its own on whichever connection it is lent.
    #[must_use]
    pub fn follows(&self) -> bool {
        matches!(self.keep, Keep::Transaction | Keep::Statement) && self.statements > 0
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            keep: Keep::Transaction,
            statements: 200,
            large_text: 1 << 20,
            state: SessionState::Pin,
            cut: (64, 50_000_000),
        }
    }
}

/// What keeps the client's bytes from being forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Gate {
    #[default]
    Open,
    /// A query of ours changes the settings.
    Setup,
    /// PostgreSQL is asked what the transaction left behind.
    Probe,
    /// The description of a statement is being compared.
    Describe,
    /// What the client's next message means depends on what is outstanding; that is answered first.
    Settle,
    /// Others wait: what is outstanding is finished, then the connection goes back.
    Draining,
    /// The client is gone: what is outstanding is finished and rolled back.
    Farewell,
}

/// Numbers of one lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Transactions ended.
    pub transactions: u64,
    /// Rounds ended (simple queries, Syncs, function calls).
    pub queries: u64,
    /// Bytes that went to the server.
    pub to_server: u64,
    /// Bytes that went to the client.
    pub to_client: u64,
    /// Parse messages of clients.
    pub client_parses: u64,
    /// Parse messages that reached the server.
    pub server_parses: u64,
    /// Bind messages.
    pub binds: u64,
}

/// What happened to session state, by [`Pin::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Times a connection began to stay with its client.
    pub pinned: [u64; Pin::ALL.len()],
    /// Requests refused.
    pub refused: [u64; Pin::ALL.len()],
}

impl Tally {
    /// Adds another's numbers.
    pub fn add(&mut self, other: &Self) {
        for at in 0..Pin::ALL.len() {
            self.pinned[at] += other.pinned[at];
            self.refused[at] += other.refused[at];
        }
    }
}

/// How a lease went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseEnd {
    /// From grant to release, nanoseconds.
    pub held: u64,
    /// Of that, with something outstanding.
    pub on_server: u64,
    /// Of that, in a transaction with nothing outstanding.
    pub idle_in_transaction: u64,
    /// Its numbers.
    pub counts: Counts,
}

/// Whose fault it is that a lease cannot go on, and what may be told.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client said Terminate.
    Leaves,
    /// The client broke the protocol.
    Client(String),
    /// The server broke the protocol, or its replies do not fit what was asked.
    Server(String),
    /// The client opened a transaction block in statement mode.
    Block,
}

impl Fault {
    pub(crate) fn unknown_message(tag: u8) -> Self {
        Self::Client(format!("invalid frontend message type {tag}"))
    }
}

impl From<FrameError> for Fault {
    fn from(error: FrameError) -> Self {
        Self::Client(error.to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaves => f.write_str("the client left"),
            Self::Client(what) | Self::Server(what) => f.write_str(what),
            Self::Block => f.write_str("transaction blocks are not allowed in statement mode"),
        }
    }
}

/// One server connection after its login.
#[derive(Debug)]
pub struct Server {
    /// PostgreSQL's process, where it said so.
    pub pid: Option<u32>,
    /// What a cancel request must name besides.
    pub secret: Vec<u8>,
    /// Input nobody has taken yet: an incomplete message that must be seen whole.
    pub pending: Vec<u8>,
    /// Whether other clients wait for this pool; set by whoever calls, before it hands over input.
    pub others_wait: bool,
    pub(crate) defaults: Arc<Defaults>,
    /// Reported parameters that are followed beside [`crate::TRACKED`], lower case.
    pub(crate) track: Arc<[String]>,
    pub(crate) settings: Settings,
    /// What a query of ours is making of them.
    pub(crate) coming: Settings,
    pub(crate) book: ServerBook,
    pub(crate) terms: Terms,
    pub(crate) queue: Queue,
    pub(crate) gate: Gate,
    /// The last transaction status: I, T or E.
    pub(crate) status: u8,
    /// What is still to come of a message from the server, and whether the client sees it.
    pub(crate) body: (usize, bool),
    /// The server reads COPY data.
    pub(crate) copy_in: bool,
    /// The place in the queue behind which COPY's rows went out last.
    pub(crate) rows_at: u64,
    /// A Sync was held back because the server would have swallowed it in COPY.
    pub(crate) held_sync: bool,
    /// Messages of the extended protocol went out since the last Sync.
    pub(crate) unsynced: bool,
    /// A request with a ReadyForQuery of its own went out behind a batch without Sync. PostgreSQL 18 may then fail the statement
    /// after it, whoever sends that.
    pub(crate) tangled: bool,
    /// An error was told and the client's Sync has not come yet.
    pub(crate) skipping: bool,
    /// The place in the queue where the messages since the last Sync begin.
    pub(crate) segment: u64,
    /// A COPY was interrupted and nobody can tell whether it had swallowed a Sync: how many ReadyForQuery are owed is not known,
    /// and the connection ends with its client.
    pub(crate) uncertain: bool,
    /// Reasons to stay with the client: statements that live here alone.
    pub(crate) pins: u32,
    /// What the client's transactions may have left behind, and PostgreSQL has not been asked yet.
    pub(crate) doubts: Option<Box<Doubts>>,
    /// The statement that the next Execute deallocates.
    pub(crate) closing: Option<Box<[u8]>>,
    /// Reasons to stay with the client: session state that is known to be here.
    pub(crate) held: Held,
    /// What happened to session state in this lease, if anything did.
    pub(crate) tally: Option<Box<Tally>>,
    /// Rounds forwarded in this lease.
    pub(crate) rounds: u32,
    /// Where the bytes of both directions stand, where they go through as they come.
    pub(crate) tunnel: Option<Box<Tunnel>>,
    /// The settings are being made with the role first.
    pub(crate) as_role: bool,
    /// Queries of ours in this lease that a cancel request met, and that were sent again.
    pub(crate) repeats: u8,
    /// The server said FATAL: its end follows.
    pub(crate) fatal: bool,
    /// The error that a query of ours met.
    pub(crate) failure: Option<Vec<u8>>,
    pub(crate) clock: Clock,
    pub(crate) counts: Counts,
    pub(crate) spans: Spans,
    /// The statements of this lease.
    pub(crate) heard: Heard,
}

/// Where a lease's time goes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    pub(crate) granted: u64,
    /// The time of the last call.
    pub(crate) since: u64,
    on_server: u64,
    idle_in_transaction: u64,
    /// When the first of what is outstanding went out, or the last answer came.
    pub(crate) turned: u64,
    /// When the transaction that is open, or was last, began.
    pub(crate) began: u64,
}

impl Server {
    /// A connection that has just logged in: its process, its secret, what it reported, what it was asked to start with.
    #[must_use]
    pub fn new(pid: Option<u32>, secret: Vec<u8>, defaults: Arc<Defaults>) -> Self {
        Self {
            pid,
            secret,
            pending: Vec::new(),
            others_wait: false,
            defaults,
            track: Arc::default(),
            settings: Settings::default(),
            coming: Settings::default(),
            book: ServerBook::default(),
            terms: Terms::default(),
            queue: Queue::default(),
            gate: Gate::Open,
            status: b'I',
            body: (0, false),
            copy_in: false,
            rows_at: 0,
            held_sync: false,
            unsynced: false,
            tangled: false,
            skipping: false,
            segment: 0,
            uncertain: false,
            pins: 0,
            doubts: None,
            closing: None,
            held: Held::default(),
            tally: None,
            rounds: 0,
            tunnel: None,
            as_role: false,
            repeats: 0,
            fatal: false,
            failure: None,
            clock: Clock::default(),
            counts: Counts::default(),
            spans: Spans::default(),
            heard: Heard::default(),
        }
    }

    /// The same, following these reported parameters (lower case) as well.
    #[must_use]
    pub fn tracking(mut self, track: Arc<[String]>) -> Self {
        self.track = track;
        self
    }

    /// The hash of the session settings it has.
    #[must_use]
    pub fn flavor(&self) -> u64 {
        self.settings.flavor()
    }

    /// What it reported at login.
    #[must_use]
    pub fn defaults(&self) -> &Arc<Defaults> {
        &self.defaults
    }

    /// The settings it has.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many statements it holds.
    #[must_use]
    pub fn statements(&self) -> usize {
        self.book.named.len()
    }

    /// Whether something is outstanding on it.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.queue.is_empty() || self.tunnel.as_ref().is_some_and(|tunnel| tunnel.runs())
    }

    /// Whether nobody else may be lent it, however clean it seems.
    #[must_use]
    pub fn is_tangled(&self) -> bool {
        self.tangled
    }

    /// Whether something of the client's (not of ours) is outstanding on it.
    #[must_use]
    pub fn runs_client_query(&self) -> bool {
        self.queue.front().is_some_and(|entry| !entry.is_own())
            || self.tunnel.as_ref().is_some_and(|tunnel| tunnel.runs())
    }

    /// Whether a stream flows on it that does not end by itself.
    #[must_use]
    pub fn streams(&self) -> bool {
        self.tunnel.as_ref().is_some_and(|tunnel| tunnel.streams())
    }

    /// Whether a transaction is open on it.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.status != b'I'
    }

    /// Whether the server announced its end, and the client has been told.
    #[must_use]
    pub fn said_fatal(&self) -> bool {
        self.fatal || self.tunnel.as_ref().is_some_and(|tunnel| tunnel.said_fatal())
    }

    /// Whether the client has been sent a part of a message and waits for the rest: nothing else can be told it.
    #[must_use]
    pub fn is_amid_reply(&self) -> bool {
        self.body.0 > 0 && self.body.1
    }

    /// Whether nothing of the client's has gone out in this lease.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.counts.to_server == 0 && self.queue.is_empty()
    }

    /// How long the client of this lease keeps it.
    #[must_use]
    pub fn keep(&self) -> Keep {
        self.terms.keep
    }

    /// Whether the client's input is being forwarded now.
    #[must_use]
    pub fn takes_input(&self) -> bool {
        self.gate == Gate::Open
    }

    /// Lends it to `client` at `now`. If their settings differ, the query that mends it goes out first.
    pub fn lend(&mut self, now: u64, terms: Terms, client: &mut Client, out: &mut Out) {
        self.terms = terms;
        self.gate = Gate::Open;
        self.rounds = 0;
        self.repeats = 0;
        self.pins = 0;
        self.touch(now);
        if terms.keep == Keep::Tunnel {
            self.tunnel = Some(Box::default());
            return; // it was opened with its client's settings
        }
        if client.told.as_ref().is_some_and(|told| !Arc::ptr_eq(told, &self.defaults)) {
            self.tell_defaults(client, &mut out.client);
        }
        if let Some(sql) = transition(&self.settings, &client.settings, &self.defaults) {
            self.own_query(&sql, Expect::Setup, out);
            self.coming = client.settings.clone();
            self.gate = Gate::Setup;
            if makes_temp_tables(&client.settings) {
                self.pin(now, self.held.pins.and(Pins::of(Pin::TempTable)));
            }
        }
    }

    /// Begins a lease in which nothing will be sent.
    pub fn touch(&mut self, now: u64) {
        self.clock = Clock { granted: now, since: now, turned: now, began: now, ..Clock::default() };
        self.counts = Counts::default();
        self.heard.begin();
    }

    /// Runs the pool's reset query; the client is gone already.
    pub fn reset(&mut self, now: u64, sql: &str, out: &mut Out) {
        self.tick(now);
        self.own_query(sql, Expect::Reset, out);
        self.gate = Gate::Farewell;
    }

    /// Why it stays with its client beyond the transaction, and since when (nanoseconds).
    #[must_use]
    pub fn pins(&self) -> (Pins, u64) {
        let large = if self.pins > 0 && self.status == b'I' { Pins::of(Pin::Statement) } else { Pins::NONE };
        let since = if self.held.pins.is_empty() { self.clock.granted } else { self.held.since };
        (self.held.pins.and(large), since)
    }

    /// What has happened to session state since it was taken last.
    pub fn take_tally(&mut self) -> Option<Box<Tally>> {
        self.tally.take()
    }

    /// The same, while it goes on.
    #[must_use]
    pub fn tally(&self) -> Option<&Tally> {
        self.tally.as_deref()
    }

    /// How long its queries took and its transactions were idle, since it was taken last.
    #[must_use]
    pub fn spans(&self) -> &Spans {
        &self.spans
    }

    /// Takes them, so that they are counted once.
    pub fn take_spans(&mut self) -> Spans {
        std::mem::take(&mut self.spans)
    }

    /// Ends the lease: its times and numbers.
    pub fn settle(&mut self, now: u64) -> LeaseEnd {
        self.tick(now);
        self.gate = Gate::Open;
        self.queue.reset();
        self.copy_in = false;
        self.held_sync = false;
        self.unsynced = false;
        self.skipping = false;
        self.closing = None;
        LeaseEnd {
            held: now.saturating_sub(self.clock.granted),
            on_server: self.clock.on_server,
            idle_in_transaction: self.clock.idle_in_transaction,
            counts: self.counts,
        }
    }

    /// Brings the lease's times up to `now`, by what was the case until then.
    pub(crate) fn tick(&mut self, now: u64) {
        let span = now.saturating_sub(self.clock.since);
        self.clock.since = now;
        if !self.queue.is_empty() {
            self.clock.on_server += span;
            self.heard.spend(span);
        } else if self.status != b'I' {
            self.clock.idle_in_transaction += span;
        }
    }

    /// The lease's times so far: held, on the server, idle in transaction.
    #[must_use]
    pub fn times(&self, now: u64) -> (u64, u64, u64) {
        let span = now.saturating_sub(self.clock.since);
        let busy = !self.queue.is_empty();
        let idle = !busy && self.status != b'I';
        (
            now.saturating_sub(self.clock.granted),
            self.clock.on_server + if busy { span } else { 0 },
            self.clock.idle_in_transaction + if idle { span } else { 0 },
        )
    }

    /// Whether the server waits for the client's rows.
    pub(crate) fn reads_rows(&self) -> bool {
        self.copy_in && !self.queue.has_copy_end()
    }

    /// Whether what happened at `place` may yet be skipped although the client's messages since are not: its batch is outstanding.
    pub(crate) fn is_unsure(&self, place: u64) -> bool {
        !self.reads_rows() && (self.queue.place()..self.segment).contains(&place)
    }

    /// Adds what is owed for a message that goes out.
    pub(crate) fn expect(&mut self, entry: Expect) {
        if self.queue.is_empty() {
            if self.status == b'I' {
                self.clock.began = self.clock.since;
            } else {
                self.spans.idle_in_transaction.note(self.clock.since - self.clock.turned);
            }
            self.clock.turned = self.clock.since;
        }
        self.queue.push(entry);
    }

    pub(crate) fn own_query(&mut self, sql: &str, entry: Expect, out: &mut Out) {
        self.expect(entry);
        self.drop_unnamed();
        make::query(out.server.own(&[]), sql);
    }

    /// The unnamed statement is gone; if it lived here alone, that no longer keeps the connection.
    pub(crate) fn drop_unnamed(&mut self) {
        if self.book.unnamed.take().is_some_and(|(id, _)| id == 0) {
            self.pins = self.pins.saturating_sub(1);
        }
    }

    /// Whether nothing at all is outstanding, in either direction, and the session is outside a transaction.
    #[must_use]
    pub fn is_releasable(&self) -> bool {
        self.status == b'I'
            && self.queue.is_empty()
            && !self.unsynced
            && self.pins == 0
            && self.held.pins.is_empty()
            && self.doubts.is_none()
            && self.body.0 == 0
            && !self.uncertain
    }
}
