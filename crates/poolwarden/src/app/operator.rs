//! The SQL console's questions: rows from the picture, commands done.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use poolwarden_config::Config;
use poolwarden_console::sql::{self, Answer, Command, Kind, Rights, Shutdown};
use poolwarden_pool::{HostId, Verb};
use poolwarden_proxy::{Operator, Proxy, Reply, Who};
use poolwarden_relay::console::ColumnKind;
use poolwarden_watch::Level;

use super::plan;
use super::reload;
use super::running::{Running, Stop, held};

/// PAUSE answers when nothing is lent any more. After this, clients that wait are refused anyway (`pause_wait`).
const PAUSE_PATIENCE: Duration = Duration::from_secs(60);
/// Short against a person, long against the cost of a look.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Answers the SQL console.
pub(super) struct Desk(pub(super) Arc<Running>);

impl Operator for Desk {
    fn ask(&self, sql: String, who: Who) -> Pin<Box<dyn Future<Output = Reply> + Send>> {
        let running = Arc::clone(&self.0);
        Box::pin(async move { answer(&running, &sql, &who).await })
    }
}

async fn answer(running: &Arc<Running>, sql: &str, who: &Who) -> Reply {
    let view = running.view(wants_rows(sql)).await;
    let rights = if who.admin { Rights::Admin } else { Rights::Reader };
    match sql::answer(sql, &view, rights) {
        Answer::Rows { rows, tag } => {
            let columns = rows.columns.iter().map(|(name, kind)| (*name, column(*kind))).collect();
            Reply::Rows { columns, rows: rows.rows, tag }
        }
        Answer::Done { tag } => Reply::Done { tag, notices: Vec::new() },
        Answer::Error { sqlstate, message, hint } => Reply::Error { sqlstate: sqlstate.to_owned(), message, hint },
        Answer::Do(command) => perform(running, command, who).await,
    }
}

/// Connections are listed one by one only where a question may be about them: they can be many.
fn wants_rows(sql: &str) -> bool {
    let sql = sql.to_ascii_lowercase();
    ["clients", "servers"].iter().any(|word| sql.contains(word))
}

const fn column(kind: Kind) -> ColumnKind {
    match kind {
        Kind::Text => ColumnKind::Text,
        Kind::Int => ColumnKind::Int,
        Kind::Float => ColumnKind::Float,
        Kind::Bool => ColumnKind::Bool,
    }
}

async fn perform(running: &Arc<Running>, command: Command, who: &Who) -> Reply {
    let Some(proxy) = running.proxy() else {
        return Reply::Error { sqlstate: "57P03".to_owned(), message: "poolwarden is starting".to_owned(), hint: None };
    };
    let tag = command.tag().to_owned();
    running.log.say(
        Level::Info,
        "operator",
        format!(
            "console: {} by {}{}",
            spoken(&command),
            who.user,
            who.remote.map_or_else(|| " over the unix socket".to_owned(), |remote| format!(" from {remote}"))
        ),
    );
    let notices = match command {
        Command::Reload => match reload::reload(running, "RELOAD").await {
            Ok(notices) => notices,
            Err(refused) => {
                let (message, hint) = refused.told();
                return Reply::Error { sqlstate: "F0000".to_owned(), message, hint };
            }
        },
        Command::Pause(name) => {
            held(&running.said).pause(name.as_deref(), true);
            order(running, proxy, Verb::Pause, name.as_deref());
            settled(running, proxy, name.as_deref()).await
        }
        Command::Resume(name) => {
            held(&running.said).pause(name.as_deref(), false);
            order(running, proxy, Verb::Resume, name.as_deref())
        }
        Command::Reconnect(name) => order(running, proxy, Verb::Reconnect, name.as_deref()),
        Command::Kill(name) => {
            held(&running.said).pause(name.as_deref(), true);
            order(running, proxy, Verb::Kill, name.as_deref());
            kill_clients(proxy, name.as_deref()).await
        }
        Command::Disable(name) => {
            held(&running.said).disable(&name, true);
            order(running, proxy, Verb::Disable, Some(&name))
        }
        Command::Enable(name) => {
            held(&running.said).disable(&name, false);
            order(running, proxy, Verb::Enable, Some(&name))
        }
        Command::Shutdown(how) => shutdown(running, how),
    };
    Reply::Done { tag, notices }
}

fn spoken(command: &Command) -> String {
    let named = |name: &str| format!("{} \"{name}\"", command.tag());
    match command {
        Command::Pause(name) | Command::Resume(name) | Command::Reconnect(name) | Command::Kill(name) => {
            name.as_deref().map_or_else(|| command.tag().to_owned(), named)
        }
        Command::Disable(name) | Command::Enable(name) => named(name),
        Command::Reload | Command::Shutdown(_) => command.tag().to_owned(),
    }
}

/// The servers a database's pools may be on: its own; every one for all databases.
fn hosts(config: &Config, name: Option<&str>) -> Vec<HostId> {
    match name {
        Some(name) => config.pool(name).map(|pool| plan::host_id(pool.server)).into_iter().collect(),
        None => (0..config.servers.len()).map(plan::host_id).collect(),
    }
}

fn order(running: &Running, proxy: &Proxy, verb: Verb, name: Option<&str>) -> Vec<String> {
    for host in hosts(&running.config(), name) {
        proxy.admin(host, verb, name.map(str::to_owned));
    }
    Vec::new()
}

/// Waits until nothing is lent in the paused pools: what follows a PAUSE is often a restart of PostgreSQL.
async fn settled(running: &Running, proxy: &Proxy, name: Option<&str>) -> Vec<String> {
    let (hosts, until) = (hosts(&running.config(), name), Instant::now() + PAUSE_PATIENCE);
    loop {
        let lent = lent(proxy, &hosts, name);
        if lent == 0 || !held(&running.said).is_paused_at_all(name) {
            return Vec::new();
        }
        if Instant::now() >= until {
            let patience = PAUSE_PATIENCE.as_secs();
            return vec![format!(
                "paused, but after {patience}s {lent} server connections are still lent; see SHOW SERVERS"
            )];
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn lent(proxy: &Proxy, hosts: &[HostId], name: Option<&str>) -> u32 {
    let snapshots = hosts.iter().filter_map(|host| proxy.host(*host));
    let lent = |(snapshot, ..): (poolwarden_pool::HostSnapshot, _, _)| -> u32 {
        let meant = snapshot.pools.iter().filter(|pool| name.is_none_or(|name| pool.key.database == name));
        meant.map(|pool| pool.slots.lent).sum()
    };
    snapshots.map(lent).sum()
}

async fn kill_clients(proxy: &Proxy, name: Option<&str>) -> Vec<String> {
    let reports = proxy.reports(true).await;
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
        assert!(wants_rows("show Clients") && wants_rows("SHOW SERVERS;"));
        assert!(!wants_rows("SHOW POOLS") && !wants_rows("RELOAD"));
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
