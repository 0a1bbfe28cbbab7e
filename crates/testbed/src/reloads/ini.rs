//! A pgbouncer.ini with random settings in the order of the base, whole or broken beyond doubt: what `toml` makes, for PgBouncer.

use super::{Dice, File};

/// Numbers that are changed, from the first to the second.
const SETTINGS: [(&str, u64, u64); 8] = [
    ("default_pool_size", 4, 30),
    ("max_client_conn", 500, 5_000),
    ("query_wait_timeout", 60, 300),
    ("server_login_retry", 2, 9),
    ("min_pool_size", 0, 4),
    ("reserve_pool_size", 0, 3),
    ("server_lifetime", 60, 900),
    ("server_idle_timeout", 60, 900),
];

/// `base` with other settings, and in one half of all cases broken.
///
/// # Panics
/// If `base` has no section `[pgbouncer]`.
#[must_use]
pub fn file(base: &str, dice: &mut Dice) -> File {
    let mut lines: Vec<String> = base.lines().map(str::to_owned).collect();
    for (key, least, most) in SETTINGS {
        let line = format!("{key} = {}", dice.pick(least, most));
        match lines.iter().position(|line| line.starts_with(key)) {
            Some(at) => lines[at] = line,
            None => lines.push(line),
        }
    }
    for number in 0..dice.pick(0, 3) {
        let at = lines.iter().position(|line| line.starts_with("app =")).expect("its database");
        lines.insert(at + 1, format!("other{number}_{} = host=127.0.0.1 port=1", dice.pick(0, 999)));
    }
    if dice.once_in(2) {
        return File { bytes: (lines.join("\n") + "\n").into_bytes(), broken: None };
    }
    let first = lines.iter().position(|line| line == "[pgbouncer]").expect("its section") as u64 + 1;
    let at = usize::try_from(dice.pick(first, lines.len() as u64)).expect("short");
    let (kind, line) = match dice.pick(0, 6) {
        0 => ("syntax error", dice.of(&["nothing", "[unclosed", "= 5"])),
        1 => ("unknown key", "no_such_key_anywhere = 1"),
        2 => ("wrong type", "default_pool_size = many"),
        3 => ("wrong unit", "query_wait_timeout = 5 parsecs"),
        4 => ("wrong word", "pool_mode = sometimes"),
        5 => ("no text", "\u{fffd}\u{fffd}"),
        _ => ("missing include", "%include nowhere.ini"),
    };
    lines.insert(at, line.to_owned());
    let text = lines.join("\n") + "\n";
    // the replacement character stands for bytes that are no UTF-8
    let bytes = text.into_bytes();
    File { bytes: if kind == "no text" { garbled(&bytes) } else { bytes }, broken: Some(kind) }
}

fn garbled(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|&byte| if byte.is_ascii() { byte } else { 0xff }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_file_has_one_line_more() {
        let base = "[databases]\napp = host=h\n[pgbouncer]\ndefault_pool_size = 5\n";
        let mut dice = Dice::new(5);
        let files: Vec<File> = (0..100).map(|_| file(base, &mut dice)).collect();
        assert!(files.iter().any(|file| file.broken.is_none()));
        assert!(files.iter().all(|file| file.bytes.starts_with(b"[databases]\napp = host=h\n")));
        let garbled = files.iter().find(|file| file.broken == Some("no text")).expect("one of them");
        assert!(std::str::from_utf8(&garbled.bytes).is_err());
    }
}
