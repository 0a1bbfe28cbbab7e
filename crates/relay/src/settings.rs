//! Session settings: what a client wants to find, and what a server connection has.
//!
//! A server connection is born with its pool's *defaults* (the parameters PostgreSQL reported at login). Everybody's settings
//! are kept as differences from them, sorted, shared and hashed: no difference is the common case and costs nothing.
//! The hash is the *flavor* the pool compares.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Parameters that are always followed, because PostgreSQL reports every change of them.
pub const TRACKED: [&str; 6] =
    ["application_name", "client_encoding", "datestyle", "intervalstyle", "standard_conforming_strings", "timezone"];

/// Most settings one session may differ in; more are refused at login.
pub const MAX_SETTINGS: usize = 64;

/// The settings that say who the session is; the first sets the second to nobody.
pub(crate) const IDENTITY: [&str; 2] = ["session_authorization", "role"];

/// What PostgreSQL keeps for a transaction at most, or does not tell: no client's for longer, and RESET refuses it.
const MOMENTARY: [&str; 4] = ["seed", "transaction_deferrable", "transaction_isolation", "transaction_read_only"];

/// What a literal, a name or an operator in a text means depends on these when the text is parsed, and not when it is executed.
const MEANING: [&str; 13] = [
    "array_nulls",
    "backslash_quote",
    "client_encoding",
    "datestyle",
    "intervalstyle",
    "lc_monetary",
    "role",
    "search_path",
    "session_authorization",
    "standard_conforming_strings",
    "timezone",
    "timezone_abbreviations",
    "transform_null_equals",
];

type Pairs = BTreeMap<Box<str>, Box<str>>;

/// Differences from the pool's defaults: lower-case name to value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(Option<Arc<Kept>>);

#[derive(Debug, PartialEq, Eq)]
struct Kept {
    flavor: u64,
    meaning: u64,
    pairs: Pairs,
}

impl Settings {
    /// Settings that differ from the defaults by exactly these pairs (names are folded to lower case).
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::of(pairs.into_iter().map(|(name, value)| (name.to_ascii_lowercase().into(), value.into())).collect())
    }

    fn of(mut pairs: Pairs) -> Self {
        pairs.retain(|name, _| !MOMENTARY.contains(&&**name));
        if pairs.is_empty() {
            return Self(None);
        }
        let flavor = flavor_of(pairs.iter());
        let mut parsing = pairs.iter().filter(|(name, _)| MEANING.contains(&&***name)).peekable();
        let meaning = if parsing.peek().is_some() { flavor_of(parsing) } else { 0 };
        Self(Some(Arc::new(Kept { flavor, meaning, pairs })))
    }

    /// A hash of what decides what a statement's text means; 0 for the defaults.
    pub(crate) fn meaning(&self) -> u64 {
        self.0.as_ref().map_or(0, |kept| kept.meaning)
    }

    /// The hash the pool compares; 0 for the defaults.
    #[must_use]
    pub fn flavor(&self) -> u64 {
        self.0.as_ref().map_or(0, |kept| kept.flavor)
    }

    /// The value by which `name` (lower case) differs from the default.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.as_ref()?.pairs.get(name).map(|value| &**value)
    }

    /// Name and value of every difference, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|kept| kept.pairs.iter().map(|(name, value)| (&**name, &**value)))
    }

    /// The same settings with `name` (any case) at `value`; `None` is the default.
    #[must_use]
    pub fn with(&self, name: &str, value: Option<&str>) -> Self {
        let name = name.to_ascii_lowercase();
        if self.value(&name) == value {
            return self.clone();
        }
        let mut pairs = self.0.as_ref().map_or_else(Pairs::new, |kept| kept.pairs.clone());
        match value {
            Some(value) => drop(pairs.insert(name.into(), value.into())),
            None => drop(pairs.remove(name.as_str())),
        }
        Self::of(pairs)
    }

    /// Whether there is no difference.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many differences there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |kept| kept.pairs.len())
    }

    /// Bytes that these settings keep on the heap (shared ones counted in full).
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + value.len() + 48).sum()
    }
}

