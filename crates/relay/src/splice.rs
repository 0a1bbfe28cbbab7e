//! DEALLOCATE and EXECUTE, in SQL, of statements the client prepared by the protocol: the server knows them under other names.
//!
//! A statement that is shared must stay on the server for others, so DEALLOCATE is put as a PREPARE of nothing and a DEALLOCATE of that:
//! it succeeds and fails where the client's own would. What the client does not see is hidden by its place among the completions.

use poolwarden_pgwire::make;

use crate::client::Client;
use crate::expect::{Expect, Splice};
use crate::from_client::Message;
use crate::gather::Out;
use crate::server::Server;
use crate::sql::{Touch, Use};
use crate::statement::{Named, PREFIX, Statement, Texts, What, name_of, text_of};

/// What a use of a statement becomes.
enum Other {
    /// It stays as it is.
    Same,
    /// The name alone is another.
    Name(u32),
    /// A statement of ours stands before it, and it names that one.
    After(String, u32),
}

/// PostgreSQL's names of the types that drivers declare; of no other type is there a name without a question.
const TYPES: [(u32, &str); 18] = [
    (16, "bool"),
    (17, "bytea"),
    (20, "int8"),
    (21, "int2"),
    (23, "int4"),
    (25, "text"),
    (114, "json"),
    (700, "float4"),
    (701, "float8"),
    (1042, "bpchar"),
    (1043, "varchar"),
    (1082, "date"),
    (1083, "time"),
    (1114, "timestamp"),
    (1184, "timestamptz"),
    (1700, "numeric"),
    (2950, "uuid"),
    (3802, "jsonb"),
];

impl Server {
    /// A simple query in which the client's statements have the server's names; `None`: it may go as it is.
    pub(crate) fn spliced(&mut self, client: &Client, touch: &Touch, text: &[u8]) -> Option<(Vec<u8>, Box<Splice>)> {
        if touch.uses.is_empty() || !self.terms.follows() {
            return None;
        }
        let mut splice = Box::<Splice>::default();
        let (mut words, mut copied, mut added) = (Vec::with_capacity(text.len() + 64), 0, 0);
        let mut gone: Vec<&[u8]> = Vec::new();
        for one in &touch.uses {
            let other = if gone.contains(&&*one.name) { Other::Same } else { self.other(client, one) };
            let number = match other {
                Other::Same => continue,
                Other::Name(number) => {
                    words.extend_from_slice(text.get(copied..one.at.0)?);
                    number
                }
                Other::After(ahead, number) => {
                    words.extend_from_slice(text.get(copied..one.start)?);
                    words.extend_from_slice(ahead.as_bytes());
                    words.extend_from_slice(text.get(one.start..one.at.0)?);
                    splice.hidden.push(one.number + added);
                    added += 1;
                    number
                }
            };
            words.extend_from_slice(format!("\"{}\"", name_of(number)).as_bytes());
            copied = one.at.1;
            if one.deallocates && client.named(&one.name).is_some() {
                splice.closes.push((one.number + added, one.name.clone()));
                gone.push(&one.name);
            }
        }
        if copied == 0 {
            return None;
        }
        words.extend_from_slice(text.get(copied..)?);
        Some((words, splice))
    }

    fn other(&mut self, client: &Client, one: &Use) -> Other {
        match client.named(&one.name) {
            None if one.name.starts_with(PREFIX.as_bytes()) => Other::Name(self.book.number()), // one of ours must not be met
            None => Other::Same,
            Some(Named { what: What::Pinned(number), .. }) => Other::Name(*number),
            Some(Named { what: What::Shared(_), .. }) if one.deallocates => {
                let number = self.book.number();
                Other::After(format!("PREPARE \"{}\" AS SELECT 1;", name_of(number)), number)
            }
            Some(Named { what: What::Shared(statement), .. }) => self.other_execute(statement),
        }
    }

    fn other_execute(&mut self, statement: &Statement) -> Other {
        let held = self.book.named.get(&statement.id);
        if let Some(held) = held.filter(|held| held.proved && held.generation == statement.generation()) {
            return Other::Name(held.number);
        }
        let text = text_of(&statement.rest);
        let (Ok(sql), Some(types)) = (std::str::from_utf8(text), types(&statement.rest[text.len()..])) else {
            return Other::Same;
        };
        let number = self.book.number();
        self.book.doomed.push(number);
        Other::After(format!("PREPARE \"{}\"{types} AS {sql}\n;", name_of(number)), number)
    }

    /// A completion of a spliced query: whether the client is to see it.
    pub(crate) fn spliced_completion(&mut self, client: &mut Client, texts: &mut Texts) -> bool {
        let Some(Expect::Spliced(splice)) = self.queue.front_mut() else { return true };
        let done = splice.done;
        splice.done += 1;
        if splice.hidden.contains(&done) {
            return false;
        }
        if let Some((_, name)) = splice.closes.iter().find(|(number, _)| *number == done)
            && let Some(named) = client.book().named.remove(&**name)
        {
            texts.refund(name.len());
            self.pins = self.pins.saturating_sub(u32::from(matches!(named.what, What::Pinned(_))));
        }
        true
    }

    /// The unnamed statement is about to be a DEALLOCATE or an EXECUTE of a statement of the client's: what it is to say instead.
    /// What it names is prepared ahead of it, under the name it gets.
    pub(crate) fn renamed(
        &mut self,
        client: &Client,
        touch: &Touch,
        rest: &[u8],
        message: Message<'_>,
        out: &mut Out,
    ) -> Option<Vec<u8>> {
        let one = touch.uses.first()?;
        let number = match client.named(&one.name) {
            None if one.name.starts_with(PREFIX.as_bytes()) => self.book.number(),
            None => return None,
            Some(Named { what: What::Pinned(number), .. }) => *number,
            Some(Named { what: What::Shared(_), .. }) if one.deallocates => {
                let number = self.book.number();
                self.unsynced = true;
                make::parse(out.server.own(message.input), name_of(number), "SELECT 1", &[]);
                self.expect(Expect::Parse { id: 0, name: Box::default(), hidden: true });
                number
            }
            Some(Named { what: What::Shared(statement), .. }) => match self.book.named.get(&statement.id) {
                Some(held) => held.number,
                None => self.prepare(statement, message.input, out),
            },
        };
        let name = format!("\"{}\"", name_of(number));
        Some([rest.get(..one.at.0)?, name.as_bytes(), rest.get(one.at.1..)?].concat())
    }
}

/// The parameter types of a Parse as PREPARE writes them; `None` where one has no name here.
fn types(tail: &[u8]) -> Option<String> {
    let oids = tail.get(3..)?; // behind the text's end and the count
    if oids.is_empty() {
        return Some(String::new());
    }
    let names = oids.chunks_exact(4).map(|oid| {
        let oid = u32::from_be_bytes(oid.try_into().ok()?);
        if oid == 0 {
            return Some("unknown");
        }
        TYPES.iter().find(|(known, _)| *known == oid).map(|(_, name)| *name)
    });
    let names: Option<Vec<&str>> = names.collect();
    Some(format!(" ({})", names?.join(",")))
}
