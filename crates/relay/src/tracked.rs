//! Prepared statements in transaction mode: the client's names stay its own, whichever server connection it is lent.
//!
//! A named statement is prepared on a server connection when it is first used there; the replies to what we add are hidden by
//! their position. What a client was told of a statement's result is compared before the statement is used on another connection.

use std::sync::Arc;

use poolwarden_pgwire::frame::HEADER;
use poolwarden_pgwire::{make, read};

use crate::client::{Body, Client};
use crate::expect::Expect;
use crate::from_client::{MAX_NAME, Message, Step};
use crate::gather::{Gather, Out};
use crate::reading::Reading;
use crate::server::{Fault, Gate, Server};
use crate::sql::is_plain;
use crate::statement::{About, Named, OnServer, PREFIX, Statement, Texts, What, name_of};

/// PostgreSQL's words for a statement whose result is not what it was.
pub(crate) const RESULT_CHANGED: &str = "cached plan must not change result type";

/// What PostgreSQL says to the text that is sent to make it fail (in a failed transaction it says 25P02 first, as to the client's own).
pub(crate) const PROVOKED: &str = "42703";

/// Whether a statement can be used on the server connection now.
enum Ready {
    /// Under this number.
    Yes(u32),
    /// When the comparison that was just sent has been answered.
    Later,
    /// Never: its result is not what the client was told. An error is on its way through the server.
    No,
}

/// What a client's name stands for.
enum Known<'a> {
    Unknown,
    Pinned(u32),
    /// `touches`: its text may do something to the session.
    Shared {
        id: u64,
        described: Option<u64>,
        generation: u32,
        touches: bool,
        reading: &'a Arc<Reading>,
    },
}

fn known<'a>(client: &'a Client, name: &[u8]) -> Known<'a> {
    match client.named(name) {
        None => Known::Unknown,
        Some(Named { what: What::Pinned(number), .. }) => Known::Pinned(*number),
        Some(Named { what: What::Shared(statement), described, .. }) => Known::Shared {
            id: statement.id,
            described: *described,
            generation: statement.generation(),
            touches: statement.about.touch.is_some(),
            reading: &statement.about.reading,
        },
    }
}

fn bad(message: &str) -> Fault {
    Fault::Client(format!("invalid {message} message"))
}

impl Server {
    pub(crate) fn parse(
        &mut self,
        client: &mut Client,
        texts: &mut Texts,
        message: Message<'_>,
        out: &mut Out,
    ) -> Result<Step, Fault> {
        if message.header.body as usize > self.terms.large_text {
            return self.parse_pinned(client, texts, message, out);
        }
        let Some(body) = message.whole() else { return Ok(Step::Wait) };
        let parse = read::parse(body).ok_or_else(|| bad("Parse"))?;
        let place = self.queue.next_place();
        let touch = if is_plain(parse.text) { None } else { crate::sql::read(parse.text, self.dialect(client)) };
        if touch.is_some() && self.denies(touch.as_deref(), message, out) {
            return Ok(Step::Took(message.end()));
        }
        let about = About { touch, reading: texts.read(parse.text, || self.dialect(client)) };
        if parse.name.is_empty() {
            if self.is_unnamed_in_doubt(client) {
                return Ok(self.settle_first(message.input, out));
            }
            self.heard.note(Some(&about.reading));
            self.counts.client_parses += 1;
            self.counts.server_parses += 1;
            self.save_unnamed(client, texts);
            self.drop_unnamed();
            let renamed = about.touch.as_ref().and_then(|touch| self.renamed(client, touch, parse.rest, message, out));
            let id = self.hold_unnamed(client, texts, renamed.as_deref().unwrap_or(parse.rest), about);
            let entry = Expect::Parse { id, name: Box::default(), hidden: false };
            if let Some(rest) = renamed {
                make::parse_raw(out.server.own(message.input), "", &rest);
                self.unsynced = true;
                self.expect(entry);
                return Ok(Step::Took(message.end()));
            }
            return Ok(self.extended_as_is(client, entry, message, out));
        }
        if self.is_parse_in_doubt(client, parse.name) {
            return Ok(self.settle_first(message.input, out));
        }
        if client.named(parse.name).is_some() {
            return Ok(self.parse_taken(client, parse.name, message, out));
        }
        self.heard.note(Some(&about.reading));
        let seen = about.touch.clone();
        let Some(statement) = texts.share_named(client.circle(), parse.name, parse.rest, about) else {
            if let Some(touch) = seen {
                self.keep_touch(&touch);
            }
            return self.parse_pinned(client, texts, message, out);
        };
        self.counts.client_parses += 1;
        self.unsynced = true;
        let (id, generation, name) = (statement.id, statement.generation(), Box::<[u8]>::from(parse.name));
        self.forget_older(id, generation);
        let named = Named { what: What::Shared(statement), described: None, made_at: place };
        client.book().named.insert((*name).into(), named);
        let certain = self.status != b'E' && !self.queue.has_round(); // a failed transaction refuses a Parse
        if let Some(held) = self.book.named.get_mut(&id).filter(|_| certain) {
            held.used = place;
            self.expect(Expect::LocalParse { name });
        } else {
            self.book.doomed.extend(self.book.named.remove(&id).map(|held| held.number));
            let number = self.hold(id, generation, place);
            make::parse_raw(out.server.own(message.input), name_of(number), parse.rest);
            self.expect(Expect::Parse { id, name, hidden: false });
        }
        Ok(Step::Took(message.end()))
    }

