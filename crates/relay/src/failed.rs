//! Errors of the server's on their way to the client: what they skip is undone, and some are put in the client's words.

use poolwarden_pgwire::{make, read};

use crate::client::Client;
use crate::expect::Expect;
use crate::from_server::{Reply, Turn, show};
use crate::gather::Out;
use crate::server::{Gate, Server};
use crate::statement::{Texts, named_in};
use crate::suspect::denial;
use crate::tracked::{PROVOKED, RESULT_CHANGED};

/// PostgreSQL's function that raises a cancel or a timeout, which may come before COPY has read a Sync sent long before.
const INTERRUPTED: &str = "ProcessInterrupts";

impl Server {
    /// An error: what it skips is popped, and undone.
    pub(crate) fn error(
        &mut self,
        client: &mut Option<(&mut Client, &mut Texts)>,
        reply: Reply<'_>,
        out: &mut Out,
    ) -> Turn {
        let fields = read::report(reply.body);
        self.fatal |= matches!(fields.severity.as_ref(), "FATAL" | "PANIC");
        if let Some(doubts) = self.doubts.as_deref_mut() {
            doubts.failed = true;
        }
        let shown = client.is_some() && self.is_shown(reply.tag);
        let was_copy = std::mem::replace(&mut self.copy_in, false);
        self.uncertain |= was_copy && fields.routine == INTERRUPTED && self.queue.has_swallowed();
        match self.queue.front() {
            None => show(shown, reply, &mut out.client),
            Some(Expect::Query | Expect::Function | Expect::Spliced(_)) => show(shown, reply, &mut out.client),
            Some(Expect::Denied { pin, simple }) => {
                let (pin, simple) = (*pin, *simple);
                if fields.sqlstate == PROVOKED && shown {
                    denial(pin, out.client.own(reply.input));
                } else {
                    show(shown, reply, &mut out.client);
                }
                if !simple {
                    self.skip_to_sync(client);
                }
            }
            Some(own) if own.is_own() => self.failure = Some(reply.input[reply.at..reply.end].to_vec()),
            Some(Expect::Sync) => show(shown, reply, &mut out.client),
            Some(Expect::Duplicate { name }) if fields.sqlstate == "42P05" => {
                let message = format!("prepared statement \"{}\" already exists", String::from_utf8_lossy(name));
                replace(shown, "42P05", &message, out.client.own(reply.input));
                self.skip_to_sync(client);
            }
            Some(Expect::Poison) if fields.sqlstate == PROVOKED => {
                replace(shown, "0A000", RESULT_CHANGED, out.client.own(reply.input));
                self.skip_to_sync(client);
            }
            Some(front) => {
                let mut told = None;
                if let Some((id, name)) = front.uses() {
                    told = name.and_then(|name| in_clients_words(reply, name));
                    self.distrust(id, &fields.sqlstate, client);
                }
                match told.filter(|_| shown) {
                    Some(told) => out.client.own(reply.input).extend(told),
                    None => show(shown, reply, &mut out.client),
                }
                self.skip_to_sync(client);
            }
        }
        if was_copy && self.held_sync {
            self.send_held_sync(&[], out); // nothing of the COPY came behind this Sync: it is the client's answer to the error
        }
        if self.gate == Gate::Describe {
            self.gate = Gate::Open;
            return Turn::Opened;
        }
        Turn::More
    }

    /// The use of statement `id` failed: if because its plan is older than its tables, or it was deallocated, the next use prepares
    /// it anew (here, and where tables have changed everywhere).
    fn distrust(&mut self, id: u64, sqlstate: &str, client: &Option<(&mut Client, &mut Texts)>) {
        if !matches!(sqlstate, "0A000" | "26000") {
            return;
        }
        self.book.doomed.extend(self.book.named.remove(&id).map(|held| held.number));
        if let Some(statement) =
            client.as_ref().and_then(|(client, _)| client.shared(id)).filter(|_| sqlstate == "0A000")
        {
            statement.outdate();
        }
    }

