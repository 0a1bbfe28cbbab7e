//! Rows from values and values from rows: the one place that knows both the columns and our types.
//!
//! A count of 64 bits is kept as the signed integer of the same bits, since SQLite has no other; what is sorted by
//! (numbers of versions, times) is far below the sign.

use rusqlite::types::Type;
use rusqlite::{Connection, Error, OptionalExtension, Result, Row, params};

use crate::audit::Entry;
use crate::version::{Effect, KeyChange, Measures, NewVersion, PoolEffect, Version, VersionState};

/// Words of the column `state`.
const CONFIRMED: &str = "confirmed";
const TENTATIVE: &str = "tentative";
const UNDONE: &str = "undone";
const ROLLED_BACK: &str = "rolled_back";
const SUPERSEDED: &str = "superseded";
const REFUSED: &str = "refused";
const INTERRUPTED: &str = "interrupted";

/// Words of the column `side`.
const BEFORE: &str = "before";
const AFTER: &str = "after";

const COLUMNS: &str = "n, at_ms, by, reason, text, hash, state, until_ms, why, back_to";

/// A state as its columns: the word, and what belongs to it.
struct StateColumns<'a> {
    word: &'static str,
    until_ms: Option<u64>,
    why: Option<&'a str>,
    back_to: Option<u64>,
}

impl<'a> StateColumns<'a> {
    fn of(state: &'a VersionState) -> Self {
        let plain = |word| Self { word, until_ms: None, why: None, back_to: None };
        match state {
            VersionState::Confirmed => plain(CONFIRMED),
            VersionState::Tentative { until_ms } => Self { until_ms: Some(*until_ms), ..plain(TENTATIVE) },
            VersionState::Undone { why } => Self { why: Some(why), ..plain(UNDONE) },
            VersionState::RolledBack { to } => Self { back_to: Some(*to), ..plain(ROLLED_BACK) },
            VersionState::Superseded => plain(SUPERSEDED),
            VersionState::Refused { why } => Self { why: Some(why), ..plain(REFUSED) },
            VersionState::Interrupted => plain(INTERRUPTED),
        }
    }
}

pub(crate) fn insert_version(connection: &Connection, n: u64, new: &NewVersion) -> Result<()> {
    let state = StateColumns::of(&new.state);
    connection.prepare("INSERT INTO version VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?.execute(params![
        n.cast_signed(),
        new.at_ms.cast_signed(),
        new.by,
        new.reason,
        new.text,
        new.hash,
        state.word,
        state.until_ms.map(u64::cast_signed),
        state.why,
        state.back_to.map(u64::cast_signed),
    ])?;
    let mut change = connection.prepare("INSERT INTO change VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (place, KeyChange { key, from, to }) in (0_i64..).zip(&new.changes) {
        change.execute(params![n.cast_signed(), place, key, from, to])?;
    }
    Ok(())
}

/// Whether there is such a version.
pub(crate) fn update_state(connection: &Connection, n: u64, state: &VersionState) -> Result<bool> {
    let state = StateColumns::of(state);
    let sql = "UPDATE version SET state = ?2, until_ms = ?3, why = ?4, back_to = ?5 WHERE n = ?1";
    let until_ms = state.until_ms.map(u64::cast_signed);
    let back_to = state.back_to.map(u64::cast_signed);
    let rows = connection.prepare(sql)?.execute(params![n.cast_signed(), state.word, until_ms, state.why, back_to])?;
    Ok(rows == 1)
}

/// Whether there is such a version.
pub(crate) fn put_effect(connection: &Connection, n: u64, effect: &Effect) -> Result<bool> {
    let n = n.cast_signed();
    // what was measured before goes with it
    connection.prepare("DELETE FROM effect WHERE n = ?1")?.execute([n])?;
    let sql = "INSERT INTO effect SELECT n, ?2 FROM version WHERE n = ?1";
    if connection.prepare(sql)?.execute(params![n, effect.sentence])? == 0 {
        return Ok(false);
    }
    let mut statement =
        connection.prepare("INSERT INTO measures VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)")?;
    for (place, pool) in (0_i64..).zip(&effect.pools) {
        for (side, measures) in [(BEFORE, &pool.before), (AFTER, &pool.after)] {
            statement.execute(params![
                n,
                place,
                pool.server,
                pool.database,
                pool.user,
                side,
                measures.window_ms.cast_signed(),
                measures.arrivals_per_ks.cast_signed(),
                measures.waiting_milli.cast_signed(),
                measures.refused.cast_signed(),
                measures.wait_p99_us.map(u64::cast_signed),
                measures.binding,
            ])?;
        }
    }
    Ok(true)
}

