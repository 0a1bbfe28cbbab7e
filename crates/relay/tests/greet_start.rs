//! What a start-up packet may say: versions, options of the protocol, names.
#![allow(clippy::unwrap_used, missing_docs)] // a test may end where its premise fails

use poolwarden_pgwire::make;
use poolwarden_relay::greet::{Found, Greeting, Method, NEWEST_MINOR, Rules, Session, Step, Who};
use proptest::prelude::*;

/// Everything a start-up packet leads to until the session stands.
struct Begun {
    /// NegotiateProtocolVersion messages, whole.
    negotiated: Vec<Vec<u8>>,
    who: Who,
    session: Session,
}

/// Lets a start-up packet in, cut at `cut`, on trust.
fn begin(minor: u16, params: &[(&str, &str)], cut: usize) -> Begun {
    let mut packet = Vec::new();
    make::startup(&mut packet, minor, params);
    let mut greeting = Greeting::new(Rules::new([1; 32]), [2; 32]);
    let (front, back) = packet.split_at(cut.min(packet.len()));
    greeting.handle(front).unwrap();
    greeting.handle(back).unwrap();
    let (mut negotiated, mut asked) = (Vec::new(), None);
    while let Some(step) = greeting.poll() {
        match step {
            Step::Send(bytes) if bytes[0] == b'v' => {
                assert!(asked.is_none(), "before the client proves itself, not after");
                negotiated.push(bytes);
            }
            Step::Send(bytes) => assert_eq!(bytes, b"R\0\0\0\x08\0\0\0\0"),
            Step::Lookup(who) => {
                asked = Some(who);
                greeting.answer(Found { method: Method::Trust, secret: None }).unwrap();
            }
            Step::Authenticated(session) => {
                return Begun { negotiated, who: asked.unwrap(), session: *session };
            }
            Step::Cancel { .. } | Step::StartTls { .. } | Step::Close => panic!("{step:?}"),
        }
    }
    panic!("no session")
}

#[test]
fn options_that_would_say_who_logs_in_are_no_settings() {
    let refused = |params: &[(&str, &str)]| {
        let mut packet = Vec::new();
        make::startup(&mut packet, 0, params);
        let error = Greeting::new(Rules::new([1; 32]), [2; 32]).handle(&packet).expect_err("it must be refused");
        (error.sqlstate.into_owned(), error.message)
    };
    for name in ["user", "User", "database", "options", "replication", "REPLICATION", "_pq_.x", "_PQ_.x"] {
        let expected = ("42704".to_owned(), format!("unrecognized configuration parameter \"{name}\""));
        for replication in ["false", "true", "database"] {
            let options = format!("-c work_mem=1MB -c {name}=postgres");
            let params = [("user", "alice"), ("replication", replication), ("options", &options)];
            assert_eq!(refused(&params), expected, "replication={replication} options={options}");
        }
    }
    let expected = ("42704".to_owned(), "unrecognized configuration parameter \"USER\"".to_owned());
    assert_eq!(refused(&[("user", "alice"), ("USER", "postgres")]), expected, "names of the packet are of one case");
}

fn negotiation(minor: u16, unknown: &[&str]) -> Vec<u8> {
    let mut message = Vec::new();
    make::negotiate_version(&mut message, minor, unknown);
    message
}

/// The minor version asked for, the parameters, the negotiation, the minor version spoken.
type Case<'a> = (u16, &'a [(&'a str, &'a str)], Option<Vec<u8>>, u16);

#[test]
fn a_version_is_negotiated_where_it_must_be_and_exactly_once() {
    let user = ("user", "alice");
    let (one, two) = (("_pq_.one", "1"), ("_pq_.two", ""));
    let cases: [Case<'_>; 10] = [
        (0, &[user], None, 0),
        (1, &[user], None, 0),
        (2, &[user], None, 2),
        (3, &[user], Some(negotiation(2, &[])), 2),
        (9999, &[user], Some(negotiation(2, &[])), 2),
        (u16::MAX, &[user], Some(negotiation(2, &[])), 2),
        (0, &[user, one], Some(negotiation(0, &["_pq_.one"])), 0),
        (2, &[one, user], Some(negotiation(2, &["_pq_.one"])), 2),
        (9999, &[one, user, two], Some(negotiation(2, &["_pq_.one", "_pq_.two"])), 2),
        (1, &[user, two], Some(negotiation(1, &["_pq_.two"])), 0),
    ];
    for (minor, params, expected, spoken) in cases {
        for cut in 0..=60 {
            let begun = begin(minor, params, cut);
            let expected: Vec<Vec<u8>> = expected.iter().cloned().collect();
            assert_eq!(begun.negotiated, expected, "3.{minor} {params:?}");
            assert_eq!(begun.session.minor, spoken, "3.{minor}");
            assert_eq!(begun.session.settings, [], "options of the protocol are no settings");
        }
    }
}

#[test]
fn names_are_cut_as_create_role_cuts_them() {
    let long = "x".repeat(80);
    let begun = begin(0, &[("user", &long), ("database", &long)], 7);
    assert_eq!((begun.who.user.as_str(), begun.who.database.as_str()), (&long[..63], &long[..63]));
    assert_eq!((begun.session.user.len(), begun.session.database.len()), (63, 63));
    // A character that does not fit is left out whole: 62 bytes of two-byte letters, and 62 and an "x" that fits.
    let letters = "\u{fc}".repeat(40);
    let begun = begin(0, &[("user", &letters), ("database", &format!("{}x\u{fc}", &letters[..62]))], 0);
    assert_eq!(begun.who.user, letters[..62]);
    assert_eq!(begun.who.database, format!("{}x", &letters[..62]));
    let short = "y".repeat(63);
    assert_eq!(begin(0, &[("user", &short)], 0).who.database, short);
}

#[test]
fn the_database_is_the_cut_user_where_none_is_named() {
    let long = "z".repeat(64);
    for params in [vec![("user", long.as_str())], vec![("user", long.as_str()), ("database", "")]] {
        assert_eq!(begin(0, &params, 0).who.database, long[..63]);
    }
}

proptest! {
    #[test]
    fn any_version_and_any_options_are_negotiated_at_most_once(
        minor: u16,
        options in proptest::collection::vec("[a-z]{1,8}", 0..5),
        cut in 0usize..200,
    ) {
        let named: Vec<String> = options.iter().map(|option| format!("_pq_.{option}")).collect();
        let mut params: Vec<(&str, &str)> = named.iter().map(|name| (name.as_str(), "x")).collect();
        params.push(("user", "alice"));
        let begun = begin(minor, &params, cut);
        let due = minor > NEWEST_MINOR || !named.is_empty();
        prop_assert_eq!(begun.negotiated.len(), usize::from(due));
        if due {
            let listed: Vec<&str> = named.iter().map(String::as_str).collect();
            prop_assert_eq!(&begun.negotiated[0], &negotiation(minor.min(NEWEST_MINOR), &listed));
        }
    }
}