/// What a pool's server connections report when they are born: name as PostgreSQL spells it, and value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    reported: BTreeMap<Box<str>, (Box<str>, Box<str>)>,
}

impl Defaults {
    /// From the parameters PostgreSQL reported during login.
    #[must_use]
    pub fn new(parameters: &[(String, String)]) -> Self {
        let reported = parameters
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase().into(), (name.as_str().into(), value.as_str().into())))
            .collect();
        Self { reported }
    }

    /// The default of `name` (lower case), if it is a reported one.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.reported.get(name).map(|(_, value)| &**value)
    }

    /// `name` (lower case) as PostgreSQL spells it.
    #[must_use]
    pub fn spelling<'a>(&'a self, name: &'a str) -> &'a str {
        self.reported.get(name).map_or(name, |(spelled, _)| spelled)
    }

    /// Every reported parameter: PostgreSQL's spelling, default.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.reported.values().map(|(spelled, value)| (&**spelled, &**value))
    }

    /// Of these settings those that are not the defaults.
    #[must_use]
    pub fn differences(&self, settings: &Settings) -> Settings {
        let differs = |(name, value): &(&str, &str)| self.value(name) != Some(*value);
        if settings.iter().all(|pair| differs(&pair)) {
            return settings.clone();
        }
        Settings::new(settings.iter().filter(differs))
    }

    /// `value` of `name` as a difference: `None` where it is the default.
    #[must_use]
    pub fn difference<'a>(&self, name: &str, value: &'a str) -> Option<&'a str> {
        (self.value(&name.to_ascii_lowercase()) != Some(value)).then_some(value)
    }
}

/// The SQL that leads from what a server connection `has` to what a client `wants`; `None` where nothing differs.
///
/// Values go through `set_config`, which reads lists as the start-up packet does (SET would quote them as one name).
/// A setting that has no reported default is taken back by RESET. Who the session is comes last, and what it was is laid down first,
/// because another role may not be allowed to change the rest. All of it is one simple query, so it happens whole or not at all.
#[inline]
#[must_use]
pub fn transition(has: &Settings, wants: &Settings, defaults: &Defaults) -> Option<String> {
    if has.is_empty() && wants.is_empty() { None } else { way(has, wants, defaults) }
}

fn way(has: &Settings, wants: &Settings, defaults: &Defaults) -> Option<String> {
    if has == wants {
        return None;
    }
    let mut sets = Vec::new();
    let mut resets = String::new();
    if IDENTITY.iter().any(|name| has.value(name).is_some()) {
        resets.push_str("RESET SESSION AUTHORIZATION;RESET ROLE;");
    }
    let is_identity = |name: &str| IDENTITY.contains(&name);
    for (name, value) in wants.iter().filter(|(name, _)| !is_identity(name)) {
        if has.value(name) != Some(value) {
            sets.push(set_config(name, value));
        }
    }
    for (name, _) in has.iter().filter(|(name, _)| wants.value(name).is_none() && !is_identity(name)) {
        match defaults.value(name) {
            Some(value) => sets.push(set_config(name, value)),
            None => resets.push_str(&format!("RESET \"{}\";", name.replace('"', "\"\""))),
        }
    }
    let identity = IDENTITY.iter().filter_map(|name| Some(set_config(name, wants.value(name)?)));
    sets.extend(identity);
    let sets = if sets.is_empty() { String::new() } else { format!("SELECT {}", sets.join(",")) };
    (!sets.is_empty() || !resets.is_empty()).then(|| resets + &sets)
}

