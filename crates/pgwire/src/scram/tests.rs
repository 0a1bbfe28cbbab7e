//! RFC 7677's own exchange, and both roles against each other.

use super::*;
use crate::password::Plain;

const RFC_SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
const RFC_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const RFC_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const RFC_CHALLENGE: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const RFC_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const RFC_SIGNED: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

const PLAIN: Offer<'_> = Offer { chosen: Mechanism::Plain, end_point: None };

fn rfc_secret() -> Secret {
    Secret::derive("pencil", &STANDARD.decode(RFC_SALT).unwrap(), 4096)
}

/// Both roles, with the client's first message changed on the way where a test wants that.
fn exchange(secret: Secret, proof: Proof<'_>) -> Result<(Verified, Option<Derived>), ScramError> {
    let (client, first) = ClientExchange::start(nonce([7; 18]), &Flag::Unbound);
    let (server, challenge) = ServerExchange::start(secret, PLAIN, &first, &nonce([9; 18]))?;
    let response = client.respond(&challenge, proof)?;
    let verified = server.finish(&response.message)?;
    response.exchange.verify(&verified.message)?;
    Ok((verified, response.derived))
}

#[test]
fn the_server_speaks_rfc_7677s_example() {
    let (server, challenge) = ServerExchange::start(rfc_secret(), PLAIN, RFC_FIRST.as_bytes(), RFC_NONCE).unwrap();
    assert_eq!(String::from_utf8(challenge).unwrap(), RFC_CHALLENGE);
    let verified = server.finish(RFC_FINAL.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(verified.message).unwrap(), RFC_SIGNED);
    let keys = Keys::derive("pencil", &STANDARD.decode(RFC_SALT).unwrap(), 4096);
    assert_eq!(verified.keys, keys);
}

#[test]
fn a_password_proves_itself_and_so_do_the_keys_it_left() {
    let plain = Plain::new("pencil");
    let (verified, derived) = exchange(rfc_secret(), Proof::Password(&plain, None)).unwrap();
    let derived = derived.expect("the first login pays for its keys");
    assert_eq!(derived.keys, verified.keys);
    let (_, again) = exchange(rfc_secret(), Proof::Password(&plain, Some(&derived))).unwrap();
    assert!(again.is_none(), "known keys are not derived again");
    exchange(rfc_secret(), Proof::Keys(&verified.keys)).unwrap();
}

#[test]
fn keys_of_another_salt_are_derived_anew() {
    let plain = Plain::new("pencil");
    let stale = Derived { salt: b"other".to_vec(), iterations: 4096, keys: Keys::derive("pencil", b"other", 4096) };
    let (_, derived) = exchange(rfc_secret(), Proof::Password(&plain, Some(&stale))).unwrap();
    assert!(derived.is_some());
}

#[test]
fn a_wrong_password_is_refused() {
    let refused = exchange(rfc_secret(), Proof::Password(&Plain::new("pen"), None));
    assert_eq!(refused.unwrap_err(), ScramError::WrongProof);
}

#[test]
fn a_server_that_knows_only_the_stored_key_is_found_out() {
    let mut thief = rfc_secret();
    thief.server_key = [0; 32];
    let refused = exchange(thief, Proof::Password(&Plain::new("pencil"), None));
    assert_eq!(refused.unwrap_err(), ScramError::ServerSignature);
}

#[test]
fn a_client_that_could_bind_channels_is_taken_and_one_that_must_is_not() {
    let start = |first: &str| ServerExchange::start(rfc_secret(), PLAIN, first.as_bytes(), "nonce");
    assert!(start("y,,n=,r=abc").is_ok());
    let insists = start("p=tls-server-end-point,,n=,r=abc").err();
    assert_eq!(insists, Some(ScramError::Flag("SCRAM-SHA-256 with channel binding")));
    assert_eq!(start("n,a=x,n=,r=abc").err(), Some(ScramError::Authorization));
    for bad in ["", "n", "n,", "n,,", "x,,n=,r=abc", "n,,r=abc", "n,,n=,r=", "n,,m=x,n=,r=abc", "n,,n=,r=a b"] {
        assert!(matches!(start(bad).err(), Some(ScramError::Malformed(_))), "{bad}");
    }
}

