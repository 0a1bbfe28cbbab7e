//! A poolwarden.toml with random settings, whole or broken beyond doubt.
//!
//! What no client uses comes, goes and changes its name: two files after each other share no more than the pool and the user at work.

use std::fmt::Write;

use super::{Dice, File};

/// What a setting's value may be.
#[derive(Clone, Copy)]
enum Form {
    /// A whole number from the first to the second.
    Count(u64, u64),
    /// That many seconds, written in one of several ways.
    Seconds(u64, u64),
    /// That many MiB.
    Mebibytes(u64, u64),
    /// One of these, in quotes.
    Word(&'static [&'static str]),
}

use Form::{Count, Mebibytes, Seconds, Word};

/// Table, key and values. None of them keeps six clients with short transactions from working.
const SETTINGS: [(&str, &str, Form); 38] = [
    ("pools.app", "min_size", Count(0, 4)),
    ("pools.app", "reserve", Count(0, 3)),
    ("pools.app", "reserve_after", Seconds(1, 9)),
    ("pools.app", "max_connections", Count(30, 60)),
    ("pools.app", "max_wait", Seconds(60, 300)),
    ("pools.app", "pause_wait", Seconds(60, 300)),
    ("pools.app", "down_wait", Seconds(60, 300)),
    ("pools.app", "query_timeout", Seconds(300, 900)),
    ("pools.app", "transaction_timeout", Seconds(300, 900)),
    ("pools.app", "idle_in_transaction_timeout", Seconds(300, 900)),
    ("pools.app", "client_idle_timeout", Seconds(300, 900)),
    ("pools.app", "max_queue", Count(1_000, 9_000)),
    ("pools.app", "lifetime", Seconds(1, 900)),
    ("pools.app", "idle_timeout", Seconds(1, 900)),
    ("pools.app", "max_prepared_statements", Count(10, 500)),
    ("pools.app", "session_state", Word(&["pin", "refuse"])),
    ("pools.app", "class", Word(&["critical", "default", "batch"])),
    ("users.app", "max_connections", Count(4, 40)),
    ("users.app", "pool_size", Count(4, 30)),
    ("users.app", "class", Word(&["critical", "default", "batch"])),
    ("users.app", "transaction_timeout", Seconds(300, 900)),
    ("servers.main", "max_connections", Count(30, 60)),
    ("servers.main", "max_user_connections", Count(30, 60)),
    ("servers.main", "connect_timeout", Seconds(60, 120)),
    ("servers.main", "connects_start", Count(1, 8)),
    ("servers.main", "connects_max", Count(8, 32)),
    ("servers.main", "ghost_timeout", Seconds(10, 90)),
    ("servers.main", "keepalive", Seconds(10, 90)),
    ("servers.main", "tcp_user_timeout", Seconds(60, 120)),
    ("limits", "max_clients", Count(500, 5_000)),
    ("limits", "max_logins", Count(500, 5_000)),
    ("limits", "login_timeout", Seconds(60, 120)),
    ("limits", "memory", Mebibytes(256, 1_023)),
    ("limits", "max_any_pools", Count(10, 1_000)),
    ("auth", "failure_delay", Seconds(0, 2)),
    ("auth", "failures_per_minute", Count(10, 90)),
    ("console", "readers", Word(&["monitor", "*"])),
    ("log", "level", Word(&["info", "debug", "warn"])),
];

/// Lines that are no TOML, wherever they stand between two others.
const SYNTAX: [&str; 7] = ["half = \"never ended", "nothing =", "= 5", "[unclosed", "just words", "a = 1 b = 2", "]"];
/// Values of no kind that any setting has.
const NO_VALUES: [&str; 4] = ["{ a = 1 }", "[[1]]", "1979-05-27", "[true]"];
/// What is no length of time.
const NO_SPANS: [&str; 5] = ["5", "\"5 parsecs\"", "\"-3s\"", "\"soon\"", "true"];

