//! What is made is the protocol's bytes, and what is read is what was made.
#![allow(clippy::unwrap_used, missing_docs)] // a test may end where its premise fails

use poolwarden_pgwire::frame::{HEADER, header};
use poolwarden_pgwire::make::{self, Column, Report};
use poolwarden_pgwire::read::{self, Bind, Startup, StartupError};
use poolwarden_pgwire::tag::{client, server};

fn made(make: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = b"before".to_vec();
    make(&mut out);
    out.split_off(6)
}

/// The body of a made message, after checking its frame.
fn body(tag: u8, make: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = made(make);
    let header = header(&bytes).unwrap().unwrap();
    assert_eq!((header.tag, header.total()), (tag, bytes.len()));
    bytes.split_off(HEADER)
}

#[test]
fn servers_messages_are_the_protocols_bytes() {
    assert_eq!(made(|o| make::ready(o, b'I')), b"Z\0\0\0\x05I");
    assert_eq!(made(|o| make::parameter_status(o, "a", "b")), b"S\0\0\0\x08a\0b\0");
    assert_eq!(made(make::authentication_ok), b"R\0\0\0\x08\0\0\0\0");
    assert_eq!(made(make::authentication_cleartext), b"R\0\0\0\x08\0\0\0\x03");
    assert_eq!(made(|o| make::authentication_md5(o, *b"salt")), b"R\0\0\0\x0c\0\0\0\x05salt");
    let sasl = made(|o| make::authentication_sasl(o, &["SCRAM-SHA-256"]));
    assert_eq!(sasl, b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0");
    let sasl = made(|o| make::authentication_sasl_continue(o, b"r=x"));
    assert_eq!(sasl, b"R\0\0\0\x0b\0\0\0\x0br=x");
    assert_eq!(made(|o| make::authentication_sasl_final(o, b"v")), b"R\0\0\0\x09\0\0\0\x0cv");
    assert_eq!(made(|o| make::backend_key(o, 7, b"key!")), b"K\0\0\0\x0c\0\0\0\x07key!");
    let negotiate = made(|o| make::negotiate_version(o, 0, &["_pq_.x"]));
    assert_eq!(negotiate, b"v\0\0\0\x13\0\x03\0\0\0\0\0\x01_pq_.x\0");
    assert_eq!(made(|o| make::data_row(o, &[Some(b"ab"), None])), b"D\0\0\0\x10\0\x02\0\0\0\x02ab\xff\xff\xff\xff");
    assert_eq!(made(|o| make::command_complete(o, "SHOW")), b"C\0\0\0\x09SHOW\0");
    let column = Column { name: "n", oid: 20, size: 8 };
    assert_eq!(
        made(|o| make::row_description(o, &[column])),
        b"T\0\0\0\x1a\0\x01n\0\0\0\0\0\0\0\0\0\0\x14\0\x08\xff\xff\xff\xff\0\0"
    );
    for (make, tag) in [
        (make::empty_query as fn(&mut Vec<u8>), server::EMPTY_QUERY),
        (make::parse_complete, server::PARSE_COMPLETE),
        (make::bind_complete, server::BIND_COMPLETE),
        (make::close_complete, server::CLOSE_COMPLETE),
        (make::sync, client::SYNC),
        (make::flush, client::FLUSH),
        (make::terminate, client::TERMINATE),
    ] {
        assert_eq!(body(tag, make), b"");
    }
}

#[test]
fn clients_messages_are_the_protocols_bytes() {
    let start = made(|o| make::startup(o, 0, &[("user", "al"), ("database", "d")]));
    assert_eq!(start, b"\0\0\0\x1c\0\x03\0\0user\0al\0database\0d\0\0");
    assert_eq!(made(make::ssl_request), b"\0\0\0\x08\x04\xd2\x16\x2f");
    assert_eq!(made(|o| make::cancel_request(o, 1, b"key!")), b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01key!");
    assert_eq!(made(|o| make::password(o, "pw")), b"p\0\0\0\x07pw\0");
    assert_eq!(made(|o| make::sasl_initial(o, "M", b"n,,")), b"p\0\0\0\x0dM\0\0\0\0\x03n,,");
    assert_eq!(made(|o| make::sasl_response(o, b"c=")), b"p\0\0\0\x06c=");
    assert_eq!(made(|o| make::query(o, "select")), b"Q\0\0\0\x0bselect\0");
    assert_eq!(made(|o| make::parse(o, "s", "q", &[23])), b"P\0\0\0\x0es\0q\0\0\x01\0\0\0\x17");
    assert_eq!(made(|o| make::parse_raw(o, "t", b"q\0\0\0")), b"P\0\0\0\x0at\0q\0\0\0");
    assert_eq!(made(|o| make::describe(o, b'S', "s")), b"D\0\0\0\x07Ss\0");
    assert_eq!(made(|o| make::close(o, b'P', b"p")), b"C\0\0\0\x07Pp\0");
    assert_eq!(made(|o| make::copy_fail(o, "no")), b"f\0\0\0\x07no\0");
}

#[test]
fn a_report_is_read_as_it_was_made() {
    let report = Report {
        severity: "FATAL",
        sqlstate: "53300",
        message: "pool full",
        detail: Some("20 of 20 lent"),
        hint: None,
    };
    let bytes = body(server::ERROR, |o| make::error(o, &report));
    assert_eq!(bytes, b"SFATAL\0VFATAL\0C53300\0Mpool full\0D20 of 20 lent\0\0");
    let fields = read::report(&bytes);
    assert_eq!((&*fields.severity, &*fields.sqlstate, &*fields.message), ("FATAL", "53300", "pool full"));
    assert_eq!((&*fields.detail, &*fields.hint), ("20 of 20 lent", ""));
    let notice = body(server::NOTICE, |o| make::notice(o, &Report { severity: "NOTICE", ..report }));
    assert_eq!(read::report(&notice).severity, "NOTICE");
}

#[test]
fn a_translated_severity_gives_way_to_the_untranslated() {
    for bytes in [b"SFATALER FEHLER\0VFATAL\0C1\0\0".as_slice(), b"VFATAL\0SFATALER FEHLER\0C1\0\0"] {
        assert_eq!(read::report(bytes).severity, "FATAL");
    }
    assert_eq!(read::report(b"SHINWEIS\0\0").severity, "HINWEIS");
    assert_eq!(read::report(b"M\xe4rger\0\0").message, "\u{fffd}rger");
}

#[test]
fn a_text_cannot_smuggle_a_field_behind_a_nul() {
    let report = Report { severity: "ERROR", sqlstate: "0A000", message: "a\0Cb", detail: None, hint: Some("h\0x") };
    let bytes = body(server::ERROR, |o| make::error(o, &report));
    assert_eq!(bytes, b"SERROR\0VERROR\0C0A000\0Ma\0Hh\0\0");
}

#[test]
fn statements_are_read_as_they_were_made() {
    let bytes = body(client::PARSE, |o| make::parse(o, "s1", "select $1", &[23, 25]));
    let parse = read::parse(&bytes).unwrap();
    assert_eq!((parse.name, parse.text), (b"s1".as_slice(), b"select $1".as_slice()));
    assert_eq!(parse.types, [0, 0, 0, 23, 0, 0, 0, 25]);
    let renamed = body(client::PARSE, |o| make::parse_raw(o, "other", parse.rest));
    assert_eq!(read::parse(&renamed).unwrap().rest, parse.rest);
    assert_eq!(read::parse(b"s\0q\0\0\x02\0\0\0\x17"), None, "a type is missing");
    assert_eq!(read::parse(b"s\0q\0\0\0x"), None, "something follows");

    let bind = read::bind(b"p\0stmt\0\0\0garbage").unwrap();
    assert_eq!(bind, Bind { portal: b"p", statement: b"stmt", after: 7 });
    let described = body(client::DESCRIBE, |o| make::describe(o, b'P', "p"));
    assert_eq!(read::named(&described), Some((b'P', b"p".as_slice())));
    assert_eq!(read::named(b"Xp\0"), None);
    assert_eq!(read::named(b"Sp\0x"), None);
}

#[test]
fn small_bodies_are_read_strictly() {
    assert_eq!(read::parameter_status(b"TimeZone\0UTC\0"), Some(("TimeZone", "UTC")));
    assert_eq!(read::parameter_status(b"TimeZone\0UTC\0x"), None);
    assert_eq!(read::parameter_status(b"TimeZone\0\xff\0"), None);
    assert_eq!(read::backend_key(b"\0\0\0\x07key!"), Some((7, b"key!".as_slice())));
    assert_eq!(read::backend_key(&[1; 260]).unwrap().1.len(), 256);
    assert_eq!(read::backend_key(&[1; 261]), None);
    assert_eq!(read::backend_key(&[1; 7]), None);
    for status in *b"ITE" {
        assert_eq!(read::ready(&[status]), Some(status));
    }
    assert_eq!(read::ready(b"X"), None);
    assert_eq!(read::ready(b"II"), None);
    assert_eq!(read::cstr(b"no end"), None);
}

#[test]
fn first_packets_are_read() {
    assert_eq!(read::startup(&made(make::ssl_request)), Ok(Startup::Ssl));
    assert_eq!(read::startup(b"\0\0\0\x08\x04\xd2\x16\x30"), Ok(Startup::Gss));
    let secret = vec![5; 256];
    let cancel = made(|o| make::cancel_request(o, 9, &secret));
    assert_eq!(read::startup(&cancel), Ok(Startup::Cancel { pid: 9, secret }));
    let long = made(|o| make::cancel_request(o, 9, &[5; 257]));
    assert_eq!(read::startup(&long), Err(StartupError::Cancel));
    assert_eq!(read::startup(b"\0\0\0\x08\x04\xd2\x16\x2e"), Err(StartupError::Cancel));
    let start = made(|o| make::startup(o, 2, &[("user", "al"), ("x", "")]));
    let params = vec![("user".into(), "al".into()), ("x".into(), String::new())];
    assert_eq!(read::startup(&start), Ok(Startup::Start { minor: 2, params }));
    let old = read::startup(b"\0\0\0\x09\0\x02\0\0\0");
    assert_eq!(old, Ok(Startup::UnsupportedVersion { major: 2, minor: 0 }));
}

#[test]
fn first_packets_out_of_shape_are_refused() {
    for length in [0, 3, 4, 7, 10_005, 0x7fff_ffff, u32::MAX] {
        let bytes = length.to_be_bytes();
        assert_eq!(read::startup_length(&bytes, read::MAX_STARTUP), Err(StartupError::Length(length)));
        assert_eq!(read::startup(&bytes), Err(StartupError::Length(length)));
    }
    assert_eq!(read::startup_length(b"\0\0\x27", 10_000), Ok(None));
    assert_eq!(read::startup_length(&10_004u32.to_be_bytes(), 10_000), Ok(Some(10_004)));
    let layout = |body: &[u8]| {
        let length = u32::try_from(body.len() + 8).unwrap();
        let packet = [&length.to_be_bytes(), b"\0\x03\0\0".as_slice(), body].concat();
        read::startup(&packet)
    };
    for body in [b"".as_slice(), b"user\0", b"user\0al\0", b"user\0al\0\0x", b"user\0al", b"user\0\0"] {
        assert_eq!(layout(body), Err(StartupError::Layout), "{body:?}");
    }
    assert_eq!(layout(b"user\0\xff\0\0"), Err(StartupError::Name));
    assert!(layout(b"application_name\0\xff\0\0").is_ok());
}
