//! The SQL console's questions: rows from the picture, commands done.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use poolwarden_config::Config;
use poolwarden_console::http::ShedOrder;
use poolwarden_console::sql::{self, Answer, Asker, Command, Kind, Rights, Shutdown, Sight, Voice};
use poolwarden_pool::{HostId, Slots, Time, Verb};
use poolwarden_proxy::{Operator, Proxy, Reply, Who};
use poolwarden_relay::console::ColumnKind;
use poolwarden_switch::{Detail, ServerRow};
use poolwarden_watch::Level;

use super::change;
use super::edit::Edit;
use super::plan;
use super::reload::Refused;
use super::running::{Running, Stop, held};
use super::shed;

/// PAUSE answers when nothing is lent any more. After this, clients that wait are refused anyway (`pause_wait`).
const PAUSE_PATIENCE: Duration = Duration::from_secs(60);
/// How long SUSPEND waits where no `suspend_timeout` says otherwise: PgBouncer's default.
const SUSPEND_PATIENCE: Duration = Duration::from_secs(10);
/// Short against a person, long against the cost of a look.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Answers the SQL console.
pub(super) struct Desk(pub(super) Arc<Running>);

impl Operator for Desk {
    fn ask(&self, sql: String, who: Who) -> Pin<Box<dyn Future<Output = Reply> + Send>> {
        let running = Arc::clone(&self.0);
        Box::pin(async move { answer(&running, &sql, &who).await })
    }

    fn columns(&self, sql: &str, who: &Who) -> Option<Vec<(&'static str, ColumnKind)>> {
        sql::describe(sql, asker(&self.0, who)).map(columns)
    }
}

async fn answer(running: &Arc<Running>, sql: &str, who: &Who) -> Reply {
    let view = running.view(detail(sql)).await;
    let holders = if names(sql, "holders") { held(&running.watch).holders(&view, None) } else { Vec::new() };
    let pools = if names(sql, "forecast") { held(&running.watch).why(&view, None).pools } else { Vec::new() };
    match sql::answer(sql, Sight { view: &view, holders: &holders, pools: &pools }, asker(running, who)) {
        Answer::Rows { rows, tag } => Reply::Rows { columns: columns(rows.columns), rows: rows.rows, tag },
        Answer::Done { tag } => Reply::Done { tag, notices: Vec::new() },
        Answer::Error { sqlstate, message, hint } => Reply::Error { sqlstate: sqlstate.to_owned(), message, hint },
        Answer::Do(command) => perform(running, command, who).await,
    }
}

fn asker(running: &Running, who: &Who) -> Asker {
    Asker {
        rights: if who.admin { Rights::Admin } else { Rights::Reader },
        voice: if running.config().pgbouncer.is_some() { Voice::PgBouncer } else { Voice::Own },
    }
}

fn columns(of: &[sql::Column]) -> Vec<(&'static str, ColumnKind)> {
    of.iter().map(|(name, kind)| (*name, column(*kind))).collect()
}

/// Connections are listed one by one only where a question may be about them: they can be many.
fn detail(sql: &str) -> Detail {
    let sql = sql.to_ascii_lowercase();
    let rows = ["clients", "servers", "sockets", "fds", "pins", "kill_client", "holders", "forecast"];
    if rows.iter().any(|word| sql.contains(word)) { Detail::Everything } else { Detail::Totals }
}

/// What is judged is worked out only where a question may be about it.
fn names(sql: &str, word: &str) -> bool {
    sql.to_ascii_lowercase().contains(word)
}

const fn column(kind: Kind) -> ColumnKind {
    match kind {
        Kind::Text => ColumnKind::Text,
        Kind::Bytes => ColumnKind::Bytes,
        Kind::Int => ColumnKind::Int,
        Kind::Long => ColumnKind::Long,
        Kind::Numeric => ColumnKind::Numeric,
        Kind::Float => ColumnKind::Float,
        Kind::Bool => ColumnKind::Bool,
    }
}

async fn perform(running: &Arc<Running>, command: Command, who: &Who) -> Reply {
    let Some(proxy) = running.proxy() else {
        return Reply::Error { sqlstate: "57P03".to_owned(), message: "poolwarden is starting".to_owned(), hint: None };
    };
    let tag = command.tag().to_owned();
    let from = who.remote.map_or_else(|| " over the unix socket".to_owned(), |remote| format!(" from {remote}"));
    let by = format!("{}{from}", who.user);
    running.log.say(Level::Info, "operator", format!("console: {} by {by}", spoken(&command)));
    let (verb, target) = (tag.to_ascii_lowercase(), spoken(&command).trim_start_matches(&tag).trim().to_owned());
    match obey(running, proxy, command, by.clone()).await {
        Ok(notices) => {
            running.chronicle.audit(&by, &verb, &target, "done");
            Reply::Done { tag, notices }
        }
        Err(refused) => {
            let (message, hint) = refused.told();
            running.chronicle.audit(&by, &verb, &target, &message);
            Reply::Error { sqlstate: "F0000".to_owned(), message, hint }
        }
    }
}

