//! From what an ini says to the poolwarden.toml that says the same, with PgBouncer's defaults where it says nothing.
//!
//! Precedence is PgBouncer's: a user over a database over `[pgbouncer]`. What only concerns the process goes into [`Process`].

mod auth;
mod database;
mod listen;
mod server;

use std::time::Duration;

use super::World;
use super::catalogue::{CATALOGUE, Section, find};
use super::ini::{Ini, Spot};
use super::process::{Process, Standing, Syslog};
use super::sheet::Sheet;
use super::toml::{Path, Toml};
use super::value::{self, FOREVER};
use crate::secret::Secret;
use crate::unit::show_duration;

/// What an ini becomes.
#[derive(Debug)]
pub(crate) struct Translated {
    pub(crate) toml: Toml,
    pub(crate) process: Process,
    /// Passwords by the name of the variable that stands for each.
    pub(crate) variables: Vec<(String, Secret)>,
}

/// The work in progress.
struct Translation<'a> {
    ini: &'a mut Ini,
    sheet: &'a Sheet,
    world: &'a mut dyn World,
    toml: Toml,
    variables: Vec<(String, Secret)>,
}

/// Translates; what cannot be is said in `ini`.
pub(crate) fn translate(ini: &mut Ini, sheet: &Sheet, world: &mut dyn World) -> Translated {
    let mut t = Translation { ini, sheet, world, toml: Toml::default(), variables: Vec::new() };
    // PgBouncer sheds nothing and shares by arrival alone; whoever wants more writes guard = "enforce" into the printed file.
    t.toml.text_of(&Path::top("poolwarden"), "guard", "observe", None);
    t.listen();
    t.limits();
    t.auth();
    t.console();
    t.servers_and_pools();
    t.users();
    let process = t.process();
    Translated { process, variables: t.variables, toml: t.toml }
}

