//! SCRAM in both roles against each other, with messages changed on the way: nobody is let in by anything but the exact
//! messages of somebody who knows the secret, and no server is believed that does not.

use std::sync::LazyLock;

use poolwarden_pgwire::scram::{ClientExchange, Flag, Keys, Mechanism, Offer, Proof, Secret, ServerExchange};

use crate::input::Input;

const SALT: &[u8] = b"salt";
const OURS: &str = "rOprNGfwEbeRWgbNEkqO";
const THEIRS: &str = "3rfcNHYJY1ZVvWVs7j";
const END_POINTS: [&[u8]; 3] = [b"one certificate", b"another", b""];

static KEYS: LazyLock<[Keys; 2]> = LazyLock::new(|| [Keys::derive("right", SALT, 1), Keys::derive("wrong", SALT, 1)]);
static SECRET: LazyLock<Secret> = LazyLock::new(|| Secret::derive("right", SALT, 1));

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    if input.flag() {
        alone(&mut input);
    } else {
        together(&mut input);
    }
}

fn flag(input: &mut Input<'_>) -> Flag {
    match input.below(3) {
        0 => Flag::Unbound,
        1 => Flag::Unoffered,
        _ => Flag::EndPoint(input.choice(&END_POINTS).to_vec()),
    }
}

/// Each role against bytes of nobody who knows anything.
fn alone(input: &mut Input<'_>) {
    let end_point = input.choice(&[None, Some(END_POINTS[0])]);
    let offer = Offer { chosen: input.choice(&[Mechanism::Plain, Mechanism::Plus]), end_point };
    let first = input.chunk();
    let last = input.chunk();
    if let Ok((server, challenge)) = ServerExchange::start(SECRET.clone(), offer, first, THEIRS) {
        assert!(challenge.starts_with(b"r="));
        assert!(server.finish(last).is_err(), "junk proves nothing");
    }
    let (client, _) = ClientExchange::start(OURS.to_owned(), &flag(input));
    if let Ok(response) = client.respond(input.chunk(), Proof::Keys(&KEYS[0])) {
        assert!(response.derived.is_none());
        assert!(response.exchange.verify(input.chunk()).is_err(), "junk signs nothing");
    }
}

/// Both roles, with somebody in between.
fn together(input: &mut Input<'_>) {
    let knows = input.flag();
    let keys = &KEYS[usize::from(!knows)];
    let flag = flag(input);
    let served = input.choice(&[None, Some(END_POINTS[0]), Some(END_POINTS[1])]);
    let chosen = if input.byte() < 200 { flag.mechanism() } else { input.choice(&[Mechanism::Plain, Mechanism::Plus]) };
    let (client, sent) = ClientExchange::start(OURS.to_owned(), &flag);
    let mut first = sent.clone();
    input.spoil(&mut first);
    let Ok((server, challenge)) =
        ServerExchange::start(SECRET.clone(), Offer { chosen, end_point: served }, &first, THEIRS)
    else {
        assert!(first != sent || chosen != flag.mechanism() || !fits(&flag, served), "an honest start is taken");
        return;
    };
    let mut asked = challenge.clone();
    input.spoil(&mut asked);
    let Ok(response) = client.respond(&asked, Proof::Keys(keys)) else {
        assert!(asked != challenge || first != sent, "an honest challenge is answered");
        return;
    };
    let mut proof = response.message.clone();
    input.spoil(&mut proof);
    let honest = first == sent && asked == challenge && proof == response.message;
    let bound = match (&flag, served) {
        (Flag::EndPoint(hash), Some(served)) => hash == served,
        (Flag::EndPoint(_), None) | (Flag::Unoffered, Some(_)) => false,
        (Flag::Unoffered, None) | (Flag::Unbound, _) => true,
    };
    let Ok(verified) = server.finish(&proof) else {
        assert!(!(honest && knows && bound), "an honest client is let in");
        return;
    };
    assert!(honest, "a changed message was taken: {:?}", [first, asked, proof].map(String::from_utf8));
    assert!(knows, "a wrong proof was taken");
    assert!(bound, "another connection's binding was taken");
    assert_eq!(verified.bound, matches!(flag, Flag::EndPoint(_)));
    assert!(verified.keys == *keys, "the keys are the client's");
    let mut signed = verified.message.clone();
    input.spoil(&mut signed);
    // Extensions may follow the signature.
    let extended = signed.strip_prefix(verified.message.as_slice()).is_some_and(|rest| matches!(rest, [] | [b',', ..]));
    assert_eq!(response.exchange.verify(&signed).is_ok(), extended && std::str::from_utf8(&signed).is_ok());
}

/// Whether a server of this certificate, or none, takes a client of this flag.
fn fits(flag: &Flag, served: Option<&[u8]>) -> bool {
    match flag {
        Flag::Unbound => true,
        Flag::Unoffered => served.is_none(),
        Flag::EndPoint(_) => served.is_some(),
    }
}
