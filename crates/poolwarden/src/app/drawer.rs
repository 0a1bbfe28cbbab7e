//! The operator's drawer: what a lease runs is cancelled, leases are ended, pools lend no more or again.
//!
//! Each order is looked up in the picture of now, done to exactly whom the picture shows, and said in the log with who asked for it.

use std::sync::Arc;
use std::time::Duration;

use poolwarden_console::http::{
    Acted, Done, LeaseAct, LeaseOrder, Meant, PoolAct, PoolOrder, PoolsActed, Refused, RefusedKind,
};
use poolwarden_proxy::Proxy;
use poolwarden_switch::{Detail, Lease};
use poolwarden_watch::{Field, FieldValue, LeaseState, Level, LogLine, ServerState, ServerView, View};

use super::operator;
use super::running::{Running, held};
use super::web;

/// Who pauses is answered within this; what is lent by then comes back later, and is waited for all the same.
const PROMPT: Duration = Duration::from_secs(5);
/// Leases named in one line of the log; the rest is counted.
const MAX_NAMED: usize = 10;

/// Cancels what leases run, or ends them.
pub(super) async fn lease(running: &Running, order: &LeaseOrder) -> Result<Acted, Refused> {
    let done = act(running, order).await;
    running.log.write(leases_line(order, &done));
    done
}

async fn act(running: &Running, order: &LeaseOrder) -> Result<Acted, Refused> {
    let proxy = running.proxy().ok_or_else(starting)?;
    let view = running.view(Detail::Servers).await;
    let (mut acted, mut leases) = (Acted::default(), Vec::new());
    for conn in meant(running, &view, &order.meant)? {
        match (lent(&view, conn, order.act), &order.meant) {
            (Ok((lease, done)), _) => {
                leases.push(lease);
                acted.done.push(done);
            }
            (Err(why), Meant::Conn(_)) => return Err(why),
            (Err(why), Meant::Stuck(_)) => acted.skipped.push((conn, why.error)),
        }
    }
    match order.act {
        LeaseAct::Cancel => leases.into_iter().for_each(|lease| proxy.cancel_lease(lease)),
        LeaseAct::Terminate => {
            leases.into_iter().for_each(|lease| proxy.end_lease(lease));
            // The loops take their orders before they tell: what is still lent then was not ended.
            let after = running.view(Detail::Servers).await;
            let (still, done) = acted.done.into_iter().partition(|done| is_lent(&after, done));
            acted.done = done;
            let late = |done: Done| (done.conn, "it has not ended yet: its event loop is busy".to_owned());
            acted.skipped.extend(Vec::into_iter(still).map(late));
        }
    }
    Ok(acted)
}

fn meant(running: &Running, view: &View, meant: &Meant) -> Result<Vec<u64>, Refused> {
    match meant {
        Meant::Conn(conn) => Ok(vec![*conn]),
        Meant::Stuck(pool) => {
            web::known(running, Some(pool)).map_err(absent)?;
            let holders = held(&running.watch).holders(view, Some(pool));
            Ok(holders.iter().filter(|holder| holder.stuck).map(|holder| holder.conn).collect())
        }
    }
}

/// The lease of this server connection, if there is one to which it can be done.
fn lent(view: &View, conn: u64, act: LeaseAct) -> Result<(Lease, Done), Refused> {
    let idle = |error: String, fix: &str| Refused { kind: RefusedKind::Idle, error, fix: fix.to_owned() };
    let Some(server) = view.servers.iter().find(|server| server.id == conn) else {
        let fix = "take a number that holders, SHOW HOLDERS or SHOW SERVERS shows now".to_owned();
        return Err(absent((format!("there is no server connection {conn}"), fix)));
    };
    let Some(client) = server.link.filter(|_| server.state == ServerState::Active) else {
        let error = format!("server connection {conn} is lent to nobody now");
        return Err(idle(error, "nothing is in anybody's way; holders shows who holds one"));
    };
    if let (LeaseAct::Cancel, Some(state)) = (act, server.lease.as_ref().map(|lease| lease.state)) {
        let error = match state {
            LeaseState::Active => None,
            LeaseState::Idle => Some(format!("no request runs on server connection {conn}")),
            LeaseState::IdleInTransaction => {
                Some(format!("no request runs on server connection {conn}: its transaction is idle"))
            }
        };
        if let Some(error) = error {
            return Err(idle(error, "terminate ends the lease, and with it what it holds"));
        }
    }
    Ok((Lease { server: conn, client }, done(view, server, client)))
}

