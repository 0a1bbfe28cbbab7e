//! poolwarden.toml: any text gives a configuration or errors with their places, the same each time, and shows no secret.
//!
//! An input that begins with byte 1 is read as choices of settings out of the catalogue, any other as the text itself.

use std::fmt::Write;

use poolwarden_config::{CATALOGUE, Config, Finding, MAX_FINDINGS, SecretRef, has_errors, render};

use crate::input::Input;

const SECRET: &str = "correct horse battery staple";
/// Settings of one made text; each costs a line, and a file of more tells nothing new.
const MOST_LINES: usize = 40;

pub(crate) fn run(data: &[u8]) {
    match data.split_first() {
        Some((1, rest)) => holds(&made(&mut Input::new(rest))),
        Some(_) | None => {
            if let Ok(text) = std::str::from_utf8(data) {
                holds(text);
            }
        }
    }
}

/// A text of settings that there are, with their own examples for the most part.
fn made(input: &mut Input<'_>) -> String {
    let mut text = String::from("servers.main.host = \"db\"\npools.app.server = \"main\"\n");
    for _ in 0..MOST_LINES {
        if input.is_empty() {
            break;
        }
        let setting = &CATALOGUE[usize::from(input.word()) % CATALOGUE.len()];
        let name = input.choice(&["main", "app", "\"*\"", "default", "2"]);
        let key = setting.key.replace("NAME", name).replace("[]", "");
        if text.contains(&format!("{key} =")) {
            continue;
        }
        let value = match input.below(8) {
            0 => format!("\"{}\"", setting.default),
            1 => String::from_utf8_lossy(input.chunk()).into_owned(),
            _ => setting.example.to_owned(),
        };
        let _ = writeln!(text, "{key} = {value}"); // a string takes everything
    }
    text
}

fn holds(text: &str) {
    if text.contains(SECRET) {
        return; // no secret then
    }
    let (config, findings) = read(text);
    assert!(findings.len() <= MAX_FINDINGS);
    assert_eq!(config.is_none(), has_errors(&findings), "{findings:?}");
    for finding in &findings {
        assert!(finding.span.start <= finding.span.end && finding.span.end <= text.len(), "{finding:?}");
        assert!(text.is_char_boundary(finding.span.start) && text.is_char_boundary(finding.span.end), "{finding:?}");
        assert!(finding.line >= 1 && finding.column >= 1 && !finding.message.is_empty(), "{finding:?}");
        assert!(!finding.message.contains(SECRET) && !finding.fix.contains(SECRET), "a secret is told");
    }
    let first = &findings[..findings.len().min(4)];
    assert_eq!(first.is_empty(), render("poolwarden.toml", text, first).is_empty());
    let (again, same) = read(text);
    assert_eq!(findings, same);
    if let (Some(config), Some(again)) = (config, again) {
        assert!(!format!("{config:?}").contains(SECRET), "a secret is shown");
        assert!(poolwarden_config::diff(&config, &again).is_empty(), "the same text is no change");
    }
}

fn read(text: &str) -> (Option<Config>, Vec<Finding>) {
    Config::parse(text, |wanted| match wanted {
        SecretRef::Env(name) if name.starts_with('X') => Err("is not set".to_owned()),
        SecretRef::Text(_) => Ok(format!("\"alice\" \"{SECRET}\"\n")),
        SecretRef::Env(_) | SecretRef::File(_) => Ok(SECRET.to_owned()),
    })
}
