//! The console session, byte by byte.

use super::*;

fn sent(make: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    make(&mut out);
    out
}

fn ask(sql: &str) -> Vec<u8> {
    sent(|out| make::query(out, sql))
}

/// Tags of the messages in `bytes`, which must be whole.
fn tags(mut bytes: &[u8]) -> String {
    let mut tags = String::new();
    while let Some(header) = frame::header(bytes).unwrap() {
        tags.push(char::from(header.tag));
        bytes = &bytes[header.total()..];
    }
    assert!(bytes.is_empty());
    tags
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn send(step: &ConsoleStep) -> &[u8] {
    match step {
        ConsoleStep::Send(bytes) => bytes,
        ConsoleStep::Query(_) | ConsoleStep::Close => panic!("not a send: {step:?}"),
    }
}

#[test]
fn the_welcome_ends_ready() {
    let welcome = ConsoleSession::new().welcome("0.1.0", 7, &[1, 2, 3, 4]);
    assert_eq!(tags(&welcome), "SSSSSSSSKZ");
    assert!(holds(&welcome, "server_version\x000.1.0\0"));
    assert!(holds(&welcome, "K\0\0\0\x0c\0\0\0\x07\x01\x02\x03\x04Z\0\0\0\x05I"));
}

#[test]
fn a_query_split_at_every_byte_is_asked_once() {
    let bytes = ask("show pools");
    for at in 0..=bytes.len() {
        let mut session = ConsoleSession::new();
        let mut steps = session.handle(&bytes[..at]).unwrap();
        steps.extend(session.handle(&bytes[at..]).unwrap());
        assert_eq!(steps, [ConsoleStep::Query("show pools".into())]);
    }
}

#[test]
fn rows_travel_as_text_with_their_types_and_null() {
    let mut session = ConsoleSession::new();
    session.handle(&ask("show x")).unwrap();
    let columns = [("name", ColumnKind::Text), ("used", ColumnKind::Int)];
    let reply = session.rows(&columns, &[vec![Some("a".into()), None]], "SHOW");
    assert_eq!(tags(&reply), "TDCZ");
    assert!(holds(&reply, "used\0\0\0\0\0\0\0\0\0\0\x14\0\x08"));
    let row = b"D\0\0\0\x0f\0\x02\0\0\0\x01a\xff\xff\xff\xff"; // NULL has length -1
    assert!(reply.windows(row.len()).any(|window| window == row));
    assert!(reply.ends_with(b"SHOW\0Z\0\0\0\x05I"));
}

#[test]
fn a_second_query_waits_for_the_first_answer() {
    let mut session = ConsoleSession::new();
    let both = [ask("one"), ask("two"), sent(make::terminate)].concat();
    assert_eq!(session.handle(&both).unwrap(), [ConsoleStep::Query("one".into())]);
    assert_eq!(session.handle(&[]).unwrap(), []);
    assert_eq!(tags(&session.done("RELOAD", &["user binds".into()])), "NCZ");
    assert_eq!(session.handle(&[]).unwrap(), [ConsoleStep::Query("two".into())]);
    let error = session.error("42601", "no such command", Some("SHOW HELP"));
    assert_eq!(tags(&error), "EZ");
    assert!(holds(&error, "SERROR\0VERROR\0C42601\0Mno such command\0HSHOW HELP\0"));
    assert_eq!(session.handle(&[]).unwrap(), [ConsoleStep::Close]);
}

#[test]
fn an_empty_text_has_an_answer_of_its_own() {
    let mut session = ConsoleSession::new();
    session.handle(&ask("")).unwrap();
    assert_eq!(tags(&session.done("", &[])), "IZ");
}

#[test]
fn the_extended_protocol_gets_one_error_a_cycle_and_the_session_lives() {
    let mut session = ConsoleSession::new();
    let mut cycle = sent(|out| make::parse(out, "", "show pools", &[]));
    make::describe(&mut cycle, b'S', "");
    make::flush(&mut cycle);
    make::query(&mut cycle, "skipped");
    make::sync(&mut cycle);
    cycle.extend(ask("show pools"));
    let steps = session.handle(&cycle).unwrap();
    assert_eq!(steps.len(), 3);
    assert_eq!((tags(send(&steps[0])), tags(send(&steps[1]))), ("E".into(), "Z".into()));
    assert!(holds(send(&steps[0]), "C0A000\0") && holds(send(&steps[0]), "use the simple protocol, e.g. psql"));
    assert_eq!(steps[2], ConsoleStep::Query("show pools".into()));
}

#[test]
fn a_function_call_is_a_cycle_of_its_own() {
    let steps = ConsoleSession::new().handle(&[b'F', 0, 0, 0, 4]).unwrap();
    assert_eq!((steps.len(), tags(send(&steps[0]))), (1, "EZ".into()));
}

#[test]
fn impossible_and_oversized_input_ends_the_session_within_bounds() {
    for length in [0_u32, 3, 0x7fff_ffff] {
        let mut bytes = vec![b'Q'];
        bytes.extend_from_slice(&length.to_be_bytes());
        let fault = ConsoleSession::new().handle(&bytes).unwrap_err();
        assert!(matches!(fault, ConsoleFault::Frame(_)), "{fault}");
        assert_eq!(tags(&fault.farewell()), "E");
    }
    let mut long = vec![b'Q'];
    long.extend_from_slice(&65_536_u32.to_be_bytes());
    assert_eq!(ConsoleSession::new().handle(&long), Err(ConsoleFault::TooLong(65_537)));

    let mut session = ConsoleSession::new();
    session.handle(&ask("show pools")).unwrap();
    session.handle(&vec![b'x'; MAX_INPUT]).unwrap();
    assert_eq!(session.handle(b"x"), Err(ConsoleFault::TooLong(MAX_INPUT + 1)));
}

#[test]
fn malformed_queries_and_unknown_messages_end_the_session_but_broken_text_does_not() {
    assert_eq!(ConsoleSession::new().handle(b"Q\0\0\0\x06ab"), Err(ConsoleFault::Layout));
    assert_eq!(ConsoleSession::new().handle(b"Q\0\0\0\x07a\0b"), Err(ConsoleFault::Layout));
    assert_eq!(ConsoleSession::new().handle(b"p\0\0\0\x04"), Err(ConsoleFault::Tag(b'p')));
    let steps = ConsoleSession::new().handle(b"Q\0\0\0\x06\xff\0").unwrap();
    assert_eq!(tags(send(&steps[0])), "EZ");
    assert!(holds(send(&steps[0]), "C22021\0"));
}
