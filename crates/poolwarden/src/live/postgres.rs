//! PostgreSQL: its settings, roles, databases and backends, as any login may see them. Times become milliseconds, sizes bytes.

use std::collections::BTreeMap;

use poolwarden_proxy::{Rows, Talk};

use super::Draft;

const SESSION: &str =
    "set statement_timeout = '10s'; set search_path = pg_catalog; set application_name = 'poolwarden check'";
const SETTINGS: &str = "select name, setting, unit, pending_restart from pg_settings";
/// `pg_use_reserved_connections` exists from version 16 on; before, only superusers have a reserve.
const ROLES: &str = "select rolname, rolconnlimit, rolsuper or coalesce((select pg_has_role(r.oid, u.oid, 'usage') \
                     from pg_roles u where u.rolname = 'pg_use_reserved_connections'), false) from pg_roles r where rolcanlogin";
const ROLE_SETTINGS: &str = "select r.rolname, d.datname, unnest(s.setconfig) from pg_db_role_setting s \
                             left join pg_roles r on r.oid = s.setrole left join pg_database d on d.oid = s.setdatabase";
const DATABASES: &str = "select datname, datconnlimit from pg_database where datallowconn";
/// Whom the login may not look into shows no backend type, and is a client's if it has a user and a database.
const BACKENDS: &str = "select datname, count(*) from pg_stat_activity where pid <> pg_backend_pid() and coalesce(backend_type, \
                        case when usesysid is not null and datid is not null then 'client backend' end) = 'client backend' \
                        group by 1";

pub(super) async fn ask(
    talk: &mut Talk,
    address: &str,
    pooled: &dyn Fn(&str) -> Option<bool>,
) -> anyhow::Result<Draft> {
    let mut draft = Draft::default();
    draft.put("pg.address", address);
    heard(talk, SESSION, "", &mut draft).await;
    let units = settings(&heard(talk, SETTINGS, "settings", &mut draft).await, &mut draft);
    if units.is_empty() {
        anyhow::bail!("it tells no settings: is it a PostgreSQL? {}", draft.unseen.join("; "));
    }
    roles(&heard(talk, ROLES, "roles", &mut draft).await, &mut draft);
    role_settings(&heard(talk, ROLE_SETTINGS, "settings of roles", &mut draft).await, &units, &mut draft);
    databases(&heard(talk, DATABASES, "databases", &mut draft).await, &mut draft);
    backends(&heard(talk, BACKENDS, "backends", &mut draft).await, pooled, &mut draft);
    Ok(draft)
}

/// The rows of an answer; none where it is refused, which is noted.
async fn heard(talk: &mut Talk, question: &str, what: &str, draft: &mut Draft) -> Vec<Vec<Option<String>>> {
    let Rows { rows, .. } = match talk.ask(question).await {
        Ok(rows) => rows,
        Err(why) => {
            if !what.is_empty() {
                draft
                    .unseen
                    .push(format!("its {what} are not told: {why}; ask as a role that is member of pg_monitor"));
            }
            Rows::default()
        }
    };
    rows
}

fn text(row: &[Option<String>], at: usize) -> Option<&str> {
    row.get(at)?.as_deref()
}

/// Units by setting.
fn settings(rows: &[Vec<Option<String>>], draft: &mut Draft) -> BTreeMap<String, String> {
    let mut units = BTreeMap::new();
    for row in rows {
        let (Some(name), Some(value)) = (text(row, 0), text(row, 1)) else { continue };
        let unit = text(row, 2).unwrap_or_default();
        units.insert(name.to_owned(), unit.to_owned());
        draft.put(format!("pg.setting.{name}"), measured(value, unit));
        if text(row, 3) == Some("t") {
            draft.put(format!("pg.pending_restart.{name}"), "true");
        }
    }
    units
}

fn roles(rows: &[Vec<Option<String>>], draft: &mut Draft) {
    for row in rows {
        let (Some(name), Some(limit)) = (text(row, 0), text(row, 1)) else { continue };
        draft.put(format!("pg.role.{name}.connection_limit"), limit);
        let reserved = if text(row, 2) == Some("t") { "true" } else { "false" };
        draft.put(format!("pg.role.{name}.uses_reserved"), reserved);
    }
}

/// `parameter=value` of a role, of a database, or of a role in a database.
fn role_settings(rows: &[Vec<Option<String>>], units: &BTreeMap<String, String>, draft: &mut Draft) {
    for row in rows {
        let Some((name, value)) = text(row, 2).and_then(|setting| setting.split_once('=')) else { continue };
        let unit = units.get(name).map_or("", String::as_str);
        let value = measured(value, unit);
        match (text(row, 0), text(row, 1)) {
            (Some(role), None) => draft.put(format!("pg.role.{role}.setting.{name}"), value),
            (None, Some(database)) => draft.put(format!("pg.database.{database}.setting.{name}"), value),
            (Some(role), Some(database)) => {
                draft.put(format!("pg.database.{database}.role_setting.{role}.{name}"), value);
            }
            (None, None) => {} // of a role that is gone meanwhile
        }
    }
}

fn databases(rows: &[Vec<Option<String>>], draft: &mut Draft) {
    for row in rows {
        if let (Some(name), Some(limit)) = (text(row, 0), text(row, 1)) {
            draft.put(format!("pg.database.{name}.connection_limit"), limit);
        }
    }
}

