//! What an operator may do over HTTP, with the operate token: JSON in, JSON out.
//!
//! A page in somebody's browser has no token; it is kept away twice more: its Origin is not ours, and it may not send JSON
//! without asking first, which nobody answers.

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

pub(super) const SHED: &str = "/api/v1/shed";
/// A class's name and a length of time are far shorter.
const MAX_BODY: usize = 4 << 10;
/// A body this short is sent at once or not at all.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Who does what an operator asks for.
pub trait Operate: Send + Sync + 'static {
    /// The operate token.
    fn token(&self) -> &str;

    /// Refuses the requests of a class at once, for a while.
    ///
    /// # Errors
    /// Why nothing was done, and what to do instead.
    fn shed(&self, order: ShedOrder) -> Result<Shed, (String, String)>;
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShedOrder {
    /// The class's name, as it was written.
    pub class: String,
    /// For how long, as it was written: `10m`; `0s` ends it.
    pub length: String,
    /// Who asks, for the log.
    pub by: String,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shed {
    /// The class's name.
    pub class: String,
    /// Until when it is shed, in milliseconds since 1970 UTC; `None`: no longer.
    pub until_ms: Option<u64>,
}

#[derive(Clone)]
struct Door {
    operator: Arc<dyn Operate>,
    gate: Gate,
}

pub(super) fn router(operator: Arc<dyn Operate>, gate: Gate) -> Router {
    Router::new().route(SHED, post(shed)).with_state(Door { operator, gate })
}

async fn shed(State(door): State<Door>, Extension(Asker(peer)): Extension<Asker>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let done = async {
        door.admit(&head.headers)?;
        let asked = read(body).await?;
        let text = |key: &str| asked.get(key).and_then(Value::as_str).map(str::to_owned);
        let (Some(class), Some(length)) = (text("class"), text("for")) else {
            let fix = "send {\"class\": \"batch\", \"for\": \"10m\"}";
            return Err(refused(StatusCode::BAD_REQUEST, "the class or its time is missing", fix));
        };
        let order = ShedOrder { class, length, by: format!("http from {peer}") };
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

impl Door {
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

async fn read(body: Body) -> Result<Value, Box<Response>> {
    let bytes = timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY)).await;
    let late = |_| refused(StatusCode::REQUEST_TIMEOUT, "the request did not come whole", "send it again");
    let long =
        |_| refused(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long or broke off", "send a class and a time");
    let bytes = bytes.map_err(late)?.map_err(long)?;
    serde_json::from_slice(&bytes).map_err(|why| {
        let fix = "send {\"class\": \"batch\", \"for\": \"10m\"}";
        refused(StatusCode::BAD_REQUEST, &format!("the request is not JSON: {why}"), fix)
    })
}

fn refused(status: StatusCode, error: &str, fix: &str) -> Box<Response> {
    Box::new(answer(status, &json!({"schema": 1, "error": error, "fix": fix})))
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, format!("{body}\n")).into_response()
}
