//! The server's bytes on their way to the client: replies are matched with what is owed, ours are hidden, rows are forwarded as they come.

use poolwarden_pgwire::frame::{self, HEADER, Header};
use poolwarden_pgwire::tag::server as tag;
use poolwarden_pgwire::{make, read};

use crate::client::{Body, Client};
use crate::expect::Expect;
use crate::gather::{Gather, Out};
use crate::server::{Fault, Gate, Keep, Server};
use crate::session::{Pin, Pins};
use crate::settings::TRACKED;
use crate::statement::{Texts, hash};

/// How a batch of the server's bytes left the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It goes on.
    More,
    /// The client's input is forwarded again: hand over what it has pending.
    Opened,
    /// The lease is over: the connection is clean, and the client outside any transaction. The rest of the input, if any, is async.
    Released,
    /// The lease is over and the client outside any transaction, but the connection is of no more use: it could not be told what
    /// the client left behind.
    Spoiled,
    /// The client's settings could not be made; [`Server::failure`] is the server's ErrorResponse.
    SetupFailed,
}

/// A message that must be seen whole may have so many bytes; a larger one is forwarded unseen.
const MAX_SEEN: usize = 1 << 20;

/// So many bytes may be made up to end a late COPY message; drivers send rows in pieces of 8 to 64 KiB.
const MAX_FILL: usize = 128 * 1024;

/// One reply, whole.
#[derive(Clone, Copy)]
pub(crate) struct Reply<'a> {
    pub(crate) tag: u8,
    pub(crate) body: &'a [u8],
    /// Where it stands in `input`.
    pub(crate) at: usize,
    pub(crate) end: usize,
    pub(crate) input: &'a [u8],
}

impl Server {
    /// Takes what can be taken of `input`, the server's bytes; `client` is who it is lent to, if anybody.
    /// Returns how many bytes that were, and what follows; the rest of `input` is to be kept and handed over again.
    ///
    /// # Errors
    /// A reply that does not fit what was asked: the connection is of no more use.
    pub fn from_server(
        &mut self,
        now: u64,
        mut client: Option<(&mut Client, &mut Texts)>,
        input: &[u8],
        out: &mut Out,
    ) -> Result<(usize, Turn), Fault> {
        self.tick(now);
        if self.tunnel.is_some() {
            return Ok((self.tunnel_from_server(input, out)?, Turn::More));
        }
        let mut at = 0;
        let mut turn = Turn::More;
        while at < input.len() {
            if self.body.0 > 0 {
                at = self.stream_reply(input, at, out);
                self.answer_local(&mut out.client, input); // may have waited for the end of this message
                continue;
            }
            let Some(header) = frame::header(&input[at..]).map_err(|error| Fault::Server(error.to_string()))? else {
                break;
            };
            if !self.must_see(header) {
                let shown = client.is_some() && self.is_shown(header.tag);
                self.body = (header.total(), shown);
                continue;
            }
            let end = at + header.total();
            if end > input.len() {
                break;
            }
            let reply = Reply { tag: header.tag, body: &input[at + HEADER..end], at, end, input };
            at = end;
            match self.reply(&mut client, reply, out)? {
                Turn::More if self.gate == Gate::Settle && (self.queue.is_empty() || self.reads_rows()) => {
                    self.gate = Gate::Open;
                    turn = Turn::Opened;
                }
                Turn::More => {}
                ended @ (Turn::Opened | Turn::Released | Turn::SetupFailed | Turn::Spoiled) => {
                    turn = ended;
                    break;
                }
            }
        }
        if client.is_some() {
            self.counts.to_client += at as u64;
        }
        Ok((at, turn))
    }

    /// The error that a query of ours met, as the server's whole ErrorResponse.
    pub fn failure(&mut self) -> Option<Vec<u8>> {
        self.failure.take()
    }

    fn stream_reply(&mut self, input: &[u8], at: usize, out: &mut Out) -> usize {
        let (left, shown) = self.body;
        let taken = left.min(input.len() - at);
        if shown {
            out.client.forward(input, at..at + taken);
        }
        self.body.0 = left - taken;
        at + taken
    }

