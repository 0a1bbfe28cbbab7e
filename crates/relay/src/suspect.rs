//! Suspicion at work: texts are looked at on their way to the server, and at the end of a suspect transaction PostgreSQL is asked.

use std::collections::BTreeSet;

use poolwarden_pgwire::{make, read};

use crate::client::Client;
use crate::expect::Expect;
use crate::from_client::{Message, Step};
use crate::from_server::{Turn, finish_message};
use crate::gather::{Gather, Out};
use crate::probe::{self, Finding, Findings};
use crate::server::{Fault, Gate, Keep, Server};
use crate::session::{MAX_KEPT, Pin, Pins, SessionState, makes_temp_tables};
use crate::settings::{Settings, transition};
use crate::sql::{self, Dialect, Touch};
use crate::statement::{Texts, What, text_of};

/// A simple query of so many bytes is read; of a longer one everything is suspected that PostgreSQL can be asked for, and while it
/// goes through it is looked at for settings that PostgreSQL cannot be asked for.
pub(crate) const MAX_READ: usize = 1 << 20;

/// What a Query's text asks for.
pub(crate) enum Seen {
    /// Nothing of the session's, that is known: it goes as it is.
    Plain,
    /// Something.
    Touching(Box<Touch>),
    /// More of it must come first.
    TooLittle,
}

impl Server {
    /// Looks at a simple query.
    #[inline]
    pub(crate) fn look(&mut self, client: &Client, message: Message<'_>) -> Seen {
        let body = message.body();
        let whole = body.len() == message.header.body as usize;
        let text = if whole { body.split_last().map_or(body, |(_, text)| text) } else { body };
        if whole && sql::is_plain(text) {
            return Seen::Plain;
        }
        self.look_closely(client, text, whole)
    }

    /// Looks at a Parse that is forwarded as it is.
    pub(crate) fn look_at_parse(&mut self, client: &Client, message: Message<'_>) -> Seen {
        let body = message.body();
        let whole = message.whole().is_some();
        let Some((_, rest)) = read::cstr(body) else { return if whole { Seen::Plain } else { Seen::TooLittle } };
        let text = text_of(rest);
        if whole && sql::is_plain(text) { Seen::Plain } else { self.look_closely(client, text, whole) }
    }

    /// Execute of a DEALLOCATE of a statement of the client's.
    pub(crate) fn deallocation(&mut self, client: &mut Client, texts: &mut Texts) -> Expect {
        let Some(name) = self.closing.take() else { return Expect::Execute };
        let Some(closed) = client.book().named.remove_entry(&*name) else { return Expect::Execute };
        texts.refund(name.len());
        Expect::Deallocate { closed: Box::new(closed) }
    }

    #[cold]
    fn look_closely(&mut self, client: &Client, text: &[u8], whole: bool) -> Seen {
        if !whole {
            if text.len() < MAX_READ {
                return Seen::TooLittle;
            }
            self.begin_unread(text, false);
        }
        match sql::read(text, self.dialect(client)) {
            Some(touch) => Seen::Touching(touch),
            None => Seen::Plain,
        }
    }

    /// How this client writes.
    pub(crate) fn dialect(&self, client: &Client) -> Dialect {
        client.dialect_by(Some(&self.defaults))
    }

    /// A text goes to the server of which this has come, and the rest goes through as it comes.
    #[cold]
    pub(crate) fn begin_unread(&mut self, text: &[u8], ends: bool) {
        let doubts = self.doubts.get_or_insert_default();
        doubts.add_all();
        doubts.unread = Some([0; 2]);
        self.go_on_unread(text, ends);
    }

    /// More of a text that nobody reads; `ends`: that is the last of it.
    #[cold]
    pub(crate) fn go_on_unread(&mut self, bytes: &[u8], ends: bool) {
        let Some(doubts) = self.doubts.as_deref_mut() else { return };
        let Some(before) = doubts.unread else { return };
        let seam: Vec<u8> = before.iter().chain(bytes.iter().take(2)).copied().collect();
        if sql::says_set(bytes) || seam.windows(3).any(|three| three.eq_ignore_ascii_case(b"set")) {
            doubts.pins.add(Pin::Setting);
        }
        let mut last = before.iter().chain(bytes).rev().copied();
        doubts.unread = match (last.next(), last.next()) {
            (Some(end), Some(before)) if !ends => Some([before, end]),
            _ => None,
        };
    }

