//! Ident maps: which system users and certificate names may be which database users. Text in, lines and findings out.
//!
//! PostgreSQL's file: `map system-name database-name`; a system name that starts with `/` is a pattern, whose first group
//! stands as `\1` in the database name.

use regex::Regex;

use crate::line::{LineFinding, Token, fields};

/// Whom a line speaks of.
#[derive(Clone, Debug)]
pub enum SystemName {
    /// This one.
    Exact(String),
    /// Any that this fits; it is not anchored unless it says so.
    Pattern(Regex),
}

/// Whom that one may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleName {
    /// Anybody.
    All,
    /// This one; `\1` is the pattern's first group.
    Named(String),
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentLine {
    /// Where it stands, from 1.
    pub line: usize,
    /// The map's name.
    pub map: String,
    /// The system user or the certificate's name.
    pub system: SystemName,
    /// The database user.
    pub role: RoleName,
}

impl PartialEq for SystemName {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(one), Self::Exact(two)) => one == two,
            (Self::Pattern(one), Self::Pattern(two)) => one.as_str() == two.as_str(),
            (Self::Exact(_), Self::Pattern(_)) | (Self::Pattern(_), Self::Exact(_)) => false,
        }
    }
}

impl Eq for SystemName {}

/// Reads the maps.
#[must_use]
pub fn parse(text: &str) -> (Vec<IdentLine>, Vec<LineFinding>) {
    let (lines, mut findings) = fields(text);
    let mut read = Vec::new();
    for (line, fields) in lines {
        match ident(line, &fields) {
            Ok(ident) => read.push(ident),
            Err(why) => findings.push(LineFinding::error(line, why)),
        }
    }
    findings.sort_by_key(|finding| finding.line);
    (read, findings)
}

fn ident(line: usize, fields: &[Vec<Token>]) -> Result<IdentLine, String> {
    let [map, system, role] = fields else {
        return Err("a line has a map, a system name and a database user: three words".to_owned());
    };
    let ([map], [system], [role]) = (map.as_slice(), system.as_slice(), role.as_slice()) else {
        return Err("several values where one is taken: write a line for each".to_owned());
    };
    if !role.quoted && role.text.starts_with('+') {
        return Err(format!("{}: roles' members are not known here: write a line for each", role.text));
    }
    if !role.quoted && role.text.starts_with('/') {
        return Err(format!("{}: a pattern is taken for the system name alone", role.text));
    }
    let role = if role.is("all") { RoleName::All } else { RoleName::Named(role.text.clone()) };
    let grouped = matches!(&role, RoleName::Named(name) if name.contains("\\1"));
    let system = match system.text.strip_prefix('/') {
        Some(pattern) => {
            let pattern =
                Regex::new(pattern).map_err(|why| format!("the pattern is not understood: {}", one_line(&why)))?;
            if grouped && pattern.captures_len() < 2 {
                return Err("\\1 stands for a group, and the pattern has none: put ( ) around what is meant".to_owned());
            }
            SystemName::Pattern(pattern)
        }
        None if grouped => return Err("\\1 stands for a pattern's group: start the system name with /".to_owned()),
        None => SystemName::Exact(system.text.clone()),
    };
    Ok(IdentLine { line, map: map.text.clone(), system, role })
}

/// The last line of a pattern's error says what is wrong; those before it draw an arrow.
fn one_line(why: &regex::Error) -> String {
    let text = why.to_string();
    text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        let (read, findings) = parse(text);
        assert_eq!((read.len(), findings.len()), (0, 1), "{text}: {findings:?}");
        findings[0].message.clone()
    }

    #[test]
    fn lines_are_read_with_patterns_and_keywords() {
        let (read, findings) =
            parse("# map\nm bob app\nm /^(.*)@example\\.org$ \\1\nm \"sys user\" all\nm x \"all\"\n");
        assert_eq!(findings, []);
        assert_eq!(read.iter().map(|line| line.line).collect::<Vec<_>>(), [2, 3, 4, 5]);
        assert!(matches!(&read[0].system, SystemName::Exact(name) if name == "bob"));
        assert!(matches!(&read[1].system, SystemName::Pattern(pattern) if pattern.is_match("a@example.org")));
        assert_eq!(read[2].role, RoleName::All);
        assert_eq!(read[3].role, RoleName::Named("all".to_owned()));
    }

    #[test]
    fn faults_say_what_to_write() {
        for (text, word) in [
            ("m bob", "three"),
            ("m bob app more", "three"),
            ("m a,b app", "a line for each"),
            ("m bob +admins", "+admins"),
            ("m bob /app", "system name alone"),
            ("m bob \\1", "start the system name with /"),
            ("m /bob \\1", "put ( )"),
            ("m /(bob \\1", "unclosed group"),
        ] {
            assert!(fault(text).contains(word), "{text}: {}", fault(text));
        }
    }
}
