//! Our client against our server, in memory: every method, right and wrong, cut everywhere.
#![allow(clippy::unwrap_used, missing_docs)] // a test may end where its premise fails

use poolwarden_pgwire::password::{Plain, Secret};
use poolwarden_pgwire::{make, md5, scram};
use poolwarden_relay::greet::{Fault, Found, GreetError, Greeting, Method, Rules, Session, Step};
use poolwarden_relay::login::{Channel, Credentials, LoginFailure, LoginStep, Password, ServerLogin, Welcome};

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
}

/// Lets the two talk; every flight of bytes is handed over in two parts, cut at `cut`.
fn meet(found: &Found, password: Option<Password>, cut: usize) -> Met {
    let credentials = Credentials { user: "alice".into(), database: "app".into(), password, settings: vec![] };
    let mut login = ServerLogin::new(credentials, [4; 32], Channel::default());
    let mut greeting = Greeting::new(Rules::new([5; 32]), [6; 32]);
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
        met.said.extend_from_slice(&to_client);
        to_server.clear();
        let (front, back) = to_client.split_at(cut.min(to_client.len()));
        for part in [front, back] {
            if let Err(failure) = login.handle(part) {
                met.failed = Some(failure);
                return met;
            }
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

/// Does what the greeting asks, and welcomes whom it lets in.
fn serve(greeting: &mut Greeting, found: &Found, met: &mut Met, out: &mut Vec<u8>) {
    while let Some(step) = greeting.poll() {
        match step {
            Step::Send(bytes) => out.extend(bytes),
            Step::Lookup(who) => {
                assert_eq!((who.user.as_str(), who.database.as_str()), ("alice", "app"));
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
