//! The client's bytes on their way to the server: frames are walked, what must be answered is noted, the rest is forwarded as it came.

use poolwarden_pgwire::frame::{self, FrameError, HEADER, Header};
use poolwarden_pgwire::tag::client as tag;
use poolwarden_pgwire::{make, read};

use crate::client::{Body, Client};
use crate::expect::Expect;
use crate::gather::Out;
use crate::server::{Fault, Gate, Keep, Server};
use crate::session::Pin;
use crate::sql::Touch;
use crate::statement::Texts;
use crate::suspect::Seen;

/// One message at the front of the client's input.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) header: Header,
    /// Where it begins in `input`.
    pub(crate) at: usize,
    pub(crate) input: &'a [u8],
}

impl<'a> Message<'a> {
    /// As much of the body as has come.
    pub(crate) fn body(&self) -> &'a [u8] {
        let end = (self.at + self.header.total()).min(self.input.len());
        &self.input[self.at + HEADER..end]
    }

    /// The body, if all of it has come.
    pub(crate) fn whole(&self) -> Option<&'a [u8]> {
        let body = self.body();
        (body.len() == self.header.body as usize).then_some(body)
    }

    /// Where it ends in `input`, or where `input` ends.
    pub(crate) fn end(&self) -> usize {
        (self.at + self.header.total()).min(self.input.len())
    }
}

/// A name longer than this is no name (PostgreSQL cuts at 63 bytes, drivers stay far below).
pub(crate) const MAX_NAME: usize = 64 * 1024;

/// The largest body taken from a client: names of ours may be longer than its own, and the message must still be one that
/// PostgreSQL reads.
const LARGEST: u32 = frame::MAX_BODY - 1024;

/// What became of a message.
pub(crate) enum Step {
    /// It was dealt with up to here in `input`.
    Took(usize),
    /// More of it must come first, or the gate closed before it.
    Wait,
}

impl Server {
    /// Takes what can be taken of `input`, the client's bytes, while it is lent to `client`.
    /// Returns how many bytes that were; the rest is to be kept and handed over again.
    ///
    /// # Errors
    /// The client's goodbye, or its breach of the protocol.
    pub fn from_client(
        &mut self,
        now: u64,
        client: &mut Client,
        texts: &mut Texts,
        input: &[u8],
        out: &mut Out,
    ) -> Result<usize, Fault> {
        self.tick(now);
        if self.tunnel.is_some() {
            return self.tunnel_from_client(client, input, out);
        }
        let mut at = 0;
        while at < input.len() {
            if client.body != Body::None {
                at = self.stream(client, input, at, out);
                continue;
            }
            if self.gate != Gate::Open {
                break;
            }
            let Some(header) = frame::header(&input[at..])? else { break };
            if header.body > LARGEST {
                return Err(FrameError { tag: header.tag, length: header.body + 4 }.into());
            }
            match self.take(now, client, texts, Message { header, at, input }, out)? {
                Step::Took(end) => at = end,
                Step::Wait => break,
            }
        }
        self.counts.to_server += at as u64;
        Ok(at)
    }

    /// Goes on with the message whose beginning has been dealt with.
    fn stream(&mut self, client: &mut Client, input: &[u8], at: usize, out: &mut Out) -> usize {
        let Body::Forward(left) = client.body else {
            return at + client.discard(&input[at..]);
        };
        let taken = left.min(input.len() - at);
        if self.doubts.as_ref().is_some_and(|doubts| doubts.unread.is_some()) {
            self.go_on_unread(&input[at..at + taken], taken == left);
        }
        out.server.forward(input, at..at + taken);
        client.body = if taken == left { Body::None } else { Body::Forward(left - taken) };
        at + taken
    }