    /// Notes that the client's unnamed statement is on its way to the server; returns its id, 0 where it lives on this connection alone.
    #[inline]
    fn hold_unnamed(&mut self, client: &mut Client, texts: &mut Texts, rest: &[u8], about: About) -> u64 {
        let place = self.queue.next_place();
        let id = client.keep_unnamed(texts, rest, place);
        match (client.book().unnamed.as_mut(), about.touch.as_deref()) {
            (Some(unnamed), _) => unnamed.about = about,
            (None, Some(touch)) => self.keep_touch(touch),
            (None, None) => {}
        }
        self.pins += u32::from(id.is_none());
        let id = id.unwrap_or(0);
        self.book.unnamed = Some((id, None));
        self.book.unnamed_made = place;
        id
    }

    /// A Parse under a name the client has given already: the server gets it under the number of that statement, so that it fails
    /// for this reason, or for one that comes before it.
    fn parse_taken(&mut self, client: &mut Client, name: &[u8], message: Message<'_>, out: &mut Out) -> Step {
        let number = match client.named(name).map(|named| named.what.clone()) {
            Some(What::Pinned(number)) => number,
            Some(What::Shared(statement)) => match self.book.named.get(&statement.id) {
                Some(held) => held.number,
                None => self.take_number(message.input, out),
            },
            None => self.book.number(),
        };
        self.counts.client_parses += 1;
        self.unsynced = true;
        self.expect(Expect::Duplicate { name: name.into() });
        rename(client, message, 0..name.len(), number, out)
    }

    /// Gives an empty statement a number, for a while: a failed transaction takes it, where it would refuse the client's own before
    /// it has read the text that comes under the same name.
    fn take_number(&mut self, input: &[u8], out: &mut Out) -> u32 {
        let number = self.book.number();
        make::parse(out.server.own(input), name_of(number), "", &[]);
        self.expect(Expect::Parse { id: 0, name: Box::default(), hidden: true });
        self.book.doomed.push(number);
        number
    }

    /// Sends a Parse of ours of the client's statement; returns its number.
    pub(crate) fn prepare(&mut self, statement: &Statement, input: &[u8], out: &mut Out) -> u32 {
        let number = self.hold(statement.id, statement.generation(), self.queue.next_place());
        make::parse_raw(out.server.own(input), name_of(number), &statement.rest);
        self.expect(Expect::Parse { id: statement.id, name: Box::default(), hidden: true });
        self.unsynced = true;
        number
    }

    /// A Parse whose text is not kept: the statement lives on this connection alone, which stays with the client until Close.
    fn parse_pinned(
        &mut self,
        client: &mut Client,
        texts: &mut Texts,
        message: Message<'_>,
        out: &mut Out,
    ) -> Result<Step, Fault> {
        let Some((name, _)) = read::cstr(message.body()) else { return name_wait(message, "Parse") };
        let in_doubt =
            if name.is_empty() { self.is_unnamed_in_doubt(client) } else { self.is_parse_in_doubt(client, name) };
        if in_doubt {
            return Ok(self.settle_first(message.input, out));
        }
        if message.header.body as usize > self.terms.large_text {
            self.begin_unread(message.body(), message.whole().is_some());
        }
        self.hear_parse(client, texts, message);
        self.counts.client_parses += 1;
        if name.is_empty() {
            self.save_unnamed(client, texts);
            client.forget_unnamed(texts);
            let place = self.queue.next_place();
            self.drop_unnamed();
            self.pins += 1;
            self.counts.server_parses += 1;
            self.book.unnamed = Some((0, None));
            self.book.unnamed_made = place;
            let entry = Expect::Parse { id: 0, name: Box::default(), hidden: false };
            return Ok(self.extended_as_is(client, entry, message, out));
        }
        self.unsynced = true;
        if client.named(name).is_some() {
            return Ok(self.parse_taken(client, name, message, out));
        }
        let number = self.book.number();
        let place = self.queue.next_place();
        self.pins += 1;
        self.counts.server_parses += 1;
        let named = Named { what: What::Pinned(number), described: None, made_at: place };
        texts.owe(name.len());
        client.book().named.insert(name.into(), named);
        self.expect(Expect::Parse { id: 0, name: name.into(), hidden: false });
        Ok(rename(client, message, 0..name.len(), number, out))
    }