    /// Notes what a text on its way to the server may do.
    pub(crate) fn suspect(&mut self, client: &Client, touch: &Touch, value: impl Fn(u16) -> Option<Box<str>>) {
        let mut doubts = self.doubts.take().unwrap_or_default();
        let pins = self.held.pins.without(probe::unanswerable()); // whether those end cannot be asked
        doubts.add(touch, pins, value);
        if touch.makes.has(Pin::Prepare) {
            self.held.keep_sets(touch, &mut doubts);
        }
        for one in touch.uses.iter().filter(|one| !one.deallocates) {
            match client.named(&one.name).map(|named| &named.what) {
                Some(What::Shared(statement)) => match statement.about.touch.as_deref() {
                    Some(touch) if touch.uses.is_empty() => doubts.add(touch, pins, |_| None),
                    Some(_) => doubts.add_all(),
                    None => {}
                },
                Some(What::Pinned(_)) | None => self.held.suspect_all(&mut doubts),
            }
        }
        self.doubts = (!doubts.is_empty()).then_some(doubts);
    }

    /// A statement of this text lives here alone; when it runs nobody reads it again.
    #[cold]
    pub(crate) fn keep_touch(&mut self, touch: &Touch) {
        let mut doubts = self.doubts.take().unwrap_or_default();
        self.held.keep_sets(touch, &mut doubts);
        self.doubts = (!doubts.is_empty()).then_some(doubts);
    }

    /// What of a touch this pool does not allow.
    pub(crate) fn forbidden(&self, touch: &Touch) -> Option<Pin> {
        let refuses = self.terms.state == SessionState::Refuse && self.terms.keep != Keep::Session;
        touch.makes.iter().next().filter(|_| refuses)
    }

    /// Whether a Parse of a text with this touch is refused; then an error is on its way.
    #[cold]
    pub(crate) fn denies(&mut self, touch: Option<&Touch>, message: Message<'_>, out: &mut Out) -> bool {
        let pin = touch.and_then(|touch| self.forbidden(touch));
        if let Some(pin) = pin {
            self.deny(pin, false, &mut out.server, message.input);
        }
        pin.is_some()
    }

    /// A function called by its number: the few that leave something behind, as pg_proc.dat numbers them. What this pool does not
    /// allow is refused.
    pub(crate) fn look_at_call(&mut self, message: Message<'_>) -> Option<Pin> {
        let mut touch = Touch::default();
        match u32::from_be_bytes(*message.body().first_chunk::<4>()?) {
            2078 => touch.makes.add(Pin::Setting),                           // set_config
            2880..=2883 | 2886..=2889 => touch.makes.add(Pin::AdvisoryLock), // pg_advisory_lock and its family
            2884 | 2885 | 2890..=2892 => touch.ends.add(Pin::AdvisoryLock),  // pg_advisory_unlock and its family
            _ => return None,
        }
        let refused = self.forbidden(&touch);
        if refused.is_none() {
            let mut doubts = self.doubts.take().unwrap_or_default();
            doubts.add(&touch, self.held.pins, |_| None);
            self.doubts = (!doubts.is_empty()).then_some(doubts);
        }
        refused
    }

    /// Lets a request fail in the server's own place of the stream, so that its transaction and its skipping up to Sync are real;
    /// the words of the error are replaced when it comes.
    pub(crate) fn deny(&mut self, pin: Pin, simple: bool, server: &mut Gather, input: &[u8]) {
        self.tally.get_or_insert_default().refused[pin as usize] += 1;
        let text = "SELECT \"poolwarden: refused\"";
        if simple {
            make::query(server.own(input), text);
        } else {
            make::parse(server.own(input), "", text, &[]);
            self.unsynced = true;
            self.drop_unnamed();
        }
        self.expect(Expect::Denied { pin, simple });
    }

    /// Whether nothing but suspicion (and what it found before) keeps the connection from being released.
    pub(crate) fn is_quiet(&self) -> bool {
        self.status == b'I' && self.queue.is_empty() && !self.unsynced && self.body.0 == 0 && !self.uncertain
    }

