//! PgBouncer's log lines about single clients, which its tools read.

use std::net::SocketAddr;

use poolwarden_config::pgbouncer::Process;
use poolwarden_switch::{Passage, Passing};
use poolwarden_watch::Level;

/// The line, if the configuration asks for it.
pub(super) fn line(process: &Process, passage: &Passage) -> Option<(Level, String)> {
    let (database, user) = (&passage.key.database, &passage.key.user);
    let from = passage.remote.map_or_else(|| "unix".to_owned(), |remote: SocketAddr| remote.to_string());
    let said = match &passage.what {
        Passing::Came => process.log_connections.then(|| format!("login attempt: db={database} user={user}")),
        Passing::Went { why, age } => {
            let why = why.as_deref().unwrap_or("client close request");
            process.log_disconnections.then(|| format!("closing because: {why} (age={}s)", age.as_secs()))
        }
        Passing::Refused(text) => process.log_pooler_errors.then(|| format!("pooler error: {text}")),
    };
    let level = match passage.what {
        Passing::Came | Passing::Went { .. } => Level::Info,
        Passing::Refused(_) => Level::Warn,
    };
    said.map(|said| (level, format!("C-{:#x}: {database}/{user}@{from} {said}", passage.serial)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use poolwarden_pool::PoolKey;

    use super::*;

    fn process(said: bool) -> Process {
        Process {
            pidfile: None,
            logfile: None,
            syslog: None,
            log_connections: said,
            log_disconnections: said,
            log_pooler_errors: said,
            log_stats: said,
            stats_period: Duration::from_secs(60),
            verbose: 0,
            user: None,
            job_name: "pgbouncer".to_owned(),
            unix_socket_mode: 0o777,
            unix_socket_group: None,
            suspend_timeout: Duration::from_secs(10),
            conffile: "pgbouncer.ini".to_owned(),
            toml: String::new(),
            settings: Vec::new(),
        }
    }

    #[test]
    fn each_line_reads_as_pgbouncers_and_only_where_it_is_asked_for() {
        let went = |why: Option<&str>| Passing::Went { why: why.map(str::to_owned), age: Duration::from_millis(2_900) };
        let cases = [
            (Passing::Came, Level::Info, "login attempt: db=shop user=web"),
            (went(None), Level::Info, "closing because: client close request (age=2s)"),
            (went(Some("query timeout")), Level::Info, "closing because: query timeout (age=2s)"),
            (Passing::Refused("query_wait_timeout".to_owned()), Level::Warn, "pooler error: query_wait_timeout"),
        ];
        for (what, level, said) in cases {
            let key = PoolKey { database: "shop".to_owned(), user: "web".to_owned() };
            let remote = Some("10.1.2.3:53412".parse().unwrap());
            let passage = Passage { serial: 31, key, remote, what };
            let expected = format!("C-0x1f: shop/web@10.1.2.3:53412 {said}");
            assert_eq!(line(&process(true), &passage), Some((level, expected)));
            assert_eq!(line(&process(false), &passage), None);
        }
    }
}