/// `base` with other settings, and in one half of all cases broken.
///
/// # Panics
/// If `base` is not as the testbed writes it.
#[must_use]
pub fn file(base: &str, dice: &mut Dice) -> File {
    let good = good(base, dice);
    if dice.once_in(2) {
        return File { bytes: good.into_bytes(), broken: None };
    }
    let (kind, bytes) = match dice.pick(0, 11) {
        0 => ("syntax error", with_line(&good, dice, SYNTAX)),
        1 => ("unknown key", with_line(&good, dice, ["no_such_key_anywhere = 1", "size_ = 7", "Max_Wait = \"1s\""])),
        2 => ("wrong type", with_value(&good, dice, |_| true, NO_VALUES)),
        3 => ("wrong unit", with_value(&good, dice, is_span, NO_SPANS)),
        4 => ("out of bounds", with_value(&good, dice, is_count, ["-1", "99999999999999"])),
        5 => ("dangling reference", dangling(&good, dice)),
        6 => ("cut short", cut(&good, dice)),
        7 => ("missing secret file", good.replacen(".password\"", ".passwort\"", 1).into_bytes()),
        8 => ("missing secret variable", good.replacen("WATCH_PASSWORD", "NOBODY_SET_IT", 1).into_bytes()),
        9 => ("table twice", format!("{good}\n[users.app]\nmax_connections = 9\n").into_bytes()),
        10 => ("literal secret", put(good, "users.app", "password", "\"hunter2\"").into_bytes()),
        _ => ("no text", garbled(&good, dice)),
    };
    File { bytes, broken: Some(kind) }
}

fn good(base: &str, dice: &mut Dice) -> String {
    let mut text = put(base.to_owned(), "pools.app", "size", &dice.pick(4, 30).to_string());
    for (table, key, form) in SETTINGS {
        if dice.once_in(3) {
            text = put(text, table, key, &form.value(dice));
        }
    }
    for number in 0..dice.pick(0, 3) {
        let name = dice.pick(0, 999);
        let more = format!("size = {}\nmax_wait = {}\n", dice.pick(1, 9), Seconds(1, 99).value(dice));
        write!(text, "\n[pools.other{number}_{name}]\nserver = \"main\"\n{more}").expect("writing to a string");
    }
    for number in 0..dice.pick(0, 2) {
        let (name, most) = (dice.pick(0, 999), dice.pick(1, 9));
        write!(text, "\n[users.guest{number}_{name}]\nscram_file = \"app.password\"\nmax_connections = {most}\n")
            .expect("writing to a string");
    }
    if dice.once_in(2) {
        let (name, weight, wait) = (dice.pick(0, 9), dice.pick(1, 9), Seconds(60, 300).value(dice));
        write!(text, "\n[classes.nightly{name}]\nweight = {weight}\nmax_wait = {wait}\n").expect("writing to a string");
    }
    text
}

impl Form {
    fn value(self, dice: &mut Dice) -> String {
        match self {
            Count(least, most) => dice.pick(least, most).to_string(),
            Seconds(least, most) => {
                let seconds = dice.pick(least, most);
                if dice.once_in(2) { format!("\"{seconds}s\"") } else { format!("\"{}ms\"", seconds * 1_000) }
            }
            Mebibytes(least, most) => format!("\"{}MiB\"", dice.pick(least, most) | 1),
            Word(words) => format!("\"{}\"", dice.of(words)),
        }
    }
}

/// The text with `key` of `table` set to `value`: its line if it has one, else a line below the table's header.
fn put(text: String, table: &str, key: &str, value: &str) -> String {
    let (header, line) = (format!("[{table}]"), format!("{key} = {value}"));
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let Some(begin) = lines.iter().position(|line| *line == header) else {
        return format!("{text}\n{header}\n{line}\n");
    };
    let end = lines[begin + 1..].iter().position(|line| line.starts_with('[')).map_or(lines.len(), |at| begin + 1 + at);
    let same = format!("{key} = ");
    match (begin + 1..end).find(|&at| lines[at].starts_with(&same)) {
        Some(at) => lines[at] = line,
        None => lines.insert(begin + 1, line),
    }
    lines.join("\n") + "\n"
}

