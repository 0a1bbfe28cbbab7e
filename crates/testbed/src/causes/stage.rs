//! Where a situation is played: PostgreSQL, poolwarden, clients, a web server, and a superuser who looks on past the pooler.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::answer::Why;
use super::books::{Books, Reader, lock};
use super::crowd::{Client, Signs, Who, gather};
use super::facts::Facts;
use super::judge::Known;
use super::rush::fetch;
use super::web::Web;
use crate::drawer::token;
use crate::fault_proxy::Dice;
use crate::postgres::superuser;
use crate::wire::{Fault, Login, Wire};
use crate::{Bed, Plan, Target, bed, child};

/// The superuser's answers come at once, or PostgreSQL does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A stage with everything on it.
#[derive(Debug)]
pub struct Stage {
    /// The clients' books.
    pub books: Arc<Books>,
    /// Signs for the clients.
    pub signs: Signs,
    /// The web server, if the scene has one.
    pub web: Option<Web>,
    /// Connections past the pooler that stay open.
    pub beside: Vec<Wire>,
    /// The process that took the lock the others wait for.
    pub culprit: Arc<Mutex<Option<u32>>>,
    dice: Dice,
    reader: Option<Reader>,
    clients: Vec<JoinHandle<()>>,
    control: Option<Wire>,
    frozen: Vec<Pid>,
    bed: Option<Bed>,
}

impl Stage {
    /// Starts everything but the clients; `before` runs in PostgreSQL before poolwarden does, as a superuser.
    #[must_use]
    #[track_caller]
    pub fn start(mut plan: Plan, web: bool, seed: u64) -> Stage {
        let web = web.then(Web::start);
        if let Some(web) = &web {
            let every = Duration::from_secs(1);
            plan = plan.edit("[limits]\n", &format!("{}[limits]\n", web.probes(every)));
        }
        let bed = Bed::start_as(Target::Poolwarden, plan);
        let books = Books::open();
        if let Some(web) = &web {
            web.connect(bed.addr(), &books);
        }
        let mut control = bed.postgres.direct("postgres");
        control.patience(PATIENCE).expect("a socket");
        let reader = Some(books.read());
        Stage {
            books,
            signs: Signs::default(),
            web,
            beside: Vec::new(),
            culprit: Arc::default(),
            dice: Dice(seed ^ 0x5eed),
            reader,
            clients: Vec::new(),
            control: Some(control),
            frozen: Vec::new(),
            bed: Some(bed),
        }
    }

    /// What it stands on.
    #[must_use]
    pub fn bed(&self) -> &Bed {
        self.bed.as_ref().expect("it stands until it is dropped")
    }

    /// The same, to be stopped and started.
    #[must_use]
    pub fn bed_mut(&mut self) -> &mut Bed {
        self.bed.as_mut().expect("it stands until it is dropped")
    }

