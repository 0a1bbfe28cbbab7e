//! A server connection's login at the edges: protocol 3.2 and how servers answer it, channel binding and who takes it away.
#![allow(clippy::unwrap_used, missing_docs)] // a test may end where its premise fails

use poolwarden_pgwire::make::{self, Report};
use poolwarden_pgwire::password::Plain;
use poolwarden_pgwire::scram::{Mechanism, Offer, Secret, ServerExchange};
use poolwarden_pgwire::{md5, read};
use poolwarden_relay::login::{Binding, Channel, Credentials, LoginFailure, LoginStep, Password, ServerLogin, Welcome};

const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
const READY: &[u8] = b"Z\0\0\0\x05I";
const CLEAR: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
const MD5: &[u8] = b"R\0\0\0\x0c\0\0\0\x05salt";
const HASH: &[u8] = b"the hash of a certificate, thirty";

fn login(channel: Channel) -> ServerLogin {
    let password = Some(Password::Plain(Plain::new("secret"), None));
    let credentials = Credentials { user: "alice".into(), database: "app".into(), password, settings: vec![] };
    ServerLogin::new(credentials, [3; 32], channel)
}

fn version(minor: u16) -> Channel {
    Channel { minor, ..Channel::default() }
}

fn bound(binding: Binding, end_point: Option<&[u8]>) -> Channel {
    Channel { binding, end_point: end_point.map(<[u8]>::to_vec), minor: 0 }
}

fn made(make: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    make(&mut bytes);
    bytes
}

fn negotiation(minor: u16, unknown: &[&str]) -> Vec<u8> {
    made(|out| make::negotiate_version(out, minor, unknown))
}

fn offer(mechanisms: &[&str]) -> Vec<u8> {
    made(|out| make::authentication_sasl(out, mechanisms))
}

fn error(sqlstate: &str, message: &str) -> Vec<u8> {
    made(|out| make::error(out, &Report { severity: "FATAL", sqlstate, message, detail: None, hint: None }))
}

fn sent(login: &mut ServerLogin) -> Vec<u8> {
    match login.poll() {
        Some(LoginStep::Send(bytes)) => bytes,
        other => panic!("expected bytes, got {other:?}"),
    }
}

fn ready(login: &mut ServerLogin) -> Welcome {
    match login.poll() {
        Some(LoginStep::Ready(welcome)) => *welcome,
        other => panic!("expected readiness, got {other:?}"),
    }
}

/// The failure that `input` leads to, the same whatever its cuts.
fn failure(channel: &Channel, input: &[u8]) -> LoginFailure {
    let whole = login(channel.clone()).handle(input).expect_err("it must fail");
    let mut dripped = login(channel.clone());
    let by_byte = input.iter().try_for_each(|byte| dripped.handle(&[*byte])).expect_err("it must fail");
    assert_eq!(whole, by_byte, "cuts change nothing");
    whole
}

#[test]
fn the_version_asked_for_stands_in_the_first_packet() {
    for (minor, word) in [(0, [0, 3, 0, 0]), (2, [0, 3, 0, 2])] {
        assert_eq!(login(version(minor)).start()[4..8], word);
    }
}

#[test]
fn a_server_that_says_nothing_of_versions_speaks_the_one_asked_for() {
    for minor in [0, 2] {
        let mut login = login(version(minor));
        login.handle(&[OK, &made(|out| make::backend_key(out, 7, &[9; 32])), READY].concat()).unwrap();
        let welcome = ready(&mut login);
        assert_eq!((welcome.minor, welcome.secret.len(), welcome.bound), (minor, 32, false));
    }
}

#[test]
fn a_server_that_knows_no_newer_version_says_so_and_is_believed() {
    // PostgreSQL sends the whole version word, some poolers the minor version alone.
    for answer in [negotiation(0, &[]), b"v\0\0\0\x0c\0\0\0\0\0\0\0\0".to_vec()] {
        let input = [&answer, OK, &made(|out| make::backend_key(out, 7, b"key!")), READY].concat();
        for cut in 0..=input.len() {
            let mut login = login(version(2));
            login.handle(&input[..cut]).unwrap();
            login.handle(&input[cut..]).unwrap();
            assert_eq!(ready(&mut login).minor, 0);
        }
    }
}

