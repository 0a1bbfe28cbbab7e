//! A client connection and its TLS: who is offered it, what may stand around the handshake, what it changes.
#![allow(clippy::unwrap_used, missing_docs)] // a test may end where its premise fails

use poolwarden_pgwire::password::Secret;
use poolwarden_pgwire::{make, read, scram};
use poolwarden_relay::greet::{Fault, Found, GreetError, Greeting, Method, Rules, Step, TlsOffer, Who};

const SSL: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSS: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";
const ALICE: &[u8] = b"\0\0\0\x14\0\x03\0\0user\0alice\0\0";
/// A handshake's first record, as far as it matters here.
const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
const REFUSED: &str = "unsupported frontend protocol 1234.5679: server supports 3.0 to 3.2";

fn greeting(tls: TlsOffer) -> Greeting {
    Greeting::new(Rules { tls, ..Rules::new([1; 32]) }, [2; 32])
}

fn sent(greeting: &mut Greeting) -> Vec<u8> {
    match greeting.poll() {
        Some(Step::Send(bytes)) => bytes,
        other => panic!("expected bytes, got {other:?}"),
    }
}

/// The handshake that is asked for: what has come of it, and whether it is direct.
fn started(greeting: &mut Greeting) -> (Vec<u8>, bool) {
    match greeting.poll() {
        Some(Step::StartTls { received, direct }) => (received, direct),
        other => panic!("expected a handshake, got {other:?}"),
    }
}

fn asked(greeting: &mut Greeting) -> Who {
    match greeting.poll() {
        Some(Step::Lookup(who)) => who,
        other => panic!("expected a look-up, got {other:?}"),
    }
}

fn message(greeting: &mut Greeting, error: &GreetError) -> String {
    let bytes = sent(greeting);
    assert_eq!(read::report(&bytes[5..]).message, error.message);
    assert!(matches!(greeting.poll(), Some(Step::Close)));
    assert!(greeting.poll().is_none());
    error.message.clone()
}

/// A greeting whose handshake is done, by SSLRequest or at once.
fn secured(direct: bool, end_point: Option<&[u8]>) -> Greeting {
    let mut greeting = greeting(TlsOffer::On);
    greeting.handle(if direct { HELLO } else { SSL }).unwrap();
    if !direct {
        assert_eq!(sent(&mut greeting), b"S");
    }
    assert_eq!(started(&mut greeting).1, direct);
    greeting.secured(end_point.map(<[u8]>::to_vec));
    greeting
}

#[test]
fn tls_is_accepted_once_by_request_whatever_the_cuts_and_the_order() {
    for before in [b"".as_slice(), GSS] {
        for cut in 0..=SSL.len() {
            let mut greeting = greeting(TlsOffer::On);
            if !before.is_empty() {
                greeting.handle(before).unwrap();
                assert_eq!(sent(&mut greeting), b"N");
            }
            greeting.handle(&SSL[..cut]).unwrap();
            greeting.handle(&SSL[cut..]).unwrap();
            assert_eq!(sent(&mut greeting), b"S");
            assert_eq!(started(&mut greeting), (Vec::new(), false));
            assert!(greeting.poll().is_none());
            greeting.secured(None);
            greeting.handle(ALICE).unwrap();
            assert!(asked(&mut greeting).tls);
        }
    }
}

#[test]
fn without_tls_the_look_up_says_so() {
    for before in [b"".as_slice(), SSL, GSS] {
        let mut greeting = greeting(TlsOffer::Off);
        if !before.is_empty() {
            greeting.handle(before).unwrap();
            assert_eq!(sent(&mut greeting), b"N");
        }
        greeting.handle(ALICE).unwrap();
        assert!(!asked(&mut greeting).tls);
    }
}

#[test]
fn encryption_may_be_asked_for_in_either_order_where_there_is_none() {
    for order in [[SSL, GSS], [GSS, SSL]] {
        let mut greeting = greeting(TlsOffer::Off);
        for request in order {
            greeting.handle(request).unwrap();
            assert_eq!(sent(&mut greeting), b"N");
        }
        greeting.handle(ALICE).unwrap();
        asked(&mut greeting);
    }
}

/// CVE-2021-3935 and its family: bytes that were slipped in before the handshake must not be read after it.
#[test]
fn plain_bytes_behind_an_ssl_request_end_the_connection() {
    for cut in 0..=ALICE.len() {
        let mut greeting = greeting(TlsOffer::On);
        let both = [SSL, &ALICE[..cut]].concat();
        let outcome = greeting.handle(&both);
        if cut == 0 {
            outcome.unwrap();
            continue;
        }
        let error = outcome.unwrap_err();
        assert_eq!((error.fault, &*error.sqlstate), (Fault::Client, "08P01"));
        assert_eq!(message(&mut greeting, &error), "received unencrypted data after SSL request");
        assert_eq!(greeting.held(), 0);
    }
}

#[test]
fn plain_bytes_during_the_handshake_end_the_connection_too() {
    for told in [false, true] {
        let mut greeting = greeting(TlsOffer::On);
        greeting.handle(SSL).unwrap();
        assert_eq!(sent(&mut greeting), b"S");
        if told {
            started(&mut greeting);
        }
        let error = greeting.handle(ALICE).unwrap_err();
        assert_eq!(message(&mut greeting, &error), "received unencrypted data after SSL request");
        greeting.secured(None);
        greeting.handle(ALICE).unwrap();
        assert!(greeting.poll().is_none(), "a handshake that comes too late opens nothing");
    }
}

