//! The local syslog: one datagram per line to the socket every Linux syslog listens on.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use poolwarden_watch::Level;

const SOCKET: &str = "/dev/log";

/// PgBouncer's facilities with syslog's numbers.
const FACILITIES: [(&str, u8); 12] = [
    ("user", 1),
    ("daemon", 3),
    ("auth", 4),
    ("authpriv", 10),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// Where lines go that syslog gets.
#[derive(Debug)]
pub(super) struct Syslog {
    facility: u8,
    ident: String,
    socket: UnixDatagram,
}

impl Syslog {
    /// Prepares to send; whether anybody listens is seen with each line, for a syslog is restarted now and then.
    pub(super) fn open(facility: &str, ident: &str) -> io::Result<Self> {
        let named = FACILITIES.iter().find(|(name, _)| name.eq_ignore_ascii_case(facility));
        let facility = named.map_or(3, |(_, number)| *number); // daemon: the configuration knows the names as well
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?; // a syslog that takes nothing must not hold up the log
        Ok(Self { facility, ident: ident.to_owned(), socket })
    }

    /// Sends one line; an error says that nobody took it.
    pub(super) fn send(&self, level: Level, message: &str) -> io::Result<()> {
        self.send_to(Path::new(SOCKET), level, message)
    }

    fn send_to(&self, socket: &Path, level: Level, message: &str) -> io::Result<()> {
        let severity = match level {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug => 7,
        };
        let priority = self.facility * 8 + severity; // at most 23 x 8 + 7
        // Without a time: every local syslog stamps what comes without one.
        let line = format!("<{priority}>{}[{}]: {message}", self.ident, std::process::id());
        self.socket.send_to(line.as_bytes(), socket).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_carries_facility_severity_and_ident() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let listener = UnixDatagram::bind(&path).unwrap();
        for (facility, level, priority) in
            [("local0", Level::Warn, 132), ("daemon", Level::Info, 30), ("AUTH", Level::Error, 35)]
        {
            Syslog::open(facility, "pooler").unwrap().send_to(&path, level, "stopping").unwrap();
            let mut bytes = [0; 128];
            let length = listener.recv(&mut bytes).unwrap();
            let expected = format!("<{priority}>pooler[{}]: stopping", std::process::id());
            assert_eq!(std::str::from_utf8(&bytes[..length]).unwrap(), expected);
        }
        assert!(Syslog::open("daemon", "x").unwrap().send_to(&dir.path().join("nobody"), Level::Info, "x").is_err());
    }
}