pub(crate) fn insert_audit(connection: &Connection, entry: &Entry) -> Result<()> {
    connection
        .prepare("INSERT INTO audit (at_ms, by, verb, target, outcome) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![entry.at_ms.cast_signed(), entry.by, entry.verb, entry.target, entry.outcome])?;
    Ok(())
}

/// The newest `limit` below `before`, newest first.
pub(crate) fn versions(connection: &Connection, limit: u32, before: Option<u64>) -> Result<Vec<Version>> {
    let below = before.map_or(i64::MAX, |n| i64::try_from(n).unwrap_or(i64::MAX));
    let sql = format!("SELECT {COLUMNS} FROM version WHERE n < ?1 ORDER BY n DESC LIMIT ?2");
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map(params![below, limit], bare_version)?;
    rows.map(|row| complete(connection, row?)).collect()
}

pub(crate) fn version(connection: &Connection, n: u64) -> Result<Option<Version>> {
    let sql = format!("SELECT {COLUMNS} FROM version WHERE n = ?1");
    let bare = connection.query_row(&sql, [n.cast_signed()], bare_version).optional()?;
    bare.map(|version| complete(connection, version)).transpose()
}

pub(crate) fn last_confirmed(connection: &Connection) -> Result<Option<Version>> {
    let sql = format!("SELECT {COLUMNS} FROM version WHERE state = ?1 ORDER BY n DESC LIMIT 1");
    let bare = connection.query_row(&sql, [CONFIRMED], bare_version).optional()?;
    bare.map(|version| complete(connection, version)).transpose()
}

/// The newest `limit`, newest first.
pub(crate) fn audits(connection: &Connection, limit: u32) -> Result<Vec<Entry>> {
    let sql = "SELECT at_ms, by, verb, target, outcome FROM audit ORDER BY id DESC LIMIT ?1";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([limit], |row| {
        Ok(Entry {
            at_ms: count(row, 0)?,
            by: row.get(1)?,
            verb: row.get(2)?,
            target: row.get(3)?,
            outcome: row.get(4)?,
        })
    })?;
    rows.collect()
}

/// A version without what stands in tables of its own.
fn bare_version(row: &Row<'_>) -> Result<Version> {
    Ok(Version {
        n: count(row, 0)?,
        at_ms: count(row, 1)?,
        by: row.get(2)?,
        reason: row.get(3)?,
        changes: Vec::new(),
        text: row.get(4)?,
        hash: row.get(5)?,
        state: state(row)?,
        effect: None,
    })
}

fn complete(connection: &Connection, mut version: Version) -> Result<Version> {
    let mut statement = connection.prepare("SELECT key, old, new FROM change WHERE n = ?1 ORDER BY place")?;
    let changes = statement.query_map([version.n.cast_signed()], |row| {
        Ok(KeyChange { key: row.get(0)?, from: row.get(1)?, to: row.get(2)? })
    })?;
    version.changes = changes.collect::<Result<_>>()?;
    let sql = "SELECT sentence FROM effect WHERE n = ?1";
    let sentence = connection.prepare(sql)?.query_row([version.n.cast_signed()], |row| row.get(0)).optional()?;
    version.effect = match sentence {
        Some(sentence) => Some(Effect { sentence, pools: pools(connection, version.n)? }),
        None => None,
    };
    Ok(version)
}

fn pools(connection: &Connection, n: u64) -> Result<Vec<PoolEffect>> {
    let sides = |side: &str| -> Result<Vec<PoolEffect>> {
        let sql = "SELECT window_ms, arrivals_per_ks, waiting_milli, refused, wait_p99_us, binding, server, database, user \
                   FROM measures WHERE n = ?1 AND side = ?2 ORDER BY place";
        let read = |row: &Row<'_>| {
            let measures = measures(row)?;
            let (server, database, user) = (row.get(6)?, row.get(7)?, row.get(8)?);
            Ok(PoolEffect { server, database, user, before: measures.clone(), after: measures })
        };
        connection.prepare(sql)?.query_map(params![n.cast_signed(), side], read)?.collect()
    };
    let (before, after) = (sides(BEFORE)?, sides(AFTER)?);
    Ok(before.into_iter().zip(after).map(|(before, after)| PoolEffect { after: after.after, ..before }).collect())
}

fn measures(row: &Row<'_>) -> Result<Measures> {
    Ok(Measures {
        window_ms: count(row, 0)?,
        arrivals_per_ks: count(row, 1)?,
        waiting_milli: count(row, 2)?,
        refused: count(row, 3)?,
        wait_p99_us: row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
        binding: row.get(5)?,
    })
}

fn state(row: &Row<'_>) -> Result<VersionState> {
    let word: String = row.get(6)?;
    Ok(match word.as_str() {
        CONFIRMED => VersionState::Confirmed,
        TENTATIVE => VersionState::Tentative { until_ms: count(row, 7)? },
        UNDONE => VersionState::Undone { why: row.get(8)? },
        ROLLED_BACK => VersionState::RolledBack { to: count(row, 9)? },
        SUPERSEDED => VersionState::Superseded,
        REFUSED => VersionState::Refused { why: row.get(8)? },
        INTERRUPTED => VersionState::Interrupted,
        _ => {
            let why = format!("a version is in the state \"{word}\", which this release does not know");
            return Err(Error::FromSqlConversionFailure(6, Type::Text, why.into()));
        }
    })
}

fn count(row: &Row<'_>, column: usize) -> Result<u64> {
    row.get(column).map(i64::cast_unsigned)
}
