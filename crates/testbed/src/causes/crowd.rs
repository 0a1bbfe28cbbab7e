//! Clients that do one thing over and over, each on a connection and a thread of its own, and keep the books.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::books::{Books, Page};
use crate::fault_proxy::Dice;
use crate::wire::{Address, Answer, Fault, Login, Wire};

/// A thread that only waits for sockets needs little.
const STACK: usize = 256 << 10;
/// Between two tries to log in again.
const AGAIN: Duration = Duration::from_millis(100);
/// A rest is cut short within this when the run ends.
const SLICE: Duration = Duration::from_millis(20);
/// What a statement without work takes on a machine with other things to do.
pub const QUICK: Duration = Duration::from_millis(30);

/// What tells clients to go, to stop, and that things have gone wrong.
#[derive(Debug, Clone, Default)]
pub struct Signs {
    /// The run ends.
    pub stop: Arc<AtomicBool>,
    /// What is to go wrong goes wrong.
    pub struck: Arc<AtomicBool>,
}

impl Signs {
    /// Whether what is to go wrong goes wrong.
    #[must_use]
    pub fn struck(&self) -> bool {
        self.struck.load(Ordering::Acquire)
    }

    /// Whether the run ends.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Waits so long, or until the run ends.
    pub fn rest(&self, span: Duration) {
        let until = Instant::now() + span;
        while !self.stopped() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(SLICE));
        }
    }
}

/// Who the clients of a crowd are.
#[derive(Debug, Clone)]
pub struct Who {
    /// Where they connect.
    pub address: Address,
    /// As whom.
    pub login: Login,
    /// What they call themselves.
    pub application: &'static str,
}

/// One client at work.
#[derive(Debug)]
pub struct Client {
    who: Who,
    wire: Option<Wire>,
    page: Arc<Page>,
    books: Arc<Books>,
    /// Signs of the run.
    pub signs: Signs,
    /// Its own numbers.
    pub dice: Dice,
}

impl Client {
    /// A client that has not connected yet.
    #[must_use]
    pub fn new(who: Who, books: &Arc<Books>, signs: &Signs, dice: Dice) -> Client {
        Client { who, wire: None, page: books.page(), books: Arc::clone(books), signs: signs.clone(), dice }
    }

    /// Connects and logs in, if it is not.
    ///
    /// # Errors
    /// What the login ended with.
    pub fn connect(&mut self) -> Result<(), Fault> {
        if self.wire.is_none() {
            let more = [("application_name", self.who.application)];
            self.wire = Some(Wire::connect_with(&self.who.address, &self.who.login, &more)?);
        }
        Ok(())
    }

    /// One statement that is a transaction of its own.
    ///
    /// # Errors
    /// How it failed; the books know.
    pub fn once(&mut self, sql: &str, usual: Duration) -> Result<Answer, Fault> {
        self.books.asks(&self.page, usual);
        let said = self.say(sql)?;
        self.books.done(&self.page);
        Ok(said)
    }

    /// BEGIN: from its answer on, the client holds a connection.
    ///
    /// # Errors
    /// As of [`Client::once`].
    pub fn begin(&mut self) -> Result<(), Fault> {
        self.books.asks(&self.page, QUICK);
        self.say("begin")?;
        self.books.answered(&self.page);
        Ok(())
    }

    /// A statement within the transaction.
    ///
    /// # Errors
    /// As of [`Client::once`].
    pub fn within(&mut self, sql: &str, usual: Duration) -> Result<Answer, Fault> {
        self.books.asks(&self.page, usual);
        let said = self.say(sql)?;
        self.books.answered(&self.page);
        Ok(said)
    }

    /// COMMIT.
    ///
    /// # Errors
    /// As of [`Client::once`].
    pub fn commit(&mut self) -> Result<(), Fault> {
        self.books.asks(&self.page, QUICK);
        self.say("commit")?;
        self.books.done(&self.page);
        Ok(())
    }

    fn say(&mut self, sql: &str) -> Result<Answer, Fault> {
        let said = match self.wire.as_mut() {
            Some(wire) => wire.query(sql),
            None => Err(Fault::Closed),
        };
        said.inspect_err(|fault| self.failed(fault))
    }

    fn failed(&mut self, fault: &Fault) {
        if self.signs.stopped() {
            return;
        }
        self.books.refused(&self.page, &fault.to_string());
        // Whatever state the session is in, the next one begins anew; a refused request leaves its session whole.
        let whole = matches!(fault, Fault::Server(notice) if notice.code == "53300" && notice.severity != "FATAL");
        if !whole {
            self.wire = None;
        }
    }
}

/// Does `habit` with one client until the run ends; each time one of `think` passes before.
fn live<H>(mut client: Client, think: (Duration, Duration), habit: H)
where
    H: Fn(&mut Client) -> Result<(), Fault>,
{
    while !client.signs.stopped() {
        client.signs.rest(between(&mut client.dice, think));
        // A login that fails is tried again: the books are about requests.
        if client.signs.stopped() || client.connect().is_err() {
            client.signs.rest(AGAIN);
            continue;
        }
        if habit(&mut client).is_err() {
            client.signs.rest(AGAIN);
        }
    }
}

/// So many clients with one habit; they are connected when it returns.
///
/// # Panics
/// When one cannot log in.
#[must_use]
pub fn gather<H>(
    count: usize,
    mut make: impl FnMut() -> Client,
    think: (Duration, Duration),
    habit: H,
) -> Vec<JoinHandle<()>>
where
    H: Fn(&mut Client) -> Result<(), Fault> + Clone + Send + 'static,
{
    let clients = (0..count).map(|_| {
        let mut client = make();
        client.connect().unwrap_or_else(|e| panic!("log in: {e}"));
        client
    });
    let clients: Vec<Client> = clients.collect();
    clients
        .into_iter()
        .map(|client| {
            let habit = habit.clone();
            let thread = std::thread::Builder::new().stack_size(STACK);
            thread.spawn(move || live(client, think, habit)).unwrap_or_else(|e| panic!("start a thread: {e}"))
        })
        .collect()
}

/// A span between two.
pub fn between(dice: &mut Dice, (least, most): (Duration, Duration)) -> Duration {
    let spread = usize::try_from((most.saturating_sub(least)).as_micros()).unwrap_or(0);
    least + Duration::from_micros(u64::try_from(dice.below(spread + 1)).unwrap_or(0))
}

/// A number from `least` to `most`.
pub fn pick(dice: &mut Dice, least: u32, most: u32) -> u32 {
    let spread = usize::try_from(most - least).unwrap_or(0);
    least + u32::try_from(dice.below(spread + 1)).unwrap_or(0)
}

/// Milliseconds from `least` to `most`.
pub fn pick_ms(dice: &mut Dice, least: u32, most: u32) -> Duration {
    Duration::from_millis(u64::from(pick(dice, least, most)))
}

/// Milliseconds as a span.
#[must_use]
pub const fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}