    /// Whether a message changes what is known here, so that it must be seen whole.
    #[inline]
    fn must_see(&self, header: Header) -> bool {
        match header.tag {
            tag::DATA_ROW => self.gate == Gate::Probe,
            tag::COPY_DATA | tag::COPY_OUT | tag::COPY_DONE | tag::NOTICE | tag::NOTIFICATION => false,
            tag::ROW_DESCRIPTION | tag::PARAMETER_DESCRIPTION => {
                !matches!(self.queue.front(), Some(Expect::Query)) && header.total() <= MAX_SEEN
            }
            tag::FUNCTION_RESPONSE | tag::COPY_BOTH => false,
            tag::ERROR | tag::PARAMETER_STATUS => header.total() <= MAX_SEEN,
            _ => true,
        }
    }

    #[inline]
    pub(crate) fn is_shown(&self, tag: u8) -> bool {
        self.gate != Gate::Farewell
            && (!self.queue.front().is_some_and(Expect::is_own) || (tag == tag::NOTIFICATION && self.may_listen()))
    }

    /// Whether a notification is the client's own: it listens, or PostgreSQL is just being asked whether it does.
    fn may_listen(&self) -> bool {
        self.held.pins.has(Pin::Listen) || self.doubts.as_deref().is_some_and(|doubts| doubts.pins.has(Pin::Listen))
    }

    fn reply(
        &mut self,
        client: &mut Option<(&mut Client, &mut Texts)>,
        reply: Reply<'_>,
        out: &mut Out,
    ) -> Result<Turn, Fault> {
        let shown = client.is_some() && self.is_shown(reply.tag);
        match reply.tag {
            tag::READY => return self.ready_for_query(client, reply, out),
            tag::ERROR => {
                let turn = self.error(client, reply, out);
                // nobody is there to go on, and what would be waited for may never come
                return if self.uncertain && self.gate == Gate::Farewell { Err(interrupted_copy()) } else { Ok(turn) };
            }
            tag::PARAMETER_STATUS => self.parameter(client, reply, shown, out),
            tag::COMMAND_COMPLETE | tag::EMPTY_QUERY | tag::PORTAL_SUSPENDED => {
                let visible = self.executed(client, reply)?;
                show(shown && visible, reply, &mut out.client);
            }
            tag::DATA_ROW => match self.queue.front_mut() {
                Some(Expect::Probe(findings)) => findings.read(reply.body),
                front => return Err(desync(reply.tag, front.as_deref())),
            },
            tag::COPY_IN => {
                self.copy_in = true;
                let swallowed = self.queue.swallow_syncs();
                self.unsynced |= swallowed && !self.queue.has_round();
                show(shown, reply, &mut out.client);
                if self.gate == Gate::Farewell {
                    if swallowed {
                        return Err(interrupted_copy()); // a cancel may be on its way
                    }
                    self.end_requests(out);
                }
                if self.gate == Gate::Draining {
                    self.gate = Gate::Open; // the server waits for the client's rows
                    return Ok(Turn::Opened);
                }
            }
            tag::ROW_DESCRIPTION | tag::PARAMETER_DESCRIPTION | tag::NO_DATA => {
                return self.described(client, reply, shown, out);
            }
            tag::PARSE_COMPLETE | tag::BIND_COMPLETE | tag::CLOSE_COMPLETE => {
                self.note_good(client, reply.tag);
                if self.completed(reply)? {
                    show(shown, reply, &mut out.client);
                }
            }
            other => return Err(Fault::Server(format!("unexpected message type {other} from the server"))),
        }
        self.answer_local(&mut out.client, reply.input);
        Ok(Turn::More)
    }

    /// A server has parsed a client's statement: its text is good for every client of the pool.
    fn note_good(&self, client: &Option<(&mut Client, &mut Texts)>, reply: u8) {
        if let (tag::PARSE_COMPLETE, Some(Expect::Parse { id, .. }), Some((client, _))) =
            (reply, self.queue.front(), client)
            && let Some(statement) = client.shared(*id)
        {
            statement.prove();
        }
    }