/// Does it; returns what there is to say besides.
async fn obey(running: &Arc<Running>, proxy: &Proxy, command: Command, by: String) -> Result<Vec<String>, Refused> {
    Ok(match command {
        Command::Reload => change::reload(running, &format!("RELOAD by {by}")).await?,
        Command::Pause(name) => pause(running, proxy, name.as_deref()).await,
        Command::Resume(name) => resume(running, proxy, name.as_deref()),
        Command::Suspend => suspend(running, proxy).await,
        Command::Reconnect(name) => {
            held(&running.said).replace(name.as_deref(), proxy.now());
            order(running, proxy, Verb::Reconnect, name.as_deref())
        }
        Command::Kill(name) => {
            held(&running.said).pause(name.as_deref(), true);
            held(&running.said).replace(name.as_deref(), proxy.now());
            order(running, proxy, Verb::Kill, name.as_deref());
            kill_clients(proxy, name.as_deref()).await
        }
        Command::KillClient(id) => {
            proxy.kill_client(id);
            Vec::new()
        }
        Command::WaitClose(name) => wait_close(running, proxy, name.as_deref()).await,
        Command::Disable(name) => {
            held(&running.said).disable(&name, true);
            order(running, proxy, Verb::Disable, Some(&name))
        }
        Command::Enable(name) => {
            held(&running.said).disable(&name, false);
            order(running, proxy, Verb::Enable, Some(&name))
        }
        Command::Set { key, value, quoted } => {
            change::set(running, Edit { key, value, quoted }, format!("SET by {by}")).await?
        }
        Command::Shed { class, length } => {
            let order = ShedOrder { class, length, by: format!("console, {by}") };
            shed::shed(running, order).map_err(Refused::with_fix)?;
            Vec::new()
        }
        Command::Shutdown(how) => shutdown(running, how),
    })
}

fn spoken(command: &Command) -> String {
    let named = |name: &str| format!("{} \"{name}\"", command.tag());
    match command {
        Command::Pause(name)
        | Command::Resume(name)
        | Command::Reconnect(name)
        | Command::WaitClose(name)
        | Command::Kill(name) => name.as_deref().map_or_else(|| command.tag().to_owned(), named),
        Command::Disable(name) | Command::Enable(name) => named(name),
        Command::KillClient(id) => format!("{} {id}", command.tag()),
        Command::Set { key, value, .. } => format!("SET {key} = {value}"),
        Command::Shed { class, length } => format!("SHED {class} FOR '{length}'"),
        Command::Reload | Command::Suspend | Command::Shutdown(_) => command.tag().to_owned(),
    }
}

/// Lends no more, waits until nothing is lent, and closes what is open: what follows is often a restart of PostgreSQL,
/// or a database that is dropped.
pub(super) async fn pause(running: &Running, proxy: &Proxy, name: Option<&str>) -> Vec<String> {
    held(&running.said).pause(name, true);
    order(running, proxy, Verb::Pause, name);
    let notices = settled(running, proxy, name, PAUSE_PATIENCE, lent).await;
    if !notices.is_empty() || !held(&running.said).is_paused_at_all(name) {
        return notices;
    }
    order(running, proxy, Verb::Reconnect, name);
    settled(running, proxy, name, PAUSE_PATIENCE, open).await
}

/// Lends again.
pub(super) fn resume(running: &Running, proxy: &Proxy, name: Option<&str>) -> Vec<String> {
    held(&running.said).pause(name, false);
    order(running, proxy, Verb::Resume, name)
}

/// Lends no more and waits a while for what is lent; who holds a connection then keeps it.
async fn suspend(running: &Running, proxy: &Proxy) -> Vec<String> {
    held(&running.said).suspend();
    order(running, proxy, Verb::Pause, None);
    let patience = running.config().pgbouncer.as_ref().map_or(SUSPEND_PATIENCE, |process| process.suspend_timeout);
    settled(running, proxy, None, patience, lent).await
}

