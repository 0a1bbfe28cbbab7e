//! Facts files: `key = value`, one a line; `#` begins a comment line.

use super::draft::Draft;
use crate::review::dossier::Facts;

/// Reads one file.
pub(super) fn read(file: usize, text: &str, out: &mut Draft) -> Result<(), String> {
    let name = out.dossier.texts.get(file).map_or_else(String::new, |text| text.name.clone());
    let mut facts = Facts { name, ..Facts::default() };
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let pair = line.split_once('=').map(|(key, value)| (key.trim(), value.trim().trim_matches('"')));
        match pair.filter(|(key, _)| !key.is_empty() && !key.contains(char::is_whitespace)) {
            Some((key, value)) => {
                facts.facts.insert(key.to_owned(), value.to_owned());
            }
            None => {
                let message = "a line that is no key = value".to_owned();
                out.fault(
                    file,
                    start..start + line.len(),
                    message,
                    "write it as pg.setting.max_connections = 100".to_owned(),
                );
            }
        }
    }
    out.dossier.facts.push(facts);
    Ok(())
}
