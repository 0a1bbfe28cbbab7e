//! Our client against our server, in memory: every method, right and wrong, cut everywhere.
#![allow(clippy::unwrap_used, missing_docs)] // a test may end where its premise fails

use poolwarden_pgwire::password::{Plain, Secret};
use poolwarden_pgwire::{make, md5, scram};
use poolwarden_relay::greet::{Fault, Found, GreetError, Greeting, Method, Rules, Session, Step, TlsOffer};
use poolwarden_relay::login::{Binding, Channel, Credentials, LoginFailure, LoginStep, Password, ServerLogin, Welcome};

const SALT: &[u8] = b"sixteen bytes :)";

/// What became of one conversation.
#[derive(Default)]
struct Met {
    session: Option<Session>,
    welcome: Option<Welcome>,
    refused: Option<GreetError>,
    failed: Option<LoginFailure>,
    /// Everything the server's side sent.
    said: Vec<u8>,
    /// Keys derived by the server's side, and by the client's.
    derivations: (u32, u32),
}

/// The line between the two.
#[derive(Clone, Default)]
struct Line {
    /// The certificate's hash as the server's side knows it, where there is TLS.
    served: Option<Vec<u8>>,
    channel: Channel,
}

impl Line {
    /// TLS to a server of this certificate, which the client's side sees as `seen`.
    fn tls(served: &[u8], seen: &[u8], binding: Binding) -> Self {
        let channel = Channel { end_point: Some(seen.to_vec()), binding, minor: 2 };
        Self { served: Some(served.to_vec()), channel }
    }
}

/// Lets the two talk; every flight of bytes is handed over in two parts, cut at `cut`.
fn meet(found: &Found, password: Option<Password>, cut: usize) -> Met {
    meet_on(&Line::default(), found, password, cut)
}

fn meet_on(line: &Line, found: &Found, password: Option<Password>, cut: usize) -> Met {
    let credentials = Credentials { user: "alice".into(), database: "app".into(), password, settings: vec![] };
    let mut login = ServerLogin::new(credentials, [4; 32], line.channel.clone());
    let mut greeting = greeting(line);
    let mut met = Met::default();
    let mut to_server = login.start();
    while !to_server.is_empty() {
        let mut to_client = Vec::new();
        let (front, back) = to_server.split_at(cut.min(to_server.len()));
        for part in [front, back] {
            if let Err(error) = greeting.handle(part) {
                met.refused = Some(error);
            }
            serve(&mut greeting, found, &mut met, &mut to_client);
        }
        met.derivations.0 = greeting.derivations();
        met.said.extend_from_slice(&to_client);
        to_server.clear();
        let (front, back) = to_client.split_at(cut.min(to_client.len()));
        for part in [front, back] {
            if let Err(failure) = login.handle(part) {
                met.failed = Some(failure);
                return met;
            }
            met.derivations.1 = login.derivations();
            while let Some(step) = login.poll() {
                match step {
                    LoginStep::Send(bytes) => to_server.extend(bytes),
                    LoginStep::Ready(welcome) => met.welcome = Some(*welcome),
                }
            }
        }
    }
    met
}

/// A greeting, whose handshake is done where there is TLS.
fn greeting(line: &Line) -> Greeting {
    let mut greeting = Greeting::new(Rules { tls: TlsOffer::On, ..Rules::new([5; 32]) }, [6; 32]);
    if let Some(hash) = &line.served {
        greeting.handle(b"\x16").unwrap();
        assert!(matches!(greeting.poll(), Some(Step::StartTls { direct: true, .. })));
        greeting.secured(Some(hash.clone()));
    }
    greeting
}

