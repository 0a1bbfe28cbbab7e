//! The relay between clients that say anything and a server that answers rightly, wrongly or with junk: no panic, whole frames
//! to both sides, clean connections handed back, every byte of statement texts given back in the end.

use std::collections::VecDeque;
use std::sync::Arc;

use poolwarden_pgwire::{frame, make};
use poolwarden_relay::{
    Client, Defaults, Farewell, Fault, Idle, Keep, Out, Server, SessionState, Settings, Terms, Texts, Turn,
};

use crate::input::Input;
use crate::target::answer::Answering;

const CLIENTS: usize = 2;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut line = Line::new(&mut input);
    for _ in 0..400 {
        if input.is_empty() {
            break;
        }
        line.act(&mut input);
    }
    line.finish();
}

/// What goes one way, read as frames.
#[derive(Default)]
struct Stream {
    header: Vec<u8>,
    body: usize,
}

impl Stream {
    fn take(&mut self, mut bytes: &[u8], tags: &[u8]) {
        while !bytes.is_empty() {
            if self.body > 0 {
                let taken = self.body.min(bytes.len());
                self.body -= taken;
                bytes = &bytes[taken..];
                continue;
            }
            self.header.push(bytes[0]);
            bytes = &bytes[1..];
            if let Some(header) = frame::header(&self.header).expect("a frame that can be") {
                assert!(tags.contains(&header.tag), "message {:?}", char::from(header.tag));
                self.header.clear();
                self.body = header.body as usize;
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.body == 0 && self.header.is_empty()
    }
}

/// What a client says to a server after its login.
const TO_SERVER: &[u8] = b"QPBDECSHFdcfX";

struct Line {
    server: Server,
    clients: [Client; CLIENTS],
    gone: [bool; CLIENTS],
    texts: Texts,
    terms: Terms,
    lent: Option<usize>,
    draining: bool,
    waiting: VecDeque<usize>,
    to_client: [Stream; CLIENTS],
    to_server: Stream,
    answering: Answering,
    now: u64,
}

fn server() -> Server {
    let reported = [("client_encoding", "UTF8"), ("DateStyle", "ISO, MDY"), ("TimeZone", "UTC")];
    let reported: Vec<(String, String)> =
        reported.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Server::new(Some(1), vec![0; 4], Arc::new(Defaults::new(&reported)))
}

impl Line {
    fn new(input: &mut Input<'_>) -> Self {
        let terms = Terms {
            keep: input.choice(&[Keep::Transaction, Keep::Transaction, Keep::Session, Keep::Statement]),
            statements: input.choice(&[200, 2, 1, 0]),
            large_text: input.choice(&[1 << 20, 12]),
            state: input.choice(&[SessionState::Pin, SessionState::Refuse]),
            cut: input.choice(&[(64, u64::MAX), (1, u64::MAX)]),
        };
        let plain = Client::new(Settings::new([]));
        let other = Client::new(Settings::new([("application_name", "two"), ("search_path", "a, b")]));
        Self {
            server: server(),
            clients: [plain, other],
            gone: [false; CLIENTS],
            texts: Texts::new(1, 1 << 20),
            terms,
            lent: None,
            draining: false,
            waiting: VecDeque::new(),
            to_client: Default::default(),
            to_server: Stream::default(),
            answering: Answering::default(),
            now: 0,
        }
    }

    fn act(&mut self, input: &mut Input<'_>) {
        self.now += 1000;
        match input.below(12) {
            0 => {
                let at = input.below(CLIENTS);
                self.say(at, input.chunk());
            }
            1..=6 => {
                let at = input.below(CLIENTS);
                let mut message = Vec::new();
                request(input, &mut message);
                input.spoil(&mut message);
                self.say(at, &message);
            }
            7 | 8 => {
                let answer = self.answering.all();
                self.hear(&answer);
            }
            9 => {
                let mut answer = self.answering.one();
                input.spoil(&mut answer);
                self.hear(&answer);
            }
            10 => self.hear(input.chunk()),
            _ => self.leave(input.below(CLIENTS)),
        }
        self.grant();
    }

    fn say(&mut self, at: usize, bytes: &[u8]) {
        if !self.gone[at] {
            self.clients[at].keep(bytes);
            self.pump(at);
        }
    }

    fn pump(&mut self, at: usize) {
        if self.lent == Some(at) {
            return self.forward(at);
        }
        if self.gone[at] || self.waiting.contains(&at) {
            return;
        }
        let input = std::mem::take(&mut self.clients[at].pending);
        let mut reply = Vec::new();
        let looked = self.look(at, &input, &mut reply);
        self.to_client[at].take(&reply, TO_CLIENT);
        match looked {
            Ok((taken, idle)) => {
                self.clients[at].keep(&input[taken..]);
                match idle {
                    Idle::Wants => self.waiting.push_back(at),
                    Idle::Leaves => self.leave(at),
                    Idle::Nothing => self.clients[at].rest(),
                }
            }
            Err(fault) => {
                assert!(matches!(fault, Fault::Client(_)), "{fault:?}");
                self.leave(at);
            }
        }
    }

    /// What a client without a server connection asks for; what can be answered without one is.
    fn look(&mut self, at: usize, input: &[u8], reply: &mut Vec<u8>) -> Result<(usize, Idle), Fault> {
        let client = &mut self.clients[at];
        let mut done = 0;
        loop {
            let (taken, idle) = client.idle_input(&input[done..], reply)?;
            done += taken;
            if idle != Idle::Wants || !self.terms.follows() {
                return Ok((done, idle));
            }
            match client.answer_alone(&mut self.texts, &input[done..], reply)? {
                0 => return Ok((done, Idle::Wants)),
                answered => done += answered,
            }
        }
    }

    fn forward(&mut self, at: usize) {
        let input = std::mem::take(&mut self.clients[at].pending);
        let mut out = Out::default();
        self.server.others_wait = !self.waiting.is_empty();
        let taken = self.server.from_client(self.now, &mut self.clients[at], &mut self.texts, &input, &mut out);
        self.send(&out, &input);
        match taken {
            Ok(taken) => self.clients[at].keep(&input[taken..]),
            Err(Fault::Server(what)) => panic!("a client's bytes are not the server's fault: {what}"),
            Err(Fault::Leaves | Fault::Client(_) | Fault::Block) => self.leave(at),
        }
    }

    fn send(&mut self, out: &Out, input: &[u8]) {
        let bytes = out.server.bytes(input);
        self.to_server.take(bytes, TO_SERVER);
        self.answering.hear(bytes);
        match self.lent {
            Some(at) => self.to_client[at].take(out.client.bytes(input), TO_CLIENT),
            None => assert!(out.client.is_empty(), "something for a client that is gone"),
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let mut input = std::mem::take(&mut self.server.pending);
        input.extend_from_slice(bytes);
        let mut out = Out::default();
        self.server.others_wait = !self.waiting.is_empty();
        let client = self.lent.map(|at| (&mut self.clients[at], &mut self.texts));
        let heard = self.server.from_server(self.now, client, &input, &mut out);
        let Ok((taken, turn)) = heard else {
            return self.replace();
        };
        self.send(&out, &input);
        self.server.pending = input[taken..].to_vec();
        match turn {
            Turn::More => {}
            Turn::Opened => {
                if let Some(at) = self.lent {
                    self.pump(at);
                }
            }
            Turn::Released => self.release(),
            Turn::Spoiled => {
                let lent = self.lent.take();
                self.replace();
                if let Some(at) = lent {
                    assert!(self.to_client[at].is_whole(), "half an answer");
                    self.pump(at);
                }
            }
            Turn::SetupFailed => {
                assert!(self.server.failure().is_some());
                self.replace();
            }
        }
        if self.server.said_fatal() && self.lent.is_none() {
            self.replace();
        }
    }

    fn release(&mut self) {
        let lent = self.lent.take();
        assert!(lent.is_some() || self.draining, "released by nobody");
        assert!(!self.server.is_busy() && !self.server.in_transaction(), "handed back dirty");
        assert!(self.to_server.is_whole(), "handed back with half a request");
        self.draining = false;
        self.server.settle(self.now);
        if lent.is_none() && self.terms.keep == Keep::Session {
            let mut out = Out::default();
            self.server.reset(self.now, "discard all", &mut out);
            self.draining = true;
            self.send(&out, &[]);
        }
        if let Some(at) = lent {
            assert!(self.to_client[at].is_whole(), "half an answer");
            self.pump(at);
        }
    }

    fn grant(&mut self) {
        while self.lent.is_none() && !self.draining && !self.server.said_fatal() {
            let Some(at) = self.waiting.pop_front() else { return };
            self.lent = Some(at);
            let mut out = Out::default();
            self.server.lend(self.now, self.terms, &mut self.clients[at], &mut out);
            self.send(&out, &[]);
            self.pump(at);
        }
    }

    fn leave(&mut self, at: usize) {
        self.waiting.retain(|waiting| *waiting != at);
        if self.lent == Some(at) {
            let mut out = Out::default();
            let farewell = self.server.client_gone(self.now, &self.clients[at], &mut out);
            self.lent = None;
            self.draining = true;
            let broken = farewell == Farewell::Broken;
            if !broken {
                self.send(&out, &[]);
            }
            match farewell {
                Farewell::Clean => self.release(),
                Farewell::Draining { .. } => {}
                Farewell::Broken => self.replace(),
            }
        }
        if !std::mem::replace(&mut self.gone[at], true) {
            self.clients[at].leave(&mut self.texts);
        }
    }

    /// Everybody goes. The texts nobody holds are swept when there is no room for one more: then nothing is left of them.
    fn finish(&mut self) {
        for at in 0..CLIENTS {
            self.leave(at);
        }
        self.replace();
        self.texts.rebound(0);
        let mut last = Client::new(Settings::new([]));
        let mut parse = Vec::new();
        make::parse(&mut parse, "a", "a text of nobody else", &[]);
        let (mut server, mut out) = (server(), Out::default());
        let terms = Terms { large_text: 1 << 20, statements: 1, keep: Keep::Transaction, ..self.terms };
        server.lend(self.now, terms, &mut last, &mut out);
        let taken = server.from_client(self.now, &mut last, &mut self.texts, &parse, &mut out);
        assert!(taken.is_ok(), "{taken:?}");
        last.leave(&mut self.texts);
        assert_eq!(self.texts.bytes(), 0, "texts of clients that are gone");
    }

    /// The server connection is of no more use, and who had it goes with it.
    fn replace(&mut self) {
        let lent = self.lent.take();
        self.draining = false;
        self.server = server();
        self.to_server = Stream::default();
        self.answering = Answering::default();
        if let Some(at) = lent {
            self.leave(at);
        }
    }
}

/// What a server says to a client after its login; the relay hands on what it does not know.
const TO_CLIENT: &[u8] = &{
    let mut all = [0; 256];
    let mut at = 0;
    while at < 256 {
        all[at] = at as u8;
        at += 1;
    }
    all
};

const NAMES: [&str; 4] = ["", "a", "b", "c"];
const TEXTS: [&str; 24] = [
    "select 1",
    "begin",
    "commit",
    "rollback",
    "begin; select 1",
    "set search_path to x",
    "set local work_mem = '1MB'",
    "select set_config('a.b', 'c', false)",
    "set role bob",
    "reset all",
    "discard all",
    "deallocate all",
    "deallocate a",
    "prepare x as select 1",
    "execute x",
    "listen x",
    "select pg_advisory_lock(1)",
    "create temp table t (a int)",
    "declare c cursor with hold for select 1",
    "load 'x'",
    "copy t from stdin",
    "copy t to stdout",
    "savepoint s",
    "",
];

/// One request message of a client.
fn request(input: &mut Input<'_>, out: &mut Vec<u8>) {
    let text = |input: &mut Input<'_>| match input.below(TEXTS.len() + 1) {
        at if at < TEXTS.len() => TEXTS[at].as_bytes().to_vec(),
        _ => input.chunk().to_vec(),
    };
    match input.below(14) {
        0 | 1 => make::query(out, text(input)),
        2 | 3 => make::parse(out, input.choice(&NAMES), text(input), &[]),
        4 => bind(out, input.choice(&NAMES), input.choice(&NAMES)),
        5 => make::describe(out, input.choice(b"SP"), input.choice(&NAMES)),
        6 => execute(out, input.choice(&NAMES)),
        7 => make::close(out, input.choice(b"SP"), input.choice(&NAMES)),
        8 | 9 => make::sync(out),
        10 => make::flush(out),
        11 => make::copy_fail(out, "no more"),
        12 => framed(out, input.choice(b"dcdF"), input.chunk()),
        _ => {
            make::parse(out, "", text(input), &[]);
            bind(out, "", "");
            make::describe(out, b'P', "");
            execute(out, "");
            make::sync(out);
        }
    }
}

fn framed(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    out.push(tag);
    out.extend(u32::try_from(body.len() + 4).unwrap_or_default().to_be_bytes());
    out.extend(body);
}

fn bind(out: &mut Vec<u8>, portal: &str, statement: &str) {
    framed(out, b'B', &[portal.as_bytes(), b"\0", statement.as_bytes(), b"\0\0\0\0\0\0\0"].concat());
}

fn execute(out: &mut Vec<u8>, portal: &str) {
    framed(out, b'E', &[portal.as_bytes(), b"\0\0\0\0\0"].concat());
}