    pub(crate) fn bind(&mut self, client: &mut Client, message: Message<'_>, out: &mut Out) -> Result<Step, Fault> {
        let body = message.body();
        let Some(bind) = read::bind(body) else { return name_wait(message, "Bind") };
        if self.is_in_doubt(client, bind.statement) {
            return Ok(self.settle_first(message.input, out));
        }
        let (id, ready) = if bind.statement.is_empty() {
            let unnamed = client.book.as_ref().and_then(|book| book.unnamed.as_ref());
            if let Some(unnamed) = unnamed {
                self.heard.note(Some(&unnamed.about.reading));
            }
            let touches = unnamed.is_none_or(|unnamed| unnamed.about.touch.is_some());
            if touches && let Some(step) = self.touching_bind(client, bind.statement, message, out) {
                return Ok(step);
            }
            (0, self.ready_unnamed(client, message.input, out))
        } else {
            match known(client, bind.statement) {
                Known::Unknown => {
                    self.heard.note(None);
                    (0, Ready::Yes(self.number_of_unknown(bind.statement)))
                }
                Known::Pinned(number) => {
                    self.hear_name(bind.statement);
                    self.held.suspect_all(self.doubts.get_or_insert_default()); // it was too large to be read
                    (0, Ready::Yes(number))
                }
                Known::Shared { id, described, generation, touches, reading } => {
                    self.heard.note(Some(reading));
                    if touches && let Some(step) = self.touching_bind(client, bind.statement, message, out) {
                        return Ok(step);
                    }
                    self.forget_older(id, generation);
                    (id, self.ready(client, bind.statement, id, described, message.input, out))
                }
            }
        };
        match ready {
            Ready::Later => Ok(Step::Wait),
            Ready::No => Ok(Self::drop_message(client, message)),
            Ready::Yes(number) => {
                self.counts.binds += 1;
                if number == 0 {
                    return Ok(self.extended_as_is(client, Expect::Bind { id, name: None }, message, out));
                }
                self.unsynced = true;
                self.expect(Expect::Bind { id, name: Some(client.keep_name(bind.statement)) });
                let start = bind.portal.len() + 1;
                Ok(rename(client, message, start..start + bind.statement.len(), number, out))
            }
        }
    }

    pub(crate) fn describe(&mut self, client: &mut Client, message: Message<'_>, out: &mut Out) -> Result<Step, Fault> {
        if message.body().first() == Some(&b'P') {
            return Ok(self.extended_as_is(client, Expect::DescribePortal, message, out));
        }
        let Some(body) = message.whole() else { return name_wait(message, "Describe") };
        let (_, name) = read::named(body).ok_or_else(|| bad("Describe"))?;
        if self.is_in_doubt(client, name) {
            return Ok(self.settle_first(message.input, out));
        }
        let boxed: Box<[u8]> = name.into();
        let (id, ready) = if name.is_empty() {
            let ready = self.ready_unnamed(client, message.input, out);
            (self.book.unnamed.map_or(0, |(id, _)| id), ready)
        } else {
            match known(client, name) {
                Known::Unknown => (0, Ready::Yes(self.number_of_unknown(name))),
                Known::Pinned(number) => (0, Ready::Yes(number)),
                Known::Shared { id, described, generation, .. } => {
                    self.forget_older(id, generation);
                    (id, self.ready(client, name, id, described, message.input, out))
                }
            }
        };
        let entry = Expect::DescribeStatement { id, name: boxed, hidden: false, hash: 0 };
        match ready {
            Ready::Later => Ok(Step::Wait),
            Ready::No => Ok(Step::Took(message.end())),
            Ready::Yes(0) => Ok(self.extended_as_is(client, entry, message, out)),
            Ready::Yes(number) => {
                self.unsynced = true;
                self.expect(entry);
                make::describe(out.server.own(message.input), b'S', name_of(number));
                Ok(Step::Took(message.end()))
            }
        }
    }