    /// Pops what the server skips after an error in the extended protocol: everything up to the next Sync.
    /// It is undone from its end, so that a name closed and given again is what it was before.
    fn skip_to_sync(&mut self, client: &mut Option<(&mut Client, &mut Texts)>) {
        let mut skipped = Vec::new();
        while !matches!(self.queue.front(), None | Some(Expect::Sync)) {
            let place = self.queue.place();
            skipped.extend(self.queue.pop().map(|entry| (entry, place)));
        }
        for (entry, place) in skipped.into_iter().rev() {
            self.undo(entry, place, client);
        }
        self.skipping = self.queue.is_empty();
        self.closing = None;
    }

    /// A message was skipped: what was assumed of it is taken back.
    fn undo(&mut self, skipped: Expect, place: u64, client: &mut Option<(&mut Client, &mut Texts)>) {
        match skipped {
            Expect::Parse { id, name, hidden } => {
                if self.book.named.get(&id).is_some_and(|held| held.made == place && !held.proved) {
                    self.book.named.remove(&id);
                }
                if name.is_empty() && self.book.unnamed.is_some_and(|(unnamed, _)| unnamed == id) {
                    if self.book.unnamed_made == place {
                        self.drop_unnamed();
                    }
                } else if id == 0 && !name.is_empty() {
                    self.pins = self.pins.saturating_sub(1);
                }
                if let Some((client, texts)) = client.as_mut().filter(|_| !hidden) {
                    client.undo_parse(&name, place, texts);
                }
            }
            Expect::LocalParse { name } => {
                if let Some((client, texts)) = client {
                    client.undo_parse(&name, place, texts);
                }
            }
            Expect::LocalClose { closed } => {
                if let Some((client, texts)) = client {
                    client.restore_named(closed.0, closed.1, texts);
                }
            }
            Expect::Close { pinned: Some(closed) } => {
                if let Some((client, texts)) = client {
                    client.restore_named(closed.0, closed.1, texts);
                }
            }
            Expect::Unnamed { before, pinned } => {
                if let Some((client, texts)) = client
                    && client.restore_unnamed(before, self.queue.place(), texts)
                    && pinned
                {
                    self.book.unnamed = Some((0, None));
                    self.pins += 1;
                }
            }
            Expect::Evict { number } => self.book.doomed.push(number),
            Expect::Deallocate { closed } => {
                if let Some((client, texts)) = client {
                    client.restore_named(closed.0, closed.1, texts);
                }
            }
            Expect::Query
            | Expect::Spliced(_)
            | Expect::Denied { .. }
            | Expect::Probe(_)
            | Expect::Function
            | Expect::Sync
            | Expect::Duplicate { .. }
            | Expect::Poison
            | Expect::Bind { .. }
            | Expect::DescribePortal
            | Expect::DescribeStatement { .. }
            | Expect::Execute
            | Expect::Close { pinned: None }
            | Expect::DropUnnamed
            | Expect::Swallowed
            | Expect::CopyEnd
            | Expect::Setup
            | Expect::Rollback
            | Expect::Reset => {}
        }
    }
}

fn replace(shown: bool, sqlstate: &str, message: &str, client: &mut Vec<u8>) {
    if shown {
        make::error(client, &make::Report { severity: "ERROR", sqlstate, message, detail: None, hint: None });
    }
}

/// The error with the client's own name for the statement, where the server says the one it has there.
fn in_clients_words(reply: Reply<'_>, name: &[u8]) -> Option<Vec<u8>> {
    let (at, _) = named_in(reply.body)?;
    let body = [&reply.body[..at.start], name, &reply.body[at.end..]].concat();
    let length = u32::try_from(body.len() + 4).ok()?;
    Some([&[reply.tag][..], &length.to_be_bytes(), &body].concat())
}
