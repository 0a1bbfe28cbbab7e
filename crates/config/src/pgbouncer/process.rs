//! What PgBouncer's configuration says about the process itself, and what its words mean for it: pid file, log, user, socket.
//!
//! A TOML file has none of this: there a service manager, journald and our own log settings do the same work.

use std::time::Duration;

/// The part of a `pgbouncer.ini` that is about the process. With it poolwarden speaks as PgBouncer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// `pidfile`: where the process id is written; `None`: nowhere.
    pub pidfile: Option<String>,
    /// `logfile`: a file that gets every log line besides standard error; opened again at each reload.
    pub logfile: Option<String>,
    /// `syslog` with its facility and ident; `None`: off.
    pub syslog: Option<Syslog>,
    /// `log_connections`: say each login.
    pub log_connections: bool,
    /// `log_disconnections`: say each end of a connection and why.
    pub log_disconnections: bool,
    /// `log_pooler_errors`: say each error of ours that a client was sent.
    pub log_pooler_errors: bool,
    /// `log_stats`: write the averages into the log every `stats_period`.
    pub log_stats: bool,
    /// `stats_period`: what averages are over; never zero.
    pub stats_period: Duration,
    /// `verbose`: 0 to 3.
    pub verbose: u8,
    /// `user`: the unix user to become after the start; `None`: stay.
    pub user: Option<String>,
    /// `job_name`.
    pub job_name: String,
    /// `unix_socket_mode`: permissions of the socket's file, as in 0o777.
    pub unix_socket_mode: u32,
    /// `unix_socket_group`: group of the socket's file; `None`: the process's.
    pub unix_socket_group: Option<String>,
    /// `suspend_timeout`: longest SUSPEND waits for what is not sent yet.
    pub suspend_timeout: Duration,
    /// `conffile`: the file this came from, and the one the next reload reads.
    pub conffile: String,
    /// The poolwarden.toml that says the same, without passwords: what `import` prints.
    pub toml: String,
    /// Every `[pgbouncer]` setting as it stands, in PgBouncer's order: what `SHOW CONFIG` prints.
    pub settings: Vec<Standing>,
}

/// Where syslog lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// `syslog_facility`: `auth`, `authpriv`, `daemon`, `user` or `local0` to `local7`.
    pub facility: String,
    /// `syslog_ident`: the program's name in each line.
    pub ident: String,
}

/// One setting as `SHOW CONFIG` of PgBouncer prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub key: &'static str,
    /// Its value as PgBouncer would print it.
    pub value: String,
    /// Its default.
    pub default: &'static str,
    /// Whether a reload changes it.
    pub changeable: bool,
}