/// Does what the greeting asks, and welcomes whom it lets in.
fn serve(greeting: &mut Greeting, found: &Found, met: &mut Met, out: &mut Vec<u8>) {
    while let Some(step) = greeting.poll() {
        match step {
            Step::Send(bytes) => out.extend(bytes),
            Step::Lookup(who) => {
                assert_eq!((who.user.as_str(), who.database.as_str()), ("alice", "app"));
                assert!(met.refused.is_none());
                if let Err(error) = greeting.answer(found.clone()) {
                    met.refused = Some(error);
                }
            }
            Step::Authenticated(session) => {
                met.session = Some(*session);
                make::parameter_status(out, "server_version", "17.0");
                make::backend_key(out, 7, b"key!");
                make::ready(out, b'I');
            }
            Step::Cancel { .. } | Step::StartTls { .. } => panic!("nobody cancels or asks for TLS"),
            Step::Close => {}
        }
    }
}

fn scram_secret(password: &str) -> Secret {
    Secret::Scram(scram::Secret::derive(password, SALT, 2))
}

fn known(method: Method, secret: Secret) -> Found {
    Found { method, secret: Some(secret) }
}

fn unknown(method: Method) -> Found {
    Found { method, secret: None }
}

fn clear(password: &str) -> Option<Password> {
    Some(Password::Plain(Plain::new(password), None))
}

/// Every method with every kind of secret that can serve it. The cheap ones, without 4,096 rounds at every login.
fn pairings() -> Vec<Found> {
    let plain = || Secret::Plain(Plain::new("secret"));
    let quick = || Secret::Plain(Plain::new("secret").with_verifier(SALT, 2));
    let hash = || Secret::Md5(md5::Hash::of("secret", "alice"));
    let scram = || scram_secret("secret");
    vec![
        unknown(Method::Trust),
        known(Method::Password, plain()),
        known(Method::Password, hash()),
        known(Method::Password, scram()),
        known(Method::Md5, plain()),
        known(Method::Md5, hash()),
        known(Method::Md5, scram()),
        known(Method::Scram, quick()),
        known(Method::Scram, scram()),
    ]
}

#[test]
fn the_right_password_is_let_in_by_every_method_whatever_the_cuts() {
    for found in pairings() {
        for cut in 0..=140 {
            let met = meet(&found, clear("secret"), cut);
            assert!(met.refused.is_none() && met.failed.is_none(), "{found:?} cut at {cut}: {:?}", met.refused);
            let session = met.session.expect("let in");
            assert!(session.leftover.is_empty());
            let welcome = met.welcome.expect("ready");
            assert_eq!((welcome.pid, welcome.parameters.len()), (Some(7), 1));
        }
    }
}

#[test]
fn the_wrong_password_is_refused_by_every_method_with_the_same_words() {
    for found in pairings().into_iter().filter(|found| found.method != Method::Trust) {
        for cut in [0, 1, 7, 1000] {
            let met = meet(&found, clear("Secret"), cut);
            assert!(met.session.is_none() && met.welcome.is_none(), "{found:?}");
            let refused = met.refused.expect("refused");
            assert_eq!((refused.fault, &*refused.sqlstate), (Fault::Credentials, "28P01"));
            assert_eq!(refused.message, "password authentication failed for user \"alice\"");
            assert_eq!(refused.reason, "wrong password for user \"alice\"");
            let told = matches!(met.failed, Some(LoginFailure::Server { sqlstate, .. }) if sqlstate == "28P01");
            assert!(told, "{found:?}");
        }
    }
}

#[test]
fn an_unknown_user_hears_the_same_bytes_as_a_wrong_password() {
    let plain = || Secret::Plain(Plain::new("secret"));
    for method in [Method::Password, Method::Md5, Method::Scram] {
        let wrong = meet(&known(method.clone(), plain()), clear("guess"), 1000);
        let nobody = meet(&unknown(method.clone()), clear("guess"), 1000);
        assert_eq!(wrong.said, nobody.said, "{method:?}");
        let reason = nobody.refused.expect("refused").reason;
        assert_eq!(reason, "user \"alice\" is not known");
    }
    // A stored secret has a salt of its own, of the same length and rounds.
    let stored = Secret::Scram(scram::Secret::derive("secret", SALT, scram::ITERATIONS));
    let wrong = meet(&known(Method::Scram, stored), clear("guess"), 1000);
    let nobody = meet(&unknown(Method::Scram), clear("guess"), 1000);
    assert_eq!(wrong.said.len(), nobody.said.len());
    let end = |said: &[u8]| said[said.len() - 60..].to_vec();
    assert_eq!(end(&wrong.said), end(&nobody.said));
}

