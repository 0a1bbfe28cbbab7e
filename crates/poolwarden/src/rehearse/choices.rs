//! `--set`, again and again: settings that are wanted together, and others to stand beside them.

use anyhow::Context;

use crate::app::edit::Edit;

/// More would be a table that nobody reads.
const MOST: usize = 24;

/// Every combination of the values that were set, the first values first. A key that is set twice has two values to compare.
///
/// # Errors
/// What is no `KEY=VALUE`, or too many combinations.
pub(crate) fn choices(sets: &[String]) -> anyhow::Result<Vec<(String, Vec<Edit>)>> {
    let edits = sets.iter().map(|set| edit(set)).collect::<anyhow::Result<Vec<Edit>>>()?;
    let mut keys: Vec<&str> = Vec::new();
    for edit in &edits {
        if !keys.contains(&edit.key.as_str()) {
            keys.push(&edit.key);
        }
    }
    let mut all: Vec<Vec<&Edit>> = vec![Vec::new()];
    for key in keys {
        let values: Vec<&Edit> = edits.iter().filter(|edit| edit.key == key).collect();
        all = all.iter().flat_map(|some| values.iter().map(move |one| [&some[..], &[*one]].concat())).collect();
        anyhow::ensure!(all.len() <= MOST, "--set: more than {MOST} combinations: compare fewer values at once");
    }
    let name =
        |some: &[&Edit]| some.iter().map(|edit| format!("{}={}", edit.key, edit.value)).collect::<Vec<_>>().join(" ");
    Ok(all.into_iter().map(|some| (name(&some), some.into_iter().cloned().collect())).collect())
}

/// `pools.app.size=40`.
fn edit(set: &str) -> anyhow::Result<Edit> {
    let (key, value) =
        set.split_once('=').with_context(|| format!("--set {set}: write KEY=VALUE, for example pools.app.size=40"))?;
    let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    Ok(Edit { key: key.trim().to_owned(), value: unquoted.unwrap_or(value).to_owned(), quoted: unquoted.is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_set_twice_is_compared_and_others_go_with_each() {
        let names = |sets: &[&str]| {
            let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
            choices(&sets).map(|all| all.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).expect("none"), [""]);
        assert_eq!(names(&["a=1", "b=2"]).expect("one"), ["a=1 b=2"]);
        assert_eq!(names(&["a=1", "b=2", "a=3"]).expect("two"), ["a=1 b=2", "a=3 b=2"]);
        assert!(names(&["a"]).is_err_and(|why| why.to_string().contains("KEY=VALUE")));
        let many: Vec<String> = (0..30).map(|n| format!("a={n}")).collect();
        assert!(choices(&many).is_err());
    }
}
