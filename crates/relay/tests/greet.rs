//! A client connection before it is authenticated, in raw bytes.
#![allow(clippy::unwrap_used, missing_docs)] // a test may end where its premise fails

use poolwarden_pgwire::password::Secret;
use poolwarden_pgwire::{make, read};
use poolwarden_relay::greet::{
    Fault, Found, GreetError, Greeting, MAX_BEHIND, Method, Replication, Rules, Session, Step, Who,
};
use proptest::prelude::*;

const SSL: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSS: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";
const ALICE: &[u8] = b"\0\0\0\x14\0\x03\0\0user\0alice\0\0";
const NEGOTIATED: &[u8] = b"v\0\0\0\x0c\0\x03\0\x02\0\0\0\0";
const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";

fn greeting() -> Greeting {
    Greeting::new(Rules::new([1; 32]), [2; 32])
}

fn found(method: Method, secret: &str) -> Found {
    Found { method, secret: Some(Secret::parse(secret)) }
}

fn start(minor: u16, params: &[(&str, &str)]) -> Vec<u8> {
    let mut packet = Vec::new();
    make::startup(&mut packet, minor, params);
    packet
}

fn sent(greeting: &mut Greeting) -> Vec<u8> {
    match greeting.poll() {
        Some(Step::Send(bytes)) => bytes,
        other => panic!("expected bytes, got {other:?}"),
    }
}

fn asked(greeting: &mut Greeting) -> Who {
    match greeting.poll() {
        Some(Step::Lookup(who)) => who,
        other => panic!("expected a look-up, got {other:?}"),
    }
}

fn authenticated(greeting: &mut Greeting) -> Session {
    match greeting.poll() {
        Some(Step::Authenticated(session)) => *session,
        other => panic!("expected a session, got {other:?}"),
    }
}

/// The refusal must be told and the connection closed; gives SQLSTATE and message as the client reads them.
fn refused(greeting: &mut Greeting, error: &GreetError) -> (String, String) {
    let bytes = sent(greeting);
    let fields = read::report(&bytes[5..]);
    assert_eq!(fields.severity, "FATAL");
    assert_eq!((&*fields.sqlstate, &*fields.message), (&*error.sqlstate, error.message.as_str()));
    assert!(matches!(greeting.poll(), Some(Step::Close)));
    assert!(greeting.poll().is_none());
    assert_eq!(greeting.held(), 0);
    (error.sqlstate.to_string(), error.message.clone())
}

/// What a whole input is refused with, as its first words.
fn refusal(input: &[u8]) -> (String, String) {
    let mut greeting = greeting();
    let error = greeting.handle(input).expect_err("it must be refused");
    assert_eq!(error.fault, Fault::Client);
    while !matches!(greeting.poll(), Some(Step::Close)) {}
    (error.sqlstate.to_string(), error.message)
}