/// Backends in databases that no pooler serves are others' for certain. That there is none now is no limit of theirs.
fn backends(rows: &[Vec<Option<String>>], pooled: &dyn Fn(&str) -> Option<bool>, draft: &mut Draft) {
    let mut others = Some(0_u64);
    let mut all = 0_u64;
    for row in rows {
        let count: u64 = text(row, 1).and_then(|count| count.parse().ok()).unwrap_or(0);
        all += count;
        let is_pooled = text(row, 0).map_or(Some(false), pooled); // without a database it is nobody's pool
        others = others.zip(is_pooled).map(|(sum, is_pooled)| sum + if is_pooled { 0 } else { count });
    }
    draft.put("pg.backends.all", all.to_string());
    if let Some(others) = others.filter(|others| *others > 0) {
        draft.put("pg.backends.others", others.to_string());
    }
}

/// A value in milliseconds or bytes, where its setting has such a unit; itself where it has none. Minus one and zero mean what
/// the setting says they mean, in any unit.
fn measured(value: &str, unit: &str) -> String {
    let digits = value
        .trim_start_matches('-')
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .map_or(value.len(), |at| at + value.len() - value.trim_start_matches('-').len());
    let (number, own) = value.split_at(digits);
    let own = if own.trim().is_empty() { unit } else { own.trim() };
    match (number.parse::<f64>(), factor(own)) {
        (Ok(number), Some(factor)) if number > 0.0 && !unit.is_empty() => format!("{}", (number * factor).round()),
        (Ok(_) | Err(_), _) => value.to_owned(),
    }
}

/// Milliseconds or bytes of a unit, as PostgreSQL writes it.
fn factor(unit: &str) -> Option<f64> {
    const KIB: f64 = 1024.0;
    let of = match unit.trim_start_matches(|c: char| c.is_ascii_digit()) {
        "us" => 0.001,
        "ms" | "B" => 1.0,
        "s" => 1000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        "kB" => KIB,
        "MB" => KIB * KIB,
        "GB" => KIB * KIB * KIB,
        "TB" => KIB * KIB * KIB * KIB,
        _ => return None, // a text, not an enum of ours
    };
    let times: String = unit.chars().take_while(char::is_ascii_digit).collect();
    Some(of * times.parse().unwrap_or(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(of: &[&[&str]]) -> Vec<Vec<Option<String>>> {
        let field = |text: &&str| Some((*text).to_owned()).filter(|text| text != "-");
        of.iter().map(|row| row.iter().map(field).collect()).collect()
    }

    #[test]
    fn values_become_milliseconds_and_bytes_and_keep_what_is_no_quantity() {
        let table = [
            ("100", "", "100"),
            ("0", "ms", "0"),
            ("-1", "ms", "-1"),
            ("30000", "ms", "30000"),
            ("5", "s", "5000"),
            ("5min", "ms", "300000"),
            ("10", "min", "600000"),
            ("16384", "8kB", "134217728"),
            ("64", "16MB", "1073741824"),
            ("4MB", "kB", "4194304"),
            ("4", "kB", "4096"),
            ("on", "", "on"),
            ("read committed", "", "read committed"),
            ("1d", "min", "86400000"),
        ];
        for (value, unit, expected) in table {
            assert_eq!(measured(value, unit), expected, "{value} {unit}");
        }
    }

    #[test]
    fn rows_become_facts_under_the_names_that_rules_know() {
        let mut draft = Draft::default();
        let told = rows(&[
            &["max_connections", "100", "-", "f"],
            &["statement_timeout", "0", "ms", "f"],
            &["work_mem", "4096", "kB", "t"],
        ]);
        let units = settings(&told, &mut draft);
        roles(&rows(&[&["app", "20", "f"], &["root", "-1", "t"]]), &mut draft);
        let of = rows(&[
            &["app", "-", "statement_timeout=30s"],
            &["-", "shop", "work_mem=8MB"],
            &["app", "shop", "work_mem=16MB"],
            &["-", "-", "x=1"],
        ]);
        role_settings(&of, &units, &mut draft);
        databases(&rows(&[&["shop", "50"]]), &mut draft);
        let pooled = |database: &str| Some(database == "shop");
        backends(&rows(&[&["shop", "12"], &["metrics", "3"], &["-", "1"]]), &pooled, &mut draft);
        let said: Vec<String> = draft.facts.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        let expected = "pg.backends.all = 16\npg.backends.others = 4\npg.database.shop.connection_limit = 50\n\
                        pg.database.shop.role_setting.app.work_mem = 16777216\npg.database.shop.setting.work_mem = 8388608\n\
                        pg.pending_restart.work_mem = true\npg.role.app.connection_limit = 20\n\
                        pg.role.app.setting.statement_timeout = 30000\npg.role.app.uses_reserved = false\n\
                        pg.role.root.connection_limit = -1\npg.role.root.uses_reserved = true\npg.setting.max_connections = 100\n\
                        pg.setting.statement_timeout = 0\npg.setting.work_mem = 4194304";
        assert_eq!(said.join("\n"), expected);
    }

    #[test]
    fn where_nobody_knows_who_is_pooled_nobody_is_said_to_be_another() {
        let mut draft = Draft::default();
        backends(&rows(&[&["shop", "12"]]), &|_| None, &mut draft);
        assert_eq!(draft.facts.into_iter().collect::<Vec<_>>(), [("pg.backends.all".to_owned(), "12".to_owned())]);
    }
}
