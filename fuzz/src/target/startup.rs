//! Greetings under any input in any cuts, with an honest client's words among it: bounded memory, whole answers, one end, and
//! nobody let in without a proof unless the rules say so.

use std::sync::LazyLock;

use poolwarden_pgwire::password::{Plain, Secret};
use poolwarden_pgwire::scram::{ClientExchange, Flag, Keys, Mechanism, Proof};
use poolwarden_pgwire::{frame, make, md5, read, scram};
use poolwarden_relay::greet::{Found, GreetError, Greeting, MAX_BEHIND, Method, NEWEST_MINOR, Rules, Step, TlsOffer};

use crate::input::Input;

const SALT: &[u8] = b"sixteen bytes :)";
const PASSWORD: &str = "a long password";
const END_POINT: &[u8] = b"the hash of a certificate";

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::derive(PASSWORD, SALT, 1));
static VERIFIER: LazyLock<scram::Secret> = LazyLock::new(|| scram::Secret::derive(PASSWORD, SALT, 1));

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut talk = Talk::new(&mut input);
    while !input.is_empty() && !talk.ended {
        talk.act(&mut input);
    }
    assert!(talk.greeting.derivations() <= 1 && talk.refusals <= 1);
}

struct Talk {
    greeting: Greeting,
    rules: Rules,
    found: Found,
    end_point: Option<Vec<u8>>,
    /// What the server's side said last.
    heard: Vec<u8>,
    /// Everything said since the client was asked to prove itself.
    said: Vec<u8>,
    asked: bool,
    exchange: Option<ClientExchange>,
    /// What only somebody with the password can say.
    proofs: Vec<Vec<u8>>,
    negotiated: bool,
    secured: bool,
    refusals: u32,
    ended: bool,
}

impl Talk {
    fn new(input: &mut Input<'_>) -> Self {
        let rules = Rules {
            tls: if input.flag() { TlsOffer::On } else { TlsOffer::Off },
            max_startup: input.choice(&[read::MAX_STARTUP, 64]),
            max_password: input.choice(&[8192, 100]),
            seed: [1; 32],
        };
        let end_point = input.choice(&[None, Some(END_POINT)]).map(<[u8]>::to_vec);
        let found = found(input);
        Self {
            greeting: Greeting::new(rules, [2; 32]),
            rules,
            found,
            end_point,
            heard: Vec::new(),
            said: Vec::new(),
            asked: false,
            exchange: None,
            proofs: Vec::new(),
            negotiated: false,
            secured: false,
            refusals: 0,
            ended: false,
        }
    }

    fn act(&mut self, input: &mut Input<'_>) {
        let mut words = match input.below(8) {
            0 | 1 => input.chunk().to_vec(),
            2 => start(input),
            3 | 4 => self.honest(input),
            5 => input.choice(&[SSL, GSS, TLS, b"X\0\0\0\x04", b"p\0\0\0"]).to_vec(),
            6 => {
                let mut packet = Vec::new();
                make::cancel_request(&mut packet, 7, input.chunk());
                packet
            }
            _ => vec![input.byte(); usize::from(input.word())],
        };
        input.spoil(&mut words);
        let cut = usize::from(input.byte()).min(words.len());
        let (front, back) = words.split_at(cut);
        self.say(front);
        self.say(back);
    }

    fn say(&mut self, bytes: &[u8]) {
        if self.asked {
            self.said.extend_from_slice(bytes);
        }
        let outcome = self.greeting.handle(bytes);
        self.note(outcome);
        let most = self.rules.max_startup.max(self.rules.max_password) + MAX_BEHIND;
        assert!(self.greeting.held() <= most, "{} bytes are held", self.greeting.held());
        while let Some(step) = self.greeting.poll() {
            assert!(!self.ended, "after the end: {step:?}");
            self.take(step);
        }
    }