fn session(params: &[(&str, &str)]) -> Session {
    let mut greeting = greeting();
    greeting.handle(&start(0, params)).unwrap();
    asked(&mut greeting);
    greeting.answer(Found { method: Method::Trust, secret: None }).unwrap();
    assert_eq!(sent(&mut greeting), OK);
    authenticated(&mut greeting)
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn psqls_first_words_are_answered_whatever_their_cuts() {
    for cut in 0..=ALICE.len() {
        let mut greeting = greeting();
        for byte in GSS {
            greeting.handle(&[*byte]).unwrap();
        }
        assert_eq!(sent(&mut greeting), b"N");
        greeting.handle(SSL).unwrap();
        assert_eq!(sent(&mut greeting), b"N");
        greeting.handle(&ALICE[..cut]).unwrap();
        greeting.handle(&ALICE[cut..]).unwrap();
        let who = asked(&mut greeting);
        assert_eq!((who.user.as_str(), who.database.as_str()), ("alice", "alice"));
        greeting.answer(Found { method: Method::Trust, secret: None }).unwrap();
        assert_eq!(sent(&mut greeting), OK);
        assert_eq!(authenticated(&mut greeting).user, "alice");
    }
}

#[test]
fn bytes_behind_a_request_for_encryption_end_the_connection() {
    for request in [SSL, GSS] {
        let (sqlstate, message) = refusal(&[request, ALICE].concat());
        assert_eq!(sqlstate, "08P01");
        assert!(message.starts_with("received unencrypted data after"), "{message}");
    }
}

#[test]
fn encryption_is_asked_for_once() {
    for (request, text) in [(SSL, "1234.5679"), (GSS, "1234.5680")] {
        let mut greeting = greeting();
        greeting.handle(request).unwrap();
        assert_eq!(sent(&mut greeting), b"N");
        let error = greeting.handle(request).unwrap_err();
        let (sqlstate, message) = refused(&mut greeting, &error);
        assert_eq!(sqlstate, "0A000");
        assert_eq!(message, format!("unsupported frontend protocol {text}: server supports 3.0 to 3.2"));
    }
}

#[test]
fn a_version_of_another_major_is_refused_in_postgresqls_words() {
    let (sqlstate, message) = refusal(b"\0\0\0\x09\0\x02\0\0\0");
    assert_eq!(sqlstate, "0A000");
    assert_eq!(message, "unsupported frontend protocol 2.0: server supports 3.0 to 3.2");
}

#[test]
fn a_newer_minor_or_an_unknown_option_is_negotiated_once() {
    let mut greeting = greeting();
    greeting.handle(&start(3, &[("user", "alice")])).unwrap();
    assert_eq!(sent(&mut greeting), NEGOTIATED);
    asked(&mut greeting);
    let params = [("user", "alice"), ("_pq_.a", "1"), ("_pq_.b", "2")];
    let mut greeting = self::greeting();
    greeting.handle(&start(0, &params)).unwrap();
    assert_eq!(sent(&mut greeting), b"v\0\0\0\x1a\0\x03\0\0\0\0\0\x02_pq_.a\0_pq_.b\0");
    asked(&mut greeting);
    greeting.answer(Found { method: Method::Trust, secret: None }).unwrap();
    assert_eq!(sent(&mut greeting), OK);
    let session = authenticated(&mut greeting);
    assert_eq!((session.minor, session.settings), (0, vec![]));
}

#[test]
fn a_cancel_is_handed_on_and_closed_without_an_answer() {
    let mut packet = Vec::new();
    make::cancel_request(&mut packet, 42, b"key!");
    for prefix in [b"".as_slice(), SSL] {
        let mut greeting = greeting();
        if !prefix.is_empty() {
            greeting.handle(prefix).unwrap();
            assert_eq!(sent(&mut greeting), b"N");
        }
        greeting.handle(&packet).unwrap();
        let step = greeting.poll();
        assert!(matches!(&step, Some(Step::Cancel { pid: 42, secret }) if secret == b"key!"), "{step:?}");
        assert!(matches!(greeting.poll(), Some(Step::Close)));
        assert!(greeting.silent());
    }
}

#[test]
fn a_probe_that_says_nothing_is_silent_and_half_a_packet_is_not() {
    let mut greeting = greeting();
    assert!(greeting.silent());
    greeting.handle(b"").unwrap();
    assert!(greeting.silent());
    greeting.handle(&ALICE[..3]).unwrap();
    assert!(!greeting.silent());
    greeting.handle(&ALICE[3..]).unwrap();
    assert!(!greeting.silent(), "who has named a user is known to the log");
    greeting.answer(found(Method::Password, "secret")).unwrap();
    assert!(greeting.silent(), "psql leaves here to ask its user");
    greeting.handle(b"p\0\0\0").unwrap();
    assert!(!greeting.silent());
}

#[test]
fn a_terminate_instead_of_a_password_closes_without_a_word() {
    let mut greeting = greeting();
    greeting.handle(ALICE).unwrap();
    asked(&mut greeting);
    greeting.answer(found(Method::Md5, "secret")).unwrap();
    assert_eq!(sent(&mut greeting)[..9], *b"R\0\0\0\x0c\0\0\0\x05");
    greeting.handle(b"X\0\0\0\x04").unwrap();
    assert!(matches!(greeting.poll(), Some(Step::Close)));
    assert!(greeting.poll().is_none() && greeting.silent());
}

#[test]
fn lengths_that_cannot_be_are_refused_before_their_bytes_come() {
    for length in [0u32, 3, 7, 10_005, 0x3fff_ffff, 0x7fff_ffff, u32::MAX] {
        let (sqlstate, message) = refusal(&length.to_be_bytes());
        assert_eq!(sqlstate, "08P01");
        assert_eq!(message, format!("invalid length of startup packet: {length}"));
    }
    assert_eq!(refusal(b"GET / HTTP/1.1\r\n\r\n").0, "08P01");
    let hello = greeting().handle(b"\x16\x03\x01\x02\0").unwrap_err();
    assert!(hello.reason.contains("TLS handshake"), "{hello}");
}

#[test]
fn a_password_message_is_refused_by_its_header() {
    let cases = [
        (b"p\x40\0\0\0".as_slice(), "invalid password packet size"),
        (b"p\0\0\x20\x05", "invalid password packet size"),
        (b"p\0\0\0\x03", "invalid message length 3 "),
        (b"p\0\0\0\0", "invalid message length 0 "),
        (b"p\x7f\xff\xff\xff", "invalid message length 2147483647 "),
        (b"Q\0\0\0\x05", "expected password response, got message type 81"),
    ];
    for (bytes, expected) in cases {
        let mut greeting = greeting();
        greeting.handle(ALICE).unwrap();
        asked(&mut greeting);
        greeting.answer(found(Method::Password, "secret")).unwrap();
        sent(&mut greeting);
        let error = greeting.handle(bytes).unwrap_err();
        let (sqlstate, message) = refused(&mut greeting, &error);
        assert_eq!(sqlstate, "08P01");
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn password_messages_out_of_shape_are_refused() {
    for (method, body, sqlstate) in [
        (Method::Password, b"no end".as_slice(), "08P01"),
        (Method::Password, b"two\0ends\0", "08P01"),
        (Method::Password, b"\0", "28P01"),
        (Method::Password, b"\xff\xfe\0", "28P01"),
        (Method::Md5, b"", "08P01"),
        (Method::Scram, b"", "08P01"),
        (Method::Scram, b"SCRAM-SHA-1\0\0\0\0\0", "08P01"),
        (Method::Scram, b"SCRAM-SHA-256\0\xff\xff\xff\xff", "08P01"),
        (Method::Scram, b"SCRAM-SHA-256\0\0\0\0\x09n,,n=,r=", "08P01"),
        (Method::Scram, b"SCRAM-SHA-256\0\0\0\0\x1cp=tls-server-end-point,,n=,r=a", "08P01"),
    ] {
        let mut greeting = greeting();
        greeting.handle(ALICE).unwrap();
        asked(&mut greeting);
        greeting.answer(found(method, "secret")).unwrap();
        sent(&mut greeting);
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        let error = greeting.handle(&[b"p".as_slice(), &length, body].concat()).unwrap_err();
        assert_eq!(refused(&mut greeting, &error).0, sqlstate, "{body:?}");
    }
}

#[test]
fn who_sends_too_much_too_early_is_refused_within_bounds() {
    let mut greeting = greeting();
    greeting.handle(ALICE).unwrap();
    asked(&mut greeting);
    let error = greeting.handle(&vec![b'Q'; 1 << 20]).unwrap_err();
    assert_eq!(refused(&mut greeting, &error).0, "08P01");
    greeting.handle(&[0; 100]).unwrap();
    assert_eq!(greeting.held(), 0);
    greeting.answer(found(Method::Trust, "secret")).unwrap();
    assert!(greeting.poll().is_none(), "an answer that comes too late lets nobody in");
}

#[test]
fn first_queries_sent_along_are_kept_for_the_session() {
    let mut greeting = greeting();
    greeting.handle(&[ALICE, b"Q\0\0\0"].concat()).unwrap();
    asked(&mut greeting);
    greeting.answer(Found { method: Method::Trust, secret: None }).unwrap();
    assert_eq!(sent(&mut greeting), OK);
    greeting.handle(b"\x06;\0").unwrap();
    assert_eq!(authenticated(&mut greeting).leftover, b"Q\0\0\0\x06;\0");
}

#[test]
fn who_floods_along_with_its_proof_is_refused_and_handed_to_nobody() {
    let mut greeting = greeting();
    greeting.handle(ALICE).unwrap();
    asked(&mut greeting);
    greeting.answer(found(Method::Password, "secret")).unwrap();
    sent(&mut greeting);
    let error = greeting.handle(&[b"p\0\0\0\x0bsecret\0", vec![b'Q'; 1 << 20].as_slice()].concat()).unwrap_err();
    assert_eq!(sent(&mut greeting), OK, "the proof held");
    assert_eq!(refused(&mut greeting, &error).0, "08P01");
}

#[test]
fn what_comes_behind_the_session_is_not_read_here() {
    let mut greeting = greeting();
    greeting.handle(ALICE).unwrap();
    asked(&mut greeting);
    greeting.answer(Found { method: Method::Trust, secret: None }).unwrap();
    sent(&mut greeting);
    authenticated(&mut greeting);
    greeting.handle(&vec![b'Q'; 1 << 20]).unwrap();
    assert!(greeting.poll().is_none());
    assert_eq!(greeting.held(), 0);
}

#[test]
fn without_a_user_nobody_is_let_in() {
    for params in [[("database", "app")].as_slice(), &[("user", "")]] {
        let packet = if params[0].0 == "user" { b"\0\0\0\x0f\0\x03\0\0user\0\0\0".to_vec() } else { start(0, params) };
        let (sqlstate, message) = refusal(&packet);
        assert_eq!(sqlstate, "28000");
        assert_eq!(message, "no PostgreSQL user name specified in startup packet");
    }
}

#[test]
fn a_rules_refusal_is_told_in_its_own_words() {
    let mut greeting = greeting();
    greeting.handle(ALICE).unwrap();
    asked(&mut greeting);
    let method = Method::Reject { sqlstate: "3D000".into(), message: "no such database".into() };
    let error = greeting.answer(Found { method, secret: None }).unwrap_err();
    assert_eq!(error.fault, Fault::Rule);
    assert_eq!(refused(&mut greeting, &error), ("3D000".into(), "no such database".into()));
}

#[test]
fn settings_come_from_options_and_parameters_and_parameters_win() {
    let session = session(&[
        ("user", "alice"),
        ("application_name", "web"),
        ("database", "app"),
        ("options", r"-c search_path=a,\ b --DateStyle=ISO -c poolwarden.Deadline_ms=5"),
        ("datestyle", "German"),
        ("POOLWARDEN.class", "batch"),
    ]);
    assert_eq!((session.user.as_str(), session.database.as_str()), ("alice", "app"));
    assert_eq!(
        session.settings,
        pairs(&[("application_name", "web"), ("datestyle", "German"), ("search_path", "a, b")])
    );
    assert_eq!(session.private, pairs(&[("class", "batch"), ("deadline_ms", "5")]));
    assert_eq!(session.replication, None);
}

#[test]
fn options_that_are_no_settings_are_refused() {
    let (sqlstate, message) = refusal(&start(0, &[("user", "alice"), ("options", "-c geqo")]));
    assert_eq!((sqlstate.as_str(), message.as_str()), ("42601", "-c geqo requires a value"));
    assert_eq!(refusal(&start(0, &[("user", "alice"), ("options", "-x")])).0, "42601");
}

#[test]
fn replication_is_read_as_postgresql_reads_it() {
    for (value, wanted) in [
        ("database", Some(Replication::Logical)),
        ("true", Some(Replication::Physical)),
        ("on", Some(Replication::Physical)),
        ("1", Some(Replication::Physical)),
        ("y", Some(Replication::Physical)),
        ("off", None),
        ("0", None),
        ("F", None),
    ] {
        assert_eq!(session(&[("user", "alice"), ("replication", value)]).replication, wanted, "{value}");
    }
    for value in ["o", "maybe", "2"] {
        assert_eq!(refusal(&start(0, &[("user", "alice"), ("replication", value)])).0, "22023", "{value}");
    }
}

#[test]
fn the_look_up_names_the_application() {
    let mut greeting = greeting();
    greeting.handle(&start(0, &[("user", "alice"), ("Application_Name", "web")])).unwrap();
    let who = asked(&mut greeting);
    assert_eq!((who.application_name.as_str(), who.replication), ("web", false));
}

/// Every way a connection can go on after its start-up packet.
fn any_found() -> impl Strategy<Value = Found> {
    let method = prop_oneof![Just(Method::Trust), Just(Method::Password), Just(Method::Md5), Just(Method::Scram)];
    let md5 = "md5900150983cd24fb0d6963f7d28e17f72";
    let scram = "SCRAM-SHA-256$1:c2FsdA==$6YtlR4t69SguDiwFvbVgVZtuz6gpJQQqUMZ7IQJK5yI=:ps75jrHeYU4lXCcXI4O8oIdJ3eO8o2jirjruw9phBTo=";
    let secret = prop_oneof![Just(None), Just(Some(md5)), Just(Some(scram))];
    (method, secret).prop_map(|(method, secret)| Found { method, secret: secret.map(Secret::parse) })
}

proptest! {
    #[test]
    fn any_bytes_leave_it_whole_and_small(
        first in prop_oneof![Just(Vec::new()), Just(SSL.to_vec()), Just(ALICE.to_vec())],
        found in any_found(),
        reads in proptest::collection::vec(
            prop_oneof![
                4 => proptest::collection::vec(any::<u8>(), 0..40),
                2 => proptest::collection::vec(any::<u8>(), 0..20).prop_map(|body| {
                    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
                    [b"p".as_slice(), &length, &body].concat()
                }),
                1 => Just(vec![0x70; 20_000]),
            ],
            0..8,
        ),
    ) {
        let mut greeting = greeting();
        let mut refusals = 0;
        let mut authenticated = false;
        for input in std::iter::once(first).chain(reads) {
            refusals += u32::from(greeting.handle(&input).is_err());
            prop_assert!(greeting.held() <= read::MAX_STARTUP + MAX_BEHIND);
            while let Some(step) = greeting.poll() {
                match step {
                    Step::Lookup(_) => refusals += u32::from(greeting.answer(found.clone()).is_err()),
                    Step::Authenticated(_) => authenticated = true,
                    Step::Send(bytes) => prop_assert!(!bytes.is_empty()),
                    Step::Cancel { .. } | Step::StartTls { .. } | Step::Close => {}
                }
            }
        }
        prop_assert!(refusals <= 1, "one end is enough");
        prop_assert!(!authenticated || found.method == Method::Trust, "junk proves nothing");
    }
}
