//! Secrets in texts, before anybody is shown them: stars for their letters, byte for byte as long.
//!
//! What looks like a password is rather hidden too far than shown.

/// Words that a secret's key ends with.
const KEYS: [&str; 5] = ["password", "passwd", "pwd", "secret", "token"];

/// The text with the values behind such keys, and the passwords of URLs, unreadable.
pub(super) fn mask(text: &str) -> String {
    text.split_inclusive('\n').map(|line| urls(&keyed(line))).collect()
}

/// `password = x`, `password: x`, `"password": "x"`, `password=x&…`.
fn keyed(line: &str) -> String {
    let (mut out, mut at) = (String::with_capacity(line.len()), 0);
    for (sign, _) in line.match_indices(['=', ':']) {
        if sign < at || !is_secret(&line[at..sign]) {
            continue;
        }
        let value = line[sign + 1..].trim_start();
        let (start, length) = (line.len() - value.len(), length(value));
        out.push_str(&line[at..start]);
        out.extend(std::iter::repeat_n('*', length));
        at = start + length;
    }
    out.push_str(&line[at..]);
    out
}

/// Whether what stands before the sign is the key of a secret.
fn is_secret(before: &str) -> bool {
    let key = before.trim_end().trim_end_matches(['"', '\'']).as_bytes();
    let ends =
        |word: &str| key.len() >= word.len() && key[key.len() - word.len()..].eq_ignore_ascii_case(word.as_bytes());
    KEYS.iter().any(|word| ends(word))
}

/// A quoted value to its closing quote, another to the next blank, comma or `&`.
fn length(value: &str) -> usize {
    let line = value.trim_end().len();
    let quote = value.chars().next().filter(|c| ['"', '\''].contains(c));
    if let Some(quote) = quote {
        return value[1..line].find(quote).map_or(line, |end| end + 2).min(line);
    }
    value[..line].find([' ', '\t', ',', '&', ';', ')']).unwrap_or(line)
}

/// `scheme://user:password@host`: the last `@` before the path counts.
fn urls(line: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(line.len()), line);
    while let Some(at) = rest.find("://") {
        let (before, behind) = rest.split_at(at + 3);
        out.push_str(before);
        let end = behind.find(['/', ' ', '"', '\'', '\n']).unwrap_or(behind.len());
        let login = behind[..end].rfind('@').and_then(|at| behind[..at].find(':').map(|colon| (colon + 1, at)));
        rest = behind;
        if let Some((start, stop)) = login {
            out.push_str(&behind[..start]);
            out.extend(std::iter::repeat_n('*', stop - start));
            rest = &behind[stop..];
        }
    }
    out.push_str(rest);
    out
}