/// Waits until everything that a RECONNECT or KILL replaces is gone, however long that takes: clients decide it.
async fn wait_close(running: &Running, proxy: &Proxy, name: Option<&str>) -> Vec<String> {
    loop {
        let said = held(&running.said).clone();
        let reports = proxy.reports(Detail::Servers).await;
        let of_name = |row: &&ServerRow| name.is_none_or(|name| row.pool.key.database == name);
        let mut rows = reports.iter().flat_map(|report| &report.servers).filter(of_name);
        if !rows.any(|row| said.is_replaced(&row.pool.key.database, Time::from_nanos(row.opened_at))) {
            return Vec::new();
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The servers a database's pools may be on: its own; every one for all databases.
fn hosts(config: &Config, name: Option<&str>) -> Vec<HostId> {
    match name {
        Some(name) => config.pool(name).map(|pool| config.servers[pool.server].id).into_iter().collect(),
        None => plan::host_ids(config).collect(),
    }
}

fn order(running: &Running, proxy: &Proxy, verb: Verb, name: Option<&str>) -> Vec<String> {
    for host in hosts(&running.config(), name) {
        proxy.admin(host, verb, name.map(str::to_owned));
    }
    Vec::new()
}

/// Waits until `count` of the paused pools is nothing, or they are paused no more.
async fn settled(
    running: &Running,
    proxy: &Proxy,
    name: Option<&str>,
    patience: Duration,
    count: fn(&Slots) -> u32,
) -> Vec<String> {
    let (hosts, until) = (hosts(&running.config(), name), Instant::now() + patience);
    loop {
        let left = sum(proxy, &hosts, name, count);
        if left == 0 || !held(&running.said).is_paused_at_all(name) {
            return Vec::new();
        }
        if Instant::now() >= until {
            let patience = poolwarden_config::show_duration(patience);
            return vec![format!(
                "paused, but after {patience} {left} server connections are still in use; see SHOW SERVERS"
            )];
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn lent(slots: &Slots) -> u32 {
    slots.lent
}

/// A ghost's end was not seen in time: nothing that is done here brings it about.
fn open(slots: &Slots) -> u32 {
    slots.counted() - slots.ghosts
}

fn sum(proxy: &Proxy, hosts: &[HostId], name: Option<&str>, count: fn(&Slots) -> u32) -> u32 {
    let snapshots = hosts.iter().filter_map(|host| proxy.host(*host));
    let of_host = |(snapshot, ..): (poolwarden_pool::HostSnapshot, _, _)| -> u32 {
        let meant = snapshot.pools.iter().filter(|pool| name.is_none_or(|name| pool.key.database == name));
        meant.map(|pool| count(&pool.slots)).sum()
    };
    snapshots.map(of_host).sum()
}

/// Server connections of a database, or of all, that are lent now.
pub(super) fn lent_now(running: &Running, proxy: &Proxy, name: Option<&str>) -> u32 {
    sum(proxy, &hosts(&running.config(), name), name, lent)
}

async fn kill_clients(proxy: &Proxy, name: Option<&str>) -> Vec<String> {
    let reports = proxy.reports(Detail::Everything).await;
    let clients = reports.iter().flat_map(|report| &report.clients);
    for client in clients.filter(|client| name.is_none_or(|name| client.pool.key.database == name)) {
        proxy.kill_client(client.serial);
    }
    Vec::new()
}

fn shutdown(running: &Running, how: Shutdown) -> Vec<String> {
    running.stop(match how {
        Shutdown::Now => Stop::Now,
        Shutdown::WaitForServers => Stop::Drain,
        Shutdown::WaitForClients => Stop::WaitForClients,
    });
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_gathered_only_for_questions_about_connections() {
        for sql in ["show Clients", "SHOW SERVERS;", "show HOLDERS"] {
            assert_eq!(detail(sql), Detail::Everything, "{sql}");
        }
        assert_eq!((detail("SHOW POOLS"), detail("RELOAD")), (Detail::Totals, Detail::Totals));
        assert!(names("show HOLDERS", "holders") && !names("SHOW PINS", "holders"));
    }

    #[test]
    fn a_word_to_a_database_goes_to_its_server_and_a_word_to_all_to_every_one() {
        let text = "[servers.a]\nhost = \"a\"\n[servers.b]\nhost = \"b\"\n\
                    [pools.x]\nserver = \"b\"\n[pools.\"*\"]\nserver = \"a\"\n";
        let (config, _) = Config::parse(text, |_| Err("no secrets here".to_owned()));
        let config = config.unwrap();
        assert_eq!(hosts(&config, Some("x")), [HostId(1)]);
        assert_eq!(hosts(&config, Some("any")), [HostId(0)]);
        assert_eq!(hosts(&config, None), [HostId(0), HostId(1)]);
    }
}