#[test]
fn an_md5_secret_cannot_serve_scram_and_only_the_log_says_so() {
    let found = known(Method::Scram, Secret::Md5(md5::Hash::of("secret", "alice")));
    let met = meet(&found, clear("secret"), 1000);
    let refused = met.refused.expect("refused");
    assert_eq!(refused.fault, Fault::Configuration);
    assert!(refused.reason.contains("md5 secret"), "{refused}");
    assert_eq!(met.said, meet(&unknown(Method::Scram), clear("secret"), 1000).said);
}

#[test]
fn a_stored_secret_of_too_many_rounds_is_never_worked_off_for_a_password_in_clear() {
    let mut verifier = scram::Secret::derive("secret", SALT, 1);
    verifier.iterations = scram::MAX_ITERATIONS + 1;
    let found = known(Method::Password, Secret::Scram(verifier));
    let met = meet(&found, clear("secret"), 1000);
    let refused = met.refused.expect("refused");
    assert_eq!(refused.fault, Fault::Configuration);
    assert!(refused.reason.contains("1000001 iterations"), "{refused}");
    assert_eq!(met.said, meet(&unknown(Method::Password), clear("secret"), 1000).said);
}

#[test]
fn keys_seen_at_a_clients_login_open_a_server_with_the_same_secret() {
    let found = known(Method::Scram, scram_secret("secret"));
    let met = meet(&found, clear("secret"), 1000);
    let keys = met.session.expect("let in").keys.expect("SCRAM reveals them");
    let met = meet(&found, Some(Password::Keys(keys.clone())), 1000);
    assert!(met.welcome.is_some());
    let other = known(Method::Scram, scram_secret("changed"));
    assert!(meet(&other, Some(Password::Keys(keys)), 1000).refused.is_some());
}

#[test]
fn derived_keys_are_paid_for_once() {
    let found = known(Method::Scram, scram_secret("secret"));
    let first = meet(&found, clear("secret"), 1000).welcome.expect("ready");
    let derived = first.derived.expect("derived at the first login");
    assert_eq!((derived.salt.as_slice(), derived.iterations), (SALT, 2));
    let again = Some(Password::Plain(Plain::new("secret"), Some(derived)));
    let second = meet(&found, again, 1000).welcome.expect("ready");
    assert!(second.derived.is_none());
}

#[test]
fn an_md5_hash_logs_in_where_md5_is_asked() {
    let hash = md5::Hash::of("secret", "alice");
    let found = known(Method::Md5, Secret::Md5(hash.clone()));
    assert!(meet(&found, Some(Password::Md5(hash)), 3).welcome.is_some());
}

#[test]
fn no_password_at_all_ends_on_the_clients_side() {
    for method in [Method::Password, Method::Md5, Method::Scram] {
        let met = meet(&unknown(method), None, 1000);
        assert_eq!(met.failed, Some(LoginFailure::NoPassword));
        assert!(met.refused.is_none() && met.session.is_none());
    }
}

#[test]
fn every_method_works_through_tls_and_scram_is_bound_there() {
    for binding in [Binding::Disable, Binding::Prefer] {
        let line = Line::tls(b"hash", b"hash", binding);
        for found in pairings() {
            for cut in 0..=140 {
                let met = meet_on(&line, &found, clear("secret"), cut);
                assert!(met.refused.is_none() && met.failed.is_none(), "{found:?} cut at {cut}: {:?}", met.refused);
                assert_eq!(met.session.expect("let in").minor, 2);
                let welcome = met.welcome.expect("ready");
                let scram = found.method == Method::Scram || matches!(found.secret, Some(Secret::Scram(_)));
                let bound = binding == Binding::Prefer && scram && found.method != Method::Password;
                assert_eq!((welcome.bound, welcome.minor), (bound, 2), "{found:?}");
            }
        }
    }
}

