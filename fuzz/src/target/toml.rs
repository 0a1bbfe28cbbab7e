//! poolwarden.toml: any text gives a configuration or errors with their places, the same each time, and shows no secret.

use poolwarden_config::{Config, Finding, MAX_FINDINGS, SecretRef, has_errors, render};

const SECRET: &str = "correct horse battery staple";

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
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