impl Translation<'_> {
    /// A setting of `[pgbouncer]` as text: as written, else its default.
    fn text(&self, name: &str) -> &str {
        let default = || find(Section::Pgbouncer, name).map_or("", |entry| entry.default);
        self.sheet.main.text(name).unwrap_or_else(default)
    }

    /// Where it is written; `None`: it is not.
    fn spot(&self, name: &str) -> Option<Spot> {
        self.sheet.main.spot(name).cloned()
    }

    /// Where it is written, else the start of the first file.
    fn place(&self, name: &str) -> Spot {
        self.spot(name).unwrap_or(Spot { file: 0, span: 0..0 })
    }

    /// A number; what could not be read as one was refused before.
    fn number(&self, name: &str) -> i64 {
        value::number(self.text(name)).unwrap_or_default()
    }

    fn flag(&self, name: &str) -> bool {
        self.number(name) != 0
    }

    fn seconds(&self, name: &str) -> Duration {
        value::seconds(self.text(name)).unwrap_or_default()
    }

    /// A comma-separated list, without empty items.
    fn list(&self, name: &str) -> Vec<String> {
        let items = self.text(name).split(',').map(str::trim_ascii);
        items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// A path from where PgBouncer looks, as a TOML elsewhere can name it.
    fn path(&self, path: &str) -> String {
        if path.starts_with('/') {
            return path.to_owned();
        }
        format!("{}/{path}", self.world.directory().trim_end_matches('/'))
    }

    fn error(&mut self, name: &str, message: String, fix: &str) {
        let spot = self.place(name);
        self.ini.error("refused", &spot, message, fix.to_owned());
    }

    /// Writes a path if it is set.
    fn put_path(&mut self, table: &Path, key: &str, name: &str) {
        let path = self.text(name);
        if !path.is_empty() {
            let (path, spot) = (self.path(path), self.spot(name));
            self.toml.text_of(table, key, &path, spot.as_ref());
        }
    }

    /// The number in our bounds; one outside is an error of the ini.
    fn bounded(&mut self, name: &str, least: i64, most: i64) -> i64 {
        let number = self.number(name);
        if !(least..=most).contains(&number) {
            let nearest = number.clamp(least, most);
            self.error(
                name,
                format!("{name} = {number} is outside {least} to {most}"),
                &format!("write {name} = {nearest}"),
            );
        }
        number.clamp(least, most)
    }

    fn limits(&mut self) {
        let table = Path::top("limits");
        let clients = self.bounded("max_client_conn", 1, 10_000_000);
        self.toml.put(&table, "max_clients", clients.to_string(), self.spot("max_client_conn").as_ref());
        let login = endless(self.seconds("client_login_timeout"));
        let login = duration(login);
        self.toml.put(&table, "login_timeout", login, self.spot("client_login_timeout").as_ref());
        self.toml.put(&table, "max_any_pools", "100000".to_owned(), None);
        let peer = self.bounded("peer_id", 0, 255);
        if peer > 0 {
            let spot = self.spot("peer_id");
            self.toml.put(&Path::top("poolwarden"), "instance_id", peer.to_string(), spot.as_ref());
        }
        self.peers(peer);
    }

    /// As in PgBouncer: without an id of one's own nobody is a peer, and one's own entry is overlooked.
    fn peers(&mut self, own: i64) {
        for line in self.sheet.peers.values().filter(|_| own > 0) {
            let id = value::leading(&line.name.text).map_or(0, |(id, _)| id);
            if id == own {
                continue;
            }
            if !(1..=255).contains(&id) {
                let message = format!("peer {}: an id is a number from 1 to 255", line.name.text);
                self.ini.error("refused", &line.name.spot, message, "number the peers from 1".to_owned());
                continue;
            }
            let table = Path::named("peers", &id.to_string());
            self.toml.table(&table, Some(&line.name.spot));
            match line.given.word("host") {
                Some(host) => self.toml.text_of(&table, "host", &host.text, Some(&host.spot)),
                None => {
                    let message = format!("peer {} has no host", line.name.text);
                    self.ini.error("missing", &line.name.spot, message, "write host=".to_owned());
                }
            }
            let port = line.given.leading("port").unwrap_or(6432);
            self.toml.put(&table, "port", port.to_string(), line.given.spot("port"));
        }
    }

    fn console(&mut self) {
        let table = Path::top("console");
        let any = self.text("auth_type").eq_ignore_ascii_case("any");
        let everybody = || vec!["*".to_owned()];
        let admins = if any { everybody() } else { self.list("admin_users") };
        let from = if any { "auth_type" } else { "admin_users" };
        self.toml.list(&table, "admins", &admins, self.spot(from).as_ref());
        let readers = self.list("stats_users");
        self.toml.list(&table, "readers", &readers, self.spot("stats_users").as_ref());
    }

    fn process(&self) -> Process {
        let some = |name: &str| Some(self.text(name).to_owned()).filter(|text| !text.is_empty());
        let syslog =
            Syslog { facility: self.text("syslog_facility").to_owned(), ident: self.text("syslog_ident").to_owned() };
        let conffile = some("conffile").unwrap_or_else(|| self.ini.sources[0].name.clone());
        Process {
            toml: String::new(), // once all of it is translated
            pidfile: some("pidfile").map(|path| self.path(&path)),
            logfile: some("logfile").map(|path| self.path(&path)),
            syslog: self.flag("syslog").then_some(syslog),
            log_connections: self.flag("log_connections"),
            log_disconnections: self.flag("log_disconnections"),
            log_pooler_errors: self.flag("log_pooler_errors"),
            log_stats: self.flag("log_stats"),
            stats_period: Duration::from_secs(u64::try_from(self.number("stats_period")).unwrap_or(1).max(1)),
            verbose: u8::try_from(self.number("verbose").clamp(0, 3)).unwrap_or_default(),
            user: some("user"),
            job_name: self.text("job_name").to_owned(),
            unix_socket_mode: u32::try_from(self.number("unix_socket_mode") & 0o7777).unwrap_or(0o777),
            unix_socket_group: some("unix_socket_group"),
            suspend_timeout: self.seconds("suspend_timeout"),
            settings: self.standing(&conffile),
            conffile,
        }
    }

    fn standing(&self, conffile: &str) -> Vec<Standing> {
        let main = CATALOGUE.iter().filter(|entry| entry.section == Section::Pgbouncer);
        let value = |name: &str| if name == "conffile" { conffile.to_owned() } else { self.text(name).to_owned() };
        main.map(|entry| Standing {
            key: entry.name,
            value: value(entry.name),
            default: entry.default,
            changeable: entry.live,
        })
        .collect()
    }
}

/// A TOML duration.
fn duration(time: Duration) -> String {
    format!("\"{}\"", show_duration(time.min(FOREVER)))
}

/// PgBouncer's 0 is no limit.
fn endless(time: Duration) -> Duration {
    if time.is_zero() { FOREVER } else { time }
}

/// Whole seconds of a connection string; below zero counts as not set.
fn whole(number: i64) -> Option<Duration> {
    u64::try_from(number).ok().map(Duration::from_secs)
}