#[test]
fn the_binding_must_repeat_the_header_that_was_sent() {
    let (server, _) = ServerExchange::start(rfc_secret(), PLAIN, b"y,,n=,r=abc", "def").unwrap();
    let proof = STANDARD.encode([0; 32]);
    let replayed = server.finish(format!("c=biws,r=abcdef,p={proof}").as_bytes());
    assert_eq!(replayed.unwrap_err(), ScramError::Malformed("binding"));
    let (server, _) = ServerExchange::start(rfc_secret(), PLAIN, b"y,,n=,r=abc", "def").unwrap();
    let wrong = server.finish(format!("c=eSws,r=abcdef,p={proof}").as_bytes());
    assert_eq!(wrong.unwrap_err(), ScramError::WrongProof);
    let (server, _) = ServerExchange::start(rfc_secret(), PLAIN, b"y,,n=,r=abc", "def").unwrap();
    let other = server.finish(format!("c=eSws,r=abcdeg,p={proof}").as_bytes());
    assert_eq!(other.unwrap_err(), ScramError::Nonce);
}

#[test]
fn a_challenge_out_of_bounds_is_refused_before_any_work() {
    let respond = |challenge: &str| {
        let (client, _) = ClientExchange::start("abc".to_owned(), &Flag::Unbound);
        let proof = Plain::new("pencil");
        client.respond(challenge.as_bytes(), Proof::Password(&proof, None)).err()
    };
    assert_eq!(respond("r=abcd,s=c2FsdA==,i=2147483647"), Some(ScramError::Iterations));
    assert_eq!(respond("r=abc,s=c2FsdA==,i=1"), Some(ScramError::Nonce));
    assert_eq!(respond("r=xyz,s=c2FsdA==,i=1"), Some(ScramError::Nonce));
    for bad in [
        "",
        "r=abcd",
        "r=abcd,s=,i=1",
        "r=abcd,s=?,i=1",
        "r=abcd,s=c2FsdA==,i=0",
        "r=abcd,s=c2FsdA==,i=-1",
        "m=x,r=abcd,s=c2FsdA==,i=1",
    ] {
        assert!(matches!(respond(bad), Some(ScramError::Malformed(_))), "{bad}");
    }
    assert_eq!(respond("r=abcd,s=c2FsdA==,i=1"), None);
}

#[test]
fn a_secret_survives_its_own_form() {
    let secret = rfc_secret();
    assert_eq!(Secret::parse(&secret.format()), Some(secret.clone()));
    assert!(secret.fits("pencil") && !secret.fits("Pencil"));
    let text = secret.format();
    for cut in 0..text.len() {
        assert_eq!(Secret::parse(&text[..cut]), None, "{cut}");
    }
}

#[test]
fn a_postgresql_secret_is_read() {
    // The example of PostgreSQL's own test suite (src/test/regress/sql/password.sql).
    let text = "SCRAM-SHA-256$4096:VLK4RMaQLCvNtQ==$6YtlR4t69SguDiwFvbVgVZtuz6gpJQQqUMZ7IQJK5yI=:\
                ps75jrHeYU4lXCcXI4O8oIdJ3eO8o2jirjruw9phBTo=";
    let secret = Secret::parse(text).expect("PostgreSQL takes it");
    assert_eq!(secret.format(), text);
}

#[test]
fn a_mock_secret_is_stable_per_user_and_differs_between_users() {
    let seed = [1; 32];
    assert_eq!(Secret::mock(&seed, "alice"), Secret::mock(&seed, "alice"));
    assert_ne!(Secret::mock(&seed, "alice").salt, Secret::mock(&seed, "bob").salt);
    assert_ne!(Secret::mock(&seed, "alice").salt, Secret::mock(&[2; 32], "alice").salt);
    assert_eq!(Secret::mock(&seed, "alice").salt.len(), 16);
}

#[test]
fn passwords_are_prepared_where_that_is_defined() {
    let same = |a: &str, b: &str| Keys::derive(a, b"salt", 1) == Keys::derive(b, b"salt", 1);
    assert!(same("I\u{ad}X", "IX"), "a soft hyphen is dropped");
    assert!(same("\u{2168}", "IX"), "a Roman numeral is folded");
    assert!(!same("user", "USER"));
    assert!(!same("a\u{7}", "a"), "a prohibited character leaves the password as it is");
    assert!(!same("\u{ad}", ""), "what prepares to nothing stays as it is");
}