fn with_line<const N: usize>(text: &str, dice: &mut Dice, choice: [&str; N]) -> Vec<u8> {
    let lines: Vec<&str> = text.lines().collect();
    let at = dice.at(&lines) + 1;
    [&lines[..at], &[dice.of(&choice)], &lines[at..]].concat().join("\n").into_bytes()
}

/// The text with the value of a random setting of this kind replaced.
fn with_value<const N: usize>(text: &str, dice: &mut Dice, kind: fn(&str) -> bool, choice: [&str; N]) -> Vec<u8> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let meant: Vec<usize> =
        (0..lines.len()).filter(|&at| lines[at].split_once(" = ").is_some_and(|(_, value)| kind(value))).collect();
    let at = dice.of(&meant);
    let key = lines[at].split_once(" = ").expect("it was found by that").0.to_owned();
    lines[at] = format!("{key} = {}", dice.of(&choice));
    lines.join("\n").into_bytes()
}

fn is_span(value: &str) -> bool {
    let inside = value.trim_matches('"');
    inside.len() < value.len() && inside.ends_with('s') && inside.starts_with(|c: char| c.is_ascii_digit())
}

fn is_count(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_digit())
}

fn dangling(text: &str, dice: &mut Dice) -> Vec<u8> {
    let (table, key) = dice.of(&[("pools.app", "server"), ("pools.app", "class"), ("users.app", "class")]);
    put(text.to_owned(), table, key, "\"nowhere\"").into_bytes()
}

/// Cut inside a text, whose quote is then never closed.
fn cut(text: &str, dice: &mut Dice) -> Vec<u8> {
    let opened: Vec<usize> = text.match_indices('"').map(|(at, _)| at).step_by(2).collect();
    text.as_bytes()[..=dice.of(&opened)].to_vec()
}

/// Two bytes that are no UTF-8, somewhere.
fn garbled(text: &str, dice: &mut Dice) -> Vec<u8> {
    let at = dice.at(text.as_bytes());
    [&text.as_bytes()[..at], b"\xff\xfe", &text.as_bytes()[at..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "[console]\nadmins = [\"app\"]\n\n[servers.main]\nhost = \"h\"\n\n[servers.main.watch]\npassword_env = \"WATCH_PASSWORD\"\n\n\
        [pools.app]\nserver = \"main\"\nsize = 5\nmax_wait = \"60s\"\n\n[auth]\n\n[limits]\n\n[users.app]\nscram_file = \"x/app.password\"\n";

    #[test]
    fn a_setting_is_replaced_where_it_stands_and_else_added_to_its_table() {
        let text = put(BASE.to_owned(), "pools.app", "size", "9");
        assert!(text.contains("server = \"main\"\nsize = 9\nmax_wait") && !text.contains("size = 5"), "{text}");
        assert!(put(text, "log", "level", "\"warn\"").ends_with("\n[log]\nlevel = \"warn\"\n"));
    }

    #[test]
    fn the_same_seed_makes_the_same_files_half_of_them_broken_in_every_way() {
        let made = |seed| {
            let mut dice = Dice::new(seed);
            (0..400).map(|_| file(BASE, &mut dice)).map(|file| (file.bytes, file.broken)).collect::<Vec<_>>()
        };
        let files = made(3);
        assert_eq!(files, made(3));
        assert_ne!(files, made(4));
        let broken: Vec<&str> = files.iter().filter_map(|(_, broken)| *broken).collect();
        assert!((150..250).contains(&broken.len()), "{}", broken.len());
        assert_eq!(broken.iter().collect::<std::collections::BTreeSet<_>>().len(), 12);
        // what is broken differs from what is whole
        assert!(files.iter().all(|(bytes, broken)| broken != &Some("no text") || std::str::from_utf8(bytes).is_err()));
    }
}