/// The SQL that gives a connection without settings what a client `wants`, the role first: it may be the one that may set the others.
/// `None` where it wants no role.
pub(crate) fn as_role(wants: &Settings) -> Option<String> {
    let set = |name: &str| Some(set_config(name, wants.value(name)?));
    let identity: Vec<String> = IDENTITY.into_iter().filter_map(set).collect();
    let others = wants.iter().filter(|(name, _)| !IDENTITY.contains(name)).map(|(name, value)| set_config(name, value));
    (!identity.is_empty())
        .then(|| format!("SELECT {}", identity.into_iter().chain(others).collect::<Vec<_>>().join(",")))
}

fn set_config(name: &str, value: &str) -> String {
    format!("pg_catalog.set_config({},{},false)", quoted(name), quoted(value))
}

/// A string that means the same whatever `standard_conforming_strings` and `client_encoding` say, in a database of any encoding that
/// has its characters.
pub(crate) fn quoted(text: &str) -> String {
    if !text.is_ascii() {
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        return format!("pg_catalog.convert_from(E'\\\\x{hex}','UTF8')");
    }
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// FNV-1a over names and values with their ends marked; never 0, which means the defaults.
fn flavor_of<'a>(pairs: impl Iterator<Item = (&'a Box<str>, &'a Box<str>)>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut eat = |bytes: &[u8]| {
        for byte in bytes.iter().chain(&[0]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    for (name, value) in pairs {
        eat(name.as_bytes());
        eat(value.as_bytes());
    }
    hash.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Defaults {
        Defaults::new(&[("DateStyle".into(), "ISO, MDY".into()), ("application_name".into(), String::new())])
    }

    #[test]
    fn equal_settings_have_equal_flavors_whatever_the_order_and_case() {
        let one = Settings::new([("DateStyle", "German"), ("application_name", "a")]);
        let two = Settings::new([("APPLICATION_NAME", "a"), ("datestyle", "German")]);
        assert_eq!(one.flavor(), two.flavor());
        assert_eq!(one, two);
        assert_ne!(one.flavor(), 0);
        assert_eq!(Settings::default().flavor(), 0);
    }

    #[test]
    fn the_old_role_is_laid_down_first_and_the_new_one_taken_last() {
        let (one, two) = (Settings::new([("role", "one"), ("app.tenant", "1")]), Settings::new([("role", "two")]));
        assert_eq!(
            transition(&one, &two, &defaults()).unwrap(),
            "RESET SESSION AUTHORIZATION;RESET ROLE;RESET \"app.tenant\";SELECT pg_catalog.set_config(E'role',E'two',false)"
        );
        assert_eq!(
            transition(&two, &Settings::default(), &defaults()).unwrap(),
            "RESET SESSION AUTHORIZATION;RESET ROLE;"
        );
    }

    #[test]
    fn a_transition_is_the_same_in_every_encoding() {
        let wants = Settings::new([("search_path", "é")]);
        assert_eq!(
            transition(&Settings::default(), &wants, &defaults()).unwrap(),
            "SELECT pg_catalog.set_config(E'search_path',pg_catalog.convert_from(E'\\\\xc3a9','UTF8'),false)"
        );
    }

    #[test]
    fn going_back_to_the_default_is_no_difference() {
        let changed = Settings::default().with("application_name", Some("x"));
        assert_eq!(changed.with("Application_Name", None), Settings::default());
    }

    #[test]
    fn a_transition_sets_what_is_wanted_and_restores_what_is_not() {
        let has = Settings::new([("datestyle", "German"), ("search_path", "x")]);
        let wants = Settings::new([("application_name", "it's \\")]);
        let sql = transition(&has, &wants, &defaults()).unwrap();
        assert_eq!(
            sql,
            "RESET \"search_path\";SELECT pg_catalog.set_config(E'application_name',E'it''s \\\\',false),\
             pg_catalog.set_config(E'datestyle',E'ISO, MDY',false)"
        );
        assert_eq!(transition(&has, &has.clone(), &defaults()), None);
    }
}
