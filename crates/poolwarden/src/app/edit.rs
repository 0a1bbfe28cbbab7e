//! SET: a setting changed for the running process alone, as a change of the file's text that is never written.
//!
//! So it is parsed, judged and applied by the very rules of the file.

use toml_edit::{DocumentMut, Item, Key, Table, Value};

/// One SET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    /// Its name: a path of the TOML file, or a name of PgBouncer's.
    pub(crate) key: String,
    pub(crate) value: String,
    /// It was written in quotes: a text, whatever it looks like.
    pub(crate) quoted: bool,
}

/// The text of a TOML file with these settings in it: everything else, comments too, stays as it is written.
///
/// # Errors
/// A key that leads through a value, or a text that is no TOML (which its own fault would say as well).
pub(crate) fn toml(text: &str, edits: &[Edit]) -> Result<String, String> {
    if edits.is_empty() {
        return Ok(text.to_owned());
    }
    let mut document: DocumentMut = text.parse().map_err(|fault: toml_edit::TomlError| fault.message().to_owned())?;
    for edit in edits {
        put(document.as_table_mut(), edit)?;
    }
    Ok(document.to_string())
}

fn put(table: &mut Table, edit: &Edit) -> Result<(), String> {
    let no_key = |_| format!("{}: no key: write it as pools.app.size, or pools.\"*\".size", edit.key);
    let path = Key::parse(&edit.key).map_err(no_key)?;
    let (last, path) = path.split_last().ok_or_else(|| format!("{:?} names no setting", edit.key))?;
    let mut inside: &mut dyn toml_edit::TableLike = table;
    for name in path.iter().map(Key::get) {
        let entry = inside.entry(name).or_insert_with(|| {
            // of a table that only leads to others no header is written
            let mut new = Table::new();
            new.set_implicit(true);
            Item::Table(new)
        });
        let below = || format!("{}: {name} is a value and has nothing below it", edit.key);
        inside = entry.as_table_like_mut().ok_or_else(below)?;
    }
    let mut new = value(edit);
    match inside.get_mut(last) {
        Some(Item::Value(old)) => {
            // what stands around it, a comment behind it too, stays
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        Some(Item::Table(_) | Item::ArrayOfTables(_)) => {
            return Err(format!("{}: it is a table: name one of its keys", edit.key));
        }
        Some(Item::None) | None => drop(inside.insert(last, Item::Value(new))),
    }
    Ok(())
}

/// Bare numbers and words of truth are themselves, everything else is a text: `40`, `true`, `2s`.
fn value(edit: &Edit) -> Value {
    let text = &edit.value;
    let bare = (!edit.quoted).then(|| match text.as_str() {
        "true" => Some(Value::from(true)),
        "false" => Some(Value::from(false)),
        number => number.parse::<i64>().map(Value::from).or_else(|_| number.parse::<f64>().map(Value::from)).ok(),
    });
    bare.flatten().unwrap_or_else(|| Value::from(text.as_str()))
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
        let new = toml(text, &edits).unwrap();
        assert_eq!(
            new,
            "[pools.app]\nsize = 40\nmax_wait = \"2s\"\n[limits]\nmax_clients = \"9\"\n\n[users.web]\ntrust_labels = true\n",
            "what was quoted is a text"
        );
        assert_eq!(toml(text, &[]).unwrap(), text);
        let below = toml(text, &[edit("pools.app.size.more", "1", false)]).unwrap_err();
        assert!(below.contains("nothing below it"), "{below}");
    }

    #[test]
    fn comments_order_and_spelling_of_everything_else_stay() {
        let text = "# ours\n[limits] # all\nmax_clients=1_000 # enough\n\n[pools]\napp = { size = 20, mode='session' } # the web\n\n[users.\"a b\"]\n";
        let set = |key: &str, value: &str| toml(text, &[edit(key, value, false)]).unwrap();
        assert_eq!(set("limits.max_clients", "7"), text.replace("1_000", "7"));
        assert_eq!(set("pools.app.size", "40"), text.replace("20", "40"));
        assert_eq!(set("pools.app.mode", "transaction"), text.replace("'session'", "\"transaction\""));
        let added = set("pools.shop.size", "3");
        assert!(
            added.starts_with(text.split("\n[users").next().unwrap()) && added.contains("[pools.shop]\nsize = 3\n"),
            "{added}"
        );
        assert!(
            toml(text, &[edit("pools.app", "3", false)]).is_ok_and(|new| new.contains("app = 3")),
            "an inline table is a value"
        );
        let table = toml(text, &[edit("limits", "3", false)]).unwrap_err();
        assert!(table.contains("name one of its keys"), "{table}");
    }
}
