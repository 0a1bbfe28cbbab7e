//! The model's messages, made here so that it shares nothing with the relay.

/// One message.
pub fn put(out: &mut Vec<u8>, tag: u8, parts: &[&[u8]]) {
    out.push(tag);
    let length = 4 + parts.iter().map(|part| part.len()).sum::<usize>();
    out.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
    out.extend(parts.iter().copied().flatten());
}

/// An ErrorResponse (`E`) or NoticeResponse (`N`).
pub fn report(out: &mut Vec<u8>, tag: u8, severity: &str, sqlstate: &str, message: &str) {
    let body = format!("S{severity}\0V{severity}\0C{sqlstate}\0M{message}\0\0");
    put(out, tag, &[body.as_bytes()]);
}

pub fn complete(out: &mut Vec<u8>, command: &str) {
    put(out, b'C', &[command.as_bytes(), b"\0"]);
}

pub fn row_description(out: &mut Vec<u8>, columns: u16) {
    let mut body = columns.to_be_bytes().to_vec();
    for at in 0..columns {
        body.extend_from_slice(format!("c{at}\0").as_bytes());
        body.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
    }
    put(out, b'T', &[&body]);
}

/// What COPY sends: its beginning, rows, its end.
pub fn copy_out(out: &mut Vec<u8>, count: usize) {
    put(out, b'H', &[&[0, 0, 1, 0, 0]]);
    for _ in 0..count {
        put(out, b'd', &[b"line\n"]);
    }
    put(out, b'c', &[]);
    complete(out, &format!("COPY {count}"));
}

/// A field as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}
