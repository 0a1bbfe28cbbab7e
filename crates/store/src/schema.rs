//! The tables, and the way to them from any earlier release: forward only, one transaction a step.
//!
//! `user_version` counts the steps taken; `application_id` says that the file is ours. A file with more steps than we
//! know is of a newer release and left as it is.

use rusqlite::{Connection, TransactionBehavior};

use crate::fault::Fault;

/// "pwhs" in ASCII: a history of poolwarden.
pub(crate) const APPLICATION: i64 = 0x7077_6873;

/// Every step there ever was. A release adds to the end and changes none.
pub(crate) const STEPS: [&str; 1] = ["
    CREATE TABLE version (
        n INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        by TEXT NOT NULL,
        reason TEXT,
        text TEXT NOT NULL,
        hash TEXT NOT NULL,
        state TEXT NOT NULL,
        until_ms INTEGER,
        why TEXT,
        back_to INTEGER
    ) STRICT;
    CREATE INDEX version_state ON version (state, n);
    CREATE TABLE change (
        n INTEGER NOT NULL REFERENCES version ON DELETE CASCADE,
        place INTEGER NOT NULL,
        key TEXT NOT NULL,
        old TEXT,
        new TEXT,
        PRIMARY KEY (n, place)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE effect (
        n INTEGER PRIMARY KEY REFERENCES version ON DELETE CASCADE,
        sentence TEXT NOT NULL
    ) STRICT;
    CREATE TABLE measures (
        n INTEGER NOT NULL REFERENCES effect ON DELETE CASCADE,
        place INTEGER NOT NULL,
        server TEXT NOT NULL,
        database TEXT NOT NULL,
        user TEXT NOT NULL,
        side TEXT NOT NULL,
        window_ms INTEGER NOT NULL,
        arrivals_per_ks INTEGER NOT NULL,
        waiting_milli INTEGER NOT NULL,
        refused INTEGER NOT NULL,
        wait_p99_us INTEGER,
        binding TEXT,
        PRIMARY KEY (n, place, side)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        by TEXT NOT NULL,
        verb TEXT NOT NULL,
        target TEXT NOT NULL,
        outcome TEXT NOT NULL
    ) STRICT;
    CREATE TABLE ledger (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        next INTEGER NOT NULL,
        batch TEXT NOT NULL
    ) STRICT;
"];

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No table yet.
    Empty,
    /// Ours; so many steps were taken.
    Ours(usize),
    /// Another program's.
    Foreign,
}

pub(crate) fn kind(connection: &Connection) -> Result<Kind, rusqlite::Error> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let (application, steps) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    Ok(match (application == APPLICATION, tables) {
        (true, _) => usize::try_from(steps).map_or(Kind::Foreign, Kind::Ours),
        (false, 0) => Kind::Empty,
        (false, _) => Kind::Foreign,
    })
}

/// Takes the steps that are missing.
pub(crate) fn migrate(connection: &mut Connection, steps: &[&str]) -> Result<(), Fault> {
    let taken = match kind(connection)? {
        Kind::Empty => 0,
        Kind::Ours(taken) if taken > steps.len() => return Err(newer(taken, steps.len())),
        Kind::Ours(taken) => taken,
        Kind::Foreign => return Err(foreign()),
    };
    for (done, step) in (1_i64..).zip(steps).skip(taken) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", done)?;
        transaction.commit()?;
    }
    Ok(())
}

pub(crate) fn newer(taken: usize, known: usize) -> Fault {
    Fault::Newer(format!(
        "it is of a newer release (schema {taken}, this one knows {known}): read and not altered; start the newer release, or give this one another data_dir"
    ))
}

pub(crate) fn foreign() -> Fault {
    Fault::Broken("it is a database of another program: move it away, or give poolwarden another data_dir".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "CREATE TABLE deed (what TEXT) STRICT; INSERT INTO deed VALUES ('old');";
    const SECOND: &str = "ALTER TABLE deed ADD COLUMN by TEXT; UPDATE deed SET by = 'nobody';";

    #[test]
    fn an_older_file_takes_the_steps_it_lacks_and_keeps_what_it_has() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &[FIRST]).unwrap();
        assert_eq!(kind(&connection).unwrap(), Kind::Ours(1));
        migrate(&mut connection, &[FIRST, SECOND]).unwrap();
        migrate(&mut connection, &[FIRST, SECOND]).unwrap();
        assert_eq!(kind(&connection).unwrap(), Kind::Ours(2));
        let row = connection.query_row("SELECT what, by FROM deed", [], |row| Ok((row.get(0)?, row.get(1)?)));
        assert_eq!(row, Ok(("old".to_owned(), "nobody".to_owned())));
    }

    #[test]
    fn a_step_that_fails_leaves_the_file_at_the_step_before() {
        let mut connection = Connection::open_in_memory().unwrap();
        let broken = "CREATE TABLE half (a TEXT) STRICT; INSERT INTO nowhere VALUES (1);";
        assert!(migrate(&mut connection, &[FIRST, broken]).is_err());
        assert_eq!(kind(&connection).unwrap(), Kind::Ours(1));
        let half = connection.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'half'", [], |row| row.get(0));
        assert_eq!(half, Ok(0));
    }

    #[test]
    fn a_file_of_a_newer_release_or_another_program_takes_no_step() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &[FIRST, SECOND]).unwrap();
        assert!(matches!(migrate(&mut connection, &[FIRST]), Err(Fault::Newer(_))));
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE theirs (a)").unwrap();
        assert!(matches!(migrate(&mut connection, &[FIRST]), Err(Fault::Broken(_))));
    }
}
