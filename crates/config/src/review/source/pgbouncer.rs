//! pgbouncer.ini with its includes and its user list: the pooler it describes, and what the files have wrong.
//!
//! What a PgBouncer does with it counts, not what poolwarden would: a setting that is refused here is none of its faults.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use poolwarden_pool::Mode;

use super::Read;
use super::draft::Draft;
use super::poolwarden::{least, most, of_pools};
use crate::finding::Severity;
use crate::pgbouncer::ini::{Ini, Spot};
use crate::pgbouncer::sheet::{Given, Line, Sheet};
use crate::pgbouncer::{Section, World, find, value};
use crate::review::chain::{Bound, Kind, Limit, Maybe, Pool, Pooler};
use crate::review::dossier::Text;
use crate::review::place::Known;
use crate::userlist;

/// Whose defaults.
const THEIRS: &str = "PgBouncer's";
/// Any database, any user.
const ANY: &str = "*";
/// What is said about poolwarden, not about the file.
const OURS: [&str; 2] = ["refused", "needless"];

/// Last parts of the paths that the inputs include: those are read as parts of the others.
pub(super) fn included<'a>(files: &[(&'a str, &'a str)]) -> BTreeSet<&'a str> {
    let lines = files.iter().flat_map(|(name, text)| text.lines().map(move |line| (*name, line)));
    let path = |(name, line): (&'a str, &'a str)| {
        let path = line.trim().strip_prefix("%include")?.trim();
        Some(super::last(path)).filter(|path| !path.is_empty() && *path != super::last(name))
    };
    lines.filter_map(path).collect()
}

/// The files that an ini names, by the review's own way to them.
struct Files<'a, 'b> {
    entry: (&'a str, &'a str),
    read: &'a mut Read<'b>,
}

impl World for Files<'_, '_> {
    fn read(&mut self, path: &str) -> Result<String, String> {
        if path == self.entry.0 {
            return Ok(self.entry.1.to_owned());
        }
        // A running PgBouncer starts at its working directory, which nobody here knows: most write paths for the file's own.
        let folder = self.entry.0.rsplit_once('/').filter(|_| !path.starts_with('/'));
        let beside = folder.and_then(|(folder, _)| (self.read)(&format!("{folder}/{path}")).ok());
        beside.map_or_else(|| (self.read)(path), Ok)
    }

    fn addresses(&mut self, _name: &str) -> Result<Vec<IpAddr>, String> {
        Ok(Vec::new())
    }

    fn directory(&self) -> String {
        self.entry.0.rsplit_once('/').map_or(".", |(folder, _)| folder).to_owned()
    }
}

/// Reads one ini and all it includes.
pub(super) fn read(name: &str, text: &str, out: &mut Draft, read: &mut Read<'_>) -> Result<(), String> {
    let mut files = Files { entry: (name, text), read };
    let mut ini = Ini::read(name, &mut files)?;
    let sheet = Sheet::fill(&mut ini, &[]);
    let base = out.dossier.texts.len();
    for (file, source) in ini.settled().into_iter().enumerate() {
        out.dossier.texts.push(Text { name: source.name, text: source.text });
        let matters = |code: &str| !OURS.contains(&code);
        for found in source.findings {
            if found.severity > Severity::Info && matters(found.code) {
                out.found(base + file, found);
            }
        }
    }
    let listed = sheet.main.text("auth_file").and_then(|path| files.read(path).ok());
    let view = View { sheet: &sheet, base };
    let logins = view.logins(listed.as_deref().unwrap_or(""));
    let pooler = view.pooler(name, &logins, out);
    out.dossier.poolers.push(pooler);
    Ok(())
}

/// What the files say, with the places of the dossier.
struct View<'a> {
    sheet: &'a Sheet,
    base: usize,
}

