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
        ConsoleStep::Query(_) | ConsoleStep::Describe(_) | ConsoleStep::Close => panic!("not a send: {step:?}"),
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
    let reply = session.rows(&columns, vec![vec![Some("a".into()), None]], "SHOW");
    assert_eq!(tags(&reply), "TDCZ");
    assert!(holds(&reply, "used\0\0\0\0\0\0\0\0\0\0\x17\0\x04"));
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

const COLUMNS: [(&str, ColumnKind); 2] = [("name", ColumnKind::Text), ("used", ColumnKind::Int)];

fn three_rows() -> Vec<Vec<Option<String>>> {
    ["1", "2", "3"].map(|used| vec![Some("a".to_owned()), Some(used.to_owned())]).to_vec()
}

/// Parse, Bind with every result in binary, Describe of statement and portal, Execute of up to `most` rows.
fn cycle(name: &str, sql: &str, most: u32) -> Vec<u8> {
    let mut bytes = sent(|out| make::parse(out, name, sql, &[]));
    bytes.extend(message(b'D', format!("S{name}\0").as_bytes()));
    bytes.extend(message(b'B', format!("\0{name}\0\0\0\0\0\0\x01\0\x01").as_bytes()));
    make::describe(&mut bytes, b'P', "");
    bytes.extend(message(b'E', &[&[0][..], &most.to_be_bytes()].concat()));
    bytes
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(4 + body.len()).unwrap();
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

/// Runs a session as its driver does: `sql` has three rows, anything else is done; returns what the client is sent.
fn drive(session: &mut ConsoleSession, bytes: &[u8]) -> Vec<u8> {
    let (mut input, mut reply) = (bytes, Vec::new());
    loop {
        let steps = session.handle(input).unwrap();
        input = &[];
        let mut asked = false;
        for step in steps {
            asked |= matches!(step, ConsoleStep::Query(_) | ConsoleStep::Describe(_));
            match step {
                ConsoleStep::Query(sql) if sql == "show pools" => {
                    reply.extend(session.rows(&COLUMNS, three_rows(), "SHOW"));
                }
                ConsoleStep::Query(sql) if sql == "wrong" => reply.extend(session.error("42601", "no", None)),
                ConsoleStep::Query(sql) => reply.extend(session.done(&sql.to_uppercase(), &[])),
                ConsoleStep::Describe(sql) => {
                    let columns = (sql == "show pools").then_some(&COLUMNS[..]);
                    reply.extend(session.described(columns));
                }
                ConsoleStep::Send(bytes) => reply.extend(bytes),
                ConsoleStep::Close => panic!("closed"),
            }
        }
        if !asked {
            return reply;
        }
    }
}

#[test]
fn the_extended_protocol_answers_as_postgresql_does() {
    let mut session = ConsoleSession::new();
    let bytes = [cycle("s1", "show pools", 0), sent(make::sync)].concat();
    for at in 0..=bytes.len() {
        let mut session = ConsoleSession::new();
        let mut reply = drive(&mut session, &bytes[..at]);
        reply.extend(drive(&mut session, &bytes[at..]));
        assert_eq!(tags(&reply), "1tT2TDDDCZ", "split at {at}");
    }
    let reply = drive(&mut session, &bytes);
    assert!(holds(&reply, "used\0\0\0\0\0\0\0\0\0\0\x17\0\x04")); // int4
    let binary = b"D\0\0\0\x13\0\x02\0\0\0\x01a\0\0\0\x04\0\0\0\x01";
    assert!(reply.windows(binary.len()).any(|window| window == binary), "values are binary where a Bind asks for it");
    let again =
        drive(&mut session, &[message(b'B', b"\0s1\0\0\0\0\0\0\0"), message(b'E', &[0; 5]), sent(make::sync)].concat());
    assert_eq!(tags(&again), "2DDDCZ", "a statement stays, and rows are text unless asked otherwise");
}

#[test]
fn a_row_limit_suspends_a_portal_and_the_rest_follows() {
    let mut session = ConsoleSession::new();
    let more = message(b'E', &[0, 0, 0, 0, 2]);
    let bytes = [cycle("", "show pools", 1), more.clone(), more, sent(make::sync)].concat();
    assert_eq!(tags(&drive(&mut session, &bytes)), "1tT2TDsDDCCZ");
}

#[test]
fn commands_and_empty_texts_have_no_rows() {
    let mut session = ConsoleSession::new();
    let both = [cycle("", "reload", 0), cycle("", "", 0), sent(make::sync)].concat();
    assert_eq!(tags(&drive(&mut session, &both)), "1tn2nC1tn2nIZ");
}

#[test]
fn an_error_skips_to_the_sync_and_the_session_lives() {
    let wrong = [
        (cycle("", "wrong", 0), "1tn2nE", "42601"),
        (message(b'E', b"nope\0\0\0\0\0"), "E", "34000"),
        (message(b'B', b"\0nope\0\0\0\0\0\0\0"), "E", "26000"),
        (message(b'B', b"\0\0\0\0\0\x01\0\0\0\x011\0\0"), "E", "08P01"),
        (message(b'P', b"s\0\xff\0\0\0"), "E", "22021"),
        ([cycle("s", "reload", 0), cycle("s", "reload", 0)].concat(), "1tn2nCE", "42P05"),
    ];
    for (bytes, expected, sqlstate) in wrong {
        let mut session = ConsoleSession::new();
        let mut all = [bytes, ask("skipped"), cycle("", "show pools", 0), sent(make::sync)].concat();
        all.extend(ask("show pools"));
        let reply = drive(&mut session, &all);
        assert_eq!(tags(&reply), format!("{expected}ZTDDDCZ"));
        assert!(holds(&reply, &format!("C{sqlstate}\0")), "{sqlstate}");
    }
}

#[test]
fn statements_are_closed_and_bounded_and_portals_end_with_their_cycle() {
    let mut session = ConsoleSession::new();
    let name = |number: usize| format!("s{number}");
    let mut replies = Vec::new();
    for number in 0..300 {
        let bytes = [sent(|out| make::parse(out, name(number), "reload", &[])), sent(make::sync)].concat();
        replies.push(tags(&drive(&mut session, &bytes)));
    }
    assert_eq!(replies.iter().filter(|tags| *tags == "1Z").count(), 256);
    assert_eq!(replies[299], "EZ");
    let close =
        [message(b'C', b"Ss0\0"), sent(|out| make::parse(out, "s299", "reload", &[])), sent(make::sync)].concat();
    assert_eq!(tags(&drive(&mut session, &close)), "31Z");
    let bind =
        [message(b'B', b"p\0s1\0\0\0\0\0\0\0"), sent(make::sync), message(b'E', b"p\0\0\0\0\0"), sent(make::sync)];
    assert_eq!(tags(&drive(&mut session, &bind.concat())), "2ZEZ");
}

#[test]
fn messages_of_a_wrong_layout_end_the_session() {
    for bytes in [message(b'P', b"s"), message(b'B', b"\0\0\0\x05"), message(b'D', b"X\0"), message(b'E', b"\0\0")] {
        assert_eq!(ConsoleSession::new().handle(&bytes), Err(ConsoleFault::Layout));
    }
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
