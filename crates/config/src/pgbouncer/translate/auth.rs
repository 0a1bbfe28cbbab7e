//! How clients prove who they are, and where their secrets are.

use super::super::ini::{Spot, Word};
use super::super::sheet::Line;
use super::super::toml::Path;
use super::Translation;

impl Translation<'_> {
    pub(super) fn auth(&mut self) {
        let table = Path::top("auth");
        let kind = self.text("auth_type").to_ascii_lowercase();
        let method = match kind.as_str() {
            "plain" => "password",
            "any" => "trust",
            "ldap" | "pam" => {
                let message = format!("auth_type = {kind} is not served: nothing here speaks to {kind}");
                self.error("auth_type", message, "write auth_type = hba, cert or scram-sha-256");
                return;
            }
            other => other,
        };
        let spot = self.spot("auth_type");
        self.toml.text_of(&table, "method", method, spot.as_ref());
        if kind == "any" {
            self.forced_users_everywhere();
        }
        if kind == "hba" {
            self.put_path(&table, "hba", "auth_hba_file");
            self.put_path(&table, "ident_map", "auth_ident_file");
        }
        if kind != "any" {
            self.put_path(&table, "userlist", "auth_file");
            // PgBouncer trusts whom it knows, and nobody else.
            self.toml.put(&table, "known_users", "true".to_owned(), None);
        }
        self.query(&table);
    }

    /// With `any`, nobody says who the client is, so each database must.
    fn forced_users_everywhere(&mut self) {
        let sheet = self.sheet;
        for line in sheet.databases.values().filter(|line| line.given.word("user").is_none()) {
            let message = format!("auth_type = any, and database {} forces no user", line.name.text);
            self.ini.error("refused", &line.name.spot, message, "write user= in its connection string".to_owned());
        }
    }

    fn query(&mut self, table: &Path) {
        let user = self.one("auth_user");
        let Some((user, spot)) = user else { return };
        self.toml.text_of(table, "user", &user, spot.as_ref());
        // Queries written for PgBouncer find their functions by the role's own path.
        self.toml.text_of(table, "search_path", "", None);
        if let Some((query, spot)) = self.one("auth_query") {
            self.toml.text_of(table, "query", &query, spot.as_ref());
        }
        if let Some((database, spot)) = self.one("auth_dbname") {
            self.toml.text_of(table, "database", &database, spot.as_ref());
        }
    }

    /// The one value of a setting that databases may have of their own; several at once are refused.
    fn one(&mut self, name: &'static str) -> Option<(String, Option<Spot>)> {
        let sheet = self.sheet;
        let own: Vec<&Word> = sheet.databases.values().filter_map(|line: &Line| line.given.word(name)).collect();
        let global = Some(self.text(name).to_owned()).filter(|text| !text.is_empty());
        let Some(first) = own.first() else {
            return global.map(|text| (text, self.spot(name)));
        };
        let written = self.sheet.main.word(name).filter(|word| !word.text.is_empty());
        let whole = own.len() == sheet.databases.len();
        let other = own.iter().find(|word| word.text != first.text).copied();
        let other = other.or_else(|| (!whole).then_some(written).flatten().filter(|word| word.text != first.text));
        if let Some(other) = other {
            let message = format!("{name} is `{}` elsewhere: one is served for all databases", first.text);
            self.ini.error("refused", &other.spot, message, format!("write one {name} below [pgbouncer]"));
            return None;
        }
        Some((first.text.clone(), Some(first.spot.clone())))
    }
}
