//! SET: a setting changed for the running process alone, as a change of the file's text that is never written.
//!
//! So it is parsed, judged and applied by the very rules of the file.

use toml::{Table, Value};

/// One SET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    /// Its name: a path of the TOML file, or a name of PgBouncer's.
    pub(crate) key: String,
    pub(crate) value: String,
    /// It was written in quotes: a text, whatever it looks like.
    pub(crate) quoted: bool,
}

/// The text of a TOML file with these settings in it.
///
/// # Errors
/// A key that leads through a value, or a text that is no TOML (which its own fault would say as well).
pub(crate) fn toml(text: &str, edits: &[Edit]) -> Result<String, String> {
    if edits.is_empty() {
        return Ok(text.to_owned());
    }
    let mut table: Table = text.parse().map_err(|fault: toml::de::Error| fault.message().to_owned())?;
    for edit in edits {
        put(&mut table, edit)?;
    }
    Ok(table.to_string())
}

fn put(table: &mut Table, edit: &Edit) -> Result<(), String> {
    let (path, last) = edit.key.rsplit_once('.').unwrap_or(("", &edit.key));
    let mut inside = table;
    for name in path.split('.').filter(|name| !name.is_empty()) {
        let entry = inside.entry(name).or_insert_with(|| Value::Table(Table::new()));
        inside =
            entry.as_table_mut().ok_or_else(|| format!("{}: {name} is a value and has nothing below it", edit.key))?;
    }
    inside.insert(last.to_owned(), value(edit));
    Ok(())
}

/// Bare numbers and words of truth are themselves, everything else is a text: `40`, `true`, `2s`.
fn value(edit: &Edit) -> Value {
    let text = &edit.value;
    let bare = (!edit.quoted).then(|| match text.as_str() {
        "true" => Some(Value::Boolean(true)),
        "false" => Some(Value::Boolean(false)),
        number => number.parse().map(Value::Integer).or_else(|_| number.parse().map(Value::Float)).ok(),
    });
    bare.flatten().unwrap_or_else(|| Value::String(text.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(key: &str, value: &str, quoted: bool) -> Edit {
        Edit { key: key.to_owned(), value: value.to_owned(), quoted }
    }

    #[test]
    fn a_setting_replaces_the_files_or_is_added_and_the_later_one_wins() {
        let text = "[pools.app]\nsize = 20\n[limits]\nmax_clients = 7\n";
        let edits = [
            edit("pools.app.size", "30", false),
            edit("pools.app.max_wait", "2s", false),
            edit("limits.max_clients", "9", true),
            edit("users.web.trust_labels", "true", false),
            edit("pools.app.size", "40", false),
        ];
        let table: Table = toml(text, &edits).unwrap().parse().unwrap();
        assert_eq!(table["pools"]["app"]["size"].as_integer(), Some(40));
        assert_eq!(table["pools"]["app"]["max_wait"].as_str(), Some("2s"));
        assert_eq!(table["limits"]["max_clients"].as_str(), Some("9"), "what was quoted is a text");
        assert_eq!(table["users"]["web"]["trust_labels"].as_bool(), Some(true));
        assert_eq!(toml(text, &[]).unwrap(), text);
        let below = toml(text, &[edit("pools.app.size.more", "1", false)]).unwrap_err();
        assert!(below.contains("nothing below it"), "{below}");
    }
}