    /// ParseComplete, BindComplete, CloseComplete: whether the client is to see it.
    fn completed(&mut self, reply: Reply<'_>) -> Result<bool, Fault> {
        let visible = match (reply.tag, self.queue.front()) {
            (tag::PARSE_COMPLETE, Some(Expect::Parse { id, hidden, .. })) => {
                let place = self.queue.place();
                if let Some(held) = self.book.named.get_mut(id).filter(|held| held.made == place) {
                    held.proved = true;
                }
                !hidden
            }
            (tag::BIND_COMPLETE, Some(Expect::Bind { .. })) => true,
            (tag::CLOSE_COMPLETE, Some(Expect::Close { pinned })) => {
                self.pins = self.pins.saturating_sub(u32::from(pinned.is_some()));
                true
            }
            (tag::CLOSE_COMPLETE, Some(Expect::Evict { .. } | Expect::DropUnnamed)) => false,
            (_, front) => return Err(desync(reply.tag, front)),
        };
        self.queue.pop();
        Ok(visible)
    }

    /// CommandComplete, EmptyQueryResponse, PortalSuspended: whether the client is to see it.
    fn executed(&mut self, client: &mut Option<(&mut Client, &mut Texts)>, reply: Reply<'_>) -> Result<bool, Fault> {
        self.copy_in = false;
        if reply.body == b"LOAD\0" && self.terms.keep != Keep::Session {
            self.pin(self.clock.since, self.held.pins.and(Pins::of(Pin::Load))); // stays even where its transaction is rolled back
        }
        if matches!(reply.body, b"DEALLOCATE ALL\0" | b"DISCARD ALL\0")
            && !self.queue.front().is_some_and(Expect::is_own)
        {
            self.deallocated(client);
        }
        if reply.body == b"DISCARD ALL\0" {
            self.held.pins = self.held.pins.without(Pins::of(Pin::Setting)); // none that was made before it is left
        }
        match self.queue.front() {
            Some(Expect::Execute | Expect::Deallocate { .. }) => {
                self.queue.pop();
                self.held_sync = false;
                Ok(true)
            }
            Some(Expect::Query | Expect::Setup | Expect::Rollback | Expect::Reset | Expect::Probe(_)) => Ok(true),
            Some(Expect::Spliced(_)) => {
                let Some((client, texts)) = client else { return Ok(true) };
                Ok(self.spliced_completion(client, texts))
            }
            front => Err(desync(reply.tag, front)),
        }
    }

    /// All prepared statements are gone, but for those whose Parse stands behind this.
    fn deallocated(&mut self, client: &mut Option<(&mut Client, &mut Texts)>) {
        let place = self.queue.place();
        self.book.named.retain(|_, held| held.made > place);
        if let Some((client, texts)) = client {
            client.forget_statements(texts, |name| self.queue.parses(name));
        }
        let pinned = client.as_ref().map_or(0, |(client, _)| client.pinned_statements());
        self.pins = pinned + u32::from(matches!(self.book.unnamed, Some((0, _))));
    }

    /// ParameterDescription, then RowDescription or NoData, where somebody asked; RowDescription of a portal or a query.
    fn described(
        &mut self,
        client: &mut Option<(&mut Client, &mut Texts)>,
        reply: Reply<'_>,
        shown: bool,
        out: &mut Out,
    ) -> Result<Turn, Fault> {
        let mut opened = Turn::More;
        let visible = match self.queue.front_mut() {
            Some(Expect::DescribeStatement { hidden, hash: so_far, .. }) => {
                *so_far = so_far.rotate_left(17) ^ hash(reply.body) ^ u64::from(reply.tag);
                let hidden = *hidden;
                if reply.tag != tag::PARAMETER_DESCRIPTION {
                    self.note_description(client);
                    if hidden && self.gate == Gate::Describe {
                        self.gate = Gate::Open;
                        opened = Turn::Opened;
                    }
                }
                !hidden
            }
            Some(Expect::DescribePortal) => {
                self.queue.pop();
                true
            }
            Some(Expect::Query | Expect::Spliced(_) | Expect::Setup | Expect::Rollback | Expect::Reset) => true,
            Some(Expect::Probe(_)) => true,
            _ => return Err(desync(reply.tag, self.queue.front())),
        };
        show(shown && visible, reply, &mut out.client);
        self.answer_local(&mut out.client, reply.input);
        Ok(opened)
    }

