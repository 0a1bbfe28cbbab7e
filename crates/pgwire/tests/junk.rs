//! No reader panics or believes a length, whatever the bytes.
#![allow(clippy::unwrap_used, missing_docs)] // a test may end where its premise fails

use poolwarden_pgwire::frame::{HEADER, MAX_BODY, header};
use poolwarden_pgwire::make::{self, Column, Report};
use poolwarden_pgwire::password::{Plain, Secret};
use poolwarden_pgwire::scram::{self, ClientExchange, Flag, Mechanism, Offer, Proof, ServerExchange};
use poolwarden_pgwire::{md5, read};
use proptest::prelude::*;

const OFFER: Offer<'_> = Offer { chosen: Mechanism::Plain, end_point: None };

/// Every reader there is, over the same bytes.
fn read_everything(bytes: &[u8]) {
    let _ = header(bytes);
    let _ = read::cstr(bytes);
    let _ = read::parse(bytes);
    let _ = read::bind(bytes);
    let _ = read::named(bytes);
    let _ = read::report(bytes);
    let _ = read::parameter_status(bytes);
    let _ = read::backend_key(bytes);
    let _ = read::negotiate_version(bytes);
    let _ = read::ready(bytes);
    let _ = read::startup_length(bytes, read::MAX_STARTUP);
    let _ = read::startup(bytes);
    let secret = scram::Secret::mock(&[1; 32], "alice");
    if let Ok((server, _)) = ServerExchange::start(secret.clone(), OFFER, bytes, "abc") {
        assert!(server.finish(bytes).is_err());
    }
    let (server, _) = ServerExchange::start(secret, OFFER, b"n,,n=,r=abc", "def").unwrap();
    assert!(server.finish(bytes).is_err(), "junk proves nothing");
    let text = String::from_utf8_lossy(bytes);
    let _ = (scram::Secret::parse(&text), md5::Hash::parse(&text), Secret::parse(&text));
}

fn client_reads(bytes: &[u8]) {
    let keys = scram::Keys::derive("pencil", b"salt", 1);
    let (client, _) = ClientExchange::start("abc".to_owned(), &Flag::Unbound);
    let _ = client.respond(bytes, Proof::Keys(&keys));
    let (client, _) = ClientExchange::start("abc".to_owned(), &Flag::Unbound);
    let response = client.respond(b"r=abcd,s=c2FsdA==,i=1", Proof::Password(&Plain::new("pencil"), None)).unwrap();
    assert!(response.exchange.verify(bytes).is_err(), "junk signs nothing");
}

type Make = Box<dyn Fn(&mut Vec<u8>)>;

/// One of each message with a shape.
fn samples() -> Vec<Vec<u8>> {
    let makers: Vec<Make> = vec![
        Box::new(|o| make::startup(o, 0, &[("user", "al"), ("database", "d")])),
        Box::new(|o| make::cancel_request(o, 7, b"key!")),
        Box::new(|o| make::parse(o, "s", "select $1", &[23])),
        Box::new(|o| make::describe(o, b'S', "s")),
        Box::new(|o| make::parameter_status(o, "TimeZone", "UTC")),
        Box::new(|o| make::backend_key(o, 7, &[3; 32])),
        Box::new(|o| make::row_description(o, &[Column { name: "n", oid: 20, size: 8 }])),
        Box::new(|o| {
            let report =
                Report { severity: "ERROR", sqlstate: "42601", message: "m", detail: Some("d"), hint: Some("h") };
            make::error(o, &report);
        }),
    ];
    makers
        .iter()
        .map(|make| {
            let mut out = Vec::new();
            make(&mut out);
            out
        })
        .collect()
}

#[test]
fn no_reader_panics_on_a_message_cut_anywhere() {
    for message in samples() {
        for cut in 0..=message.len() {
            read_everything(&message[..cut]);
            read_everything(&message[cut..]);
            client_reads(&message[..cut]);
        }
    }
}

proptest! {
    #[test]
    fn no_reader_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_everything(&bytes);
        client_reads(&bytes);
    }

    #[test]
    fn a_frame_is_its_tag_its_length_and_its_body(tag: u8, length: u32, rest: [u8; 3]) {
        let bytes = [&[tag], length.to_be_bytes().as_slice(), &rest].concat();
        let possible = (4..=MAX_BODY + 4).contains(&length);
        match header(&bytes) {
            Ok(Some(header)) => {
                prop_assert!(possible);
                prop_assert_eq!((header.tag, header.total()), (tag, length as usize + 1));
            }
            Ok(None) => prop_assert!(false, "five bytes were there"),
            Err(refused) => {
                prop_assert!(!possible);
                prop_assert_eq!((refused.tag, refused.length), (tag, length));
            }
        }
    }

    #[test]
    fn a_stream_of_messages_is_cut_where_they_were_made(
        texts in proptest::collection::vec("[^\0]{0,40}", 0..20),
    ) {
        let mut stream = Vec::new();
        for text in &texts {
            make::query(&mut stream, text);
        }
        let mut left = stream.as_slice();
        for text in &texts {
            let header = header(left).unwrap().unwrap();
            let (message, rest) = left.split_at(header.total());
            prop_assert_eq!(read::cstr(&message[HEADER..]), Some((text.as_bytes(), b"".as_slice())));
            left = rest;
        }
        prop_assert!(left.is_empty());
    }

    #[test]
    fn start_up_parameters_come_back_as_they_went(
        params in proptest::collection::vec(("[^\0]{1,10}", "[^\0]{0,10}"), 0..10),
    ) {
        let mut packet = Vec::new();
        make::startup(&mut packet, 0, &params);
        prop_assert_eq!(read::startup(&packet), Ok(read::Startup::Start { minor: 0, params }));
    }
}