    /// A round has ended with doubts and nothing outstanding: whether a query of ours goes out for it.
    #[cold]
    pub(crate) fn settle_doubts(&mut self, client: &mut Client, out: &mut Out) -> bool {
        if self.has_pinned_unnamed() {
            return false; // a query of ours would drop it; the connection stays for it, and is asked when it is gone
        }
        if self.status == b'T' {
            return self.give_born(client, out);
        }
        let asks = self.is_quiet() && finish_message(client, out);
        if asks {
            self.ask(client, out);
        }
        asks
    }

    /// Asks PostgreSQL what the transaction left behind; the gate is closed until it has said.
    pub(crate) fn ask(&mut self, client: &Client, out: &mut Out) {
        let Some(doubts) = self.doubts.as_deref_mut() else { return };
        doubts.pins = doubts.pins.and(self.held.pins.both(Pins::of(Pin::TempTable))); // a search path alone may be the reason
        let backs = doubts.taken_back(client, &self.settings);
        let sql = probe::question(doubts, &backs);
        self.own_query(&sql, Expect::Probe(Box::default()), out);
        self.gate = Gate::Probe;
    }

    /// PostgreSQL has said it. What differs is the client's from now on, and what cannot be carried keeps the connection.
    pub(crate) fn learn(&mut self, now: u64, client: &mut Client, findings: &Findings) {
        let Some(doubts) = self.doubts.take() else { return };
        let backs = doubts.taken_back(client, &self.settings);
        let mut pins = self.held.pins.without(doubts.pins.without(probe::unanswerable()));
        pins = pins.and(doubts.pins.both(Pins::of(Pin::Setting)));
        for finding in &findings.rows {
            match finding {
                Finding::Is(name, value) => self.learn_value(client, name, value.as_deref(), &backs),
                Finding::Differs(name, value) => self.learn_difference(client, name, value.as_deref()),
                Finding::Pinned(pin) => pins.add(*pin),
            }
        }
        if client.settings.len() > MAX_KEPT || self.settings.len() > MAX_KEPT {
            pins.add(Pin::Setting);
        }
        if makes_temp_tables(&client.settings) {
            pins.add(Pin::TempTable);
        }
        if !pins.has(Pin::Prepare) && self.pins == 0 {
            self.held.sets.clear();
        }
        self.pin(now, pins);
    }

    fn learn_value(&mut self, client: &mut Client, name: &str, value: Option<&str>, backs: &BTreeSet<Box<str>>) {
        let nothing = match value {
            None | Some("") => true,
            Some(value) => name == "role" && value == "none",
        };
        if nothing && backs.contains(name) {
            return self.learn_difference(client, name, None);
        }
        if value.is_some() {
            return self.learn_difference(client, name, value);
        }
        self.settings = self.settings.with(name, None); // there is no such setting
        client.settings = client.settings.with(name, None);
    }

    /// `value`: `None` is what the connection began with; the client's own beginning may have been another.
    fn learn_difference(&mut self, client: &mut Client, name: &str, value: Option<&str>) {
        let Some(value) = value else {
            self.settings = self.settings.with(name, None);
            let born = client.born.value(name).map(str::to_owned);
            client.settings = client.settings.with(name, born.as_deref());
            return;
        };
        let difference = self.defaults.difference(name, value);
        self.settings = self.settings.with(name, difference);
        client.settings = client.settings.with(name, difference);
    }

    /// The connection stays with its client for these reasons, from now on.
    pub(crate) fn pin(&mut self, now: u64, pins: Pins) {
        let new = pins.without(self.held.pins);
        if !new.is_empty() {
            let tally = self.tally.get_or_insert_default();
            new.iter().for_each(|pin| tally.pinned[pin as usize] += 1);
        }
        if self.held.pins.is_empty() {
            self.held.since = now;
        }
        self.held.pins = pins;
    }

    /// The probe was answered: the lease ends, or goes on with what the client has.
    pub(crate) fn probed(&mut self, client: &mut Client, findings: &Findings, out: &mut Out) -> Result<Turn, Fault> {
        if self.is_to_be_repeated() {
            self.ask(client, out);
            return Ok(Turn::More);
        }
        if self.failure.is_some() || findings.broken {
            if self.pins == 0 && self.held.pins.is_empty() {
                self.failure = None;
                return Ok(Turn::Spoiled);
            }
            if self.failure.is_none() {
                return Err(Fault::Server("what a transaction left behind cannot be read".into()));
            }
            return Ok(Turn::SetupFailed); // what the client has here alone goes with the connection, and so must the client
        }
        self.learn(self.clock.since, client, findings);
        if self.is_releasable() {
            self.gate = Gate::Open;
            return Ok(Turn::Released);
        }
        self.rounds = 0;
        if let Some(sql) = transition(&self.settings, &client.settings, &self.defaults) {
            self.coming = client.settings.clone();
            self.own_query(&sql, Expect::Setup, out);
            self.gate = Gate::Setup;
            return Ok(Turn::More);
        }
        self.gate = Gate::Open;
        Ok(Turn::Opened)
    }

