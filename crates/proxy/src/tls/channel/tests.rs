//! Two ends of TLS talk to each other in pieces of every size.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

use super::*;
use crate::tls::{Oldest, Policy, ServerTls, Terms, Verification, provider};

fn pair(oldest_only_12: bool) -> (Tls, Tls) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["db".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let versions: &[_] = if oldest_only_12 { &[&rustls::version::TLS12] } else { &[&rustls::version::TLS13] };
    let config = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let terms = Terms {
        server: "main".to_owned(),
        host: "db".to_owned(),
        policy: Policy::Require,
        direct: false,
        verification: Verification::Nothing,
        own: None,
        oldest: Oldest::Tls12,
        binding: poolwarden_switch::relay::login::Binding::Prefer,
    };
    let outbound = ServerTls::load(&terms).unwrap().outbound.unwrap();
    let server = UnbufferedServerConnection::new(Arc::new(config)).unwrap();
    let client = UnbufferedClientConnection::new(outbound.config, outbound.name).unwrap();
    (Tls::server(server), Tls::client(client))
}

/// Hands over what one owes the other, in pieces of this size.
fn carry(from: &mut Tls, to: &mut Tls, piece: usize) {
    let owed = std::mem::take(&mut from.owed);
    for bytes in owed.chunks(piece) {
        to.receive(bytes).unwrap();
    }
}

pub(crate) fn shaken(oldest_only_12: bool, piece: usize) -> (Tls, Tls) {
    let (mut server, mut client) = pair(oldest_only_12);
    client.receive(&[]).unwrap();
    for _ in 0..6 {
        carry(&mut client, &mut server, piece);
        carry(&mut server, &mut client, piece);
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    (server, client)
}

fn taken(tls: &mut Tls, room: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let mut room = vec![0; room];
    while tls.has_opened() {
        let count = tls.take(&mut room);
        all.extend_from_slice(&room[..count]);
    }
    all
}

#[test]
fn a_handshake_in_single_bytes_is_one() {
    for oldest_only_12 in [false, true] {
        for piece in [1, 7, 100_000] {
            let (server, client) = shaken(oldest_only_12, piece);
            let version = if oldest_only_12 {
                "TLSv1.2/ECDHE-ECDSA-AES256-GCM-SHA384/"
            } else {
                "TLSv1.3/TLS_AES_256_GCM_SHA384/"
            };
            for side in [&server, &client] {
                assert!(side.describe().starts_with(version), "{}", side.describe());
            }
            assert!(!server.holds() && !client.holds());
        }
    }
}

#[test]
fn a_record_larger_than_the_room_is_kept_and_nothing_is_lost_or_held_behind_it() {
    let (mut server, mut client) = shaken(false, 1000);
    let told: Vec<u8> = (0..100_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
    let mut sealed = Vec::new();
    server.seal(&told, &mut sealed).unwrap();
    let mut got = Vec::new();
    let mut room = [0; 300];
    for piece in sealed.chunks(5_000) {
        let mut scratch = client.sealed().to_vec();
        scratch.extend_from_slice(piece);
        let count = client.open(&mut scratch, &mut room).unwrap();
        got.extend_from_slice(&room[..count]);
        while client.has_opened() {
            let count = client.take(&mut room);
            got.extend_from_slice(&room[..count]);
        }
        assert!(client.sealed().len() < ROOM);
    }
    assert!(got == told && !client.holds());
    assert_eq!((client.opened.capacity(), client.sealed.capacity(), client.owed.capacity()), (0, 0, 0));
}

#[test]
fn a_goodbye_is_heard_behind_what_was_said_and_a_change_of_keys_hides_nothing() {
    let (mut server, mut client) = shaken(false, 1000);
    let mut sealed = Vec::new();
    client.seal(b"one", &mut sealed).unwrap();
    // rustls asks the peer to change its keys as well when it changes its own
    if let Side::Client(connection) = &mut client.side
        && let Ok(ConnectionState::WriteTraffic(traffic)) = connection.process_tls_records(&mut []).state
    {
        traffic.refresh_traffic_keys().unwrap();
    }
    client.seal(b"two", &mut sealed).unwrap();
    client.finish(&mut sealed).unwrap();
    server.receive(&sealed).unwrap();
    assert!(!server.is_over());
    assert_eq!(taken(&mut server, 2), b"onetwo");
    assert!(server.is_over());
    // The other direction goes on, with new keys.
    let mut answer = Vec::new();
    server.seal(b"three", &mut answer).unwrap();
    server.finish(&mut answer).unwrap();
    client.receive(&answer).unwrap();
    assert_eq!(taken(&mut client, 100), b"three");
    assert!(client.is_over());
}

#[test]
fn a_forged_record_is_an_error_and_the_peer_is_told() {
    let (mut server, mut client) = shaken(false, 1000);
    let mut sealed = Vec::new();
    client.seal(b"select 1", &mut sealed).unwrap();
    *sealed.last_mut().unwrap() ^= 1;
    server.receive(&sealed).unwrap_err();
    assert!(!server.owed.is_empty(), "no alert");
    assert!(client.receive(&server.owed).unwrap_err().to_string().contains("BadRecordMac"));
}

#[test]
fn a_missing_file_is_named() {
    let terms = |verification| Terms {
        server: "main".to_owned(),
        host: "db".to_owned(),
        policy: Policy::Require,
        direct: false,
        verification,
        own: None,
        oldest: Oldest::Tls13,
        binding: poolwarden_switch::relay::login::Binding::Prefer,
    };
    let path = PathBuf::from("/nowhere/ca.crt");
    let fault = ServerTls::load(&terms(Verification::Authority(Some(path)))).unwrap_err();
    assert!(fault.to_string().starts_with("/nowhere/ca.crt: cannot be read: "), "{fault}");
}