fn done(view: &View, server: &ServerView, client: u64) -> Done {
    let lease = server.lease.as_ref();
    let host = lease.and_then(|lease| view.host(lease.host));
    Done {
        conn: server.id,
        pool: server.database.clone(),
        user: server.user.clone(),
        server: host.map(|host| host.name.clone()).unwrap_or_default(),
        pid: server.remote_pid,
        client,
        application: lease.map_or(&server.application_name, |lease| &lease.application).clone(),
    }
}

fn is_lent(view: &View, done: &Done) -> bool {
    view.servers.iter().any(|server| server.id == done.conn && server.link == Some(done.client))
}

/// Has pools lend no more, or again.
pub(super) async fn pools(running: &Arc<Running>, order: &PoolOrder) -> Result<PoolsActed, Refused> {
    let done = turn(running, order).await;
    running.log.write(pools_line(order, &done));
    done
}

async fn turn(running: &Arc<Running>, order: &PoolOrder) -> Result<PoolsActed, Refused> {
    let proxy = running.proxy().ok_or_else(starting)?;
    let name = order.pool.as_deref();
    web::known(running, name).map_err(absent)?;
    match order.act {
        PoolAct::Pause => pause(running, proxy, order.pool.clone()).await,
        PoolAct::Resume => {
            operator::resume(running, proxy, name);
        }
    }
    let all = || running.config().pools.keys().cloned().collect();
    Ok(PoolsActed {
        pools: order.pool.clone().map_or_else(all, |name| vec![name]),
        lent: operator::lent_now(running, proxy, name),
    })
}

/// Pauses as the console does, and goes on waiting for what is lent when who asked has been answered.
async fn pause(running: &Arc<Running>, proxy: &Proxy, name: Option<String>) {
    let (mine, proxy) = (Arc::clone(running), proxy.clone());
    let pausing = tokio::spawn(async move { operator::pause(&mine, &proxy, name.as_deref()).await });
    // Late or not: how many are still lent is told either way.
    let _late = tokio::time::timeout(PROMPT, pausing).await;
}

pub(super) fn starting() -> Refused {
    let (error, fix) = ("poolwarden is starting".to_owned(), "try again in a moment".to_owned());
    Refused { kind: RefusedKind::Unready, error, fix }
}

fn absent((error, fix): (String, String)) -> Refused {
    Refused { kind: RefusedKind::Absent, error, fix }
}

fn text(name: &'static str, value: impl Into<String>) -> Field {
    Field { name, value: FieldValue::Text(value.into()) }
}

fn number(name: &'static str, value: usize) -> Field {
    Field { name, value: FieldValue::Number(value as u64) }
}

fn leases_line(order: &LeaseOrder, done: &Result<Acted, Refused>) -> LogLine {
    let event = order.act.name();
    let meant = match &order.meant {
        Meant::Conn(conn) => format!("server connection {conn}"),
        Meant::Stuck(pool) => format!("all that are stuck in pool \"{pool}\""),
    };
    let mut fields = vec![text("by", &*order.by), text("meant", &*meant)];
    let message = match done {
        Err(why) => format!("{event} {meant} by {}: nothing was done: {}", order.by, why.error),
        Ok(acted) => {
            fields.extend([number("done", acted.done.len()), number("skipped", acted.skipped.len())]);
            let one = |of: &Done| {
                format!("{} (pool \"{}\", client {}, application \"{}\")", of.conn, of.pool, of.client, of.application)
            };
            let mut named: Vec<String> = acted.done.iter().take(MAX_NAMED).map(one).collect();
            if acted.done.len() > MAX_NAMED {
                named.push(format!("and {} more", acted.done.len() - MAX_NAMED));
            }
            let named = if named.is_empty() { "nobody".to_owned() } else { named.join(", ") };
            format!("{event} {meant} by {}: done to {named}; {} skipped", order.by, acted.skipped.len())
        }
    };
    LogLine { level: Level::Warn, event, message, fields }
}