    /// The description at the front of the queue is complete.
    fn note_description(&mut self, client: &mut Option<(&mut Client, &mut Texts)>) {
        let Some(Expect::DescribeStatement { id, name, hidden, hash }) = self.queue.pop() else { return };
        if id == 0 {
            return;
        }
        if let Some(held) = self.book.named.get_mut(&id) {
            held.described = Some(hash);
        } else if let Some((unnamed, described)) = self.book.unnamed.as_mut()
            && *unnamed == id
        {
            *described = Some(hash);
        }
        let Some((client, _)) = client else { return };
        if hidden {
            return;
        }
        let book = client.book();
        if name.is_empty() {
            if let Some(unnamed) = book.unnamed.as_mut().filter(|unnamed| unnamed.id == id) {
                unnamed.described = Some(hash);
            }
        } else if let Some(named) = book.named.get_mut(&*name) {
            named.described = Some(hash);
        }
    }

    /// A reported parameter changed.
    fn parameter(
        &mut self,
        client: &mut Option<(&mut Client, &mut Texts)>,
        reply: Reply<'_>,
        shown: bool,
        out: &mut Out,
    ) {
        if let Some((name, value)) = read::parameter_status(reply.body) {
            let lower = name.to_ascii_lowercase();
            let followed = TRACKED.contains(&lower.as_str())
                || self.track.contains(&lower)
                || (self.queue.front().is_some_and(|own| matches!(own, Expect::Setup))
                    && self.coming.value(&lower).is_some());
            if followed || self.settings.value(&lower).is_some() {
                let difference = self.defaults.difference(name, value);
                self.settings = self.settings.with(&lower, difference);
                if let Some((client, _)) = client.as_mut().filter(|_| shown) {
                    if let Some(born) = self.told_instead(client, &lower) {
                        if client.settings.value(&lower) != Some(&born) {
                            make::parameter_status(out.client.own(reply.input), name, &born);
                            client.settings = client.settings.with(&lower, Some(&born));
                        }
                        return;
                    }
                    client.settings = client.settings.with(&lower, difference);
                }
            }
        }
        show(shown, reply, &mut out.client);
    }

    /// Answers what is answered here, as soon as it is at the front.
    #[inline]
    pub(crate) fn answer_local(&mut self, client: &mut Gather, input: &[u8]) {
        if self.queue.has_local_front() {
            self.answer_all_local(client, input);
        }
    }

    fn answer_all_local(&mut self, client: &mut Gather, input: &[u8]) {
        if self.is_amid_reply() || self.fatal {
            return; // half a message of the server's has gone out (a notice, which nothing waits for), or its last one
        }
        loop {
            match self.queue.front() {
                Some(Expect::LocalParse { .. } | Expect::LocalClose { .. }) if self.gate == Gate::Farewell => {}
                Some(Expect::LocalParse { .. }) => make::parse_complete(client.own(input)),
                Some(Expect::LocalClose { .. }) => make::close_complete(client.own(input)),
                Some(Expect::CopyEnd | Expect::Swallowed | Expect::Unnamed { .. }) => {}
                _ => return,
            }
            self.queue.pop();
        }
    }

    fn ready_for_query(
        &mut self,
        client: &mut Option<(&mut Client, &mut Texts)>,
        reply: Reply<'_>,
        out: &mut Out,
    ) -> Result<Turn, Fault> {
        let status = read::ready(reply.body).ok_or_else(|| Fault::Server("invalid ReadyForQuery".into()))?;
        let Some(round) = self.queue.front().filter(|entry| entry.is_round()) else {
            return Err(desync(reply.tag, self.queue.front()));
        };
        let own = round.is_own();
        show(client.is_some() && self.is_shown(reply.tag), reply, &mut out.client);
        let ours = if own { self.queue.pop() } else { None };
        if !own {
            self.queue.pop();
        }
        if !own {
            self.spans.query.note(self.clock.since - self.clock.turned);
        }
        self.clock.turned = self.clock.since;
        self.copy_in = false;
        self.unsynced &= !self.queue.is_empty(); // a simple query ends a batch before it, too
        let ended = status == b'I' && (self.status != b'I' || !own);
        self.status = status;
        if !own {
            self.counts.queries += 1;
            self.counts.transactions += u64::from(ended);
        }
        self.answer_local(&mut out.client, reply.input);
        match ours {
            Some(ours) => self.own_round(ours, client, reply.input, out),
            None => self.after_round(client, out),
        }
    }

