//! TMO-04: the time limits inside a request add up to more than the request has.

use std::time::Duration;

use super::patience::statement;
use crate::finding::Severity;
use crate::review::chain::{App, Limit, Maybe};
use crate::review::dossier::Dossier;
use crate::review::need::{APP, REQUEST_TIMEOUT};
use crate::review::place::Known;
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "TMO-04",
    severity: Severity::Warning,
    title: "the time limits inside a request add up to more than it has",
    condition: "t_acq + min(t_sock, t_wait + t_stmt) > t_req, or t_wait + t_stmt > t_sock; limits that are off or unknown count as \
                nothing; each alone is within its bound",
    why: "The innermost limit has to fire first and name itself. Where the outer one comes first it hides the cause: a gateway's \
          504 looks like a slow web server, a socket timeout like a dead network. The wait in the pooler happens inside the first \
          query, so the application's acquire timeout never sees it, and PostgreSQL's statement_timeout does not count it: it is a \
          budget, not an order. One limit alone that is too long is TMO-02 (the wait) or TMO-05 (the statement).",
    fix: "shorten the inner limits until their sum fits: t_wait 0.5 to 3 s, t_acq smaller, the statement what is left",
    needs: &[APP, REQUEST_TIMEOUT],
    check,
};

/// The limits of one application's request.
struct Budget {
    acquire: Maybe<Duration>,
    wait: Maybe<Duration>,
    statement: Maybe<Duration>,
    socket: Maybe<Duration>,
}

fn check(of: &Dossier, out: &mut Out<'_>) {
    for app in &of.apps {
        let budget = budget(of, app);
        let inner = length(&budget.wait) + length(&budget.statement);
        if let Some(socket) =
            budget.socket.as_ref().filter(|socket| too_long(inner, socket.value, [&budget.wait, &budget.statement]))
        {
            say(app, out, (socket, "the client's query timeout"), [&budget.wait, &budget.statement]);
        }
        let Some(request) = span(app.request_timeout.as_ref()) else {
            if app.request_timeout.is_none() {
                out.lacks(REQUEST_TIMEOUT, &app.name);
            }
            continue;
        };
        // Whichever ends the query first is what it costs at most.
        let by_socket = budget.socket.as_ref().is_some_and(|socket| inner.is_zero() || socket.value < inner);
        if by_socket
            && too_long(
                length(&budget.acquire) + length(&budget.socket),
                request.value,
                [&budget.acquire, &budget.socket],
            )
        {
            say(app, out, (&request, "the request"), [&budget.acquire, &budget.socket]);
        } else if !by_socket {
            let parts = [&budget.acquire, &budget.wait, &budget.statement];
            if too_long(length(&budget.acquire) + inner, request.value, parts) {
                say(app, out, (&request, "the request"), parts);
            }
        }
    }
}

fn budget(of: &Dossier, app: &App) -> Budget {
    Budget {
        acquire: span(app.acquire_timeout.as_ref()),
        wait: of.route(app).and_then(|(_, pool)| span(Some(&pool.max_wait))),
        statement: span(statement(of, app).as_ref()),
        socket: span(app.query_timeout.as_ref()),
    }
}

fn span(known: Option<&Known<Limit>>) -> Maybe<Duration> {
    let known = known?;
    Some(Known { value: known.value.span()?, place: known.place.clone() })
}

fn length(known: &Maybe<Duration>) -> Duration {
    known.as_ref().map_or(Duration::ZERO, |known| known.value)
}

/// Whether the sum is too much, and the wait and the statement are not already too much by themselves (other rules say that).
fn too_long<const N: usize>(sum: Duration, limit: Duration, parts: [&Maybe<Duration>; N]) -> bool {
    let several = parts.iter().filter(|part| part.is_some()).count() > 1;
    sum > limit && several && parts[1..].iter().all(|part| length(part) <= limit)
}

fn say<const N: usize>(app: &App, out: &mut Out<'_>, outer: (&Known<Duration>, &str), parts: [&Maybe<Duration>; N]) {
    let (limit, whose) = outer;
    let sum: Duration = parts.iter().map(|part| length(part)).sum();
    let shown: Vec<String> = parts.iter().filter_map(|part| Some(format!("{:?}", part.as_ref()?.value))).collect();
    let Some(longest) = parts.into_iter().flatten().max_by_key(|part| part.value) else { return };
    let rest = sum - longest.value;
    let finding = out.find(
        format!("{}: {} is {sum:?}, and {whose} has {:?}", app.name, shown.join(" + "), limit.value),
        &longest.place,
        format!("{:?} of it", longest.value),
    );
    for part in parts.into_iter().flatten().filter(|part| part.place != longest.place) {
        finding.and(part, format!("{:?} of it", part.value));
    }
    finding
        .and(limit, format!("ends after {:?}", limit.value))
        .because(format!("{whose} is given up first, and hides which of the limits was at fault"));
    if rest < limit.value {
        finding.fix(format!("shorten the limit of {:?} to {:?} at most", longest.value, limit.value - rest));
    } else {
        finding.fix(format!("shorten the limits until their sum is below {:?}", limit.value));
    }
}
