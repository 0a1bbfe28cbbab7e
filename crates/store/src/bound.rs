//! Keeps the file within its bytes: the oldest go first, and what is needed for the truth stays.

use rusqlite::{Connection, OptionalExtension, Result, TransactionBehavior, params};

/// Versions and entries of the audit trail that stay whatever they take: the last weeks of a busy team.
const ALWAYS_KEPT: u64 = 100;
/// Rows removed at once: few, so that the log stays short too.
const ROWS_AT_ONCE: u64 = 16;
/// Below this there is no room for the tables and their log.
const LEAST: u64 = 256 << 10;
/// A longer log than this brings nothing.
const LOG_MOST: u64 = 4 << 20;
const PAGE: u64 = 4_096;

/// How the bytes are shared out between the database and its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    database: u64,
    log: u64,
}

impl Shares {
    /// What one transaction writes is for a moment too much in the database and in the log both, and the log grows by
    /// what the removals write. So eight times the log's share is kept free: half of the smallest bounds, 32 MiB of 2 GiB.
    pub(crate) fn of(max_size: u64) -> Self {
        let max_size = max_size.max(LEAST);
        let log = (max_size / 16).min(LOG_MOST);
        Self { database: max_size - 8 * log, log }
    }

    /// Has the connection keep the log to its share.
    pub(crate) fn apply(self, connection: &Connection) -> Result<()> {
        connection.pragma_update(None, "wal_autocheckpoint", (self.log / PAGE).cast_signed())?;
        // This pragma answers with a row.
        connection.pragma_update_and_check(None, "journal_size_limit", self.log.cast_signed(), |_| Ok(()))
    }
}

/// Removes the oldest until the database is within its share or nothing may go any more.
pub(crate) fn trim(connection: &mut Connection, shares: Shares) -> Result<()> {
    while size(connection)? > shares.database {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let removed = match oldest(&transaction)? {
            None => return Ok(()),
            Some(Oldest::Version) => transaction.execute(
                &format!(
                    "DELETE FROM version WHERE n IN (SELECT n {} ORDER BY n LIMIT {ROWS_AT_ONCE})",
                    removable_versions()
                ),
                [],
            )?,
            Some(Oldest::Audit) => transaction.execute(
                &format!(
                    "DELETE FROM audit WHERE id IN (SELECT id {} ORDER BY id LIMIT {ROWS_AT_ONCE})",
                    removable_audits()
                ),
                [],
            )?,
        };
        if removed == 0 {
            return Ok(());
        }
        give_back(&transaction)?;
        transaction.commit()?;
    }
    Ok(())
}

enum Oldest {
    Version,
    Audit,
}

/// Which of the two lists has the older head; none where nothing may go.
fn oldest(connection: &Connection) -> Result<Option<Oldest>> {
    let head = |from: &str, key: &str| {
        let sql = format!("SELECT at_ms {from} ORDER BY {key} LIMIT 1");
        connection.query_row(&sql, params![], |row| row.get::<_, i64>(0)).optional()
    };
    let version = head(&removable_versions(), "n")?;
    let audit = head(&removable_audits(), "id")?;
    Ok(match (version, audit) {
        (None, None) => None,
        (Some(_), None) => Some(Oldest::Version),
        (None, Some(_)) => Some(Oldest::Audit),
        (Some(version), Some(audit)) if version <= audit => Some(Oldest::Version),
        (Some(_), Some(_)) => Some(Oldest::Audit),
    })
}

fn removable_versions() -> String {
    let hundredth = ALWAYS_KEPT - 1;
    format!(
        "FROM version WHERE n < (SELECT n FROM version ORDER BY n DESC LIMIT 1 OFFSET {hundredth}) \
         AND n IS NOT (SELECT max(n) FROM version WHERE state = 'confirmed')"
    )
}

fn removable_audits() -> String {
    let hundredth = ALWAYS_KEPT - 1;
    format!("FROM audit WHERE id < (SELECT id FROM audit ORDER BY id DESC LIMIT 1 OFFSET {hundredth})")
}

/// Hands pages that are free back to the file system.
fn give_back(connection: &Connection) -> Result<()> {
    let mut statement = connection.prepare("PRAGMA incremental_vacuum")?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

fn size(connection: &Connection) -> Result<u64> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned);
    Ok(number("PRAGMA page_count")? * number("PRAGMA page_size")?)
}