    fn take(
        &mut self,
        now: u64,
        client: &mut Client,
        texts: &mut Texts,
        message: Message<'_>,
        out: &mut Out,
    ) -> Result<Step, Fault> {
        let tag = message.header.tag;
        if self.skipping && tag != tag::SYNC && tag != tag::TERMINATE {
            return Ok(Self::drop_message(client, message));
        }
        if self.held_sync && !matches!(tag, tag::SYNC | tag::FLUSH | tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL) {
            self.send_held_sync(message.input, out); // no message of a COPY: the client takes it for failed, and this for the Sync behind it
        }
        match tag {
            tag::QUERY => {
                if self.is_unnamed_in_doubt(client) {
                    return Ok(self.settle_first(message.input, out));
                }
                let seen = if self.terms.keep == Keep::Session { Seen::Plain } else { self.look(client, message) };
                if matches!(seen, Seen::TooLittle) {
                    return Ok(Step::Wait);
                }
                let whole = message.whole().is_some();
                let text = message.body().strip_suffix(&[0]).filter(|_| whole).unwrap_or(message.body());
                self.hear_text(text, whole, &mut texts.readings, |server| server.dialect(client));
                self.save_unnamed(client, texts);
                self.drop_unnamed();
                client.forget_unnamed(texts);
                let step = match seen {
                    Seen::Touching(touch) => self.touching_query(now, client, &touch, message, out),
                    Seen::Plain | Seen::TooLittle => self.round(now, client, Expect::Query, message, out),
                };
                self.answer_local(&mut out.client, message.input);
                Ok(step)
            }
            tag::FUNCTION_CALL => {
                self.heard.note(None); // it has no text
                if self.terms.keep != Keep::Session {
                    if message.body().len() < 4 && message.whole().is_none() {
                        return Ok(Step::Wait);
                    }
                    if let Some(pin) = self.look_at_call(message) {
                        self.drop_unnamed(); // by the query it becomes
                        self.begin_round(now, client);
                        self.deny(pin, true, &mut out.server, message.input);
                        return Ok(Self::drop_message(client, message));
                    }
                }
                Ok(self.round(now, client, Expect::Function, message, out))
            }
            // whether a COPY whose rows went out ahead of its beginning has swallowed this Sync depends on whether those rows were well
            tag::SYNC if self.has_rows_last() && !self.reads_rows() => Ok(self.settle_first(message.input, out)),
            tag::SYNC => Ok(self.sync(now, client, message, out)),
            tag::FLUSH if self.copy_in => Ok(Self::drop_message(client, message)),
            tag::FLUSH => Ok(Self::pass(client, message, out)),
            tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL => Ok(self.copy_message(client, message, out)),
            tag::TERMINATE => Err(Fault::Leaves),
            tag::PARSE | tag::BIND | tag::DESCRIBE | tag::CLOSE | tag::EXECUTE => {
                let step = self.extended(client, texts, message, out)?;
                self.answer_local(&mut out.client, message.input);
                Ok(step)
            }
            other => Err(Fault::unknown_message(other)),
        }
    }

    fn extended(
        &mut self,
        client: &mut Client,
        texts: &mut Texts,
        message: Message<'_>,
        out: &mut Out,
    ) -> Result<Step, Fault> {
        let tag = message.header.tag;
        if tag == tag::EXECUTE {
            let entry = if self.closing.is_some() { self.deallocation(client, texts) } else { Expect::Execute };
            return Ok(self.extended_as_is(client, entry, message, out));
        }
        if self.terms.follows() {
            self.evict(message.input, out);
            return match tag {
                tag::PARSE => self.parse(client, texts, message, out),
                tag::BIND => self.bind(client, message, out),
                tag::DESCRIBE => self.describe(client, message, out),
                _ => self.close(client, texts, message, out),
            };
        }
        let entry = match tag {
            tag::PARSE => {
                if self.terms.keep != Keep::Session {
                    match self.look_at_parse(client, message) {
                        Seen::TooLittle => return Ok(Step::Wait),
                        Seen::Plain => {}
                        Seen::Touching(touch) => {
                            if let Some(pin) = self.forbidden(&touch) {
                                self.deny(pin, false, &mut out.server, message.input);
                                return Ok(Self::drop_message(client, message));
                            }
                            self.suspect(client, &touch, |_| None);
                            self.book.touching |= message.body().first() != Some(&0); // ours drop the unnamed one
                        }
                    }
                }
                self.hear_parse(client, texts, message);
                self.counts.client_parses += 1;
                self.counts.server_parses += 1;
                Expect::Parse { id: 0, name: Box::default(), hidden: false }
            }
            tag::BIND => {
                if let Some(bind) = read::bind(message.body()) {
                    self.hear_name(bind.statement);
                }
                self.counts.binds += 1;
                if self.book.touching && self.terms.keep != Keep::Session {
                    self.doubts.get_or_insert_default().add_all();
                }
                Expect::Bind { id: 0, name: None }
            }
            tag::DESCRIBE => {
                let kind = message.body().first();
                if kind.is_none() && message.whole().is_none() {
                    return Ok(Step::Wait);
                }
                if kind == Some(&b'S') {
                    Expect::DescribeStatement { id: 0, name: Box::default(), hidden: false, hash: 0 }
                } else {
                    Expect::DescribePortal
                }
            }
            _ => Expect::Close { pinned: None },
        };
        Ok(self.extended_as_is(client, entry, message, out))
    }