    /// A query of ours was answered.
    fn own_round(
        &mut self,
        ours: Expect,
        client: &mut Option<(&mut Client, &mut Texts)>,
        input: &[u8],
        out: &mut Out,
    ) -> Result<Turn, Fault> {
        if matches!(ours, Expect::Setup) {
            return match self.set_up(client, input, out) {
                Turn::More => self.after_farewell_round(out), // its client is gone, and may have left more than settings
                turn @ (Turn::Opened | Turn::Released | Turn::Spoiled | Turn::SetupFailed) => Ok(turn),
            };
        }
        if matches!(ours, Expect::Reset) && self.failure.is_none() {
            self.was_reset();
        }
        if matches!(ours, Expect::Reset) && self.gate == Gate::Setup {
            return Ok(self.set_up_afresh(client, input, out));
        }
        if let (Expect::Probe(findings), Some((client, _)), true) = (ours, &mut *client, self.gate != Gate::Farewell) {
            return self.probed(client, &findings, out);
        }
        self.after_round(client, out)
    }

    /// A round of the client's (or a rollback) has ended: does the lease?
    fn after_round(&mut self, client: &mut Option<(&mut Client, &mut Texts)>, out: &mut Out) -> Result<Turn, Fault> {
        if self.gate == Gate::Farewell || client.is_none() {
            return self.after_farewell_round(out);
        }
        match self.terms.keep {
            Keep::Session | Keep::Tunnel => return Ok(Turn::More),
            Keep::Statement if self.status != b'I' => return Err(Fault::Block),
            Keep::Statement | Keep::Transaction => {}
        }
        if self.doubts.is_some()
            && self.queue.is_empty()
            && !self.unsynced
            && let Some((client, _)) = client
            && self.settle_doubts(client, out)
        {
            return Ok(Turn::More);
        }
        if self.is_releasable() && client.as_mut().is_none_or(|(client, _)| finish_message(client, out)) {
            return Ok(Turn::Released);
        }
        if self.gate == Gate::Draining && self.queue.is_empty() {
            self.gate = Gate::Open;
            self.rounds = 0;
            return Ok(Turn::Opened);
        }
        Ok(Turn::More)
    }
}

/// Nothing is outstanding, so a message of which a part went out is one the server ignores (COPY's, too late): it is filled up
/// with zeros, and the client's own rest goes nowhere. Returns false if that would be too much: the next round's end will do.
#[inline]
pub(crate) fn finish_message(client: &mut Client, out: &mut Out) -> bool {
    match client.body {
        Body::Forward(missing) => fill(missing, client, out),
        Body::None | Body::Discard(_) => true,
    }
}

#[cold]
fn fill(missing: usize, client: &mut Client, out: &mut Out) -> bool {
    let fits = missing <= MAX_FILL;
    if fits {
        let server = out.server.own(&[]);
        server.resize(server.len() + missing, 0);
        client.body = Body::Discard(missing);
    }
    fits
}

pub(crate) fn show(shown: bool, reply: Reply<'_>, client: &mut Gather) {
    if shown {
        client.forward(reply.input, reply.at..reply.end);
    }
}

/// What cannot be told once a cancel met a COPY behind which Syncs had been sent.
pub(crate) fn interrupted_copy() -> Fault {
    Fault::Server("an interrupted COPY cannot be told from its Sync".into())
}

fn desync(tag: u8, front: Option<&Expect>) -> Fault {
    Fault::Server(format!("reply '{}' does not answer {front:?}", char::from(tag)))
}
