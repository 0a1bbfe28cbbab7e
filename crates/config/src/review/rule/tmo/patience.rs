//! The time limits that really hold for an application: what PostgreSQL, the role, the connection and the pooler say together,
//! and how long a connection may lie idle.

use std::time::Duration;

use crate::review::chain::{App, Kind, Limit, Maybe, Pool, Pooler};
use crate::review::dossier::Dossier;
use crate::review::place::{Known, Place};
use crate::review::words;
use crate::unit::{parse_duration, show_duration};

/// A time as PostgreSQL writes it: milliseconds where no unit is written; 0 is no limit.
pub(super) fn pg_time(text: &str) -> Option<Limit> {
    let text = text.trim().trim_matches('\'');
    let span = match text.parse::<u64>() {
        Ok(millis) => Duration::from_millis(millis),
        Err(_) => parse_duration(&text.replace("min", "m")).ok()?,
    };
    Some(if span.is_zero() { Limit::Never } else { Limit::After(span) })
}

/// A time limit of PostgreSQL as it holds for a role: its own (ALTER ROLE … SET), else the server's.
pub(super) fn pg_limit(of: &Dossier, server: usize, role: Option<&str>, name: &str) -> Maybe<Limit> {
    let postgres = of.postgres.get(server)?;
    let own = role.and_then(|role| postgres.roles.get(role)?.settings.get(name));
    let known = own.or_else(|| postgres.settings.get(name))?;
    Some(Known { value: pg_time(&known.value)?, place: known.place.clone() })
}

/// The role a pool's server connections are logged in as, where it is one.
pub(super) fn only_user(pool: &Pool) -> Option<&str> {
    match pool.users.as_slice() {
        [one] => Some(one),
        _ => None,
    }
}

/// The server an application's queries come to, and the role they run as.
pub(super) fn lands<'a>(of: &'a Dossier, app: &'a App) -> Option<(usize, Option<&'a str>)> {
    let own = app.user.as_ref().map(|user| user.value.as_str());
    match of.route(app) {
        Some((_, pool)) => Some((pool.server, own.or_else(|| only_user(pool)))),
        None => Some((of.direct_server(app)?, own)),
    }
}

/// `statement_timeout` of an application: sent by itself where nothing drops it, else the role's, else the server's.
pub(super) fn statement(of: &Dossier, app: &App) -> Maybe<Limit> {
    let name = "statement_timeout";
    let dropped = of.route(app).is_some_and(|(pooler, _)| drops(pooler, name).is_some());
    let sent = app.startup.get(name).filter(|_| !dropped);
    let sent = sent.and_then(|known| Some(Known { value: pg_time(&known.value)?, place: known.place.clone() }));
    sent.or_else(|| {
        let (server, role) = lands(of, app)?;
        pg_limit(of, server, role, name)
    })
}

/// Whether a pooler takes a start-up parameter and drops it: by its name, or as one of `options`.
pub(super) fn drops<'a>(pooler: &'a Pooler, parameter: &str) -> Option<&'a Known<String>> {
    let named = |name: &str| pooler.ignored_startup.iter().find(|known| known.value.eq_ignore_ascii_case(name));
    named(parameter).or_else(|| named("options"))
}

/// How long a connection of an application may lie idle before it is closed or used by itself: the least of idle timeout,
/// keepalive and lifetime; `None`: none of them is known.
pub(super) fn rest(app: &App) -> Maybe<Limit> {
    let all = [&app.idle_timeout, &app.keepalive, &app.lifetime];
    all.into_iter().flatten().min_by_key(|known| length(known.value)).cloned()
}

/// A limit as a number to compare: never is the longest.
pub(super) fn length(limit: Limit) -> Duration {
    limit.span().unwrap_or(Duration::MAX)
}

/// The key of a pool's longest wait.
pub(super) fn wait_key(pooler: &Pooler, pool: &Pool) -> String {
    words::pool_key(pooler, pool, "max_wait", "query_wait_timeout")
}

/// A time as the pooler's file writes it: with its unit in poolwarden.toml, elsewhere in whole seconds, at least one.
pub(super) fn typed(kind: Kind, span: Duration) -> String {
    match kind {
        Kind::Poolwarden => format!("\"{}\"", show_duration(span)),
        Kind::PgBouncer | Kind::RdsProxy | Kind::Odyssey => span.as_secs().max(1).to_string(),
    }
}

/// A time as PostgreSQL reads it.
pub(super) fn pg_typed(span: Duration) -> String {
    if span.subsec_millis() == 0 { format!("{}s", span.as_secs()) } else { format!("{}ms", span.as_millis()) }
}

/// A role's name as it is typed in SQL; `APP` stands for one that is not known.
pub(super) fn role_typed(role: Option<&str>) -> String {
    role.map_or_else(|| "APP".to_owned(), |role| format!("\"{}\"", role.replace('"', "\"\"")))
}

/// Only the first of those that stand in the same place: one default of a pooler is one finding, not one for each pool.
pub(super) fn once(seen: &mut Vec<Place>, place: &Place) -> bool {
    let new = !seen.contains(place);
    if new {
        seen.push(place.clone());
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_roles_are_typed_as_postgresql_reads_them() {
        assert_eq!([1_500, 90_000].map(|millis| pg_typed(Duration::from_millis(millis))), ["1500ms", "90s"]);
        assert_eq!([role_typed(None), role_typed(Some("a\"b"))], ["APP", "\"a\"\"b\""]);
    }

    #[test]
    fn times_of_postgresql_are_milliseconds_unless_they_say_otherwise() {
        let after = |millis| Some(Limit::After(Duration::from_millis(millis)));
        let all = ["0", "5000", "5s", "'2min'", "-1", "soon"].map(pg_time);
        assert_eq!(all, [Some(Limit::Never), after(5_000), after(5_000), after(120_000), None, None]);
    }
}