    pub(crate) fn close(
        &mut self,
        client: &mut Client,
        texts: &mut Texts,
        message: Message<'_>,
        out: &mut Out,
    ) -> Result<Step, Fault> {
        let Some(body) = message.whole() else { return name_wait(message, "Close") };
        let (kind, name) = read::named(body).ok_or_else(|| bad("Close"))?;
        let in_doubt = if name.is_empty() { self.is_unnamed_in_doubt(client) } else { self.is_in_doubt(client, name) };
        if kind == b'S' && in_doubt {
            return Ok(self.settle_first(message.input, out));
        }
        if kind == b'S' && name.is_empty() {
            self.save_unnamed(client, texts);
            self.drop_unnamed();
            client.forget_unnamed(texts);
        }
        let named = if kind == b'S' { client.book().named.remove_entry(name) } else { None };
        let Some((kept, named)) = named else {
            let number = if kind == b'S' { self.number_of_unknown(name) } else { 0 };
            if number > 0 {
                self.unsynced = true;
                make::close(out.server.own(message.input), b'S', name_of(number));
                self.expect(Expect::Close { pinned: None });
                return Ok(Step::Took(message.end()));
            }
            return Ok(self.extended_as_is(client, Expect::Close { pinned: None }, message, out));
        };
        texts.refund(name.len());
        self.unsynced = true;
        match named.what {
            What::Pinned(number) => {
                make::close(out.server.own(message.input), b'S', name_of(number));
                self.expect(Expect::Close { pinned: Some(Box::new((kept, named))) });
            }
            What::Shared(_) => self.expect(Expect::LocalClose { closed: Box::new((kept, named)) }),
        }
        Ok(Step::Took(message.end()))
    }

    /// Whether it depends on what is outstanding what `name` stands for, or whether it is here: its Parse (the client's or ours)
    /// or its Close stands in an earlier batch, which may fail while this one does not.
    fn is_in_doubt(&self, client: &Client, name: &[u8]) -> bool {
        if self.queue.is_empty() || self.reads_rows() {
            return false; // in COPY nothing would be answered, and the message is an error anyway
        }
        if name.is_empty() {
            let known = client.book.as_ref().is_some_and(|book| book.unnamed.is_some()) || self.has_pinned_unnamed();
            return !known || (self.book.unnamed.is_some() && self.is_unsure(self.book.unnamed_made));
        }
        client.named(name).is_none_or(|named| self.is_named_in_doubt(named))
    }

    fn is_named_in_doubt(&self, named: &Named) -> bool {
        let unproved = |id| self.book.named.get(id).is_some_and(|held| !held.proved && self.is_unsure(held.made));
        self.is_unsure(named.made_at)
            || match &named.what {
                What::Shared(statement) => unproved(&statement.id),
                What::Pinned(_) => false,
            }
    }

    /// Whether it depends on what is outstanding whether `name` is taken.
    fn is_parse_in_doubt(&self, client: &Client, name: &[u8]) -> bool {
        match client.named(name) {
            Some(named) => self.is_named_in_doubt(named),
            None => !self.reads_rows() && self.queue.closes(name),
        }
    }

    pub(crate) fn settle_first(&mut self, input: &[u8], out: &mut Out) -> Step {
        make::flush(out.server.own(input));
        self.gate = Gate::Settle;
        Step::Wait
    }

    pub(crate) fn has_pinned_unnamed(&self) -> bool {
        matches!(self.book.unnamed, Some((0, _)))
    }

    /// A name the client never gave must not meet one of ours: then a number stands for it that nothing has (0: it goes as it is).
    fn number_of_unknown(&mut self, name: &[u8]) -> u32 {
        if name.starts_with(PREFIX.as_bytes()) { self.book.number() } else { 0 }
    }

    /// Makes the client's statement `id` usable here.
    fn ready(
        &mut self,
        client: &Client,
        name: &[u8],
        id: u64,
        described: Option<u64>,
        input: &[u8],
        out: &mut Out,
    ) -> Ready {
        let place = self.queue.next_place();
        let held = self.book.named.get_mut(&id).map(|held| {
            held.used = place;
            (held.number, held.described)
        });
        let comparable = match (held, described) {
            (Some((number, _)), None) => return Ready::Yes(number),
            (Some((number, on_server)), told) if on_server == told => return Ready::Yes(number),
            (Some((_, Some(_))), Some(_)) => {
                self.refuse_in_place(&mut out.server, input);
                return Ready::No;
            }
            (Some((number, None)), Some(_)) => Some(number),
            (None, told) => {
                let Some(Named { what: What::Shared(statement), .. }) = client.named(name) else {
                    return Ready::Yes(0);
                };
                let number = self.prepare(statement, input, out);
                if told.is_none() {
                    return Ready::Yes(number);
                }
                Some(number)
            }
        };
        let Some(number) = comparable else { return Ready::Yes(0) };
        self.compare(id, &name_of(number), name.into(), out.server.own(input))
    }

