//! The start-up parameter `options`: a server command line in one text, as PostgreSQL splits it.
//!
//! `-c name=value`, `-cname=value` and `--name=value`; white space separates, a backslash takes the next character as it is.
//! A server's other switches make no sense for a session on a shared connection and are refused, not ignored.

use super::GreetError;

/// Name and value of each setting, in the order given.
pub(super) fn read(text: &str) -> Result<Vec<(String, String)>, GreetError> {
    let mut settings = Vec::new();
    let mut words = split(text).into_iter();
    while let Some(word) = words.next() {
        let (shown, assignment) = if let Some(long) = word.strip_prefix("--") {
            ("--", long.to_owned())
        } else if word == "-c" {
            ("-c ", words.next().unwrap_or_default())
        } else if let Some(glued) = word.strip_prefix("-c") {
            ("-c ", glued.to_owned())
        } else {
            let message =
                format!("invalid command-line argument \"{word}\": only -c name=value and --name=value are taken");
            return Err(GreetError::client("0A000", &message, format!("options: {message}")));
        };
        settings.push(assign(shown, &assignment)?);
    }
    Ok(settings)
}

fn assign(shown: &str, assignment: &str) -> Result<(String, String), GreetError> {
    match assignment.split_once('=') {
        // PostgreSQL lets a switch's name be written with hyphens.
        Some((name, value)) if !name.is_empty() => Ok((name.replace('-', "_"), value.to_owned())),
        Some(_) | None => {
            let message = format!("{shown}{assignment} requires a value");
            Err(GreetError::client("42601", &message, format!("options: {message}")))
        }
    }
}

fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let is_space = matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c');
        if is_space {
            words.extend(word.take());
            continue;
        }
        let current = word.get_or_insert_default();
        if c == '\\' {
            current.extend(chars.next());
        } else {
            current.push(c);
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        read(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn every_spelling_of_a_setting_is_read() {
        for text in ["-c a=b", "-ca=b", "--a=b", "  --a=b\t", "-c\na=b"] {
            assert_eq!(pairs(text), [pair("a", "b")], "{text:?}");
        }
        assert_eq!(pairs("-c a=b --c-d=e -cf="), [pair("a", "b"), pair("c_d", "e"), pair("f", "")]);
        assert_eq!(pairs("-c a=b=c"), [pair("a", "b=c")]);
        assert_eq!(pairs(""), []);
        assert_eq!(pairs(" "), []);
    }

    #[test]
    fn a_backslash_keeps_what_follows() {
        assert_eq!(pairs(r"-c search_path=a,\ b"), [pair("search_path", "a, b")]);
        assert_eq!(pairs(r"-c a=\\x"), [pair("a", r"\x")]);
        assert_eq!(pairs(r"-c a=b\"), [pair("a", "b")]);
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for (text, sqlstate) in [
            ("-c", "42601"),
            ("-c a", "42601"),
            ("--a", "42601"),
            ("--", "42601"),
            ("--=x", "42601"),
            ("-B 5", "0A000"),
            ("a=b", "0A000"),
        ] {
            assert_eq!(read(text).expect_err(text).sqlstate, sqlstate, "{text}");
        }
    }
}
