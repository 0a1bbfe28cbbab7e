//! Java's .properties: keys and values with their bytes, lines that go on, escapes; `#---` begins a new document as in Spring.

use super::super::setting::Setting;
use super::super::yaml::MOST_BYTES;
use super::Document;

/// All documents of a text.
pub(super) fn documents(text: &str) -> Result<Vec<Document>, String> {
    if text.len() > MOST_BYTES {
        return Err(format!("longer than {MOST_BYTES} bytes: give the part that is about connections"));
    }
    let mut all = vec![Document::default()];
    let mut at = 0;
    while at < text.len() {
        let end = logical_end(text, at);
        let line = &text[at..end];
        let trimmed = line.trim();
        if trimmed == "#---" || trimmed == "!---" {
            all.push(Document::default());
        } else if !trimmed.starts_with(['#', '!'])
            && let Some(set) = setting(line, at)
            && let Some(document) = all.last_mut()
        {
            document.take(set);
        }
        at = end;
    }
    Ok(all)
}

/// Where the line that starts at `from` ends, its line break and those lines that it goes on with included.
fn logical_end(text: &str, from: usize) -> usize {
    let mut at = from;
    loop {
        let end = text[at..].find('\n').map_or(text.len(), |end| at + end + 1);
        let line = text[at..end].trim_end_matches(['\n', '\r']);
        let slashes = line.bytes().rev().take_while(|byte| *byte == b'\\').count();
        let is_comment = at == from && line.trim_start().starts_with(['#', '!']);
        if slashes.is_multiple_of(2) || is_comment || end == text.len() {
            return end;
        }
        at = end;
    }
}

/// `key = value`, `key: value` or `key value`.
fn setting(line: &str, base: usize) -> Option<Setting> {
    let start = line.len() - line.trim_start().len();
    let line_end = line.trim_end().len();
    let bytes = line.as_bytes();
    let mut at = start;
    while at < line_end && !matches!(bytes[at], b'=' | b':' | b' ' | b'\t') {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    let key = unescaped(line.get(start..at.min(line_end))?);
    let rest = line.get(at.min(line_end)..line_end)?;
    let behind = rest.trim_start();
    let value = behind.strip_prefix(['=', ':']).unwrap_or(behind).trim_start();
    let from = line_end - value.len();
    (!key.is_empty()).then(|| Setting { key, value: unescaped(value), span: base + from..base + line_end })
}

/// Escapes resolved; a line that goes on loses its break and the blanks behind it.
fn unescaped(text: &str) -> String {
    let (mut out, mut chars) = (String::with_capacity(text.len()), text.chars().peekable());
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            None => {}
            Some('\r' | '\n') => while chars.next_if(|c| c.is_whitespace()).is_some() {},
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('u') => {
                let code: String = (0..4).map_while(|_| chars.next_if(char::is_ascii_hexdigit)).collect();
                out.push(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32).unwrap_or('\u{fffd}'));
            }
            Some(other) => out.push(other),
        }
    }
    out
}
