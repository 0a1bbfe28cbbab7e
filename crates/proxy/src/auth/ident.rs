//! Ident maps: whether a system user or a certificate's name may be a database user.

use regex::Regex;

/// Whom a line speaks of.
#[derive(Clone, Debug)]
pub enum SystemName {
    /// This one.
    Exact(String),
    /// Any that this fits.
    Pattern(Regex),
}

/// One line of a map.
#[derive(Clone, Debug)]
pub struct IdentLine {
    /// The map.
    pub map: String,
    /// The system user or certificate name.
    pub system: SystemName,
    /// The database user, in which `\1` is the pattern's first group; `None` is anybody.
    pub role: Option<String>,
}

/// Whether `name` may be `role`: by the map, or, without one, because they are the same.
pub(crate) fn allows(lines: &[IdentLine], map: Option<&str>, name: &str, role: &str) -> bool {
    match map {
        None => name == role,
        Some(map) => lines.iter().filter(|line| line.map == map).any(|line| line.allows(name, role)),
    }
}

impl IdentLine {
    fn allows(&self, name: &str, role: &str) -> bool {
        match &self.system {
            SystemName::Exact(exact) => exact == name && self.role.as_deref().is_none_or(|own| own == role),
            SystemName::Pattern(pattern) => {
                let Some(found) = pattern.captures(name) else { return false };
                let group = found.get(1).map_or("", |group| group.as_str());
                self.role.as_deref().is_none_or(|own| own.replacen("\\1", group, 1) == role)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(map: &str, system: &str, role: Option<&str>) -> IdentLine {
        let system = match system.strip_prefix('/') {
            Some(pattern) => SystemName::Pattern(Regex::new(pattern).unwrap()),
            None => SystemName::Exact(system.into()),
        };
        IdentLine { map: map.into(), system, role: role.map(str::to_owned) }
    }

    #[test]
    fn names_are_mapped_as_postgresql_maps_them() {
        let lines = [
            line("m", "bob", Some("app")),
            line("m", "/^(.*)@example\\.org$", Some("\\1")),
            line("m", "root", None),
            line("other", "eve", Some("app")),
        ];
        let allows = |name, role| allows(&lines, Some("m"), name, role);
        assert!(allows("bob", "app") && !allows("bob", "bob"));
        assert!(allows("alice@example.org", "alice"));
        assert!(!allows("alice@example.org", "bob") && !allows("alice@example.com", "alice"));
        assert!(allows("root", "anybody"));
        assert!(!allows("eve", "app"), "she stands in another map");
    }

    #[test]
    fn without_a_map_only_the_same_name_will_do_and_an_unknown_map_allows_nobody() {
        assert!(allows(&[], None, "app", "app") && !allows(&[], None, "app", "App"));
        assert!(!allows(&[], Some("m"), "app", "app"));
    }
}
