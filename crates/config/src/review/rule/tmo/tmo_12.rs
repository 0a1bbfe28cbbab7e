//! TMO-12: the pooler's query timeout comes before PostgreSQL's.

use super::patience::{once, statement, typed};
use crate::finding::Severity;
use crate::review::dossier::Dossier;
use crate::review::need::{APP, POOLER};
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "TMO-12",
    severity: Severity::Info,
    title: "the pooler ends queries before PostgreSQL does",
    condition: "query timeout of the pooler is on, t_stmt of the application is on, and query timeout <= t_stmt",
    why: "PostgreSQL's limit ends the statement and keeps the connection, and the client reads why. The pooler's drops the client, \
          and the server connection with it, which is opened anew. PgBouncer's manual wants query_timeout only as a backstop for \
          networks that fail, above statement_timeout.",
    fix: "make the pooler's query timeout larger than statement_timeout",
    needs: &[POOLER, APP],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    let mut seen = Vec::new();
    for app in &of.apps {
        let Some((pooler, pool)) = of.route(app) else { continue };
        let (Some(query), Some(statement)) = (&pooler.query, statement(of, app)) else { continue };
        let (Some(backstop), Some(limit)) = (query.value.span(), statement.value.span()) else { continue };
        if backstop > limit || !once(&mut seen, &query.place) {
            continue;
        }
        // A quarter more than the statement has: room for the wait on the network.
        let new = typed(pooler.kind, std::time::Duration::from_secs((limit + limit / 4).as_secs_f64().ceil() as u64));
        let key = crate::review::words::pool_key(pooler, pool, "query_timeout", "query_timeout");
        out.find(
            format!("{}: the pooler ends a query after {backstop:?}, PostgreSQL would after {limit:?}", app.name),
            &query.place,
            format!("comes first: {backstop:?}"),
        )
        .and(&statement, format!("statement_timeout: {limit:?}"))
        .because("the client is disconnected without PostgreSQL's reason, and the server connection is lost with it")
        .fix(format!("write {key} = {new}, above statement_timeout"))
        .write(query, new);
    }
}