    /// Makes the client's unnamed statement the server's; number 0 stands for it.
    fn ready_unnamed(&mut self, client: &Client, input: &[u8], out: &mut Out) -> Ready {
        let Some(unnamed) = client.book.as_ref().and_then(|book| book.unnamed.as_ref()) else {
            if !self.has_pinned_unnamed() {
                // the client has none, and must not meet another's: the server is to say so
                self.unsynced = true;
                self.book.unnamed = None;
                make::close(out.server.own(input), b'S', "");
                self.expect(Expect::DropUnnamed);
            }
            return Ready::Yes(0);
        };
        if let Some((id, on_server)) = self.book.unnamed
            && id == unnamed.id
        {
            if unnamed.described.is_none() || on_server.is_none() || on_server == unnamed.described {
                return Ready::Yes(0);
            }
            self.refuse_in_place(&mut out.server, input);
            return Ready::No;
        }
        self.unsynced = true;
        self.counts.server_parses += 1;
        self.drop_unnamed();
        self.book.unnamed = Some((unnamed.id, None));
        self.book.unnamed_made = self.queue.next_place();
        make::parse_raw(out.server.own(input), "", &unnamed.rest);
        self.expect(Expect::Parse { id: unnamed.id, name: Box::default(), hidden: true });
        if unnamed.described.is_none() {
            return Ready::Yes(0);
        }
        self.compare(unnamed.id, "", Box::default(), out.server.own(input))
    }

    /// Asks the server to describe a statement whose description the client was told before; the gate closes until it has.
    fn compare(&mut self, id: u64, server_name: &str, name: Box<[u8]>, out: &mut Vec<u8>) -> Ready {
        make::describe(out, b'S', server_name);
        make::flush(out);
        self.unsynced = true;
        self.expect(Expect::DescribeStatement { id, name, hidden: true, hash: 0 });
        self.gate = Gate::Describe;
        Ready::Later
    }

    /// Lets the server itself fail at this place of the stream, so that its transaction and its skipping up to Sync are real;
    /// the words of the error are replaced when it comes.
    fn refuse_in_place(&mut self, server: &mut Gather, input: &[u8]) {
        make::parse(server.own(input), "", format!("SELECT \"poolwarden: {RESULT_CHANGED}\""), &[]);
        self.unsynced = true;
        self.drop_unnamed();
        self.expect(Expect::Poison);
    }

    /// Lets a batch fail whose client has left. The statement has a name that is never given, so that the unnamed one is what it
    /// was, whether this is skipped or not.
    pub(crate) fn fail_abandoned(&mut self, server: &mut Gather) {
        make::parse(server.own(&[]), name_of(0), "SELECT \"poolwarden: the client left before its Sync\"", &[]);
        self.expect(Expect::Poison);
    }

    /// Forgets statement `id` as the server has it, if it was prepared before the tables changed.
    fn forget_older(&mut self, id: u64, generation: u32) {
        if self.book.named.get(&id).is_some_and(|held| held.generation != generation) {
            self.book.doomed.extend(self.book.named.remove(&id).map(|held| held.number));
        }
    }

    /// Notes that statement `id` is on its way to the server; returns its number.
    fn hold(&mut self, id: u64, generation: u32, place: u64) -> u32 {
        self.counts.server_parses += 1;
        let number = self.book.number();
        self.book
            .named
            .insert(id, OnServer { number, generation, made: place, used: place, described: None, proved: false });
        number
    }
}

/// A message whose names have not come yet: wait for them, within reason.
fn name_wait(message: Message<'_>, what: &str) -> Result<Step, Fault> {
    if message.whole().is_some() || message.body().len() > MAX_NAME { Err(bad(what)) } else { Ok(Step::Wait) }
}

/// Forwards a message with the name at `name` in its body replaced by that of statement `number`.
fn rename(client: &mut Client, message: Message<'_>, name: std::ops::Range<usize>, number: u32, out: &mut Out) -> Step {
    let new = name_of(number);
    let body = message.body();
    let length = message.header.body as usize - name.len() + new.len() + 4;
    let own = out.server.own(message.input);
    own.push(message.header.tag);
    own.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    own.extend_from_slice(&body[..name.start]);
    own.extend_from_slice(new.as_bytes());
    let (from, end) = (message.at + HEADER + name.end, message.end());
    out.server.forward(message.input, from..end);
    let missing = message.at + message.header.total() - end;
    if missing > 0 {
        client.body = Body::Forward(missing);
    }
    Step::Took(end)
}
