//! Logins under anything a server can say, with an honest server's words among it: cuts change nothing, required binding is
//! never given up, and a server that was shown a proof is believed only with its own.

use std::sync::LazyLock;

use poolwarden_pgwire::make::{self, Report};
use poolwarden_pgwire::password::Plain;
use poolwarden_pgwire::scram::{self, Keys, Mechanism, Offer, ServerExchange};
use poolwarden_pgwire::{md5, read};
use poolwarden_relay::login::{
    Binding, Channel, Credentials, LoginFailure, LoginStep, MAX_PARAMETERS, Password, ServerLogin, Welcome,
};

use crate::input::Input;

const SALT: &[u8] = b"salt";
const END_POINT: &[u8] = b"the hash of a certificate";

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::derive("secret", SALT, 1));
static SECRET: LazyLock<scram::Secret> = LazyLock::new(|| scram::Secret::derive("secret", SALT, 1));

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let channel = Channel {
        end_point: input.choice(&[None, Some(END_POINT)]).map(<[u8]>::to_vec),
        binding: input.choice(&[Binding::Disable, Binding::Prefer, Binding::Require]),
        minor: input.choice(&[0, 2]),
    };
    let mut talk = Talk::new(channel, &mut input);
    while !input.is_empty() && !talk.ended {
        talk.act(&mut input);
    }
}

/// One login fed as it comes, and the same one fed byte by byte.
struct Talk {
    whole: ServerLogin,
    dripped: ServerLogin,
    channel: Channel,
    /// The last thing the login said.
    said: Vec<u8>,
    server: Option<ServerExchange>,
    /// The server's side of a finished exchange: what only it can say.
    signed: Option<Vec<u8>>,
    /// The exchange that was finished is bound.
    bound: bool,
    used_scram: bool,
    /// Everything the server's side said.
    told: Vec<u8>,
    ended: bool,
}

impl Talk {
    fn new(channel: Channel, input: &mut Input<'_>) -> Self {
        let password = match input.below(4) {
            0 => None,
            1 => Some(Password::Md5(md5::Hash::of("secret", "alice"))),
            // A password would be derived from with as many rounds as a hostile server asks for; its one use here is in clear.
            2 => Some(Password::Plain(Plain::new("secret"), None)),
            _ => Some(Password::Keys(KEYS.clone())),
        };
        let credentials = Credentials { user: "alice".into(), database: "app".into(), password, settings: vec![] };
        let login = || ServerLogin::new(credentials.clone(), [3; 32], channel.clone());
        Self {
            whole: login(),
            dripped: login(),
            channel: channel.clone(),
            said: Vec::new(),
            server: None,
            signed: None,
            bound: false,
            used_scram: false,
            told: Vec::new(),
            ended: false,
        }
    }

    fn act(&mut self, input: &mut Input<'_>) {
        let mut words = match input.below(4) {
            0 => input.chunk().to_vec(),
            1 | 2 => self.honest(input),
            _ => message(input),
        };
        input.spoil(&mut words);
        if asks_for_many_rounds(&words) {
            return;
        }
        self.tell(&words);
    }

    fn tell(&mut self, words: &[u8]) {
        self.told.extend_from_slice(words);
        let at_once = self.whole.handle(words);
        let by_byte = words.iter().try_for_each(|byte| self.dripped.handle(&[*byte]));
        assert_eq!(at_once, by_byte, "cuts change nothing");
        if let Err(failure) = &at_once {
            self.ended = true;
            assert!(!matches!(failure, LoginFailure::Version(_)) || self.channel.minor > 0);
        }
        loop {
            let (step, same) = (self.whole.poll(), self.dripped.poll());
            match (step, same) {
                (None, None) => return,
                (Some(LoginStep::Send(bytes)), Some(LoginStep::Send(others))) => {
                    assert_eq!(bytes, others);
                    self.used_scram |= bytes[5..].starts_with(b"SCRAM-SHA-256");
                    self.said = bytes;
                }
                (Some(LoginStep::Ready(welcome)), Some(LoginStep::Ready(_))) => {
                    self.ended = true;
                    self.welcomed(&welcome);
                }
                (one, other) => panic!("{one:?}, but by byte {other:?}"),
            }
        }
    }