#[test]
fn a_negotiation_that_makes_no_sense_ends_the_login() {
    let nothing = negotiation(2, &[]);
    let higher = negotiation(3, &[]);
    let unreleased = negotiation(1, &[]);
    let option = negotiation(0, &["_pq_.x"]);
    let other_major = b"v\0\0\0\x0c\0\x02\0\0\0\0\0\0".to_vec();
    let twice = [negotiation(0, &[]), negotiation(0, &[])].concat();
    let late = [CLEAR, &negotiation(0, &[])].concat();
    let later = [OK, &negotiation(0, &[])].concat();
    let short = b"v\0\0\0\x08\0\x03\0\0".to_vec();
    let miscounted = b"v\0\0\0\x0c\0\x03\0\0\0\0\0\x01".to_vec();
    for input in [nothing, higher, unreleased, option, other_major, twice, late, later, short, miscounted] {
        let failure = failure(&version(2), &input);
        assert!(matches!(failure, LoginFailure::Protocol(_)), "{input:?}: {failure:?}");
    }
    let unasked = failure(&version(0), &negotiation(0, &[]));
    assert!(matches!(unasked, LoginFailure::Protocol(_)), "{unasked:?}");
}

#[test]
fn a_server_too_old_to_negotiate_is_told_apart() {
    let said = "unsupported frontend protocol 3.2: server supports 1.0 to 3.0";
    let refusals = [error("0A000", said), error("08P01", "bad packet"), error("", "what is this")];
    for refusal in &refusals {
        let failure = failure(&version(2), refusal);
        assert!(matches!(failure, LoginFailure::Version(_)), "{failure:?}");
    }
    assert_eq!(failure(&version(2), &refusals[0]), LoginFailure::Version(said.to_owned()));
    // An error of protocol 2 has no length.
    for refusal in [b"EFATAL:  unsupported frontend protocol\n\0".as_slice(), b"E\x7f\xff\xff\xffx", b"E\0\0\0\x01"] {
        let failure = failure(&version(2), refusal);
        assert!(matches!(failure, LoginFailure::Version(_)), "{failure:?}");
    }
}

#[test]
fn other_refusals_are_not_blamed_on_the_version() {
    let refused = |channel: Channel, input: &[u8]| {
        let failure = failure(&channel, input);
        let LoginFailure::Server { sqlstate, .. } = failure else { panic!("{failure:?}") };
        sqlstate
    };
    assert_eq!(refused(version(2), &error("28P01", "no")), "28P01");
    assert_eq!(refused(version(2), &error("57P03", "starting up")), "57P03");
    assert_eq!(refused(version(2), &error("3D000", "no such database")), "3D000");
    assert_eq!(refused(version(0), &error("0A000", "not here")), "0A000");
    assert_eq!(refused(version(2), &[negotiation(0, &[]), error("0A000", "not here")].concat()), "0A000");
    assert_eq!(refused(version(2), &[OK, &error("0A000", "not here")].concat()), "0A000");
    // A word of warning is no answer yet.
    let notice = made(|out| {
        make::notice(out, &Report { severity: "WARNING", sqlstate: "01000", message: "m", detail: None, hint: None });
    });
    let failure = failure(&version(2), &[notice, error("0A000", "unsupported frontend protocol")].concat());
    assert!(matches!(failure, LoginFailure::Version(_)), "{failure:?}");
}

/// Plays a server with a SCRAM secret of "secret" up to its last word, and gives the login and that word.
fn exchanged(channel: Channel, mechanisms: &[&str], expected: Mechanism) -> (ServerLogin, Vec<u8>) {
    let mut login = login(channel);
    login.handle(&offer(mechanisms)).unwrap();
    let first = sent(&mut login);
    let (name, rest) = read::cstr(&first[5..]).unwrap();
    assert_eq!(Mechanism::parse(name), Some(expected));
    let secret = Secret::derive("secret", b"salt", 1);
    let offered = mechanisms.contains(&Mechanism::Plus.name()).then_some(HASH);
    let offer = Offer { chosen: expected, end_point: offered };
    let (server, challenge) = ServerExchange::start(secret, offer, &rest[4..], "nonce").unwrap();
    login.handle(&made(|out| make::authentication_sasl_continue(out, &challenge))).unwrap();
    let verified = server.finish(&sent(&mut login)[5..]).unwrap();
    assert_eq!(verified.bound, expected == Mechanism::Plus);
    (login, made(|out| make::authentication_sasl_final(out, &verified.message)))
}

