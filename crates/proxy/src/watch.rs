//! The watch connection: one per server, open from the start, asking PostgreSQL's own views what only it can tell.

use std::sync::Arc;
use std::time::Duration;

use poolwarden_switch::pool::{HostId, Input, ServerFacts};
use poolwarden_switch::relay::login::{Credentials, Password};
use poolwarden_switch::relay::pgwire::password::Plain;
use poolwarden_switch::relay::pgwire::{frame, make, read, tag::server as tag};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::connect;
use crate::inner::{Inner, held};
use crate::stream::Stream;

/// PostgreSQL is asked this often.
const EVERY: Duration = Duration::from_secs(5);
/// An answer that takes longer means that the connection is of no use.
const PATIENCE: Duration = Duration::from_secs(10);
/// A lost connection is tried again after this.
const AGAIN: Duration = Duration::from_secs(5);

/// One row per fact: kind, name, two numbers. `reserved_connections` exists from version 16 on, hence `current_setting(.., true)`.
const QUESTION: &str = "\
select 'start', '', (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint, 0 \
union all select 'slots', '', current_setting('max_connections')::bigint, \
 current_setting('superuser_reserved_connections')::bigint + coalesce(current_setting('reserved_connections', true)::bigint, 0) \
union all select 'pid', '', pid, 0 from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() \
union all select 'role', rolname, rolconnlimit, (select count(*) from pg_stat_activity a where a.usename = rolname) \
 from pg_roles where rolconnlimit >= 0 \
union all select 'database', datname, datconnlimit, (select count(*) from pg_stat_activity a where a.datname = d.datname) \
 from pg_database d where datconnlimit >= 0";

/// Asks until the process stops.
pub(crate) async fn run(inner: Arc<Inner>, number: usize) {
    let host = HostId(u16::try_from(number).unwrap_or(u16::MAX));
    let mut closing = inner.closing.subscribe();
    loop {
        let lost = tokio::select! {
            lost = stay(&inner, host) => lost,
            _ = closing.wait_for(|closing| *closing) => return,
        };
        *held(&inner.watched[number].error) = Some(lost);
        *held(&inner.watched[number].facts) = None;
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            _ = closing.wait_for(|closing| *closing) => return,
        }
    }
}

/// Connects and asks until something goes wrong; returns what.
async fn stay(inner: &Inner, host: HostId) -> String {
    let Some(plan) = inner.plan(host) else { return "the server is not configured".into() };
    let Some(login) = plan.watch.clone() else {
        return "no [servers.NAME.watch] user is configured: PostgreSQL's own limits and backends are not seen".into();
    };
    let configured = login.password.is_some();
    let password = login.password.map(|password| Password::Plain(Plain::new(&password), None));
    let settings = vec![("application_name".to_owned(), "poolwarden watch".to_owned())];
    let credentials = Credentials { user: login.user, database: login.database, password, settings };
    let session = connect::session(inner, host, &plan, credentials, configured);
    let mut stream = match tokio::time::timeout(PATIENCE, session).await {
        Ok(Ok((stream, _))) => stream,
        Ok(Err(failure)) => return failure.message.into(),
        Err(_) => return format!("no answer from {} within {PATIENCE:?}", plan.address),
    };
    loop {
        match tokio::time::timeout(PATIENCE, ask(&mut stream)).await {
            Ok(Ok(facts)) => publish(inner, host, facts).await,
            Ok(Err(why)) => return why,
            Err(_) => return format!("no answer within {PATIENCE:?}"),
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn publish(inner: &Inner, host: HostId, mut facts: ServerFacts) {
    let mut own: Vec<u32> = Vec::new();
    for report in inner.reports(true).await {
        own.extend(report.servers.iter().filter(|row| row.pool.host == host).filter_map(|row| row.pid));
    }
    let others = facts.pids.iter().filter(|pid| !own.contains(pid)).count();
    facts.others = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1); // and the watch connection itself
    let watched = &inner.watched[usize::from(host.0)];
    *held(&watched.error) = None;
    *held(&watched.facts) = Some(facts.clone());
    inner.drive(host, Input::Facts(facts));
}

/// Asks once and reads the answer.
async fn ask(stream: &mut Stream) -> Result<ServerFacts, String> {
    let mut question = Vec::new();
    make::query(&mut question, QUESTION);
    stream.write_all(&question).await.map_err(|why| why.to_string())?;
    let mut answer = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    let mut facts = ServerFacts::default();
    let mut failed = None;
    loop {
        let count = stream.read(&mut buffer).await.map_err(|why| why.to_string())?;
        if count == 0 {
            return Err("the server closed the watch connection".into());
        }
        answer.extend_from_slice(&buffer[..count]);
        let mut at = 0;
        while let Some(header) = frame::header(&answer[at..]).map_err(|why| why.to_string())? {
            let Some(body) = answer.get(at + frame::HEADER..at + header.total()) else { break };
            match header.tag {
                tag::DATA_ROW => note(&mut facts, body).ok_or("an answer that makes no sense")?,
                tag::ERROR => failed = Some(read::report(body).message.into_owned()),
                tag::READY => {
                    facts.pids.sort_unstable();
                    return failed.map_or(Ok(facts), Err);
                }
                _ => {}
            }
            at += header.total();
        }
        answer.drain(..at);
    }
}

/// Notes one row: kind, name, two numbers.
fn note(facts: &mut ServerFacts, row: &[u8]) -> Option<()> {
    let mut rest = row.get(2..)?;
    let mut next = || {
        let length = usize::try_from(i32::from_be_bytes(rest.get(..4)?.try_into().ok()?)).ok()?;
        let value = rest.get(4..4 + length)?;
        rest = rest.get(4 + length..)?;
        std::str::from_utf8(value).ok()
    };
    let (kind, name) = (next()?, next()?);
    let (first, second): (u64, u64) = (next()?.parse().ok()?, next()?.parse().ok()?);
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    match kind {
        "start" => facts.start_time = first,
        "slots" => (facts.max_connections, facts.reserved) = (small(first), small(second)),
        "pid" => facts.pids.push(small(first)),
        "role" => facts.roles.push((name.to_owned(), small(first), small(second))),
        "database" => facts.databases.push((name.to_owned(), small(first), small(second))),
        _ => return None,
    }
    Some(())
}