impl View<'_> {
    fn pooler(&self, name: &str, logins: &BTreeSet<String>, out: &mut Draft) -> Pooler {
        let pools = self.sheet.databases.values().map(|line| self.pool(line, logins, out)).collect();
        let names = |key: &str, of: &Given| self.given(of, key, |text| Some(text.to_owned()));
        let ignored = names("ignore_startup_parameters", &self.sheet.main).map_or_else(Vec::new, |known| {
            let list = known.value.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty());
            list.map(|value| Known { value, place: known.place.clone() }).collect()
        });
        let notices = [
            ("query_wait_notify", self.flag("query_wait_notify")),
            ("log_pooler_errors", self.flag("log_pooler_errors")),
        ];
        Pooler {
            kind: Kind::PgBouncer,
            name: name.to_owned(),
            instances: self.instances(),
            max_clients: self.main("max_client_conn", |text| number(text).map(Bound::Of)),
            pools,
            users: self.user_limits(),
            budgets: BTreeMap::new(),
            auto_budgets: BTreeSet::new(),
            any_user: Some(self.any_user()),
            login_retry: Some(self.main("server_login_retry", wait)),
            client_idle: least(self.all("client_idle_timeout")),
            server_idle: Some(self.main("server_idle_timeout", limit)),
            lifetime: least(self.lifetimes()),
            lifetime_jitter: Some(Known::default_of(0.0, THEIRS)),
            idle_transaction: most(self.all("idle_transaction_timeout")),
            query: most(self.all("query_timeout")),
            keepalive_idle: Some(self.keepalive()),
            tcp_user_timeout: Some(self.main("tcp_user_timeout", |text| {
                let millis = number(text)?;
                Some(if millis == 0 { Limit::Never } else { Limit::After(Duration::from_millis(millis)) })
            })),
            backlog: Some(self.main("listen_backlog", number)),
            ignored_startup: ignored,
            prepared: Some(self.main("max_prepared_statements", number)),
            notices: notices.into(),
            written: self.written(),
        }
    }

    /// One line of `[databases]`.
    fn pool(&self, line: &Line, logins: &BTreeSet<String>, out: &mut Draft) -> Pool {
        let given = &line.given;
        let host = given.text("host").unwrap_or("unix socket").to_owned();
        let port = given.leading("port").and_then(|port| u16::try_from(port).ok()).unwrap_or(5432);
        let named = if port == 5432 { host.clone() } else { format!("{host}:{port}") };
        let server = out.server(&named, Some((host, port)));
        let forced = given.text("user").map(str::to_owned);
        let users: Vec<String> = forced.map_or_else(|| logins.iter().cloned().collect(), |user| vec![user]);
        let default = self.main("default_pool_size", size);
        let of_user = match users.as_slice() {
            [user] => self.sheet.users.get(user).and_then(|line| self.given(&line.given, "pool_size", size)),
            _ => None,
        };
        let own_size = |user: &String| {
            let line = self.sheet.users.get(user).filter(|_| users.len() > 1)?;
            Some((user.clone(), self.given(&line.given, "pool_size", size)?))
        };
        let own_sizes = users.iter().filter_map(own_size).collect();
        let own = of_user.or_else(|| self.given(given, "pool_size", size));
        let shadowed = own.is_some().then(|| default.clone()).filter(Known::is_given);
        let or_main =
            |own: &str, main: &str| self.given(given, own, leading).unwrap_or_else(|| self.main(main, number));
        let reserve = self.given(given, "reserve_pool", leading);
        let name = line.name.text.clone();
        let database =
            given.text("dbname").map(str::to_owned).or_else(|| Some(name.clone()).filter(|name| name != ANY));
        let max_wait = self.given(given, "query_wait_timeout", limit);
        Pool {
            name: self.known(name, &line.name.spot),
            database,
            server,
            own_sizes,
            users,
            size: own.unwrap_or(default),
            shadowed,
            min_size: or_main("min_pool_size", "min_pool_size"),
            reserve: reserve.unwrap_or_else(|| or_main("reserve_pool_size", "reserve_pool_size")),
            reserve_after: self.main("reserve_pool_timeout", limit),
            max_connections: self
                .given(given, "max_db_connections", bound)
                .unwrap_or_else(|| self.main("max_db_connections", bound)),
            max_clients: Some(
                self.given(given, "max_db_client_connections", bound)
                    .unwrap_or_else(|| self.main("max_db_client_connections", bound)),
            ),
            mode: self.given(given, "pool_mode", mode).unwrap_or_else(|| self.main("pool_mode", mode)),
            max_wait: max_wait.unwrap_or_else(|| self.main("query_wait_timeout", limit)),
        }
    }

    fn known<T>(&self, value: T, spot: &Spot) -> Known<T> {
        Known::written(value, self.base + spot.file, spot.span.clone())
    }

    /// As it is written.
    fn given<T>(&self, given: &Given, key: &str, read: impl Fn(&str) -> Option<T>) -> Maybe<T> {
        let word = given.word(key)?;
        Some(self.known(read(&word.text)?, &word.spot))
    }

    /// A setting of `[pgbouncer]`, as it is written or by default.
    fn main<T>(&self, key: &str, read: impl Fn(&str) -> Option<T>) -> Known<T> {
        let default = || {
            let default = find(Section::Pgbouncer, key).map_or("", |entry| entry.default);
            let read = read(default);
            // The catalogue's own tests read every default; a key is spelt as there, or the tests of this file fail.
            Known::default_of(read.unwrap_or_else(|| panic!("{key} has no default that reads")), THEIRS)
        };
        self.given(&self.sheet.main, key, &read).unwrap_or_else(default)
    }

    fn flag(&self, key: &str) -> Known<bool> {
        self.main(key, number).map(|number| number != 0)
    }

    /// A time limit of `[pgbouncer]`, and those of users who have their own.
    fn all(&self, key: &str) -> Vec<Known<Limit>> {
        let of_users = self.sheet.users.values().filter_map(|line| self.given(&line.given, key, limit));
        std::iter::once(self.main(key, limit)).chain(of_users).collect()
    }

    fn lifetimes(&self) -> Vec<Known<Limit>> {
        let of_databases =
            self.sheet.databases.values().filter_map(|line| self.given(&line.given, "server_lifetime", wait));
        std::iter::once(self.main("server_lifetime", wait)).chain(of_databases).collect()
    }

    /// Processes that share the port: as many as there are peers.
    fn instances(&self) -> Known<u64> {
        let first = self.sheet.peers.values().next();
        match first.filter(|_| self.flag("so_reuseport").value && self.sheet.peers.len() > 1) {
            Some(line) => self.known(self.sheet.peers.len() as u64, &line.name.spot),
            None => Known::default_of(1, THEIRS),
        }
    }

    /// `tcp_keepidle`; without it the kernel's two hours.
    fn keepalive(&self) -> Known<Limit> {
        let on = self.flag("tcp_keepalive");
        if on.value { self.main("tcp_keepidle", limit) } else { on.map(|_| Limit::Never) }
    }

    fn any_user(&self) -> Known<bool> {
        let databases = self.sheet.databases.values().map(|line| &line.given);
        let asked = std::iter::once(&self.sheet.main).chain(databases).find_map(|given| given.word("auth_user"));
        if let Some(word) = asked.filter(|word| !word.text.is_empty()) {
            return self.known(true, &word.spot);
        }
        let outside =
            |method: &str| ["pam", "ldap", "hba", "cert"].iter().any(|word| word.eq_ignore_ascii_case(method));
        let listed = self.sheet.main.text("auth_file").is_some();
        self.main("auth_type", |method| Some(outside(method) && !listed))
    }

    /// Users of the list and of `[users]`, without those that only look users up or only use the console.
    fn logins(&self, listed: &str) -> BTreeSet<String> {
        let mut users: BTreeSet<String> = userlist::parse(listed).0.into_iter().map(|listed| listed.user).collect();
        users.extend(self.sheet.users.keys().filter(|name| *name != ANY).cloned());
        if let Some(looks_up) = self.sheet.main.text("auth_user") {
            users.remove(looks_up.trim());
        }
        let keys = ["admin_users", "stats_users"];
        let operators = keys.iter().filter_map(|key| self.sheet.main.text(key)).flat_map(|list| list.split(','));
        let operators: BTreeSet<&str> = operators.map(str::trim).collect();
        of_pools(users, |user| operators.contains(user.as_str()) && !self.sheet.users.contains_key(user))
    }

    fn user_limits(&self) -> BTreeMap<String, Known<Bound>> {
        let own =
            self.sheet.users.values().filter_map(|line| {
                Some((line.name.text.clone(), self.given(&line.given, "max_user_connections", bound)?))
            });
        std::iter::once((ANY.to_owned(), self.main("max_user_connections", bound))).chain(own).collect()
    }

    /// Every setting as it is written; passwords are not among them.
    fn written(&self) -> BTreeMap<String, Known<String>> {
        let mut written = BTreeMap::new();
        let mut add = |path: &str, section: Section, given: &Given| {
            let names =
                crate::pgbouncer::CATALOGUE.iter().filter(|entry| entry.section == section).map(|entry| entry.name);
            for name in names.filter(|name| !name.contains("password")) {
                if let Some(known) = self.given(given, name, |text| Some(text.to_owned())) {
                    written.insert(format!("{path}{name}"), known);
                }
            }
        };
        add("", Section::Pgbouncer, &self.sheet.main);
        for (lines, section) in [(&self.sheet.databases, Section::Databases), (&self.sheet.users, Section::Users)] {
            for line in lines.values() {
                add(&format!("{}.{}.", section.name(), line.name.text), section, &line.given);
            }
        }
        written
    }
}

fn number(text: &str) -> Option<u64> {
    value::number(text).map(|number| u64::try_from(number).unwrap_or(0))
}

/// A number of a connection string.
fn leading(text: &str) -> Option<u64> {
    value::leading(text).map(|(number, _)| u64::try_from(number).unwrap_or(0))
}

/// A size; PgBouncer's zero is one that lends nothing.
fn size(text: &str) -> Option<Bound> {
    leading(text).map(Bound::Of)
}

/// A limit of which zero is none.
fn bound(text: &str) -> Option<Bound> {
    leading(text).map(|number| if number == 0 { Bound::Unlimited } else { Bound::Of(number) })
}

/// Seconds of which zero is no limit.
fn limit(text: &str) -> Option<Limit> {
    wait(text).map(|limit| if limit == Limit::After(Duration::ZERO) { Limit::Never } else { limit })
}

/// Seconds of which zero is at once.
fn wait(text: &str) -> Option<Limit> {
    let whole = || leading(text).map(Duration::from_secs);
    value::seconds(text).or_else(whole).map(Limit::After)
}

fn mode(text: &str) -> Option<Mode> {
    [Mode::Session, Mode::Transaction, Mode::Statement].into_iter().find(|mode| mode.name().eq_ignore_ascii_case(text))
}
