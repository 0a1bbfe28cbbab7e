//! What an operator may do over HTTP, with the operate token: JSON in, JSON out.
//!
//! A page in somebody's browser has no token; it is kept away twice more: its Origin is not ours, and it may not send JSON
//! without asking first, which nobody answers.

mod change;
mod order;
mod planned;

pub use order::{
    Acted, Applied, ApplyOrder, ConfirmOrder, Doing, Done, LeaseAct, LeaseOrder, Meant, PlanOrder, Planned,
    PlannedChange, PlannedPool, PlannedWait, PoolAct, PoolOrder, PoolsActed, Refused, RefusedKind, RollbackOrder, Shed,
    ShedOrder,
};

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tokio::time::timeout;

use super::{Asker, Gate, is_ours};
use crate::calendar::rfc3339;

const SHED: &str = "/api/v1/shed";
const CANCEL: &str = "/api/v1/cancel";
const TERMINATE: &str = "/api/v1/terminate";
const PAUSE: &str = "/api/v1/pause";
const RESUME: &str = "/api/v1/resume";
const BUNDLE: &str = "/api/v1/bundle";
const PLAN: &str = "/api/v1/plan";
const APPLY: &str = "/api/v1/apply";
const CONFIRM: &str = "/api/v1/confirm";
const ROLLBACK: &str = "/api/v1/rollback";
/// Everything that is taken with POST.
pub(super) const PATHS: [&str; 10] = [SHED, CANCEL, TERMINATE, PAUSE, RESUME, BUNDLE, PLAN, APPLY, CONFIRM, ROLLBACK];

/// A name and a length of time are far shorter.
const MAX_BODY: usize = 4 << 10;
/// A configuration file is read up to four mebibytes; as a text of JSON it is longer.
const MAX_FILE_BODY: usize = 10 << 20;
/// A body this short is sent at once or not at all.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for what was asked; a bundle is the longest of it.
const DONE_TIMEOUT: Duration = Duration::from_secs(30);

/// Who does what an operator asks for. Each writes into the log who asked for what, and what came of it.
pub trait Operate: Send + Sync + 'static {
    /// The operate token.
    fn token(&self) -> &str;

    /// Refuses the requests of a class at once, for a while.
    ///
    /// # Errors
    /// Why nothing was done, and what to do instead.
    fn shed(&self, order: ShedOrder) -> Result<Shed, (String, String)>;

    /// Cancels what leases run, or ends them.
    fn lease(&self, order: LeaseOrder) -> Doing<Acted>;

    /// Has pools lend no more, or again.
    fn pools(&self, order: PoolOrder) -> Doing<PoolsActed>;

    /// Rehearses a change of the configuration; what is in force stays.
    fn plan(&self, order: PlanOrder) -> Doing<Planned>;

    /// Makes a change of the configuration.
    fn apply(&self, order: ApplyOrder) -> Doing<Applied>;

    /// Has what waits for its confirmation stay.
    fn confirm(&self, order: ConfirmOrder) -> Doing<Applied>;

    /// Has an earlier version run again.
    fn rollback(&self, order: RollbackOrder) -> Doing<Applied>;

    /// Everything worth keeping before somebody restarts something, as a gzip archive without secrets; `by`: who asks.
    fn bundle(&self, by: String) -> Doing<Vec<u8>>;
}

#[derive(Clone)]
struct Door {
    operator: Arc<dyn Operate>,
    gate: Gate,
}

pub(super) fn router(operator: Arc<dyn Operate>, gate: Gate) -> Router {
    Router::new()
        .route(SHED, post(shed))
        .route(CANCEL, post(|door, asker, request| lease(LeaseAct::Cancel, door, asker, request)))
        .route(TERMINATE, post(|door, asker, request| lease(LeaseAct::Terminate, door, asker, request)))
        .route(PAUSE, post(|door, asker, request| pools(PoolAct::Pause, door, asker, request)))
        .route(RESUME, post(|door, asker, request| pools(PoolAct::Resume, door, asker, request)))
        .route(BUNDLE, post(bundle))
        .route(PLAN, post(plan))
        .route(APPLY, post(change::apply))
        .route(CONFIRM, post(change::confirm))
        .route(ROLLBACK, post(change::rollback))
        .with_state(Door { operator, gate })
}

