//! Every setting as it stands, for SHOW CONFIG and for telling two configurations apart.

use crate::catalogue::{CATALOGUE, Setting};
use crate::model::Config;
use crate::secret::Secret;
use crate::value::read_default;
use crate::walk::{Walked, Written, join};

/// One setting as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Full key, `pools.app.size`.
    pub key: String,
    /// Its value; `<set>` for secrets, empty where there is none.
    pub value: String,
    /// Its default; empty where there is none.
    pub default: String,
    /// Whether a reload changes it.
    pub live: bool,
    pub(crate) secret: Option<Secret>,
}

impl Config {
    /// Every setting in the catalogue's order; those of a named table once per name. Never a secret.
    #[must_use]
    pub fn show(&self) -> &[Shown] {
        &self.shown
    }
}

pub(crate) fn shown(walked: &Walked, secrets: &[(String, Secret)]) -> Vec<Shown> {
    let mut all = Vec::new();
    for setting in CATALOGUE {
        let places = places(setting, walked);
        for key in places {
            let written = walked.values.get(&key);
            let secret = secrets.iter().find(|(of, _)| *of == key).map(|(_, secret)| secret.clone());
            all.push(Shown {
                value: value(setting, written),
                default: default(setting),
                live: setting.live,
                secret,
                key,
            });
        }
    }
    all
}

fn value(setting: &Setting, written: Option<&Written>) -> String {
    match written {
        Some(_) if setting.kind.is_secret() => "<set>".to_owned(),
        Some(written) => written.value.to_string(),
        None => default(setting),
    }
}

fn default(setting: &Setting) -> String {
    read_default(setting.kind, setting.default).map(|value| value.to_string()).unwrap_or_default()
}

/// The full keys a setting has in this file: one, one per name, or only where it is written (arrays, names below names).
fn places(setting: &Setting, walked: &Walked) -> Vec<String> {
    let names = setting.key.matches("NAME").count();
    if names == 0 && !setting.key.contains("[]") {
        return vec![setting.key.to_owned()];
    }
    if let (1, Some((section, rest))) = (names, setting.key.split_once(".NAME.")) {
        let mut names: Vec<&str> =
            walked.names.get(section).into_iter().flatten().map(|named| named.name.as_str()).collect();
        names.sort_unstable();
        return names.into_iter().map(|name| format!("{}.{rest}", join(section, name))).collect();
    }
    let written = walked.values.iter().filter(|(_, written)| written.setting.key == setting.key);
    written.map(|(key, _)| key.clone()).collect()
}