#[test]
fn required_binding_takes_scram_alone() {
    let line = Line::tls(b"hash", b"hash", Binding::Require);
    for found in pairings() {
        let scram = found.method == Method::Scram || matches!(found.secret, Some(Secret::Scram(_)));
        let met = meet_on(&line, &found, clear("secret"), 1000);
        if scram && found.method != Method::Password {
            assert!(met.welcome.expect("ready").bound);
        } else {
            assert!(matches!(met.failed, Some(LoginFailure::ChannelBinding(_))), "{found:?}: {:?}", met.failed);
        }
    }
}

#[test]
fn somebody_in_between_with_a_certificate_of_its_own_is_refused() {
    let line = Line::tls(b"ours", b"theirs", Binding::Prefer);
    let met = meet_on(&line, &known(Method::Scram, scram_secret("secret")), clear("secret"), 3);
    let refused = met.refused.expect("refused");
    assert_eq!((&*refused.sqlstate, refused.message.as_str()), ("28000", "SCRAM channel binding check failed"));
    assert!(met.session.is_none() && met.welcome.is_none());
}

#[test]
fn keys_pass_through_a_bound_login_on_both_sides() {
    let line = Line::tls(b"hash", b"hash", Binding::Require);
    let found = known(Method::Scram, scram_secret("secret"));
    let met = meet_on(&line, &found, clear("secret"), 1000);
    let keys = met.session.expect("let in").keys.expect("SCRAM reveals them");
    for line in [line, Line::default()] {
        let met = meet_on(&line, &found, Some(Password::Keys(keys.clone())), 1000);
        assert!(met.welcome.is_some());
        assert_eq!(met.derivations, (0, 0));
    }
}

#[test]
fn a_password_in_clear_against_a_scram_secret_reveals_its_keys() {
    let met = meet(&known(Method::Password, scram_secret("secret")), clear("secret"), 1000);
    let keys = met.session.expect("let in").keys.expect("the password was there");
    let met = meet(&known(Method::Scram, scram_secret("secret")), Some(Password::Keys(keys)), 1000);
    assert!(met.welcome.is_some());
}

/// Milliseconds of CPU each: nobody pays them where a secret or a key is known.
#[test]
fn keys_are_derived_only_where_nothing_is_known_and_every_derivation_is_counted() {
    let quick = || Secret::Plain(Plain::new("secret").with_verifier(SALT, 2));
    let unprepared = || Secret::Plain(Plain::new("secret"));
    let hash = || Secret::Md5(md5::Hash::of("secret", "alice"));
    for (found, server, client) in [
        (known(Method::Scram, scram_secret("secret")), 0, 1),
        (known(Method::Md5, scram_secret("secret")), 0, 1),
        (known(Method::Scram, quick()), 0, 1),
        (known(Method::Scram, unprepared()), 1, 1),
        (unknown(Method::Scram), 0, 1),
        (known(Method::Password, scram_secret("secret")), 1, 0),
        (unknown(Method::Password), 1, 0),
        (known(Method::Password, quick()), 0, 0),
        (known(Method::Md5, unprepared()), 0, 0),
        (known(Method::Md5, hash()), 0, 0),
        (unknown(Method::Trust), 0, 0),
    ] {
        let met = meet(&found, clear("secret"), 1000);
        assert_eq!(met.derivations, (server, client), "{found:?}");
    }
}

#[test]
fn a_secret_made_at_one_login_spares_the_next_one_that() {
    let plain = Plain::new("secret");
    let mut greeting = greeting(&Line::default());
    greeting.handle(b"\0\0\0\x14\0\x03\0\0user\0alice\0\0").unwrap();
    assert!(greeting.derived().is_none());
    greeting.answer(known(Method::Scram, Secret::Plain(plain.clone()))).unwrap();
    let made = greeting.derived().expect("it had to be made");
    assert!(greeting.derived().is_none() && greeting.derivations() == 1);
    let met = meet(&known(Method::Scram, Secret::Plain(plain.keeping(made))), clear("secret"), 1000);
    assert_eq!((met.welcome.is_some(), met.derivations.0), (true, 0));
}