    /// In mid-transaction: settings that were taken back to what the connection began with are given what the client began with,
    /// as on a connection of its own. Returns whether the server is asked to.
    pub(crate) fn give_born(&mut self, client: &mut Client, out: &mut Out) -> bool {
        let Some(doubts) = self.doubts.as_mut().filter(|_| !client.born.is_empty()) else { return false };
        let mut wants = Settings::default();
        for (name, value) in client.born.iter().filter(|(name, _)| doubts.is_back(name)) {
            wants = wants.with(name, Some(value));
        }
        let sql = transition(&Settings::default(), &wants, &self.defaults);
        if sql.is_some() && !finish_message(client, out) {
            return false; // at the end of the next round
        }
        doubts.forget_backs();
        let Some(sql) = sql else { return false };
        self.coming = self.settings.clone();
        for (name, value) in wants.iter() {
            self.coming = self.coming.with(name, Some(value));
        }
        self.own_query(&sql, Expect::Setup, out);
        self.gate = Gate::Setup;
        true
    }

    /// What the client is to be told of a parameter instead of this change: it was taken back to what the connection began with,
    /// and goes on from there to what the client began with.
    pub(crate) fn told_instead(&self, client: &Client, name: &str) -> Option<String> {
        let back = self.doubts.as_deref().is_some_and(|doubts| doubts.is_back(name));
        client.born.value(name).filter(|_| back && self.settings.value(name).is_none()).map(str::to_owned)
    }

    /// Tells a client of defaults that are not those it was told of before (the server's configuration has changed).
    pub(crate) fn tell_defaults(&self, client: &mut Client, out: &mut Gather) {
        let Some(told) = client.told.replace(self.defaults.clone()) else { return };
        for (name, value) in self.defaults.iter() {
            let lower = name.to_ascii_lowercase();
            if told.value(&lower) != Some(value) && client.settings.value(&lower).is_none() {
                make::parameter_status(out.own(&[]), name, value);
            }
        }
    }

    /// A Bind of a statement that may do something to the session, or that nobody has read; a step, where it does not go on.
    #[cold]
    pub(crate) fn touching_bind(
        &mut self,
        client: &mut Client,
        name: &[u8],
        message: Message<'_>,
        out: &mut Out,
    ) -> Option<Step> {
        let book = client.book.as_ref();
        let touch = if name.is_empty() {
            book.and_then(|book| book.unnamed.as_ref()).map(|unnamed| unnamed.about.touch.clone())
        } else {
            book.and_then(|book| book.named.get(name)).map(|named| match &named.what {
                What::Shared(statement) => statement.about.touch.clone(),
                What::Pinned(_) => None,
            })
        };
        let Some(touch) = touch else {
            if self.has_pinned_unnamed() {
                self.held.suspect_all(self.doubts.get_or_insert_default()); // it was too large to be kept
            }
            return None;
        };
        let touch = touch?;
        let body = message.whole();
        if body.is_none() && message.header.total() <= MAX_READ {
            return Some(Step::Wait);
        }
        if let Some(pin) = self.forbidden(&touch) {
            self.deny(pin, false, &mut out.server, message.input);
            return Some(Self::drop_message(client, message));
        }
        self.suspect(client, &touch, |number| body.and_then(|body| probe::parameter(body, number)));
        let closes = touch.uses.iter().find(|one| one.deallocates && client.named(&one.name).is_some());
        self.closing = closes.map(|one| one.name.clone());
        None
    }
}

/// What a client reads that was refused session state.
pub(crate) fn denial(pin: Pin, out: &mut Vec<u8>) {
    let message =
        format!("{} needs session state, which this pool does not keep beyond a transaction", pin.construct());
    let hint = "use mode = \"session\" for this pool, or session_state = \"pin\"";
    let report =
        make::Report { severity: "ERROR", sqlstate: "0A000", message: &message, detail: None, hint: Some(hint) };
    make::error(out, &report);
}