    fn welcomed(&self, welcome: &Welcome) {
        assert!(welcome.minor <= self.channel.minor);
        assert!(welcome.parameters.len() <= MAX_PARAMETERS && welcome.parameters.is_sorted());
        assert_eq!(welcome.pid.is_none(), welcome.secret.is_empty());
        assert!(welcome.secret.is_empty() || (4..=read::MAX_CANCEL_SECRET).contains(&welcome.secret.len()));
        let was_signed =
            self.signed.as_ref().is_some_and(|signed| self.told.windows(signed.len()).any(|said| said == signed));
        assert!(!self.used_scram || was_signed, "a server that proved nothing was believed");
        assert!(!welcome.bound || (was_signed && self.bound && self.used_scram));
        assert!(self.channel.binding != Binding::Require || welcome.bound, "required binding was given up");
    }

    /// What a server with the secret says next.
    fn honest(&mut self, input: &mut Input<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        let Some(body) = self.said.get(5..) else {
            make::authentication_sasl(&mut out, &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"][input.below(2)..]);
            return out;
        };
        if let Some(server) = self.server.take() {
            match server.finish(body) {
                Ok(verified) => {
                    make::authentication_sasl_final(&mut out, &verified.message);
                    self.bound = verified.bound;
                    self.signed = Some(verified.message);
                    if input.flag() {
                        make::authentication_ok(&mut out);
                        make::backend_key(&mut out, 7, b"key!");
                        make::ready(&mut out, b'I');
                    }
                }
                Err(_) => make::authentication_ok(&mut out),
            }
        } else if let Some((name, rest)) = read::cstr(body)
            && let (Some(chosen), Some(first)) = (Mechanism::parse(name), rest.get(4..))
        {
            let offer = Offer { chosen, end_point: (chosen == Mechanism::Plus).then_some(END_POINT) };
            if let Ok((server, challenge)) = ServerExchange::start(SECRET.clone(), offer, first, "server") {
                self.server = Some(server);
                make::authentication_sasl_continue(&mut out, &challenge);
            }
        }
        out
    }
}

/// A login proves itself with PBKDF2 where it has the password alone: seconds, if a server asks for a million rounds. That
/// bound has its own test.
fn asks_for_many_rounds(words: &[u8]) -> bool {
    words.windows(6).any(|window| window.starts_with(b"i=") && window[2..].iter().all(u8::is_ascii_digit))
}

/// Any message of a login.
fn message(input: &mut Input<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match input.below(12) {
        0 => make::authentication_ok(&mut out),
        1 => make::authentication_cleartext(&mut out),
        2 => make::authentication_md5(&mut out, *b"salt"),
        3 => make::authentication_sasl(&mut out, input.choice(&[&["SCRAM-SHA-256"][..], &["OTHER"], &[]])),
        4 => make::authentication_sasl_continue(&mut out, input.chunk()),
        5 => make::authentication_sasl_final(&mut out, input.chunk()),
        6 => make::parameter_status(&mut out, input.choice(&["TimeZone", "a", ""]), "UTC"),
        7 => make::backend_key(&mut out, 7, input.chunk()),
        8 => make::ready(&mut out, input.choice(b"ITE")),
        9 => make::negotiate_version(&mut out, input.choice(&[0, 1, 2, 3]), input.choice(&[&[][..], &["_pq_.x"]])),
        10 => {
            let sqlstate = input.choice(&["53300", "0A000", "28P01", "08P01"]);
            make::error(&mut out, &Report { severity: "FATAL", sqlstate, message: "no", detail: None, hint: None });
        }
        _ => {
            out.push(input.byte());
            let body = input.chunk();
            out.extend(u32::try_from(body.len() + 4).unwrap_or_default().to_be_bytes());
            out.extend(body);
        }
    }
    out
}
