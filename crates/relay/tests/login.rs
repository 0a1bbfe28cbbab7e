//! A server connection until its first ReadyForQuery, in raw bytes.
#![allow(clippy::unwrap_used, missing_docs)] // a test may end where its premise fails

use poolwarden_pgwire::make::{self, Report};
use poolwarden_pgwire::password::Plain;
use poolwarden_pgwire::{md5, scram};
use poolwarden_relay::login::{
    Capacity, Channel, Credentials, LoginFailure, LoginStep, MAX_PARAMETERS, Password, ServerLogin, Welcome,
};
use proptest::prelude::*;

/// What PostgreSQL 17 sends behind AuthenticationOk, shortened to three parameters and with a notice among them.
const SETTLED: &[u8] = b"R\0\0\0\x08\0\0\0\0\
    S\0\0\0\x18server_version\x0017.2\0\
    N\0\0\0\x18SNOTICE\0C00000\0Mhi\0\0\
    S\0\0\0\x11TimeZone\0UTC\0\
    S\0\0\0\x19client_encoding\0UTF8\0\
    K\0\0\0\x0c\0\0\x04\xd2\x12\x34\x56\x78\
    Z\0\0\0\x05I";

fn login(password: Option<Password>) -> ServerLogin {
    let settings = vec![("application_name".to_owned(), "web".to_owned())];
    let credentials = Credentials { user: "alice".into(), database: "app".into(), password, settings };
    ServerLogin::new(credentials, [3; 32], Channel::default())
}

fn plain() -> Option<Password> {
    Some(Password::Plain(Plain::new("secret"), None))
}

fn keys() -> Option<Password> {
    Some(Password::Keys(scram::Keys::derive("secret", b"salt", 1)))
}

