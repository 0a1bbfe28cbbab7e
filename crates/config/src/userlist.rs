//! PgBouncer's userlist: `"user" "secret"`, one user a line. Text in, users and findings out; it reads no file.
//!
//! A quote within quotes is written twice; what stands behind the secret is not read; `;` and `#` begin a comment line.

use std::collections::BTreeMap;

use crate::line::LineFinding;
use crate::secret::Secret;

/// One user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// From 1.
    pub line: usize,
    /// The user's name.
    pub user: String,
    /// A password, an md5 hash or a SCRAM secret; `None` where the file has `""`: known, but without any password that fits.
    pub secret: Option<Secret>,
}

/// Reads a userlist: users in the order of the file, each once, with the last of its lines. No finding holds a secret.
#[must_use]
pub fn parse(text: &str) -> (Vec<Listed>, Vec<LineFinding>) {
    let mut users: Vec<Listed> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut findings = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with([';', '#']) {
            continue;
        }
        let (user, secret) = match pair(text) {
            Ok(pair) => pair,
            Err(why) => {
                findings.push(LineFinding::error(line, format!("{why}: write \"user\" \"secret\"")));
                continue;
            }
        };
        let secret = Some(secret).filter(|secret| !secret.is_empty()).map(Secret::new);
        let listed = Listed { line, user, secret };
        match places.get(&listed.user) {
            Some(&place) => {
                let message =
                    format!("user \"{}\" stands on line {} already: this one counts", listed.user, users[place].line);
                findings.push(LineFinding::warning(line, message));
                users[place] = listed;
            }
            None => {
                places.insert(listed.user.clone(), users.len());
                users.push(listed);
            }
        }
    }
    (users, findings)
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (user, rest) = quoted(text).map_err(|Missing| "the user's name is not in quotes")?;
    if user.is_empty() {
        return Err("the user's name is empty");
    }
    let (secret, _) = quoted(rest.trim_start()).map_err(|Missing| "the secret is not in quotes")?;
    if secret.contains('\0') || user.contains('\0') {
        return Err("it holds a zero byte");
    }
    Ok((user, secret))
}

/// There is no text in quotes.
struct Missing;

/// A text in quotes at the start, and what follows.
fn quoted(text: &str) -> Result<(String, &str), Missing> {
    let mut rest = text.strip_prefix('"').ok_or(Missing)?;
    let mut out = String::new();
    loop {
        let end = rest.find('"').ok_or(Missing)?;
        out.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(behind) => {
                out.push('"');
                rest = behind;
            }
            None => return Ok((out, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_read_as_pgbouncer_reads_them() {
        let text =
            "; a comment\n\"app\" \"se\"\"cret\" \"ignored\" more\n\n  \"o\"\"dd user\"\t\"md5x\"\n\"empty\" \"\"\n";
        let (users, findings) = parse(text);
        assert_eq!(findings, []);
        let told = |of: &Listed| (of.line, of.user.clone(), of.secret.as_ref().map(|s| s.reveal().to_owned()));
        let told: Vec<_> = users.iter().map(told).collect();
        assert_eq!(
            told,
            [
                (2, "app".to_owned(), Some("se\"cret".to_owned())),
                (4, "o\"dd user".to_owned(), Some("md5x".to_owned())),
                (5, "empty".to_owned(), None),
            ]
        );
    }

    #[test]
    fn faults_name_their_line_and_no_secret() {
        let (users, findings) = parse("app \"hunter2\"\n\"app\" hunter2\n\"\" \"hunter2\"\n\"open\" \"hunter2\n");
        assert_eq!(users, []);
        let lines: Vec<usize> = findings.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [1, 2, 3, 4]);
        assert!(findings.iter().all(|finding| !finding.message.contains("hunter2")), "{findings:?}");
    }

    #[test]
    fn the_last_line_of_a_user_counts_and_that_is_said() {
        let (users, findings) = parse("\"app\" \"one\"\n\"other\" \"x\"\n\"app\" \"two\"\n");
        assert_eq!(users.len(), 2);
        assert_eq!(users[0].secret.as_ref().map(Secret::reveal), Some("two"));
        assert_eq!((findings.len(), findings[0].line), (1, 3));
    }
}
