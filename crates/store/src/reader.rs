//! Reads on connections of their own: no reader waits for the writer, and none can alter the file.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::lock::beside;

/// A reader waits for nobody but a crash's repair.
const BUSY: Duration = Duration::from_secs(1);

/// Opens the database for reading alone.
pub(crate) fn open(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = ready(Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?);
    match connection {
        Err(error) if is_read_only(&error) && has_no_log(path) => {
            // Nobody can write there, and nothing waits in the log: the file alone is the whole truth.
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
            ready(Connection::open_with_flags(unchanging(path), flags)?)
        }
        Ok(_) | Err(_) => connection,
    }
}

fn ready(connection: Connection) -> Result<Connection, rusqlite::Error> {
    connection.busy_timeout(BUSY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

/// What SQLite says where it can make no index of the log.
fn is_read_only(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

fn has_no_log(path: &Path) -> bool {
    std::fs::metadata(beside(path, "-wal")).map_or(true, |log| log.len() == 0)
}

fn unchanging(path: &Path) -> String {
    let escaped: String = path.as_os_str().as_bytes().iter().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("%{byte:02x}")),
        }
        text
    });
    format!("file:{escaped}?immutable=1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_signs_of_a_uri_stays_a_path() {
        assert_eq!(unchanging(Path::new("/a b/h?x#y%.db")), "file:/a%20b/h%3fx%23y%25.db?immutable=1");
    }
}
