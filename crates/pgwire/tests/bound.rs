//! SCRAM-SHA-256-PLUS: fixed conversations computed apart from this code, the formulas of RFC 5802 written out, and every
//! way in which somebody in between could take the binding away.
#![allow(clippy::unwrap_used, missing_docs)] // a test may end where its premise fails

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use poolwarden_pgwire::password::Plain;
use poolwarden_pgwire::scram::{
    ClientExchange, Flag, Keys, Mechanism, Offer, Proof, ScramError, Secret, ServerExchange, Verified,
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

/// RFC 7677's salt, rounds, nonces and password, and the bytes 0 to 31 as the certificate's hash.
const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
const OURS: &str = "rOprNGfwEbeRWgbNEkqO";
const THEIRS: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const CHALLENGE: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

/// One conversation as it must go, computed with another language's library.
struct Script {
    flag: Flag,
    first: &'static str,
    last: &'static str,
    signed: &'static str,
}

fn hash() -> Vec<u8> {
    (0..32).collect()
}

fn scripts() -> [Script; 3] {
    [
        Script {
            flag: Flag::Unbound,
            first: "n,,n=,r=rOprNGfwEbeRWgbNEkqO",
            last: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                   p=qvT2SWdEH5Q06albL+hjSYuUhCG7VndFyzIb7CK4n9k=",
            signed: "v=3HO6Qt1M4MKJrmlKaoOqLAI0/0TV0HZe7J9H3MBtSOg=",
        },
        Script {
            flag: Flag::Unoffered,
            first: "y,,n=,r=rOprNGfwEbeRWgbNEkqO",
            last: "c=eSws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                   p=VpuC5DGQa5ro9tXE9MnKs69NH1nxnuregZZcclqIGfM=",
            signed: "v=FOmOj9BpTGwvnzwBtWQjBaPmVxT9I8IeHBOhcIPu3us=",
        },
        Script {
            flag: Flag::EndPoint(hash()),
            first: "p=tls-server-end-point,,n=,r=rOprNGfwEbeRWgbNEkqO",
            last: "c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=,\
                   r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                   p=Q8h71kjaoMzNI7dPksDrhRE/5mTUObF0fUHVIgBOWQg=",
            signed: "v=ykwoqH8mLqO5AQCeuwwf6lsj9f8zyJZT/CcvAbN4Ssc=",
        },
    ]
}

fn secret() -> Secret {
    Secret::derive("pencil", &STANDARD.decode(SALT).unwrap(), 4096)
}

fn offer(flag: &Flag) -> Offer<'_> {
    match flag {
        Flag::Unbound | Flag::Unoffered => Offer { chosen: Mechanism::Plain, end_point: None },
        Flag::EndPoint(hash) => Offer { chosen: Mechanism::Plus, end_point: Some(hash) },
    }
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// Both roles; the server believes that `offered` is its certificate, and was told that the client chose `chosen`.
fn meet(flag: &Flag, chosen: Mechanism, offered: Option<&[u8]>) -> Result<Verified, ScramError> {
    let keys = Keys::derive("pencil", b"salt", 1);
    let secret = Secret::derive("pencil", b"salt", 1);
    let (client, first) = ClientExchange::start(OURS.to_owned(), flag);
    let offer = Offer { chosen, end_point: offered };
    let (server, challenge) = ServerExchange::start(secret, offer, &first, THEIRS)?;
    let response = client.respond(&challenge, Proof::Keys(&keys))?;
    let verified = server.finish(&response.message)?;
    response.exchange.verify(&verified.message)?;
    Ok(verified)
}

#[test]
fn both_roles_speak_the_conversations_computed_elsewhere() {
    for Script { flag, first, last, signed } in scripts() {
        let (client, opened) = ClientExchange::start(OURS.to_owned(), &flag);
        assert_eq!(String::from_utf8(opened).unwrap(), first);
        let (server, challenge) = ServerExchange::start(secret(), offer(&flag), first.as_bytes(), THEIRS).unwrap();
        assert_eq!(String::from_utf8(challenge).unwrap(), CHALLENGE);
        let proof = Plain::new("pencil");
        let response = client.respond(CHALLENGE.as_bytes(), Proof::Password(&proof, None)).unwrap();
        assert_eq!(String::from_utf8(response.message).unwrap(), last);
        let verified = server.finish(last.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(verified.message).unwrap(), signed);
        assert_eq!(verified.bound, matches!(flag, Flag::EndPoint(_)));
        response.exchange.verify(signed.as_bytes()).unwrap();
    }
}

#[test]
fn the_proof_is_what_the_rfcs_formulas_say() {
    let salt = STANDARD.decode(SALT).unwrap();
    // Hi(), the first block of PBKDF2, step by step.
    let mut round = hmac(b"pencil", &[salt.as_slice(), &[0, 0, 0, 1]].concat());
    let mut salted = round.clone();
    for _ in 1..4096 {
        round = hmac(b"pencil", &round);
        salted.iter_mut().zip(&round).for_each(|(a, b)| *a ^= b);
    }
    let client_key = hmac(&salted, b"Client Key");
    let stored_key = Sha256::digest(&client_key);
    for Script { flag, first, last, signed } in scripts() {
        let bare = &first[first.find("n=,").unwrap()..];
        let (unproven, proof) = last.rsplit_once(",p=").unwrap();
        let message = format!("{bare},{CHALLENGE},{unproven}");
        let signature = hmac(&stored_key, message.as_bytes());
        let expected: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        assert_eq!(proof, STANDARD.encode(expected), "{flag:?}");
        let server_key = hmac(&salted, b"Server Key");
        assert_eq!(signed, format!("v={}", STANDARD.encode(hmac(&server_key, message.as_bytes()))));
        let gs2 = &first[..first.len() - bare.len()];
        let data = if let Flag::EndPoint(hash) = flag { hash } else { Vec::new() };
        let binding = STANDARD.encode([gs2.as_bytes(), &data].concat());
        assert!(unproven.starts_with(&format!("c={binding},r=")), "{unproven}");
    }
}

#[test]
fn a_login_handed_on_to_another_certificate_is_refused() {
    let mine = hash();
    let mut other = hash();
    other[31] ^= 1;
    assert!(meet(&Flag::EndPoint(mine.clone()), Mechanism::Plus, Some(&mine)).unwrap().bound);
    for wrong in [other.as_slice(), &mine[..31], b""] {
        let refused = meet(&Flag::EndPoint(mine.clone()), Mechanism::Plus, Some(wrong));
        assert_eq!(refused.unwrap_err(), ScramError::EndPoint);
    }
}

#[test]
fn whoever_takes_the_offer_away_is_found_out() {
    let mine = hash();
    // The client would have bound, and was shown a list without PLUS.
    assert_eq!(meet(&Flag::Unoffered, Mechanism::Plain, Some(&mine)).unwrap_err(), ScramError::Downgrade);
    // A flag changed on the way does not pass the proof: the client repeats what it said.
    let keys = Keys::derive("pencil", b"salt", 1);
    let (client, first) = ClientExchange::start(OURS.to_owned(), &Flag::Unoffered);
    let changed = String::from_utf8(first).unwrap().replacen("y,,", "n,,", 1);
    let offer = Offer { chosen: Mechanism::Plain, end_point: Some(&mine) };
    let secret = Secret::derive("pencil", b"salt", 1);
    let (server, challenge) = ServerExchange::start(secret, offer, changed.as_bytes(), THEIRS).unwrap();
    let response = client.respond(&challenge, Proof::Keys(&keys)).unwrap();
    assert_eq!(server.finish(&response.message).unwrap_err(), ScramError::Malformed("binding"));
    // Without an offer it is as it should be, and a client that does not bind is taken beside an offer.
    assert!(!meet(&Flag::Unoffered, Mechanism::Plain, None).unwrap().bound);
    assert!(!meet(&Flag::Unbound, Mechanism::Plain, Some(&mine)).unwrap().bound);
}

#[test]
fn mechanism_and_flag_must_agree() {
    let mine = hash();
    for flag in [Flag::Unbound, Flag::Unoffered] {
        let refused = meet(&flag, Mechanism::Plus, Some(&mine));
        assert!(matches!(refused, Err(ScramError::Flag(_))), "{flag:?}: {refused:?}");
    }
    let refused = meet(&Flag::EndPoint(mine.clone()), Mechanism::Plain, Some(&mine));
    assert!(matches!(refused, Err(ScramError::Flag(_))), "{refused:?}");
    let start = |first: &str| {
        let offer = Offer { chosen: Mechanism::Plus, end_point: Some(&mine) };
        ServerExchange::start(secret(), offer, first.as_bytes(), THEIRS).err()
    };
    for other in
        ["p=tls-unique,,n=,r=abc", "p=tls-exporter,,n=,r=abc", "p=tls-server-end-pointy,,n=,r=abc", "p=,,n=,r=a"]
    {
        assert_eq!(start(other), Some(ScramError::BindingType), "{other}");
    }
    assert_eq!(start("p=tls-server-end-point,a=eve,n=,r=abc"), Some(ScramError::Authorization));
    assert_eq!(start("p,,n=,r=abc"), Some(ScramError::Malformed("gs2 header")));
    assert_eq!(start("p=tls-server-end-point,n=,r=abc"), Some(ScramError::Malformed("gs2 header")));
}

#[test]
fn keys_revealed_under_plus_are_the_keys_of_the_password() {
    let mine = hash();
    let verified = meet(&Flag::EndPoint(mine.clone()), Mechanism::Plus, Some(&mine)).unwrap();
    assert_eq!(verified.keys, Keys::derive("pencil", b"salt", 1));
}

#[test]
fn mechanisms_are_known_by_their_names() {
    for mechanism in [Mechanism::Plain, Mechanism::Plus] {
        assert_eq!(Mechanism::parse(mechanism.name().as_bytes()), Some(mechanism));
    }
    for other in ["", "SCRAM-SHA-1", "SCRAM-SHA-256-PLU", "scram-sha-256", "SCRAM-SHA-256-PLUS "] {
        assert_eq!(Mechanism::parse(other.as_bytes()), None);
    }
}

proptest! {
    /// One byte changed anywhere in either of the client's messages never lets it in, bound or not.
    #[test]
    fn a_changed_byte_is_never_accepted(bound: bool, in_first: bool, at: prop::sample::Index, flip in 1u8..) {
        let mine = hash();
        let flag = if bound { Flag::EndPoint(mine.clone()) } else { Flag::Unbound };
        let keys = Keys::derive("pencil", b"salt", 1);
        let (client, mut first) = ClientExchange::start(OURS.to_owned(), &flag);
        if in_first {
            let at = at.index(first.len());
            first[at] ^= flip;
        }
        let offer = Offer { chosen: flag.mechanism(), end_point: Some(&mine) };
        let Ok((server, challenge)) = ServerExchange::start(Secret::derive("pencil", b"salt", 1), offer, &first, THEIRS)
        else {
            return Ok(());
        };
        let Ok(response) = client.respond(&challenge, Proof::Keys(&keys)) else {
            return Ok(());
        };
        let mut last = response.message;
        if !in_first {
            let at = at.index(last.len());
            last[at] ^= flip;
        }
        prop_assert!(server.finish(&last).is_err());
    }
}