#[test]
fn tls_may_begin_at_once_and_every_byte_of_it_is_handed_on() {
    for cut in 1..=HELLO.len() {
        let mut greeting = greeting(TlsOffer::On);
        greeting.handle(&HELLO[..cut]).unwrap();
        greeting.handle(&HELLO[cut..]).unwrap();
        assert_eq!(started(&mut greeting), (HELLO.to_vec(), true), "cut at {cut}");
        assert_eq!(greeting.held(), 0);
        assert!(greeting.silent());
        greeting.secured(None);
        greeting.handle(ALICE).unwrap();
        assert!(asked(&mut greeting).tls);
    }
}

#[test]
fn a_handshake_at_once_is_bounded_while_nobody_takes_it() {
    let mut greeting = greeting(TlsOffer::On);
    let mut flood = HELLO.to_vec();
    flood.resize(1 << 20, 0);
    let error = greeting.handle(&flood).unwrap_err();
    assert_eq!(error.fault, Fault::Client);
    let told: Vec<Step> = std::iter::from_fn(|| greeting.poll()).collect();
    assert!(!told.iter().any(|step| matches!(step, Step::StartTls { .. })), "{told:?}");
    assert_eq!(greeting.held(), 0);
}

#[test]
fn tls_at_once_is_no_start_up_packet_where_it_comes_late_or_is_not_offered() {
    let mut off = greeting(TlsOffer::Off);
    let error = off.handle(HELLO).unwrap_err();
    assert!(error.reason.contains("TLS handshake"), "{error}");
    // PostgreSQL looks for it as the connection's very first byte alone.
    let mut late = greeting(TlsOffer::On);
    late.handle(GSS).unwrap();
    assert_eq!(sent(&mut late), b"N");
    assert!(late.handle(HELLO).is_err());
    let mut twice = secured(true, None);
    assert!(twice.handle(HELLO).is_err());
}

#[test]
fn after_the_handshake_encryption_is_not_asked_for_again() {
    let mut requested = secured(false, None);
    let error = requested.handle(SSL).unwrap_err();
    assert_eq!(&*error.sqlstate, "0A000");
    assert_eq!(message(&mut requested, &error), REFUSED);
    let mut requested = secured(false, None);
    assert!(requested.handle(GSS).is_err());
    // Who shook hands at once has not asked yet: PostgreSQL says no, once.
    let mut direct = secured(true, None);
    direct.handle(SSL).unwrap();
    assert_eq!(sent(&mut direct), b"N");
    let error = direct.handle(SSL).unwrap_err();
    assert_eq!(message(&mut direct, &error), REFUSED);
}

#[test]
fn a_cancel_may_come_through_tls() {
    let mut packet = Vec::new();
    make::cancel_request(&mut packet, 42, &[7; 32]);
    for direct in [false, true] {
        let mut greeting = secured(direct, None);
        greeting.handle(&packet).unwrap();
        let step = greeting.poll();
        assert!(matches!(&step, Some(Step::Cancel { pid: 42, secret }) if secret == &[7; 32]), "{step:?}");
    }
}

#[test]
fn plus_is_offered_where_there_is_a_certificate_to_bind_to() {
    let offered = |mut greeting: Greeting| {
        greeting.handle(ALICE).unwrap();
        asked(&mut greeting);
        let secret = Secret::Scram(scram::Secret::derive("secret", b"salt", 1));
        greeting.answer(Found { method: Method::Scram, secret: Some(secret) }).unwrap();
        sent(&mut greeting)
    };
    let plain = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
    let both = b"R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
    assert_eq!(offered(greeting(TlsOffer::On)), plain);
    assert_eq!(offered(secured(false, None)), plain);
    assert_eq!(offered(secured(false, Some(b"hash"))), both);
    assert_eq!(offered(secured(true, Some(b"hash"))), both);
}

#[test]
fn a_wrong_binding_is_refused_in_postgresqls_words() {
    let refused = |end_point: Option<&[u8]>, initial: &[u8]| {
        let mut greeting = secured(false, end_point);
        greeting.handle(ALICE).unwrap();
        asked(&mut greeting);
        greeting.answer(Found { method: Method::Scram, secret: Some(Secret::parse("secret")) }).unwrap();
        sent(&mut greeting);
        let (mechanism, first) = initial.split_at(initial.iter().position(|&b| b == b' ').unwrap());
        let mut packet = Vec::new();
        make::sasl_initial(&mut packet, std::str::from_utf8(mechanism).unwrap(), &first[1..]);
        let error = greeting.handle(&packet).unwrap_err();
        let told = message(&mut greeting, &error);
        (error.sqlstate.to_string(), told)
    };
    let told = |sqlstate: &str, message: &str| (sqlstate.to_owned(), message.to_owned());
    let downgraded = refused(Some(b"hash"), b"SCRAM-SHA-256 y,,n=,r=abc");
    assert_eq!(downgraded, told("28000", "SCRAM channel binding negotiation error"));
    let unoffered = refused(None, b"SCRAM-SHA-256-PLUS p=tls-server-end-point,,n=,r=abc");
    assert_eq!(unoffered, told("08P01", "client selected an invalid SASL authentication mechanism"));
    let unique = refused(Some(b"hash"), b"SCRAM-SHA-256-PLUS p=tls-unique,,n=,r=abc");
    assert_eq!(unique, told("08P01", "unsupported SCRAM channel-binding type"));
    let another = refused(Some(b"hash"), b"SCRAM-SHA-256 n,a=eve,n=,r=abc");
    assert_eq!(another, told("0A000", "client uses authorization identity, but it is not supported"));
    let mixed = refused(Some(b"hash"), b"SCRAM-SHA-256-PLUS n,,n=,r=abc");
    assert_eq!(mixed, told("08P01", "malformed SCRAM message"));
}
