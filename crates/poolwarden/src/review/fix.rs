//! `--fix`: safe edits are made in the files, each of them whole or not at all.

use anyhow::{Context, bail};
use poolwarden_config::review::edit;

use super::{Files, Review};
use crate::whole;

/// Makes the safe edits of findings that count; says what changed. Nothing is written unless all edits can be made.
pub(crate) fn fix(review: &Review, files: &Files) -> anyhow::Result<Option<String>> {
    let edits = edit::safe(review.counting().map(|judged| &judged.finding));
    let mut said = String::new();
    let mut writes = Vec::new();
    for (number, edits) in &edits {
        let text = review.dossier().texts.get(*number).context("an edit of a text that is not there")?;
        // What is shown has stars for secrets; what is written has them as they are.
        let (path, original) = files.original(&text.name).with_context(|| format!("{} was not read", text.name))?;
        if original.len() != text.text.len() {
            bail!("{}: what was reviewed is not what was read: nothing is changed", text.name);
        }
        let beside = || format!("{}: an edit does not fit the text: nothing is changed", text.name);
        let new = edit::apply(original, edits).with_context(beside)?;
        said.push_str(&edit::diff(&text.name, &text.text, edits).with_context(beside)?);
        writes.push((path, original, new));
    }
    for (done, (path, original, new)) in writes.iter().enumerate() {
        whole::replace(path, original, new).with_context(|| {
            let written: Vec<String> = writes[..done].iter().map(|(path, ..)| path.display().to_string()).collect();
            let written = if written.is_empty() {
                "nothing is changed".to_owned()
            } else {
                format!("changed: {}", written.join(", "))
            };
            format!("cannot write {}; {written}", path.display())
        })?;
    }
    Ok((!writes.is_empty()).then_some(said))
}