fn pools_line(order: &PoolOrder, done: &Result<PoolsActed, Refused>) -> LogLine {
    let event = order.act.name();
    let meant = order.pool.as_ref().map_or_else(|| "all pools".to_owned(), |name| format!("pool \"{name}\""));
    let mut fields = vec![text("by", &*order.by), text("meant", &*meant)];
    let came = match done {
        Err(why) => format!("nothing was done: {}", why.error),
        Ok(acted) => {
            fields.push(number("lent", acted.lent as usize));
            format!("done; {} server connections are lent", acted.lent)
        }
    };
    LogLine { level: Level::Warn, event, message: format!("{event} {meant} by {}: {came}", order.by), fields }
}

#[cfg(test)]
mod tests {
    use poolwarden_watch::{LeaseView, SessionView};

    use super::*;

    fn server(id: u64, state: ServerState, link: Option<u64>, lease: Option<LeaseState>) -> ServerView {
        ServerView {
            id,
            user: "app".to_owned(),
            database: "app".to_owned(),
            state,
            addr: "127.0.0.1".to_owned(),
            port: 5432,
            local_addr: "127.0.0.1".to_owned(),
            local_port: 1,
            connected_at_ms: 0,
            requested_at_ms: 0,
            close_needed: false,
            remote_pid: Some(4711),
            link,
            application_name: "web".to_owned(),
            prepared_statements: 0,
            tls: String::new(),
            session: SessionView::default(),
            lease: lease.map(|state| LeaseView { state, application: "web".to_owned(), ..LeaseView::default() }),
        }
    }

    fn view(servers: Vec<ServerView>) -> View {
        View { servers, ..View::default() }
    }

    #[test]
    fn a_lease_is_named_by_both_its_ends_and_nothing_else_is_touched() {
        let view = view(vec![
            server(7, ServerState::Active, Some(12), Some(LeaseState::Active)),
            server(8, ServerState::Idle, None, None),
            server(9, ServerState::Active, Some(13), Some(LeaseState::IdleInTransaction)),
        ]);
        let (lease, done) = lent(&view, 7, LeaseAct::Cancel).unwrap();
        assert_eq!(lease, Lease { server: 7, client: 12 });
        assert_eq!((done.conn, done.client, done.pid, &*done.application), (7, 12, Some(4711), "web"));
        let kind = |conn, act| lent(&view, conn, act).map_err(|why| why.kind);
        assert_eq!(kind(6, LeaseAct::Terminate), Err(RefusedKind::Absent));
        assert_eq!(kind(8, LeaseAct::Terminate), Err(RefusedKind::Idle));
        assert_eq!(kind(9, LeaseAct::Cancel), Err(RefusedKind::Idle), "there is nothing to cancel");
        assert_eq!(kind(9, LeaseAct::Terminate).map(|(lease, _)| lease.client), Ok(13));
    }

    #[test]
    fn the_log_says_who_did_what_to_whom_and_what_was_refused() {
        let order = |meant| LeaseOrder { act: LeaseAct::Terminate, meant, by: "http from 127.0.0.1:5".into() };
        let one =
            |conn| Done { conn, pool: "app".into(), client: conn + 5, application: "web".into(), ..Done::default() };
        let acted = Acted { done: (7..19).map(one).collect(), skipped: vec![(30, "gone".into())] };
        let line = leases_line(&order(Meant::Stuck("app".into())), &Ok(acted));
        let start = "terminate all that are stuck in pool \"app\" by http from 127.0.0.1:5: done to \
                     7 (pool \"app\", client 12, application \"web\"), 8 ";
        assert!(line.message.starts_with(start) && line.message.ends_with("and 2 more; 1 skipped"), "{}", line.message);
        let refused = lent(&View::default(), 4, LeaseAct::Terminate).map(|_| Acted::default());
        let line = leases_line(&order(Meant::Conn(4)), &refused);
        assert!(line.message.ends_with("nothing was done: there is no server connection 4"), "{}", line.message);
        let order = PoolOrder { act: PoolAct::Pause, pool: None, by: "http from 127.0.0.1:5".into() };
        let line = pools_line(&order, &Ok(PoolsActed { pools: Vec::new(), lent: 3 }));
        assert_eq!(line.message, "pause all pools by http from 127.0.0.1:5: done; 3 server connections are lent");
        assert_eq!(line.event, "pause");
    }
}