async fn shed(State(door): State<Door>, Extension(Asker(peer)): Extension<Asker>, request: Request) -> Response {
    const FIX: &str = "send {\"class\": \"batch\", \"for\": \"10m\"}";
    let done = async {
        let asked = door.asked(request, FIX).await?;
        let text = |key: &str| asked.get(key).and_then(Value::as_str).map(str::to_owned);
        let (Some(class), Some(length)) = (text("class"), text("for")) else {
            return Err(refused(StatusCode::BAD_REQUEST, "the class or its time is missing", FIX));
        };
        let order = ShedOrder { class, length, by: by(peer) };
        let told = |(error, fix): (String, String)| refused(StatusCode::UNPROCESSABLE_ENTITY, &error, &fix);
        door.operator.shed(order).map_err(told)
    };
    match done.await {
        Ok(Shed { class, until_ms }) => {
            answer(StatusCode::OK, &json!({"schema": 1, "class": class, "until": until_ms.map(rfc3339)}))
        }
        Err(refused) => *refused,
    }
}

async fn lease(
    act: LeaseAct,
    State(door): State<Door>,
    Extension(Asker(peer)): Extension<Asker>,
    request: Request,
) -> Response {
    const FIX: &str = "send {\"conn\": 7} with a number of GET /api/v1/holders, or {\"stuck\": \"app\"}";
    let done = async {
        let asked = door.asked(request, FIX).await?;
        let meant = match (asked.get("conn").and_then(Value::as_u64), asked.get("stuck").and_then(Value::as_str)) {
            (Some(conn), None) => Meant::Conn(conn),
            (None, Some(pool)) => Meant::Stuck(pool.to_owned()),
            (Some(_), Some(_)) | (None, None) => {
                return Err(refused(StatusCode::BAD_REQUEST, "it does not say which connection is meant", FIX));
            }
        };
        settled(door.operator.lease(LeaseOrder { act, meant, by: by(peer) })).await
    };
    match done.await {
        Ok(Acted { done, skipped }) => {
            let done: Vec<Value> = done.iter().map(one_done).collect();
            let skipped: Vec<Value> = skipped.iter().map(|(conn, why)| json!({"conn": conn, "why": why})).collect();
            answer(StatusCode::OK, &json!({"schema": 1, "done": done, "skipped": skipped}))
        }
        Err(refused) => *refused,
    }
}

fn one_done(of: &Done) -> Value {
    json!({
        "conn": of.conn, "pool": of.pool, "user": of.user, "server": of.server, "pid": of.pid,
        "client": of.client, "application": of.application,
    })
}

async fn pools(
    act: PoolAct,
    State(door): State<Door>,
    Extension(Asker(peer)): Extension<Asker>,
    request: Request,
) -> Response {
    const FIX: &str = "send {\"pool\": \"app\"}, or {\"pool\": null} for all";
    let done = async {
        let asked = door.asked(request, FIX).await?;
        let pool = match asked.get("pool") {
            Some(Value::String(name)) => Some(name.clone()),
            Some(Value::Null) => None,
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) | None => {
                return Err(refused(StatusCode::BAD_REQUEST, "it does not say which pool is meant", FIX));
            }
        };
        settled(door.operator.pools(PoolOrder { act, pool, by: by(peer) })).await
    };
    let state = match act {
        PoolAct::Pause => "paused",
        PoolAct::Resume => "active",
    };
    match done.await {
        Ok(PoolsActed { pools, lent }) => {
            let done: Vec<Value> = pools.iter().map(|pool| json!({"pool": pool, "state": state})).collect();
            answer(StatusCode::OK, &json!({"schema": 1, "done": done, "lent": lent}))
        }
        Err(refused) => *refused,
    }
}

async fn bundle(State(door): State<Door>, Extension(Asker(peer)): Extension<Asker>, request: Request) -> Response {
    let done = async {
        door.asked(request, "send {}").await?;
        settled(door.operator.bundle(by(peer))).await
    };
    match done.await {
        Ok(archive) => {
            let headers = [(header::CONTENT_TYPE, "application/gzip"), (header::CACHE_CONTROL, "no-store")];
            (StatusCode::OK, headers, archive).into_response()
        }
        Err(refused) => *refused,
    }
}