    /// Forwards a message of the extended protocol unchanged.
    pub(crate) fn extended_as_is(
        &mut self,
        client: &mut Client,
        entry: Expect,
        message: Message<'_>,
        out: &mut Out,
    ) -> Step {
        self.unsynced = true;
        self.expect(entry);
        Self::pass(client, message, out)
    }

    /// A simple query that may do something to the session.
    #[cold]
    fn touching_query(
        &mut self,
        now: u64,
        client: &mut Client,
        touch: &Touch,
        message: Message<'_>,
        out: &mut Out,
    ) -> Step {
        if let Some(pin) = self.forbidden(touch) {
            self.begin_round(now, client);
            self.deny(pin, true, &mut out.server, message.input);
            return Self::drop_message(client, message);
        }
        self.suspect(client, touch, |_| None);
        let step = self.suspect_query(now, client, touch, message, out);
        let resets = (touch.resets_all || !touch.resets.is_empty()) && client.has_beginnings();
        let deallocates_all = touch.ends.has(Pin::Prepare) && touch.uses.is_empty();
        if resets || deallocates_all {
            self.gate = Gate::Settle; // what comes behind must find what the client began with, and no name taken
        }
        step
    }

    fn suspect_query(
        &mut self,
        now: u64,
        client: &mut Client,
        touch: &Touch,
        message: Message<'_>,
        out: &mut Out,
    ) -> Step {
        let spliced = message.whole().and_then(|body| body.split_last()).map(|(_, text)| text);
        if let Some((words, splice)) = spliced.and_then(|text| self.spliced(client, touch, text)) {
            self.begin_round(now, client);
            self.expect(Expect::Spliced(splice));
            make::query(out.server.own(message.input), words);
            return Step::Took(message.end());
        }
        self.round(now, client, Expect::Query, message, out)
    }

    /// Forwards a message that ends with a ReadyForQuery.
    #[inline]
    fn round(&mut self, now: u64, client: &mut Client, entry: Expect, message: Message<'_>, out: &mut Out) -> Step {
        self.begin_round(now, client);
        self.expect(entry);
        Self::pass(client, message, out)
    }

    /// A message that ends with a ReadyForQuery is about to go out.
    #[inline]
    fn begin_round(&mut self, now: u64, client: &mut Client) {
        client.pipelined |= !self.queue.is_empty();
        self.tangled |= self.unsynced;
        self.rounds = self.rounds.saturating_add(1);
        let (rounds, nanos) = self.terms.cut;
        let long = self.rounds >= rounds || now.saturating_sub(self.clock.granted) >= nanos;
        let held = self.pins > 0 || !self.held.pins.is_empty();
        if long && self.others_wait && !held && self.terms.keep != Keep::Session && !self.unsynced {
            self.gate = Gate::Draining;
        }
    }

