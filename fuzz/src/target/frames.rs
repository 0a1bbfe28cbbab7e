//! Frames and every reader of messages: nothing panics, no length is believed beyond the bytes, and what is read can be made
//! again to the very bytes it came of.

use poolwarden_pgwire::frame::{self, HEADER, MAX_BODY};
use poolwarden_pgwire::password::{Plain, Secret};
use poolwarden_pgwire::read::{self, Startup};
use poolwarden_pgwire::{make, md5, scram};

pub(crate) fn run(data: &[u8]) {
    read_all(data);
    first_packet(data);
    let mut at = 0;
    loop {
        let left = &data[at..];
        match frame::header(left) {
            Ok(None) => {
                assert!(left.len() < HEADER, "five bytes are a header");
                return;
            }
            Err(refused) => {
                assert!(refused.length < 4 || refused.length > MAX_BODY + 4, "{refused}");
                return;
            }
            Ok(Some(header)) => {
                assert_eq!((header.tag, header.total()), (left[0], HEADER + header.body as usize));
                let Some(body) = left.get(HEADER..header.total()) else { return };
                read_all(body);
                at += header.total();
            }
        }
    }
}

fn made(make: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = Vec::new();
    make(&mut frame);
    let header = frame::header(&frame).ok().flatten().expect("what is made is a frame");
    assert_eq!(header.total(), frame.len());
    frame.split_off(HEADER)
}

/// Every reader of a body; each result made again.
fn read_all(body: &[u8]) {
    if let Some((text, rest)) = read::cstr(body) {
        assert_eq!(text.len() + 1 + rest.len(), body.len());
    }
    if let Some(parse) = read::parse(body) {
        assert_eq!(made(|out| make::parse_raw(out, parse.name, parse.rest)), body);
        let types: Vec<u32> =
            parse.types.chunks_exact(4).map(|oid| u32::from_be_bytes([oid[0], oid[1], oid[2], oid[3]])).collect();
        assert_eq!(made(|out| make::parse(out, parse.name, parse.text, &types)), body);
    }
    if let Some(bind) = read::bind(body) {
        assert_eq!(&body[..bind.after], [bind.portal, b"\0", bind.statement, b"\0"].concat());
    }
    if let Some((kind, name)) = read::named(body) {
        assert_eq!(made(|out| make::describe(out, kind, name)), body);
        assert_eq!(made(|out| make::close(out, kind, name)), body);
    }
    if let Some((name, value)) = read::parameter_status(body) {
        assert_eq!(made(|out| make::parameter_status(out, name, value)), body);
    }
    if let Some((pid, secret)) = read::backend_key(body) {
        assert!((4..=read::MAX_CANCEL_SECRET).contains(&secret.len()));
        assert_eq!(made(|out| make::backend_key(out, pid, secret)), body);
    }
    if let Some(status) = read::ready(body) {
        assert_eq!(made(|out| make::ready(out, status)), body);
    }
    if let Some((version, unknown)) = read::negotiate_version(body) {
        let texts: Option<Vec<&str>> = unknown.iter().map(|option| std::str::from_utf8(option).ok()).collect();
        if let (0x3, Some(texts), Ok(minor)) = (version >> 16, texts, u16::try_from(version & 0xffff)) {
            assert_eq!(made(|out| make::negotiate_version(out, minor, &texts)), body);
        }
    }
    let fields = read::report(body);
    assert!(fields.message.len() + fields.sqlstate.len() + fields.severity.len() <= 3 * body.len());
    stored(body);
}

/// Secrets as PostgreSQL stores them.
fn stored(body: &[u8]) {
    let Ok(text) = std::str::from_utf8(body) else { return };
    if let Some(secret) = scram::Secret::parse(text) {
        assert_eq!(scram::Secret::parse(&secret.format()).as_ref(), Some(&secret));
    }
    if let Some(hash) = md5::Hash::parse(text) {
        assert_eq!(hash.format().to_ascii_lowercase(), text.to_ascii_lowercase());
    }
    // What is shown of a secret is the same for every secret of its kind.
    let secret = Secret::parse(text);
    let other = match &secret {
        Secret::Plain(_) => Secret::Plain(Plain::new("x")),
        Secret::Md5(_) => Secret::Md5(md5::Hash::of("x", "y")),
        Secret::Scram(_) => Secret::Scram(scram::Secret::mock(&[0; 32], "x")),
    };
    assert_eq!(format!("{secret:?}"), format!("{other:?}"));
}

fn first_packet(data: &[u8]) {
    let whole = match read::startup_length(data, read::MAX_STARTUP) {
        Ok(Some(total)) => {
            assert!((8..=read::MAX_STARTUP + 4).contains(&total));
            data.get(..total)
        }
        Ok(None) => {
            assert!(data.len() < 4);
            None
        }
        Err(_) => None,
    };
    let Some(packet) = whole else {
        assert!(read::startup(data).is_err());
        return;
    };
    let mut again = Vec::new();
    match read::startup(packet) {
        Ok(Startup::Cancel { pid, secret }) => {
            make::cancel_request(&mut again, pid, &secret);
            assert_eq!(again, packet);
        }
        Ok(Startup::Start { minor, params }) => {
            make::startup(&mut again, minor, &params);
            assert!(std::str::from_utf8(&packet[8..]).is_err() || again == packet);
        }
        Ok(Startup::UnsupportedVersion { major, .. }) => assert_ne!(major, 3),
        Ok(Startup::Ssl | Startup::Gss) | Err(_) => {}
    }
}