async fn plan(State(door): State<Door>, Extension(Asker(peer)): Extension<Asker>, request: Request) -> Response {
    const FIX: &str = "send {\"text\": \"the whole file\"}, or {\"set\": [\"pools.app.size=40\"]}";
    let done = async {
        let asked = door.asked_of(request, MAX_FILE_BODY, FIX).await?;
        let (text, set) = change::proposed(&asked);
        if text.is_none() && set.is_empty() {
            return Err(refused(StatusCode::BAD_REQUEST, "it does not say what would change", FIX));
        }
        settled(door.operator.plan(PlanOrder { text, set, by: by(peer) })).await
    };
    match done.await {
        Ok(planned) => answer(StatusCode::OK, &planned::json(&planned)),
        Err(refused) => *refused,
    }
}

fn by(peer: std::net::SocketAddr) -> String {
    format!("http from {peer}")
}

/// What came of it, in time.
async fn settled<T>(doing: Doing<T>) -> Result<T, Box<Response>> {
    let late = |_| {
        let error = format!("it was begun and has not ended within {}s", DONE_TIMEOUT.as_secs());
        refused(StatusCode::GATEWAY_TIMEOUT, &error, "see the log for what came of it")
    };
    timeout(DONE_TIMEOUT, doing).await.map_err(late)?.map_err(|why| {
        let status = match why.kind {
            RefusedKind::Absent => StatusCode::NOT_FOUND,
            RefusedKind::Idle => StatusCode::CONFLICT,
            RefusedKind::Unready => StatusCode::SERVICE_UNAVAILABLE,
        };
        refused(status, &why.error, &why.fix)
    })
}

impl Door {
    /// What the request asks for, once it is known that it may.
    async fn asked(&self, request: Request, fix: &str) -> Result<Value, Box<Response>> {
        self.asked_of(request, MAX_BODY, fix).await
    }

    /// The same of a request that may be longer than others.
    async fn asked_of(&self, request: Request, most: usize, fix: &str) -> Result<Value, Box<Response>> {
        let (head, body) = request.into_parts();
        self.admit(&head.headers)?;
        read(body, most, fix).await
    }

    /// Whether the request may be: from no other site's page, as JSON, with the token.
    fn admit(&self, headers: &HeaderMap) -> Result<(), Box<Response>> {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        if let Some(origin) = text(header::ORIGIN)
            && !self.is_own(origin)
        {
            let fix = "send it without an Origin header, as curl and poolwarden's verbs do";
            return Err(refused(StatusCode::FORBIDDEN, "a page of another site may not do this", fix));
        }
        if !text(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json")) {
            let fix = "send it with Content-Type: application/json";
            return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the request is not JSON", fix));
        }
        let given = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        if !bool::from(given.trim().as_bytes().ct_eq(self.operator.token().as_bytes())) {
            let fix = "send Authorization: Bearer TOKEN; the token stands in the file token of the data directory";
            let mut refused = refused(StatusCode::UNAUTHORIZED, "this is not the operate token", fix);
            refused.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
            return Err(refused);
        }
        Ok(())
    }

    /// Whether a page of this origin is one of ours. Off loopback no name is known to be.
    fn is_own(&self, origin: &str) -> bool {
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        host.zip(self.gate.names.as_ref()).is_some_and(|(host, names)| is_ours(host, names))
    }
}

async fn read(body: Body, most: usize, fix: &str) -> Result<Value, Box<Response>> {
    let bytes = timeout(BODY_TIMEOUT, to_bytes(body, most)).await;
    let late = |_| refused(StatusCode::REQUEST_TIMEOUT, "the request did not come whole", "send it again");
    let long = |_| refused(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long or broke off", fix);
    let bytes = bytes.map_err(late)?.map_err(long)?;
    let no_json = |why| refused(StatusCode::BAD_REQUEST, &format!("the request is not JSON: {why}"), fix);
    serde_json::from_slice(&bytes).map_err(no_json)
}

fn refused(status: StatusCode, error: &str, fix: &str) -> Box<Response> {
    Box::new(answer(status, &json!({"schema": 1, "error": error, "fix": fix})))
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, format!("{body}\n")).into_response()
}