    /// The superuser beside the pooler, in the database `postgres`.
    #[track_caller]
    pub fn sql(&mut self, text: &str) {
        let control = self.control.as_mut().expect("PostgreSQL has not been stopped yet");
        control.query(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    }

    /// A superuser's connection to the database `app`, past the pooler.
    #[must_use]
    #[track_caller]
    pub fn direct(&self) -> Wire {
        self.bed().postgres.direct("app")
    }

    /// The superuser is not asked any more: PostgreSQL will not answer.
    pub fn blind(&mut self) {
        self.control = None;
    }

    /// Clients of the pool that do `habit` with a pause of `think` before each time.
    pub fn crowd<H>(&mut self, count: u32, application: &'static str, think: (Duration, Duration), habit: H)
    where
        H: Fn(&mut Client) -> Result<(), Fault> + Clone + Send + 'static,
    {
        self.crowd_at(count, (application, "app"), think, habit);
    }

    /// The same in another pool: application and database.
    pub fn crowd_at<H>(
        &mut self,
        count: u32,
        (application, database): (&'static str, &str),
        think: (Duration, Duration),
        habit: H,
    ) where
        H: Fn(&mut Client) -> Result<(), Fault> + Clone + Send + 'static,
    {
        let login = Login { database: database.to_string(), ..bed::login() };
        let who = Who { address: self.bed().address(), login, application };
        let (books, signs) = (Arc::clone(&self.books), self.signs.clone());
        let dice = &mut self.dice;
        let make = || Client::new(who.clone(), &books, &signs, Dice(dice.roll()));
        let clients = gather(usize::try_from(count).unwrap_or(0), make, think, habit);
        self.clients.extend(clients);
    }

    /// Connections of another application, past the pooler, that stay open.
    #[track_caller]
    pub fn others(&mut self, count: u32, user: &str, application: &str) {
        let login = Login { user: user.to_string(), ..superuser("postgres") };
        for _ in 0..count {
            let more = [("application_name", application)];
            let wire = Wire::connect_with(&self.bed().postgres.socket(), &login, &more);
            self.beside.push(wire.unwrap_or_else(|e| panic!("another application's connection: {e}")));
        }
    }

    /// The operator writes another configuration and reloads it.
    #[track_caller]
    pub fn reload(&mut self, change: impl FnOnce(&mut Plan)) {
        let bed = self.bed();
        let mut plan = bed.plan().clone();
        change(&mut plan);
        bed.pooler().expect("poolwarden runs").rewrite(&plan, bed.server());
        bed.console().query("RELOAD").unwrap_or_else(|e| panic!("RELOAD: {e}"));
    }

    /// Stops PostgreSQL's postmaster and every process of it, as a frozen machine does: sockets stay, answers do not come.
    pub fn freeze(&mut self) {
        self.blind();
        let postmaster = self.bed().postgres.postmaster();
        // The postmaster first: stopped, it starts no further backend.
        child::signal(postmaster, Signal::STOP);
        self.frozen.push(postmaster);
        for backend in child::children(postmaster) {
            child::signal(backend, Signal::STOP);
            self.frozen.push(backend);
        }
    }

    /// What the test knows, before an answer.
    #[must_use]
    pub fn known(&mut self) -> Known {
        let mut known = Known { counts: self.books.recent(), ..Known::default() };
        known.counts.push(self.books.count());
        known.facts.extend(self.control.as_mut().and_then(|control| Facts::ask(control).ok()));
        known.web = self.web.as_ref().map(|web| [web.counts(); 2]);
        known.culprit = *lock(&self.culprit);
        known
    }

    /// Adds what it knows after the answer.
    pub fn know_more(&mut self, known: &mut Known) {
        known.counts.push(self.books.count());
        if let Some(control) = self.control.as_mut() {
            known.facts.extend(Facts::ask(control).ok());
        }
        if let (Some(web), Some(counts)) = (&self.web, known.web.as_mut()) {
            known.probed = self.probed();
            counts[1] = web.counts();
        }
    }

    /// Good and bad answers to probes, by the metrics; nothing while they do not tell.
    fn probed(&self) -> Option<(u64, u64)> {
        let http = self.bed().pooler().expect("poolwarden runs").http();
        let (_, text) = fetch(http, "/metrics", None).ok()?;
        let sum = |result: &str| {
            let ours = text
                .lines()
                .filter(|line| line.starts_with("poolwarden_probe_answers_total{") && line.contains(result));
            ours.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
        };
        Some((sum("result=\"good\""), sum("result=\"bad\"")))
    }

    /// Asks why.
    ///
    /// # Errors
    /// What is missing in the answer.
    pub fn why(&self) -> Result<Why, String> {
        let pooler = self.bed().pooler().expect("poolwarden runs");
        let (status, body) = fetch(pooler.http(), "/api/v1/why?format=json", None)?;
        if status == 200 { Why::read(&body) } else { Err(format!("why answered {status}: {body}")) }
    }

    /// The same as an operator on this machine reads it, or why there is no answer.
    #[must_use]
    pub fn said(&self) -> String {
        let pooler = self.bed().pooler().expect("poolwarden runs");
        let answer = fetch(pooler.http(), "/api/v1/why?format=text", Some(&token(pooler)));
        answer.map_or_else(|what| what, |(_, text)| text)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.signs.stop.store(true, Ordering::Release);
        self.frozen.iter().for_each(|pid| child::signal(*pid, Signal::CONT));
        self.control = None;
        self.beside.clear();
        // With poolwarden every connection ends, and with that every client that waits for an answer.
        self.bed = None;
        for client in self.clients.drain(..) {
            if client.join().is_err() {
                eprintln!("a client panicked");
            }
        }
        self.reader = None;
    }
}
