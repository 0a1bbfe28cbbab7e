//! The console of a running PgBouncer or poolwarden: its version, its settings, its pools.

use std::collections::BTreeMap;

use anyhow::bail;
use poolwarden_proxy::{Rows, Talk};

use super::{Draft, machine, setting};

/// `is_here`: it runs on this machine.
pub(super) async fn ask(talk: &mut Talk, is_here: bool) -> anyhow::Result<Draft> {
    let mut draft = Draft::default();
    let version = talk.ask("SHOW VERSION").await.map_err(|why| anyhow::anyhow!("SHOW VERSION: {why}"))?;
    // Before 1.12 PgBouncer said it in a notice alone.
    let version = version.rows.first().and_then(|row| row.first()?.clone()).unwrap_or_default();
    let (whose, number) = match version.split_once(' ') {
        Some(("poolwarden", number)) => ("poolwarden", number),
        Some((_, number)) => ("pgbouncer", number),
        None => ("pgbouncer", ""),
    };
    if !number.is_empty() {
        draft.put(format!("{whose}.version"), number);
    }
    match talk.ask("SHOW CONFIG").await {
        Ok(rows) if rows.rows.is_empty() => bail!("it tells no settings: is it a console?"),
        Ok(rows) => config(&rows, &mut draft),
        Err(why) => draft.unseen.push(format!(
            "its settings are not told: SHOW CONFIG: {why}; ask as a user of admin_users or stats_users"
        )),
    }
    match talk.ask("SHOW POOLS").await {
        Ok(rows) => pools(whose, &rows, &mut draft),
        Err(why) => draft.unseen.push(format!("its pools are not told: SHOW POOLS: {why}")),
    }
    // Users of stats_users may not look at clients: no more is missing than who has no name.
    if let Ok(rows) = talk.ask("SHOW CLIENTS").await {
        clients(whose, &rows, &mut draft);
    }
    if let Some(backlog) = said(&draft, &["listen_backlog", "listen.backlog"]) {
        draft.put("process.backlog", backlog);
    }
    if is_here {
        machine::told(&mut draft);
        let pidfile = said(&draft, &["pidfile", "poolwarden.pidfile"]);
        if let Some(limit) = pidfile.and_then(|file| machine::descriptors(&file)) {
            draft.put("process.fd_limit", limit.to_string());
        }
    }
    Ok(draft)
}

/// A setting, by the name it has there.
fn said(draft: &Draft, names: &[&str]) -> Option<String> {
    let value = names.iter().find_map(|name| draft.facts.get(&setting(name)));
    value.filter(|value| !value.is_empty()).cloned()
}

/// How many clients there are, and how many of them have no application name.
fn clients(whose: &str, rows: &Rows, draft: &mut Draft) {
    let Some(name) = rows.column("application_name") else { return };
    let unnamed =
        rows.rows.iter().filter(|row| row.get(name).and_then(Option::as_deref).unwrap_or_default().is_empty());
    draft.put(format!("{whose}.clients_unnamed"), unnamed.count().to_string());
    draft.put(format!("{whose}.clients"), rows.rows.len().to_string());
    statements(rows, draft);
}

/// Statements that the one client of each database has prepared that has most of them: the pool sees at least as many.
fn statements(rows: &Rows, draft: &mut Draft) {
    let (Some(database), Some(prepared)) = (rows.column("database"), rows.column("prepared_statements")) else {
        return;
    };
    let mut most: BTreeMap<&str, u64> = BTreeMap::new();
    for row in &rows.rows {
        let count = row.get(prepared).and_then(|count| count.as_deref()?.parse::<u64>().ok());
        if let (Some(Some(database)), Some(count)) = (row.get(database), count) {
            let known = most.entry(database).or_default();
            *known = count.max(*known);
        }
    }
    for (database, count) in most.into_iter().filter(|(_, count)| *count > 0) {
        draft.put(format!("pool.{database}.statements_distinct"), count.to_string());
    }
}

fn config(rows: &Rows, draft: &mut Draft) {
    let (Some(key), Some(value)) = (rows.column("key"), rows.column("value")) else { return };
    for row in &rows.rows {
        if let (Some(Some(key)), Some(value)) = (row.get(key), row.get(value)) {
            draft.put(setting(key), value.clone().unwrap_or_default());
        }
    }
}

/// Clients and servers of each database now, its users together.
fn pools(whose: &str, rows: &Rows, draft: &mut Draft) {
    let Some(database) = rows.column("database") else { return };
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for row in &rows.rows {
        let Some(Some(name)) = row.get(database) else { continue };
        for column in ["cl_active", "cl_waiting", "sv_active", "sv_idle", "sv_used"] {
            let count = rows.column(column).and_then(|at| row.get(at)?.as_deref()?.parse::<u64>().ok());
            *sums.entry(format!("{whose}.pool.{name}.{column}")).or_default() += count.unwrap_or(0);
        }
    }
    for (key, sum) in sums {
        draft.put(key, sum.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(columns: &[&str], of: &[&[&str]]) -> Rows {
        let row = |row: &&[&str]| row.iter().map(|text| Some((*text).to_owned())).collect();
        Rows { columns: columns.iter().map(|name| (*name).to_owned()).collect(), rows: of.iter().map(row).collect() }
    }

    #[test]
    fn settings_and_pools_are_found_by_the_names_of_their_columns() {
        let mut draft = Draft::default();
        config(
            &rows(&["key", "value", "default", "changeable"], &[&["max_client_conn", "200", "100", "yes"]]),
            &mut draft,
        );
        let of =
            rows(&["database", "user", "cl_waiting", "sv_active"], &[&["app", "a", "3", "1"], &["app", "b", "4", "2"]]);
        pools("pgbouncer", &of, &mut draft);
        clients("pgbouncer", &rows(&["user", "application_name"], &[&["a", "web"], &["b", ""]]), &mut draft);
        let prepared =
            rows(&["database", "prepared_statements"], &[&["app", "7"], &["app", "40"], &["calm", "0"], &["odd", "x"]]);
        statements(&prepared, &mut draft);
        let told: Vec<&str> = draft.facts.keys().map(String::as_str).filter(|key| key.starts_with("pool.")).collect();
        assert_eq!(
            (told, draft.facts["pool.app.statements_distinct"].as_str()),
            (vec!["pool.app.statements_distinct"], "40")
        );
        assert_eq!(draft.facts["pgbouncer.clients"], "2");
        assert_eq!(draft.facts["pgbouncer.clients_unnamed"], "1");
        assert_eq!(said(&draft, &["none", "max_client_conn"]).unwrap(), "200");
        assert_eq!(draft.facts["pgbouncer.config.max_client_conn"], "200");
        assert_eq!(draft.facts["pgbouncer.pool.app.cl_waiting"], "7");
        assert_eq!(draft.facts["pgbouncer.pool.app.sv_active"], "3");
    }
}