#[test]
fn the_channel_is_bound_where_both_can() {
    const BOTH: [&str; 2] = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"];
    const TURNED: [&str; 2] = ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"];
    const PLAIN: [&str; 1] = ["SCRAM-SHA-256"];
    let (some, plain, plus) = (Some(HASH), Mechanism::Plain, Mechanism::Plus);
    for (binding, end_point, offered, expected) in [
        (Binding::Prefer, some, BOTH.as_slice(), plus),
        (Binding::Prefer, some, &TURNED, plus),
        (Binding::Prefer, some, &PLAIN, plain),
        (Binding::Prefer, None, &BOTH, plain),
        (Binding::Prefer, None, &PLAIN, plain),
        (Binding::Disable, some, &BOTH, plain),
        (Binding::Disable, some, &PLAIN, plain),
        (Binding::Require, some, &BOTH, plus),
        (Binding::Require, some, &BOTH[..1], plus),
    ] {
        let (mut login, signed) = exchanged(bound(binding, end_point), offered, expected);
        assert_eq!(login.derivations(), 1);
        login.handle(&[&signed, OK, READY].concat()).unwrap();
        assert_eq!(ready(&mut login).bound, expected == plus, "{binding:?} {offered:?}");
    }
}

#[test]
fn required_binding_is_not_given_up_for_anybody() {
    let lacking = |channel: &Channel, input: &[u8]| {
        let failure = failure(channel, input);
        assert!(matches!(failure, LoginFailure::ChannelBinding(_)), "{input:?}: {failure:?}");
        assert!(failure.to_string().starts_with("channel binding is required, but "), "{failure}");
    };
    let (require, without) = (bound(Binding::Require, Some(HASH)), bound(Binding::Require, None));
    for input in [OK, CLEAR, MD5, &offer(&["SCRAM-SHA-256"]), &offer(&["SCRAM-SHA-1"])] {
        lacking(&require, input);
        lacking(&without, input);
    }
    lacking(&without, &offer(&["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]));
}

#[test]
fn a_server_that_skips_the_end_of_the_exchange_is_not_believed() {
    let require = bound(Binding::Require, Some(HASH));
    let (mut early, _) = exchanged(require.clone(), &["SCRAM-SHA-256-PLUS"], Mechanism::Plus);
    assert_eq!(early.handle(OK), Err(LoginFailure::ServerSignature));
    let (mut wrong, mut signed) = exchanged(require.clone(), &["SCRAM-SHA-256-PLUS"], Mechanism::Plus);
    let last = signed.len() - 5;
    signed[last] = if signed[last] == b'A' { b'B' } else { b'A' };
    assert!(wrong.handle(&signed).is_err());
    // Once it has proven itself, nothing but its AuthenticationOk is taken.
    for next in [CLEAR, MD5, &offer(&["SCRAM-SHA-256"])] {
        let (mut again, signed) = exchanged(require.clone(), &["SCRAM-SHA-256-PLUS"], Mechanism::Plus);
        again.handle(&signed).unwrap();
        assert!(matches!(again.handle(next), Err(LoginFailure::Protocol(_))));
    }
}

#[test]
fn a_server_that_offers_only_what_cannot_be_bound_here_is_named() {
    let only = offer(&["SCRAM-SHA-256-PLUS"]);
    let unsupported = LoginFailure::Unsupported("SASL SCRAM-SHA-256-PLUS".to_owned());
    assert_eq!(failure(&bound(Binding::Prefer, None), &only), unsupported);
    assert_eq!(failure(&bound(Binding::Disable, Some(HASH)), &only), unsupported);
}

#[test]
fn an_md5_secret_cannot_be_bound() {
    let password = Some(Password::Md5(md5::Hash::of("secret", "alice")));
    let credentials = Credentials { user: "alice".into(), database: "app".into(), password, settings: vec![] };
    let mut login = ServerLogin::new(credentials, [3; 32], bound(Binding::Prefer, Some(HASH)));
    let failure = login.handle(&offer(&["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]));
    assert_eq!(failure, Err(LoginFailure::Unsupported("SCRAM-SHA-256-PLUS".to_owned())));
}
