//! The start-up parameter `options`: a server command line in one text, as PostgreSQL splits and reads it.
//!
//! White space separates, a backslash takes the next character as it is. `-c name=value` and `--name=value` set; PostgreSQL's
//! other switches are short for settings, which the server takes or refuses as it would. What it ignores is ignored.

use super::GreetError;

/// Switches that are short for a setting: to a value of their own, or (`None`) to the argument that follows.
const SWITCHES: [(char, &str, Option<&str>); 15] = [
    ('B', "shared_buffers", None),
    ('e', "datestyle", Some("euro")),
    ('F', "fsync", Some("false")),
    ('h', "listen_addresses", None),
    ('i', "listen_addresses", Some("*")),
    ('k', "unix_socket_directories", None),
    ('l', "ssl", Some("true")),
    ('N', "max_connections", None),
    ('O', "allow_system_table_mods", Some("true")),
    ('P', "ignore_system_indexes", Some("true")),
    ('p', "port", None),
    ('S', "work_mem", None),
    ('s', "log_statement_stats", Some("true")),
    ('W', "post_auth_delay", None),
    ('d', "log_min_messages", None),
];

/// Switches that the server of a client's session passes over: without and with an argument.
const PASSED_OVER: (&str, &str) = ("bEjnT", "CDrv");

/// `-f`: the kinds of plan that a letter forbids; what follows the letter is not read.
const PLANS: [(&str, &str); 8] = [
    ("s", "enable_seqscan"),
    ("i", "enable_indexscan"),
    ("o", "enable_indexonlyscan"),
    ("b", "enable_bitmapscan"),
    ("t", "enable_tidscan"),
    ("n", "enable_nestloop"),
    ("m", "enable_mergejoin"),
    ("h", "enable_hashjoin"),
];

/// `-t`: whose statistics are logged, by the first letters.
const STATISTICS: [(&str, &str); 3] =
    [("pa", "log_parser_stats"), ("pl", "log_planner_stats"), ("e", "log_executor_stats")];

type Settings = Vec<(String, String)>;

/// Name and value of each setting, in the order given.
pub(super) fn read(text: &str) -> Result<Settings, GreetError> {
    let mut settings = Vec::new();
    let mut words = split(text).into_iter();
    while let Some(word) = words.next() {
        if word == "--" {
            // The end of the switches; a server takes nothing else.
            return words.next().map_or(Ok(settings), |word| Err(no_argument(&word)));
        }
        match word.strip_prefix('-') {
            Some(rest) if rest.starts_with('-') => settings.push(assign("--", &rest[1..])?),
            Some(letters) if !letters.is_empty() => switches(&word, letters, &mut words, &mut settings)?,
            Some(_) | None => return Err(no_argument(&word)),
        }
    }
    Ok(settings)
}

/// Reads the letters of one word; the argument of the last stands behind it, or is the next word.
fn switches(
    word: &str,
    letters: &str,
    words: &mut impl Iterator<Item = String>,
    settings: &mut Settings,
) -> Result<(), GreetError> {
    for (at, letter) in letters.char_indices() {
        let own = SWITCHES.iter().find(|(known, ..)| *known == letter);
        if let Some((_, name, Some(value))) = own {
            settings.push(((*name).to_owned(), (*value).to_owned()));
            continue;
        }
        if PASSED_OVER.0.contains(letter) {
            continue;
        }
        if own.is_none() && !"cft".contains(letter) && !PASSED_OVER.1.contains(letter) {
            return Err(no_argument(word));
        }
        let glued = &letters[at + letter.len_utf8()..];
        let is_glued = !glued.is_empty();
        let argument = if is_glued { Some(glued.to_owned()) } else { words.next() };
        let argument = argument.ok_or_else(|| no_argument(word))?;
        let named = |all| named(all, &argument).ok_or_else(|| no_argument(if is_glued { word } else { &argument }));
        match (letter, own) {
            ('c', _) => settings.push(assign("-c ", &argument)?),
            ('f', _) => settings.push((named(&PLANS)?, "false".to_owned())),
            ('t', _) => settings.push((named(&STATISTICS)?, "true".to_owned())),
            ('d', _) => settings.push(("log_min_messages".to_owned(), verbosity(&argument))),
            (_, Some((_, name, _))) => settings.push(((*name).to_owned(), argument)),
            (_, None) => {} // passed over with its argument
        }
        return Ok(());
    }
    Ok(())
}

/// `-d`: how much is logged, 0 to 5.
fn verbosity(argument: &str) -> String {
    match argument.trim_start().parse::<u8>() {
        Ok(level @ 1..=5) => format!("debug{level}"),
        Ok(_) | Err(_) => "notice".to_owned(),
    }
}

fn named(all: &[(&str, &str)], argument: &str) -> Option<String> {
    all.iter().find(|(letters, _)| argument.starts_with(letters)).map(|(_, name)| (*name).to_owned())
}

fn no_argument(word: &str) -> GreetError {
    let message = format!("invalid command-line argument for server process: {word}");
    GreetError::client("42601", &message, format!("options: {message}"))
}

fn assign(shown: &str, assignment: &str) -> Result<(String, String), GreetError> {
    match assignment.split_once('=') {
        // PostgreSQL lets a switch's name be written with hyphens.
        Some(("", _)) => {
            let message = "unrecognized configuration parameter \"\"";
            Err(GreetError::client("42704", message, format!("options: {message}")))
        }
        Some((name, value)) => Ok((name.replace('-', "_"), value.to_owned())),
        None => {
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
    fn switches_are_the_settings_they_are_short_for() {
        for (text, name, value) in [
            ("-S 4096", "work_mem", "4096"),
            ("-S4096", "work_mem", "4096"),
            ("-e", "datestyle", "euro"),
            ("-fs", "enable_seqscan", "false"),
            ("-f n", "enable_nestloop", "false"),
            ("-fsi", "enable_seqscan", "false"),
            ("-t pl", "log_planner_stats", "true"),
            ("-p 5432", "port", "5432"),
            ("-d 2", "log_min_messages", "debug2"),
            ("-d0", "log_min_messages", "notice"),
        ] {
            assert_eq!(pairs(text), [pair(name, value)], "{text:?}");
        }
        let both = [pair("datestyle", "euro"), pair("ignore_system_indexes", "true"), pair("work_mem", "64")];
        assert_eq!(pairs("-ePS 64"), both);
        assert_eq!(pairs("-E -j -C x -r/dev/null -n -c a=b"), [pair("a", "b")], "passed over, as PostgreSQL does");
    }

    #[test]
    fn what_is_no_setting_is_refused_in_postgresqls_words() {
        for (text, word) in [
            ("-c", "-c"),
            ("-S", "-S"),
            ("-f x", "x"),
            ("-fx", "-fx"),
            ("-t p", "p"),
            ("-x", "-x"),
            ("-e1", "-e1"),
            ("-", "-"),
            ("a=b", "a=b"),
            ("-e a", "a"),
            ("-- a", "a"),
            ("-\u{e9}", "-\u{e9}"),
        ] {
            let error = read(text).expect_err(text);
            assert_eq!(error.message, format!("invalid command-line argument for server process: {word}"), "{text}");
            assert_eq!(error.sqlstate, "42601");
        }
        for (text, sqlstate) in [("-c a", "42601"), ("--a", "42601"), ("--=x", "42704"), ("-c =x", "42704")] {
            assert_eq!(read(text).expect_err(text).sqlstate, sqlstate, "{text}");
        }
        assert_eq!(pairs("--"), []);
    }
}