fn hashed() -> Option<Password> {
    Some(Password::Md5(md5::Hash::of("secret", "alice")))
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

fn failure(password: Option<Password>, input: &[u8]) -> LoginFailure {
    login(password).handle(input).expect_err("it must fail")
}

#[test]
fn the_first_packet_names_user_database_and_settings() {
    let packet = login(None).start();
    assert_eq!(packet, b"\0\0\0\x36\0\x03\0\0user\0alice\0database\0app\0application_name\0web\0\0");
}

#[test]
fn no_setting_replaces_the_user_or_the_database() {
    let named = ["user", "User", "database", "options", "_pq_.x", "work_mem", "replication"];
    let settings = named.map(|name| (name.to_owned(), "1".to_owned())).to_vec();
    let credentials = Credentials { user: "alice".into(), database: "app".into(), password: None, settings };
    let packet = ServerLogin::new(credentials, [3; 32], Channel::default()).start();
    assert_eq!(&packet[8..], b"user\0alice\0database\0app\0work_mem\x001\0replication\x001\0\0");
}

#[test]
fn a_trusting_servers_words_are_read_whatever_their_cuts() {
    for cut in 0..=SETTLED.len() {
        let mut login = login(None);
        login.handle(&SETTLED[..cut]).unwrap();
        login.handle(&SETTLED[cut..]).unwrap();
        let welcome = ready(&mut login);
        let named: Vec<_> = welcome.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(named, [("TimeZone", "UTC"), ("client_encoding", "UTF8"), ("server_version", "17.2")]);
        assert_eq!((welcome.pid, welcome.secret.as_slice()), (Some(1234), b"\x12\x34\x56\x78".as_slice()));
        assert!(welcome.leftover.is_empty() && welcome.derived.is_none());
        assert!(login.poll().is_none());
    }
}

#[test]
fn what_follows_readiness_is_kept() {
    let mut login = login(None);
    login.handle(&[SETTLED, b"A\0\0"].concat()).unwrap();
    login.handle(b"\0\x09").unwrap();
    assert_eq!(ready(&mut login).leftover, b"A\0\0\0\x09");
}

#[test]
fn a_server_without_a_key_and_one_with_a_long_key_are_taken() {
    let mut short = login(None);
    short.handle(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").unwrap();
    let welcome = ready(&mut short);
    assert_eq!((welcome.pid, welcome.secret.len()), (None, 0));
    let mut bytes = Vec::new();
    make::authentication_ok(&mut bytes);
    make::backend_key(&mut bytes, 7, &[9; 256]);
    make::ready(&mut bytes, b'I');
    let mut long = login(None);
    long.handle(&bytes).unwrap();
    assert_eq!(ready(&mut long).secret, [9; 256]);
}

#[test]
fn passwords_are_answered_as_postgresql_wants_them() {
    let mut clear = login(plain());
    clear.handle(b"R\0\0\0\x08\0\0\0\x03").unwrap();
    assert_eq!(sent(&mut clear), b"p\0\0\0\x0bsecret\0");
    clear.handle(SETTLED).unwrap();
    ready(&mut clear);
    for password in [plain(), hashed()] {
        let mut login = login(password);
        login.handle(b"R\0\0\0\x0c\0\0\0\x05salt").unwrap();
        let mut expected = b"p\0\0\0\x28".to_vec();
        expected.extend(md5::Hash::of("secret", "alice").response(*b"salt"));
        expected.push(0);
        assert_eq!(sent(&mut login), expected);
        login.handle(SETTLED).unwrap();
        ready(&mut login);
    }
}

#[test]
fn a_method_that_our_secret_cannot_serve_is_named() {
    let clear = b"R\0\0\0\x08\0\0\0\x03".as_slice();
    let md5 = b"R\0\0\0\x0c\0\0\0\x05salt".as_slice();
    let sasl = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0".as_slice();
    let unsupported = |method: &str| LoginFailure::Unsupported(method.to_owned());
    for request in [clear, md5, sasl] {
        assert_eq!(failure(None, request), LoginFailure::NoPassword);
    }
    assert_eq!(failure(keys(), clear), unsupported("cleartext password"));
    assert_eq!(failure(hashed(), clear), unsupported("cleartext password"));
    assert_eq!(failure(keys(), md5), unsupported("md5"));
    assert_eq!(failure(hashed(), sasl), unsupported("SCRAM-SHA-256"));
    assert_eq!(failure(plain(), b"R\0\0\0\x08\0\0\0\x07"), unsupported("GSSAPI"));
    assert_eq!(failure(plain(), b"R\0\0\0\x0d\0\0\0\x0aOTHER"), unsupported("SASL "));
    assert_eq!(failure(plain(), b"R\0\0\0\x10\0\0\0\x0aOTHER\0\0\0"), unsupported("SASL OTHER"));
}

#[test]
fn a_full_server_says_which_limit_it_is() {
    let refuse = |sqlstate: &str, message: &str| {
        let mut bytes = Vec::new();
        make::error(&mut bytes, &Report { severity: "FATAL", sqlstate, message, detail: None, hint: None });
        let failure = failure(None, &bytes);
        let LoginFailure::Server { severity, sqlstate: told, message: text, capacity } = failure else {
            panic!("{failure:?}");
        };
        assert_eq!((severity.as_str(), told.as_str(), text.as_str()), ("FATAL", sqlstate, message));
        capacity
    };
    assert_eq!(refuse("53300", "sorry, too many clients already"), Some(Capacity::Slots));
    let reserved = "remaining connection slots are reserved for roles with the SUPERUSER attribute";
    assert_eq!(refuse("53300", reserved), Some(Capacity::Slots));
    assert_eq!(refuse("53300", "too many connections for role \"alice\""), Some(Capacity::Role));
    assert_eq!(refuse("53300", "too many connections for database \"app\""), Some(Capacity::Database));
    assert_eq!(refuse("57P03", "the database system is starting up"), None);
    assert_eq!(refuse("28P01", "too many connections for role \"x\""), None);
    let german = b"E\0\0\0\x36SFATAL\0C53300\0Mzu viele\0RInitializeSessionUserId\0\0";
    let translated = failure(None, german);
    assert!(matches!(translated, LoginFailure::Server { capacity: Some(Capacity::Role), .. }), "{translated:?}");
}

#[test]
fn a_server_that_breaks_the_protocol_is_left() {
    let cases: [&[u8]; 12] = [
        b"T\0\0\0\x06\0\0",
        b"Z\0\0\0\x05I",
        b"K\0\0\0\x0c\0\0\0\x01key!",
        b"R\0\0\0\x06\0\0",
        b"R\0\0\0\x08\0\0\0\0R\0\0\0\x08\0\0\0\0",
        b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05T",
        b"R\0\0\0\x08\0\0\0\0K\0\0\0\x0b\0\0\0\x01key",
        b"S\0\0\0\x06a\0",
        b"R\0\0\0\0",
        b"R\0\0\0\x03",
        b"S\x7f\xff\xff\xff",
        b"S\0\x01\0\x05",
    ];
    for case in cases {
        let failure = failure(plain(), case);
        assert!(matches!(failure, LoginFailure::Protocol(_)), "{case:?}: {failure:?}");
    }
    assert!(matches!(failure(plain(), b"R\0\0\0\x0b\0\0\0\x05sal"), LoginFailure::Protocol(_)));
    assert!(matches!(failure(plain(), b"HTTP/1.1 400 Bad Request"), LoginFailure::Protocol(_)));
    let mut flood = Vec::new();
    for n in 0..=MAX_PARAMETERS {
        make::parameter_status(&mut flood, &format!("p{n}"), "");
    }
    assert!(matches!(failure(plain(), &flood), LoginFailure::Protocol(_)));
}

#[test]
fn a_server_that_skips_its_own_proof_is_not_believed() {
    let mut login = login(plain());
    login.handle(b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0").unwrap();
    let first = sent(&mut login);
    let nonce = std::str::from_utf8(&first[first.len() - 24..]).unwrap();
    let mut bytes = Vec::new();
    make::authentication_sasl_continue(&mut bytes, format!("r={nonce}x,s=c2FsdA==,i=1").as_bytes());
    login.handle(&bytes).unwrap();
    sent(&mut login);
    assert_eq!(login.handle(b"R\0\0\0\x08\0\0\0\0"), Err(LoginFailure::ServerSignature));
}

#[test]
fn no_failure_shows_a_secret() {
    let shown = format!(
        "{:?}",
        Credentials { user: "alice".into(), database: "app".into(), password: plain(), settings: vec![] }
    );
    assert!(!shown.contains("secret"), "{shown}");
}

proptest! {
    #[test]
    fn any_bytes_leave_it_whole(
        asked in prop_oneof![
            Just(b"".as_slice()),
            Just(b"R\0\0\0\x08\0\0\0\0".as_slice()),
            Just(b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0".as_slice()),
        ],
        messages in proptest::collection::vec(
            (
                prop_oneof![Just(b'R'), Just(b'S'), Just(b'E'), Just(b'N'), Just(b'K'), Just(b'Z'), any::<u8>()],
                proptest::collection::vec(any::<u8>(), 0..30),
            ),
            0..6,
        ),
        tail in proptest::collection::vec(any::<u8>(), 0..30),
    ) {
        let mut input = asked.to_vec();
        for (tag, body) in messages {
            input.push(tag);
            input.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
            input.extend(body);
        }
        input.extend(tail);
        let mut whole = login(keys());
        let at_once = whole.handle(&input);
        let mut dripped = login(keys());
        let by_byte = input.iter().try_for_each(|byte| dripped.handle(&[*byte]));
        prop_assert_eq!(at_once, by_byte, "cuts change nothing");
    }
}