    /// A Sync. While the server reads COPY data it would be swallowed, so it is held back until it means something.
    fn sync(&mut self, now: u64, client: &mut Client, message: Message<'_>, out: &mut Out) -> Step {
        if self.reads_rows() {
            self.held_sync = true;
            return Self::drop_message(client, message);
        }
        self.unsynced = false;
        self.skipping = false;
        self.closing = None;
        let pipelined = client.pipelined;
        let earlier_rounds = self.queue.has_round();
        let step = self.round(now, client, Expect::Sync, message, out);
        self.segment = self.queue.next_place();
        client.pipelined = pipelined || earlier_rounds;
        step
    }

    /// Sends the Sync that was held back.
    pub(crate) fn send_held_sync(&mut self, input: &[u8], out: &mut Out) {
        self.held_sync = false;
        make::sync(out.server.own(input));
        self.expect(Expect::Sync);
        self.skipping = false;
        self.unsynced = false;
    }

    /// COPY's rows and its end. Outside a request they mean nothing and go nowhere.
    fn copy_message(&mut self, client: &mut Client, message: Message<'_>, out: &mut Out) -> Step {
        if self.queue.is_empty() {
            return Self::drop_message(client, message);
        }
        self.held_sync = false; // what goes on behind a Sync has made it one that COPY swallows
        if message.header.tag == tag::COPY_DATA {
            self.rows_at = self.queue.next_place();
        } else {
            self.expect(Expect::CopyEnd);
        }
        Self::pass(client, message, out)
    }

    /// Whether rows of a COPY went out behind everything that is outstanding, and not its end.
    fn has_rows_last(&self) -> bool {
        !self.queue.is_empty() && self.rows_at == self.queue.next_place()
    }

    /// Whether it depends on what is outstanding which unnamed statement `save_unnamed` would have to keep.
    pub(crate) fn is_unnamed_in_doubt(&self, client: &Client) -> bool {
        self.unsynced && client.book.as_ref().is_some_and(|book| self.is_unsure(book.unnamed_at))
    }

    /// Keeps the client's unnamed statement for the case that what is about to replace it is skipped.
    pub(crate) fn save_unnamed(&mut self, client: &mut Client, texts: &mut Texts) {
        if self.terms.keep == Keep::Session {
            return;
        }
        if self.unsynced {
            let before = client.take_unnamed(self.queue.next_place(), texts);
            let pinned = self.has_pinned_unnamed();
            self.expect(Expect::Unnamed { before, pinned });
        } else if let Some(book) = client.book.as_mut() {
            book.unnamed_at = self.queue.next_place();
        }
    }

    /// Closes statements the server holds beyond its bound, and those that should have been closed before.
    /// Only ahead of a message that is as little allowed in COPY as a Close: behind an Execute it could break a COPY.
    fn evict(&mut self, input: &[u8], out: &mut Out) {
        let mut numbers = std::mem::take(&mut self.book.doomed);
        while self.book.named.len() > self.terms.statements {
            let Some(id) = self.book.least_recent_before(self.queue.place()) else { break };
            numbers.extend(self.book.named.remove(&id).map(|held| held.number));
        }
        for number in numbers {
            self.unsynced = true;
            make::close(out.server.own(input), b'S', crate::statement::name_of(number));
            self.expect(Expect::Evict { number });
        }
    }

    /// Forwards what has come of a message, and the rest when it comes.
    pub(crate) fn pass(client: &mut Client, message: Message<'_>, out: &mut Out) -> Step {
        let end = message.end();
        out.server.forward(message.input, message.at..end);
        let missing = message.at + message.header.total() - end;
        if missing > 0 {
            client.body = Body::Forward(missing);
        }
        Step::Took(end)
    }

    /// Drops what has come of a message, and the rest when it comes.
    pub(crate) fn drop_message(client: &mut Client, message: Message<'_>) -> Step {
        let end = message.end();
        let missing = message.at + message.header.total() - end;
        if missing > 0 {
            client.body = Body::Discard(missing);
        }
        Step::Took(end)
    }
}
