//! Which command was probably meant.

use super::catalogue::{CATALOGUE, Entry};
use super::lex::Token;

/// The command nearest to what was said, if it is near: at most a third of its letters differ.
pub(super) fn entry(statement: &[Token]) -> Option<&'static Entry> {
    // A longer text than any command is compared no further: the distance costs the product of lengths.
    let words = |count: usize| {
        let said = statement.iter().take(count).map(Token::text).collect::<Vec<_>>().join(" ");
        said.chars().take(40).collect::<String>().to_ascii_uppercase()
    };
    CATALOGUE
        .iter()
        .map(|entry| (distance(&words(entry.name.split(' ').count()), entry.name), entry))
        .filter(|(distance, entry)| distance * 3 <= entry.name.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, entry)| entry)
}

/// The name nearest to `said`, if it is near: at most a third of its letters differ and one more.
pub(crate) fn word<'a>(said: &str, names: &[&'a str]) -> Option<&'a str> {
    let said: String = said.chars().take(64).collect::<String>().to_lowercase();
    let near = names.iter().map(|name| (distance(&said, &name.to_lowercase()), *name));
    near.filter(|(distance, name)| *distance <= (name.len() / 3).max(1) + 1).min().map(|(_, name)| name)
}

/// Letters to insert, drop or change (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::lex::tokens;
    use super::*;

    #[test]
    fn a_slip_finds_its_command_and_nonsense_finds_none() {
        let near = |sql: &str| entry(&tokens(sql).unwrap()).map(|entry| entry.name);
        assert_eq!(near("show pool"), Some("SHOW POOLS"));
        assert_eq!(near("shwo clients"), Some("SHOW CLIENTS"));
        assert_eq!(near("RELOD"), Some("RELOAD"));
        assert_eq!(near("paus app"), Some("PAUSE"));
        assert_eq!(near("update accounts set x = 1"), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