    fn note(&mut self, outcome: Result<(), GreetError>) {
        let Err(error) = outcome else { return };
        self.refusals += 1;
        assert_eq!(error.sqlstate.len(), 5, "{error}");
        assert!(!error.message.is_empty() && !error.reason.is_empty());
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Send(bytes) => self.hear(bytes),
            Step::StartTls { received, direct } => {
                assert!(self.rules.tls == TlsOffer::On && !self.secured);
                assert_eq!(direct, received.first() == Some(&0x16), "plain bytes reach no handshake");
                self.secured = true;
                self.greeting.secured(self.end_point.clone());
            }
            Step::Lookup(who) => {
                assert!(!self.asked && (1..=63).contains(&who.user.len()) && (1..=63).contains(&who.database.len()));
                assert_eq!(who.tls, self.secured);
                self.asked = true;
                let outcome = self.greeting.answer(self.found.clone());
                self.note(outcome);
            }
            Step::Cancel { secret, .. } => assert!((1..=read::MAX_CANCEL_SECRET).contains(&secret.len())),
            Step::Authenticated(session) => {
                self.ended = true;
                assert!(self.asked && self.refusals == 0);
                assert!(self.found.method == Method::Trust || self.has_proven(), "let in without a proof");
                assert!(session.minor == 0 || session.minor == NEWEST_MINOR);
                let folded: Vec<String> = session.settings.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
                assert!(folded.is_sorted_by(|a, b| a < b), "each setting once, in order");
            }
            Step::Close => self.ended = true,
        }
    }

    fn has_proven(&self) -> bool {
        let known = self.found.secret.is_some();
        known && self.proofs.iter().any(|proof| self.said.windows(proof.len()).any(|said| said == proof))
    }

    /// What is sent is whole messages, or one byte about encryption.
    fn hear(&mut self, bytes: Vec<u8>) {
        if matches!(bytes.as_slice(), b"N" | b"S") {
            assert!(!self.asked, "encryption is spoken of first");
            return;
        }
        let mut left = bytes.as_slice();
        while !left.is_empty() {
            let header = frame::header(left).ok().flatten().expect("a frame");
            let (message, rest) = left.split_at_checked(header.total()).expect("a whole frame");
            match message[0] {
                b'R' if message[8] == 3 => self.proofs.push(PASSWORD.into()),
                b'R' if message[8] == 5 => {
                    let salt = message[9..].try_into().expect("four bytes");
                    self.proofs.push(md5::Hash::of(PASSWORD, "alice").response(salt).to_vec());
                }
                b'R' => {}
                b'E' => assert_eq!(read::report(&message[5..]).severity, "FATAL"),
                b'v' => assert!(!std::mem::replace(&mut self.negotiated, true), "negotiated twice"),
                other => panic!("message {other}"),
            }
            message.clone_into(&mut self.heard);
            left = rest;
        }
    }

    /// What a client with the password says next; its proof is remembered.
    fn honest(&mut self, input: &mut Input<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        let Some((b"R", rest)) = self.heard.split_at_checked(1) else { return start(input) };
        let (kind, body) = rest[4..].split_at(4);
        match kind[3] {
            3 => make::password(&mut out, PASSWORD),
            5 => {
                let salt = body.try_into().expect("four bytes");
                make::password(&mut out, md5::Hash::of(PASSWORD, "alice").response(salt));
            }
            10 => {
                let plus = body.starts_with(Mechanism::Plus.name().as_bytes());
                let flag = if plus && input.flag() { Flag::EndPoint(END_POINT.to_vec()) } else { Flag::Unbound };
                let (exchange, first) = ClientExchange::start("client".to_owned(), &flag);
                self.exchange = Some(exchange);
                make::sasl_initial(&mut out, flag.mechanism().name(), &first);
            }
            11 => {
                let response = self.exchange.take().and_then(|client| client.respond(body, Proof::Keys(&KEYS)).ok());
                if let Some(response) = response {
                    make::sasl_response(&mut out, &response.message);
                    self.proofs.push(response.message);
                }
            }
            _ => {}
        }
        out
    }
}

const SSL: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSS: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";
const TLS: &[u8] = b"\x16\x03\x01\x02\x00\x01";

/// How the client is to prove itself. Without PBKDF2 of thousands of rounds, which would make every input the same length.
fn found(input: &mut Input<'_>) -> Found {
    let plain = Secret::Plain(Plain::new(PASSWORD).keeping(VERIFIER.clone()));
    let hash = Secret::Md5(md5::Hash::of(PASSWORD, "alice"));
    let scram = Secret::Scram(VERIFIER.clone());
    let (method, secret) = match input.below(12) {
        0 => (Method::Trust, None),
        1 => (Method::Password, Some(plain)),
        2 => (Method::Password, Some(hash)),
        3 => (Method::Password, Some(scram)),
        4 => (Method::Md5, Some(plain)),
        5 => (Method::Md5, Some(hash)),
        6 => (Method::Md5, Some(scram)),
        7 => (Method::Md5, None),
        8 => (Method::Scram, Some(plain)),
        9 => (Method::Scram, Some(hash)),
        10 => (Method::Scram, None),
        _ if input.flag() => (Method::Scram, Some(scram)),
        _ => (Method::Reject { sqlstate: "28000".into(), message: "not here".to_owned() }, None),
    };
    Found { method, secret }
}

/// A start-up packet of alice's.
fn start(input: &mut Input<'_>) -> Vec<u8> {
    let minor = input.choice(&[0, 0, 2, 3, 9999]);
    let extra = String::from_utf8_lossy(input.chunk()).into_owned();
    let name = input.choice(&["options", "database", "replication", "_pq_.x", "DateStyle", "poolwarden.class"]);
    let params = [("user", "alice"), (name, extra.as_str())];
    let mut packet = Vec::new();
    make::startup(&mut packet, minor, &params[..1 + usize::from(input.flag())]);
    packet
}
